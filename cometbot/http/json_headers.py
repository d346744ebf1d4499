"""The headers of requests with a JSON body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cometbot.http.errors import HttpError

_JSON_CONTENT_TYPE = re.compile(r"(application|text)/([\w.-]+\+|x-)?json\s*(;.*)?", re.IGNORECASE | re.DOTALL)


def check_json_headers(environ: Mapping[str, Any]) -> None:
    """Raise :class:`HttpError` with 415 if a request says that its body is not JSON, or is encoded."""
    content_type = environ.get("CONTENT_TYPE", "")
    if content_type and content_type != "application/json" and not _JSON_CONTENT_TYPE.fullmatch(content_type):
        raise HttpError(415, "ERR_UNSUPPORTED_MEDIA_TYPE", "send the body as application/json")
    if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() not in ("identity", ""):
        raise HttpError(415, "ERR_UNSUPPORTED_ENCODING", "send the body without a Content-Encoding")
