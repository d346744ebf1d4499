"""The shapes of what CometChat sends, as marshmallow schemas; each is made once.

Only what the protocol marks as always present is required. Everything else is a snapshot: a key of the wrong type is
left out, and unknown keys stay. Attributes are spelled as on the wire, so that no unknown key can take another's place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields, missing, post_load, pre_load

from cometbot.errors import PayloadError
from cometbot.models import Attachment, Group, Mention, User

ID_PATTERN = re.compile(r"[^\x00-\x1f\x7f]{1,255}")
"""What an id may look like: it becomes part of keys and paths, so no control characters and no endless text."""

TIME_LIMIT = 10**15
"""No time in seconds is that late."""

RECEIVER_TYPES = ("user", "group")


class Identifier(fields.Field[str]):
    """A uid, guid or message id as a str; whole numbers are taken too (message ids come as either)."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str) or not ID_PATTERN.fullmatch(text):
            raise ValidationError("Not a valid id: a text of 1 to 255 characters without control characters.")
        return text


class Timestamp(fields.Field[int]):
    """Unix seconds; whole numbers, also written as a text or with a zero fraction."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value):
            return int(value)
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and 0 <= value < TIME_LIMIT
            and value == int(value)
        ):
            return int(value)
        raise ValidationError("Not a valid time: whole Unix seconds.")


class ReceiverType(fields.Field[str]):
    """``user`` or ``group``, in whatever case it was written."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, str) or value.lower() not in RECEIVER_TYPES:
            raise ValidationError("Must be one of: user, group.")
        return value.lower()


