"""What the channel asks of the CLI for a stored request, and what it makes of the answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import orjson
import pytest

from cometbot import Bot
from cometbot.channels.base import IncomingEvent, OutgoingRequest
from cometbot.channels.simplex import SimplexChannel
from cometbot.channels.simplex.errors import CommandNotFound, CommandRejected, ConnectionLost, error_from
from cometbot.channels.simplex.files import SharedFolder
from cometbot.channels.simplex.models import File
from cometbot.channels.simplex.outgoing_files import PreparedFile
from cometbot.channels.simplex.protocol import Command, Record
from cometbot.channels.simplex.rendering import render
from cometbot.errors import BotError, OutcomeUnknown, PayloadError, Rejected
from cometbot.events import MessageEvent
from cometbot.messages import Operation, Text
from cometbot.models import Conversation
from cometbot.testing.simplex.command_grammar import read_command
from cometbot.testing.simplex.command_handlers import CommandHandlers

from .event_factory import EventFactory


class FakeConnection:
    """A connection to the stand-in without a socket. ``faults`` are raised instead of the next answers, after the
    command was carried out or (``before``) without."""

    def __init__(self, answers: CommandHandlers) -> None:
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
        raw = self._answers.handle(read_command(command.text))
        if fault is not None:
            raise fault
        record = Record(raw["type"], raw)
        if record.is_error:
            raise error_from(record, command)
        return record


@pytest.fixture
def event_factory() -> EventFactory:
    event_factory = EventFactory()
    event_factory.perform("connect", name="alice")
    event_factory.perform("add_group", name="Team", members=["alice", "Bob B"])
    return event_factory


@pytest.fixture
def fake_connection(event_factory: EventFactory) -> FakeConnection:
    return FakeConnection(event_factory.answers)


@pytest.fixture
def channel(fake_connection: FakeConnection, tmp_path: Path) -> SimplexChannel:
    bot = Bot("shop")
    return SimplexChannel(
        bots={"shop": bot}, connection=fake_connection, folder=SharedFolder(PurePosixPath(tmp_path), tmp_path)
    )


@pytest.fixture
def here(channel: SimplexChannel) -> Conversation:
    return channel.conversation(Bot("shop"), user="4")


def send(channel: SimplexChannel, here: Conversation, message: str = "hello", **more: Any) -> str:
    operation = Operation(conversation=here, message=Text(message), **more)
    ids = [
        channel.send(OutgoingRequest(here, f"c{number}", payload), timeout=5)
        for number, payload in enumerate(render(operation))
    ]
    return ids[0]


def do(channel: SimplexChannel, here: Conversation, target: str | None = None, **payload: Any) -> str:
    return channel.send(OutgoingRequest(here, "c", payload, target), timeout=5)


def texts(event_factory: EventFactory, chat: str = "@4") -> list[str]:
    return [item["chatItem"]["content"]["msgContent"]["text"] for item in event_factory.perform("lines", chat=chat)]


def test_a_message_is_sent_and_gives_its_number(
    channel: SimplexChannel, here: Conversation, fake_connection: FakeConnection
) -> None:
    number = send(channel, here)

    assert fake_connection.asked == ['/_send @4 json [{"msgContent":{"type":"text","text":"hello"},"mentions":{}}]']
    assert number == "2001"


def test_a_quote_a_time_to_live_and_a_file_go_along(
    channel: SimplexChannel,
    here: Conversation,
    fake_connection: FakeConnection,
    event_factory: EventFactory,
    tmp_path: Path,
) -> None:
    item = event_factory.perform("say", chat="@4", text="hi")
    (tmp_path / "a.txt").write_text("x")
    content = {"type": "file", "text": "see"}
    do(channel, here, op="send", content=content, quote=str(item), ttl=60, file=str(tmp_path / "a.txt"))

    assert fake_connection.asked[-1].startswith("/_send @4 ttl=60 json [")
    sent = event_factory.perform("lines", chat="@4")[-1]["chatItem"]
    assert sent["quotedItem"]["itemId"] == item
    assert sent["file"]["fileSource"]["filePath"] == str(tmp_path / "a.txt")


def test_without_shared_folder_a_file_is_rejected(fake_connection: FakeConnection, here: Conversation) -> None:
    channel = SimplexChannel(bots={"shop": Bot("shop")}, connection=fake_connection)
    with pytest.raises(Rejected, match="SIMPLEX_FILES_HERE"):
        do(channel, here, op="send", content={"type": "file", "text": "see"}, file="/a.txt")


def test_members_are_mentioned_by_name_and_number(
    channel: SimplexChannel, fake_connection: FakeConnection, event_factory: EventFactory
) -> None:
    team = channel.conversation(Bot("shop"), group="31")
    member = next(m for m in event_factory.state.group(31)["members"].values() if m["localDisplayName"] == "Bob B")
    send(channel, team, f"<@uid:member-{member['memberId']}> and <@uid:4> look")
    send(channel, team, "<@uid:4> again")

    assert texts(event_factory, "#31") == ["@'Bob B' and @alice look", "@alice again"]
    assert [command.partition(" ")[0] for command in fake_connection.asked] == ["/_members", "/_send", "/_send"]
    mentions = event_factory.perform("lines", chat="#31")[0]["chatItem"]["mentions"]
    assert {name: item["memberId"] for name, item in mentions.items()}["Bob B"] == member["memberId"]


def test_mentions_that_find_nobody_or_have_no_room_stay_readable(
    channel: SimplexChannel, here: Conversation, fake_connection: FakeConnection, event_factory: EventFactory
) -> None:
    send(channel, here, "<@uid:4> look")
    team = channel.conversation(Bot("shop"), group="31")
    fake_connection.faults = [(CommandRejected("no"), True)]
    send(channel, team, "<@uid:4> look")

    assert texts(event_factory) == ["@4 look"]
    assert texts(event_factory, "#31") == ["@4 look"]


def test_message_is_edited_deleted_and_reacted_to(
    channel: SimplexChannel, here: Conversation, fake_connection: FakeConnection, event_factory: EventFactory
) -> None:
    own, theirs = send(channel, here), event_factory.perform("say", chat="@4", text="thanks")
    do(channel, here, own, op="edit", item="", content={"type": "text", "text": "bye"})
    do(channel, here, op="react", item=str(theirs), emoji="👍")
    assert texts(event_factory)[0] == "bye"
    do(channel, here, own, op="delete", item="")

    assert [command.split(" json ")[0] for command in fake_connection.asked[1:]] == [
        f"/_update item @4 {own}", f'/_reaction @4 {theirs} on {{"type":"emoji","emoji":"👍"}}',
        f"/_delete item @4 {own} broadcast",
    ]  # fmt: skip


def test_what_is_done_already_is_done(
    channel: SimplexChannel, here: Conversation, fake_connection: FakeConnection, event_factory: EventFactory
) -> None:
    theirs = event_factory.perform("say", chat="@4", text="thanks")
    for _ in range(2):
        assert do(channel, here, op="react", item=str(theirs), emoji="👍") == str(theirs)
    assert do(channel, here, op="delete", item="9999") == "9999"


def test_reaction_refused_for_other_reason_raises(
    channel: SimplexChannel, here: Conversation, event_factory: EventFactory
) -> None:
    with pytest.raises(CommandNotFound):
        do(channel, here, op="react", item="9999", emoji="👍")


@pytest.mark.parametrize("item", ["", "x", "0", "-1", "9" * 30])
def test_what_is_no_message_is_refused_here(channel: SimplexChannel, here: Conversation, item: str) -> None:
    with pytest.raises(Rejected, match="expected a number"):
        do(channel, here, op="delete", item=item)


def test_answer_without_message_is_uncertain(
    channel: SimplexChannel, here: Conversation, fake_connection: FakeConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_connection, "command", lambda *_, **__: Record("newChatItems", {"chatItems": []}))
    with pytest.raises(OutcomeUnknown, match="contains no item"):
        send(channel, here)


def test_find_detects_lost_answer(
    channel: SimplexChannel, here: Conversation, fake_connection: FakeConnection, event_factory: EventFactory
) -> None:
    event_factory.perform("say", chat="@4", text="hello")
    send(channel, here, "hello")
    payload = {"op": "send", "content": {"type": "text", "text": "hello"}}
    for client_id, before in (("lost", False), ("undone", True)):
        fake_connection.faults = [(ConnectionLost("broke"), before)]
        with pytest.raises(ConnectionLost):
            channel.send(OutgoingRequest(here, client_id, payload), timeout=5)
        found = channel.find_sent(OutgoingRequest(here, client_id, payload), timeout=5)
        assert found == (
            None if before else str(event_factory.perform("lines", chat="@4")[-1]["chatItem"]["meta"]["itemId"])
        )
        if found:
            channel.record_item_id(int(found))


class FakeOutgoingFiles:
    """A picture that is downloaded, and what the channel says of its copy."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(b"x")
        self.prepared = PreparedFile(path, {"type": "image", "image": "data:image/jpg;base64,AA=="})
        self.said: list[str] = []

    def prepare(self, key: str, media: Any, timeout: float) -> PreparedFile:
        return self.prepared

    def add_preview(self, content: Any, path: str) -> Any:
        return content

    def delete_expired(self) -> None: ...

    def close(self) -> None: ...

    def mark_sent(self, key: str) -> None:
        self.said.append("sent")

    def discard(self, key: str) -> None:
        self.said.append("discard")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("sndTransfer", ["sent"]),
        ("sndComplete", ["sent", "discard"]),
        ("sndCancelled", ["sent", "discard"]),
        ("sndError", ["sent", "discard"]),
    ],
)
def test_copy_of_a_file_goes_whose_upload_ended_with_the_lost_answer(
    fake_connection: FakeConnection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: str, said: list[str]
) -> None:
    outgoing = FakeOutgoingFiles(tmp_path / "cat.jpg")
    folder = SharedFolder(PurePosixPath(tmp_path), tmp_path)
    bots = {"helpdesk": Bot("helpdesk")}
    channel = SimplexChannel(bots=bots, connection=fake_connection, folder=folder, outgoing=outgoing)  # type: ignore[arg-type]
    here = channel.conversation(bots["helpdesk"], user="4")
    content = {"type": "image", "text": "Look", "image": "data:image/jpg;base64,AA=="}
    payload = {"op": "send", "content": content, "media": {"url": "https://example.org/cat.jpg"}, "otherwise": content}
    fake_connection.faults = [(ConnectionLost("broke"), False)]
    with pytest.raises(ConnectionLost):
        channel.send(OutgoingRequest(here, "lost", payload), timeout=30)
    read = channel._get_items
    monkeypatch.setattr(
        channel,
        "_get_items",
        lambda *asked: [replace(item, file=File(file_id=1, status=status)) for item in read(*asked)],
    )
    assert channel.find_sent(OutgoingRequest(here, "lost", payload), timeout=5) is not None
    assert outgoing.said == said


