"""One run of the bot in a process of its own, seen from the parent."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO

from cometbot.cli.dev.reports import Failed, Printed, Ready, Report, read_report
from cometbot.faults import Fault

STOP_TIMEOUT = 5.0
"""Seconds that running handlers get when the bot is replaced; what they had in hand is handled again."""

START_TIMEOUT = 60.0
"""Seconds that importing a bot may take."""

REAL = "real"
"""The argument that tells the bot's process that the real CometChat calls it."""


class BotProcess:
    """A process that serves a bot on an inherited socket. It ends when it is told to, and when its parent ends.

    ``hear(report)`` is called in other threads, for all but the first :class:`Ready` or :class:`Failed`; ``ended``
    when the process ended without having been told.
    """

    def __init__(self, hear: Callable[[Report], None], ended: Callable[[BotProcess, int], None]) -> None:
        self._hear = hear
        self._ended = ended
        self._answered = threading.Event()
        self._answer: Ready | Failed | None = None
        self._told = False
        self._process: subprocess.Popen[str] | None = None

    def start(self, spec: str, listening: int, environ: Mapping[str, str], *, is_real: bool = False) -> Ready | Failed:
        """What became of it: it serves, or it could not begin and is gone."""
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "cometbot.cli.dev.child", spec, str(listening), str(writing)]
        command += [REAL] * is_real
        self._process = subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
            pass_fds=(listening, writing),
            start_new_session=True,  # Ctrl-C in the terminal is the parent's business
        )
        os.close(writing)
        assert self._process.stdout is not None
        self._read(self._process.stdout, self._take_output)
        self._read(os.fdopen(reading, encoding="utf-8", errors="replace"), self._take_report, self._take_end)
        if not self._answered.wait(START_TIMEOUT):
            self.kill()
            return Failed(Fault(f"the bot is not ready after {START_TIMEOUT:.0f} seconds of importing it"))
        if isinstance(self._answer, Ready):
            return self._answer
        self._told = True
        status = self._wait()
        return self._answer or Failed(Fault(f"the bot's process ended while it began, with the status {status}"))

    def retire(self, patience: float) -> None:
        """Have it finish what it has in hand, and end; within ``patience`` seconds, or it is killed."""
        self._told = True
        process = self._running()
        process.terminate()
        try:
            self._wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._told = True
        self._running().kill()
        self._wait()

    def _wait(self, patience: float | None = None) -> int:
        process = self._running()
        status = process.wait(patience)
        assert process.stdin is not None
        process.stdin.close()
        return status

    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None, "start comes first"
        return self._process

    def _read(self, source: IO[str], take: Callable[[str], None], end: Callable[[], None] | None = None) -> None:
        def read() -> None:
            with source, suppress(ValueError):
                for line in source:
                    take(line)
            if end is not None:
                end()

        threading.Thread(target=read, name="cometbot-dev-reader", daemon=True).start()

    def _take_output(self, line: str) -> None:
        self._hear(Printed(line.rstrip("\n")))

    def _take_report(self, line: str) -> None:
        report = read_report(line)
        if isinstance(report, Ready | Failed):
            self._answer = report
            self._answered.set()
        else:
            self._hear(report)

    def _take_end(self) -> None:
        self._answered.set()
        status = self._running().wait()
        if not self._told and isinstance(self._answer, Ready):
            self._ended(self, status)
