"""Processes that end at a commit, around a platform and a database that survive them."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import re
import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, make_url

from cometbot.bot import Bot
from cometbot.channels.base import IncomingEvent, OutgoingRequest
from cometbot.delivery import Delivery
from cometbot.messages import Card, Choices, ClientCall, Form
from cometbot.questions import ACTION_PREFIX
from cometbot.store.clock import LEASE_TTL
from cometbot.store.database import Database, PreparedStatement
from cometbot.store.factory import database_from_url
from cometbot.store.postgresql import PostgreSQL
from cometbot.store.sqlite import SQLite
from cometbot.store.tables import conversations, dialogs, jobs, mailbox, outbox, state, steps, timers
from cometbot.testing.fake_channel import EVERYTHING, FakeChannel
from cometbot.testing.immediate_engine import ImmediateEngine

T = TypeVar("T")

START = 1_800_000_000.0
STEP_SECONDS = 1000.0
"""The time between two events, in which the leases of a dead process run out and its replies are looked up."""

LONG_WAIT = 10_000.0
FINAL_WAIT = 10 * 24 * 3600.0


class Crashes:
    """The points at which this process may end: before and after each commit. It ends at the one numbered ``at``."""

    def __init__(self, at: int = 0, on_crash: Callable[[str], None] = lambda kind: None) -> None:
        self.count = 0
        self._at = at
        self._on_crash = on_crash

    def reach(self, kind: str) -> None:
        """End the process if this is the point."""
        self.count += 1
        if self.count == self._at:
            self._on_crash(kind)
            os._exit(0)


@contextmanager
def shared_dialects() -> Iterator[None]:
    """Let all engines share what SQLAlchemy compiles, which would take most of the time of each process."""
    create_engine, first = sa.create_engine, dict[str, sa.Engine]()

    def create(url: Any, **options: Any) -> sa.Engine:
        engine = create_engine(url, **options)
        known = first.setdefault(engine.dialect.name, engine)
        engine.dialect = engine.pool._dialect = known.dialect
        engine._compiled_cache = known._compiled_cache
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sa, "create_engine", create)
        yield


_prepared: dict[tuple[type, int], PreparedStatement] = {}
"""The statements that processes prepare, by their number: all processes prepare the same ones in one order."""


class CrashingDatabase(Database):
    """A database with a clock that stands at ``now``, and with points at which the process may end."""

    now: float
    crashes: Crashes

    def prepare(self, statement: Any) -> PreparedStatement:
        self._prepared_count = getattr(self, "_prepared_count", 0) + 1
        key = type(self), self._prepared_count
        if key not in _prepared:
            _prepared[key] = super().prepare(statement)
        return _prepared[key]

    def clock(self) -> float:
        return self.now

    def wall_clock(self, connection: Connection) -> float:
        return self.now

    @contextmanager
    def write(self, *, durable: bool = True, timeout: float | None = None) -> Iterator[Connection]:
        inner: AbstractContextManager[Connection] = super().write(durable=durable, timeout=timeout)
        with inner as connection:
            yield connection
            self.crashes.reach("before")
        self.crashes.reach("after")

    def group_commit(self, work: Callable[[Connection], T], **options: Any) -> T:
        def run(connection: Connection) -> T:
            result = work(connection)
            self.crashes.reach("before")
            return result

        result = super().group_commit(run, **options)
        self.crashes.reach("after")
        return result


class CrashingSQLite(CrashingDatabase, SQLite):
    """SQLite."""


class CrashingPostgreSQL(CrashingDatabase, PostgreSQL):
    """PostgreSQL."""

    def autocommit(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        self.crashes.reach("before")
        result = super().autocommit(work, durable=durable)
        self.crashes.reach("after")
        return result


class SurvivingChannel(FakeChannel):
    """A fake platform whose messages are in a file, so that they outlive the process of the bot.

    It has no forms, so bots ask for their fields one by one.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(replace(EVERYTHING, native=EVERYTHING.native - {Form}))
        self._path = path
        if path.exists():
            self._said, self._history, self.reactions = pickle.loads(path.read_bytes())
            self._ids = itertools.count(len(self._said) + 1)

    def perform(self, sending: OutgoingRequest) -> str:
        found = super().perform(sending)
        self._path.write_bytes(pickle.dumps((self._said, self._history, self.reactions)))
        return found


@dataclass(frozen=True)
class Say:
    """A user writes to the bot, alone with it or in the group, with a client that has these tools.

    With ``in_thread``, it is written in the thread below the bot's first message in the group.
    """

    text: str
    user: str = "maria"
    group: str = ""
    client_tools: tuple[str, ...] = ()
    in_thread: bool = False


