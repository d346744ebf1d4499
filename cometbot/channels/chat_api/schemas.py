"""Marshmallow schemas of the Chat API's requests, responses and signals.

Field names are those of the protocol. Unknown members of a body are dropped; those of a message's payload are kept.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar, cast, get_type_hints

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validate

from cometbot.channels.chat_api import models
from cometbot.errors import PayloadError

ID_PATTERN = r"^[a-zA-Z0-9_\-\\/]{1,70}$"
"""The form of the id of a user or conversation."""

MAX_PROFILE_LENGTH = 1000
"""The largest number of characters of a user's profile."""


class BaseSchema(Schema):
    """An object whose unknown members are dropped."""

    class Meta:
        unknown = EXCLUDE


def object_schema(name: str, members: Mapping[str, fields.Field[Any]]) -> type[BaseSchema]:
    """Return the schema of an object with ``members``; the OpenAPI document calls it ``name``."""
    return cast(type[BaseSchema], BaseSchema.from_dict(dict(members), name=name))


class StrictNumber(fields.Field[float]):
    """A JSON number. Strings of digits and booleans are invalid."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValidationError("Not a valid number.")
        return value


class StrictBoolean(fields.Field[bool]):
    """``true`` or ``false``."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("Not a valid boolean.")
        return value


class PayloadField(fields.Field[dict[str, Any]]):
    """A payload of one of ``kinds`` (schemas by their ``type``). It is validated and returned unchanged."""

    def __init__(self, kinds: Mapping[str, Schema], **options: Any) -> None:
        super().__init__(**options)
        self.kinds = kinds

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("Not a valid mapping type.")
        kind = value.get("type")
        schema = self.kinds.get(kind) if isinstance(kind, str) else None
        if schema is None:
            raise ValidationError({"type": [f"Must be one of: {', '.join(self.kinds)}."]})
        if errors := schema.validate(value):
            raise ValidationError(cast(Any, errors))
        return value


def _text(**options: Any) -> fields.String:
    return fields.String(**{"required": True, "validate": validate.Length(min=1), **options})


def _payloads(**members: Mapping[str, fields.Field[Any]]) -> dict[str, BaseSchema]:
    """Return the schemas of payloads by their ``type``, from their other members."""
    return {
        kind: object_schema(f"{kind.capitalize()}Payload", {"type": _text(validate=validate.OneOf([kind])), **own})()
        for kind, own in members.items()
    }


class CardAction(BaseSchema):
    action = fields.String(required=True, validate=validate.OneOf(["postback", "url", "say"]))
    label = _text()
    value = _text()


class ChoiceOption(BaseSchema):
    label = _text()
    value = _text()


BLOC_PAYLOADS = _payloads(
    text={"text": _text()},
    markdown={"markdown": _text()},
    image={"imageUrl": _text()},
    audio={"audioUrl": _text()},
    video={"videoUrl": _text()},
    file={"fileUrl": _text(), "title": _text(required=False)},
    location={
        "latitude": StrictNumber(required=True),
        "longitude": StrictNumber(required=True),
        "address": fields.String(),
        "title": fields.String(),
    },
)
"""The payloads that a bloc may hold, by their type."""

_CARD = _payloads(
    card={
        "title": _text(),
        "subtitle": _text(required=False),
        "imageUrl": _text(required=False),
        "actions": fields.List(fields.Nested(CardAction), required=True),
    }
)
_CHOICE: Mapping[str, fields.Field[Any]] = {
    "text": _text(),
    "options": fields.List(fields.Nested(ChoiceOption), required=True),
}

PAYLOADS = (
    BLOC_PAYLOADS
    | _CARD
    | _payloads(
        carousel={"items": fields.List(PayloadField(_CARD), required=True)},
        choice=_CHOICE,
        dropdown=_CHOICE,
        bloc={"items": fields.List(PayloadField(BLOC_PAYLOADS), required=True)},
    )
)
"""All payloads of messages, by their type."""


class UserFields(BaseSchema):
    """The fields of a user that the user may set."""

    name = fields.String()
    pictureUrl = fields.String()
    profile = fields.String(validate=validate.Length(max=MAX_PROFILE_LENGTH))


_ID_METADATA = {"pattern": ID_PATTERN, "description": "An id of your own."}


class CreateUserBody(UserFields):
    id = fields.String(metadata=_ID_METADATA)


class CreateConversationBody(BaseSchema):
    id = fields.String(metadata=_ID_METADATA)


class GetOrCreateConversationBody(BaseSchema):
    id = fields.String(required=True, metadata=_ID_METADATA)


class AddParticipantBody(BaseSchema):
    userId = fields.String(required=True)


class CreateMessageBody(BaseSchema):
    conversationId = fields.String(required=True)
    payload = PayloadField(PAYLOADS, required=True)
    metadata = fields.Dict()


class CreateEventBody(BaseSchema):
    conversationId = fields.String(required=True)
    payload = fields.Dict(required=True)


