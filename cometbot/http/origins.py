"""Comparison of the header ``Origin`` with the host that a request is for."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_same_origin(origin: str, host: str) -> bool:
    """Return whether a page of ``origin`` was served by ``host``, the value of a header ``Host``.

    A default port may be named in one of them and left out in the other. The scheme of ``host`` is not known: a proxy
    may have taken TLS off.
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