@dataclass(frozen=True)
class Press:
    """A user presses a button of the newest question or approval that has some, or of the oldest one."""

    option: int
    is_oldest: bool = False
    user: str = "maria"


@dataclass(frozen=True)
class Return:
    """Maria's client returns the result of the newest call of its tools, or of the oldest one."""

    content: str
    is_oldest: bool = False


@dataclass(frozen=True)
class Redeliver:
    """The platform delivers an earlier event again."""

    index: int


@dataclass(frozen=True)
class Wait:
    """Nobody writes for so many seconds."""

    seconds: float = LONG_WAIT


@dataclass(frozen=True)
class Deploy:
    """The bot is started with its next version."""


ScriptEvent = Say | Press | Return | Redeliver | Wait | Deploy


@dataclass(frozen=True)
class Script:
    """The versions of a bot, as source code, and what happens to it."""

    versions: Sequence[str]
    events: Sequence[ScriptEvent]


@dataclass
class Outcome:
    """All that can be seen after a script: the conversations, the state, the calls, the dead letters, the tables."""

    transcript: Mapping[str, list[tuple[str, bool]]] = field(default_factory=dict)
    reactions: set[str] = field(default_factory=set)
    state: list[Any] = field(default_factory=list)
    letters: list[str] = field(default_factory=list)
    rest: Mapping[str, list[Any]] = field(default_factory=dict)

    @property
    def texts(self) -> list[str]:
        """The texts that the bot has said, one conversation after the other."""
        return [text for said in self.transcript.values() for text, _ in said]


class World:
    """A folder with all that survives a process: the platform, the calls of ``once``, and the script's position."""

    def __init__(self, script: Script, folder: Path, open_database: Callable[[], CrashingDatabase]) -> None:
        self.script = script
        self.calls = folder / "calls"
        self._platform = folder / "platform"
        self._incoming = folder / "incoming"
        self._position = folder / "position"
        self._open_database = open_database
        for file in (self.calls, self._platform, self._incoming, self._position):
            file.unlink(missing_ok=True)

    def play(self, crash_at: int = 0) -> int:
        """Play the script, or go on with it after a crash. Return the number of points at which it could crash."""
        position = json.loads(self._position.read_text()) if self._position.exists() else {"index": 0, "now": START}
        crashes = Crashes(crash_at, self._record_crash)
        self._running = BotProcess(self, position["index"], position["now"], crashes)
        try:
            self._running.run_due()
            for index in range(position["index"], len(self.script.events)):
                self._save_position(index)
                self._running = self._play_event(index, self._running, crashes)
            self._save_position(len(self.script.events))
            self._running.move_to(self._time_of(len(self.script.events)) + FINAL_WAIT)
            return crashes.count
        finally:
            self._running.close()

    def play_in_child(self, crash_at: int) -> None:
        """Play the script in a process of its own until the crash."""
        child = os.fork()
        if child == 0:
            try:
                self.play(crash_at)
            except BaseException:
                traceback.print_exc()
                os._exit(2)
            os._exit(3)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status == 0, f"the child ended with status {status}"

    def outcome(self) -> Outcome:
        """Return what can be seen now."""
        process = BotProcess(self, len(self.script.events), START, Crashes())
        try:
            return process.outcome()
        finally:
            process.close()

    def called(self) -> list[str]:
        """Return the lines about calls: the name of each call that began, and how the process ended."""
        return self.calls.read_text().split() if self.calls.exists() else []

    def platform(self) -> SurvivingChannel:
        """Return the platform as it is now."""
        return SurvivingChannel(self._platform)

    def open_database(self) -> CrashingDatabase:
        """Open the database for one process."""
        return self._open_database()

    def log(self, word: str) -> None:
        """Record a call, or the end of the process, in their order."""
        with self.calls.open("a") as file:
            file.write(f"{word}\n")

    def _save_position(self, index: int) -> None:
        self._position.write_text(json.dumps({"index": index, "now": self._running.database.now}))

    def _record_crash(self, kind: str) -> None:
        self.log(f"crash-{kind}")
        position = json.loads(self._position.read_text()) if self._position.exists() else {"index": 0}
        now = self._running.database.now if hasattr(self, "_running") else START
        self._position.write_text(json.dumps({**position, "now": now + LEASE_TTL + 5}))

    def _play_event(self, index: int, process: BotProcess, crashes: Crashes) -> BotProcess:
        event = self.script.events[index]
        process.move_to(self._time_of(index))
        if isinstance(event, Deploy):
            now = process.database.now
            process.close()
            return BotProcess(self, index, now, crashes)
        incoming = self._find_incoming(index, event, process)
        if incoming is not None:
            process.delivery.enqueue(incoming)
        process.run_due()
        return process

    def _time_of(self, index: int) -> float:
        waits = sum(event.seconds for event in self.script.events[: index + 1] if isinstance(event, Wait))
        return START + waits + (index + 1) * STEP_SECONDS

    def _find_incoming(self, index: int, event: ScriptEvent, process: BotProcess) -> IncomingEvent | None:
        """Return what the platform delivers; the same if it delivers it again after a crash."""
        known: dict[str, IncomingEvent | None] = (
            pickle.loads(self._incoming.read_bytes()) if self._incoming.exists() else {}
        )
        if str(index) not in known:
            known[str(index)] = self._make_incoming(index, event, process, known)
            self._incoming.write_bytes(pickle.dumps(known))
        return known[str(index)]

    def _make_incoming(
        self, index: int, event: ScriptEvent, process: BotProcess, known: Mapping[str, IncomingEvent | None]
    ) -> IncomingEvent | None:
        channel, bot = process.channel, process.bot
        if isinstance(event, Say):
            tools: dict[str, Any] = {}
            if event.client_tools:
                tools["client_tools"] = [{"name": name} for name in event.client_tools]
            if event.in_thread:
                tools["thread_id"] = next(said.id for said in channel.said if said.conversation.target == event.group)
            return channel.incoming(bot, event.text, user=event.user, group=event.group, id=f"e{index}", **tools)
        if isinstance(event, Return):
            calls = [said.message for said in channel.said if isinstance(said.message, ClientCall)]
            action = f"{ACTION_PREFIX}{calls[0 if event.is_oldest else -1].id}"
            return channel.incoming(bot, action=action, value=event.content, id=f"e{index}")
        if isinstance(event, Redeliver):
            return known.get(str(event.index))
        if isinstance(event, Press):
            asked = [said for said in channel.said if isinstance(said.message, Card | Choices)]
            if asked:
                said = asked[0 if event.is_oldest else -1]
                offer = said.offers[event.option % len(said.offers)]
                group = said.conversation.target if said.conversation.is_group else ""
                more = {"action": offer.name, "value": offer.value, "message_id": said.id, "id": f"e{index}"}
                return channel.incoming(bot, user=event.user, group=group, **more)
        return None


