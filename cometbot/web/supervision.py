"""Two processes that are one server: gunicorn takes messages in, and a worker beside it handles them."""

from __future__ import annotations

import logging
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from cometbot.errors import ConfigurationError
from cometbot.settings import Settings
from cometbot.web.logs import configure_logging
from cometbot.web.server import BESIDE, READY, REFUSED_RELOAD, forget_metrics, share_metrics
from cometbot.web.trial import check_reload

LONGEST_START = 60.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_HEALTHY = 60.0
"""Seconds after which a child that ends is taken for one that had worked."""

_TO_WEB = (signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1)
_log = logging.getLogger(__name__)


def serve_beside(settings: Settings) -> int:
    """Run gunicorn and one worker until SIGTERM or SIGINT; returns the exit status.

    The worker starts first. If either cannot begin at all it has said why, and both end. Later each is started again
    when it ends, at once and then after growing waits. SIGHUP reloads gunicorn and replaces the worker, if the
    application can be loaded. Both end by themselves when this process is killed.
    """
    configure_logging(settings.log_format, settings.log_level)
    share_metrics()
    patience = max(30.0, math.ceil(settings.body_timeout + settings.stop_timeout)) + 10.0
    worker, web = Child("worker", ["worker"]), Child("web", ["serve", "--no-handlers"])
    try:
        return Supervisor(worker, web, patience, _check_reload).run()
    finally:
        forget_metrics()


class Child:
    """One command of ours as a process of its own, started again when it ends.

    ``starts`` counts how often it began, ``failures`` how often in a row it ended soon after. What has ended may begin
    again at ``starts_at``, in ``time.monotonic()`` seconds. An end is logged as a warning unless ``is_asked_to_end``.
    """

    def __init__(self, name: str, words: Sequence[str]) -> None:
        self.name = name
        self.starts = 0
        self.failures = 0
        self.starts_at = 0.0
        self.is_asked_to_end = False
        self._command = [sys.executable, "-m", "cometbot.cli", *words]
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, **more: str) -> None:
        """Begin. ``more`` goes into its environment; the pipe that this names is handed on."""
        passed = [int(more[READY])] if READY in more else []
        # A session of its own: Ctrl-C in the terminal is for the parent, which tells its children.
        self._process = subprocess.Popen(
            self._command,
            env={**os.environ, BESIDE: str(os.getpid()), **more},
            pass_fds=passed,
            start_new_session=True,
        )
        self._began = time.monotonic()
        self.starts += 1
        self.is_asked_to_end = False

    def take_end(self) -> int | None:
        """The exit status of a process that has ended, once; None if there is no such."""
        status = self._process.poll() if self._process is not None else None
        if status is None:
            return None
        self._process = None
        self.failures = 0 if time.monotonic() - self._began > _HEALTHY else self.failures + 1
        wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** (self.failures - 2)) if self.failures > 1 else 0.0
        self.starts_at = time.monotonic() + wait
        return status

    def tell(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self.is_running and self._process is not None:
            self._process.send_signal(number)

    def end(self, seconds: float) -> None:
        """Wait for its end, which it was told; after so many seconds it is killed."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            _log.error("killed the %s process, which did not end within its time", self.name)
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Supervisor:
    """Keeps a worker and gunicorn alive beside each other, in one thread that sleeps until a signal comes."""

    def __init__(self, worker: Child, web: Child, patience: float, check_reload: Callable[[], None]) -> None:
        self._worker = worker
        self._web = web
        self._children = (worker, web)
        self._patience = patience
        self._check_reload = check_reload
        self._signals = Signals()

    def run(self) -> int:
        """The exit status, after both have ended."""
        try:
            status = self._start()
            while status is None:
                status = self._watch()
        finally:
            self._end_all()
            self._signals.close()
        return status

    def _start(self) -> int | None:
        """Start the worker, and gunicorn when that is at work; an exit status if either cannot."""
        reader, writer = os.pipe()
        try:
            self._worker.start(**{READY: str(writer)})
        finally:
            os.close(writer)
        try:
            status = self._await_worker(reader)
        finally:
            os.close(reader)
        if status is None:
            self._web.start()
        return status

    def _await_worker(self, reader: int) -> int | None:
        end = time.monotonic() + LONGEST_START
        while time.monotonic() < end:
            if self._signals.wait(end - time.monotonic(), reader) and os.read(reader, 1):
                return None
            if self._take_told():
                return 0
            ended = self._worker.take_end()
            if ended is not None:
                return ended if ended > 0 else 1
        _log.error("the worker was not ready after %.0f s", LONGEST_START)
        return 1

    def _watch(self) -> int | None:
        """Sleep until something happens, and see to it; an exit status if that is the end."""
        waiting = [child.starts_at for child in self._children if not child.is_running]
        self._signals.wait(max(0.0, min(waiting) - time.monotonic()) if waiting else None)
        if self._take_told():
            return 0
        for child in self._children:
            ended = child.take_end()
            if ended is not None:
                if child is self._web and child.starts == 1 and child.failures and ended > 0:
                    return ended
                as_asked = child.is_asked_to_end and ended in (0, -signal.SIGTERM)
                level = logging.INFO if as_asked else logging.WARNING
                _log.log(level, "the %s process ended (%s) and is started again", child.name, _describe(ended))
            if not child.is_running and time.monotonic() >= child.starts_at:
                child.start()
        return None

    def _take_told(self) -> bool:
        """Whether a signal said that this is the end; what others say is passed on."""
        is_end = False
        for number in self._signals.take():
            if number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                self._web.tell(number)
                self._worker.tell(signal.SIGTERM)
                is_end = True
            elif number == signal.SIGHUP:
                self._reload()
            elif number in _TO_WEB:
                self._web.tell(number)
        return is_end

    def _reload(self) -> None:
        try:
            self._check_reload()
        except ConfigurationError as error:
            _log.error(REFUSED_RELOAD, str(error).rstrip("."))
            return
        self._web.tell(signal.SIGHUP)
        self._worker.failures = 0
        self._worker.is_asked_to_end = True
        self._worker.tell(signal.SIGTERM)

    def _end_all(self) -> None:
        end = time.monotonic() + self._patience
        for child in self._children:
            child.tell(signal.SIGTERM)
        for child in (self._web, self._worker):
            child.end(end - time.monotonic())


class Signals:
    """The signals that came, to be waited for in one place."""

    _WANTED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD, *_TO_WEB)

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        self._before = {number: signal.signal(number, _ignore) for number in self._WANTED}
        self._fd_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def wait(self, seconds: float | None, *more: int) -> bool:
        """Sleep until a signal comes, one of the files ``more`` can be read, or the time is up.

        Returns whether one of ``more`` can be read.
        """
        ready, _, _ = select.select([self._reader, *more], [], [], seconds)
        return any(file in ready for file in more)

    def take(self) -> list[int]:
        """The signals that came since the last time."""
        try:
            return list(os.read(self._reader, 4096))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Give the signals back."""
        signal.set_wakeup_fd(self._fd_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)


def _check_reload() -> None:
    """Raise :class:`ConfigurationError` if the new worker could not load the application; it reads .env again."""
    check_reload(_create_application, LONGEST_START)


def _create_application() -> None:
    from cometbot.web.app import create_app_from_settings

    create_app_from_settings()


def _ignore(number: int, frame: object) -> None:
    """Nothing: a signal only ends the wait."""


def _describe(status: int) -> str:
    return f"exit status {status}" if status >= 0 else signal.Signals(-status).name
