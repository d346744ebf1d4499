"""The stand-in, spoken to as one types into the CLI's console."""

from __future__ import annotations

import json

import pytest

from cometbot.testing import FakeSimplexCLI
from cometbot.testing.simplex import Person
from tests.integration.testing.simplex.conftest import Client


def test_profiles_and_addresses_need_no_numbers(client: Client) -> None:
    assert client("/u")["user"]["localDisplayName"] == "Echo bot"
    assert client("/v")["type"] == "versionInfo"
    assert client.error_tag("/sa") == "userContactLinkNotFound"
    link = client("/ad")["connLinkContact"]
    assert client.error_tag("/address") == "duplicateContactLink"
    assert client("/show_address")["contactLink"]["connLinkContact"] == link
    assert client("/pa on")["toProfile"]["contactLink"] == link["connShortLink"]
    assert client("/p")["profile"]["contactLink"] == link["connShortLink"]
    assert client("/p Echo Repeats it")["toProfile"]["shortDescr"] == "Repeats it"
    assert client("/p")["profile"]["contactLink"] == link["connShortLink"]
    assert client("/da")["type"] == "userContactLinkDeleted"
    assert client("/create user two")["user"]["localDisplayName"] == "two"
    assert client("/u Echo")["user"]["userId"] == 1
    assert client.error_tag("/u nobody") == "userNotFoundByName"
    assert client("/delete user two")["type"] == "cmdOk"


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ("on", {"businessAddress": False, "autoAccept": {"acceptIncognito": False}}),
        ("on incognito=on", {"businessAddress": False, "autoAccept": {"acceptIncognito": True}}),
        (
            "on business text hi there",
            {
                "businessAddress": True,
                "autoAccept": {"acceptIncognito": False},
                "autoReply": {"type": "text", "text": "hi there"},
            },
        ),
        (
            'on json {"type":"text","text":"hi"}',
            {
                "businessAddress": False,
                "autoAccept": {"acceptIncognito": False},
                "autoReply": {"type": "text", "text": "hi"},
            },
        ),
        ("off", {"businessAddress": False}),
    ],
)
def test_auto_accept_sets_the_address(words: str, settings: object, client: Client) -> None:
    client("/ad")
    assert client(f"/auto_accept {words}")["contactLink"]["addressSettings"] == settings


def test_people_are_named_in_console_commands(client: Client, cli: FakeSimplexCLI) -> None:
    bob, smith = cli.connect("bob"), cli.connect("Bob Smith")
    assert client("@bob hi")["type"] == "newChatItems"
    assert client('@bob "two\\nlines"')["type"] == "newChatItems"
    assert client("@'Bob Smith'  spaced ")["type"] == "newChatItems"
    assert (bob.texts(), smith.texts()) == (["hi", "two\nlines"], [" spaced"])
    assert client.error_tag("@4 hi") == "contactNotFoundByName"
    assert len(client("/contacts")["contacts"]) == 2
    assert [len(client(f"/cs{count}")["chats"]) for count in ("", " 1", " all")] == [2, 1, 2]
    assert client("/d bob notify=off")["contact"]["localDisplayName"] == "bob"
    client("/ad")
    assert [cli.request("erin"), cli.request("fred")] == [71, 72]
    assert client("/ac @erin")["contact"]["localDisplayName"] == "erin"
    assert client("/rc fred")["type"] == "contactRequestRejected"
    assert client.error_tag("/rc fred") == "contactRequestNotFoundByName"


