"""Reads the parameters of a request: those in its query, and the fields in its body, which is JSON or a form."""

from __future__ import annotations

import io
import re
from codecs import BOM_UTF8
from typing import Any
from urllib.parse import parse_qsl

import flask
import orjson
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from cometbot.channels.platform import schemas
from cometbot.channels.platform.chat_service import NewMessage
from cometbot.channels.platform.config import ReloadableConfig
from cometbot.channels.platform.errors import ApiError
from cometbot.channels.platform.serializers import JsonObject, message_json
from cometbot.chat import Chat, ChatConversation
from cometbot.http.limits import read_body

MAX_PAGE_SIZE = 1000
"""The largest number of messages on a page."""

_MAX_NUMBER = 2**53
_MAX_FIELDS = 1000
_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
_CONTENT_TYPES = ("application/json", _FORM, _MULTIPART)


def query_text(name: str) -> str:
    """Return a text in the query; empty if it is absent."""
    return flask.request.args.get(name, "").replace("\0", "\ufffd")


def query_number(name: str, default: int) -> int:
    """Return a whole number in the query; ``default`` if it is absent, invalid, or has more than 18 digits."""
    text = flask.request.args.get(name, "")
    number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text, re.ASCII) else default
    return max(-_MAX_NUMBER, min(number, _MAX_NUMBER))


def messages_page(chat_server: Chat, chat: ChatConversation) -> JsonObject:
    """Return the MessagesPage for the parameters ``page``, ``limit``, ``sender_id`` and ``since``.

    ``limit`` in the result is the limit that was used: at most :data:`MAX_PAGE_SIZE`, which a negative one also
    selects.
    """
    page, requested_limit = query_number("page", 1), query_number("limit", 20)
    limit = requested_limit if 0 <= requested_limit <= MAX_PAGE_SIZE else MAX_PAGE_SIZE
    with chat_server.database.read() as connection:
        found = chat_server.messages.list_numbered(
            connection,
            chat.scope,
            chat.id,
            page=page,
            limit=limit,
            sender=query_text("sender_id"),
            since=max(query_number("since", 0), 0),
        )
    messages = [message_json(message) for message in found.items]
    return {"chatId": chat.id, "total": found.total, "page": page, "limit": limit, "messages": messages}


class BodyReader:
    """Reads request bodies other than uploads. They must be complete after ``timeout`` seconds."""

    def __init__(self, config: ReloadableConfig, timeout: float) -> None:
        self._config = config
        self._timeout = timeout

    def read(self, schema: schemas.BodySchema, *, many: bool = False) -> Any:
        """Return the fields of the JSON value or form in the request's body, or with ``many`` a list of them.

        Raises :class:`ApiError` and :class:`HttpError` for a body that is invalid, too long, or not complete in time.
        """
        # There is room for the longest text with every character escaped, and for the other fields.
        limit = 6 * self._config.current.limits.message.max_body_length + 64 * 1024
        return schemas.load(schema, self._read_value(limit), many=many)

    def read_message(self) -> tuple[str, NewMessage]:
        """Return the chat's id and the new message in the request's body. Raises like :meth:`read`."""
        fields = self.read(schemas.MessageBody)
        return fields["chatId"], NewMessage(fields["body"], fields["attachmentIds"], fields["clientId"])

    def _read_value(self, limit: int) -> Any:
        environ = flask.request.environ
        kind, options = parse_options_header(environ.get("CONTENT_TYPE", ""))
        kind = kind.lower()
        if kind not in _CONTENT_TYPES:
            raise ApiError(400, "Unprocessable Entity")
        if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() not in ("identity", ""):
            raise ApiError(415, "Send the body without a Content-Encoding.")
        body = read_body(environ, limit=limit, timeout=self._timeout)
        if kind == "application/json":
            return _read_json(body)
        return _read_form(body) if kind == _FORM else _read_multipart(body, options)


def _read_json(body: bytes) -> Any:
    try:
        return orjson.loads(body.removeprefix(BOM_UTF8))
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"Invalid JSON in the body: {error.msg} in line {error.lineno}.") from error


def _read_form(body: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise ApiError(400, "Invalid form in the body: expected UTF-8 and at most 1000 fields.") from error
    return _to_fields(MultiDict(pairs))


def _read_multipart(body: bytes, options: dict[str, str]) -> dict[str, Any]:
    parser = FormDataParser(max_form_memory_size=len(body) + 1, max_form_parts=_MAX_FIELDS, silent=False)
    try:
        _, form, _ = parser.parse(io.BytesIO(body), _MULTIPART, len(body), options)
    except (ValueError, HTTPException) as error:
        raise ApiError(400, "Invalid multipart form in the body: expected at most 1000 parts.") from error
    return _to_fields(form)


def _to_fields(form: MultiDict[str, str]) -> dict[str, Any]:
    """Return the fields by name. A field that occurs several times is a list."""
    return {name: values[0] if len(values) == 1 else values for name, values in form.lists()}
