"""What was missed is fetched, what was stored is not stored again, and what was there before the bot is left alone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cometbot import Bot, Context, StoreBusy, Unreachable
from cometbot.channels.base import Incoming
from cometbot.channels.simplex import lost_events, owner, reception, startup
from cometbot.channels.simplex.connection import Timing
from cometbot.channels.simplex.owner import Owner
from cometbot.delivery import Delivery
from cometbot.errors import BotError
from cometbot.settings import Settings
from cometbot.store.facts import recall
from cometbot.store.tables import mailbox
from cometbot.testing import FakeSimplexCLI

QUICK = Timing(first_wait=0.02, longest_wait=0.1)


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.01)


class Process:
    """One run of the bot: a delivery over the same file, and a connection."""

    def __init__(self, cli: FakeSimplexCLI, folder: Path, **settings: Any) -> None:
        bot = Bot("shop")

        @bot.fallback
        def answer(ctx: Context) -> str:
            return f"re: {ctx.text}"

        self.owner = Owner(Settings(simplex_url=cli.url, data=folder, **settings), bot, timing=QUICK)
        self.delivery = Delivery([bot], [self.owner.channel], f"sqlite:///{folder}/bot.db", threads=2)

    def start(self) -> None:
        self.delivery.start()
        self.owner.open(self.delivery)
        assert self.owner.connection.wait_ready(10)

    def keys(self) -> list[str]:
        with self.delivery.database.read() as connection:
            return list(connection.execute(mailbox.select().with_only_columns(mailbox.c.event_key)).scalars())


Start = Callable[..., Process]


@pytest.fixture
def cli() -> Iterator[FakeSimplexCLI]:
    with FakeSimplexCLI() as cli:
        yield cli


@pytest.fixture
def start(cli: FakeSimplexCLI, tmp_path: Path) -> Iterator[Start]:
    started: list[Process] = []

    def start(**settings: Any) -> Process:
        process = Process(cli, tmp_path, **settings)
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        process.delivery.close()


def test_what_was_written_before_there_was_a_bot_is_not_answered(cli: FakeSimplexCLI, start: Start) -> None:
    alice = cli.connect("alice")
    alice.say("long ago", silent=True)
    start()
    cli.drop()
    alice.say("now")

    cli.wait_for(lambda: alice.texts() == ["re: now"])


def test_what_a_new_process_finds_is_what_the_last_one_had_not_stored(cli: FakeSimplexCLI, start: Start) -> None:
    first = start()
    alice = cli.connect("alice")
    alice.say("one")
    cli.wait_for(lambda: alice.texts() == ["re: one"])
    first.delivery.close()
    alice.say("two", silent=True)
    alice.say("three", silent=True)
    start()

    cli.wait_for(lambda: alice.texts() == ["re: one", "re: two", "re: three"])


def test_a_process_that_had_not_noted_how_far_it_was_doubles_nothing(
    cli: FakeSimplexCLI, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start()
    alice = cli.connect("alice")
    alice.say("one")
    cli.wait_for(lambda: alice.texts() == ["re: one"])
    monkeypatch.setattr(reception, "note", lambda *_, **__: None)  # as if it had been killed before
    first.delivery.close()
    monkeypatch.undo()
    alice.say("two", silent=True)
    second = start()

    cli.wait_for(lambda: alice.texts() == ["re: one", "re: two"])
    assert len(second.keys()) == len(set(second.keys()))


def test_how_far_everything_is_stored_is_noted_now_and_then_and_at_the_end(cli: FakeSimplexCLI, start: Start) -> None:
    process = start()

    def noted() -> int:
        return int(recall(process.delivery.database, "simplex/default/seen").partition(" ")[0])

    before, alice = noted(), cli.connect("alice")
    for number in range(120):
        last = alice.say(f"{number}")
    wait_until(lambda: noted() >= before + 100)
    wait_until(lambda: f"message:{last}" in "".join(process.keys()))

    def is_noted() -> bool:
        process.owner.channel.refresh()
        return noted() >= last

    wait_until(is_noted)


def test_a_message_that_was_being_written_when_the_connection_broke_is_answered_when_it_is_whole(
    cli: FakeSimplexCLI, start: Start
) -> None:
    start()
    alice, bob = cli.connect("alice"), cli.connect("bob")
    item = alice.say("He", live=True)
    bob.say("hello")
    cli.wait_for(lambda: bob.texts() == ["re: hello"])
    cli.close()
    alice.edit(item, "Hello")
    cli.start()

    cli.wait_for(lambda: alice.texts() == ["re: Hello"])


def test_an_event_that_another_client_took_is_found_at_the_next_look(
    cli: FakeSimplexCLI, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "LOOKS", ())
    process = start()
    alice = cli.connect("alice")
    alice.say("told")
    cli.wait_for(lambda: alice.texts() == ["re: told"])
    alice.say("stolen", silent=True)
    process.owner.channel.refresh()

    cli.wait_for(lambda: alice.texts() == ["re: told", "re: stolen"])


def test_a_second_client_that_takes_events_is_logged(
    cli: FakeSimplexCLI, start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lost_events, "SETTLING", 0.0)
    monkeypatch.setattr(reception, "Settling", _NoSettling)
    monkeypatch.setattr(owner, "LOOKS", ())
    process = start()
    process.owner._look_again()
    alice = cli.connect("alice")
    for number in range(3):
        alice.say(str(number), silent=True)
    alice.say("heard")
    cli.wait_for(lambda: "re: heard" in alice.texts())
    process.owner._look_again()
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [text for text in messages if "another client is connected to the SimpleX CLI" in text]


class _NoSettling:
    """Admits every event at once."""

    def __init__(self, *given: object) -> None:
        pass

    def begin(self, base: int) -> None:
        pass

    def admits(self, record: object) -> bool:
        return True


def test_nothing_is_stored_before_what_a_broken_connection_was_told_of_the_same_chat(
    cli: FakeSimplexCLI, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "LOOKS", ())
    start()
    alice, bob = cli.connect("alice"), cli.connect("bob")
    alice.say("one")
    cli.wait_for(lambda: alice.texts() == ["re: one"])
    cli.drop()
    cli.wait_for(lambda: cli.clients == 1)
    for number in range(25):  # more than one look reads at once
        alice.say(f"lost {number}", silent=True)
    bob.say("hello")
    cli.wait_for(lambda: bob.texts() == ["re: hello"])
    alice.say("told")
    alice.say("lost as well", silent=True)
    alice.say("told again")
    lost = [f"re: lost {number}" for number in range(25)]

    cli.wait_for(lambda: alice.texts() == ["re: one", *lost, "re: told", "re: lost as well", "re: told again"])


def test_a_burst_costs_a_look_and_not_one_a_message(cli: FakeSimplexCLI, start: Start) -> None:
    start()
    alice = cli.connect("alice")
    for number in range(100):
        alice.say(f"{number}")
    cli.wait_for(lambda: alice.texts() == [f"re: {number}" for number in range(100)], 30)

    looks = [command for command in cli.commands if command.startswith(f"/_get chat {alice.chat} ")]
    assert len(looks) < 60


def test_a_change_is_heard_once_also_where_its_message_was_read_before(cli: FakeSimplexCLI, start: Start) -> None:
    process = start()
    alice = cli.connect("alice")
    item = alice.say("He", live=True)
    alice.say("hello")
    alice.edit(item, "Hello, all")
    changed = alice.say("helo")
    alice.edit(changed, "hello again")
    alice.say("the end")
    cli.wait_for(lambda: "re: the end" in alice.texts())

    cli.wait_for(lambda: sorted(alice.texts()) == ["re: Hello, all", "re: hello", "re: helo", "re: the end"])
    keys = process.keys()
    assert not [key for key in keys if key.startswith(f"edit:{item}:")]


def test_what_was_told_while_the_connection_broke_is_fetched_in_its_order_by_the_next_one(
    cli: FakeSimplexCLI, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "LOOKS", ())
    start()
    alice = cli.connect("alice")
    alice.say("one")
    cli.wait_for(lambda: alice.texts() == ["re: one"])
    cli.misbehave("drop", on=f"/_get chat {alice.chat} ")
    alice.say("lost", silent=True)
    alice.say("told")
    cli.wait_for(lambda: alice.texts() == ["re: one", "re: lost", "re: told"])


def test_a_cli_that_is_too_slow_to_be_asked_for_the_order_is_not_asked_for_ever(
    cli: FakeSimplexCLI, start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(owner, "LOOKS", ())
    monkeypatch.setattr(owner, "LOOK_SECONDS", 0.2)
    start()
    alice = cli.connect("alice")
    cli.misbehave("silent", on=f"/_get chat {alice.chat} ")
    alice.say("one")
    cli.wait_for(lambda: alice.texts() == ["re: one"])
    looks = sum(command.startswith("/_get chat") for command in cli.commands)
    alice.say("two")
    cli.wait_for(lambda: alice.texts() == ["re: one", "re: two"])

    assert "too slow to be asked for the order" in caplog.text
    assert sum(command.startswith("/_get chat") for command in cli.commands) == looks


@pytest.fixture
def absence(cli: FakeSimplexCLI, start: Start, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """alice and bob wrote while the bot was away, for longer than what is older is looked at a second time."""
    process = start()
    alice, bob = cli.connect("alice"), cli.connect("bob")
    alice.say("one")
    bob.say("one")
    cli.wait_for(lambda: alice.texts() == bob.texts() == ["re: one"])
    process.delivery.close()
    monkeypatch.setattr(reception, "_MARGIN_SECONDS", -3600.0)
    monkeypatch.setattr(startup, "BUSY_PAUSES", ())
    alice.say("missed", silent=True)
    bob.say("missed", silent=True)
    return alice, bob


@pytest.mark.parametrize("fault", ["busy", "network", "refuse", "no_resp"])
def test_a_chat_that_cannot_be_given_now_is_fetched_at_a_later_look(
    cli: FakeSimplexCLI, start: Start, absence: tuple[Any, Any], fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "LOOKS", ())
    alice, bob = absence
    cli.misbehave(fault, fault, on=f"/_get chat {alice.chat} ")
    process = start()
    cli.wait_for(lambda: bob.texts() == ["re: one", "re: missed"])
    process.owner.channel.refresh()
    assert alice.texts() == ["re: one"]
    process.owner.channel.refresh()

    cli.wait_for(lambda: alice.texts() == ["re: one", "re: missed"])
    assert bob.texts() == ["re: one", "re: missed"]


def test_a_chat_that_could_not_be_given_is_fetched_by_the_next_process(
    cli: FakeSimplexCLI, start: Start, absence: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "LOOKS", ())
    alice, bob = absence
    cli.misbehave("busy", on=f"/_get chat {alice.chat} ")
    first = start()
    bob.say("and then")
    cli.wait_for(lambda: bob.texts()[-1] == "re: and then")
    first.delivery.close()
    start()

    cli.wait_for(lambda: alice.texts() == ["re: one", "re: missed"])
    assert bob.texts() == ["re: one", "re: missed", "re: and then"]


def test_a_chat_that_cannot_be_given_for_a_day_is_left_out(
    cli: FakeSimplexCLI,
    start: Start,
    absence: tuple[Any, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(owner, "LOOKS", ())
    alice, _ = absence
    cli.misbehave("busy", "busy", "busy", on=f"/_get chat {alice.chat} ")
    process = start()
    hearing = process.owner._reception
    assert hearing is not None
    assert hearing._seen is not None
    process.owner.channel.refresh()
    held = hearing._seen.mark
    assert held < hearing._seen.newest
    monkeypatch.setattr(hearing, "_clock", lambda: time.time() + 25 * 3600)
    process.owner.channel.refresh()

    assert hearing._seen.mark == hearing._seen.newest
    assert f"in the chat {alice.chat} could not be fetched for a day" in caplog.text


def test_some_time_after_a_break_it_is_looked_again_for_what_the_broken_connection_was_told(
    cli: FakeSimplexCLI, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "LOOKS", (0.2,))
    start()
    alice = cli.connect("alice")
    cli.drop()
    cli.wait_for(lambda: cli.clients == 1)
    alice.say("told to who was gone already", silent=True)

    cli.wait_for(lambda: alice.texts() == ["re: told to who was gone already"])


def test_a_look_that_fails_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "LOOKS", (0.0, 0.0, 0.0))
    failures: list[Exception] = [Unreachable("gone"), ValueError("unforeseen")]
    looked = threading.Event()

    def look() -> None:
        if failures:
            raise failures.pop()
        looked.set()

    looks = owner.Looks(look)
    looks.start()
    looks.begin()
    assert looked.wait(10)
    looks.close()
    assert not looks.is_alive()


def test_events_of_another_profile_are_none_of_ours(cli: FakeSimplexCLI, start: Start) -> None:
    process = start()
    alice = cli.connect("alice")
    alice.say("hello")
    cli.wait_for(lambda: alice.texts() == ["re: hello"])
    said = next(
        record for record in reversed(cli.records) if record["type"] == "newChatItems" and "chatItems" in record
    )
    before = len(process.keys())
    item = {**said["chatItems"][0]["chatItem"], "meta": {**said["chatItems"][0]["chatItem"]["meta"], "itemId": 9999}}
    strange = {**said, "user": {**said["user"], "userId": 2}, "chatItems": [{**said["chatItems"][0], "chatItem": item}]}
    cli.emit(strange)
    alice.say("and now")
    cli.wait_for(lambda: alice.texts()[-1] == "re: and now")

    assert len(process.keys()) == before + 1


def test_a_store_that_is_busy_is_asked_again_and_nothing_is_lost(
    cli: FakeSimplexCLI, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start()
    put, failures = process.delivery.put, [StoreBusy("busy")] * 3

    def busy(incoming: Incoming) -> bool:
        if failures:
            raise failures.pop()
        return put(incoming)

    hearing = process.owner._reception
    assert hearing is not None
    monkeypatch.setattr(hearing, "_put", busy)
    alice = cli.connect("alice")
    for number in range(5):
        alice.say(f"{number}")

    cli.wait_for(lambda: alice.texts() == [f"re: {number}" for number in range(5)])
    assert not failures


def test_a_cli_whose_database_is_another_one_is_served_from_now_on(
    cli: FakeSimplexCLI, start: Start, tmp_path: Path
) -> None:
    first = start()
    alice = cli.connect("alice")
    for number in range(30):
        alice.say(f"{number}")
    cli.wait_for(lambda: "re: 29" in alice.texts())
    first.delivery.close()
    with FakeSimplexCLI() as other:
        process = Process(other, tmp_path)
        try:
            other.answers.state.tree["numbers"]["item"] = 100
            process.start()
            bob = other.connect("bob")
            bob.say("hello")
            other.wait_for(lambda: bob.texts() == ["re: hello"])
            bob.say("not told", silent=True)
            other.drop()
            other.wait_for(lambda: bob.texts() == ["re: hello", "re: not told"])
        finally:
            process.delivery.close()


def test_it_is_opened_once(start: Start) -> None:
    process = start()
    with pytest.raises(BotError, match="open already"):
        process.owner.open(process.delivery)


def test_the_clis_own_troubles_are_in_the_log_without_what_people_wrote(
    cli: FakeSimplexCLI, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    start()
    alice = cli.connect("alice")
    critical = {"type": "errorAgent", "agentError": {"type": "CRITICAL", "offerRestart": True, "criticalErr": "secret"}}
    passing = {"type": "errorStore", "storeError": {"type": "dBBusyError", "message": "secret"}}
    with caplog.at_level(logging.INFO):
        cli.emit({"type": "chatErrors", "chatErrors": [critical, passing, None]})
        cli.emit({"type": "chatError", "chatError": passing})
        cli.emit({"type": "messageError", "severity": "error", "errorMessage": "secret"})
        alice.say("hello")
        cli.wait_for(lambda: alice.texts() == ["re: hello"])
    said = [record.getMessage() for record in caplog.records if record.name.endswith(".reception")]

    assert [record.levelname for record in caplog.records if "critical error" in record.getMessage()] == ["ERROR"]
    assert sum("errorStore.dBBusyError" in text for text in said) == 2
    assert any("severity error" in text for text in said)
    assert "secret" not in caplog.text
