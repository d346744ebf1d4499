"""The connection to a CLI that does everything that a CLI, a network and a stranger can do to it."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cometbot.channels.simplex import schemas
from cometbot.channels.simplex.chats import fetch_missed_items, get_newest_item_id
from cometbot.channels.simplex.connection import Connection, Status
from cometbot.channels.simplex.endpoint import Endpoint
from cometbot.channels.simplex.errors import (
    AnswerMissing,
    CommandDelayed,
    CommandOutcomeUnknown,
    CommandRejected,
    ConnectionLost,
    NotConnected,
)
from cometbot.channels.simplex.event_queue import QueueLimit
from cometbot.channels.simplex.multiplexer import CommandMultiplexer
from cometbot.channels.simplex.protocol import ChatRef, Command, ComposedMessage, Record, commands
from cometbot.channels.simplex.protocol.contents import text_content
from cometbot.channels.simplex.socket_session import Timing
from cometbot.channels.simplex.startup import AddressConfig, BotProfile, prepare
from cometbot.errors import BotError, ConfigurationError, OutcomeUnknown, PayloadError, StoreBusy, Unreachable
from cometbot.testing import FakeSimplexCLI

LIMIT = 30.0
QUICK = Timing(
    connect=5, answer=5, network=5, write=5, ping_interval=5, ping_timeout=5, initial_backoff=0.02, max_backoff=0.1,
    config_error_backoff=0.2, close=0.3,
)  # fmt: skip
PINGING = replace(QUICK, ping_interval=0.2, ping_timeout=1.0)
USER = commands.show_active_user()
SEND = "/_send"


def wait_until(condition: Callable[[], object], timeout: float = LIMIT) -> None:
    ends_at = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < ends_at, "it did not come about"
        time.sleep(0.005)


def send(text: str, chat: str) -> Command:
    return commands.send_messages(ChatRef.from_text(chat), [ComposedMessage(text_content(text))])


class ConnectedBot:
    """A connection, the events that it brought, and the states that it went through."""

    def __init__(self, url: str, *, timing: Timing = QUICK, startup: Any = None, **options: Any) -> None:
        self.events: list[Record] = []
        self.states: list[Status] = []
        self.store: Callable[[Record], None] = self.events.append
        self.connection = Connection(
            Endpoint.from_url(url),
            on_event=lambda event: self.store(event),
            startup=startup,
            on_status_change=self.states.append,
            timing=timing,
            **options,
        )

    @property
    def texts(self) -> list[str]:
        found = []
        for event in self.events:
            if event.type == "newChatItems":
                found += [item.text for item in schemas.read_field(event, "chatItems")]
        return found

    def tags(self) -> list[str]:
        return [event.type for event in self.events]


@pytest.fixture
def cli() -> Iterator[FakeSimplexCLI]:
    with FakeSimplexCLI() as made:
        yield made


@pytest.fixture
def bots() -> Iterator[Callable[..., ConnectedBot]]:
    made: list[ConnectedBot] = []

    def make(url: str, **options: Any) -> ConnectedBot:
        bot = ConnectedBot(url, **options)
        made.append(bot)
        bot.connection.start()
        return bot

    yield make
    for bot in made:
        bot.connection.close(5)


@pytest.fixture
def bot(cli: FakeSimplexCLI, bots: Callable[..., ConnectedBot]) -> ConnectedBot:
    made = bots(cli.url)
    assert made.connection.wait_ready(LIMIT)
    return made


# Well-being


@pytest.mark.parametrize("form", ["flat", "either", "remote_host"])
@pytest.mark.parametrize("noisy", [False, True])
def test_commands_are_answered_and_events_come_in_every_form(
    form: Any, noisy: bool, bots: Callable[..., ConnectedBot]
) -> None:
    with FakeSimplexCLI(form=form) as cli:
        cli.server.has_unknown_fields = noisy
        profile = BotProfile(name="helpdesk")
        bot = bots(cli.url, startup=lambda send_command: prepare(send_command, profile, AddressConfig()))
        assert bot.connection.wait_ready(LIMIT)
        assert bot.connection.session.user.name == "Echo bot"
        alice = cli.connect("alice")
        number = alice.say("hello")
        wait_until(lambda: bot.texts == ["hello"])
        answer = bot.connection.command(send("hi", alice.chat))
        assert schemas.read_field(answer, "chatItems")[0].text == "hi"
        assert alice.texts() == ["hi"]
        with pytest.raises(CommandRejected, match="commandError"):
            bot.connection.command("/nonsense")
        with pytest.raises(CommandRejected, match=r"errorStore\.contactNotFound"):
            bot.connection.command(send("hi", f"@{number}"))


def test_any_raw_command_gives_the_raw_answer(bot: ConnectedBot) -> None:
    assert bot.connection.command("/get subs").raw["activeSubs"] == {"smp9.example.org": 1}


def test_many_commands_at_once_get_their_own_answers(bot: ConnectedBot, cli: FakeSimplexCLI) -> None:
    chats = [cli.connect(f"p{number}").chat for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(lambda number: bot.connection.command(send(f"m{number}", chats[number % 20])), range(400))
        )
    assert [schemas.read_field(answer, "chatItems")[0].text for answer in answers] == [
        f"m{number}" for number in range(400)
    ]


def test_events_of_tomorrow_reach_the_bot_as_they_are(bot: ConnectedBot, cli: FakeSimplexCLI) -> None:
    cli.emit({"type": "neverHeardOf", "x": [1, {"y": None}]})
    wait_until(lambda: bot.tags() == ["neverHeardOf"])
    assert bot.events[0].raw == {"type": "neverHeardOf", "x": [1, {"y": None}]}


def test_buffered_events_come_first(cli: FakeSimplexCLI, bots: Callable[..., ConnectedBot]) -> None:
    alice = cli.connect("alice")
    for number in range(50):
        alice.say(str(number))
    bot = bots(cli.url, startup=lambda send_command: send_command(USER))
    wait_until(lambda: len(bot.texts) == 50)
    assert bot.texts == [str(number) for number in range(50)]
    assert bot.tags()[:3] == ["acceptingContactRequest", "contactSndReady", "contactConnected"]


def test_a_frame_of_many_megabytes_is_read(bot: ConnectedBot, cli: FakeSimplexCLI) -> None:
    cli.emit({"type": "large", "image": "x" * 20_000_000})
    wait_until(lambda: bot.tags() == ["large"])


def test_status_callbacks_are_ordered_and_may_raise(cli: FakeSimplexCLI, caplog: pytest.LogCaptureFixture) -> None:
    states: list[str] = []

    def listen(status: Status) -> None:
        states.append(status.state)
        raise ValueError("oops")

    connection = Connection(Endpoint.from_url(cli.url), on_event=print, on_status_change=listen, timing=QUICK)
    assert connection.status.state == "closed"
    connection.start()
    assert connection.wait_ready(LIMIT)
    connection.close()
    assert states == ["connecting", "starting", "ready", "closed"]
    assert "on_status_change failed" in caplog.text
    assert "closed" in repr(connection)
    assert not connection.wait_ready(LIMIT)


# Errors of commands


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("busy", CommandDelayed),
        ("network", CommandOutcomeUnknown),
        ("refuse", CommandRejected),
        ("no_resp", AnswerMissing),
        ("drop", ConnectionLost),
        ("drop_after", ConnectionLost),
        ("drop_mid", ConnectionLost),
    ],
)
def test_failed_command_raises_and_is_not_resent(
    fault: Any, error: type[Exception], bot: ConnectedBot, cli: FakeSimplexCLI
) -> None:
    chat = cli.connect("alice").chat
    cli.misbehave(fault, on=SEND)
    with pytest.raises(error):
        bot.connection.command(send("once", chat))
    assert bot.connection.wait_ready(LIMIT)
    bot.connection.command(send("again", chat), wait=LIMIT)
    assert [text.startswith(SEND) for text in cli.commands].count(True) == 2
    assert cli.texts().count("again") == 1
    assert cli.texts().count("once") == (fault in ("no_resp", "drop_after", "drop_mid"))


@pytest.mark.parametrize("fault", ["silent", "wrong_id", "no_json", "late"])
def test_missing_answer_times_out(fault: Any, bot: ConnectedBot, cli: FakeSimplexCLI) -> None:
    chat = cli.connect("alice").chat
    cli.misbehave(fault, on=SEND)
    with pytest.raises(AnswerMissing, match="may have been done"):
        bot.connection.command(send("once", chat), timeout=0.2)
    assert bot.connection.command(USER).type == "activeUser"
    assert bot.tags().count("newChatItems") == 0
    assert bot.connection.status.state == "ready"


def test_disconnect_fails_all_pending_commands(bot: ConnectedBot, cli: FakeSimplexCLI) -> None:
    cli.misbehave("silent", on="/user")
    cli.do("hang")
    with ThreadPoolExecutor(10) as pool:
        asked = [pool.submit(bot.connection.command, USER, timeout=60) for _ in range(10)]
        wait_until(
            lambda: (
                bot.connection._socket_session is not None
                and bot.connection._socket_session.multiplexer.pending_commands == 10
            )
        )
        began = time.monotonic()
        cli.drop()
        for item in asked:
            with pytest.raises((ConnectionLost, NotConnected)):
                item.result(LIMIT)
        assert time.monotonic() - began < LIMIT, "at once, and not after the minute that they had"
    cli.do("resume")


def test_not_connected_error_names_the_cause(bots: Callable[..., ConnectedBot]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        bot = bots(f"ws://127.0.0.1:{taken.getsockname()[1]}")
        wait_until(lambda: bot.connection.status.state == "waiting")
        with pytest.raises(
            NotConnected, match=r"nothing listens at .*simplex-chat -p 5225.*/user was not sent"
        ) as error:
            bot.connection.command(USER)
        assert isinstance(error.value, Unreachable)
        began = time.monotonic()
        with pytest.raises(NotConnected):
            bot.connection.command(USER, wait=0.1)
        assert 0.1 <= time.monotonic() - began < LIMIT


def test_a_command_may_wait_for_the_connection(cli: FakeSimplexCLI, bots: Callable[..., ConnectedBot]) -> None:
    cli.close()
    bot = bots(cli.url)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(bot.connection.command, USER, wait=LIMIT)
        wait_until(lambda: bot.connection.status.state == "waiting")
        cli.start()
        assert asked.result(LIMIT).type == "activeUser"


def test_event_callback_must_not_send_commands(bot: ConnectedBot, cli: FakeSimplexCLI) -> None:
    errors: list[Exception] = []

    def store(event: Record) -> None:
        try:
            bot.connection.command(USER)
        except BotError as error:
            errors.append(error)

    bot.store = store
    cli.emit({"type": "x"})
    wait_until(lambda: errors)
    assert "another thread" in str(errors[0])


# Start-up and catch-up


def test_events_are_held_back_until_the_start_up_is_over(
    cli: FakeSimplexCLI, bots: Callable[..., ConnectedBot]
) -> None:
    order: list[str] = []
    alice = cli.connect("alice")
    seen = alice.say("seen")
    bot: ConnectedBot

    def startup(send_command: Any) -> int:
        order.append("begin")
        if len(order) > 1:
            alice.say("live")
            found = [entry["chatItem"]["meta"]["itemText"] for entry in fetch_missed_items(send_command, 1, seen, [])]
            order.extend(f"missed {text}" for text in found)
        return get_newest_item_id(send_command, 1)

    bot = bots(cli.url, startup=startup)
    assert bot.connection.wait_ready(LIMIT)
    wait_until(lambda: bot.texts == ["seen"])
    bot.store = lambda event: order.append(f"event {schemas.read_field(event, 'chatItems')[0].text}")
    cli.close()
    alice.say("one", silent=True)
    alice.say("two", silent=True)
    cli.start()
    wait_until(lambda: "event live" in order)
    assert order[-5:] == ["begin", "missed one", "missed two", "missed live", "event live"]


def test_events_read_before_disconnect_are_stored_first(cli: FakeSimplexCLI, bots: Callable[..., ConnectedBot]) -> None:
    gate, order = threading.Event(), []
    bot = bots(cli.url, startup=lambda send_command: order.append("startup"))
    assert bot.connection.wait_ready(LIMIT)

    def store(event: Record) -> None:
        gate.wait(LIMIT)
        order.append(event.type)

    bot.store = store
    for name in ("a", "b", "c"):
        cli.emit({"type": name})
    wait_until(lambda: len(bot.connection._event_queue) == 2)
    cli.drop()
    wait_until(lambda: bot.connection.status.state in ("waiting", "connecting"))
    gate.set()
    wait_until(lambda: order.count("startup") == 2)
    assert order == ["startup", "a", "b", "c", "startup"]


def test_more_than_can_be_held_back_is_delivered_all_the_same(
    cli: FakeSimplexCLI, bots: Callable[..., ConnectedBot], caplog: pytest.LogCaptureFixture
) -> None:
    alice = cli.connect("alice")
    for number in range(100):
        alice.say(str(number))
    bot = bots(
        cli.url,
        startup=lambda send_command: [send_command(USER) for _ in range(5)],
        startup_limit=QueueLimit(events=10, size=10**9),
    )
    wait_until(lambda: len(bot.texts) == 100)
    assert bot.texts == [str(number) for number in range(100)]
    assert "some may be out of order" in caplog.text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CommandRejected("refused"), "the start-up with the SimpleX CLI failed: refused"),
        (ConfigurationError("set SIMPLEX_DISPLAY_NAME"), "set SIMPLEX_DISPLAY_NAME"),
        (PayloadError("no user"), "no user"),
        (ValueError("a bug"), "ValueError"),
    ],
)
def test_a_start_up_that_fails_is_tried_again(
    error: Exception, text: str, cli: FakeSimplexCLI, bots: Callable[..., ConnectedBot]
) -> None:
    tries: list[int] = []

    def startup(send_command: Any) -> str:
        tries.append(1)
        if len(tries) < 3:
            raise error
        return "session"

    bot = bots(cli.url, startup=startup)
    assert bot.connection.wait_ready(LIMIT)
    assert len(tries) == 3
    assert bot.connection.session == "session"
    assert any(text in status.error for status in bot.states)


# Breaks


def test_after_a_restart_of_the_cli_everything_goes_on(bot: ConnectedBot, cli: FakeSimplexCLI) -> None:
    alice = cli.connect("alice")
    wait_until(lambda: len(bot.events) == 3)
    cli.restart()
    wait_until(lambda: [status.state for status in bot.states].count("ready") == 2)
    alice.say("hello again")
    wait_until(lambda: bot.texts == ["hello again"])
    assert bot.connection.command(send("yes", alice.chat), wait=LIMIT)


def test_disconnects_in_a_burst_lose_and_double_nothing(cli: FakeSimplexCLI, bots: Callable[..., ConnectedBot]) -> None:
    """What the CLI gives to a connection that is just breaking reaches nobody, also after the next start-up."""
    chance, drops = random.Random(7), 0
    people = [cli.connect(f"p{number}") for number in range(10)]
    bot = bots(cli.url, startup=lambda send_command: send_command(USER))
    for number in range(300):
        people[number % 10].say(f"{number // 10}")
        if chance.random() < 0.03:
            cli.drop()
            drops += 1
    wait_until(
        lambda: (
            bot.connection.wait_ready(1)
            and cli.server.waiting_events == 0
            and bot.events  # those behind the last drop may still be in the socket
            and len(bot.connection._event_queue) == 0
        )
    )
    heard = [item for event in bot.events for item in schemas.read_field(event, "chatItems") or ()]
    numbers = [item.item_id for item in heard]
    assert len(set(numbers)) == len(numbers)
    for person in people:
        in_chat = [int(item.text) for item in heard if str(item.chat.ref) == person.chat]
        assert in_chat == sorted(in_chat)
    entries = fetch_missed_items(lambda command: bot.connection.command(command, wait=LIMIT), 1, 0, [])
    everything = [schemas.read_item(entry) for entry in entries]
    assert len(everything) == 300
    assert set(numbers) <= {item.item_id for item in everything}
    assert drops > 3
    assert numbers, "some are heard between the drops"


def test_backoff_grows_with_jitter_and_resets() -> None:
    timing = Timing(initial_backoff=1, max_backoff=30, config_error_backoff=60)
    connection = Connection(Endpoint.from_url("ws://localhost:1"), on_event=print, timing=timing)
    waits = [connection._next_backoff(False) for _ in range(40)]
    for number, wait in enumerate(waits):
        longest = min(30, 2**number)
        assert longest / 2 <= wait <= longest
    assert len(set(waits)) == 40
    assert 30 <= connection._next_backoff(True) <= 60


def test_the_same_failure_is_logged_now_and_then_not_each_time(
    bots: Callable[..., ConnectedBot], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with caplog.at_level(logging.WARNING):
            bot = bots(f"ws://127.0.0.1:{taken.getsockname()[1]}")
            wait_until(lambda: [status.state for status in bot.states].count("waiting") == 8)
    assert caplog.text.count("nothing listens") == 1


def test_silent_cli_is_disconnected_and_retried(cli: FakeSimplexCLI, bots: Callable[..., ConnectedBot]) -> None:
    """The socket stays open and nobody answers pings, as behind a cable that was cut."""
    with socket.create_server(("127.0.0.1", 0)) as outside, contextlib.ExitStack() as sockets:
        is_cut = threading.Event()
        threading.Thread(target=_forward, args=(outside, cli.server.port, is_cut, sockets), daemon=True).start()
        bot = bots(f"ws://127.0.0.1:{outside.getsockname()[1]}", timing=PINGING)
        assert bot.connection.wait_ready(LIMIT)
        is_cut.set()
        wait_until(lambda: any("sent no data for 1.2 s" in status.error for status in bot.states))


def _forward(outside: socket.socket, port: int, is_cut: threading.Event, sockets: contextlib.ExitStack) -> None:
    """Carry bytes both ways until the cable is cut."""
    with contextlib.suppress(OSError):
        near, _ = outside.accept()
        far = sockets.enter_context(socket.create_connection(("127.0.0.1", port)))
        sockets.enter_context(near)
        for source, target in ((near, far), (far, near)):
            threading.Thread(target=_carry, args=(source, target, is_cut), daemon=True).start()


def _carry(source: socket.socket, target: socket.socket, is_cut: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if is_cut.is_set():
                return
            target.sendall(data)


def test_pings_keep_an_idle_connection_open(
    cli: FakeSimplexCLI, bots: Callable[..., ConnectedBot], monkeypatch: pytest.MonkeyPatch
) -> None:
    pings: list[float] = []
    ping = CommandMultiplexer.ping
    monkeypatch.setattr(CommandMultiplexer, "ping", lambda self: (pings.append(time.monotonic()), ping(self)))
    bot = bots(cli.url, timing=replace(QUICK, ping_interval=0.05, ping_timeout=LIMIT))
    assert bot.connection.wait_ready(LIMIT)
    wait_until(lambda: len(pings) == 4)  # each but the last was answered, or there were no next one
    assert [status.state for status in bot.states].count("ready") == 1
    assert bot.connection.command(USER)


def test_stalled_cli_is_disconnected_with_unsent_commands(
    cli: FakeSimplexCLI, bots: Callable[..., ConnectedBot]
) -> None:
    bot = bots(cli.url, timing=Timing(connect=0.3, write=0.8, ping_interval=30, initial_backoff=0.02, close=0.2))
    assert bot.connection.wait_ready(LIMIT)
    cli.do("hang")
    large = Command.raw("/x" + "y" * 4_000_000)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(bot.connection.command, large, timeout=20) for _ in range(8)]
        errors = [item.exception(LIMIT) for item in asked]
    assert all(isinstance(error, NotConnected | ConnectionLost) for error in errors)
    assert any("did not read from the socket for 0.8 s" in str(error) for error in errors)
    cli.do("resume")
    assert bot.connection.wait_ready(LIMIT)


# The store


def test_busy_store_applies_backpressure_without_loss(cli: FakeSimplexCLI, bots: Callable[..., ConnectedBot]) -> None:
    gate = threading.Event()
    bot = bots(cli.url, queue_limit=QueueLimit(events=5, size=10**9))
    assert bot.connection.wait_ready(LIMIT)

    def store(event: Record) -> None:
        if not gate.is_set():
            raise StoreBusy
        bot.events.append(event)

    bot.store = store
    alice = cli.connect("alice")
    for number in range(500):
        alice.say(f"{number} {'x' * 5000}")
    socket_session = bot.connection._socket_session
    assert socket_session is not None
    wait_until(lambda: socket_session._is_blocked and len(bot.connection._event_queue) == 5)
    assert cli.server.waiting_events > 100
    assert socket_session._find_fault(time.monotonic() + 3600) == "", "we make it wait, so it may be silent"
    assert bot.connection.status.state == "ready"
    gate.set()
    wait_until(lambda: len(bot.texts) == 500)
    assert [text.split()[0] for text in bot.texts] == [str(number) for number in range(500)]
    assert bot.connection.command(USER)


def test_unstorable_event_is_skipped_and_logged(
    bot: ConnectedBot, cli: FakeSimplexCLI, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[str] = []

    def store(event: Record) -> None:
        tries.append(event.type)
        if event.type == "broken":
            raise ValueError("a bug")
        if event.type == "shapeless":
            raise PayloadError("no shape")

    bot.store = store
    for tag in ("broken", "shapeless", "good"):
        cli.emit({"type": tag})
    wait_until(lambda: "good" in tries)
    assert tries == ["broken"] * 5 + ["shapeless", "good"]
    assert "skipped the SimpleX event broken" in caplog.text
    assert "skipped the SimpleX event shapeless: no shape" in caplog.text


def test_close_stores_read_events_and_fails_commands(cli: FakeSimplexCLI) -> None:
    bot = ConnectedBot(cli.url)
    bot.connection.start()
    assert bot.connection.wait_ready(LIMIT)
    entered, gate = threading.Event(), threading.Event()

    def store(event: Record) -> None:
        entered.set()
        gate.wait(LIMIT)
        bot.events.append(event)

    bot.store = store
    for number in range(5):
        cli.emit({"type": f"e{number}"})
    assert entered.wait(LIMIT)
    wait_until(lambda: len(bot.connection._event_queue) == 4)
    cli.misbehave("silent")
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(bot.connection.command, USER, timeout=60)
        wait_until(lambda: "/user" in cli.commands)
        closing = pool.submit(bot.connection.close, LIMIT)
        with pytest.raises(OutcomeUnknown):
            asked.result(LIMIT)
        gate.set()
        closing.result(LIMIT)
    assert bot.tags() == [f"e{number}" for number in range(5)]
    assert bot.connection.status.state == "closed"
    with pytest.raises(NotConnected):
        bot.connection.command(USER)
    wait_until(lambda: cli.clients == 0)


def test_a_close_does_not_wait_for_ever_for_the_store(cli: FakeSimplexCLI, caplog: pytest.LogCaptureFixture) -> None:
    bot = ConnectedBot(cli.url)

    def store(event: Record) -> None:
        raise StoreBusy

    bot.store = store
    bot.connection.start()
    assert bot.connection.wait_ready(LIMIT)
    cli.emit({"type": "x"})
    wait_until(lambda: "yet (attempt 2)" in caplog.text)
    began = time.monotonic()
    bot.connection.close(0.5)
    assert time.monotonic() - began < LIMIT
    assert "stopped with 1 SimpleX events that were not stored" in caplog.text


def test_a_connection_that_never_began_can_be_closed() -> None:
    Connection(Endpoint.from_url("ws://localhost:1"), on_event=print).close()


def test_event_callback_may_send_commands_during_recovery(
    cli: FakeSimplexCLI, bots: Callable[..., ConnectedBot]
) -> None:
    bot = bots(cli.url, queue_limit=QueueLimit(events=5, size=10**9), recovery_period=3600.0)
    assert bot.connection.wait_ready(LIMIT)

    def store(event: Record) -> None:
        assert bot.connection.command(USER, timeout=LIMIT)
        bot.events.append(event)

    bot.store = store
    for number in range(200):
        cli.emit({"type": f"e{number}"})
    wait_until(lambda: len(bot.events) == 200)
    assert bot.tags() == [f"e{number}" for number in range(200)]


# Strangers


@pytest.mark.parametrize(
    "frame",
    [
        "hello",
        "",
        "{",
        '{"resp":',
        "[1,2]",
        "5",
        "{}",
        '{"resp":null}',
        '{"resp":{"kind":"x"}}',
        b"\xff\xfe",
        b'{"x":1}',
        '{"corrId":"nobody","resp":{"type":"cmdOk"}}',
        '{"corrId":7,"resp":{"type":"chatCmdError","chatError":{}}}',
        '{"resp":{"type":"chatCmdError","chatError":{}}}',
    ],
)
def test_unreadable_frame_is_skipped(frame: str | bytes, bot: ConnectedBot, cli: FakeSimplexCLI) -> None:
    cli.do("send_raw", frame=frame)
    cli.emit({"type": "after"})
    wait_until(lambda: bot.events)
    assert bot.tags() == ["after"]
    assert bot.connection.command(USER)
    assert bot.connection.status.state == "ready"


def test_oversized_frame_closes_connection_with_reason(cli: FakeSimplexCLI, bots: Callable[..., ConnectedBot]) -> None:
    bot = bots(cli.url, frame_limit=100_000)
    assert bot.connection.wait_ready(LIMIT)
    cli.emit({"type": "large", "x": "y" * 200_000})
    wait_until(lambda: any("a frame that is too large" in status.error for status in bot.states))
    cli.emit({"type": "after"})
    wait_until(lambda: bot.tags() == ["after"])


def test_the_frame_limit_is_64_mebibytes(bot: ConnectedBot, cli: FakeSimplexCLI) -> None:
    cli.emit({"type": "large", "x": "y" * 100_000_000})
    wait_until(lambda: any("a frame that is too large" in status.error for status in bot.states))


@pytest.mark.parametrize(
    ("status", "text", "wait"),
    [
        (401, "refused the user name and password of SIMPLEX_URL", QUICK.config_error_backoff),
        (403, "refused the user name and password of SIMPLEX_URL", QUICK.config_error_backoff),
        (404, "is no SimpleX CLI (HTTP status 404)", QUICK.max_backoff),
        (503, "is no SimpleX CLI (HTTP status 503)", QUICK.max_backoff),
    ],
)
def test_refusing_server_is_retried_later(
    status: int, text: str, wait: float, cli: FakeSimplexCLI, bots: Callable[..., ConnectedBot]
) -> None:
    cli.do("refuse", status=status)
    bot = bots(cli.url)
    wait_until(lambda: bot.connection.status.state == "waiting")
    assert text in bot.connection.status.error
    assert str(cli.server.port) in bot.connection.status.error
    cli.do("refuse", status=0)
    assert bot.connection.wait_ready(LIMIT)


def test_a_redirect_is_not_followed(bots: Callable[..., ConnectedBot]) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    with _answering(answer) as url:
        bot = bots(url)
        wait_until(lambda: "redirects" in bot.connection.status.error)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"220 mail.example.org ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"\x00" * 100,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
)
def test_what_is_no_websocket_server_is_named_so(answer: bytes, bots: Callable[..., ConnectedBot]) -> None:
    with _answering(answer) as url:
        bot = bots(url)
        wait_until(lambda: "no SimpleX CLI" in bot.connection.status.error)


def test_silent_server_times_out(bots: Callable[..., ConnectedBot]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        timing = Timing(connect=0.2, initial_backoff=0.02)
        bot = bots(f"ws://127.0.0.1:{server.getsockname()[1]}", timing=timing)
        wait_until(lambda: "did not answer in time" in bot.connection.status.error)


def test_a_host_that_does_not_exist_is_named() -> None:
    bot = ConnectedBot("wss://bot:x@host.invalid/")
    bot.connection.start()
    wait_until(lambda: bot.connection.status.error)
    bot.connection.close()
    errors = [status.error for status in bot.states if status.error]
    assert "host.invalid" in errors[0]
    assert "bot:" not in errors[0]


def test_a_websocket_server_that_is_no_cli_fails_the_start_up(
    bots: Callable[..., ConnectedBot], cli: FakeSimplexCLI
) -> None:
    for _ in range(3):
        cli.misbehave("no_json", on="/user")
    timing = replace(QUICK, answer=0.3)
    bot = bots(cli.url, timing=timing, startup=lambda send_command: send_command(USER))
    wait_until(lambda: any("did not answer /user" in status.error for status in bot.states))
    assert bot.connection.wait_ready(LIMIT)


@contextlib.contextmanager
def _answering(answer: bytes) -> Iterator[str]:
    """A server that says the same to everybody, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client:
                        client.recv(65536)
                        client.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"ws://127.0.0.1:{server.getsockname()[1]}"


