"""Callbacks acknowledged a second, stored durably, beside a bare Flask view and Slack Bolt, which store nothing."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.load import Load, press
from benchmarks.payloads import BOT, Requests, callbacks, slack_events
from benchmarks.servers import Server, serve_cometbot, serve_peer
from benchmarks.tables import table

CONNECTIONS = 16
BARE, BOLT = "bare Flask view, reads JSON", "Slack Bolt, Flask adapter"
STORING, HANDLING = "cometbot, handlers off", "cometbot, handlers on"
_WARM_UP = 0.5
_DRAIN = 60.0


@dataclass
class Mode:
    """One server under load: what it did with 16 connections, round by round, and with one."""

    name: str
    serve: Callable[[Path], AbstractContextManager[Server]]
    requests: Callable[[], Requests]
    busy: list[Load] = field(default_factory=list)
    alone: list[Load] = field(default_factory=list)

    def measure(self, server: Server, seconds: float) -> None:
        """Load the server for one round, and let it finish what it has taken in."""
        press(server.port, self.requests(), CONNECTIONS, _WARM_UP)
        self.busy.append(press(server.port, self.requests(), CONNECTIONS, seconds))
        self._drain(server)
        self.alone.append(press(server.port, self.requests(), 1, seconds / 2))
        self._drain(server)

    def _drain(self, server: Server) -> None:
        """Wait until the handlers have nothing left to do, so that they do not slow down who is measured next."""
        end = time.monotonic() + _DRAIN
        while self.name == HANDLING and _waiting(server.database):
            if time.monotonic() > end:
                raise RuntimeError(f"{self.name}: messages still wait after {_DRAIN:g} s")
            time.sleep(0.1)


def modes() -> list[Mode]:
    """What is compared."""
    path = f"/cometchat/{BOT}"
    handling = partial(serve_cometbot, "wsgi:app", COMETBOT_BOT="benchmarks.bots:silent")
    return [
        Mode(BARE, partial(serve_peer, "benchmarks.peers.bare:app"), partial(callbacks, "/events")),
        Mode(BOLT, partial(serve_peer, "benchmarks.peers.bolt:app"), partial(slack_events, "/events")),
        Mode(STORING, partial(serve_cometbot, "benchmarks.bots:storing()"), partial(callbacks, path)),
        Mode(HANDLING, handling, partial(callbacks, path)),
    ]


def run(rounds: int = 9, seconds: float = 2.0) -> str:
    """The table. All servers run side by side and take turns, each round beginning with another one; who has no turn
    is idle."""
    measured = modes()
    with ExitStack() as stack:
        servers = []
        for mode in measured:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cometbot-bench-")))
            servers.append(stack.enter_context(mode.serve(folder)))
        pairs = list(zip(measured, servers, strict=True))
        for number in range(rounds):
            first = number % len(pairs)
            for mode, server in pairs[first:] + pairs[:first]:
                mode.measure(server, seconds)
    by_name = {mode.name: mode for mode in measured}
    rows = [_row(mode, by_name[BARE], by_name[BOLT]) for mode in measured]
    busy = (f"{CONNECTIONS} connections", "acks/s", "p50 ms", "p99 ms", "of bare", "of Bolt")
    return table((*busy, "one connection: p50 ms", "p99 ms", "failed"), rows)


def _row(mode: Mode, bare: Mode, bolt: Mode) -> list[object]:
    return [
        mode.name,
        median(load.rate for load in mode.busy),
        median(load.percentile(0.5) for load in mode.busy),
        median(load.percentile(0.99) for load in mode.busy),
        _ratio(mode, bare),
        _ratio(mode, bolt),
        median(load.percentile(0.5) for load in mode.alone),
        median(load.percentile(0.99) for load in mode.alone),
        sum(load.failed for load in (*mode.busy, *mode.alone)),
    ]


def _ratio(mode: Mode, other: Mode) -> float:
    """The median of the ratios of single rounds, which a machine that grows slower or faster does not move."""
    return median(mine.rate / its.rate for mine, its in zip(mode.busy, other.busy, strict=True))


def _waiting(database: Path) -> bool:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)
    try:
        query = "SELECT 1 FROM mailbox WHERE state IN ('waiting', 'running') LIMIT 1"
        return connection.execute(query).fetchone() is not None
    finally:
        connection.close()


if __name__ == "__main__":
    print(run())
