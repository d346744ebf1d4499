"""Finds the operation of a request by its raw path, in which an id may contain an encoded slash."""

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
    """A path segment, still encoded."""

    def to_python(self, value: str) -> str:
        return unquote(value)


class _LongIdConverter(PathConverter):
    """Several path segments: the official client does not encode the id in the path of a stream."""

    def to_python(self, value: str) -> str:
        return unquote(value)


class RestConverter(BaseConverter):
    """The rest of a path, whatever it contains, even line ends and leading slashes."""

    regex = r"(?s:.*)"
    part_isolating = False


def _make_map(*rules: Rule) -> MapAdapter:
    converters = {"id": _IdConverter, "long": _LongIdConverter}
    return Map(list(rules), converters=converters, strict_slashes=False, merge_slashes=False).bind("")


_OPERATION_MAP = _make_map(
    *(Rule(re.sub(r"{(\w+)}", r"<id:\1>", route.path), endpoint=route.name, methods=[route.method]) for route in ROUTES)
)
_LISTEN_MAP = _make_map(Rule("/conversations/<long:id>/listen", endpoint="listenConversation", methods=["GET"]))
"""Matched last: a participant's id may be ``listen``."""


def raw_path(environ: Mapping[str, Any], mount: str, rest: str) -> str:
    """Return the part of the path after ``mount`` as it was sent, without empty segments.

    ``rest`` is the same part, decoded. If the server does not pass on the raw path (RAW_URI), encoded slashes in ids
    cannot be told from other slashes.
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
    """Return the operation at a path that is still encoded, and the ids in it. Raises :class:`HttpError` with 404."""
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
