"""The shapes of what the SimpleX CLI sends, as marshmallow schemas that make the values of ``views``; each made once.

Only what nothing can be done without is required: the ids, the tags, the directions. Everything else is left out where
it is absent, null or of a wrong type; unknown fields, tags and enum values stay in ``raw``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load

from cometbot.channels.simplex.protocol.frames import Record
from cometbot.channels.simplex.protocol.schemas import Fitting, MemberIds, Number, Optional, Tagged, Time, Word
from cometbot.channels.simplex.views import (
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
from cometbot.errors import PayloadError


def _text(key: str = "", **options: Any) -> Optional:
    return Optional(fields.String(), data_key=key or None, **options)


def _flag(key: str) -> Optional:
    return Optional(fields.Boolean(truthy={True}, falsy={False}), data_key=key)


def _object(key: str) -> Optional:
    return Optional(fields.Dict(), data_key=key)


def _whole(key: str) -> Optional:
    return Optional(fields.Integer(strict=True), data_key=key)


class View(Schema):
    """A schema that makes a value of ``of``, with the object it read in ``raw``."""

    of: ClassVar[type]

    class Meta:
        unknown = EXCLUDE

    @post_load(pass_original=True)
    def make(self, data: dict[str, Any], original: Any, **kwargs: Any) -> Any:
        """The value."""
        return self.of(**data, raw=original)


class Part(Schema):
    """A schema that makes a dict, for another schema."""

    class Meta:
        unknown = EXCLUDE


class ProfileSchema(View):
    of = Profile
    display_name = _text("displayName")
    full_name = _text("fullName")
    description = _text("shortDescr")
    image = _text()
    link = _text("contactLink")
    peer_type = _text("peerType")
    preferences = _object("preferences")


_profile = ProfileSchema()


class UserSchema(View):
    of = User
    user_id = Number(required=True, data_key="userId")
    name = _text("localDisplayName")
    profile = Optional(_profile)
    is_active = _flag("activeUser")


class ContactSchema(View):
    of = Contact
    contact_id = Number(required=True, data_key="contactId")
    name = _text("localDisplayName")
    profile = Optional(_profile)
    status = _text("contactStatus")
    custom_data = _object("customData")


class MemberSchema(View):
    of = Member
    group_member_id = Number(required=True, data_key="groupMemberId")
    member_id = _text("memberId")
    name = _text("localDisplayName")
    profile = Optional(_profile, data_key="memberProfile")
    role = _text("memberRole")
    category = _text("memberCategory")
    status = _text("memberStatus")
    contact_id = Optional(Number(), data_key="memberContactId")


_member = MemberSchema()


class BusinessSchema(View):
    of = Business
    chat_type = _text("chatType")
    business_id = _text("businessId")
    customer_id = _text("customerId")


class SummarySchema(Part):
    members_count = _whole("currentMembers")


class GroupInfoSchema(View):
    of = GroupInfo
    group_id = Number(required=True, data_key="groupId")
    name = _text("localDisplayName")
    profile = Optional(_profile, data_key="groupProfile")
    membership = Optional(_member)
    business = Optional(BusinessSchema(), data_key="businessChat")
    custom_data = _object("customData")
    summary = Optional(SummarySchema(), data_key="groupSummary")

    @post_load(pass_original=True)
    def make(self, data: dict[str, Any], original: Any, **kwargs: Any) -> GroupInfo:
        """The group, with the count of its members out of the summary."""
        return GroupInfo(**data.pop("summary", {}), **data, raw=original)


_contact = ContactSchema()
_group = GroupInfoSchema()


class ScopeSchema(Part):
    type = Word(required=True)
    member = Optional(_member, data_key="groupMember_")


class FolderSchema(Part):
    note_folder_id = Number(required=True, data_key="noteFolderId")


class ChatSchema(View):
    of = Chat
    type = Word(required=True)
    contact = Optional(_contact)
    group = Optional(_group, data_key="groupInfo")
    scope = Optional(ScopeSchema(), data_key="groupChatScope")
    folder = Optional(FolderSchema(), data_key="noteFolder")

    @post_load(pass_original=True)
    def make(self, data: dict[str, Any], original: Any, **kwargs: Any) -> Chat:
        """The chat, with the member whose talk with the moderators it is."""
        scope, folder = data.pop("scope", {}), data.pop("folder", {})
        is_support = scope.get("type") == "memberSupport"
        return Chat(**data, **folder, is_support=is_support, support_member=scope.get("member"), raw=original)


class ContentSchema(View):
    of = Content
    type = Word(required=True)
    tag = _text()
    text = _text()
    image = _text()
    seconds = _whole("duration")
    preview = _object("preview")

    @post_load(pass_original=True)
    def make(self, data: dict[str, Any], original: Any, **kwargs: Any) -> Content:
        """The content; one whose type is none of the documented is ``unknown``, its own word the tag."""
        if data["type"] in CONTENT_TYPES:
            return Content(**{**data, "tag": data["type"]}, raw=original)
        tag = data.get("tag") or data["type"]
        return Content(**{**data, "type": "unknown", "tag": tag}, raw=original)


_content = ContentSchema()


class DirectionSchema(Part):
    type = Word(required=True)
    member = Optional(_member, data_key="groupMember")


_direction = DirectionSchema()


class QuoteSchema(View):
    of = Quote
    content = fields.Nested(_content, required=True)
    item_id = Optional(Number(), data_key="itemId")
    shared_id = _text("sharedMsgId")
    place = Optional(_direction, data_key="chatDir")
    sent_at = Optional(Time(), data_key="sentAt")

    @post_load(pass_original=True)
    def make(self, data: dict[str, Any], original: Any, **kwargs: Any) -> Quote:
        """The quote, with who wrote what it answers."""
        place = data.pop("place", {})
        return Quote(**data, direction=place.get("type", ""), member=place.get("member"), raw=original)


class SourceSchema(Part):
    path = fields.String(required=True, data_key="filePath")
    crypto_args = fields.Raw(data_key="cryptoArgs", load_default=None)


class FileSchema(View):
    of = File
    file_id = Number(required=True, data_key="fileId")
    name = _text("fileName")
    size = _whole("fileSize")
    status = Optional(Tagged(), data_key="fileStatus")
    protocol = _text("fileProtocol")
    source = Optional(SourceSchema(), data_key="fileSource")

    @post_load(pass_original=True)
    def make(self, data: dict[str, Any], original: Any, **kwargs: Any) -> File:
        """The file, with the place where it lies."""
        source = data.pop("source", {})
        encrypted = source.get("crypto_args") is not None
        return File(**data, path=source.get("path", ""), is_encrypted=encrypted, raw=original)


class TimedSchema(Part):
    ttl = fields.Integer(strict=True, required=True)


class MetaSchema(Part):
    item_id = Number(required=True, data_key="itemId")
    shared_id = _text("itemSharedMsgId")
    status = Optional(Tagged(), data_key="itemStatus")
    sent_at = Optional(Time(), data_key="itemTs")
    stored_at = Optional(Time(), data_key="createdAt")
    addresses_bot = _flag("userMention")
    is_edited = _flag("itemEdited")
    is_live = _flag("itemLive")
    deletion = _object("itemDeleted")
    timed = Optional(TimedSchema(), data_key="itemTimed")


class ItemContentSchema(Part):
    kind = Word(required=True, data_key="type")
    content = Optional(_content, data_key="msgContent")


class ChatItemSchema(Part):
    place = fields.Nested(_direction, required=True, data_key="chatDir")
    meta = fields.Nested(MetaSchema(), required=True)
    content = fields.Nested(ItemContentSchema(), required=True)
    mentions = MemberIds()
    quote = Optional(QuoteSchema(), data_key="quotedItem")
    file = Optional(FileSchema())
    formatted = Fitting(data_key="formattedText")
    reactions = Fitting()


_chat_item = ChatItemSchema()


class ItemSchema(View):
    of = Item
    chat = fields.Nested(ChatSchema(), required=True, data_key="chatInfo")
    item = fields.Nested(_chat_item, required=True, data_key="chatItem")

    @post_load(pass_original=True)
    def make(self, data: dict[str, Any], original: Any, **kwargs: Any) -> Item:
        """The item in its chat."""
        return _made_item(data["chat"], data["item"], original)


def _made_item(chat: Chat, parts: Mapping[str, Any], original: Any) -> Item:
    """An item from what its schema read; parts are not changed."""
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


class ChatReactionSchema(Part):
    place = fields.Nested(_direction, required=True, data_key="chatDir")
    item = fields.Nested(_chat_item, required=True, data_key="chatItem")
    sent_at = Optional(Time(), data_key="sentAt")
    reaction = _object("reaction")


class ReactionSchema(View):
    of = Reaction
    chat = fields.Nested(ChatSchema(), required=True, data_key="chatInfo")
    reaction = fields.Nested(ChatReactionSchema(), required=True, data_key="chatReaction")

    @post_load(pass_original=True)
    def make(self, data: dict[str, Any], original: Any, **kwargs: Any) -> Reaction:
        """The reaction, with its item as an item of the chat; any text counts as an emoji."""
        parts, chat = data["reaction"], data["chat"]
        raw = {"chatInfo": original["chatInfo"], "chatItem": original["chatReaction"]["chatItem"]}
        emoji = parts.get("reaction", {}).get("emoji")
        return Reaction(
            chat=chat,
            item=_made_item(chat, parts["item"], raw),
            emoji=emoji if isinstance(emoji, str) else "",
            direction=parts["place"]["type"],
            member=parts["place"].get("member"),
            sent_at=parts.get("sent_at", 0.0),
            raw=original,
        )


class ContactRequestSchema(View):
    of = ContactRequest
    request_id = Number(required=True, data_key="contactRequestId")
    name = _text("localDisplayName")
    profile = Optional(_profile)


class LinkSchema(Part):
    full_link = _text("connFullLink")
    short_link = _text("connShortLink")


class SettingsSchema(Part):
    is_business = _flag("businessAddress")
    accept = _object("autoAccept")
    welcome = Optional(_content, data_key="autoReply")


class AddressSchema(View):
    of = Address
    link = fields.Nested(LinkSchema(), required=True, data_key="connLinkContact")
    settings = Optional(SettingsSchema(), data_key="addressSettings")

    @post_load(pass_original=True)
    def make(self, data: dict[str, Any], original: Any, **kwargs: Any) -> Address:
        """The link and what happens to those who follow it."""
        settings = data.get("settings", {})
        accepts = settings.pop("accept", None) is not None
        whole = original.get("addressSettings")
        raw = whole if isinstance(whole, Mapping) else {}
        return Address(**data["link"], **settings, auto_accept=accepts, settings=raw, raw=original)


class InvitationSchema(Part):
    name = _text("fileName")
    size = _whole("fileSize")


class TransferSchema(View):
    of = FileTransfer
    file_id = Number(required=True, data_key="fileId")
    name = _text("fileName")
    size = _whole("fileSize")
    invitation = Optional(InvitationSchema(), data_key="fileInvitation")

    @post_load(pass_original=True)
    def make(self, data: dict[str, Any], original: Any, **kwargs: Any) -> FileTransfer:
        """The transfer; an incoming one has its name and size in the invitation."""
        return FileTransfer(**{**data.pop("invitation", {}), **data}, raw=original)


class DeletionSchema(View):
    of = Deletion
    item = fields.Nested(_item, required=True, data_key="deletedChatItem")
    replacement = Optional(_item, data_key="toChatItem")


class StatsSchema(Part):
    unread = fields.Integer(strict=True, data_key="unreadCount", load_default=0)


class ChatSummarySchema(View):
    of = ChatSummary
    chat = fields.Nested(ChatSchema(), required=True, data_key="chatInfo")
    stats = Optional(StatsSchema(), data_key="chatStats")

    @post_load(pass_original=True)
    def make(self, data: dict[str, Any], original: Any, **kwargs: Any) -> ChatSummary:
        """The chat, with those of its items that are items."""
        listed = original.get("chatItems")
        whole = [{"chatInfo": original["chatInfo"], "chatItem": item} for item in listed or ()]
        items = tuple(_item.load(item) for item in whole if not _item.validate(item))
        return ChatSummary(chat=data["chat"], items=items, **data.get("stats", {}), raw=original)


class UserInfoSchema(Part):
    user = fields.Nested(UserSchema(), required=True)


_user = UserSchema()
_links = LinkSchema()


def _read_link(raw: Any) -> Address:
    """A bare link, as the answer to making an address holds it."""
    return Address(**_load(_links, raw), raw=raw)


def _read_users(raw: Any) -> User:
    user: User = _load(UserInfoSchema(), raw)["user"]
    return user


def _load(schema: Schema, raw: object) -> Any:
    try:
        return schema.load(raw)  # type: ignore[arg-type]
    except ValidationError as error:
        details = _flatten(error.messages)
        first = next(iter(details.items()), ("", [""]))
        raise PayloadError(
            f"the SimpleX CLI sent something of another shape: {first[0]}: {first[1][0]}", details=details
        ) from error


def _flatten(messages: Any, path: str = "") -> dict[str, list[str]]:
    """The faults by the path of their field: ``chatItem.meta.itemId``."""
    if not isinstance(messages, Mapping):
        return {path or "_schema": [str(item) for item in messages]}
    found: dict[str, list[str]] = {}
    for key, inner in messages.items():
        found |= _flatten(inner, path if key == "_schema" else f"{path}.{key}".lstrip("."))
    return found


def _reader(schema: Schema) -> Callable[[Any], Any]:
    return lambda raw: _load(schema, raw)


_KINDS: dict[str, Callable[[Any], Any]] = {
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

_FIELDS = {
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

_READERS = {name: _KINDS[kind] for kind, names in _FIELDS.items() for name in names.split()} | {
    "contacts": _KINDS["Contact"],
    "groups": _KINDS["GroupInfo"],
}


def read(record: Record, name: str) -> Any:
    """What the field ``name`` of an answer or event speaks of, as a value of ``views``; None where it is absent.

    A list becomes a list of values. ``group`` of ``groupMembers`` is the members. Raises :class:`PayloadError` for
    what has not the shape it must have, and ``KeyError`` for a field that no value is made of.
    """
    raw = record.raw.get(name)
    if name == "group":
        name, raw = "members", raw.get("members") if isinstance(raw, Mapping) else None
    reader = _READERS[name]
    if raw is None:
        return None
    return [reader(item) for item in raw] if isinstance(raw, list) else reader(raw)


def read_item(raw: object) -> Item:
    """The item in an ``AChatItem``, ``{"chatInfo": …, "chatItem": …}``. Raises :class:`PayloadError`."""
    item: Item = _KINDS["AChatItem"](raw)
    return item


def read_chat(raw: object) -> ChatSummary:
    """A chat of a list, an ``AChat``. Raises :class:`PayloadError`."""
    chat: ChatSummary = _KINDS["AChat"](raw)
    return chat


def read_content(raw: object) -> Content:
    """What a ``MsgContent`` holds. Raises :class:`PayloadError`."""
    content: Content = _load(_content, raw)
    return content