class Snapshot(fields.Field[Any]):
    """What ``inner`` (a field or a schema) makes of the value, or nothing at all where it does not fit."""

    def __init__(self, inner: fields.Field[Any] | Schema, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._inner = inner

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        if value is missing:
            return missing
        try:
            return self._inner.load(value) if isinstance(self._inner, Schema) else self._inner.deserialize(value)
        except ValidationError:
            return missing


class Fitting(fields.Field[list[Any]]):
    """Those entries of a list (or of an object's values) that ``inner`` can load; the others are left out."""

    def __init__(self, inner: fields.Field[Any] | Schema, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._entry = Snapshot(inner)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> list[Any]:
        if not isinstance(value, list | dict):
            raise ValidationError("Not a list.")
        entries = value.values() if isinstance(value, dict) else value
        loaded = (self._entry.deserialize(entry) for entry in entries)
        return [entry for entry in loaded if entry is not missing]


def a_text() -> Snapshot:
    """A text, or nothing where something else stands."""
    return Snapshot(fields.String())


def an_object() -> Snapshot:
    """An object, or nothing where something else stands."""
    return Snapshot(fields.Dict())


class _Shape(Schema):
    class Meta:
        unknown = INCLUDE


class UserSchema(_Shape):
    """A user entity, as a :class:`User`."""

    uid = Identifier(required=True)
    name = a_text()
    avatar = a_text()
    link = a_text()
    role = a_text()
    status = a_text()
    tags = Snapshot(Fitting(fields.String()))
    metadata = an_object()
    scope = a_text()

    @post_load(pass_original=True)
    def to_user(self, data: dict[str, Any], original: Mapping[str, Any], **kwargs: Any) -> User:
        """The user, with everything as it came in ``raw``."""
        known = {name: data[name] for name in ("name", "avatar", "link", "role", "status", "metadata") if name in data}
        return User(uid=data["uid"], tags=tuple(data.get("tags", ())), raw=original, **known)


class GroupSchema(_Shape):
    """A group entity, as a :class:`Group`."""

    guid = Identifier(required=True)
    name = a_text()
    type = a_text()
    icon = a_text()
    description = a_text()
    owner = Snapshot(Identifier())
    scope = a_text()
    membersCount = Snapshot(Timestamp())
    tags = Snapshot(Fitting(fields.String()))
    metadata = an_object()

    @post_load(pass_original=True)
    def to_group(self, data: dict[str, Any], original: Mapping[str, Any], **kwargs: Any) -> Group:
        """The group, with everything as it came in ``raw``."""
        names = ("name", "type", "icon", "description", "owner", "scope", "metadata")
        known = {name: data[name] for name in names if name in data}
        tags = tuple(data.get("tags", ()))
        return Group(guid=data["guid"], members_count=data.get("membersCount"), tags=tags, raw=original, **known)


class AttachmentSchema(_Shape):
    """One file of a media message, as an :class:`Attachment`."""

    url = fields.String(required=True)
    name = a_text()
    mimeType = a_text()
    extension = a_text()
    size = Snapshot(Timestamp())

    @post_load
    def to_attachment(self, data: dict[str, Any], **kwargs: Any) -> Attachment:
        """The attachment."""
        return Attachment(
            url=data["url"],
            name=data.get("name", ""),
            mime_type=data.get("mimeType", ""),
            extension=data.get("extension", ""),
            size=data.get("size"),
        )


class MentionSchema(_Shape):
    """A mentioned user, as a :class:`Mention`."""

    uid = Identifier(required=True)
    name = a_text()

    @post_load
    def to_mention(self, data: dict[str, Any], **kwargs: Any) -> Mention:
        """The mention."""
        return Mention(uid=data["uid"], name=data.get("name", ""))


class ModerationSchema(_Shape):
    """What moderation made of a message."""

    status = fields.String(required=True)


class MessageDataSchema(_Shape):
    """The inner ``data`` of a message: what was said, and snapshots of who and where."""

    text = a_text()
    url = a_text()
    attachments = Snapshot(Fitting(AttachmentSchema()))
    mentions = Snapshot(Fitting(MentionSchema()))
    metadata = an_object()
    moderation = Snapshot(ModerationSchema())
    customData = an_object()
    interactiveData = an_object()
    card = an_object()
    entities = an_object()
    action = a_text()
    quotedMessageId = Snapshot(Identifier())
    quotedMessage = an_object()


class TextDataSchema(MessageDataSchema):
    """The inner ``data`` of a text message, which has a text."""

    text = fields.String(required=True)  # type: ignore[assignment]


_MESSAGE_DATA = MessageDataSchema()
_TEXT_DATA = TextDataSchema()


class MessageSchema(_Shape):
    """A message object: in callbacks, webhooks and REST answers."""

    id = Identifier(required=True)
    conversationId = Identifier(required=True)
    sender = Identifier(required=True)
    receiverType = ReceiverType(required=True)
    receiver = Identifier(required=True)
    category = Identifier(required=True)
    type = Identifier(required=True)
    data = fields.Dict(required=True)
    sentAt = Timestamp(required=True)
    updatedAt = Timestamp(required=True)
    muid = a_text()
    parentId = Snapshot(Identifier())
    tags = Snapshot(Fitting(fields.String()))
    editedAt = Snapshot(Timestamp())
    editedBy = Snapshot(Identifier())
    deletedAt = Snapshot(Timestamp())
    deletedBy = Snapshot(Identifier())
    quotedMessageId = Snapshot(Identifier())
    quotedMessage = an_object()

    @post_load
    def load_data(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """The message with its ``data`` loaded, whose shape is another one for each type."""
        is_text = (data["category"], data["type"]) == ("message", "text")
        try:
            return {**data, "data": (_TEXT_DATA if is_text else _MESSAGE_DATA).load(data["data"])}
        except ValidationError as error:
            raise ValidationError({"data": error.messages}) from error


class AffectedMessageSchema(MessageSchema):
    """A message inside an edit or deletion; what it leaves out is taken from the report around it."""

    sentAt = Timestamp(load_default=0)
    updatedAt = Timestamp(load_default=0)


class _Enclosed(_Shape):
    appId = Identifier(required=True)
    trigger = Identifier(required=True)


class CallbackSchema(_Enclosed):
    """A bot callback: the message itself stands in ``data``."""

    bot = Identifier(required=True)
    data = fields.Nested(MessageSchema(), required=True)


class EnvelopeSchema(_Enclosed):
    """The outermost layer of any callback or webhook."""

    data = fields.Dict(required=True)


class CallbackEnvelopeSchema(EnvelopeSchema):
    """The outermost layer of a callback whose trigger is not known, so that nothing can be said of its ``data``."""

    bot = Identifier(required=True)


class ReactionSchema(_Shape):
    """Who reacted to what, with what, and when."""

    messageId = Identifier(required=True)
    reaction = Identifier(required=True)
    uid = Identifier(required=True)
    reactedAt = Snapshot(Timestamp())
    reactedBy = Snapshot(UserSchema())


class WebhookReactionSchema(_Shape):
    """``data`` of a reaction webhook."""

    reaction = fields.Nested(ReactionSchema(), required=True)


class MembershipSchema(_Shape):
    """``data`` of a membership webhook; ``by`` is absent where somebody joined or left by himself."""

    group = fields.Nested(GroupSchema(), required=True)
    members = Snapshot(Fitting(UserSchema()))
    by = Snapshot(UserSchema())
    scope = a_text()
    oldScope = a_text()
    oldOwner = Snapshot(Identifier())

    @pre_load
    def take_uids_from_keys(self, data: Any, **kwargs: Any) -> Any:
        """``members`` is an object of users by uid; an entry that repeats no uid has it from its key."""
        members = data.get("members") if isinstance(data, dict) else None
        if not isinstance(members, dict):
            return data
        whole = [{"uid": uid, **entry} for uid, entry in members.items() if isinstance(entry, dict)]
        return {**data, "members": whole}


_ID = Identifier()
USER = UserSchema()
GROUP = GroupSchema()
MESSAGE = MessageSchema()
AFFECTED_MESSAGE = AffectedMessageSchema()
CALLBACK = CallbackSchema()
ENVELOPE = EnvelopeSchema()
CALLBACK_ENVELOPE = CallbackEnvelopeSchema()
REACTION = WebhookReactionSchema()
MEMBERSHIP = MembershipSchema()


def load(schema: Schema, payload: object, path: str = "") -> dict[str, Any]:
    """What ``schema`` makes of ``payload``. Raises :class:`PayloadError` with an entry for each wrong path."""
    try:
        loaded: dict[str, Any] = schema.load(payload)  # type: ignore[arg-type]
    except ValidationError as error:
        details = dict(_flatten(error.messages, path))
        first = next(iter(details))
        raise PayloadError(f"{first}: {details[first][0]}", details=details) from error
    return loaded


def find_user(value: object) -> User | None:
    """The user in a snapshot, None where there is none."""
    found = Snapshot(USER).deserialize(value)
    return found if isinstance(found, User) else None


def find_id(value: object) -> str:
    """The id in a snapshot, empty where there is none."""
    found = Snapshot(_ID).deserialize(value)
    return found if isinstance(found, str) else ""


def find_group(value: object) -> Group | None:
    """The group in a snapshot, None where there is none."""
    found = Snapshot(GROUP).deserialize(value)
    return found if isinstance(found, Group) else None


def _flatten(messages: Any, path: str) -> Iterator[tuple[str, list[str]]]:
    if isinstance(messages, dict):
        for name, inner in messages.items():
            place = path if name == "_schema" else f"{path}.{name}" if path else str(name)
            yield from _flatten(inner, place)
    else:
        yield path or "body", [str(text) for text in messages]
