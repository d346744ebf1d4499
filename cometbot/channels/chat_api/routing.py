"""Finds the operation of a request: by the path as it was sent, in which an id may hold an encoded slash."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import BaseConverter, Map, MapAdapter, PathConverter, Rule

from cometbot.channels.chat_api.routes import ROUTES, Route
from cometbot.http.errors import HttpError, quote_value

_ROUTES = {route.name: route for route in ROUTES}


class _IdConverter(BaseConverter):
    """One part of the path, still encoded."""

    def to_python(self, value: str) -> str:
        return unquote(value)


class _LongIdConverter(PathConverter):
    """Several parts of the path: the official client does not encode the id in the path that it listens at."""

    def to_python(self, value: str) -> str:
        return unquote(value)


class RestConverter(BaseConverter):
    """All that is left of a path, whatever it holds: even line ends, and slashes in front."""

    regex = r"(?s:.*)"
    part_isolating = False


def _make_map(*rules: Rule) -> MapAdapter:
    converters = {"id": _IdConverter, "long": _LongIdConverter}
    return Map(list(rules), converters=converters, strict_slashes=False, merge_slashes=False).bind("")


_OPERATION_MAP = _make_map(
    *(Rule(re.sub(r"{(\w+)}", r"<id:\1>", route.path), endpoint=route.name, methods=[route.method]) for route in ROUTES)
)
_LISTEN_MAP = _make_map(Rule("/conversations/<long:id>/listen", endpoint="listenConversation", methods=["GET"]))
"""Looked at last: there may be a participant whose id is ``listen``."""


def raw_path(environ: Mapping[str, Any], mount: str, rest: str) -> str:
    """The part of the path behind ``mount`` as it was sent, without empty parts; ``rest`` is the same, decoded.

    Servers that do not hand over what was sent (RAW_URI) leave encoded slashes in ids undistinguishable from others.
    """
    raw_uri = str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or "")
    path = raw_uri.partition("?")[0] if raw_uri.startswith("/") else urlsplit(raw_uri).path
    parts = [part for part in path.split("/") if part]
    relative = parts[len([part for part in mount.split("/") if part]) :]
    if _decode_parts(relative) == [part for part in rest.split("/") if part]:
        return "/" + "/".join(relative)
    return "/" + "/".join(quote(part, safe="") for part in rest.split("/") if part)


def _decode_parts(parts: list[str]) -> list[str]:
    return [part for encoded in parts for part in unquote(encoded).split("/") if part]


def match_route(path: str, method: str) -> tuple[Route, dict[str, str]]:
    """The operation at a path that is still encoded, and the ids in it. Raises :class:`HttpError` with 404."""
    lookup_method = "GET" if method == "HEAD" else method
    try:
        is_long_path = path.endswith("/listen") and not _OPERATION_MAP.test(path, lookup_method)
        name, ids = (_LISTEN_MAP if is_long_path else _OPERATION_MAP).match(path, method=lookup_method)
    except MethodNotAllowed:
        raise HttpError(
            404, "ResourceNotFound", f"{quote_value(method)} is not possible at {quote_value(path)}"
        ) from None
    except NotFound:
        raise HttpError(
            404, "ResourceNotFound", f"There is no operation at {quote_value(path)}; openapi.json says what there is"
        ) from None
    route = _ROUTES[name]
    if route.is_stream and method == "HEAD":
        raise HttpError(404, "ResourceNotFound", f"{quote_value(method)} is not possible at {quote_value(path)}")
    return route, {str(key): str(value) for key, value in ids.items()}
