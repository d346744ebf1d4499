"""What answers and events speak of, read from every example of the reference, and from what is no such thing."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from cometbot.channels.simplex import models, schemas
from cometbot.channels.simplex.protocol import ChatRef, Record
from cometbot.errors import PayloadError
from tests.simplex_reference import EVENTS, RESPONSES, example, expand

_KINDS = {
    "User": models.User,
    "Contact": models.Contact,
    "GroupInfo": models.GroupInfo,
    "GroupMember": models.Member,
    "AChatItem": models.Item,
    "ACIReaction": models.Reaction,
    "UserContactRequest": models.ContactRequest,
    "UserContactLink": models.Address,
    "GroupLink": models.Address,
    "CreatedConnLink": models.Address,
    "RcvFileTransfer": models.FileTransfer,
    "FileTransferMeta": models.FileTransfer,
    "ChatItemDeletion": models.Deletion,
    "AChat": models.ChatSummary,
    "Profile": models.Profile,
    "UserInfo": models.User,
}


def item(name: str, **changes: Any) -> models.Item:
    raw = expand(f"‹{name}›")
    for path, value in changes.items():
        *places, last = path.split("__")
        place = raw
        for key in places:
            place = place[key]
        place[last] = value
    return schemas.read_item(raw)


def documented() -> list[tuple[str, str, str, str]]:
    found = []
    for kind, table in (("responses", RESPONSES), ("events", EVENTS)):
        for tag, row in table.items():
            for name, written in row["fields"].items():
                found.append((kind, tag, name, written.strip("[]?")))
    return found


@pytest.mark.parametrize(
    ("kind", "tag", "name", "type_name"),
    [row for row in documented() if row[3] in _KINDS],
    ids=lambda value: value if value != "events" else "",
)
def test_every_documented_field_that_names_something_is_read(kind: str, tag: str, name: str, type_name: str) -> None:
    record = Record.from_object(example(tag, kind))
    assert record is not None
    found = schemas.read_field(record, name)
    raw = record.raw.get(name)
    if raw is None:
        assert found is None
    elif isinstance(raw, list):
        assert [type(value) for value in found] == [_KINDS[type_name]] * len(raw)
    else:
        assert type(found) is _KINDS[type_name]
        assert found.raw in (raw, raw.get("user"))


@pytest.mark.parametrize(
    ("kind", "tag"), [("responses", tag) for tag in RESPONSES] + [("events", tag) for tag in EVENTS]
)
def test_unknown_fields_nulls_and_odd_times_change_nothing(kind: str, tag: str) -> None:
    whole = example(tag, kind)
    for name, written in {**RESPONSES, **EVENTS}[tag]["fields"].items():
        if written.strip("[]?") not in _KINDS or name not in whole:
            continue
        plain = schemas.read_field(Record(tag, whole), name)
        strange = schemas.read_field(Record(tag, _strange(copy.deepcopy(whole))), name)
        assert strange == plain


_KEPT_AS_THEY_ARE = (
    "preferences",
    "addressSettings",
    "formattedText",
    "reactions",
    "mentions",
    "customData",
    "preview",
)


def _strange(value: Any, name: str = "") -> Any:
    """``value`` with fields that nobody knows in every object that is read, and times of another length."""
    if name in _KEPT_AS_THEY_ARE:
        return value
    if isinstance(value, dict):
        return {**{key: _strange(inner, key) for key, inner in value.items()}, "new": {"type": "x"}, "gone_": None}
    if isinstance(value, str) and value.endswith(".123456Z"):
        return value.replace(".123456Z", ".123456000000Z")
    return [_strange(inner) for inner in value] if isinstance(value, list) else value


def test_a_command_in_a_direct_chat_is_read() -> None:
    found = item("DirectItem")
    assert found.chat.ref == ChatRef("direct", 4)
    assert found.chat.contact is not None
    assert (found.chat.contact.name, found.chat.contact.profile.display_name) == ("alice", "alice")
    assert (found.item_id, found.direction, found.kind, found.is_received) == (20, "directRcv", "rcvMsgContent", True)
    assert (found.text, found.shared_id, found.status) == ("/order 42", "c2hhcmVkTXNnSWQ20=", "rcvNew")
    assert found.formatted[0]["format"]["commandStr"] == "order 42"
    assert not found.mentions_or_quotes_bot
    assert found.sent_at == 1772359205.0
    assert found.stored_at == 1772359200.123456


def test_a_mention_and_a_quote_in_a_group_are_read() -> None:
    found = item("GroupItem")
    assert found.chat.ref == ChatRef("group", 3)
    assert found.member is not None
    assert (found.member.group_member_id, found.member.member_id, found.member.role) == (
        11,
        "Ym9iTWVtYmVySWQ=",
        "member",
    )
    assert found.mentions == {"Echo bot": "Ym90TWVtYmVySWQ="}
    assert found.mentions_bot
    assert found.mentions_or_quotes_bot
    assert found.quote is not None
    assert (found.quote.item_id, found.quote.is_own, found.quote.content.text) == (35, True, "All good yesterday")
    assert not item("GroupItem", chatItem__mentions={"carol": {"memberId": "x"}}).mentions_bot


def test_own_message_is_distinguished() -> None:
    found = item("SentItem")
    assert not found.is_received
    assert (found.kind, found.direction, found.status) == ("sndMsgContent", "directSnd", "sndNew")
    assert found.quote is not None
    assert not found.quote.is_own


def test_a_file_is_read_with_its_place_once_it_has_one() -> None:
    offer, done = item("FileOfferItem").file, item("FileDoneItem").file
    assert offer is not None
    assert done is not None
    assert (offer.file_id, offer.name, offer.size, offer.status, offer.path) == (
        5,
        "photo.jpg",
        204800,
        "rcvInvitation",
        "",
    )
    assert (done.status, done.path, done.is_encrypted) == ("rcvComplete", "photo.jpg", False)
    source = {"filePath": "x", "cryptoArgs": {"fileKey": "a", "fileNonce": "b"}}
    locked = item("FileDoneItem", chatItem__file__fileSource=source).file
    assert locked is not None
    assert locked.is_encrypted
    assert "x" not in repr(locked).replace("xftp", "").replace("XFTP", "")


def test_business_and_support_chats_are_read() -> None:
    group = schemas.read_field(Record("x", {"groupInfo": expand("‹BusinessGroupInfo›")}), "groupInfo")
    assert group.business.customer_id == "ZGF2ZU1lbWJlcklk"
    assert group.membership.member_id == group.business.business_id
    info = {"type": "group", "groupInfo": expand("‹GroupInfo›")}
    scope = {"type": "memberSupport", "groupMember_": expand("‹Member›")}
    talk = item("GroupItem", chatInfo={**info, "groupChatScope": scope})
    assert talk.chat.ref == ChatRef("group", 3, "support", 11)
    own = item("GroupItem", chatInfo={**info, "groupChatScope": {"type": "memberSupport"}})
    assert own.chat.ref == ChatRef("group", 3, "support")
    assert item("GroupItem", chatInfo={**info, "groupChatScope": {"type": "reports"}}).chat.ref == ChatRef("group", 3)


def test_note_and_unknown_chats_are_read_only() -> None:
    notes = {"type": "local", "noteFolder": {"noteFolderId": 1, "userId": 1}}
    assert item("DirectItem", chatInfo=notes).chat.ref == ChatRef("local", 1)
    assert item("DirectItem", chatInfo={"type": "feed", "x": 1}).chat.ref is None


@pytest.mark.parametrize(
    ("content", "kind", "tag", "text"),
    [
        ({"type": "text", "text": "a"}, "text", "text", "a"),
        ({"type": "poll", "text": "?", "options": []}, "unknown", "poll", "?"),
        ({"type": "poll"}, "unknown", "poll", ""),
        ({"type": "unknown", "tag": "poll", "text": "?", "json": {}}, "unknown", "poll", "?"),
        ({"type": "voice", "text": "", "duration": 5}, "voice", "voice", ""),
        ({"type": "chat", "tag": "image"}, "chat", "chat", ""),
        ({"type": "text", "text": None}, "text", "text", ""),
        ({"type": "text", "text": 5}, "text", "text", ""),
    ],
)
def test_unknown_content_has_tag_and_text(content: dict[str, Any], kind: str, tag: str, text: str) -> None:
    found = item("DirectItem", chatItem__content__msgContent=content)
    assert found.content is not None
    assert (found.content.type, found.content.tag, found.text, found.content.raw) == (kind, tag, text, content)


def test_chat_event_item_has_no_content() -> None:
    joined = item("GroupItem", chatItem__content={"type": "rcvGroupEvent", "rcvGroupEvent": {"type": "memberLeft"}})
    assert (joined.kind, joined.content, joined.text, joined.is_received) == ("rcvGroupEvent", None, "", False)
    strange = item(
        "GroupItem",
        chatItem__chatDir={"type": "cosmicRcv"},
        chatItem__content={"type": "rcvTomorrow"},
        chatItem__meta__itemStatus={"type": "rcvPondered"},
    )
    assert (strange.direction, strange.kind, strange.status, strange.member) == (
        "cosmicRcv",
        "rcvTomorrow",
        "rcvPondered",
        None,
    )


def test_live_edited_timed_and_deleted_flags() -> None:
    plain = item("DirectItem")
    assert (plain.is_live, plain.is_edited, plain.is_deleted, plain.ttl) == (False, False, False, None)
    changed = item(
        "DirectItem",
        chatItem__meta__itemLive=True,
        chatItem__meta__itemEdited=True,
        chatItem__meta__itemTimed={"ttl": 60},
        chatItem__meta__itemDeleted={"type": "blockedTomorrow"},
    )
    assert (changed.is_live, changed.is_edited, changed.is_deleted, changed.ttl) == (True, True, True, 60)


@pytest.mark.parametrize(
    ("reaction", "emoji"),
    [
        ({"type": "emoji", "emoji": "👍"}, "👍"),
        ({"type": "emoji", "emoji": "🦊"}, "🦊"),
        ({"type": "unknown", "tag": "emoji", "json": {}}, ""),
        ({"type": "emoji", "emoji": 5}, ""),
        (None, ""),
    ],
)
def test_any_emoji_is_a_reaction(reaction: Any, emoji: str) -> None:
    raw = example("chatItemReaction")
    raw["reaction"]["chatReaction"]["reaction"] = reaction
    found = schemas.read_field(Record("chatItemReaction", raw), "reaction")
    assert (found.emoji, found.item.item_id, found.direction) == (emoji, 21, "directRcv")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-03-01T10:00:05Z", 1772359205.0),
        ("2026-03-01T10:00:05.5Z", 1772359205.5),
        ("2026-03-01T10:00:05.123Z", 1772359205.123),
        ("2026-03-01T10:00:05.123456Z", 1772359205.123456),
        ("2026-03-01T10:00:05.123456789Z", 1772359205.123456789),
        ("2026-03-01T10:00:05.123456789012Z", 1772359205.123456789012),
        ("2026-03-01T10:00:05+00:00", 1772359205.0),
        ("2026-13-01T10:00:05Z", 0.0),
        ("yesterday", 0.0),
        (5, 0.0),
        (None, 0.0),
    ],
)
def test_times_have_up_to_twelve_digits_of_a_fraction(text: Any, seconds: float) -> None:
    assert item("DirectItem", chatItem__meta__itemTs=text).sent_at == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"chatInfo": None}, "chatInfo"),
        ({"chatItem": []}, "chatItem"),
        ({"chatItem__meta": {}}, "chatItem.meta.itemId"),
        ({"chatItem__meta__itemId": "20"}, "chatItem.meta.itemId"),
        ({"chatItem__meta__itemId": True}, "chatItem.meta.itemId"),
        ({"chatItem__chatDir": {}}, "chatItem.chatDir.type"),
        ({"chatItem__content": {"msgContent": {}}}, "chatItem.content.type"),
    ],
)
def test_what_is_no_item_is_refused_with_the_path_of_the_fault(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(PayloadError, match="the SimpleX CLI sent something of another shape") as error:
        item("DirectItem", **changes)
    assert path in error.value.details
    assert path in str(error.value)


@pytest.mark.parametrize("raw", [None, 5, "x", [], {}])
def test_what_is_no_object_at_all_is_refused(raw: object) -> None:
    with pytest.raises(PayloadError):
        schemas.read_item(raw)
    with pytest.raises(PayloadError):
        schemas.read_chat(raw)
    with pytest.raises(PayloadError):
        schemas.read_content(raw)


def test_a_list_of_chats_leaves_out_items_that_are_none() -> None:
    chat = example("apiChats", "responses")["chats"][0]
    found = schemas.read_chat({**chat, "chatItems": [*chat["chatItems"], {"meta": {}}, 5]})
    assert [entry.item_id for entry in found.items] == [20]
    assert found.unread == 1
    assert schemas.read_chat({"chatInfo": chat["chatInfo"]}).items == ()


def test_an_address_is_read_with_what_happens_to_newcomers() -> None:
    address = schemas.read_field(Record("x", example("userContactLink", "responses")), "contactLink")
    assert address.link == address.short_link == "https://smp9.example.org/a#BotAddressKey"
    assert (address.auto_accept, address.is_business) == (True, False)
    assert address.welcome.text == "Hi! Send /help to begin."
    raw = {"connLinkContact": {"connFullLink": "simplex:/x"}, "addressSettings": {"businessAddress": True}}
    old = schemas.read_field(Record("x", {"contactLink": raw}), "contactLink")
    assert (old.link, old.auto_accept, old.is_business, old.welcome) == ("simplex:/x", False, True, None)
    made = schemas.read_field(Record("x", example("userContactLinkCreated", "responses")), "connLinkContact")
    assert made.link == "https://smp9.example.org/a#BotAddressKey"


def test_members_of_a_group_are_read_out_of_the_answer() -> None:
    members = schemas.read_field(Record("groupMembers", example("groupMembers", "responses")), "group")
    assert [member.name for member in members] == ["bob", "carol"]


def test_bots_are_known_by_their_profile() -> None:
    user = schemas.read_field(Record("x", {"user": expand("‹User›")}), "user")
    assert user.profile.is_bot
    assert not item("DirectItem").chat.contact.profile.is_bot  # type: ignore[union-attr]


def test_unknown_field_raises_key_error() -> None:
    with pytest.raises(KeyError):
        schemas.read_field(Record("x", {"byUser": True}), "byUser")


def test_what_was_read_can_be_stored_as_json_and_read_again() -> None:
    raw = json.loads(json.dumps(item("GroupItem").raw))
    assert schemas.read_item(raw) == item("GroupItem")
