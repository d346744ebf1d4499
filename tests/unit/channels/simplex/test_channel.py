"""What the channel asks of the CLI for a stored request, and what it makes of the answers."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import orjson
import pytest

from cometbot import Bot
from cometbot.channels.base import Incoming, Sending
from cometbot.channels.simplex import SimplexChannel
from cometbot.channels.simplex.errors import CommandNotFound, CommandRejected, ConnectionLost, error_from
from cometbot.channels.simplex.files import Folder
from cometbot.channels.simplex.protocol import Command, Record
from cometbot.channels.simplex.rendering import render
from cometbot.errors import BotError, PayloadError, Rejected, Uncertain
from cometbot.events import MessageEvent
from cometbot.messages import Operation, Text
from cometbot.models import Conversation
from cometbot.testing.simplex.answering import Answers
from cometbot.testing.simplex.grammar import read_command

from .telling import Teller


class Line:
    """A connection to the stand-in without a socket. ``faults`` are raised instead of the next answers, after the
    command was carried out or (``before``) without."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.asked: list[str] = []
        self.faults: list[tuple[Exception, bool]] = []

    def command(self, command: Command | str, *, timeout: float | None = None, wait: float = 0.0) -> Record:
        assert isinstance(command, Command)
        assert timeout is not None
        self.asked.append(command.text)
        fault, before = self.faults.pop(0) if self.faults else (None, False)
        if fault is not None and before:
            raise fault
        raw = self._answers.answer(read_command(command.text))
        if fault is not None:
            raise fault
        record = Record(raw["type"], raw)
        if record.is_error:
            raise error_from(record, command)
        return record


@pytest.fixture
def teller() -> Teller:
    teller = Teller()
    teller.do("connect", name="alice")
    teller.do("add_group", name="Team", members=["alice", "Bob B"])
    return teller


@pytest.fixture
def line(teller: Teller) -> Line:
    return Line(teller.answers)


@pytest.fixture
def channel(line: Line, tmp_path: Path) -> SimplexChannel:
    bot = Bot("shop")
    return SimplexChannel(bots={"shop": bot}, connection=line, folder=Folder(PurePosixPath(tmp_path), tmp_path))


@pytest.fixture
def here(channel: SimplexChannel) -> Conversation:
    return channel.conversation(Bot("shop"), user="4")


def send(channel: SimplexChannel, here: Conversation, message: str = "hello", **more: Any) -> str:
    operation = Operation(conversation=here, message=Text(message), **more)
    ids = [
        channel.send(Sending(here, f"c{number}", payload), timeout=5)
        for number, payload in enumerate(render(operation))
    ]
    return ids[0]


def do(channel: SimplexChannel, here: Conversation, target: str | None = None, **payload: Any) -> str:
    return channel.send(Sending(here, "c", payload, target), timeout=5)


def texts(teller: Teller, chat: str = "@4") -> list[str]:
    return [line["chatItem"]["content"]["msgContent"]["text"] for line in teller.do("lines", chat=chat)]


def test_a_message_is_sent_and_gives_its_number(channel: SimplexChannel, here: Conversation, line: Line) -> None:
    number = send(channel, here)

    assert line.asked == ['/_send @4 json [{"msgContent":{"type":"text","text":"hello"},"mentions":{}}]']
    assert number == "2001"


def test_a_quote_a_time_to_live_and_a_file_go_along(
    channel: SimplexChannel, here: Conversation, line: Line, teller: Teller, tmp_path: Path
) -> None:
    item = teller.do("say", chat="@4", text="hi")
    (tmp_path / "a.txt").write_text("x")
    content = {"type": "file", "text": "see"}
    do(channel, here, op="send", content=content, quote=str(item), ttl=60, file=str(tmp_path / "a.txt"))

    assert line.asked[-1].startswith("/_send @4 ttl=60 json [")
    sent = teller.do("lines", chat="@4")[-1]["chatItem"]
    assert sent["quotedItem"]["itemId"] == item
    assert sent["file"]["fileSource"]["filePath"] == str(tmp_path / "a.txt")