class BotProcess:
    """A process of the bot that runs in the caller's thread."""

    def __init__(self, world: World, index: int, now: float, crashes: Crashes) -> None:
        deployed = sum(isinstance(event, Deploy) for event in world.script.events[: index + 1])
        self.bot = make_bot(world, world.script.versions[min(deployed, len(world.script.versions) - 1)])
        self.database = world.open_database()
        self.database.now, self.database.crashes = now, crashes
        self.channel = world.platform()
        self.channel.clock = self.database.clock
        self._engine = ImmediateEngine()
        self.delivery = Delivery([self.bot], [self.channel], self.database, engine=self._engine)
        world._running = self
        self.delivery.start()
        self.bot.connect(self.delivery)

    def run_due(self) -> None:
        """Do all work that is due now, that of dead processes included."""
        for conversation_key in self.delivery.store.fire_timers():
            self._engine.notify(conversation_key)
        for begun in self.delivery.store.fire_jobs():
            self._engine.notify(begun.conversation_key)
        with self.database.read() as connection:
            found = self.delivery.store.leases.find_abandoned(
                connection, self.delivery.active_bots, self.delivery.handled_channels
            )
        for conversation_key in found:
            self._engine.notify(conversation_key)
        self._engine.run_until_idle()

    def move_to(self, end: float) -> None:
        """Move the clock, and do all work at its due time."""
        while (due := self._next_due_time()) is not None and due <= end:
            self.database.now = max(due, self.database.now)
            self.run_due()
        self.database.now = max(end, self.database.now)
        self.run_due()

    def _next_due_time(self) -> float | None:
        with self.database.read() as connection:
            held = connection.execute(sa.select(sa.func.min(conversations.c.due_at))).scalar()
            timer = self.delivery.store.dialogs.next_timer(connection)
            job = self.delivery.store.jobs.next_due(connection)
        return min((due for due in (held, timer, job) if due is not None), default=None)

    def outcome(self) -> Outcome:
        """Return what can be seen now, and discard the dead letters."""
        letters = self.delivery.dead_letters.list()
        for letter in letters:
            self.delivery.dead_letters.discard(letter.id)
        transcript: dict[str, list[tuple[str, bool]]] = {}
        for said in self.channel._said.values():
            transcript.setdefault(said.conversation.id, []).append((said.text, said.deleted))
        with self.database.read() as connection:
            return Outcome(
                transcript,
                {f"{on} {reaction}" for on, given in self.channel.reactions.items() for reaction in given},
                sorted(tuple(map(_without_ids, row)) for row in connection.execute(_STATE)),
                sorted(_without_ids(f"{letter.event}: {letter.error}") for letter in letters),
                {name: list(map(tuple, connection.execute(query))) for name, query in _REST.items()},
            )

    def close(self) -> None:
        """End as on SIGTERM."""
        self.delivery.close()