def test_find_ignores_earlier_identical_reply(
    channel: SimplexChannel, here: Conversation, fake_connection: FakeConnection
) -> None:
    payload = {"op": "send", "content": {"type": "text", "text": "OK"}}
    found = []
    for client_id, before in (("first", False), ("second", True)):
        fake_connection.faults = [(ConnectionLost("broke"), before)]
        with pytest.raises(ConnectionLost):
            channel.send(OutgoingRequest(here, client_id, payload), timeout=5)
        found.append(channel.find_sent(OutgoingRequest(here, client_id, payload), timeout=5))

    assert found == ["2001", None]


def test_find_ignores_sends_of_other_processes(
    channel: SimplexChannel, here: Conversation, fake_connection: FakeConnection
) -> None:
    send(channel, here, "hello")
    fake_connection.asked.clear()

    assert (
        channel.find_sent(OutgoingRequest(here, "other", {"op": "send", "content": {"text": "hello"}}), timeout=5)
        is None
    )
    assert channel.find_sent(OutgoingRequest(here, "c0", {"op": "edit", "item": "5"}), timeout=5) is None
    assert fake_connection.asked == []


def test_a_stream_is_live_until_its_end(
    channel: SimplexChannel, here: Conversation, fake_connection: FakeConnection
) -> None:
    item = send(channel, here, "One", is_growing=True)
    channel.preview(here, item, "One two")
    do(channel, here, item, op="edit", item="", content={"type": "text", "text": "One two three"})

    assert [command.split(" json ")[0] for command in fake_connection.asked] == [
        "/_send @4 live=on", f"/_update item @4 {item} live=on", f"/_update item @4 {item}"
    ]  # fmt: skip