def test_members_are_mentioned_by_name_and_number(channel: SimplexChannel, line: Line, teller: Teller) -> None:
    team = channel.conversation(Bot("shop"), group="31")
    member = next(m for m in teller.state.group(31)["members"].values() if m["localDisplayName"] == "Bob B")
    send(channel, team, f"<@uid:member-{member['memberId']}> and <@uid:4> look")
    send(channel, team, "<@uid:4> again")

    assert texts(teller, "#31") == ["@'Bob B' and @alice look", "@alice again"]
    assert [command.partition(" ")[0] for command in line.asked] == ["/_members", "/_send", "/_send"]
    mentions = teller.do("lines", chat="#31")[0]["chatItem"]["mentions"]
    assert {name: item["memberId"] for name, item in mentions.items()}["Bob B"] == member["memberId"]


def test_mentions_that_find_nobody_or_have_no_room_stay_readable(
    channel: SimplexChannel, here: Conversation, line: Line, teller: Teller
) -> None:
    send(channel, here, "<@uid:4> look")
    team = channel.conversation(Bot("shop"), group="31")
    line.faults = [(CommandRejected("no"), True)]
    send(channel, team, "<@uid:4> look")

    assert texts(teller) == ["@4 look"]
    assert texts(teller, "#31") == ["@4 look"]


def test_a_message_is_changed_taken_back_and_reacted_to(
    channel: SimplexChannel, here: Conversation, line: Line, teller: Teller
) -> None:
    own, theirs = send(channel, here), teller.do("say", chat="@4", text="thanks")
    do(channel, here, own, op="edit", item="", content={"type": "text", "text": "bye"})
    do(channel, here, op="react", item=str(theirs), emoji="👍")
    assert texts(teller)[0] == "bye"
    do(channel, here, own, op="delete", item="")

    assert [command.split(" json ")[0] for command in line.asked[1:]] == [
        f"/_update item @4 {own}", f'/_reaction @4 {theirs} on {{"type":"emoji","emoji":"👍"}}',
        f"/_delete item @4 {own} broadcast",
    ]  # fmt: skip


def test_what_is_done_already_is_done(channel: SimplexChannel, here: Conversation, line: Line, teller: Teller) -> None:
    theirs = teller.do("say", chat="@4", text="thanks")
    for _ in range(2):
        assert do(channel, here, op="react", item=str(theirs), emoji="👍") == str(theirs)
    assert do(channel, here, op="delete", item="9999") == "9999"


def test_a_reaction_that_is_refused_for_another_reason_stays_refused(
    channel: SimplexChannel, here: Conversation, teller: Teller
) -> None:
    with pytest.raises(CommandNotFound):
        do(channel, here, op="react", item="9999", emoji="👍")


@pytest.mark.parametrize("item", ["", "x", "0", "-1", "9" * 30])
def test_what_is_no_message_is_refused_here(channel: SimplexChannel, here: Conversation, item: str) -> None:
    with pytest.raises(Rejected, match="messages by number"):
        do(channel, here, op="delete", item=item)


def test_an_answer_that_names_no_message_leaves_it_open_whether_it_was_sent(
    channel: SimplexChannel, here: Conversation, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "command", lambda *_, **__: Record("newChatItems", {"chatItems": []}))
    with pytest.raises(Uncertain, match="without naming it"):
        send(channel, here)


def test_a_send_whose_answer_was_lost_is_found_and_one_that_was_not_done_is_not(
    channel: SimplexChannel, here: Conversation, line: Line, teller: Teller
) -> None:
    teller.do("say", chat="@4", text="hello")
    send(channel, here, "hello")
    payload = {"op": "send", "content": {"type": "text", "text": "hello"}}
    for client_id, before in (("lost", False), ("undone", True)):
        line.faults = [(ConnectionLost("broke"), before)]
        with pytest.raises(ConnectionLost):
            channel.send(Sending(here, client_id, payload), timeout=5)
        found = channel.find(Sending(here, client_id, payload), timeout=5)
        assert found == (None if before else str(teller.do("lines", chat="@4")[-1]["chatItem"]["meta"]["itemId"]))
        if found:
            channel.note_item(int(found))


def test_a_reply_is_not_taken_for_one_before_it_that_said_the_same(
    channel: SimplexChannel, here: Conversation, line: Line
) -> None:
    payload = {"op": "send", "content": {"type": "text", "text": "OK"}}
    found = []
    for client_id, before in (("first", False), ("second", True)):
        line.faults = [(ConnectionLost("broke"), before)]
        with pytest.raises(ConnectionLost):
            channel.send(Sending(here, client_id, payload), timeout=5)
        found.append(channel.find(Sending(here, client_id, payload), timeout=5))

    assert found == ["2001", None]


