"""What was missed is fetched, what was stored is not stored again, and what was there before the bot is left alone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cometbot import Bot, Context
from cometbot.channels.base import IncomingEvent
from cometbot.channels.simplex import background, chats, ingest, recovery, service
from cometbot.channels.simplex.service import SimplexService
from cometbot.channels.simplex.socket_session import Timing
from cometbot.delivery import Delivery
from cometbot.errors import BotError, StoreBusy, Unreachable
from cometbot.settings import Settings
from cometbot.store.metadata import get_metadata
from cometbot.store.tables import mailbox
from cometbot.testing import FakeSimplexCLI

QUICK = Timing(initial_backoff=0.02, max_backoff=0.1)


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

        self.service = SimplexService(Settings(simplex_url=cli.url, data=folder, **settings), bot, timing=QUICK)
        self.delivery = Delivery([bot], [self.service.channel], f"sqlite:///{folder}/bot.db", threads=2)

    def start(self) -> None:
        self.delivery.start()
        self.service.open(self.delivery)
        assert self.service.connection.wait_ready(10)

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


def test_messages_before_first_start_are_not_answered(cli: FakeSimplexCLI, start: Start) -> None:
    alice = cli.connect("alice")
    alice.say("long ago", silent=True)
    start()
    cli.drop()
    alice.say("now")

    cli.wait_for(lambda: alice.texts() == ["re: now"])


def test_restart_handles_messages_missed_before(cli: FakeSimplexCLI, start: Start) -> None:
    first = start()
    alice = cli.connect("alice")
    alice.say("one")
    cli.wait_for(lambda: alice.texts() == ["re: one"])
    first.delivery.close()
    alice.say("two", silent=True)
    alice.say("three", silent=True)
    start()

    cli.wait_for(lambda: alice.texts() == ["re: one", "re: two", "re: three"])


def test_restart_without_saved_watermark_doubles_nothing(
    cli: FakeSimplexCLI, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start()
    alice = cli.connect("alice")
    alice.say("one")
    cli.wait_for(lambda: alice.texts() == ["re: one"])
    monkeypatch.setattr(ingest, "set_metadata", lambda *_, **__: None)  # as if it had been killed before
    first.delivery.close()
    monkeypatch.undo()
    alice.say("two", silent=True)
    second = start()

    cli.wait_for(lambda: alice.texts() == ["re: one", "re: two"])
    assert len(second.keys()) == len(set(second.keys()))


def test_watermark_is_saved_periodically_and_at_close(cli: FakeSimplexCLI, start: Start) -> None:
    process = start()

    def noted() -> int:
        return int(get_metadata(process.delivery.database, "simplex/default/seen").partition(" ")[0])

    before, alice = noted(), cli.connect("alice")
    for number in range(120):
        last = alice.say(f"{number}")
    wait_until(lambda: noted() >= before + 100)
    wait_until(lambda: f"message:{last}" in "".join(process.keys()))

    def is_noted() -> bool:
        process.service.channel.refresh()
        return noted() >= last

    wait_until(is_noted)


def test_live_message_finished_after_disconnect_is_answered(cli: FakeSimplexCLI, start: Start) -> None:
    start()
    alice, bob = cli.connect("alice"), cli.connect("bob")
    item = alice.say("He", live=True)
    bob.say("hello")
    cli.wait_for(lambda: bob.texts() == ["re: hello"])
    cli.close()
    alice.edit(item, "Hello")
    cli.start()

    cli.wait_for(lambda: alice.texts() == ["re: Hello"])


def test_event_taken_by_other_client_is_recovered(
    cli: FakeSimplexCLI, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "RECOVERY_DELAYS", ())
    process = start()
    alice = cli.connect("alice")
    alice.say("told")
    cli.wait_for(lambda: alice.texts() == ["re: told"])
    alice.say("stolen", silent=True)
    process.service.channel.refresh()

    cli.wait_for(lambda: alice.texts() == ["re: told", "re: stolen"])


def test_second_client_is_logged(
    cli: FakeSimplexCLI, start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recovery, "RECOVERY_PERIOD", 0.0)
    monkeypatch.setattr(ingest, "GapRecovery", _NoRecovery)
    monkeypatch.setattr(background, "RECOVERY_DELAYS", ())
    process = start()
    process.service._recover_missed()
    alice = cli.connect("alice")
    for number in range(3):
        alice.say(str(number), silent=True)
    alice.say("heard")
    cli.wait_for(lambda: "re: heard" in alice.texts())
    process.service._recover_missed()
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [text for text in messages if "another client is connected to the SimpleX CLI" in text]


class _NoRecovery:
    """Admits every event at once."""

    def __init__(self, *given: object) -> None:
        pass

    def reset(self, stored_up_to: int) -> None:
        pass

    def allows(self, record: object) -> bool:
        return True


def test_lost_events_are_stored_before_later_ones_of_chat(
    cli: FakeSimplexCLI, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "RECOVERY_DELAYS", ())
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


def test_burst_needs_few_recovery_commands(cli: FakeSimplexCLI, start: Start) -> None:
    start()
    alice = cli.connect("alice")
    for number in range(100):
        alice.say(f"{number}")
    cli.wait_for(lambda: alice.texts() == [f"re: {number}" for number in range(100)], 30)

    timer = [command for command in cli.commands if command.startswith(f"/_get chat {alice.chat} ")]
    assert len(timer) < 60


def test_edit_of_recovered_message_is_handled_once(cli: FakeSimplexCLI, start: Start) -> None:
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


def test_events_during_disconnect_are_recovered_in_order(
    cli: FakeSimplexCLI, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "RECOVERY_DELAYS", ())
    start()
    alice = cli.connect("alice")
    alice.say("one")
    cli.wait_for(lambda: alice.texts() == ["re: one"])
    cli.misbehave("drop", on=f"/_get chat {alice.chat} ")
    alice.say("lost", silent=True)
    alice.say("told")
    cli.wait_for(lambda: alice.texts() == ["re: one", "re: lost", "re: told"])


def test_order_recovery_stops_for_slow_cli(
    cli: FakeSimplexCLI, start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "RECOVERY_DELAYS", ())
    monkeypatch.setattr(service, "RECOVERY_COMMAND_TIMEOUT", 0.2)
    start()
    alice = cli.connect("alice")
    cli.misbehave("silent", on=f"/_get chat {alice.chat} ")
    alice.say("one")
    cli.wait_for(lambda: alice.texts() == ["re: one"])
    timer = sum(command.startswith("/_get chat") for command in cli.commands)
    alice.say("two")
    cli.wait_for(lambda: alice.texts() == ["re: one", "re: two"])

    assert "too slow to query the order" in caplog.text
    assert sum(command.startswith("/_get chat") for command in cli.commands) == timer


@pytest.fixture
def missed_messages(cli: FakeSimplexCLI, start: Start, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """alice and bob wrote while the bot was away, for longer than what is older is looked at a second time."""
    process = start()
    alice, bob = cli.connect("alice"), cli.connect("bob")
    alice.say("one")
    bob.say("one")
    cli.wait_for(lambda: alice.texts() == bob.texts() == ["re: one"])
    process.delivery.close()
    monkeypatch.setattr(ingest, "_OVERLAP_PERIOD", -3600.0)
    monkeypatch.setattr(chats, "BUSY_RETRY_INTERVALS", ())
    alice.say("missed", silent=True)
    bob.say("missed", silent=True)
    return alice, bob


@pytest.mark.parametrize("fault", ["busy", "network", "refuse", "no_resp"])
def test_unavailable_chat_is_recovered_later(
    cli: FakeSimplexCLI, start: Start, missed_messages: tuple[Any, Any], fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "RECOVERY_DELAYS", ())
    alice, bob = missed_messages
    cli.misbehave(fault, fault, on=f"/_get chat {alice.chat} ")
    process = start()
    cli.wait_for(lambda: bob.texts() == ["re: one", "re: missed"])
    process.service.channel.refresh()
    assert alice.texts() == ["re: one"]
    process.service.channel.refresh()

    cli.wait_for(lambda: alice.texts() == ["re: one", "re: missed"])
    assert bob.texts() == ["re: one", "re: missed"]


def test_unavailable_chat_is_recovered_by_next_process(
    cli: FakeSimplexCLI, start: Start, missed_messages: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "RECOVERY_DELAYS", ())
    alice, bob = missed_messages
    cli.misbehave("busy", on=f"/_get chat {alice.chat} ")
    first = start()
    bob.say("and then")
    cli.wait_for(lambda: bob.texts()[-1] == "re: and then")
    first.delivery.close()
    start()

    cli.wait_for(lambda: alice.texts() == ["re: one", "re: missed"])
    assert bob.texts() == ["re: one", "re: missed", "re: and then"]


def test_chat_unavailable_for_a_day_is_skipped(
    cli: FakeSimplexCLI,
    start: Start,
    missed_messages: tuple[Any, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(background, "RECOVERY_DELAYS", ())
    alice, _ = missed_messages
    cli.misbehave("busy", "busy", "busy", on=f"/_get chat {alice.chat} ")
    process = start()
    ingester = process.service._ingester
    assert ingester is not None
    assert ingester._watermark is not None
    process.service.channel.refresh()
    held = ingester._watermark.value
    assert held < ingester._watermark.newest
    monkeypatch.setattr(ingester, "_clock", lambda: time.time() + 25 * 3600)
    process.service.channel.refresh()

    assert ingester._watermark.value == ingester._watermark.newest
    assert f"in the chat {alice.chat} could not be fetched for 24 h" in caplog.text


def test_recovery_runs_again_some_time_after_reconnect(
    cli: FakeSimplexCLI, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "RECOVERY_DELAYS", (0.2,))
    start()
    alice = cli.connect("alice")
    cli.drop()
    cli.wait_for(lambda: cli.clients == 1)
    alice.say("told to who was gone already", silent=True)

    cli.wait_for(lambda: alice.texts() == ["re: told to who was gone already"])


def test_failed_recovery_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "RECOVERY_DELAYS", (0.0, 0.0, 0.0))
    failures: list[Exception] = [Unreachable("gone"), ValueError("unforeseen")]
    looked = threading.Event()

    def action() -> None:
        if failures:
            raise failures.pop()
        looked.set()

    timer = service.RecoveryTimer(action)
    timer.start()
    timer.restart()
    assert looked.wait(10)
    timer.close()
    assert not timer.is_alive()


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


def test_busy_store_is_retried_without_loss(cli: FakeSimplexCLI, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    process = start()
    put, failures = process.delivery.enqueue, [StoreBusy("busy")] * 3

    def busy(incoming: IncomingEvent) -> bool:
        if failures:
            raise failures.pop()
        return put(incoming)

    ingester = process.service._ingester
    assert ingester is not None
    monkeypatch.setattr(ingester, "_enqueue", busy)
    alice = cli.connect("alice")
    for number in range(5):
        alice.say(f"{number}")

    cli.wait_for(lambda: alice.texts() == [f"re: {number}" for number in range(5)])
    assert not failures


def test_other_cli_database_starts_a_new_watermark(cli: FakeSimplexCLI, start: Start, tmp_path: Path) -> None:
    first = start()
    alice = cli.connect("alice")
    for number in range(30):
        alice.say(f"{number}")
    cli.wait_for(lambda: "re: 29" in alice.texts())
    first.delivery.close()
    with FakeSimplexCLI() as other:
        process = Process(other, tmp_path)
        try:
            other.handlers.state.numbers["item"] = 100
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
        process.service.open(process.delivery)


def test_cli_errors_are_logged_without_message_texts(
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
    said = [record.getMessage() for record in caplog.records if record.name.endswith(".ingest")]

    assert [record.levelname for record in caplog.records if "critical error" in record.getMessage()] == ["ERROR"]
    assert sum("errorStore.dBBusyError" in text for text in said) == 2
    assert any("severity error" in text for text in said)
    assert "secret" not in caplog.text
