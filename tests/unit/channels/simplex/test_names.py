"""Conversations, users and groups have the CLI's numbers as names, and nothing that a person can choose."""

from __future__ import annotations

import pytest

from cometbot.channels.simplex import names
from cometbot.channels.simplex.protocol import ChatRef
from cometbot.channels.simplex.views import Business, Chat, Contact, ContactRequest, GroupInfo, Member, Profile
from cometbot.errors import BotError, Rejected

BOT = Member(group_member_id=10, member_id="Ym90", role="admin")
TEAM = GroupInfo(group_id=3, name="Team", profile=Profile(display_name="The team"), membership=BOT, members_count=3)


def test_a_contact_is_written_to_by_number() -> None:
    conversation = names.direct("default", "shop", "4")

    assert (conversation.id, conversation.target, conversation.is_direct) == ("contact_4", "4", True)
    assert names.ref_of(conversation) == ChatRef("direct", 4)


@pytest.mark.parametrize("uid", ["maria", "", "0", "04", "-4", "4\n", "٤", "4 5", "99999999999999999999", "request-7"])
def test_what_is_no_contacts_number_is_refused_with_the_right_way(uid: str) -> None:
    with pytest.raises(BotError, match=r"by number, as in ctx\.sender\.uid"):
        names.direct("default", "shop", uid)


def test_a_member_who_is_no_contact_cannot_be_written_to_alone() -> None:
    with pytest.raises(BotError, match="once it is a contact"):
        names.direct("default", "shop", "member-Ym9i")


@pytest.mark.parametrize(("guid", "ref"), [("3", "#3"), ("3(_support)", "#3(_support)"), ("3(_support:11)",) * 2])
def test_groups_and_their_support_talks_are_written_to_by_number(guid: str, ref: str) -> None:
    conversation = names.group("default", "shop", guid)

    assert (conversation.target, conversation.is_group) == (guid, True)
    assert str(names.ref_of(conversation)) == f"#{guid}"
    assert ref.lstrip("#") == guid


@pytest.mark.parametrize("guid", ["Team", "0", "3(", "3(_support:)", "3(_support:0)", "3/4"])
def test_what_is_no_group_is_refused(guid: str) -> None:
    with pytest.raises(BotError, match=r"knows groups by number"):
        names.group("default", "shop", guid)


def test_nothing_can_be_said_to_who_is_not_let_in_yet() -> None:
    asked = names.request("default", "shop", ContactRequest(request_id=7))

    with pytest.raises(Rejected, match="accept the request first"):
        names.ref_of(asked)


def test_a_chat_that_nobody_can_write_to_has_no_conversation() -> None:
    assert names.of_chat("default", "shop", Chat(type="local", note_folder_id=1)) is None
    assert names.of_chat("default", "shop", Chat(type="feed")) is None
    direct = names.of_chat("default", "shop", Chat(type="direct", contact=Contact(contact_id=4)))
    assert direct == names.direct("default", "shop", "4")


def test_a_support_talk_is_a_conversation_of_its_own() -> None:
    member = Member(group_member_id=11)
    chat = Chat(type="group", group=TEAM, is_support=True, support_member=member)

    assert names.of_chat("default", "shop", chat) == names.group("default", "shop", "3(_support:11)")


def test_a_member_who_is_a_contact_is_the_same_user_in_the_group() -> None:
    member = Member(group_member_id=11, member_id="Ym9i", contact_id=4, profile=Profile(display_name="bob"))

    assert names.member_user(member, TEAM).uid == names.contact_user(Contact(contact_id=4)).uid == "4"


def test_no_member_id_can_pass_for_a_contact() -> None:
    assert names.member_uid(Member(group_member_id=11, member_id="4")) == "member-4"


def test_a_user_is_called_as_he_calls_himself_and_what_else_is_known_goes_along() -> None:
    profile = Profile(display_name="bob", image="data:image/png;base64,AA==", peer_type="bot")
    user = names.member_user(
        Member(group_member_id=11, member_id="Ym9i", role="moderator", status="connected", profile=profile), TEAM
    )

    assert (user.name, user.avatar, user.role, user.status) == ("bob", profile.image, "moderator", "connected")
    assert user.metadata == {"contact_id": None, "group_member_id": 11, "member_id": "Ym9i", "is_bot": True}


def test_the_customer_of_a_business_chat_is_told_from_the_agents() -> None:
    chat = GroupInfo(group_id=9, business=Business(chat_type="business", business_id="Ym90", customer_id="ZGF2ZQ=="))
    customer, agent = Member(group_member_id=1, member_id="ZGF2ZQ=="), Member(group_member_id=2, role="member")

    assert names.member_user(customer, chat).role == "customer"
    assert names.member_user(agent, chat).role == "member"
    assert names.to_group(chat).type == "business"


def test_a_group_shows_its_name_size_and_the_bots_role() -> None:
    group = names.to_group(TEAM)

    assert (group.guid, group.name, group.type, group.scope, group.members_count) == (
        "3", "The team", "private", "admin", 3
    )  # fmt: skip
