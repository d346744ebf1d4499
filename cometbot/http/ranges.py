"""Rewrites the `Range` header of a request so that Werkzeug answers it according to RFC 9110."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

_RANGE_PATTERN = re.compile(r"[ \t]*bytes[ \t]*=[ \t,]*([0-9]{0,18})-([0-9]{0,18})[ \t,]*", re.IGNORECASE)
"""A single range. A list may have empty elements, and no file has a position of more than 18 digits."""


def simplify_range(environ: MutableMapping[str, Any], length: int) -> None:
    """Rewrite the request's `Range` header for a file of ``length`` bytes, so that Werkzeug's answer is correct.

    Afterwards the header contains one byte range, or is removed and the whole file is sent. It stays only for a GET
    that requests exactly one range. Werkzeug refuses several ranges with 416 although they can be satisfied; the whole
    file is a valid answer to them, and to an invalid header (RFC 9110, section 14.2). Werkzeug also refuses a suffix
    that is longer than the file, which means the whole file (section 14.1.2).
    """
    matched = _RANGE_PATTERN.fullmatch(environ.pop("HTTP_RANGE", ""))
    if matched is None or environ.get("REQUEST_METHOD") != "GET":
        return
    first, last = matched.groups()
    if first and (not last or int(first) <= int(last)):
        environ["HTTP_RANGE"] = f"bytes={first}-{last}"
    elif last and not first:
        environ["HTTP_RANGE"] = f"bytes=-{last}" if int(last) < length else "bytes=0-"
