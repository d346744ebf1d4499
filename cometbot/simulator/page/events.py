"""The page's event stream: log entries as they occur, and each panel whenever it has changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from cometbot.http.sse import PING, PING_INTERVAL
from cometbot.simulator.page import page_data

if TYPE_CHECKING:
    from cometbot.simulator.simulator import Simulator

POLL_INTERVAL = 0.25
"""Seconds between two checks of the panels, whose changes are not notified."""

ENTRIES_PER_BATCH = 500


class EventStream:
    """The event stream of a page. ``after`` is the id of the last entry that the page has.

    With ``once``, for a page that polls, it ends after the events that exist now.
    """

    def __init__(self, simulator: Simulator, after: int, stopping: threading.Event, *, once: bool = False) -> None:
        self._simulator = simulator
        self._after = after
        self._stopping = stopping
        self._once = once
        self._sent_panels: dict[str, bytes] = {}
        self._handled: Mapping[str, Any] = {}
        bench = simulator.workbench
        self._panels: dict[str, Callable[[], Any]] = {
            "hello": lambda: page_data.run_name(simulator),
            "directory": self._directory,
            "rules": lambda: page_data.active_rules(simulator),
            "status": bench.status,
            "output": bench.output,
            "dead": bench.dead_letters,
        }

    def __iter__(self) -> Iterator[bytes]:
        last_frame_at = time.monotonic()
        yield b"retry: 1000\n\n"
        while not self._stopping.is_set():
            frames = b"".join(self._new_frames())
            if self._once and not frames:
                return
            if not frames and time.monotonic() - last_frame_at > PING_INTERVAL:
                frames = PING
            if frames:
                last_frame_at = time.monotonic()
            yield frames  # an empty one makes the server check whether the page is still connected
            if not self._once:
                self._wait()

    def _new_frames(self) -> Iterator[bytes]:
        for name, look in self._panels.items():
            shown = orjson.dumps(look(), default=_to_json_value)
            if self._sent_panels.get(name) != shown:
                self._sent_panels[name] = shown
                yield _frame(name, shown)
        world = self._simulator.world
        for entry in world.journal.since(self._after, ENTRIES_PER_BATCH):
            self._after = entry.id
            yield _frame("entry", orjson.dumps(page_data.entry_json(world, entry), default=_to_json_value), entry.id)
        yield from self._handled_frames()

    def _handled_frames(self) -> Iterator[bytes]:
        now = self._simulator.workbench.handled()
        changed = {name: value for name, value in now.items() if self._handled.get(name) != value}
        self._handled = now
        if changed:
            yield _frame("handled", orjson.dumps(changed, default=_to_json_value))

    def _directory(self) -> dict[str, Any]:
        with self._simulator.world.condition:
            return page_data.directory(self._simulator.world)

    def _wait(self) -> None:
        """Wait for another entry, or until it is time to check the panels."""
        journal = self._simulator.world.journal
        with self._simulator.world.condition:
            self._simulator.world.condition.wait_for(lambda: journal.last_id > self._after, POLL_INTERVAL)


def _frame(event: str, data: bytes, entry_id: int = 0) -> bytes:
    head = f"id: {entry_id}\n" if entry_id else ""
    return f"{head}event: {event}\ndata: ".encode() + data + b"\n\n"


def _to_json_value(value: Any) -> Any:
    return dict(value) if hasattr(value, "keys") else list(value)
