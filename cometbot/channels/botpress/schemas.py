"""The shapes of the Chat API, as marshmallow schemas: what comes in, what goes out, and what a signal holds.

Spelled as on the wire. Unknown members of a body are left out of what is loaded; those of a message's payload stay.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, cast

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validate

from cometbot.channels.botpress import records
from cometbot.errors import PayloadError

OWN_ID = r"^[a-zA-Z0-9_\-\\/]{1,70}$"
"""What the id of a user or conversation looks like."""

PROFILE_LIMIT = 1000
"""Characters of a user's profile."""

_SOME = validate.Length(min=1)


class Shape(Schema):
    """An object whose unknown members are left out."""

    class Meta:
        unknown = EXCLUDE


class Number(fields.Field[float]):
    """A JSON number; a text with digits in it is none, nor is a truth value."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValidationError("Not a valid number.")
        return value


class Flag(fields.Field[bool]):
    """``true`` or ``false``."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("Not a valid boolean.")
        return value


class Date(fields.Field[datetime]):
    """A time in ISO 8601 with its zone, which every date of the API has."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> datetime:
        try:
            # Python reads the Z itself from 3.11 on.
            found = datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", value))
        except (TypeError, ValueError):
            raise ValidationError("Not a valid datetime.") from None
        if found.tzinfo is None:
            raise ValidationError("Not a valid aware datetime.")
        return found


class PayloadField(fields.Field[dict[str, Any]]):
    """A payload of one of ``kinds`` (schemas by their ``type``), which comes back as it was given."""

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
        if faults := schema.validate(value):
            raise ValidationError(cast(Any, faults))
        return value


def _type(kind: str) -> fields.String:
    return fields.String(required=True, validate=validate.OneOf([kind]))


class TextPayload(Shape):
    type = _type("text")
    text = fields.String(required=True, validate=_SOME)


class MarkdownPayload(Shape):
    type = _type("markdown")
    markdown = fields.String(required=True, validate=_SOME)


class ImagePayload(Shape):
    type = _type("image")
    imageUrl = fields.String(required=True, validate=_SOME)


class AudioPayload(Shape):
    type = _type("audio")
    audioUrl = fields.String(required=True, validate=_SOME)


class VideoPayload(Shape):
    type = _type("video")
    videoUrl = fields.String(required=True, validate=_SOME)


class FilePayload(Shape):
    type = _type("file")
    fileUrl = fields.String(required=True, validate=_SOME)
    title = fields.String(validate=_SOME)


class LocationPayload(Shape):
    type = _type("location")
    latitude = Number(required=True)
    longitude = Number(required=True)
    address = fields.String()
    title = fields.String()


class CardAction(Shape):
    action = fields.String(required=True, validate=validate.OneOf(["postback", "url", "say"]))
    label = fields.String(required=True, validate=_SOME)
    value = fields.String(required=True, validate=_SOME)


class CardPayload(Shape):
    type = _type("card")
    title = fields.String(required=True, validate=_SOME)
    subtitle = fields.String(validate=_SOME)
    imageUrl = fields.String(validate=_SOME)
    actions = fields.List(fields.Nested(CardAction), required=True)


_CARD = {"card": CardPayload()}


class CarouselPayload(Shape):
    type = _type("carousel")
    items = fields.List(PayloadField(_CARD), required=True)


class ChoiceOption(Shape):
    label = fields.String(required=True, validate=_SOME)
    value = fields.String(required=True, validate=_SOME)


class ChoicePayload(Shape):
    type = _type("choice")
    text = fields.String(required=True, validate=_SOME)
    options = fields.List(fields.Nested(ChoiceOption), required=True)


class DropdownPayload(ChoicePayload):
    """As a choice, shown as a list that opens."""

    type = _type("dropdown")


SINGLE: dict[str, Schema] = {
    "text": TextPayload(),
    "markdown": MarkdownPayload(),
    "image": ImagePayload(),
    "audio": AudioPayload(),
    "video": VideoPayload(),
    "file": FilePayload(),
    "location": LocationPayload(),
}
"""The payloads that a bloc may hold, by their type."""


class BlocPayload(Shape):
    type = _type("bloc")
    items = fields.List(PayloadField(SINGLE), required=True)


PAYLOADS: dict[str, Schema] = {
    **SINGLE,
    **_CARD,
    "carousel": CarouselPayload(),
    "choice": ChoicePayload(),
    "dropdown": DropdownPayload(),
    "bloc": BlocPayload(),
}
"""All payloads of messages, by their type."""


class UserFields(Shape):
    """What a user may say about itself."""

    name = fields.String()
    pictureUrl = fields.String()
    profile = fields.String(validate=validate.Length(max=PROFILE_LIMIT))


_OWN_ID = {"pattern": OWN_ID, "description": "An id of your own."}


class CreateUserBody(UserFields):
    id = fields.String(metadata=_OWN_ID)


class CreateConversationBody(Shape):
    id = fields.String(metadata=_OWN_ID)


class GetOrCreateConversationBody(Shape):
    id = fields.String(required=True, metadata=_OWN_ID)


class AddParticipantBody(Shape):
    userId = fields.String(required=True)


class CreateMessageBody(Shape):
    conversationId = fields.String(required=True)
    payload = PayloadField(PAYLOADS, required=True)
    metadata = fields.Dict()


class CreateEventBody(Shape):
    conversationId = fields.String(required=True)
    payload = fields.Dict(required=True)


class NoBody(Shape):
    """Nothing is read of it."""


class UserShape(Shape):
    id = fields.String(required=True)
    name = fields.String()
    pictureUrl = fields.String()
    profile = fields.String()
    createdAt = Date(required=True)
    updatedAt = Date(required=True)

    @post_load
    def make(self, data: dict[str, Any], **kwargs: Any) -> records.ApiUser:
        return records.ApiUser(
            data["id"],
            data.get("name", ""),
            data.get("pictureUrl", ""),
            data.get("profile", ""),
            data["createdAt"],
            data["updatedAt"],
        )


class ConversationShape(Shape):
    id = fields.String(required=True)
    createdAt = Date(required=True)
    updatedAt = Date(required=True)

    @post_load
    def make(self, data: dict[str, Any], **kwargs: Any) -> records.ApiConversation:
        return records.ApiConversation(data["id"], data["createdAt"], data["updatedAt"])


class MessageShape(Shape):
    id = fields.String(required=True)
    createdAt = Date(required=True)
    conversationId = fields.String(required=True)
    userId = fields.String(required=True)
    payload = fields.Dict(required=True)
    metadata = fields.Dict(allow_none=True)

    @post_load
    def make(self, data: dict[str, Any], **kwargs: Any) -> records.ApiMessage:
        return records.ApiMessage(
            data["id"],
            data["conversationId"],
            data["userId"],
            data["payload"],
            data.get("metadata") or {},
            data["createdAt"],
        )


class EventShape(Shape):
    id = fields.String(required=True, allow_none=True)
    createdAt = Date(required=True)
    conversationId = fields.String(required=True)
    userId = fields.String(required=True)
    payload = fields.Dict(required=True)

    @post_load
    def make(self, data: dict[str, Any], **kwargs: Any) -> records.ApiEvent:
        return records.ApiEvent(
            data["id"] or "", data["conversationId"], data["userId"], data["payload"], data["createdAt"]
        )


class ErrorShape(Shape):
    """What every refusal says."""

    id = fields.String(required=True)
    code = fields.Integer(required=True, strict=True)
    type = fields.String(required=True)
    message = fields.String(required=True)


class Meta(Shape):
    nextToken = fields.String()


class UserAnswer(Shape):
    user = fields.Nested(UserShape, required=True)


class UserKeyAnswer(UserAnswer):
    key = fields.String(required=True)


class ConversationAnswer(Shape):
    conversation = fields.Nested(ConversationShape, required=True)


class ParticipantAnswer(Shape):
    participant = fields.Nested(UserShape, required=True)


class MessageAnswer(Shape):
    message = fields.Nested(MessageShape, required=True)


class EventAnswer(Shape):
    event = fields.Nested(EventShape, required=True)


class Nothing(Shape):
    """An empty object."""


class ConversationsAnswer(Shape):
    conversations = fields.List(fields.Nested(ConversationShape), required=True)
    meta = fields.Nested(Meta, required=True)


class ParticipantsAnswer(Shape):
    participants = fields.List(fields.Nested(UserShape), required=True)
    meta = fields.Nested(Meta, required=True)


class MessagesAnswer(Shape):
    messages = fields.List(fields.Nested(MessageShape), required=True)
    meta = fields.Nested(Meta, required=True)


class SignalShape(Shape):
    type = fields.String(required=True)
    data = fields.Dict(required=True)


class MessageDeletedShape(Shape):
    id = fields.String(required=True)
    conversationId = fields.String(required=True)
    userId = fields.String(required=True)


class ParticipantShape(Shape):
    conversationId = fields.String(required=True)
    participantId = fields.String(required=True)


class DeltaShape(Shape):
    streamId = fields.String(required=True)
    conversationId = fields.String(required=True)
    userId = fields.String(required=True)
    createdAt = Date(required=True)
    sequence = Number(required=True)
    delta = fields.String(required=True)


class CompleteShape(Shape):
    streamId = fields.String(required=True)
    message = fields.Nested(MessageShape, required=True)


class AbortShape(Shape):
    streamId = fields.String(required=True)
    conversationId = fields.String(required=True)


class OriginShape(Shape):
    isBot = Flag(required=True)


def load(schema: Schema, value: Any, what: str = "the body") -> Any:
    """``value`` as ``schema`` reads it. Raises :class:`PayloadError`, which names each fault with its path."""
    try:
        return schema.load(value)
    except ValidationError as error:
        details = dict(_flatten(error.messages, ""))
        said = "; ".join(f"{path}: {' '.join(texts)}" for path, texts in list(details.items())[:5])
        raise PayloadError(f"{what} is not as it must be: {said}", details=details) from None


def _flatten(messages: Any, path: str) -> Iterator[tuple[str, list[str]]]:
    if isinstance(messages, dict):
        for name, inner in messages.items():
            place = path if name == "_schema" else f"{path}.{name}" if path else str(name)
            yield from _flatten(inner, place)
    else:
        yield path or "body", [str(text) for text in messages]
