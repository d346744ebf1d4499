"""The page's event stream: log entries as they occur, and each panel whenever it has changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from cometbot.http.sse import frame
from cometbot.simulator.control import to_json_value
from cometbot.simulator.page import page_data
from cometbot.simulator.simulated_app import SimulatedApp

POLL_INTERVAL = 0.25
"""Seconds between two checks of the panels, whose changes are not notified."""

RUN_POLL_INTERVAL = 0.05
"""The same while an agent is writing."""

ENTRIES_PER_BATCH = 500


class EventStream:
    """The source of a page's event stream. ``after`` is the id of the last entry that the page has.

    With ``once``, for a page that polls, it ends after the events that exist now.
    """

    def __init__(self, simulator: SimulatedApp, after: int, stopping: threading.Event, *, once: bool = False) -> None:
        self._simulator = simulator
        self._after = after
        self._stopping = stopping
        self._once = once
        self._is_closed = False
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
            "dialogs": bench.dialogs,
            "jobs": bench.jobs,
            "runs": lambda: page_data.agent_runs(simulator),
            "moderation": simulator.moderator.to_json,
        }

    @property
    def is_closed(self) -> bool:
        """True if no more frames follow."""
        return self._is_closed or self._stopping.is_set()

    def get(self, timeout: float) -> bytes | None:
        """Return the frames of everything that has changed, or None if nothing changes within ``timeout`` seconds."""
        ends_at = time.monotonic() + timeout
        while not self.is_closed:
            if frames := b"".join(self._new_frames()):
                return frames
            if self._once:
                self.close()
            elif time.monotonic() >= ends_at:
                break
            else:
                self._wait()
        return None

    def close(self) -> None:
        """End the stream."""
        self._is_closed = True

    def _new_frames(self) -> Iterator[bytes]:
        for name, load in self._panels.items():
            shown = orjson.dumps(load(), default=to_json_value)
            if self._sent_panels.get(name) != shown:
                self._sent_panels[name] = shown
                yield frame(shown, name)
        world = self._simulator.world
        for entry in world.journal.since(self._after, ENTRIES_PER_BATCH):
            self._after = entry.id
            data = orjson.dumps(page_data.entry_json(world, entry), default=to_json_value)
            yield frame(data, "entry", entry.id)
        yield from self._handled_frames()

    def _handled_frames(self) -> Iterator[bytes]:
        now = self._simulator.workbench.handled()
        changed = {name: value for name, value in now.items() if self._handled.get(name) != value}
        self._handled = now
        if changed:
            yield frame(orjson.dumps(changed, default=to_json_value), "handled")

    def _directory(self) -> dict[str, Any]:
        with self._simulator.world.condition:
            return page_data.directory(self._simulator.world)

    def _wait(self) -> None:
        """Wait for another entry, or until it is time to check the panels."""
        journal = self._simulator.world.journal
        interval = POLL_INTERVAL if self._simulator.agent_runs.is_idle else RUN_POLL_INTERVAL
        with self._simulator.world.condition:
            self._simulator.world.condition.wait_for(lambda: journal.last_id > self._after, interval)
