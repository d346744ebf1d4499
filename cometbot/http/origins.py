"""Compares the header ``Origin`` with the host that a request is for."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

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


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts
