"""Compares the header ``Origin`` with the host that a request is for, and lets other origins read responses (CORS)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import SplitResult, urlsplit

import flask

_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_same_origin(origin: str, host: str) -> bool:
    """Return whether ``origin`` has the host and port of ``host``, the value of a ``Host`` header.

    A default port may be given in one of them and omitted in the other. The scheme of ``host`` is unknown, because a
    proxy may have terminated TLS.
    """
    theirs, ours = _split(origin), _split(f"//{host}")
    if theirs is None or ours is None or not ours.hostname or theirs.hostname != ours.hostname:
        return False
    default = _DEFAULT_PORTS.get(theirs.scheme)
    return (theirs.port or default) == (ours.port or default)


def allow_origins(
    response: flask.Response,
    origins: Collection[str],
    *,
    preflight_headers: Mapping[str, str],
    with_credentials: bool = False,
) -> None:
    """Let the pages of ``origins`` (``*``: of all) read the response to the current request.

    The response to a CORS preflight also gets ``preflight_headers``, which say what those pages may send.
    """
    if not origins:
        return
    response.vary.add("Origin")
    origin = flask.request.headers.get("Origin", "")
    if not origin or (origin not in origins and "*" not in origins):
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    if with_credentials:
        response.headers["Access-Control-Allow-Credentials"] = "true"
    if flask.request.method == "OPTIONS":
        response.headers.update({f"Access-Control-{name}": value for name, value in preflight_headers.items()})


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts
