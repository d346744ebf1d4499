"""Marshmallow schemas of CometChat's payloads; each is instantiated once.

A field of a wrong type counts as absent, even if the protocol requires it, and unknown keys are kept. Attributes have
CometChat's names, so that no unknown key can replace another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import EXCLUDE, INCLUDE, Schema, ValidationError, fields, missing, post_load, pre_load

from cometbot.channels.cometchat.raw_payloads import MAX_TIMESTAMP, RECEIVER_TYPES, find_id
from cometbot.models import Attachment, Group, Mention, User

_DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")


class Identifier(fields.Field[str]):
    """A uid, guid or message id as a str; integers are accepted too (message ids arrive as either)."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        found = find_id(value)
        if not found:
            raise ValidationError("Not a valid id: a text of 1 to 255 characters without control characters.")
        return found


class Timestamp(fields.Field[float]):
    """Unix seconds, as a number or as a text; fractions are kept."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> float:
        number = float(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else value
        if not isinstance(number, int | float) or isinstance(number, bool) or not 0 <= number < MAX_TIMESTAMP:
            raise ValidationError("Not a valid time: Unix seconds.")
        return int(number) if number == int(number) else number


class Count(Timestamp):
    """A non-negative integer; a fraction is cut off."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        return int(super()._deserialize(value, attr, data, **kwargs))