# Secrets


def test_credentials_and_messages_are_not_logged(
    caplog: pytest.LogCaptureFixture, tls: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tls
    monkeypatch.setattr(Endpoint, "make_ssl_context", lambda self: ssl.create_default_context(cafile=str(certificate)))
    with FakeSimplexCLI(credentials=("bot", "hush/hush")) as cli, _tls_before(cli, certificate, key) as port:
        caplog.set_level(logging.DEBUG)
        bot = ConnectedBot(f"wss://bot:hush%2Fhush@localhost:{port}/")
        bot.connection.start()
        assert bot.connection.wait_ready(LIMIT)
        alice = cli.connect("alice")
        alice.say("my secret words")
        wait_until(lambda: bot.texts == ["my secret words"])
        bot.connection.command(send("your secret words", alice.chat))
        with pytest.raises(CommandRejected):
            bot.connection.command("/connect secret words")
        bot.connection.close()
    for secret in ("hush", "Basic", "secret words", "Ym90"):
        assert secret not in caplog.text


def test_wrong_credentials_are_refused_and_named(tls: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tls
    monkeypatch.setattr(Endpoint, "make_ssl_context", lambda self: ssl.create_default_context(cafile=str(certificate)))
    with FakeSimplexCLI(credentials=("bot", "right")) as cli, _tls_before(cli, certificate, key) as port:
        bot = ConnectedBot(f"wss://bot:wrong@localhost:{port}/")
        bot.connection.start()
        wait_until(lambda: "refused the user name and password" in bot.connection.status.error)
        bot.connection.close()


def test_untrusted_certificate_is_refused(tls: tuple[Path, Path]) -> None:
    certificate, key = tls
    with FakeSimplexCLI() as cli, _tls_before(cli, certificate, key) as port:
        bot = ConnectedBot(f"wss://bot:x@localhost:{port}/")
        bot.connection.start()
        wait_until(lambda: "is not trusted: self-signed certificate" in bot.connection.status.error)
        bot.connection.close()
        assert cli.commands == []


def test_a_server_without_tls_is_named(cli: FakeSimplexCLI) -> None:
    bot = ConnectedBot(f"wss://localhost:{cli.server.port}/")
    bot.connection.start()
    wait_until(lambda: "does not speak TLS" in bot.connection.status.error)
    bot.connection.close()


def test_weak_credentials_are_warned_of_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    bot = ConnectedBot("wss://bot:weak@host.invalid/")
    bot.connection.start()
    bot.connection.close()
    assert "the password in SIMPLEX_URL is weak" in caplog.text
    assert "bot:weak" not in caplog.text


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that nobody vouches for, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run([*command, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


@contextlib.contextmanager
def _tls_before(cli: FakeSimplexCLI, certificate: Path, key: Path) -> Iterator[int]:
    """A proxy that speaks TLS and passes everything on, as Caddy or nginx before a CLI."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as sockets:

        def serve() -> None:
            while True:
                try:
                    near, _ = server.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError):
                    secure = sockets.enter_context(context.wrap_socket(near, server_side=True))
                    far = sockets.enter_context(socket.create_connection(("127.0.0.1", cli.server.port)))
                    for source, target in ((secure, far), (far, secure)):
                        threading.Thread(target=_relay, args=(source, target), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def _relay(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
