"""The data about the bot for the simulator's page: its process, its output, and its messages."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from cometbot.author_error import display_path
from cometbot.cli.dev.reports import Failed, Logged, Printed, Ready, Report
from cometbot.delivery import Delivery
from cometbot.errors import DeliveryError, StoreBusy
from cometbot.inspection.stored_messages import list_recent_events
from cometbot.simulator.workbench import Workbench
from cometbot.steps import OPEN

T = TypeVar("T")

MAX_LINES = 300

_MAX_BROADCASTS = 20
"""The newest broadcasts, which the page shows among the jobs."""


class DevWorkbench(Workbench):
    """Collects the events of the bot's processes, from any thread, and provides them to any number of pages."""

    def __init__(self, spec: str, delivery: Delivery) -> None:
        self._spec = spec
        self._delivery = delivery
        self._lock = threading.Lock()
        self._lines: deque[dict[str, Any]] = deque(maxlen=MAX_LINES)
        self._numbers = itertools.count(1)
        self._starts = 0
        self._files: list[str] = []
        self._failed: Failed | None = None
        self._is_running = False
        self._commands: dict[str, list[dict[str, str]]] = {}
        self._uids: dict[str, str] = {}

    def started(self, ready: Ready, files: Sequence[Path], agents: Mapping[str, str] | None = None) -> None:
        """Record that a new process serves these bots, because ``files`` changed if there are any.

        ``agents`` maps names of bots to the uids of their agents, which have the same commands.
        """
        with self._lock:
            self._starts += 1
            self._failed, self._is_running, self._files = None, True, [display_path(file) for file in files]
            commands = {bot.name: [asdict(command) for command in bot.commands] for bot in ready.bots}
            self._commands = {bot.uid.lower(): commands[bot.name] for bot in ready.bots}
            self._commands |= {uid: commands[name] for name, uid in (agents or {}).items() if name in commands}
            self._uids = {bot.name: bot.uid.lower() for bot in ready.bots}

    def failed(self, failed: Failed, files: Sequence[Path]) -> None:
        """Record that a new process could not start. An old process, if any, continues to serve."""
        with self._lock:
            self._failed, self._files = failed, [display_path(file) for file in files]

    def exited(self) -> None:
        """Record that the process ended unexpectedly."""
        with self._lock:
            self._is_running = False

    def reported(self, report: Report) -> None:
        """Record a log record or an output line of the bot."""
        if isinstance(report, Printed):
            self._add_line("print", report.text)
        elif isinstance(report, Logged):
            fault = report.fault
            text = f"{report.text}: {fault.text}" if fault else report.text
            self._add_line(logging.getLevelName(report.level).lower(), text, fault.trace if fault else "")

    def status(self) -> Mapping[str, Any]:
        with self._lock:
            return {
                "state": "running" if self._is_running else "failed",
                "bot": self._spec,
                "starts": self._starts,
                "files": self._files,
                "fault": asdict(self._failed.fault) if self._failed else None,
                "commands": self._commands,
            }

    def output(self) -> Sequence[Mapping[str, Any]]:
        with self._lock:
            return list(self._lines)

    def handled(self) -> Mapping[str, Mapping[str, Any]]:
        found = self._read(lambda: list_recent_events(self._delivery.database))
        with self._lock:
            uids = dict(self._uids)
        return {
            f"{uids.get(row.bot, row.bot.lower())}/{row.event.removeprefix('message:')}": {
                "state": row.state,
                "handler": row.handler,
                "error": row.error,
                "seconds": row.seconds,
                "event": row.id,
            }
            for row in found
            if row.event.startswith("message:")
        }

    def dead_letters(self) -> Sequence[Mapping[str, Any]]:
        return [asdict(letter) for letter in self._read(lambda: self._delivery.dead_letters.list())]

    def dialogs(self) -> Sequence[Mapping[str, Any]]:
        found = self._read(lambda: self._delivery.dialogs.list())
        return [asdict(dialog) for dialog in found if dialog.status == OPEN]

    def expire(self, name: str) -> bool:
        try:
            self._delivery.expire_dialog(name)
        except DeliveryError:
            return False
        return True

    def jobs(self) -> Sequence[Mapping[str, Any]]:
        jobs = self._read(lambda: self._delivery.jobs.list())
        broadcasts = self._read(lambda: self._delivery.broadcasts.list(limit=_MAX_BROADCASTS))
        return [*map(asdict, jobs), *map(asdict, broadcasts)]

    def run_job(self, name: str) -> bool:
        try:
            self._delivery.run_job(name)
        except DeliveryError:
            return False
        return True

    def retry(self, name: str) -> bool:
        return self._delivery.retry(name)

    def discard(self, name: str) -> bool:
        return self._delivery.dead_letters.discard(name)

    def _read(self, query: Callable[[], list[T]]) -> list[T]:
        """Return the result of ``query`` on the bot's database, or [] while the database does not exist or is busy.

        The bot creates the database at its start, and it is deleted at the end of the run.
        """
        if not self._starts:
            return []
        try:
            return query()
        except StoreBusy:
            return []

    def _add_line(self, level: str, text: str, trace: str = "") -> None:
        with self._lock:
            self._lines.append(
                {"id": next(self._numbers), "at": time.time(), "level": level, "text": text, "trace": trace}
            )
