"""Schemas of request bodies and of the config file: the fields and their types.

:mod:`validators` checks the values in bodies.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar, TypeVar, get_args, get_type_hints
from urllib.parse import urlsplit

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, pre_load, validate

from cometbot.channels.platform.errors import ApiError

T = TypeVar("T")

MAX_LIMIT = 2**40
"""The largest value of a limit in the config file."""

_MAX_VALUE_LENGTH = 4096
_MAX_VALUES = 100
_UNKNOWN = "Unknown field."


class _Text(fields.String):
    """A text; empty if absent. NUL, which no database stores, becomes U+FFFD."""

    def __init__(self) -> None:
        messages: dict[str, Any] = {"invalid": "must be a text"}
        super().__init__(load_default="", error_messages=messages)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str:
        return str(super()._deserialize(value, attr, data, **options)).replace("\0", "\ufffd")


class _Ids(fields.Field[list[str]]):
    """A list of unique ids; also one text with commas, as forms have it."""

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
    """A request body. Names match regardless of case, unknown fields are ignored, and null counts as absent."""

    error_messages = {"type": "must be an object"}  # noqa: RUF012

    class Meta:
        unknown = EXCLUDE

    @pre_load
    def normalize_names(self, data: Any, **_: Any) -> Any:
        if not isinstance(data, dict):
            return data
        canonical_names = {name.lower(): name for name in self.fields}
        return {canonical_names.get(name.lower(), name): value for name, value in data.items() if value is not None}


BodySchema = type[Schema]
"""The schema of a request body."""


def _body_of(*texts: str, **others: fields.Field[Any]) -> BodySchema:
    return _Body.from_dict({**{name: _Text() for name in texts}, **others})


UserBody = _body_of("nickname")
NameBody = _body_of("name")
TitleBody = _body_of("title")
ChatBody = _body_of("botId", "clientId")
BotBody = _body_of("name", "description", "avatar")
CommandBody = _body_of("alias", "description")
WebhookBody = _body_of("url", "secret")
MessageBody = _body_of("chatId", "body", attachmentIds=_Ids(load_default=list), clientId=_Text())
ActionBody = _body_of("name", "value", values=_Values(load_default=dict), messageId=_Text())
PageMessageBody = MessageBody.from_dict({"action": fields.Nested(ActionBody, load_default=None)})


def load(schema: BodySchema, value: Any, *, many: bool = False) -> Any:
    """Return ``value`` loaded with ``schema``. Raises :class:`ApiError` for the first invalid field."""
    given = [] if many and value is None else {} if value is None else value
    if many and not isinstance(given, list):
        raise ApiError(400, "the body must be a JSON array")
    try:
        return _schema_instance(schema).load(given, many=many)
    except ValidationError as error:
        path, text = _first_error(error)
        names = [f"entry {part + 1}" if isinstance(part, int) else part for part in path]
        raise ApiError(400, f"{'.'.join(names) or 'the body'} {text}") from None


@functools.cache
def _schema_instance(kind: type[Schema]) -> Schema:
    return kind()


def _first_error(error: ValidationError) -> tuple[tuple[Any, ...], str]:
    """Return the path of the first invalid field, and its problem."""
    messages = error.normalized_messages()  # type: ignore[no-untyped-call]
    path: tuple[Any, ...] = ()
    while isinstance(messages, dict):
        name, messages = next(iter(messages.items()))
        path = path if name == "_schema" else (*path, name)
    return path, str(messages[0] if isinstance(messages, list) else messages)


class InvalidField(Exception):
    """An invalid value in a file. The text names the problem, and ``path`` the field."""

    def __init__(self, path: tuple[Any, ...], text: str) -> None:
        super().__init__(text)
        self.path = path
        self.is_unknown = text == _UNKNOWN


def load_dataclass(kind: type[T], values: dict[str, Any]) -> T:
    """Return ``values`` as the dataclass ``kind``; names in camel case become those of its fields.

    Fields are numbers above 0, texts, other such dataclasses, and tuples of them. The metadata of a field may contain
    ``maximum`` with the text ``error``; ``at_most``, the name of another field; and ``is_url``. A text without a
    default must not be empty. Raises :class:`InvalidField` for the first invalid value.
    """
    try:
        loaded: T = _dataclass_schema(kind)().load(values)
    except ValidationError as error:
        raise InvalidField(*_first_error(error)) from None
    return loaded


def camel_case(name: str) -> str:
    """Return the name of a dataclass's field in JSON."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