def _without_ids(text: str) -> str:
    """Return ``text`` without the numbers of rows and the times of timers, which a crash may change."""
    return re.sub(r"m\d+(\.\d+)*|\b\d{10}\.\d+|(?<=\")\d+(?=\":\"[ADEW])", "m", text)


_STATE = sa.select(state.c.scope, state.c.owner, state.c.name, state.c.value)

_REST = {
    "dialogs": sa.select(dialogs),
    "steps": sa.select(steps),
    "timers": sa.select(timers),
    "jobs": sa.select(jobs).where(jobs.c.spec == ""),
    "pinned": sa.select(mailbox).where(mailbox.c.state == "done", mailbox.c.ended_at.is_(None)),
    "messages": sa.select(mailbox).where(mailbox.c.state.not_in(["done", "discarded"])),
    "replies": sa.select(outbox).where(outbox.c.state.not_in(["sent", "discarded"])),
    "open": sa.select(state).where(state.c.name == "cometbot:dialogs"),
}
"""What must be empty after the end of all dialogs."""


def make_bot(world: World, source: str) -> Bot:
    """Return a bot whose handlers are in ``source``."""
    bot = Bot("helpdesk")

    def call(name: str) -> str:
        world.log(name)
        if name.startswith("failing"):
            raise LookupError(name)
        return f"result of {name}"

    def write(text: str) -> None:
        """Let Maria write while a handler runs; only once, if the handler runs again."""
        process = world._running
        incoming = process.channel.incoming(bot, text, id=f"beside-{text}")
        process.delivery.enqueue(incoming)
        process._engine.notify(incoming.conversation.key_text)
        process._engine.run_until_idle()

    exec(source, {"bot": bot, "call": call, "write": write})
    return bot


class SQLiteDatabases:
    """Empty databases: copies of a file."""

    def __init__(self, folder: Path) -> None:
        self._template, self._path = folder / "template.db", folder / "bot.db"
        made = database_from_url(f"sqlite:///{self._template}")
        made.open()
        made.close()

    def clear(self) -> None:
        """Make the database empty."""
        for file in self._path.parent.glob("bot.db*"):
            file.unlink()
        shutil.copy(self._template, self._path)
        self._path.chmod(0o600)

    def open(self) -> CrashingDatabase:
        """Open the database for one process."""
        return CrashingSQLite(make_url(f"sqlite:///{self._path}"))


class PostgreSQLDatabases:
    """One database, whose tables are emptied."""

    def __init__(self, url: str) -> None:
        self._url = url

    def clear(self) -> None:
        """Make the database empty."""
        tables = "mailbox, conversations, outbox, pauses, state, processes, steps, dialogs, timers, jobs"
        tables += ", broadcasts, broadcast_recipients"
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(f"TRUNCATE {tables} RESTART IDENTITY".encode())

    def open(self) -> CrashingDatabase:
        """Open the database for one process."""
        return CrashingPostgreSQL(make_url(self._url))


Databases = SQLiteDatabases | PostgreSQLDatabases


def check_all_crashes(script: Script, databases: Databases, tmp_path: Path) -> Outcome:
    """Check that a process may end at any point of the script without a change, and return the outcome.

    The script is played without an end first, and once more for each point.
    """
    databases.clear()
    world = World(script, tmp_path, databases.open)
    points = world.play()
    calls, expected = Counter(world.called()), world.outcome()
    check_end(expected)
    for point in range(1, points + 1):
        databases.clear()
        world = World(script, tmp_path, databases.open)
        world.play_in_child(point)
        world.play()
        assert world.outcome() == expected, f"after a crash at point {point} of {points}"
        assert count_calls(world.called()) == calls, f"after a crash at point {point} of {points}"
    return expected


def check_end(outcome: Outcome) -> None:
    """Check that nothing is left of the dialogs."""
    assert {name: rows for name, rows in outcome.rest.items() if rows} == {}


def count_calls(words: Sequence[str]) -> Counter[str]:
    """Count the calls.

    One whose process died before it was stored counts once with its second time. So does one that failed, because an
    exception is stored with the next step only.
    """
    crash = next(index for index, word in enumerate(words) if word.startswith("crash-"))
    before, after = list(words[:crash]), list(words[crash + 1 :])
    failed = {word for word in before if word.startswith("failing-")}
    after = [word for word in after if word not in failed]
    if words[crash] == "crash-before" and before and before[-1:] == after[:1]:
        after.pop(0)
    return Counter(before + after)