class ErrorSchema(BaseSchema):
    """The body of every error response."""

    id = fields.String(required=True)
    code = fields.Integer(required=True, strict=True)
    type = fields.String(required=True)
    message = fields.String(required=True)


class SignalSchema(BaseSchema):
    type = fields.String(required=True)
    data = fields.Dict(required=True)


class ModelSchema(BaseSchema):
    """The schema of a model of the client, which it loads. ``defaults`` stand for absent values and for null."""

    model: ClassVar[type]
    defaults: ClassVar[Mapping[str, Any]]

    @post_load
    def make(self, data: dict[str, Any], **kwargs: Any) -> Any:
        return self.model(**{**self.defaults, **{name: value for name, value in data.items() if value is not None}})


_FIELDS: dict[Any, Callable[..., fields.Field[Any]]] = {
    str: fields.String,
    bool: StrictBoolean,
    bool | None: StrictBoolean,
    float: StrictNumber,
    datetime: fields.AwareDateTime,
    Mapping[str, Any]: fields.Dict,
}
"""The field for each type of a model's attribute; models that are part of others are added."""


def _model_schema(
    model: type,
    *,
    defaults: Mapping[str, Any] | None = None,
    nullable: Collection[str] = (),
    required: Collection[str] = (),
) -> type[ModelSchema]:
    """Return the schema of a dataclass, with the protocol's names: ``created_at`` is ``createdAt``.

    Attributes without a default are required, and those in ``required``; those in ``nullable`` may be null.
    """
    defaults, hints = defaults or {}, get_type_hints(model)
    members = {
        re.sub("_(.)", lambda match: match[1].upper(), name): _FIELDS[hints[name]](
            attribute=name, required=name not in defaults or name in required, allow_none=name in nullable
        )
        for name in (field.name for field in dataclasses.fields(model) if field.name != "raw")
    }
    schema = cast(type[ModelSchema], ModelSchema.from_dict(members, name=model.__name__.removeprefix("Api")))
    schema.model, schema.defaults = model, defaults
    _FIELDS[model] = functools.partial(fields.Nested, schema)
    return schema


UserSchema = _model_schema(models.ApiUser, defaults={"name": "", "picture_url": "", "profile": ""})
ConversationSchema = _model_schema(models.ApiConversation)
MessageSchema = _model_schema(models.ApiMessage, defaults={"metadata": {}}, nullable=["metadata"])
EventSchema = _model_schema(models.ApiEvent, defaults={"id": ""}, nullable=["id"], required=["id"])

SIGNALS: Mapping[str, ModelSchema] = {
    kind: _model_schema(model)()
    for kind, model in {
        "message_created": models.MessageCreated,
        "message_deleted": models.MessageDeleted,
        "event_created": models.EventCreated,
        "participant_added": models.ParticipantAdded,
        "participant_removed": models.ParticipantRemoved,
        "message_stream_delta": models.StreamDelta,
        "message_stream_complete": models.StreamComplete,
        "message_stream_abort": models.StreamAbort,
    }.items()
}
"""The schemas of signals' data, by their type."""


def _response(name: str, **members: fields.Field[Any]) -> BaseSchema:
    return object_schema(f"{name}Response", members)()


def _one(schema: type[BaseSchema]) -> fields.Field[Any]:
    return fields.Nested(schema, required=True)


def _page(name: str, schema: type[BaseSchema]) -> BaseSchema:
    items = fields.List(fields.Nested(schema), required=True)
    return _response(name.capitalize(), **{name: items, "meta": _one(_PAGE_META)})


_PAGE_META = object_schema("PageMeta", {"nextToken": fields.String()})

EMPTY = _response("Empty")
USER = _response("User", user=_one(UserSchema))
USER_WITH_KEY = _response("UserKey", user=_one(UserSchema), key=fields.String(required=True))
CONVERSATION = _response("Conversation", conversation=_one(ConversationSchema))
CONVERSATIONS = _page("conversations", ConversationSchema)
PARTICIPANT = _response("Participant", participant=_one(UserSchema))
PARTICIPANTS = _page("participants", UserSchema)
MESSAGE = _response("Message", message=_one(MessageSchema))
MESSAGES = _page("messages", MessageSchema)
EVENT = _response("Event", event=_one(EventSchema))


def load(schema: Schema, value: Any, what: str = "body") -> Any:
    """Return ``value`` loaded with ``schema``.

    Raises :class:`PayloadError`, which names each invalid field by its path.
    """
    try:
        return schema.load(value)
    except ValidationError as error:
        details = dict(_flatten(error.messages, ""))
        summary = "; ".join(f"{path}: {' '.join(texts)}" for path, texts in list(details.items())[:5])
        raise PayloadError(f"invalid {what}: {summary}", details=details) from None


def _flatten(messages: Any, path: str) -> Iterator[tuple[str, list[str]]]:
    if isinstance(messages, dict):
        for name, inner in messages.items():
            field_path = path if name == "_schema" else f"{path}.{name}" if path else str(name)
            yield from _flatten(inner, field_path)
    else:
        yield path or "body", [str(text) for text in messages]
