"""The SQL statements, commits and syncs of one message, from the callback until all that it causes is done.

A process of its own handles some messages on a database and prints the median count of each transaction. Transactions
that are also run without a message belong to tasks that run by the clock, and are left out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from statistics import median_low
from typing import TYPE_CHECKING, Any

from tests.postgres_server import SETTINGS, PostgresServer

if TYPE_CHECKING:
    from flask import Flask

MESSAGES = 13
QUIET = 0.6
"""Seconds without a statement after which a message is over."""

IDLE = 6.0
"""Seconds in which all tasks run that run by the clock, and often."""

_LOGGED = ("log_min_messages=log", "log_statement=all", "log_line_prefix=%p:", "log_parameter_max_length=0")
_ENTRY = re.compile(r"^(\d+):LOG:  (?:execute [^:]*|statement): (.*(?:\n\t.*)*)", re.MULTILINE)
_VALUE = re.compile(r"'(?:[^']|'')*'|\bx'[0-9a-f]*'|(?<![\w$.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?\b", re.IGNORECASE)

Run = tuple[str, str]
"""A connection and a statement that was run on it."""

Read = Callable[[], list[Run]]
"""Returns what was run so far."""


def statements() -> str:
    """Return what one message costs on SQLite and on PostgreSQL."""
    server = PostgresServer((*SETTINGS, *_LOGGED))
    try:
        server.start()
        log = Path(server.socket).parent / "log"
        kinds = {"sqlite": [""], "postgresql": [server.url(), str(log)]}
        return "".join(f"{kind}\n{_run(arguments)}" for kind, arguments in kinds.items())
    finally:
        server.stop()


def _run(arguments: list[str]) -> str:
    command = [sys.executable, "-m", "tests.snapshot.statements", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=300).stdout


def normalise(statement: str) -> str:
    """Return a statement on one line with placeholders for its values."""
    line = " ".join(_VALUE.sub("?", statement).split())
    return re.sub(r"\$\d+|%\(\w+\)s", "?", line) or "(empty statement)"


def transactions(runs: list[Run]) -> list[str]:
    """Return the transactions of all connections, each statement on a line; what is run outside of one is its own."""
    done, begun = [], dict[str, list[str]]()
    for connection, statement in runs:
        line = normalise(statement)
        open_one = begun.pop(connection, [])
        is_open = (open_one or line.startswith("BEGIN")) and line not in ("COMMIT", "ROLLBACK")
        if is_open:
            begun[connection] = [*open_one, line]
        else:
            done.append("\n    ".join([*open_one, line]))
    return done


def typical_round(rounds: list[list[str]]) -> list[str]:
    """Return what is in most rounds, sorted, each with its median count."""
    counted = [Counter(one) for one in rounds]
    medians = {text: median_low(one[text] for one in counted) for text in sorted({*chain(*counted)})}
    return [f"{count} x {text}" for text, count in medians.items() if count]


def handle_messages(url: str, log: str) -> Iterator[str]:
    """Yield the lines about the database ``url``; empty: a new SQLite file."""
    syncs: list[str] = []
    sync = os.fdatasync

    def counted(file: int) -> None:
        syncs.append("(sync of the write-ahead log)")
        sync(file)

    # Set before cometbot is imported, which takes the function as it is then.
    os.fdatasync = counted
    with _recorded(log) as read, conversation(url) as (_, say):
        rounds = []
        for number in range(MESSAGES):
            begin, synced = len(read()), len(syncs)
            say(f"message {number}")
            _wait_quiet(read)
            rounds.append(transactions(read()[begin:]) + syncs[synced:])
        begin = len(read())
        time.sleep(IDLE)
        idle = {*transactions(read()[begin:])}
    yield from typical_round([[one for one in own if one not in idle] for own in rounds[2:]])


@contextmanager
def _recorded(log: str) -> Iterator[Read]:
    """Read what the server logs, or what all connections to SQLite in this process run."""
    if log:
        yield lambda: _ENTRY.findall(Path(log).read_text())
        return
    import sqlalchemy as sa
    from sqlalchemy.pool import Pool

    seen: list[Run] = []

    def attach(connection: Any, _: Any) -> None:
        connection.set_trace_callback(lambda statement: seen.append((str(id(connection)), statement)))

    sa.event.listen(Pool, "connect", attach)
    yield lambda: list(seen)
    sa.event.remove(Pool, "connect", attach)


def _wait_quiet(read: Read) -> None:
    length, since = len(read()), time.monotonic()
    end = since + 30
    while time.monotonic() < min(since + QUIET, end):
        time.sleep(0.05)
        if (now := len(read())) != length:
            length, since = now, time.monotonic()


@contextmanager
def conversation(url: str = "") -> Iterator[tuple[Flask, Callable[[str], None]]]:
    """Serve a bot to a simulated CometChat; with the application comes a function that waits for a reply to a text."""
    from cometbot.simulator import Simulator
    from cometbot.simulator.server import HOST, LoopbackServer
    from cometbot.store.factory import database_from_url
    from cometbot.temporary_folders import TemporaryFolder
    from tests.snapshot.site import ENVIRONMENT, make_app, make_bot

    with TemporaryFolder("snapshot") as folder, Simulator() as simulator:
        environment = {
            **ENVIRONMENT,
            "COMETBOT_CHANNELS": "cometchat",
            "COMETCHAT_APP_ID": simulator.app_id,
            "COMETCHAT_API_KEY": simulator.api_key,
            "COMETCHAT_API_URL": simulator.api_url,
            "COMETBOT_DATABASE_URL": url or f"sqlite:///{folder}/bot.db",
        }
        with closing(database_from_url(environment["COMETBOT_DATABASE_URL"])) as made:
            made.upgrade()
        # A worker's part, in this process: web processes leave messages on PostgreSQL to workers.
        with make_app(folder, environment, make_bot()) as app, _worker(folder, environment, bool(url)):
            server = LoopbackServer(app, 0)
            address = f"http://{HOST}:{server.port}/cometchat/helpdesk"
            username, password = environment["COMETBOT_CALLBACK_USERNAME"], environment["COMETBOT_CALLBACK_PASSWORD"]
            simulator.add_bot("helpdesk", address, username=username, password=password)
            maria = simulator.user("maria")

            def say(text: str) -> None:
                simulator.wait_reply(maria.say(text, to="helpdesk"), timeout=60)

            yield app, say
            server.stop()
            server.server_close()


@contextmanager
def _worker(folder: Path, environment: dict[str, str], is_needed: bool) -> Iterator[None]:
    if not is_needed:
        yield
        return
    file = folder / "bots.py"
    file.write_text("from tests.snapshot.site import make_bot\nbot = make_bot()\n")
    command = [sys.executable, "-m", "cometbot.cli", "worker", f"{file}:bot"]
    process = subprocess.Popen(command, env={**os.environ, **environment, "COMETBOT_LOG_LEVEL": "critical"})
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


if __name__ == "__main__":
    print("\n".join(handle_messages(*[*sys.argv[1:], ""][:2])))
