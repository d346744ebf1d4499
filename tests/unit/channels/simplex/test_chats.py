"""The items that were missed, and the newest one, from the answers of a fake CLI without a socket."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot.channels.simplex import chats
from cometbot.channels.simplex.chats import fetch_missed_items, get_newest_item_id
from cometbot.channels.simplex.errors import (
    AnswerMissing,
    CommandDelayed,
    CommandFailed,
    CommandNotFound,
    CommandOutcomeUnknown,
    CommandRejected,
    ConnectionLost,
)
from cometbot.channels.simplex.protocol import Command, Record
from cometbot.errors import ChannelError, PayloadError
from cometbot.testing import FakeSimplexCLI
from tests.simplex_reference import find_errors
from tests.unit.channels.simplex.fake_cli import FakeCLI


def texts(found: list[dict[str, Any]]) -> list[str]:
    return [entry["chatItem"]["meta"]["itemText"] for entry in found]


def test_missed_items_are_found_in_every_chat(fake_cli: FakeCLI, cli: FakeSimplexCLI) -> None:
    alice, bob = cli.connect("alice"), cli.connect("bob")
    team = cli.add_group("Team", [alice, bob])
    quiet = cli.connect("quiet")
    quiet.say("long ago")
    seen = alice.say("seen")
    alice.say("one")
    team.say(bob, "two")
    alice.say("three")
    found = list(fetch_missed_items(fake_cli, 1, seen, []))
    assert sorted(texts(found)) == ["one", "three", "two"]
    assert texts([entry for entry in found if entry["chatInfo"]["type"] == "direct"]) == ["one", "three"]
    assert all(find_errors(entry, "AChatItem") == [] for entry in found)
    assert list(fetch_missed_items(fake_cli, 1, get_newest_item_id(fake_cli, 1), [])) == []


def test_the_newest_item_of_an_empty_cli_is_none(fake_cli: FakeCLI, cli: FakeSimplexCLI) -> None:
    assert get_newest_item_id(fake_cli, 1) == 0
    number = cli.connect("alice").say("hi")
    assert get_newest_item_id(fake_cli, 1) == number


def test_long_gaps_are_read_in_pages(fake_cli: FakeCLI, cli: FakeSimplexCLI) -> None:
    alice = cli.connect("alice")
    seen = alice.say("seen")
    for number in range(chats.ITEM_PAGE_SIZE * 2 + 5):
        alice.say(str(number), silent=True)
    assert texts(list(fetch_missed_items(fake_cli, 1, seen, []))) == [str(number) for number in range(205)]
    assert sum(text.startswith("/_get chat @") for text in fake_cli.asked) == 3


def test_many_chats_are_read_as_far_as_they_have_something_new(fake_cli: FakeCLI, cli: FakeSimplexCLI) -> None:
    people = [cli.connect(f"p{number}") for number in range(120)]
    seen = people[0].say("seen")
    for person in people[1:101]:
        person.say(person.name)
    assert sorted(texts(list(fetch_missed_items(fake_cli, 1, seen, [])))) == sorted(
        person.name for person in people[1:101]
    )


def test_an_endless_gap_is_cut_to_the_newest(
    fake_cli: FakeCLI, cli: FakeSimplexCLI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(chats, "MAX_MISSED_ITEMS", 20)
    monkeypatch.setattr(chats, "ITEM_PAGE_SIZE", 10)
    alice = cli.connect("alice")
    for number in range(50):
        alice.say(str(number))
    assert texts(list(fetch_missed_items(fake_cli, 1, 1, []))) == [str(number) for number in range(30, 50)]
    assert "more than 20 messages were missed" in caplog.text


def test_talks_with_the_moderators_are_found_as_well(fake_cli: FakeCLI, cli: FakeSimplexCLI) -> None:
    alice = cli.connect("alice")
    team = cli.add_group("Team", [alice])
    alice.say("elsewhere")
    group = cli.handlers.state.group(team.group_id)
    member = next(iter(group["members"].values()))
    talk = {"chatTs": "2026-03-01T10:00:00Z", "unread": 1, "memberAttention": 1, "mentions": 0}
    member["supportChat"] = group["info"]["membership"]["supportChat"] = talk
    group["info"]["membersRequireAttention"] = 1
    team.scope(member["groupMemberId"]).say("alice", "help me")
    team.scope().say("alice", "and you")
    assert sorted(texts(list(fetch_missed_items(fake_cli, 1, 0, [])))) == ["and you", "elsewhere", "help me"]


def test_chats_that_nobody_can_read_are_left_out(fake_cli: FakeCLI, cli: FakeSimplexCLI) -> None:
    cli.connect("alice").say("hi")

    def spoil(record: Record) -> Record:
        chats = [{"chatInfo": {}}, 5, {"chatInfo": {"type": "feed"}, "chatItems": None}, *record.raw.get("chats", [])]
        return Record(record.type, {**record.raw, "chats": chats}) if record.type == "apiChats" else record

    fake_cli.change = spoil
    assert texts(list(fetch_missed_items(fake_cli, 1, 0, []))) == ["hi"]
    fake_cli.change = lambda record: Record(record.type, {"type": record.type})
    assert list(fetch_missed_items(fake_cli, 1, 0, [])) == []


def tagged(error: CommandFailed, tag: str) -> CommandFailed:
    error.tags = ("error", tag)
    return error


@pytest.mark.parametrize(
    ("error", "is_postponed"),
    [
        (CommandNotFound("it is gone"), False),
        (tagged(CommandRejected("not parsed"), "commandError"), False),
        (tagged(CommandRejected("its disk is full"), "dBException"), True),
        (AnswerMissing("too late"), True),
        (CommandOutcomeUnknown("the network failed"), True),
        (CommandDelayed("busy", retry_after=1.0), True),
    ],
)
def test_unavailable_chat_does_not_block_others(
    fake_cli: FakeCLI, error: ChannelError, is_postponed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chats, "BUSY_RETRY_INTERVALS", (0.0,))
    alice, bob = fake_cli.cli.connect("alice"), fake_cli.cli.connect("bob")
    alice.say("lost")
    bob.say("found")

    def send_command(command: Command | str) -> Record:
        text = command if isinstance(command, str) else command.text
        if text.startswith(f"/_get chat {alice.chat} "):
            raise error
        return fake_cli(command)

    postponed: list[str] = []
    assert texts(list(fetch_missed_items(send_command, 1, 0, postponed))) == ["found"]
    assert postponed == ([alice.chat] if is_postponed else [])


def test_busy_cli_is_retried(fake_cli: FakeCLI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chats, "BUSY_RETRY_INTERVALS", (0.0, 0.0, 0.0))
    fake_cli.cli.connect("alice").say("found")
    left = ["/_get chats", "/_get chat @", "/_get chat @"]

    def send_command(command: Command | str) -> Record:
        if left and str(getattr(command, "text", command)).startswith(left[0]):
            left.pop(0)
            raise CommandDelayed("busy", retry_after=1.0)
        return fake_cli(command)

    postponed: list[str] = []
    assert texts(list(fetch_missed_items(send_command, 1, 0, postponed))) == ["found"]
    assert (left, postponed) == ([], [])


@pytest.mark.parametrize(
    ("error", "is_postponed"),
    [(AnswerMissing("too late"), True), (CommandNotFound("gone"), False), (PayloadError("no list"), False)],
)
def test_unavailable_support_chats_are_postponed(fake_cli: FakeCLI, error: Exception, is_postponed: bool) -> None:
    alice = fake_cli.cli.connect("alice")
    team = fake_cli.cli.add_group("Team", [alice])
    alice.say("found")
    fake_cli.cli.handlers.state.group(team.group_id)["info"]["membersRequireAttention"] = 1

    def send_command(command: Command | str) -> Record:
        if str(getattr(command, "text", command)).startswith("/_members "):
            raise error
        return fake_cli(command)

    postponed: list[str] = []
    assert "found" in texts(list(fetch_missed_items(send_command, 1, 0, postponed)))
    assert postponed == ([f"the moderators of {team.chat}"] if is_postponed else [])


def test_a_connection_that_breaks_ends_the_fetching(fake_cli: FakeCLI) -> None:
    fake_cli.cli.connect("alice").say("hello")

    def send_command(command: Command | str) -> Record:
        if not isinstance(command, str) and command.text.startswith("/_get chat @"):
            raise ConnectionLost("broke")
        return fake_cli(command)

    with pytest.raises(ConnectionLost):
        list(fetch_missed_items(send_command, 1, 0, []))
