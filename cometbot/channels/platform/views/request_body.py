"""Reads the fields in a request's body: JSON or a form."""

from __future__ import annotations

import io
from codecs import BOM_UTF8
from typing import Any
from urllib.parse import parse_qsl

import flask
import orjson
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from cometbot.channels.platform.errors import ApiError
from cometbot.http.limits import read_body

_MAX_FIELDS = 1000
_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
_CONTENT_TYPES = ("application/json", _FORM, _MULTIPART)


def read_fields(limit: int, timeout: float) -> Any:
    """Return the JSON value in the request's body, or an object with the fields of its form.

    Raises :class:`HttpError` for a body that is invalid, longer than ``limit`` bytes, or not complete after ``timeout``
    seconds.
    """
    environ = flask.request.environ
    kind, options = parse_options_header(environ.get("CONTENT_TYPE", ""))
    kind = kind.lower()
    if kind not in _CONTENT_TYPES:
        raise ApiError(400, "Unprocessable Entity")
    if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() not in ("identity", ""):
        raise ApiError(415, "Send the body without a Content-Encoding.")
    body = read_body(environ, limit=limit, timeout=timeout)
    if kind == "application/json":
        return _read_json(body)
    return _read_form(body) if kind == _FORM else _read_multipart(body, options)


def _read_json(body: bytes) -> Any:
    try:
        return orjson.loads(body.removeprefix(BOM_UTF8))
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"The body is no JSON: {error.msg} in line {error.lineno}.") from error


def _read_form(body: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise ApiError(400, "The body is no form in UTF-8, or has too many fields.") from error
    return _group_fields(pairs)


def _read_multipart(body: bytes, options: dict[str, str]) -> dict[str, Any]:
    parser = FormDataParser(max_form_memory_size=len(body) + 1, max_form_parts=_MAX_FIELDS, silent=False)
    try:
        _, form, _ = parser.parse(io.BytesIO(body), _MULTIPART, len(body), options)
    except (ValueError, HTTPException) as error:
        raise ApiError(400, "The body is no multipart form, or has too many parts.") from error
    return _group_fields(list(form.items(multi=True)))


def _group_fields(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Return the fields by name. A field that occurs several times is a list."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found