class _Section(Schema):
    error_messages = {"type": "must be an object, {…}"}  # noqa: RUF012
    kind: ClassVar[type[Any]]

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Any:
        for item in dataclasses.fields(self.kind):
            other = item.metadata.get("at_most")
            if other and data[item.name] > data[other]:
                raise ValidationError(f"must not be more than {camel_case(other)}", camel_case(item.name))
        return self.kind(**data)


class _LimitField(fields.Integer):
    """A whole number above 0. Null and 0 stand for the default, like a missing value."""

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **options: Any) -> Any:
        if isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        is_set = value is not None and not (value == 0 and type(value) is int)
        return super().deserialize(value, attr, data, **options) if is_set else self.load_default


class _TupleField(fields.List[Any]):
    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **options: Any) -> Any:
        return tuple(super().deserialize([] if value is None else value, attr, data, **options))


def _dataclass_schema(kind: Any) -> type[Schema]:
    types = get_type_hints(kind)
    members = {item.name: _field_of(item, types[item.name]) for item in dataclasses.fields(kind)}
    schema = _Section.from_dict(members, name=kind.__name__)
    schema.kind = kind  # type: ignore[attr-defined]
    return schema


def _field_of(item: dataclasses.Field[Any], kind: Any) -> fields.Field[Any]:
    key = camel_case(item.name)
    if kind is int:
        return _limit_field(item, key)
    if kind is str:
        return _text_field(item, key)
    if dataclasses.is_dataclass(kind):
        messages: dict[str, Any] = {"null": "must be an object, {{…}}"}
        return fields.Nested(_dataclass_schema(kind), data_key=key, load_default=kind, error_messages=messages)
    entries = fields.Nested(_dataclass_schema(get_args(kind)[0]))
    messages = {"invalid": "must be a list of links, [{{…}}]"}
    return _TupleField(entries, data_key=key, load_default=list, error_messages=messages)


def _limit_field(item: dataclasses.Field[Any], key: str) -> fields.Field[Any]:
    in_range = f"must be a whole number from 1 to {MAX_LIMIT}, or 0 for the default"
    checks = [validate.Range(1, MAX_LIMIT, error=in_range)]
    if maximum := item.metadata.get("maximum"):
        checks.append(validate.Range(max=maximum, error=item.metadata["error"]))
    messages: dict[str, Any] = {"invalid": "must be a whole number"}
    return _LimitField(strict=True, data_key=key, load_default=item.default, validate=checks, error_messages=messages)


def _text_field(item: dataclasses.Field[Any], key: str) -> fields.Field[Any]:
    is_required = item.default is dataclasses.MISSING
    checks = [_check_not_blank] if is_required else []
    checks += [_check_url] if item.metadata.get("is_url") else []
    messages: dict[str, Any] = {"invalid": "must be a text", "null": "must be a text", "required": "is missing"}
    given: dict[str, Any] = {"required": True} if is_required else {"load_default": item.default}
    return fields.String(data_key=key, validate=checks, error_messages=messages, **given)


def _check_not_blank(text: str) -> None:
    if not text.strip():
        raise ValidationError("must not be empty")


def _check_url(text: str) -> None:
    try:
        parts = urlsplit(text)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_valid = False
    if text and not is_valid:
        raise ValidationError("must be an http or https URL such as https://example.com")
