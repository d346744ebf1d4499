"""The `Range` header of a request, as RFC 9110 reads it and as Werkzeug can answer it."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

_RANGE_PATTERN = re.compile(r"[ \t]*bytes[ \t]*=[ \t,]*([0-9]{0,18})-([0-9]{0,18})[ \t,]*", re.IGNORECASE)
"""A single range. A list may have empty elements, and a position of more than 18 digits is in no file."""


def simplify_range(environ: MutableMapping[str, Any], length: int) -> None:
    """Rewrite the request's `Range` header for a file of ``length`` bytes, so that Werkzeug's answer is correct.

    Afterwards the header holds one range of bytes, or is gone and the whole file is sent. It stays only where the
    method is GET and the client asks for exactly one range. Werkzeug refuses several ranges with 416 although they can
    be satisfied, and the whole file is a valid answer to them (RFC 9110, section 14.2). It is also one to a header that
    cannot be read. Werkzeug refuses a suffix that is longer than the file, which means the whole file (14.1.2).
    """
    matched = _RANGE_PATTERN.fullmatch(environ.pop("HTTP_RANGE", ""))
    if matched is None or environ.get("REQUEST_METHOD") != "GET":
        return
    first, last = matched.groups()
    if first and (not last or int(first) <= int(last)):
        environ["HTTP_RANGE"] = f"bytes={first}-{last}"
    elif last and not first:
        environ["HTTP_RANGE"] = f"bytes=-{last}" if int(last) < length else "bytes=0-"
