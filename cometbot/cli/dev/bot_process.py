"""The parent's view of one process of the bot."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO

from cometbot.author_error import ErrorReport
from cometbot.cli.dev.reports import Failed, Printed, Ready, Report, read_report

STOP_TIMEOUT = 5.0
"""Timeout in seconds for running handlers when the bot is replaced. Unfinished messages are handled again."""

START_TIMEOUT = 60.0
"""Timeout in seconds for importing a bot."""

REAL_COMETCHAT_ARGUMENT = "real"
"""The argument for a bot's process that the real CometChat calls."""


class BotProcess:
    """A process that serves a bot on an inherited socket. It ends on :meth:`stop`, and when its parent ends.

    ``on_report(report)`` is called in other threads, for every report but the first :class:`Ready` or :class:`Failed`.
    ``on_exit(process, status)`` is called if the process served and then ended without having been stopped.
    """

    def __init__(self, on_report: Callable[[Report], None], on_exit: Callable[[BotProcess, int], None]) -> None:
        self._on_report = on_report
        self._on_exit = on_exit
        self._has_started = threading.Event()
        self._start_report: Ready | Failed | None = None
        self._is_stopping = False
        self._process: subprocess.Popen[str] | None = None

    def start(self, spec: str, listen_fd: int, environ: Mapping[str, str], *, is_real: bool = False) -> Ready | Failed:
        """Start the process and wait until it serves or fails. After :class:`Failed` it has ended."""
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "cometbot.cli.dev.bot_main", spec, str(listen_fd), str(writing)]
        command += [REAL_COMETCHAT_ARGUMENT] * is_real
        self._process = subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
            pass_fds=(listen_fd, writing),
            start_new_session=True,  # the parent handles Ctrl-C
        )
        os.close(writing)
        assert self._process.stdout is not None
        self._read_lines(self._process.stdout, self._handle_output)
        self._read_lines(os.fdopen(reading, encoding="utf-8", errors="replace"), self._handle_report, self._handle_end)
        if not self._has_started.wait(START_TIMEOUT):
            self.kill()
            return Failed(ErrorReport(f"the bot was not ready within {START_TIMEOUT:.0f} s"))
        if isinstance(self._start_report, Ready):
            return self._start_report
        self._is_stopping = True
        status = self._wait()
        return self._start_report or Failed(
            ErrorReport(f"the bot's process exited during its start, with status {status}")
        )

    def stop(self, timeout: float) -> None:
        """Stop the process after its running work. Kills it after ``timeout`` seconds."""
        self._is_stopping = True
        process = self._popen()
        process.terminate()
        try:
            self._wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill the process."""
        self._is_stopping = True
        self._popen().kill()
        self._wait()

    def _wait(self, timeout: float | None = None) -> int:
        process = self._popen()
        status = process.wait(timeout)
        assert process.stdin is not None
        process.stdin.close()
        return status

    def _popen(self) -> subprocess.Popen[str]:
        assert self._process is not None, "start comes first"
        return self._process

    def _read_lines(
        self, source: IO[str], on_line: Callable[[str], None], on_end: Callable[[], None] | None = None
    ) -> None:
        def read() -> None:
            with source, suppress(ValueError):
                for line in source:
                    on_line(line)
            if on_end is not None:
                on_end()

        threading.Thread(target=read, name="cometbot-dev-reader", daemon=True).start()

    def _handle_output(self, line: str) -> None:
        self._on_report(Printed(line.rstrip("\n")))

    def _handle_report(self, line: str) -> None:
        report = read_report(line)
        if isinstance(report, Ready | Failed):
            self._start_report = report
            self._has_started.set()
        else:
            self._on_report(report)

    def _handle_end(self) -> None:
        self._has_started.set()
        status = self._popen().wait()
        if not self._is_stopping and isinstance(self._start_report, Ready):
            self._on_exit(self, status)
