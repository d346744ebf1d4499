"""What the stand-in reads as a command, and what it refuses."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from cometbot.testing.simplex.grammar import NAMES, UNREADABLE, read_command
from tests.simplex_reference import COMMANDS


@pytest.mark.parametrize("row", COMMANDS, ids=[row["name"] for row in COMMANDS])
def test_every_example_of_the_reference_is_read(row: dict[str, Any]) -> None:
    assert read_command(row["example"]).name in NAMES
    assert read_command(row["example"] + " \n").name in NAMES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "hello",
        "/unheard of",
        "/user 1",
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
        "/_send @4 live=off json []",
        "/_reaction @4 20 yes {}",
        "/_delete item @4 21, 22 broadcast",
        "/_delete item @4 21",
        "/_delete item @4 21 now",
        "/_add #3 4 boss",
        "/_delete @4 messages notify=off",
        "/_profile_address 1",
        "/_join @3",
        "/_get chats 1",
        "/freceive x",
    ],
)
def test_anything_else_is_not(text: str) -> None:
    with pytest.raises(ValueError, match=UNREADABLE):
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
