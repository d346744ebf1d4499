"""Marshmallow schemas of CometChat's payloads; each is instantiated once.

A field of a wrong type counts as absent, even if the protocol requires it, and unknown keys are kept. Attributes have
CometChat's names, so that no unknown key can replace another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, TypeAlias

from marshmallow import EXCLUDE, INCLUDE, Schema, ValidationError, fields, missing, post_load, pre_load

from cometbot.channels.cometchat.raw_payloads import MAX_TIMESTAMP, RECEIVER_TYPES, find_id
from cometbot.models import Attachment, Group, Mention, User

Parser: TypeAlias = Callable[[Any], Any]
"""Returns a valid value in its usual form; raises :class:`ValidationError` for any other."""

_parse_text = fields.String().deserialize
_parse_object = fields.Dict().deserialize
_DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")


def parse_id(value: object) -> str:
    """Return a uid, guid or message id as a str; integers are accepted too (message ids arrive as either)."""
    found = find_id(value)
    if not found:
        raise ValidationError("Not a valid id: a text of 1 to 255 characters without control characters.")
    return found


def parse_time(value: object) -> float:
    """Return Unix seconds, given as a number or as a text; fractions are kept."""
    number = float(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else value
    if not isinstance(number, int | float) or isinstance(number, bool) or not 0 <= number < MAX_TIMESTAMP:
        raise ValidationError("Not a valid time: Unix seconds.")
    return int(number) if number == int(number) else number


def parse_count(value: object) -> int:
    """Return a non-negative integer; a fraction is cut off."""
    return int(parse_time(value))


def parse_receiver_type(value: object) -> str:
    """Return ``user`` or ``group``, given in any letter case."""
    if not isinstance(value, str) or value.lower() not in RECEIVER_TYPES:
        raise ValidationError("Must be one of: user, group.")
    return value.lower()


def parse_list(parse_entry: Parser, value: object) -> list[Any]:
    """Return the entries of a list (or of an object's values) that ``parse_entry`` accepts; others are omitted."""
    if not isinstance(value, list | dict):
        raise ValidationError("Not a list.")
    entries = []
    for entry in value.values() if isinstance(value, dict) else value:
        with suppress(ValidationError):
            entries.append(parse_entry(entry))
    return entries


class LenientField(fields.Field[Any]):
    """A value that ``parse`` returns; ``default`` if it is invalid or absent.

    Without a default the key is omitted.
    """

    def __init__(self, parse: Parser, default: Any = missing, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._parse = parse
        self._default = default

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        try:
            return self._default if value is missing else self._parse(value)
        except ValidationError:
            return self._default


def text_field() -> LenientField:
    """Return the field of a text, which is omitted if the value is not a text."""
    return LenientField(_parse_text)


def object_field() -> LenientField:
    """Return the field of an object, which is omitted if the value is not an object."""
    return LenientField(_parse_object)


def id_field() -> LenientField:
    """Return the field of an id, which is empty if the value is not an id."""
    return LenientField(parse_id, "")


def list_field(parse_entry: Parser) -> LenientField:
    """Return the field of a list, which is omitted if the value is not a list."""
    return LenientField(partial(parse_list, parse_entry))


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
    uid = fields.Function(deserialize=parse_id, required=True)
    name = text_field()
    avatar = text_field()
    link = text_field()
    role = text_field()
    status = text_field()
    tags = list_field(_parse_text)
    metadata = object_field()


class GroupSchema(_EntitySchema):
    """A group entity, as a :class:`Group`."""

    model = Group
    guid = fields.Function(deserialize=parse_id, required=True)
    name = text_field()
    type = text_field()
    icon = text_field()
    description = text_field()
    owner = LenientField(parse_id)
    scope = text_field()
    membersCount = LenientField(parse_count, attribute="members_count")
    tags = list_field(_parse_text)
    metadata = object_field()


class AttachmentSchema(_EntitySchema):
    """One file of a media message, as an :class:`Attachment`."""

    model = Attachment
    url = fields.String(required=True)
    name = text_field()
    mimeType = LenientField(_parse_text, attribute="mime_type")
    extension = text_field()
    size = LenientField(parse_count)


class MentionSchema(_EntitySchema):
    """A mentioned user, as a :class:`Mention`."""

    model = Mention
    uid = fields.Function(deserialize=parse_id, required=True)
    name = text_field()


class MessageDataSchema(_BaseSchema):
    """The inner ``data`` of a message: its content, and copies of its user and group entities."""

    text = text_field()
    url = text_field()
    attachments = list_field(AttachmentSchema().load)
    mentions = list_field(MentionSchema().load)
    metadata = object_field()
    moderation = object_field()
    customData = object_field()
    interactiveData = object_field()
    card = object_field()
    entities = LenientField(_parse_object, {})
    action = text_field()
    quotedMessageId = LenientField(parse_id)
    quotedMessage = object_field()


_MESSAGE_DATA = MessageDataSchema()


class MessageSchema(_BaseSchema):
    """A message object in callbacks, webhooks and REST responses.

    Absent ids are empty and absent times are 0.
    """

    id = id_field()
    conversationId = id_field()
    sender = id_field()
    receiverType = LenientField(parse_receiver_type, "")
    receiver = id_field()
    category = id_field()
    type = id_field()
    data = LenientField(_parse_object, {})
    sentAt = LenientField(parse_time, 0)
    updatedAt = LenientField(parse_time, 0)
    muid = text_field()
    parentId = id_field()
    tags = list_field(_parse_text)
    editedAt = LenientField(parse_time, 0)
    editedBy = id_field()
    deletedAt = LenientField(parse_time, 0)
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
    data = LenientField(_parse_object, {})


class ReactionSchema(_BaseSchema):
    """The user's reaction to a message, and its time. A reaction may be a text of any length."""

    messageId = id_field()
    reaction = LenientField(_parse_text, "")
    uid = id_field()
    reactedAt = LenientField(parse_time, 0)
    reactedBy = LenientField(UserSchema().load, None)


class WebhookReactionSchema(_BaseSchema):
    """``data`` of a reaction webhook."""

    reaction = LenientField(ReactionSchema().load, None)


class MembershipSchema(_BaseSchema):
    """``data`` of a webhook about a group; ``by`` is absent if a user joined or left."""

    group = LenientField(GroupSchema().load, None)
    members = list_field(UserSchema().load)
    by = LenientField(UserSchema().load)
    scope = text_field()
    oldScope = text_field()
    oldOwner = LenientField(parse_id)

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
_USER_OR_NONE, _GROUP_OR_NONE = LenientField(USER.load, None), LenientField(GROUP.load, None)


class FormSubmissionSchema(Schema):
    """The submission of an interactive form: its values by element id, under the form's ``dataKey``."""

    class Meta:
        unknown = EXCLUDE

    form = fields.Dict(keys=fields.String(), required=True)


def load(schema: Schema, payload: object) -> dict[str, Any]:
    """Return ``payload`` loaded with ``schema``; a value that is not an object is loaded as an empty one."""
    loaded: dict[str, Any] = schema.load(payload if isinstance(payload, Mapping) else {})
    return loaded


def find_user(value: object) -> User | None:
    """Return the user in ``value``, or None if it is not a user entity."""
    user: User | None = _USER_OR_NONE.deserialize(value)
    return user


def find_group(value: object) -> Group | None:
    """Return the group in ``value``, or None if it is not a group entity."""
    group: Group | None = _GROUP_OR_NONE.deserialize(value)
    return group
