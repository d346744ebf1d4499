"""Schemas of request bodies: the fields and their types. :mod:`validators` checks their values.

Field names match regardless of case, unknown fields are ignored, and null counts as absent.
"""

from __future__ import annotations

import functools
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, pre_load

from cometbot.channels.platform.errors import ApiError

_MAX_VALUE_LENGTH = 4096
_MAX_VALUES = 100


class _Text(fields.String):
    """A text; empty if absent. NUL, which no database stores, becomes U+FFFD."""

    def __init__(self, key: str) -> None:
        messages: dict[str, Any] = {"invalid": "must be a text"}
        super().__init__(data_key=key, load_default="", error_messages=messages)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str:
        return str(super()._deserialize(value, attr, data, **options)).replace("\0", "\ufffd")


class _Ids(fields.Field[list[str]]):
    """A list of unique ids; also one text with commas, as forms have it."""

    def __init__(self, key: str) -> None:
        super().__init__(data_key=key, load_default=list)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> list[str]:
        found = [part for part in value.split(",") if part] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise ValidationError("must be a list of texts")
        return list(dict.fromkeys(found))


class _Values(fields.Field[dict[str, str]]):
    """The values of a submitted form: a text for each field."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> dict[str, str]:
        is_plain = isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
        if not is_plain or len(value) > _MAX_VALUES:
            raise ValidationError(f"must be an object with at most {_MAX_VALUES} texts")
        if any(len(name) + len(item) > _MAX_VALUE_LENGTH for name, item in value.items()):
            raise ValidationError(f"must not have texts of more than {_MAX_VALUE_LENGTH} characters")
        return {name.replace("\0", "\ufffd"): item.replace("\0", "\ufffd") for name, item in value.items()}


class _Body(Schema):
    error_messages = {"type": "must be an object"}  # noqa: RUF012

    class Meta:
        unknown = EXCLUDE

    @pre_load
    def normalize_names(self, data: Any, **_: Any) -> Any:
        if not isinstance(data, dict):
            return data
        canonical_names = {
            str(item.data_key or name).lower(): item.data_key or name for name, item in self.fields.items()
        }
        return {canonical_names.get(name.lower(), name): value for name, value in data.items() if value is not None}


class UserBody(_Body):
    nickname = _Text("nickname")


class NameBody(_Body):
    name = _Text("name")


class ChatBody(_Body):
    bot_id = _Text("botId")
    client_id = _Text("clientId")


class MessageBody(_Body):
    chat_id = _Text("chatId")
    body = _Text("body")
    attachment_ids = _Ids("attachmentIds")
    client_id = _Text("clientId")


class ActionBody(_Body):
    name = _Text("name")
    value = _Text("value")
    values = _Values(load_default=dict)
    message_id = _Text("messageId")


class PageMessageBody(MessageBody):
    action = fields.Nested(ActionBody, load_default=None)


class TitleBody(_Body):
    title = _Text("title")


class BotBody(_Body):
    name = _Text("name")
    description = _Text("description")
    avatar = _Text("avatar")


class CommandBody(_Body):
    alias = _Text("alias")
    description = _Text("description")


class WebhookBody(_Body):
    url = _Text("url")
    secret = _Text("secret")


def load(schema: type[Schema], value: Any, *, many: bool = False) -> Any:
    """Return ``value`` loaded with ``schema``. Raises :class:`ApiError` for the first invalid field."""
    given = [] if many and value is None else {} if value is None else value
    if many and not isinstance(given, list):
        raise ApiError(400, "the body must be a JSON array")
    try:
        return _schema_instance(schema).load(given, many=many)
    except ValidationError as error:
        messages = error.normalized_messages()  # type: ignore[no-untyped-call]
        raise ApiError(400, _first_error(messages)) from None


@functools.cache
def _schema_instance(kind: type[Schema]) -> Schema:
    return kind()


def _first_error(messages: Any) -> str:
    path = []
    while isinstance(messages, dict):
        name, messages = next(iter(messages.items()))
        path.append("" if name == "_schema" else f"entry {name + 1}" if isinstance(name, int) else str(name))
    named = ".".join(part for part in path if part) or "the body"
    return f"{named} {messages[0]}"