def test_what_another_process_tried_counts_as_not_found_and_is_not_looked_for(
    channel: SimplexChannel, here: Conversation, line: Line
) -> None:
    send(channel, here, "hello")
    line.asked.clear()

    assert channel.find(Sending(here, "other", {"op": "send", "content": {"text": "hello"}}), timeout=5) is None
    assert channel.find(Sending(here, "c0", {"op": "edit", "item": "5"}), timeout=5) is None
    assert line.asked == []


def test_a_stream_is_live_until_its_end(channel: SimplexChannel, here: Conversation, line: Line) -> None:
    item = send(channel, here, "One", grows=True)
    channel.sketch(here, item, "One two")
    do(channel, here, item, op="edit", item="", content={"type": "text", "text": "One two three"})

    assert [command.split(" json ")[0] for command in line.asked] == [
        "/_send @4 live=on", f"/_update item @4 {item} live=on", f"/_update item @4 {item}"
    ]  # fmt: skip


def test_a_stream_whose_writer_failed_ends_with_the_next_thing_said(
    channel: SimplexChannel, here: Conversation, line: Line, teller: Teller
) -> None:
    item = send(channel, here, "One", grows=True)
    channel.sketch(here, item, "One two")
    send(channel, here, "Sorry")
    send(channel, here, "And more")

    assert [command.split(" json ")[0] for command in line.asked[2:]] == [
        f"/_update item @4 {item}", "/_send @4", "/_send @4"
    ]  # fmt: skip
    assert texts(teller) == ["One two", "Sorry", "And more"]
    assert "itemLive" not in teller.do("lines", chat="@4")[0]["chatItem"]["meta"]


def test_a_sketch_that_fails_is_left_out(channel: SimplexChannel, here: Conversation, line: Line) -> None:
    line.faults = [(ConnectionLost("broke"), True)]
    channel.sketch(here, "2001", "One")
    channel.sketch(here, "2001", "   ")

    assert len(line.asked) == 1


def test_history_holds_both_sides_and_nothing_that_was_deleted(
    channel: SimplexChannel, here: Conversation, teller: Teller
) -> None:
    gone = teller.do("say", chat="@4", text="oops")
    teller.do("delete", chat="@4", item_id=gone)
    teller.do("say", chat="@4", text="hello")
    send(channel, here, "good day")
    said = channel.history(here, 10)

    assert [(event.sender.uid, event.text) for event in said] == [("4", "hello"), ("shop", "good day")]
    assert [event.text for event in channel.history(here, 1)] == ["good day"]
    assert channel.history(here, 0) == []


def test_without_the_connection_it_parses_and_renders_and_sends_nothing(here: Conversation, teller: Teller) -> None:
    channel = SimplexChannel(bots={"shop": Bot("shop")})
    assert (channel.sends, channel.has_owner) == (False, True)
    record = teller.told("say", chat="@4", text="hello")
    event = channel.parse(Incoming(here, "message:1", orjson.dumps(record.raw)))

    assert isinstance(event, MessageEvent)
    assert channel.render(Operation(conversation=here, message=Text("x")))
    with pytest.raises(BotError, match="held by cometbot simplex"):
        send(channel, here)
    with pytest.raises(BotError, match="held by cometbot simplex"):
        channel.client("shop").contacts()
    channel.sketch(here, "2001", "x")


def test_who_calls_itself_a_bot_is_one(channel: SimplexChannel, here: Conversation, teller: Teller) -> None:
    teller.do("connect", name="robot", is_bot=True)
    record = teller.told("say", chat="@5", text="beep")
    assert channel.is_bot("5") is False
    channel.parse(Incoming(channel.conversation(Bot("shop"), user="5"), "message:1", orjson.dumps(record.raw)))

    assert channel.is_bot("5") is True
    assert channel.is_bot("4") is False


def test_a_conversation_is_with_a_user_or_a_group(channel: SimplexChannel) -> None:
    for wrong in ({}, {"user": "4", "group": "31"}):
        with pytest.raises(BotError, match="either a user or a group"):
            channel.conversation(Bot("shop"), **wrong)


def test_a_body_that_is_no_event_does_not_parse(channel: SimplexChannel, here: Conversation) -> None:
    with pytest.raises(PayloadError):
        channel.parse(Incoming(here, "message:1", b"{}"))
