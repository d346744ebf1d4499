"""Marshmallow schemas for the SimpleX CLI's objects, which create the values of ``models``; each is created once.

Only the indispensable fields are required: ids, tags, directions. All others are omitted if they are absent, null or of
a wrong type. Unknown fields, tags and enum values stay in ``raw``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load

from cometbot.channels.simplex.models import (
    CONTENT_TYPES,
    Address,
    Business,
    Chat,
    ChatSummary,
    Contact,
    ContactRequest,
    Content,
    Deletion,
    File,
    FileTransfer,
    GroupInfo,
    Item,
    Member,
    Profile,
    Quote,
    Reaction,
    User,
)
from cometbot.channels.simplex.protocol.frames import Record
from cometbot.channels.simplex.protocol.schemas import (
    Identifier,
    LenientField,
    LenientList,
    MemberIds,
    NonEmptyString,
    TypeTag,
    UtcTime,
)
from cometbot.errors import PayloadError


def _text_field(key: str = "", **options: Any) -> LenientField:
    return LenientField(fields.String(), data_key=key or None, **options)


def _flag_field(key: str) -> LenientField:
    return LenientField(fields.Boolean(truthy={True}, falsy={False}), data_key=key)


def _object_field(key: str) -> LenientField:
    return LenientField(fields.Dict(), data_key=key)


def _integer_field(key: str) -> LenientField:
    return LenientField(fields.Integer(strict=True), data_key=key)


class ModelSchema(Schema):
    """A schema that creates a value of ``model``, with the original object in ``raw``."""

    model: ClassVar[type]

    class Meta:
        unknown = EXCLUDE

    @post_load(pass_original=True)
    def make_model(self, data: dict[str, Any], original: Any, **kwargs: Any) -> Any:
        """Return the value."""
        return self.model(**data, raw=original)


class DictSchema(Schema):
    """A schema that creates a dict, for use in another schema."""

    class Meta:
        unknown = EXCLUDE


class ProfileSchema(ModelSchema):
    model = Profile
    display_name = _text_field("displayName")
    full_name = _text_field("fullName")
    description = _text_field("shortDescr")
    image = _text_field()
    link = _text_field("contactLink")
    peer_type = _text_field("peerType")
    preferences = _object_field("preferences")


_profile = ProfileSchema()


class UserSchema(ModelSchema):
    model = User
    user_id = Identifier(required=True, data_key="userId")
    name = _text_field("localDisplayName")
    profile = LenientField(_profile)
    is_active = _flag_field("activeUser")


class ContactSchema(ModelSchema):
    model = Contact
    contact_id = Identifier(required=True, data_key="contactId")
    name = _text_field("localDisplayName")
    profile = LenientField(_profile)
    status = _text_field("contactStatus")
    custom_data = _object_field("customData")


class MemberSchema(ModelSchema):
    model = Member
    group_member_id = Identifier(required=True, data_key="groupMemberId")
    member_id = _text_field("memberId")
    name = _text_field("localDisplayName")
    profile = LenientField(_profile, data_key="memberProfile")
    role = _text_field("memberRole")
    category = _text_field("memberCategory")
    status = _text_field("memberStatus")
    contact_id = LenientField(Identifier(), data_key="memberContactId")


_member = MemberSchema()


class BusinessSchema(ModelSchema):
    model = Business
    chat_type = _text_field("chatType")
    business_id = _text_field("businessId")
    customer_id = _text_field("customerId")


class SummarySchema(DictSchema):
    members_count = _integer_field("currentMembers")


class GroupInfoSchema(ModelSchema):
    model = GroupInfo
    group_id = Identifier(required=True, data_key="groupId")
    name = _text_field("localDisplayName")
    profile = LenientField(_profile, data_key="groupProfile")
    membership = LenientField(_member)
    business = LenientField(BusinessSchema(), data_key="businessChat")
    custom_data = _object_field("customData")
    summary = LenientField(SummarySchema(), data_key="groupSummary")

    @post_load(pass_original=True)
    def make_model(self, data: dict[str, Any], original: Any, **kwargs: Any) -> GroupInfo:
        """Return the group, with the number of members from its summary."""
        return GroupInfo(**data.pop("summary", {}), **data, raw=original)


_contact = ContactSchema()
_group = GroupInfoSchema()


class ScopeSchema(DictSchema):
    type = NonEmptyString(required=True)
    member = LenientField(_member, data_key="groupMember_")


class FolderSchema(DictSchema):
    note_folder_id = Identifier(required=True, data_key="noteFolderId")


class ChatSchema(ModelSchema):
    model = Chat
    type = NonEmptyString(required=True)
    contact = LenientField(_contact)
    group = LenientField(_group, data_key="groupInfo")
    scope = LenientField(ScopeSchema(), data_key="groupChatScope")
    folder = LenientField(FolderSchema(), data_key="noteFolder")

    @post_load(pass_original=True)
    def make_model(self, data: dict[str, Any], original: Any, **kwargs: Any) -> Chat:
        """Return the chat, with the member of a support scope."""
        scope, folder = data.pop("scope", {}), data.pop("folder", {})
        is_support = scope.get("type") == "memberSupport"
        return Chat(**data, **folder, is_support=is_support, support_member=scope.get("member"), raw=original)


class ContentSchema(ModelSchema):
    model = Content
    type = NonEmptyString(required=True)
    tag = _text_field()
    text = _text_field()
    image = _text_field()
    seconds = _integer_field("duration")
    preview = _object_field("preview")

    @post_load(pass_original=True)
    def make_model(self, data: dict[str, Any], original: Any, **kwargs: Any) -> Content:
        """Return the content. An undocumented type becomes ``unknown``, and the original type the tag."""
        if data["type"] in CONTENT_TYPES:
            return Content(**{**data, "tag": data["type"]}, raw=original)
        tag = data.get("tag") or data["type"]
        return Content(**{**data, "type": "unknown", "tag": tag}, raw=original)


_content = ContentSchema()


class DirectionSchema(DictSchema):
    type = NonEmptyString(required=True)
    member = LenientField(_member, data_key="groupMember")


_direction = DirectionSchema()


class QuoteSchema(ModelSchema):
    model = Quote
    content = fields.Nested(_content, required=True)
    item_id = LenientField(Identifier(), data_key="itemId")
    shared_id = _text_field("sharedMsgId")
    place = LenientField(_direction, data_key="chatDir")
    sent_at = LenientField(UtcTime(), data_key="sentAt")

    @post_load(pass_original=True)
    def make_model(self, data: dict[str, Any], original: Any, **kwargs: Any) -> Quote:
        """Return the quote, with the author of the quoted message."""
        place = data.pop("place", {})
        return Quote(**data, direction=place.get("type", ""), member=place.get("member"), raw=original)


class SourceSchema(DictSchema):
    path = fields.String(required=True, data_key="filePath")
    crypto_args = fields.Raw(data_key="cryptoArgs", load_default=None)


class FileSchema(ModelSchema):
    model = File
    file_id = Identifier(required=True, data_key="fileId")
    name = _text_field("fileName")
    size = _integer_field("fileSize")
    status = LenientField(TypeTag(), data_key="fileStatus")
    protocol = _text_field("fileProtocol")
    source = LenientField(SourceSchema(), data_key="fileSource")

    @post_load(pass_original=True)
    def make_model(self, data: dict[str, Any], original: Any, **kwargs: Any) -> File:
        """Return the file, with its path."""
        source = data.pop("source", {})
        encrypted = source.get("crypto_args") is not None
        return File(**data, path=source.get("path", ""), is_encrypted=encrypted, raw=original)


class TimedSchema(DictSchema):
    ttl = fields.Integer(strict=True, required=True)


class MetaSchema(DictSchema):
    item_id = Identifier(required=True, data_key="itemId")
    shared_id = _text_field("itemSharedMsgId")
    status = LenientField(TypeTag(), data_key="itemStatus")
    sent_at = LenientField(UtcTime(), data_key="itemTs")
    stored_at = LenientField(UtcTime(), data_key="createdAt")
    mentions_or_quotes_bot = _flag_field("userMention")
    is_edited = _flag_field("itemEdited")
    is_live = _flag_field("itemLive")
    deletion = _object_field("itemDeleted")
    timed = LenientField(TimedSchema(), data_key="itemTimed")


class ItemContentSchema(DictSchema):
    kind = NonEmptyString(required=True, data_key="type")
    content = LenientField(_content, data_key="msgContent")


class ChatItemSchema(DictSchema):
    place = fields.Nested(_direction, required=True, data_key="chatDir")
    meta = fields.Nested(MetaSchema(), required=True)
    content = fields.Nested(ItemContentSchema(), required=True)
    mentions = MemberIds()
    quote = LenientField(QuoteSchema(), data_key="quotedItem")
    file = LenientField(FileSchema())
    formatted = LenientList(data_key="formattedText")
    reactions = LenientList()


_chat_item = ChatItemSchema()


class ItemSchema(ModelSchema):
    model = Item
    chat = fields.Nested(ChatSchema(), required=True, data_key="chatInfo")
    item = fields.Nested(_chat_item, required=True, data_key="chatItem")

    @post_load(pass_original=True)
    def make_model(self, data: dict[str, Any], original: Any, **kwargs: Any) -> Item:
        """Return the item in its chat."""
        return _make_item(data["chat"], data["item"], original)


def _make_item(chat: Chat, parts: Mapping[str, Any], original: Any) -> Item:
    """Return an item from the data of its schema; ``parts`` is not modified."""
    meta, content = dict(parts["meta"]), parts["content"]
    deletion, timed = meta.pop("deletion", None), meta.pop("timed", {})
    optional = {key: parts[key] for key in ("mentions", "quote", "file", "formatted", "reactions") if key in parts}
    return Item(
        chat=chat,
        direction=parts["place"]["type"],
        member=parts["place"].get("member"),
        kind=content["kind"],
        content=content.get("content"),
        is_deleted=deletion is not None,
        ttl=timed.get("ttl"),
        **meta,
        **optional,
        raw=original,
    )


_item = ItemSchema()


class ChatReactionSchema(DictSchema):
    place = fields.Nested(_direction, required=True, data_key="chatDir")
    item = fields.Nested(_chat_item, required=True, data_key="chatItem")
    sent_at = LenientField(UtcTime(), data_key="sentAt")
    reaction = _object_field("reaction")


class ReactionSchema(ModelSchema):
    model = Reaction
    chat = fields.Nested(ChatSchema(), required=True, data_key="chatInfo")
    reaction = fields.Nested(ChatReactionSchema(), required=True, data_key="chatReaction")

    @post_load(pass_original=True)
    def make_model(self, data: dict[str, Any], original: Any, **kwargs: Any) -> Reaction:
        """Return the reaction, with its item as an item of the chat. Any string counts as an emoji."""
        parts, chat = data["reaction"], data["chat"]
        raw = {"chatInfo": original["chatInfo"], "chatItem": original["chatReaction"]["chatItem"]}
        emoji = parts.get("reaction", {}).get("emoji")
        return Reaction(
            chat=chat,
            item=_make_item(chat, parts["item"], raw),
            emoji=emoji if isinstance(emoji, str) else "",
            direction=parts["place"]["type"],
            member=parts["place"].get("member"),
            sent_at=parts.get("sent_at", 0.0),
            raw=original,
        )


class ContactRequestSchema(ModelSchema):
    model = ContactRequest
    request_id = Identifier(required=True, data_key="contactRequestId")
    name = _text_field("localDisplayName")
    profile = LenientField(_profile)


class LinkSchema(DictSchema):
    full_link = _text_field("connFullLink")
    short_link = _text_field("connShortLink")


class SettingsSchema(DictSchema):
    is_business = _flag_field("businessAddress")
    accept = _object_field("autoAccept")
    welcome = LenientField(_content, data_key="autoReply")


class AddressSchema(ModelSchema):
    model = Address
    link = fields.Nested(LinkSchema(), required=True, data_key="connLinkContact")
    settings = LenientField(SettingsSchema(), data_key="addressSettings")

    @post_load(pass_original=True)
    def make_model(self, data: dict[str, Any], original: Any, **kwargs: Any) -> Address:
        """Return the link with its settings."""
        settings = data.get("settings", {})
        accepts = settings.pop("accept", None) is not None
        whole = original.get("addressSettings")
        raw = whole if isinstance(whole, Mapping) else {}
        return Address(**data["link"], **settings, auto_accept=accepts, settings=raw, raw=original)


class InvitationSchema(DictSchema):
    name = _text_field("fileName")
    size = _integer_field("fileSize")


class TransferSchema(ModelSchema):
    model = FileTransfer
    file_id = Identifier(required=True, data_key="fileId")
    name = _text_field("fileName")
    size = _integer_field("fileSize")
    invitation = LenientField(InvitationSchema(), data_key="fileInvitation")

    @post_load(pass_original=True)
    def make_model(self, data: dict[str, Any], original: Any, **kwargs: Any) -> FileTransfer:
        """Return the transfer. An incoming one has its name and size in the invitation."""
        return FileTransfer(**{**data.pop("invitation", {}), **data}, raw=original)


class DeletionSchema(ModelSchema):
    model = Deletion
    item = fields.Nested(_item, required=True, data_key="deletedChatItem")
    replacement = LenientField(_item, data_key="toChatItem")


class StatsSchema(DictSchema):
    unread = fields.Integer(strict=True, data_key="unreadCount", load_default=0)


class ChatSummarySchema(ModelSchema):
    model = ChatSummary
    chat = fields.Nested(ChatSchema(), required=True, data_key="chatInfo")
    stats = LenientField(StatsSchema(), data_key="chatStats")

    @post_load(pass_original=True)
    def make_model(self, data: dict[str, Any], original: Any, **kwargs: Any) -> ChatSummary:
        """Return the chat, with those of its items that are valid."""
        listed = original.get("chatItems")
        whole = [{"chatInfo": original["chatInfo"], "chatItem": item} for item in listed or ()]
        items = tuple(_item.load(item) for item in whole if not _item.validate(item))
        return ChatSummary(chat=data["chat"], items=items, **data.get("stats", {}), raw=original)


class UserInfoSchema(DictSchema):
    user = fields.Nested(UserSchema(), required=True)


_user = UserSchema()
_links = LinkSchema()


def _read_link(raw: Any) -> Address:
    """Return a bare link, as in the answer to creating an address."""
    return Address(**_load(_links, raw), raw=raw)


def _read_users(raw: Any) -> User:
    user: User = _load(UserInfoSchema(), raw)["user"]
    return user


def _load(schema: Schema, raw: object) -> Any:
    try:
        return schema.load(raw)  # type: ignore[arg-type]
    except ValidationError as error:
        details = _flatten_errors(error.messages)
        first = next(iter(details.items()), ("", [""]))
        raise PayloadError(
            f"the SimpleX CLI sent something of another shape: {first[0]}: {first[1][0]}", details=details
        ) from error


def _flatten_errors(messages: Any, path: str = "") -> dict[str, list[str]]:
    """Return the errors by the path of their field: ``chatItem.meta.itemId``."""
    if not isinstance(messages, Mapping):
        return {path or "_schema": [str(item) for item in messages]}
    found: dict[str, list[str]] = {}
    for key, inner in messages.items():
        found |= _flatten_errors(inner, path if key == "_schema" else f"{path}.{key}".lstrip("."))
    return found


def _reader(schema: Schema) -> Callable[[Any], Any]:
    return lambda raw: _load(schema, raw)


_READERS_BY_TYPE: dict[str, Callable[[Any], Any]] = {
    "User": _reader(_user),
    "Contact": _reader(_contact),
    "GroupInfo": _reader(_group),
    "GroupMember": _reader(_member),
    "AChatItem": _reader(_item),
    "ACIReaction": _reader(ReactionSchema()),
    "UserContactRequest": _reader(ContactRequestSchema()),
    "UserContactLink": _reader(AddressSchema()),
    "CreatedConnLink": _read_link,
    "Transfer": _reader(TransferSchema()),
    "ChatItemDeletion": _reader(DeletionSchema()),
    "AChat": _reader(ChatSummarySchema()),
    "Profile": _reader(_profile),
    "UserInfo": _read_users,
}

_FIELDS_BY_TYPE = {
    "User": "user user_",
    "Contact": "contact fromContact toContact memberContact hostContact contact_",
    "GroupInfo": "groupInfo fromGroup toGroup",
    "GroupMember": "member member_ hostMember byMember fromMember toMember deletedMember acceptingMember members",
    "AChatItem": "chatItem chatItem_ chatItems",
    "ACIReaction": "reaction",
    "UserContactRequest": "contactRequest",
    "UserContactLink": "contactLink groupLink",
    "CreatedConnLink": "connLinkContact connLinkInvitation connLink",
    "Transfer": "rcvFileTransfer fileTransferMeta",
    "ChatItemDeletion": "chatItemDeletions",
    "AChat": "chats chat chat_",
    "Profile": "fromProfile toProfile customUserProfile userCustomProfile",
    "UserInfo": "users",
}

_READERS_BY_FIELD = {
    name: _READERS_BY_TYPE[kind] for kind, names in _FIELDS_BY_TYPE.items() for name in names.split()
} | {
    "contacts": _READERS_BY_TYPE["Contact"],
    "groups": _READERS_BY_TYPE["GroupInfo"],
}


def read_field(record: Record, name: str) -> Any:
    """Return the field ``name`` of an answer or event as a value of ``models``, or None if it is absent.

    A list becomes a list of values. ``group`` of ``groupMembers`` is the list of members. Raises :class:`PayloadError`
    if the value does not have the required shape, and ``KeyError`` for a field that has no model.
    """
    raw = record.raw.get(name)
    if name == "group":
        name, raw = "members", raw.get("members") if isinstance(raw, Mapping) else None
    reader = _READERS_BY_FIELD[name]
    if raw is None:
        return None
    return [reader(item) for item in raw] if isinstance(raw, list) else reader(raw)


def read_item(raw: object) -> Item:
    """Return the item in an ``AChatItem``, ``{"chatInfo": …, "chatItem": …}``. Raises :class:`PayloadError`."""
    item: Item = _READERS_BY_TYPE["AChatItem"](raw)
    return item


def read_chat(raw: object) -> ChatSummary:
    """Return a chat of a list, an ``AChat``. Raises :class:`PayloadError`."""
    chat: ChatSummary = _READERS_BY_TYPE["AChat"](raw)
    return chat


def read_content(raw: object) -> Content:
    """Return the content in a ``MsgContent``. Raises :class:`PayloadError`."""
    content: Content = _load(_content, raw)
    return content