def test_failed_stream_ends_with_next_message(
    channel: SimplexChannel, here: Conversation, fake_connection: FakeConnection, event_factory: EventFactory
) -> None:
    item = send(channel, here, "One", is_growing=True)
    channel.preview(here, item, "One two")
    send(channel, here, "Sorry")
    send(channel, here, "And more")

    assert [command.split(" json ")[0] for command in fake_connection.asked[2:]] == [
        f"/_update item @4 {item}", "/_send @4", "/_send @4"
    ]  # fmt: skip
    assert texts(event_factory) == ["One two", "Sorry", "And more"]
    assert "itemLive" not in event_factory.perform("lines", chat="@4")[0]["chatItem"]["meta"]


def test_failed_preview_is_ignored(
    channel: SimplexChannel, here: Conversation, fake_connection: FakeConnection
) -> None:
    fake_connection.faults = [(ConnectionLost("broke"), True)]
    channel.preview(here, "2001", "One")
    channel.preview(here, "2001", "   ")

    assert len(fake_connection.asked) == 1


def test_history_holds_both_sides_and_nothing_that_was_deleted(
    channel: SimplexChannel, here: Conversation, event_factory: EventFactory
) -> None:
    gone = event_factory.perform("say", chat="@4", text="oops")
    event_factory.perform("delete", chat="@4", item_id=gone)
    event_factory.perform("say", chat="@4", text="hello")
    send(channel, here, "good day")
    said = channel.history(here, 10)

    assert [(event.sender.uid, event.text) for event in said] == [("4", "hello"), ("shop", "good day")]
    assert [event.text for event in channel.history(here, 1)] == ["good day"]
    assert channel.history(here, 0) == []


