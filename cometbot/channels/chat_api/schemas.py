"""Marshmallow schemas of the Chat API's requests, responses and signals.

Field names are those of the protocol. Unknown members of a body are dropped; those of a message's payload are kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, cast

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validate

from cometbot.channels.chat_api import models
from cometbot.errors import PayloadError

ID_PATTERN = r"^[a-zA-Z0-9_\-\\/]{1,70}$"
"""The form of the id of a user or conversation."""

MAX_PROFILE_LENGTH = 1000
"""The largest number of characters of a user's profile."""

_NOT_EMPTY = validate.Length(min=1)


class BaseSchema(Schema):
    """An object whose unknown members are dropped."""

    class Meta:
        unknown = EXCLUDE


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


class AwareDateTime(fields.Field[datetime]):
    """An ISO 8601 time with a time zone, which every date of the API has."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> datetime:
        try:
            # ``fromisoformat`` accepts Z since Python 3.11.
            found = datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", value))
        except (TypeError, ValueError):
            raise ValidationError("Not a valid datetime.") from None
        if found.tzinfo is None:
            raise ValidationError("Not a valid aware datetime.")
        return found


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


def _type_field(kind: str) -> fields.String:
    return fields.String(required=True, validate=validate.OneOf([kind]))


class TextPayload(BaseSchema):
    type = _type_field("text")
    text = fields.String(required=True, validate=_NOT_EMPTY)


class MarkdownPayload(BaseSchema):
    type = _type_field("markdown")
    markdown = fields.String(required=True, validate=_NOT_EMPTY)


class ImagePayload(BaseSchema):
    type = _type_field("image")
    imageUrl = fields.String(required=True, validate=_NOT_EMPTY)


class AudioPayload(BaseSchema):
    type = _type_field("audio")
    audioUrl = fields.String(required=True, validate=_NOT_EMPTY)


class VideoPayload(BaseSchema):
    type = _type_field("video")
    videoUrl = fields.String(required=True, validate=_NOT_EMPTY)


class FilePayload(BaseSchema):
    type = _type_field("file")
    fileUrl = fields.String(required=True, validate=_NOT_EMPTY)
    title = fields.String(validate=_NOT_EMPTY)


class LocationPayload(BaseSchema):
    type = _type_field("location")
    latitude = StrictNumber(required=True)
    longitude = StrictNumber(required=True)
    address = fields.String()
    title = fields.String()


class CardAction(BaseSchema):
    action = fields.String(required=True, validate=validate.OneOf(["postback", "url", "say"]))
    label = fields.String(required=True, validate=_NOT_EMPTY)
    value = fields.String(required=True, validate=_NOT_EMPTY)


class CardPayload(BaseSchema):
    type = _type_field("card")
    title = fields.String(required=True, validate=_NOT_EMPTY)
    subtitle = fields.String(validate=_NOT_EMPTY)
    imageUrl = fields.String(validate=_NOT_EMPTY)
    actions = fields.List(fields.Nested(CardAction), required=True)


_CARD = {"card": CardPayload()}


class CarouselPayload(BaseSchema):
    type = _type_field("carousel")
    items = fields.List(PayloadField(_CARD), required=True)


class ChoiceOption(BaseSchema):
    label = fields.String(required=True, validate=_NOT_EMPTY)
    value = fields.String(required=True, validate=_NOT_EMPTY)


class ChoicePayload(BaseSchema):
    type = _type_field("choice")
    text = fields.String(required=True, validate=_NOT_EMPTY)
    options = fields.List(fields.Nested(ChoiceOption), required=True)


class DropdownPayload(ChoicePayload):
    """A choice that is shown as a dropdown list."""

    type = _type_field("dropdown")


BLOC_PAYLOADS: dict[str, Schema] = {
    "text": TextPayload(),
    "markdown": MarkdownPayload(),
    "image": ImagePayload(),
    "audio": AudioPayload(),
    "video": VideoPayload(),
    "file": FilePayload(),
    "location": LocationPayload(),
}
"""The payloads that a bloc may hold, by their type."""


class BlocPayload(BaseSchema):
    type = _type_field("bloc")
    items = fields.List(PayloadField(BLOC_PAYLOADS), required=True)


PAYLOADS: dict[str, Schema] = {
    **BLOC_PAYLOADS,
    **_CARD,
    "carousel": CarouselPayload(),
    "choice": ChoicePayload(),
    "dropdown": DropdownPayload(),
    "bloc": BlocPayload(),
}
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


class NoBody(BaseSchema):
    """A body that is ignored."""


class UserSchema(BaseSchema):
    id = fields.String(required=True)
    name = fields.String()
    pictureUrl = fields.String()
    profile = fields.String()
    createdAt = AwareDateTime(required=True)
    updatedAt = AwareDateTime(required=True)

    @post_load
    def make(self, data: dict[str, Any], **kwargs: Any) -> models.ApiUser:
        return models.ApiUser(
            data["id"],
            data.get("name", ""),
            data.get("pictureUrl", ""),
            data.get("profile", ""),
            data["createdAt"],
            data["updatedAt"],
        )


class ConversationSchema(BaseSchema):
    id = fields.String(required=True)
    createdAt = AwareDateTime(required=True)
    updatedAt = AwareDateTime(required=True)

    @post_load
    def make(self, data: dict[str, Any], **kwargs: Any) -> models.ApiConversation:
        return models.ApiConversation(data["id"], data["createdAt"], data["updatedAt"])


class MessageSchema(BaseSchema):
    id = fields.String(required=True)
    createdAt = AwareDateTime(required=True)
    conversationId = fields.String(required=True)
    userId = fields.String(required=True)
    payload = fields.Dict(required=True)
    metadata = fields.Dict(allow_none=True)

    @post_load
    def make(self, data: dict[str, Any], **kwargs: Any) -> models.ApiMessage:
        return models.ApiMessage(
            data["id"],
            data["conversationId"],
            data["userId"],
            data["payload"],
            data.get("metadata") or {},
            data["createdAt"],
        )


class EventSchema(BaseSchema):
    id = fields.String(required=True, allow_none=True)
    createdAt = AwareDateTime(required=True)
    conversationId = fields.String(required=True)
    userId = fields.String(required=True)
    payload = fields.Dict(required=True)

    @post_load
    def make(self, data: dict[str, Any], **kwargs: Any) -> models.ApiEvent:
        return models.ApiEvent(
            data["id"] or "", data["conversationId"], data["userId"], data["payload"], data["createdAt"]
        )


class ErrorSchema(BaseSchema):
    """The body of every error response."""

    id = fields.String(required=True)
    code = fields.Integer(required=True, strict=True)
    type = fields.String(required=True)
    message = fields.String(required=True)


class PageMeta(BaseSchema):
    nextToken = fields.String()


class UserResponse(BaseSchema):
    user = fields.Nested(UserSchema, required=True)


class UserKeyResponse(UserResponse):
    key = fields.String(required=True)


class ConversationResponse(BaseSchema):
    conversation = fields.Nested(ConversationSchema, required=True)


class ParticipantResponse(BaseSchema):
    participant = fields.Nested(UserSchema, required=True)


class MessageResponse(BaseSchema):
    message = fields.Nested(MessageSchema, required=True)


class EventResponse(BaseSchema):
    event = fields.Nested(EventSchema, required=True)


class EmptyResponse(BaseSchema):
    """An empty object."""


class ConversationsResponse(BaseSchema):
    conversations = fields.List(fields.Nested(ConversationSchema), required=True)
    meta = fields.Nested(PageMeta, required=True)


class ParticipantsResponse(BaseSchema):
    participants = fields.List(fields.Nested(UserSchema), required=True)
    meta = fields.Nested(PageMeta, required=True)


class MessagesResponse(BaseSchema):
    messages = fields.List(fields.Nested(MessageSchema), required=True)
    meta = fields.Nested(PageMeta, required=True)


class SignalSchema(BaseSchema):
    type = fields.String(required=True)
    data = fields.Dict(required=True)


class MessageDeletedSchema(BaseSchema):
    id = fields.String(required=True)
    conversationId = fields.String(required=True)
    userId = fields.String(required=True)


class ParticipantSchema(BaseSchema):
    conversationId = fields.String(required=True)
    participantId = fields.String(required=True)


class StreamDeltaSchema(BaseSchema):
    streamId = fields.String(required=True)
    conversationId = fields.String(required=True)
    userId = fields.String(required=True)
    createdAt = AwareDateTime(required=True)
    sequence = StrictNumber(required=True)
    delta = fields.String(required=True)


class StreamCompleteSchema(BaseSchema):
    streamId = fields.String(required=True)
    message = fields.Nested(MessageSchema, required=True)


class StreamAbortSchema(BaseSchema):
    streamId = fields.String(required=True)
    conversationId = fields.String(required=True)


class IsBotSchema(BaseSchema):
    isBot = StrictBoolean(required=True)


def load(schema: Schema, value: Any, what: str = "the body") -> Any:
    """Return ``value`` loaded with ``schema``.

    Raises :class:`PayloadError`, which names each invalid field by its path.
    """
    try:
        return schema.load(value)
    except ValidationError as error:
        details = dict(_flatten(error.messages, ""))
        summary = "; ".join(f"{path}: {' '.join(texts)}" for path, texts in list(details.items())[:5])
        raise PayloadError(f"{what} is not as it must be: {summary}", details=details) from None


def _flatten(messages: Any, path: str) -> Iterator[tuple[str, list[str]]]:
    if isinstance(messages, dict):
        for name, inner in messages.items():
            field_path = path if name == "_schema" else f"{path}.{name}" if path else str(name)
            yield from _flatten(inner, field_path)
    else:
        yield path or "body", [str(text) for text in messages]