class ReceiverType(fields.Field[str]):
    """``user`` or ``group``, in any letter case."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, str) or value.lower() not in RECEIVER_TYPES:
            raise ValidationError("Must be one of: user, group.")
        return value.lower()


class LenientField(fields.Field[Any]):
    """A value that ``inner`` (a field or a schema) loads; ``default`` if it is invalid or absent.

    Without a default the key is omitted.
    """

    def __init__(self, inner: fields.Field[Any] | Schema, default: Any = missing, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._inner = inner
        self._default = default

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        if value is missing:
            return self._default
        try:
            return self._inner.load(value) if isinstance(self._inner, Schema) else self._inner.deserialize(value)
        except ValidationError:
            return self._default


class LenientList(fields.Field[list[Any]]):
    """The entries of a list (or of an object's values) that ``inner`` can load; others are omitted."""

    def __init__(self, inner: fields.Field[Any] | Schema, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._entry = LenientField(inner)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> list[Any]:
        if not isinstance(value, list | dict):
            raise ValidationError("Not a list.")
        entries = value.values() if isinstance(value, dict) else value
        loaded = (self._entry.deserialize(entry) for entry in entries)
        return [entry for entry in loaded if entry is not missing]


def text_field() -> LenientField:
    """Return the field of a text, which is omitted if the value is not a text."""
    return LenientField(fields.String())


def object_field() -> LenientField:
    """Return the field of an object, which is omitted if the value is not an object."""
    return LenientField(fields.Dict())


def id_field() -> LenientField:
    """Return the field of an id, which is empty if the value is not an id."""
    return LenientField(Identifier(), "")


class _BaseSchema(Schema):
    class Meta:
        unknown = INCLUDE


class _EntitySchema(Schema):
    """Loads an object as a ``model``, with the object itself in its ``raw`` if it has that field."""

    model: ClassVar[type[Any]]

    class Meta:
        unknown = EXCLUDE

    @post_load(pass_original=True)
    def make_model(self, data: dict[str, Any], original: Mapping[str, Any], **kwargs: Any) -> Any:
        """Return the model."""
        if "tags" in data:
            data["tags"] = tuple(data["tags"])
        return self.model(**data, **({"raw": original} if hasattr(self.model, "raw") else {}))


class UserSchema(_EntitySchema):
    """A user entity, as a :class:`User`."""

    model = User
    uid = Identifier(required=True)
    name = text_field()
    avatar = text_field()
    link = text_field()
    role = text_field()
    status = text_field()
    tags = LenientField(LenientList(fields.String()))
    metadata = object_field()


class GroupSchema(_EntitySchema):
    """A group entity, as a :class:`Group`."""

    model = Group
    guid = Identifier(required=True)
    name = text_field()
    type = text_field()
    icon = text_field()
    description = text_field()
    owner = LenientField(Identifier())
    scope = text_field()
    membersCount = LenientField(Count(), attribute="members_count")
    tags = LenientField(LenientList(fields.String()))
    metadata = object_field()


class AttachmentSchema(_EntitySchema):
    """One file of a media message, as an :class:`Attachment`."""

    model = Attachment
    url = fields.String(required=True)
    name = text_field()
    mimeType = LenientField(fields.String(), attribute="mime_type")
    extension = text_field()
    size = LenientField(Count())


class MentionSchema(_EntitySchema):
    """A mentioned user, as a :class:`Mention`."""

    model = Mention
    uid = Identifier(required=True)
    name = text_field()


class MessageDataSchema(_BaseSchema):
    """The inner ``data`` of a message: its content, and copies of its user and group entities."""

    text = text_field()
    url = text_field()
    attachments = LenientField(LenientList(AttachmentSchema()))
    mentions = LenientField(LenientList(MentionSchema()))
    metadata = object_field()
    moderation = object_field()
    customData = object_field()
    interactiveData = object_field()
    card = object_field()
    entities = LenientField(fields.Dict(), {})
    action = text_field()
    quotedMessageId = LenientField(Identifier())
    quotedMessage = object_field()


_MESSAGE_DATA = MessageDataSchema()


class MessageSchema(_BaseSchema):
    """A message object in callbacks, webhooks and REST responses.

    Absent ids are empty and absent times are 0.
    """

    id = id_field()
    conversationId = id_field()
    sender = id_field()
    receiverType = LenientField(ReceiverType(), "")
    receiver = id_field()
    category = id_field()
    type = id_field()
    data = LenientField(fields.Dict(), {})
    sentAt = LenientField(Timestamp(), 0)
    updatedAt = LenientField(Timestamp(), 0)
    muid = text_field()
    parentId = id_field()
    tags = LenientField(LenientList(fields.String()))
    editedAt = LenientField(Timestamp(), 0)
    editedBy = id_field()
    deletedAt = LenientField(Timestamp(), 0)
    deletedBy = id_field()
    quotedMessageId = id_field()
    quotedMessage = object_field()

    @post_load
    def load_data(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return the message with its ``data`` loaded."""
        return {**data, "data": _MESSAGE_DATA.load(data["data"])}


class EnvelopeSchema(_BaseSchema):
    """The outermost layer of any callback or webhook."""

    appId = id_field()
    trigger = id_field()
    bot = id_field()
    data = LenientField(fields.Dict(), {})


class ReactionSchema(_BaseSchema):
    """The user's reaction to a message, and its time. A reaction may be a text of any length."""

    messageId = id_field()
    reaction = LenientField(fields.String(), "")
    uid = id_field()
    reactedAt = LenientField(Timestamp(), 0)
    reactedBy = LenientField(UserSchema(), None)


class WebhookReactionSchema(_BaseSchema):
    """``data`` of a reaction webhook."""

    reaction = LenientField(ReactionSchema(), None)


class MembershipSchema(_BaseSchema):
    """``data`` of a webhook about a group; ``by`` is absent if a user joined or left."""

    group = LenientField(GroupSchema(), None)
    members = LenientField(LenientList(UserSchema()))
    by = LenientField(UserSchema())
    scope = text_field()
    oldScope = text_field()
    oldOwner = LenientField(Identifier())

    @pre_load
    def fill_uids_from_keys(self, data: Any, **kwargs: Any) -> Any:
        """Add the uid to entries of ``members`` that lack it; ``members`` is an object of users by uid."""
        members = data.get("members") if isinstance(data, dict) else None
        if not isinstance(members, dict):
            return data
        members_with_uids = [{"uid": uid, **entry} for uid, entry in members.items() if isinstance(entry, dict)]
        return {**data, "members": members_with_uids}


USER = UserSchema()
GROUP = GroupSchema()
MESSAGE = MessageSchema()
ENVELOPE = EnvelopeSchema()
REACTION = WebhookReactionSchema()
MEMBERSHIP = MembershipSchema()


def load(schema: Schema, payload: object) -> dict[str, Any]:
    """Return ``payload`` loaded with ``schema``; a value that is not an object is loaded as an empty one."""
    loaded: dict[str, Any] = schema.load(payload if isinstance(payload, Mapping) else {})
    return loaded


def find_user(value: object) -> User | None:
    """Return the user in ``value``, or None if it is not a user entity."""
    found = LenientField(USER).deserialize(value)
    return found if isinstance(found, User) else None


def find_group(value: object) -> Group | None:
    """Return the group in ``value``, or None if it is not a group entity."""
    found = LenientField(GROUP).deserialize(value)
    return found if isinstance(found, Group) else None
