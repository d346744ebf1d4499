"""Ids of conversations, users and groups, and mentions as SimpleX spells them."""

from __future__ import annotations

import pytest

from cometbot.channels.simplex import ids
from cometbot.channels.simplex.ids import has_mentions, make_member_finder, resolve_mentions
from cometbot.channels.simplex.models import Business, Chat, Contact, ContactRequest, GroupInfo, Member, Profile
from cometbot.channels.simplex.protocol import ChatRef
from cometbot.channels.simplex.protocol.contents import text_content
from cometbot.errors import BotError, Rejected

BOT = Member(group_member_id=10, member_id="Ym90", role="admin")
TEAM = GroupInfo(group_id=3, name="Team", profile=Profile(display_name="The team"), membership=BOT, members_count=3)


def test_a_contact_is_written_to_by_number() -> None:
    conversation = ids.make_direct_conversation("default", "shop", "4")

    assert (conversation.id, conversation.target, conversation.is_direct) == ("contact_4", "4", True)
    assert ids.make_chat_ref(conversation) == ChatRef("direct", 4)


@pytest.mark.parametrize("uid", ["maria", "", "0", "04", "-4", "4\n", "٤", "4 5", "99999999999999999999", "request-7"])
def test_invalid_contact_number_is_refused(uid: str) -> None:
    with pytest.raises(BotError, match=r"expected a number as in ctx\.sender\.uid"):
        ids.make_direct_conversation("default", "shop", uid)


def test_a_member_who_is_no_contact_cannot_be_written_to_alone() -> None:
    with pytest.raises(BotError, match="once it is a contact"):
        ids.make_direct_conversation("default", "shop", "member-Ym9i")


@pytest.mark.parametrize(("guid", "ref"), [("3", "#3"), ("3(_support)", "#3(_support)"), ("3(_support:11)",) * 2])
def test_groups_and_their_support_talks_are_written_to_by_number(guid: str, ref: str) -> None:
    conversation = ids.make_group_conversation("default", "shop", guid)

    assert (conversation.target, conversation.is_group) == (guid, True)
    assert str(ids.make_chat_ref(conversation)) == f"#{guid}"
    assert ref.lstrip("#") == guid


@pytest.mark.parametrize("guid", ["Team", "0", "3(", "3(_support:)", "3(_support:0)", "3/4"])
def test_what_is_no_group_is_refused(guid: str) -> None:
    with pytest.raises(BotError, match=r"SimpleX group: expected a number"):
        ids.make_group_conversation("default", "shop", guid)


def test_pending_contact_cannot_be_sent_to() -> None:
    asked = ids.make_request_conversation("default", "shop", ContactRequest(request_id=7))

    with pytest.raises(Rejected, match="accept the contact request first"):
        ids.make_chat_ref(asked)


def test_a_chat_that_nobody_can_write_to_has_no_conversation() -> None:
    assert ids.make_chat_conversation("default", "shop", Chat(type="local", note_folder_id=1)) is None
    assert ids.make_chat_conversation("default", "shop", Chat(type="feed")) is None
    direct = ids.make_chat_conversation("default", "shop", Chat(type="direct", contact=Contact(contact_id=4)))
    assert direct == ids.make_direct_conversation("default", "shop", "4")


def test_a_support_talk_is_a_conversation_of_its_own() -> None:
    member = Member(group_member_id=11)
    chat = Chat(type="group", group=TEAM, is_support=True, support_member=member)

    assert ids.make_chat_conversation("default", "shop", chat) == ids.make_group_conversation(
        "default", "shop", "3(_support:11)"
    )


def test_a_member_who_is_a_contact_is_the_same_user_in_the_group() -> None:
    member = Member(group_member_id=11, member_id="Ym9i", contact_id=4, profile=Profile(display_name="bob"))

    assert ids.make_member_user(member, TEAM).uid == ids.make_contact_user(Contact(contact_id=4)).uid == "4"


def test_no_member_id_can_pass_for_a_contact() -> None:
    assert ids.get_member_uid(Member(group_member_id=11, member_id="4")) == "member-4"


def test_user_has_display_name_and_metadata() -> None:
    profile = Profile(display_name="bob", image="data:image/png;base64,AA==", peer_type="bot")
    user = ids.make_member_user(
        Member(group_member_id=11, member_id="Ym9i", role="moderator", status="connected", profile=profile), TEAM
    )

    assert (user.name, user.avatar, user.role, user.status) == ("bob", profile.image, "moderator", "connected")
    assert user.metadata == {"contact_id": None, "group_member_id": 11, "member_id": "Ym9i", "is_bot": True}


def test_business_customer_has_role_customer() -> None:
    chat = GroupInfo(group_id=9, business=Business(chat_type="business", business_id="Ym90", customer_id="ZGF2ZQ=="))
    customer, agent = Member(group_member_id=1, member_id="ZGF2ZQ=="), Member(group_member_id=2, role="member")

    assert ids.make_member_user(customer, chat).role == "customer"
    assert ids.make_member_user(agent, chat).role == "member"
    assert ids.make_group(chat).type == "business"


def test_a_group_shows_its_name_size_and_the_bots_role() -> None:
    group = ids.make_group(TEAM)

    assert (group.guid, group.name, group.type, group.scope, group.members_count) == (
        "3", "The team", "private", "admin", 3
    )  # fmt: skip


MEMBERS = [
    Member(group_member_id=11, member_id="Ym9i", profile=Profile(display_name="bob")),
    Member(group_member_id=12, member_id="Y2Fyb2w=", contact_id=4, profile=Profile(display_name="Carol C")),
    Member(group_member_id=13, member_id="b3RoZXI=", profile=Profile(display_name="bob")),
    Member(group_member_id=14, member_id="b2RkMQ==", name="odd_1", profile=Profile(display_name="o'hara")),
]


@pytest.mark.parametrize(
    ("text", "expected", "mentioned"),
    [
        ("<@uid:member-Ym9i> look", "@bob look", {"bob": 11}),
        ("<@uid:4>!", "@'Carol C'!", {"Carol C": 12}),
        ("<@uid:member-Y2Fyb2w=>", "@'Carol C'", {"Carol C": 12}),
        ("<@uid:member-Ym9i> and <@uid:member-b3RoZXI=>", "@bob and @bob", {"bob": 11}),
        ("<@uid:member-b2RkMQ==>", "@o'hara", {}),
        ("<@uid:99>", "@99", {}),
        ("nobody", "nobody", {}),
    ],
)
def test_uids_become_names_and_the_members_that_they_mean(text: str, expected: str, mentioned: dict[str, int]) -> None:
    content, members = resolve_mentions(text_content(text), make_member_finder(MEMBERS))

    assert (content["text"], members) == (expected, mentioned)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"text": "a <@uid:4> b"}, True),
        ({"text": "<@uid:>"}, False),
        ({"text": "@bob"}, False),
        ({"type": "file"}, False),
    ],
)
def test_a_content_is_only_touched_where_it_names_somebody(content: dict[str, str], expected: bool) -> None:
    assert has_mentions(content) is expected
