"""JSON as the body of a response."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flask
import orjson


def json_response(
    value: Any,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    default: Callable[[Any], Any] | None = None,
    option: int = 0,
) -> flask.Response:
    """Return ``value`` as JSON; ``default`` and ``option`` are those of ``orjson.dumps``."""
    body = orjson.dumps(value, default=default, option=option)
    return flask.Response(body, status, dict(headers or {}), content_type="application/json")
