"""Keeps one process of the bot running: the next one is up before the last one goes."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cometbot.cli.dev.process import STOP_TIMEOUT, BotProcess
from cometbot.cli.dev.reports import BotInfo, Failed, Ready, Report
from cometbot.cli.dev.watching import changes

HOST = "127.0.0.1"

_GRACE = 3.0
_HANDOVER = 3.0
_AT_THE_END = 1.0
_AGAIN = 0.5


class Listener(Protocol):
    """Who is told what becomes of the bot; called in any thread."""

    def started(self, ready: Ready, files: list[Path]) -> None:
        """The bot runs; with ``files`` because these were changed."""

    def failed(self, failed: Failed, files: list[Path]) -> None:
        """The bot could not begin. If there was an old one it goes on."""

    def died(self, status: int) -> None:
        """The bot's process ended by itself, with this exit status; another one is started."""

    def heard(self, report: Report) -> None:
        """The bot logged or printed something."""


class Runner:
    """The bot's processes, one after the other, on one listening socket, so that no callback is refused in between.

    ``port`` 0 is any free one; ``OSError`` is raised where it is taken. ``is_real``: it is the real CometChat that
    calls, with the credentials of the settings.
    """

    def __init__(
        self, spec: str, environ: Mapping[str, str], listener: Listener, *, port: int = 0, is_real: bool = False
    ) -> None:
        self._spec = spec
        self._environ = {**os.environ, **environ}
        self._listener = listener
        self._is_real = is_real
        self._socket = socket.create_server((HOST, port), backlog=128)
        self._socket.set_inheritable(True)
        self._starting = threading.Lock()
        self._stop = threading.Event()
        self._process: BotProcess | None = None
        self._has_failed = False
        self._files: tuple[str, ...] = ()
        self._changes = changes(Path.cwd(), lambda: self._files, self._stop)
        self.bots: tuple[BotInfo, ...] = ()
        """The bots that are served now."""

    @property
    def url(self) -> str:
        """Where the bot's application is, without a slash at the end."""
        return f"http://{HOST}:{self._socket.getsockname()[1]}"

    @property
    def has_given_up(self) -> bool:
        """Whether nothing serves, and nothing will before code changes."""
        return self._process is None and self._has_failed

    @property
    def is_running(self) -> bool:
        """Whether there is a process that serves."""
        return self._process is not None

    def start(self, files: list[Path] | None = None) -> Ready | Failed:
        """What became of a new process. It takes the place of the old one if it serves."""
        with self._starting:
            process = BotProcess(self._listener.heard, self._ended)
            answer = process.start(self._spec, self._socket.fileno(), self._environ, is_real=self._is_real)
            self._files = answer.files or self._files
            self._has_failed = isinstance(answer, Failed)
            if isinstance(answer, Failed):
                self._listener.failed(answer, files or [])
                return answer
            old, self._process = self._process, process
            self.bots = answer.bots
            if old is not None:
                _retire(old)
            self._listener.started(answer, files or [])
        return answer

    def watch(self) -> None:
        """Start a new process whenever code changes, in the background."""
        threading.Thread(target=self._watch, name="cometbot-dev-watch", daemon=True).start()

    def stop(self, patience: float = _AT_THE_END) -> None:
        """End everything; what is in hand gets ``patience`` seconds."""
        self._stop.set()
        with self._starting:
            process, self._process = self._process, None
        if process is not None:
            process.retire(patience)
        self._socket.close()

    def _watch(self) -> None:
        for files in self._changes:
            if not self._stop.is_set():
                self.start(files)

    def _ended(self, process: BotProcess, status: int) -> None:
        if process is not self._process or self._stop.is_set():
            return
        self._process = None
        self._listener.died(status)
        if not self._stop.wait(_AGAIN):
            self.start()


def _retire(old: BotProcess) -> None:
    """Have a process end. Returns when it is gone, or after three seconds, in which it has stopped to take new work."""
    patience = STOP_TIMEOUT + _GRACE
    retiring = threading.Thread(target=old.retire, args=(patience,), name="cometbot-dev-retire")
    retiring.start()
    retiring.join(_HANDOVER)
