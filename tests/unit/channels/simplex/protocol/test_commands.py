"""Every command of the reference, as the reference writes it, and what is refused before it is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot.channels.simplex.protocol import ChatRef, Command, ComposedMessage, UpdatedMessage, commands
from cometbot.channels.simplex.protocol.contents import text_content
from cometbot.errors import MessageError
from cometbot.testing.simplex.command_grammar import COMMAND_NAMES, read_command
from tests.simplex_reference import COMMANDS

ALICE, TEAM = ChatRef("direct", 4), ChatRef("group", 3)
HELLO = ComposedMessage(text_content("Hello"))
HI = {"businessAddress": False, "autoAccept": {"acceptIncognito": False}, "autoReply": {"type": "text", "text": "Hi!"}}
FILES_ON = {"displayName": "Team", "fullName": "", "groupPreferences": {"files": {"enable": "on"}}}
HELP = {
    "displayName": "Echo bot",
    "fullName": "",
    "peerType": "bot",
    "preferences": {"commands": [{"type": "command", "keyword": "help", "label": "Help"}]},
}
ADMIN = {"commands": [{"type": "command", "keyword": "admin", "label": "Admin menu"}]}
LINK = "https://smp9.example.org/a#Key"

EXAMPLES: dict[str, Callable[[], Command]] = {
    "APICreateMyAddress": lambda: commands.create_my_address(1),
    "APIDeleteMyAddress": lambda: commands.delete_my_address(1),
    "APIShowMyAddress": lambda: commands.show_my_address(1),
    "APISetProfileAddress": lambda: commands.set_profile_address(1, True),
    "APISetAddressSettings": lambda: commands.set_address_settings(1, HI),
    "APISendMessages": lambda: commands.send_messages(ALICE, [HELLO]),
    "APIUpdateChatItem": lambda: commands.update_chat_item(ALICE, 21, UpdatedMessage(text_content("Hello!"))),
    "APIDeleteChatItem": lambda: commands.delete_chat_item(ALICE, [21, 22], "broadcast"),
    "APIDeleteMemberChatItem": lambda: commands.delete_member_chat_item(3, [36]),
    "APIChatItemReaction": lambda: commands.chat_item_reaction(ALICE, 20, "👍"),
    "ReceiveFile": lambda: commands.receive_file(5, "/srv/bot/in/5.jpg"),
    "CancelFile": lambda: commands.cancel_file(5),
    "APIAddMember": lambda: commands.add_member(3, 4, "member"),
    "APIJoinGroup": lambda: commands.join_group(3),
    "APIAcceptMember": lambda: commands.accept_member(3, 11, "member"),
    "APIMembersRole": lambda: commands.members_role(3, [11, 12], "moderator"),
    "APIBlockMembersForAll": lambda: commands.block_members_for_all(3, [11]),
    "APIRemoveMembers": lambda: commands.remove_members(3, [11], with_messages=True),
    "APILeaveGroup": lambda: commands.leave_group(3),
    "APIListMembers": lambda: commands.list_members(3),
    "APINewGroup": lambda: commands.new_group(1, {"displayName": "Team", "fullName": ""}),
    "APINewPublicGroup": lambda: commands.new_public_group(1, [1, 2], {"displayName": "News", "fullName": ""}),
    "APIGetGroupRelays": lambda: commands.get_group_relays(3),
    "APIAddGroupRelays": lambda: commands.add_group_relays(3, [2]),
    "APIAllowRelayGroup": lambda: commands.allow_relay_group(3),
    "APIUpdateGroupProfile": lambda: commands.update_group_profile(3, FILES_ON),
    "APICreateGroupLink": lambda: commands.create_group_link(3, "member"),
    "APIGroupLinkMemberRole": lambda: commands.group_link_member_role(3, "observer"),
    "APIDeleteGroupLink": lambda: commands.delete_group_link(3),
    "APIGetGroupLink": lambda: commands.get_group_link(3),
    "APIAddContact": lambda: commands.add_contact(1),
    "APIConnectPlan": lambda: commands.connect_plan(1, LINK),
    "APIConnect": lambda: commands.connect_by_link(1, "simplex:/contact#/?v=2-7&smp=…"),
    "Connect": lambda: commands.connect(LINK),
    "APIAcceptContact": lambda: commands.accept_contact(2),
    "APIRejectContact": lambda: commands.reject_contact(2),
    "APIListContacts": lambda: commands.list_contacts(1),
    "APIListGroups": lambda: commands.list_groups(1, search="support"),
    "APIGetChats": lambda: commands.get_chats(1, count=50, unread=True),
    "APIDeleteChat": lambda: commands.delete_chat(ALICE, "full", notify=False),
    "APISetGroupCustomData": lambda: commands.set_group_custom_data(3, {"ticket": 17}),
    "APISetContactCustomData": lambda: commands.set_contact_custom_data(4, {"lang": "en"}),
    "APISetUserAutoAcceptMemberContacts": lambda: commands.set_auto_accept_member_contacts(1, True),
    "ShowActiveUser": commands.show_active_user,
    "CreateActiveUser": lambda: commands.create_active_user(
        {"displayName": "Echo bot", "fullName": "", "peerType": "bot"}
    ),
    "ListUsers": commands.list_users,
    "APISetActiveUser": lambda: commands.set_active_user(2),
    "APIDeleteUser": lambda: commands.delete_user(2, delete_queues=True),
    "APIUpdateProfile": lambda: commands.update_profile(1, HELP),
    "APISetContactPrefs": lambda: commands.set_contact_prefs(4, ADMIN),
    "StartChat": commands.start_chat,
    "APIStopChat": commands.stop_chat,
}


def split(text: str) -> tuple[str, Any]:
    """A command before its JSON, and the JSON read, since the order of its fields is free."""
    places = [place for sign in "[{" if (place := text.find(sign)) >= 0]
    return (text[: min(places)], json.loads(text[min(places) :])) if places else (text, None)


@pytest.mark.parametrize("row", COMMANDS, ids=[row["name"] for row in COMMANDS])
def test_a_documented_command_is_written_as_the_reference_shows(row: dict[str, Any]) -> None:
    command = EXAMPLES[row["name"]]()
    assert split(command.text) == split(row["example"])
    assert command.network == row["network"]
    assert set(row["answers"]) <= command.answers
    assert command.keyword == row["example"].split()[0]


def test_every_documented_command_has_a_function() -> None:
    assert len(COMMANDS) == 52
    assert set(EXAMPLES) == {row["name"] for row in COMMANDS}


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (commands.set_profile_address(1, False), "/_profile_address 1 off"),
        (commands.block_members_for_all(3, [11, 12], False), "/_block #3 11,12 blocked=off"),
        (commands.remove_members(3, [11]), "/_remove #3 11"),
        (commands.delete_chat(ALICE), "/_delete @4 full"),
        (commands.delete_chat(TEAM, "messages"), "/_delete #3 messages"),
        (commands.delete_chat(ChatRef("connection", 21), "entity", notify=False), "/_delete :21 entity notify=off"),
        (commands.set_group_custom_data(3, None), "/_set custom #3"),
        (commands.set_contact_custom_data(4, None), "/_set custom @4"),
        (commands.set_auto_accept_member_contacts(1, False), "/_set accept member contacts 1 off"),
        (commands.list_groups(1), "/_groups 1"),
        (commands.list_groups(1, contact_id=4, search="a b"), "/_groups 1 @4 a b"),
        (commands.add_contact(1, incognito=True), "/_connect 1 incognito=on"),
        (commands.connect_by_link(1, "simplex:/x", "https://y"), "/_connect 1 simplex:/x https://y"),
        (commands.connect_by_link(1, "simplex:/x", incognito=True), "/_connect 1 incognito=on simplex:/x"),
        (commands.set_active_user(2, 'a "b"'), '/_user 2 "a \\"b\\""'),
        (
            commands.delete_user(2, delete_queues=False, view_password="x"),
            '/_delete user 2 del_smp=off "x"',
        ),
        (commands.receive_file(5, approved_relays=False, encrypt=None), "/freceive 5"),
        (
            commands.receive_file(5, "/srv/my file.jpg", encrypt=True, inline=False),
            "/freceive 5 approved_relays=on encrypt=on inline=off /srv/my file.jpg",
        ),
        (commands.chat_item_reaction(TEAM, 20, "❤️", added=False), '/_reaction #3 20 off {"type":"emoji","emoji":"❤"}'),
        (
            commands.get_chats(1, count=5, search="x", pending=True),
            '/_get chats 1 pcc=on count=5 {"type":"search","search":"x"}',
        ),
        (commands.get_chat(ALICE, count=5), "/_get chat @4 count=5"),
        (commands.get_chat(TEAM, count=5, after=9, search="x y"), "/_get chat #3 after=9 count=5 search=x y"),
        (
            commands.get_chat(ChatRef("group", 3, "support", 11), count=5, before=9),
            "/_get chat #3(_support:11) before=9 count=5",
        ),
        (commands.create_member_contact(3, 11), "/_create member contact #3 11"),
        (commands.invite_member_contact(4), "/_invite member contact @4"),
        (
            commands.invite_member_contact(4, UpdatedMessage(text_content("hi"))),
            '/_invite member contact @4 json {"type":"text","text":"hi"}',
        ),
        (commands.read_chat(ALICE), "/_read chat @4"),
        (commands.version(), "/version"),
        (commands.subscriptions(), "/get subs"),
        (Command.raw("/get subs"), "/get subs"),
    ],
)
def test_options_are_written_in_their_order(command: Command, text: str) -> None:
    assert command.text == text


def test_options_of_sending_are_written_only_when_on() -> None:
    def options(**given: Any) -> str:
        return commands.send_messages(ALICE, [HELLO], **given).text.partition(" json")[0]

    assert options() == "/_send @4"
    assert options(live=True, ttl=60, sign=True) == "/_send @4 live=on ttl=60 sign=on"
    update = commands.update_chat_item(TEAM, 21, UpdatedMessage(text_content("x")), live=True)
    assert update.text.startswith("/_update item #3 21 live=on json {")


def test_a_message_carries_its_quote_its_file_and_its_mentions() -> None:
    message = ComposedMessage(
        text_content("@bob look"), quoted_item_id=20, file_path="/srv/a b.jpg", mentions={"bob": 11}
    )
    _, written = split(commands.send_messages(TEAM, [message]).text)
    assert written == [
        {
            "msgContent": {"type": "text", "text": "@bob look"},
            "mentions": {"bob": 11},
            "quotedItemId": 20,
            "fileSource": {"filePath": "/srv/a b.jpg"},
        }
    ]


WRONG: list[Callable[[], object]] = [
    lambda: commands.create_my_address(0),
    lambda: commands.create_my_address("1 on"),  # type: ignore[arg-type]
    lambda: commands.send_messages(ALICE, []),
    lambda: commands.send_messages(ChatRef("local", 1), [HELLO]),
    lambda: commands.send_messages(ALICE, [HELLO, HELLO], live=True),
    lambda: commands.send_messages(ALICE, [ComposedMessage(text_content("x"), quoted_item_id=2)] * 2),
    lambda: commands.send_messages(ALICE, [HELLO], ttl=0),
    lambda: commands.delete_chat_item(ALICE, []),
    lambda: commands.delete_chat_item(ALICE, [1], "everywhere"),
    lambda: commands.delete_chat(ALICE, "all"),
    lambda: commands.delete_chat(ALICE, "messages", notify=False),
    lambda: commands.chat_item_reaction(ALICE, 1, "🦊"),
    lambda: commands.chat_item_reaction(ALICE, 1, ""),
    lambda: commands.add_member(3, 4, "boss"),
    lambda: commands.members_role(3, [], "member"),
    lambda: commands.receive_file(5, "/srv/a\n/b"),
    lambda: commands.receive_file(5, " /srv/a"),
    lambda: commands.connect(""),
    lambda: commands.connect_plan(1, "https://x\n/_delete user 1"),
    lambda: commands.connect_by_link(1, "https://x y"),
    lambda: commands.connect_by_link(1, ""),
    lambda: commands.list_groups(1, search="a\u2028b"),
    lambda: commands.get_chat(ALICE, count=0),
    lambda: commands.get_chat(ALICE, count=1, after=1, before=2),
    lambda: commands.update_profile(1, "Echo"),  # type: ignore[arg-type]
    lambda: commands.update_profile(1, {"displayName": "a\0b"}),
    lambda: commands.update_profile(1, {"displayName": object()}),
    lambda: commands.set_contact_custom_data(4, {"x": {"a\0": 1}}),
    lambda: Command.raw(""),
    lambda: Command.raw("hello"),
    lambda: Command.raw("/"),
    lambda: Command.raw("/a\0b"),
    lambda: Command.raw("/a \ud800"),
    lambda: Command.raw("/" + "x" * 17 * 1024 * 1024),
]


@pytest.mark.parametrize("build", WRONG, ids=range(len(WRONG)))
def test_what_the_cli_would_surely_refuse_is_refused_before(build: Callable[[], object]) -> None:
    with pytest.raises(MessageError) as error:
        build()
    assert len(str(error.value)) > 15


def test_a_command_shows_nothing_that_people_wrote() -> None:
    command = commands.send_messages(ALICE, [ComposedMessage(text_content("secret words"))])
    assert "secret" not in repr(command)
    assert Command.raw("@alice secret").keyword == "@"
    assert Command.raw("/connect https://secret").keyword == "/connect"


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
ids = st.integers(1, 2**63 - 1)


@given(text=texts, number=ids, item=ids, live=st.booleans())
def test_what_is_written_is_read_back_as_it_was(text: str, number: int, item: int, live: bool) -> None:
    ref = ChatRef("group", number, "support", item)
    sent = read_command(commands.send_messages(ref, [ComposedMessage(text_content(text), item)], live=live).text)
    assert (sent.name, sent.text("ref"), sent.is_on("live")) == ("send", str(ref), live)
    assert sent.json == [{"msgContent": {"type": "text", "text": text}, "mentions": {}, "quotedItemId": item}]
    update = read_command(commands.update_chat_item(ref, item, UpdatedMessage(text_content(text)), live=live).text)
    assert (update.name, update.number("id"), update.json["msgContent"]["text"]) == ("update_item", item, text)
    profile = read_command(commands.update_profile(number, {"displayName": text}).text)
    assert (profile.name, profile.number("user"), profile.json) == ("update_profile", number, {"displayName": text})


@given(
    numbers=st.lists(ids, min_size=1, max_size=5),
    word=st.from_regex(r"[^\s\0](?:[^\0\r\n\v\f\x85\u2028\u2029]*[^\s\0])?", fullmatch=True),
)
def test_lists_and_raw_texts_are_read_back_as_they_were(numbers: list[int], word: str) -> None:
    removed = read_command(commands.remove_members(numbers[0], numbers).text)
    assert (removed.number("group"), removed.numbers("ids")) == (numbers[0], numbers)
    if word.isprintable() and not word.encode().endswith(b"\xa0"):
        received = read_command(commands.receive_file(numbers[0], f"/{word}").text)
        assert (received.name, received.text("rest")) == ("receive_file", f"/{word}")


def test_fake_cli_parses_every_command() -> None:
    names = {read_command(build().text).name for build in EXAMPLES.values()}
    more = [commands.get_chat(ALICE, count=1), commands.read_chat(ALICE), commands.version(), commands.subscriptions()]
    more += [commands.create_member_contact(3, 11), commands.invite_member_contact(4)]
    names |= {read_command(command.text).name for command in more}
    assert names == COMMAND_NAMES - {"send_text", "auto_accept", "show_profile", "last_chats", "help"}
    assert len(names) == 57


SWITCHED: list[Callable[[Any], Command]] = [
    lambda value: commands.set_profile_address(1, value),
    lambda value: commands.send_messages(ALICE, [ComposedMessage(text_content("hi"))], live=value),
    lambda value: commands.send_messages(ALICE, [ComposedMessage(text_content("hi"))], sign=value),
    lambda value: commands.update_chat_item(ALICE, 21, UpdatedMessage(text_content("hi")), live=value),
    lambda value: commands.chat_item_reaction(ALICE, 20, "👍", added=value),
    lambda value: commands.receive_file(5, approved_relays=value),
    lambda value: commands.receive_file(5, encrypt=value),
    lambda value: commands.receive_file(5, inline=value),
    lambda value: commands.block_members_for_all(3, [11], value),
    lambda value: commands.remove_members(3, [11], with_messages=value),
    lambda value: commands.new_group(1, {}, incognito=value),
    lambda value: commands.new_public_group(1, [1], {}, incognito=value),
    lambda value: commands.add_contact(1, incognito=value),
    lambda value: commands.connect_by_link(1, "simplex:/x", incognito=value),
    lambda value: commands.get_chats(1, count=1, unread=value),
    lambda value: commands.get_chats(1, count=1, favorite=value),
    lambda value: commands.get_chats(1, count=1, pending=value),
    lambda value: commands.delete_chat(ALICE, notify=value),
    lambda value: commands.set_auto_accept_member_contacts(1, value),
    lambda value: commands.create_active_user(None, past_timestamp=value),
    lambda value: commands.delete_user(2, delete_queues=value),
]


@pytest.mark.parametrize("build", SWITCHED)
@pytest.mark.parametrize("value", ["off", "on", 1, 0, "", []])
def test_a_switch_that_is_no_bool_is_refused(build: Callable[[Any], Command], value: object) -> None:
    with pytest.raises(MessageError, match="expected True or False"):
        build(value)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_lacks_are_refused(number: float) -> None:
    with pytest.raises(MessageError, match="NaN or infinite"):
        commands.set_contact_custom_data(4, {"a": [{"b": number}]})
    assert read_command(commands.set_contact_custom_data(4, {"a": None, "b": 0.5}).text).json == {"a": None, "b": 0.5}


@pytest.mark.parametrize(
    "build",
    [
        lambda: commands.list_groups(1, search="Voil\u00e0"),
        lambda: commands.receive_file(5, "/srv/in/5-Voil\u00e0"),
        lambda: commands.connect("\u0420"),
        lambda: commands.connect_plan(1, "Voil\u00e0"),
        lambda: commands.get_chat(ALICE, count=1, search="Voil\u00e0"),
        lambda: Command.raw("/_set alias @4 Voil\u00e0"),
    ],
)
def test_a_last_byte_that_the_cli_cuts_is_refused(build: Callable[[], Command]) -> None:
    with pytest.raises(MessageError, match="last byte"):
        build()


@pytest.mark.parametrize("search", ["@4", "@4x", "@12 team"])
def test_a_search_that_names_a_contact_is_refused(search: str) -> None:
    with pytest.raises(MessageError, match="contact's number"):
        commands.list_groups(1, search=search)
    assert read_command(commands.list_groups(1, contact_id=5, search=search).text).text("rest") == search


def test_groups_are_listed_in_the_older_spelling_too() -> None:
    assert commands.list_groups(1, search="tea", is_joined=True).text == "/_groups1 tea"
    assert commands.list_groups(1, is_joined=True).keyword == "/_groups"
