"""Shows the simulator's events as they occur."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Literal

from cometbot.cli.dev.rendering import (
    ActiveChat,
    is_background_call,
    render_callback,
    render_change,
    render_details,
    render_message,
    render_request,
)
from cometbot.cli.dev.screen import Screen
from cometbot.simulator import CallbackEntry, ChangeEntry, Entry, RequestEntry, Simulator

_log = logging.getLogger(__name__)
_POLL_INTERVAL = 0.5
_FLUSH_TIMEOUT = 5.0

TrafficDetail = Literal["on", "full", "off"]
TRAFFIC_DETAILS: tuple[TrafficDetail, ...] = ("on", "full", "off")


class EventFeed:
    """Shows the new entries of the simulator's journal, in its own thread.

    ``callbacks`` and ``calls`` control how callbacks and REST calls are shown: one line each (``on``), with headers and
    bodies (``full``), or not at all (``off``). Background calls of the bot's process are shown only with ``full``.
    Messages typed in this terminal are not shown again, see :meth:`hide`.
    """

    def __init__(
        self, simulator: Simulator, screen: Screen, active_chat: Callable[[], ActiveChat], detail: TrafficDetail
    ) -> None:
        self.callbacks: TrafficDetail = detail
        self.calls: TrafficDetail = detail
        self._simulator = simulator
        self._screen = screen
        self._active_chat = active_chat
        self._seen = simulator.world.journal.last_id
        self._hidden: set[str] = set()
        self._stop = threading.Event()
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="cometbot-dev-feed", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Show the remaining entries, then stop."""
        self.flush(_FLUSH_TIMEOUT)
        self._stop.set()
        self._thread.join(2 * _POLL_INTERVAL)

    def hide(self, message_id: str) -> None:
        """Do not show this message, which is on the screen already. Must be called with the world's lock held."""
        self._hidden.add(message_id)

    def flush(self, timeout: float) -> None:
        """Wait until all entries so far are shown, at most ``timeout`` seconds."""
        target = self._simulator.world.journal.last_id
        with self._progress:
            self._progress.wait_for(lambda: self._seen >= target, timeout)

    def _run(self) -> None:
        journal = self._simulator.world.journal
        while not self._stop.is_set():
            try:
                self._simulator.wait_for(lambda _: journal.last_id > self._seen or self._stop.is_set(), _POLL_INTERVAL)
            except TimeoutError:
                continue
            newest = journal.last_id
            for entry in journal.since(self._seen):
                self._show_safely(entry)
                self._mark_seen(entry.id)
            self._mark_seen(newest if self._seen < newest and not journal.since(self._seen) else self._seen)

    def _mark_seen(self, seen: int) -> None:
        with self._progress:
            self._seen = seen
            self._progress.notify_all()

    def _show_safely(self, entry: Entry) -> None:
        try:
            self._show(entry)
        except Exception:
            _log.exception("cannot show an event of the simulator")

    def _show(self, entry: Entry) -> None:
        if isinstance(entry, ChangeEntry):
            self._show_change(entry.trigger, entry.data)
        elif isinstance(entry, CallbackEntry) and self.callbacks != "off":
            self._screen.show(render_callback(entry), crop=True)
            if self.callbacks == "full":
                self._screen.show(render_details(entry))
        elif isinstance(entry, RequestEntry) and self._is_shown(entry):
            self._screen.show(render_request(entry), crop=True)
            if self.calls == "full":
                self._screen.show(render_details(entry))

    def _is_shown(self, entry: RequestEntry) -> bool:
        return self.calls == "full" or (self.calls == "on" and not is_background_call(f"{entry.method} {entry.path}"))

    def _show_change(self, trigger: str, data: Mapping[str, Any]) -> None:
        if trigger == "message_sent":
            message = data["message"]
            if message["id"] not in self._hidden:
                self._screen.show(render_message(message, self._active_chat()))
            return
        shown = render_change(trigger, data)
        if shown is not None:
            self._screen.show(shown)
