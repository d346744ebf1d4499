"""What the stand-in reads as a command, and what it refuses."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from cometbot.testing.simplex.command_grammar import (
    COMMAND_NAMES,
    PARSE_ERROR_TEXT,
    UnsupportedCommand,
    read_command,
    trim,
)
from tests.simplex_reference import COMMANDS


@pytest.mark.parametrize("row", COMMANDS, ids=[row["name"] for row in COMMANDS])
def test_every_example_of_the_reference_is_read(row: dict[str, Any]) -> None:
    assert read_command(row["example"]).name in COMMAND_NAMES
    assert read_command(row["example"] + " \n").name in COMMAND_NAMES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "hello",
        "/unheard of",
        "/users 1",
        "/_show_address",
        "/_show_address x",
        "/_show_address 1 2",
        "/_send @4",
        "/_send @4 json",
        "/_send @4 json ",
        "/_send @4  json []",
        "/_send @alice json []",
        "/_send *1 json []",
        "/_send @4 ttl=60 live=on json []",
        "/_send @4 live=yes json []",
        "/_reaction @4 20 yes {}",
        "/_delete item @4 21, 22 broadcast",
        "/_delete item @4 21",
        "/_delete item @4 21 now",
        "/_add #3 4 boss",
        "/_delete @4 messages notify=off",
        "/_profile_address 1",
        "/_join @3",
        "/_get chats",
        "/freceive x",
    ],
)
def test_anything_else_is_not(text: str) -> None:
    with pytest.raises(ValueError, match=PARSE_ERROR_TEXT):
        read_command(text)


@pytest.mark.parametrize("text", ['/_profile 1 {"a":', "/_send @4 json [1,]", '/_user 2 "x'])
def test_json_that_is_broken_is_not_read(text: str) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        read_command(text)


def test_parameters_come_out_as_they_were_written() -> None:
    send = read_command('/_send #3(_support:11) live=on ttl=60 sign=on json [{"a":1}]')
    assert (send.text("ref"), send.is_on("live"), send.number("ttl"), send.is_on("sign")) == (
        "#3(_support:11)",
        True,
        60,
        True,
    )
    assert send.json == [{"a": 1}]
    received = read_command("/freceive 5 approved_relays=on encrypt=off /srv/in/my file.jpg")
    assert (received.is_on("approved"), received.text("encrypt"), received.text("rest")) == (
        True,
        "off",
        "/srv/in/my file.jpg",
    )
    assert "rest" not in read_command("/freceive 5")
    links = read_command("/_connect 1 incognito=on simplex:/x https://y")
    assert (links.text("full"), links.text("short")) == ("simplex:/x", "https://y")
    assert read_command("/_remove #3 11,12 messages=on").numbers("ids") == [11, 12]


@pytest.mark.parametrize(
    ("spelling", "same"),
    [
        ("/_send @4 live=off text hi", "/_send @4 text hi"),
        ("/_send @4 sign=off ttl=default text hi", None),
        ("/_send @4 ttl=default sign=off text hi", "/_send @4 text hi"),
        ("/_update item @4 20 live=off json {}", "/_update item @4 20 json {}"),
        ("/freceive 5 approved_relays=off", "/freceive 5"),
        ("/_remove #3 11 messages=off", "/_remove #3 11"),
        ("/_group 1 incognito=off {}", "/_group 1 {}"),
        ("/_connect 1 incognito=off", "/_connect 1"),
        ("/_accept incognito=off 2", "/_accept 2"),
        ("/_delete @4", "/_delete @4 full"),
        ("/_delete @4 notify=on", "/_delete @4 full"),
        ("/_get chats 1 pcc=off", "/_get chats 1"),
        ("/_get chats 1 count=50", "/_get chats 1 count=50 {}"),
        ("/_groups1", "/_groups 1"),
        ("/_groups1 tea", "/_groups 1 tea"),
        ("/_get chat @4 initial=5", "/_get chat @4 count=5"),
        ("/_start main=on snd_files=off", "/_start"),
        ("/_address 1 pq_ratchet=on", "/_address 1"),
        ("/_address_settings 1 pq_ratchet=off {}", "/_address_settings 1 {}"),
        ("/_create link #3", "/_create link #3 member"),
    ],
)
def test_documented_spellings_are_read(spelling: str, same: str | None) -> None:
    if same is None:
        with pytest.raises(ValueError, match=PARSE_ERROR_TEXT):
            read_command(spelling)
        return
    assert read_command(spelling).name == read_command(same).name


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("/u", "show_user"),
        ("/u two", "set_user"),
        ("/users", "list_users"),
        ("/v", "version"),
        ("/ad", "create_address"),
        ("/address", "create_address"),
        ("/sa", "show_address"),
        ("/show_address", "show_address"),
        ("/da", "delete_address"),
        ("/delete_address", "delete_address"),
        ("/pa on", "profile_address"),
        ("/auto_accept on", "auto_accept"),
        ("/auto_accept on incognito=on text hi", "auto_accept"),
        ("/auto_accept off", "auto_accept"),
        ("/connect", "connect_user"),
        ("/connect i", "connect_user"),
        ("/c incognito", "connect_user"),
        ("/c https://smp9.example.org/a#Key", "connect"),
        ("/accept bob", "accept_contact"),
        ("/ac i @bob", "accept_contact"),
        ("/rc bob", "reject_contact"),
        ("/chats", "last_chats"),
        ("/cs all", "last_chats"),
        ("/contacts", "list_contacts"),
        ("/gs @bob tea", "list_groups"),
        ("@bob hi", "send_text"),
        ("@'Bob Smith' hi there", "send_text"),
        ("#team hi", "send_text"),
        ("/fr 5 /srv/a b.jpg", "receive_file"),
        ("/fc 5", "cancel_file"),
        ("/d bob", "delete_chat"),
        ("/d #team", "delete_chat"),
        ("/g i #team A good team", "new_group"),
        ("/a team bob admin", "add_member"),
        ("/mr #team @bob admin", "members_role"),
        ("/rm #team @bob,@eve messages=on", "remove_members"),
        ("/unblock for all #team @bob", "block_members"),
        ("/show link #team", "get_link"),
        ("/help", "help"),
        ("/help groups", "help"),
        ("/ha", "help"),
        ("/markdown", "help"),
    ],
)
def test_console_spellings_are_read(spelling: str, name: str) -> None:
    assert read_command(spelling).name == name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('/_hide user 1 "x"', "/_hide user"),
        ("/_unhide user 1", "/_unhide user"),
        ("/tail @bob 5", "/tail"),
        ("/quit", "/quit"),
        ("/_get item info @4 20", "/_get item info"),
        ("\\\\ #team @bob old", "\\\\"),
        ("//custom", "//"),
    ],
)
def test_commands_of_the_cli_alone_are_named(text: str, words: str) -> None:
    with pytest.raises(UnsupportedCommand) as refused:
        read_command(text)
    assert str(refused.value) == f"the fake CLI does not implement {words}, which a SimpleX CLI may accept"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("/user \t\r\n\v\f", "/user"),
        ("/_groups 1 Voil\u00e0", "/_groups 1 Voil?"),
        ("/_groups 1 x\u00a0", "/_groups 1 x?"),
        ("/_groups 1 x\u2003", "/_groups 1 x\u2003"),
        ("/_groups 1 \u0420", "/_groups 1 ?"),
    ],
)
def test_blank_bytes_are_cut_off_as_the_cli_does(text: str, read: str) -> None:
    assert trim(text) == read
