"""Finds the operation of a request by its raw path, in which an id may contain an encoded slash."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from werkzeug.routing import BaseConverter

from cometbot.channels.chat_api.routes import ROUTES, Route
from cometbot.http.errors import HttpError, quote_value


class RestConverter(BaseConverter):
    """The rest of a path, whatever it contains, even line ends and leading slashes."""

    regex = r"(?s:.*)"
    part_isolating = False


def _path_pattern(route: Route) -> re.Pattern[str]:
    # The official client does not encode the id in the path of a stream.
    id_pattern = ".+" if route.is_stream else "[^/]+"
    return re.compile(r"\A" + re.sub(r"{(\w+)}", rf"(?P<\1>{id_pattern})", route.path) + r"\Z")


_PATTERNS = [(route, _path_pattern(route)) for route in sorted(ROUTES, key=lambda route: route.is_stream)]
"""The stream comes last: a participant's id may be ``listen``."""


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
    matches = [(route, found) for route, pattern in _PATTERNS if (found := pattern.fullmatch(path))]
    for route, found in matches:
        if method == route.method or (method == "HEAD" and route.method == "GET" and not route.is_stream):
            return route, {name: unquote(value) for name, value in found.groupdict().items()}
    if matches:
        text = f"{quote_value(method)} is not possible at {quote_value(path)}"
    else:
        text = f"There is no operation at {quote_value(path)}; openapi.json says what there is"
    raise HttpError(404, "ResourceNotFound", text)
