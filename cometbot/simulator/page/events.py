"""The page's event stream: log entries as they come, and each board whenever it has changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from cometbot.http.sse import PING, PING_INTERVAL
from cometbot.simulator.page import boards

if TYPE_CHECKING:
    from cometbot.simulator.simulator import Simulator

LOOK = 0.25
"""Seconds between two looks at the boards, which nobody rings a bell for."""

BATCH = 500


class Events:
    """The stream of a page. ``after`` is the id of the last entry that the page has.

    With ``once`` it ends when all is said that there is by now, for a page that polls.
    """

    def __init__(self, simulator: Simulator, after: int, stopping: threading.Event, *, once: bool = False) -> None:
        self._simulator = simulator
        self._after = after
        self._stopping = stopping
        self._once = once
        self._shown: dict[str, bytes] = {}
        self._handled: Mapping[str, Any] = {}
        bench = simulator.workbench
        self._boards: dict[str, Callable[[], Any]] = {
            "hello": lambda: boards.run_name(simulator),
            "directory": self._directory,
            "rules": lambda: boards.rules(simulator),
            "status": bench.status,
            "output": bench.output,
            "dead": bench.dead_letters,
        }

    def __iter__(self) -> Iterator[bytes]:
        spoke_at = time.monotonic()
        yield b"retry: 1000\n\n"
        while not self._stopping.is_set():
            frames = b"".join(self._news())
            if self._once and not frames:
                return
            if not frames and time.monotonic() - spoke_at > PING_INTERVAL:
                frames = PING
            if frames:
                spoke_at = time.monotonic()
            yield frames  # an empty one lets the server see whether the page is still there
            if not self._once:
                self._wait()

    def _news(self) -> Iterator[bytes]:
        for name, look in self._boards.items():
            shown = orjson.dumps(look(), default=_plain)
            if self._shown.get(name) != shown:
                self._shown[name] = shown
                yield _frame(name, shown)
        world = self._simulator.world
        for entry in world.journal.since(self._after, BATCH):
            self._after = entry.id
            yield _frame("entry", orjson.dumps(boards.entry_json(world, entry), default=_plain), entry.id)
        yield from self._newly_handled()

    def _newly_handled(self) -> Iterator[bytes]:
        now = self._simulator.workbench.handled()
        changed = {name: value for name, value in now.items() if self._handled.get(name) != value}
        self._handled = now
        if changed:
            yield _frame("handled", orjson.dumps(changed, default=_plain))

    def _directory(self) -> dict[str, Any]:
        with self._simulator.world.changed:
            return boards.directory(self._simulator.world)

    def _wait(self) -> None:
        """Until there is another entry, or it is time to look at the boards."""
        journal = self._simulator.world.journal
        with self._simulator.world.changed:
            self._simulator.world.changed.wait_for(lambda: journal.last_id > self._after, LOOK)


def _frame(event: str, data: bytes, entry_id: int = 0) -> bytes:
    head = f"id: {entry_id}\n" if entry_id else ""
    return f"{head}event: {event}\ndata: ".encode() + data + b"\n\n"


def _plain(value: Any) -> Any:
    return dict(value) if hasattr(value, "keys") else list(value)
