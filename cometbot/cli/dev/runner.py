"""Runs the bot in a process and replaces it when code changes: the next process serves before the old one ends."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cometbot.cli.dev.bot_process import STOP_TIMEOUT, BotProcess
from cometbot.cli.dev.file_watcher import watch_changes
from cometbot.cli.dev.reports import BotInfo, Failed, Ready, Report

HOST = "127.0.0.1"

_STOP_GRACE_TIMEOUT = 3.0
_HANDOVER_TIMEOUT = 3.0
_FINAL_STOP_TIMEOUT = 1.0
_RESTART_INTERVAL = 0.5


class ProcessListener(Protocol):
    """Receives the events of the bot's processes, in any thread."""

    def started(self, ready: Ready, files: list[Path]) -> None:
        """Handle the start of a process, because ``files`` changed if there are any."""

    def failed(self, failed: Failed, files: list[Path]) -> None:
        """Handle a failed start. An old process, if any, continues to serve."""

    def exited(self, status: int) -> None:
        """Handle the unexpected end of the process with this exit status. Another one is started."""

    def reported(self, report: Report) -> None:
        """Handle any other report of the bot."""


class BotRunner:
    """The bot's consecutive processes on one listening socket, so that no callback is refused between them.

    ``port`` 0 chooses a free one; a port that is in use raises ``OSError``. With ``is_real`` the caller is the real
    CometChat, with the credentials of the settings.
    """

    def __init__(
        self, spec: str, environ: Mapping[str, str], listener: ProcessListener, *, port: int = 0, is_real: bool = False
    ) -> None:
        self._spec = spec
        self._environ = {**os.environ, **environ}
        self._listener = listener
        self._is_real = is_real
        self._socket = socket.create_server((HOST, port), backlog=128)
        self._socket.set_inheritable(True)
        self._start_lock = threading.Lock()
        self._stop = threading.Event()
        self._process: BotProcess | None = None
        self._has_failed = False
        self._files: tuple[str, ...] = ()
        self._changes = watch_changes(Path.cwd(), lambda: self._files, self._stop)
        self.bots: tuple[BotInfo, ...] = ()
        """The bots that are served now."""

    @property
    def url(self) -> str:
        """The URL of the bot's application, without a trailing slash."""
        return f"http://{HOST}:{self._socket.getsockname()[1]}"

    @property
    def has_given_up(self) -> bool:
        """True if no process serves, and none will before code changes."""
        return self._process is None and self._has_failed

    @property
    def is_running(self) -> bool:
        """True if a process serves."""
        return self._process is not None

    def start(self, files: list[Path] | None = None) -> Ready | Failed:
        """Start a new process and return its report. If it serves, it replaces the old process."""
        with self._start_lock:
            process = BotProcess(self._listener.reported, self._on_exit)
            report = process.start(self._spec, self._socket.fileno(), self._environ, is_real=self._is_real)
            self._files = report.files or self._files
            self._has_failed = isinstance(report, Failed)
            if isinstance(report, Failed):
                self._listener.failed(report, files or [])
                return report
            old, self._process = self._process, process
            self.bots = report.bots
            if old is not None:
                _stop_in_background(old)
            self._listener.started(report, files or [])
        return report

    def watch(self) -> None:
        """Start a new process whenever code changes, in the background."""
        threading.Thread(target=self._watch, name="cometbot-dev-watch", daemon=True).start()

    def stop(self, timeout: float = _FINAL_STOP_TIMEOUT) -> None:
        """Stop the process and close the socket. Running work has ``timeout`` seconds to finish."""
        self._stop.set()
        with self._start_lock:
            process, self._process = self._process, None
        if process is not None:
            process.stop(timeout)
        self._socket.close()

    def _watch(self) -> None:
        for files in self._changes:
            if not self._stop.is_set():
                self.start(files)

    def _on_exit(self, process: BotProcess, status: int) -> None:
        if process is not self._process or self._stop.is_set():
            return
        self._process = None
        self._listener.exited(status)
        if not self._stop.wait(_RESTART_INTERVAL):
            self.start()


def _stop_in_background(old: BotProcess) -> None:
    """Stop a process in the background. Return when it has ended, or after three seconds.

    By then it has stopped accepting new work.
    """
    timeout = STOP_TIMEOUT + _STOP_GRACE_TIMEOUT
    thread = threading.Thread(target=old.stop, args=(timeout,), name="cometbot-dev-retire")
    thread.start()
    thread.join(_HANDOVER_TIMEOUT)