def test_groups_are_led_by_name(client: Client, cli: FakeSimplexCLI) -> None:
    cli.connect("bob")
    cli.connect("eve")
    made = client("/g #team A good one")["groupInfo"]
    assert made["groupProfile"] == {"displayName": "team", "fullName": "", "shortDescr": "A good one"}
    assert client("/a team bob")["member"]["memberRole"] == "member"
    assert client("/a #team @eve admin")["member"]["memberRole"] == "admin"
    assert client("/mr team bob moderator")["toRole"] == "moderator"
    assert client("/block for all #team @bob")["blocked"]
    assert not client("/unblock for all #team @bob")["blocked"]
    assert [len(client(f"/ms {name}")["group"]["members"]) for name in ("team", "#team")] == [2, 2]
    assert client("#team hi all")["type"] == "newChatItems"
    assert [len(client(f"/gs{rest}")["groups"]) for rest in ("", " @bob", " tea", " @bob nothing")] == [1, 1, 1, 0]
    assert client("/create link #team")["groupLink"]["acceptMemberRole"] == "member"
    assert client("/show link #team")["type"] == "groupLink"
    assert client("/gp #team crew")["toGroup"]["groupProfile"]["shortDescr"] == "A good one"
    assert len(client("/rm crew @bob,@eve")["members"]) == 2
    assert client.error_tag("/rm crew @zoe") == "groupMemberNameNotFound"
    assert client.error_tag("/l team") == "groupNotFoundByName"
    assert client("/l #crew")["type"] == "leftMemberUser"
    assert client("/d #crew")["type"] == "groupDeletedUser"


@pytest.mark.parametrize(
    ("command", "section"),
    [
        ("/help", "main"),
        ("/h", "main"),
        ("/help address", "myAddress"),
        ("/hd", "database"),
        ("/m", "markdown"),
        ("/hm", "messages"),
    ],
)
def test_help_names_its_section(command: str, section: str, client: Client) -> None:
    assert client(command) == {"type": "chatHelp", "helpSection": section}


def test_unsupported_cli_command_has_its_own_error(client: Client) -> None:
    message = client("/_hide user 1")["chatError"]["errorType"]["message"]
    assert message == "the fake CLI does not implement /_hide user, which a SimpleX CLI may accept"


def test_options_that_are_off_count_as_left_out(client: Client, cli: FakeSimplexCLI) -> None:
    alice = cli.connect("alice")
    text = json.dumps([{"msgContent": {"type": "text", "text": "hi"}}] * 2)
    assert client(f"/_send {alice.chat} live=off json {text}")["type"] == "newChatItems"
    assert [line.is_live for line in alice.said()] == [False, False]
    number = alice.said()[0].item_id
    assert client(f"/_update item {alice.chat} {number} live=off text new")["type"] == "chatItemUpdated"
    alice.say("look", file=("a.pdf", b"x"), foreign=True)
    file_id = client.event("newChatItems")["chatItems"][0]["chatItem"]["file"]["fileId"]
    assert client.error_tag(f"/freceive {file_id} approved_relays=off") == "fileNotApproved"
    assert len(client("/_get chats 1")["chats"]) == 1


def test_invitations_may_carry_a_plain_text(client: Client, cli: FakeSimplexCLI) -> None:
    team = cli.add_group("Team", ["bob"])
    member = client(f"/_members {team.chat}")["group"]["members"][0]["groupMemberId"]
    contact = client(f"/_create member contact {team.chat} {member}")["contact"]["contactId"]
    assert client(f"/_invite member contact @{contact} text hi")["type"] == "newMemberContactSentInv"
    assert Person(cli, f"@{contact}", "bob").texts() == ["hi"]


def test_messages_are_named_by_their_text(client: Client, cli: FakeSimplexCLI) -> None:
    bob = cli.connect("bob")
    asked = bob.say("what now?")
    client("> @bob (what) this")
    client(">> @bob (this) and that")
    client("! @bob (this) those")
    client("!@bob (and) and more")
    first, second = bob.said()
    assert (first.text, first.quote_id, second.text, second.quote_id) == ("those", asked, "and more", first.item_id)
    client("! @bob less")
    assert bob.texts() == ["those", "less"]
    client("\\ @bob less")
    assert bob.texts() == ["those"]
    client("+1 @bob what")
    assert cli.lines(bob.chat)[0].reactions == ("👍",)
    client("-1 @bob what")
    assert cli.lines(bob.chat)[0].reactions == ()
    assert client.error_tag("\\ @bob what") == "chatItemNotFoundByText"
    assert client.error_tag("! @bob (nothing) x") == "chatItemNotFoundByText"
