"""Schemas of the config file: every field with its default and its validation."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from marshmallow import Schema, ValidationError, fields, post_load, validate

from cometbot.channels.platform.config.fields import (
    Config,
    FileLimits,
    MessageLimits,
    Service,
    Social,
    UserLimits,
)

_MAX_LIMIT = 2**40
_UNKNOWN = "Unknown field."


class InvalidField(Exception):
    """An invalid value in the config. The text names the problem, and ``path`` the field."""

    def __init__(self, path: tuple[Any, ...], text: str) -> None:
        super().__init__(text)
        self.path = path
        self.is_unknown = text == _UNKNOWN


def parse_config(values: dict[str, Any]) -> Config:
    """Return the config for ``values``. Raises :class:`InvalidField` for the first invalid value."""
    try:
        config: Config = _ConfigSchema().load(values)
    except ValidationError as error:
        raise InvalidField(*_first_error(error.normalized_messages())) from None  # type: ignore[no-untyped-call]
    return config


def field_paths() -> list[tuple[str, ...]]:
    """Return the path of each text and number in the config."""
    return _field_paths(_ConfigSchema())


def _field_paths(schema: Schema, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, item in schema.fields.items():
        path = (*before, item.data_key or name)
        if isinstance(item, fields.Nested):
            found += _field_paths(item.schema, path)
        elif not isinstance(item, fields.List):
            found.append(path)
    return found


def _first_error(messages: Any) -> tuple[tuple[Any, ...], str]:
    path: tuple[Any, ...] = ()
    while isinstance(messages, dict):
        name, messages = next(iter(messages.items()))
        path = path if name == "_schema" else (*path, name)
    return path, str(messages[0] if isinstance(messages, list) else messages)


_NUMBER_MESSAGES: dict[str, Any] = {"invalid": "must be a whole number", "null": "must be a whole number"}
_TEXT_MESSAGES: dict[str, Any] = {"invalid": "must be a text", "null": "must be a text", "required": "is missing"}


def _check_url(text: str) -> None:
    try:
        parts = urlsplit(text)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_valid = False
    if text and not is_valid:
        raise ValidationError("must be an http or https URL such as https://example.com")


class _SectionSchema(Schema):
    error_messages = {"type": "must be an object, {…}"}  # noqa: RUF012


class _LimitField(fields.Integer):
    """A whole number above 0. Null and 0 stand for the default, like a missing value."""

    def __init__(self, key: str, default: int) -> None:
        check = validate.Range(
            1, _MAX_LIMIT, error=f"must be a whole number from 1 to {_MAX_LIMIT}, or 0 for the default"
        )
        super().__init__(
            strict=True, data_key=key, load_default=default, validate=check, error_messages=_NUMBER_MESSAGES
        )
        self._default = default

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **options: Any) -> Any:
        is_set = value is not None and not (value == 0 and type(value) is int)
        if isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return super().deserialize(value, attr, data, **options) if is_set else self._default


def _text(default: str = "", **options: Any) -> fields.String:
    return fields.String(load_default=default, error_messages=_TEXT_MESSAGES, **options)


class _NotBlank(validate.Validator):
    def __call__(self, text: str) -> None:
        if not text.strip():
            raise ValidationError("must not be empty")


class _SocialSchema(_SectionSchema):
    title = fields.String(required=True, error_messages=_TEXT_MESSAGES, validate=_NotBlank())
    url = fields.String(required=True, error_messages=_TEXT_MESSAGES, validate=[_NotBlank(), _check_url])

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Social:
        return Social(**data)


class _ServiceSchema(_SectionSchema):
    name = _text(Service().name)
    description = _text(Service().description)
    avatar = _text(validate=_check_url)
    socials = fields.List(
        fields.Nested(_SocialSchema),
        load_default=list,
        allow_none=True,
        error_messages={"invalid": "must be a list of links, [{{…}}]"},
    )

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Service:
        return Service(**{**data, "socials": tuple(data["socials"] or ())})


class _UserSchema(_SectionSchema):
    min_nickname_length = _LimitField("minNicknameLength", 3)
    max_nickname_length = _LimitField("maxNicknameLength", 32)
    auth_token_lifetime = _LimitField("authTokenLifetime", 10080)

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> UserLimits:
        limits = UserLimits(**data)
        if limits.min_nickname_length > limits.max_nickname_length:
            raise ValidationError("must not be more than maxNicknameLength", "minNicknameLength")
        if limits.auth_token_lifetime > 10 * 366 * 1440:
            raise ValidationError("must be at most ten years, in minutes", "authTokenLifetime")
        return limits


class _MessageSchema(_SectionSchema):
    max_body_length = _LimitField("maxBodyLength", 4096)
    max_attached_files = _LimitField("maxAttachedFiles", 10)

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> MessageLimits:
        limits = MessageLimits(**data)
        if limits.max_body_length > 2**20:
            raise ValidationError("must be at most 1048576 bytes", "maxBodyLength")
        if limits.max_attached_files > 100:
            raise ValidationError("must be at most 100", "maxAttachedFiles")
        return limits


class _FileSchema(_SectionSchema):
    max_image_size = _LimitField("maxImageSize", 2097152)
    max_audio_size = _LimitField("maxAudioSize", 5242880)
    max_video_size = _LimitField("maxVideoSize", 26214400)
    max_file_size = _LimitField("maxFileSize", 10485760)

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> FileLimits:
        return FileLimits(**data)


def _section(schema: type[Schema]) -> fields.Nested:
    def load_defaults() -> Any:
        return schema().load({})

    return fields.Nested(schema, load_default=load_defaults, error_messages={"null": "must be an object, {{…}}"})


class _LimitsSchema(_SectionSchema):
    user = _section(_UserSchema)
    message = _section(_MessageSchema)
    file = _section(_FileSchema)


class _ConfigSchema(_SectionSchema):
    service = _section(_ServiceSchema)
    limits = _section(_LimitsSchema)

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Config:
        return Config(data["service"], **data["limits"])
