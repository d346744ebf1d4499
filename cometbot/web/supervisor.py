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
from cometbot.web.preflight import check_reload
from cometbot.web.server import (
    READY_PIPE_VARIABLE,
    RELOAD_REFUSED_MESSAGE,
    SUPERVISOR_VARIABLE,
    remove_metrics_folder,
    share_metrics,
)

START_TIMEOUT = 60.0
_MIN_RESTART_DELAY, _MAX_RESTART_DELAY = 0.5, 30.0
_HEALTHY_UPTIME = 60.0
"""Seconds after which a child that ends is taken for one that had worked."""

_FORWARDED_SIGNALS = (signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1)
_log = logging.getLogger(__name__)


def serve_with_worker(settings: Settings) -> int:
    """Run gunicorn and one worker until SIGTERM or SIGINT; returns the exit status.

    The worker starts first. If either cannot begin at all it has said why, and both end. Later each is started again
    when it ends, at once and then after growing waits. SIGHUP reloads gunicorn and replaces the worker, if the
    application can be loaded. Both end by themselves when this process is killed.
    """
    configure_logging(settings.log_format, settings.log_level)
    share_metrics()
    shutdown_timeout = max(30.0, math.ceil(settings.body_timeout + settings.stop_timeout)) + 10.0
    worker, web = ChildProcess("worker", ["worker"]), ChildProcess("web", ["serve", "--no-handlers"])
    try:
        return Supervisor(worker, web, shutdown_timeout, _check_reload).run()
    finally:
        remove_metrics_folder()


class ChildProcess:
    """One command of ours as a process of its own, started again when it ends.

    ``start_count`` counts how often it began, ``failures`` how often in a row it ended soon after. What has ended may
    begin again at ``restart_at``, in ``time.monotonic()`` seconds. An end is logged as a warning unless
    ``is_stop_requested``.
    """

    def __init__(self, name: str, arguments: Sequence[str]) -> None:
        self.name = name
        self.start_count = 0
        self.failures = 0
        self.restart_at = 0.0
        self.is_stop_requested = False
        self._command = [sys.executable, "-m", "cometbot.cli", *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, **environment: str) -> None:
        """Begin. ``more`` goes into its environment; the pipe that this names is handed on."""
        passed_fds = [int(environment[READY_PIPE_VARIABLE])] if READY_PIPE_VARIABLE in environment else []
        # A session of its own: Ctrl-C in the terminal is for the parent, which tells its children.
        self._process = subprocess.Popen(
            self._command,
            env={**os.environ, SUPERVISOR_VARIABLE: str(os.getpid()), **environment},
            pass_fds=passed_fds,
            start_new_session=True,
        )
        self._started_at = time.monotonic()
        self.start_count += 1
        self.is_stop_requested = False

    def reap(self) -> int | None:
        """The exit status of a process that has ended, once; None if there is no such."""
        status = self._process.poll() if self._process is not None else None
        if status is None:
            return None
        self._process = None
        self.failures = 0 if time.monotonic() - self._started_at > _HEALTHY_UPTIME else self.failures + 1
        wait = min(_MAX_RESTART_DELAY, _MIN_RESTART_DELAY * 2.0 ** (self.failures - 2)) if self.failures > 1 else 0.0
        self.restart_at = time.monotonic() + wait
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self.is_running and self._process is not None:
            self._process.send_signal(number)

    def wait_or_kill(self, seconds: float) -> None:
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

    def __init__(
        self, worker: ChildProcess, web: ChildProcess, shutdown_timeout: float, check_reload: Callable[[], None]
    ) -> None:
        self._worker = worker
        self._web = web
        self._children = (worker, web)
        self._shutdown_timeout = shutdown_timeout
        self._check_reload = check_reload
        self._signals = SignalQueue()

    def run(self) -> int:
        """The exit status, after both have ended."""
        try:
            status = self._start()
            while status is None:
                status = self._wait_and_handle_events()
        finally:
            self._stop_all()
            self._signals.close()
        return status

    def _start(self) -> int | None:
        """Start the worker, and gunicorn when that is at work; an exit status if either cannot."""
        reader, writer = os.pipe()
        try:
            self._worker.start(**{READY_PIPE_VARIABLE: str(writer)})
        finally:
            os.close(writer)
        try:
            status = self._wait_for_worker(reader)
        finally:
            os.close(reader)
        if status is None:
            self._web.start()
        return status

    def _wait_for_worker(self, reader: int) -> int | None:
        end = time.monotonic() + START_TIMEOUT
        while time.monotonic() < end:
            if self._signals.wait(end - time.monotonic(), reader) and os.read(reader, 1):
                return None
            if self._handle_signals():
                return 0
            exit_status = self._worker.reap()
            if exit_status is not None:
                return exit_status if exit_status > 0 else 1
        _log.error("the worker was not ready after %.0f s", START_TIMEOUT)
        return 1

    def _wait_and_handle_events(self) -> int | None:
        """Sleep until something happens, and see to it; an exit status if that is the end."""
        waiting = [child.restart_at for child in self._children if not child.is_running]
        self._signals.wait(max(0.0, min(waiting) - time.monotonic()) if waiting else None)
        if self._handle_signals():
            return 0
        for child in self._children:
            exit_status = child.reap()
            if exit_status is not None:
                if child is self._web and child.start_count == 1 and child.failures and exit_status > 0:
                    return exit_status
                is_expected = child.is_stop_requested and exit_status in (0, -signal.SIGTERM)
                level = logging.INFO if is_expected else logging.WARNING
                _log.log(level, "the %s process ended (%s) and is started again", child.name, _describe(exit_status))
            if not child.is_running and time.monotonic() >= child.restart_at:
                child.start()
        return None

    def _handle_signals(self) -> bool:
        """Whether a signal said that this is the end; what others say is passed on."""
        is_shutdown = False
        for number in self._signals.take():
            if number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                self._web.send_signal(number)
                self._worker.send_signal(signal.SIGTERM)
                is_shutdown = True
            elif number == signal.SIGHUP:
                self._reload()
            elif number in _FORWARDED_SIGNALS:
                self._web.send_signal(number)
        return is_shutdown

    def _reload(self) -> None:
        try:
            self._check_reload()
        except ConfigurationError as error:
            _log.error(RELOAD_REFUSED_MESSAGE, str(error).rstrip("."))
            return
        self._web.send_signal(signal.SIGHUP)
        self._worker.failures = 0
        self._worker.is_stop_requested = True
        self._worker.send_signal(signal.SIGTERM)

    def _stop_all(self) -> None:
        end = time.monotonic() + self._shutdown_timeout
        for child in self._children:
            child.send_signal(signal.SIGTERM)
        for child in (self._web, self._worker):
            child.wait_or_kill(end - time.monotonic())


class SignalQueue:
    """The signals that came, to be waited for in one place."""

    _HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD, *_FORWARDED_SIGNALS)

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        self._previous_handlers = {number: signal.signal(number, _ignore) for number in self._HANDLED}
        self._previous_wakeup_fd = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

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
        signal.set_wakeup_fd(self._previous_wakeup_fd)
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)


def _check_reload() -> None:
    """Raise :class:`ConfigurationError` if the new worker could not load the application; it reads .env again."""
    check_reload(_create_application, START_TIMEOUT)


def _create_application() -> None:
    from cometbot.web.app import create_app_from_settings

    create_app_from_settings()


def _ignore(number: int, frame: object) -> None:
    """Nothing: a signal only ends the wait."""


def _describe(status: int) -> str:
    return f"exit status {status}" if status >= 0 else signal.Signals(-status).name