def test_without_connection_nothing_is_sent(here: Conversation, event_factory: EventFactory) -> None:
    channel = SimplexChannel(bots={"shop": Bot("shop")})
    assert (channel.can_send, channel.has_single_sender) == (False, True)
    record = event_factory.emit("say", chat="@4", text="hello")
    event = channel.parse(IncomingEvent(here, "message:1", orjson.dumps(record.raw)))

    assert isinstance(event, MessageEvent)
    assert channel.render(Operation(conversation=here, message=Text("x")))
    with pytest.raises(BotError, match="the process `cometbot simplex` has it"):
        send(channel, here)
    with pytest.raises(BotError, match="the process `cometbot simplex` has it"):
        channel.client("shop").contacts()
    channel.preview(here, "2001", "x")


def test_who_calls_itself_a_bot_is_one(
    channel: SimplexChannel, here: Conversation, event_factory: EventFactory
) -> None:
    event_factory.perform("connect", name="robot", is_bot=True)
    record = event_factory.emit("say", chat="@5", text="beep")
    assert channel.is_bot("5") is False
    channel.parse(IncomingEvent(channel.conversation(Bot("shop"), user="5"), "message:1", orjson.dumps(record.raw)))

    assert channel.is_bot("5") is True
    assert channel.is_bot("4") is False


def test_a_conversation_is_with_a_user_or_a_group(channel: SimplexChannel) -> None:
    for wrong in ({}, {"user": "4", "group": "31"}):
        with pytest.raises(BotError, match="either a user or a group"):
            channel.conversation(Bot("shop"), **wrong)


def test_a_body_that_is_no_event_does_not_parse(channel: SimplexChannel, here: Conversation) -> None:
    with pytest.raises(PayloadError):
        channel.parse(IncomingEvent(here, "message:1", b"{}"))
