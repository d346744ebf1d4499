"""Supervises two processes that form one server: gunicorn receives messages, and a worker handles them."""

from __future__ import annotations

import functools
import logging
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

from cometbot.backoff import Backoff
from cometbot.errors import ConfigurationError
from cometbot.settings import Settings
from cometbot.shutdown import handle_signals
from cometbot.web.logs import configure_logging
from cometbot.web.preflight import RELOAD_REFUSED_MESSAGE, check_reload
from cometbot.web.server import (
    READY_PIPE_VARIABLE,
    SUPERVISOR_VARIABLE,
    forget_gauges,
    remove_metrics_folder,
    share_metrics,
)

START_TIMEOUT = 60.0
_RESTART_BACKOFF = Backoff(initial=0.5, maximum=30.0, jitter=0.0)
_HEALTHY_UPTIME = 60.0
"""Seconds of running after which a child's end no longer counts as a failed start."""

_FORWARDED_SIGNALS = (signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1)
_log = logging.getLogger(__name__)


def serve_with_worker(settings: Settings) -> int:
    """Run gunicorn and one worker until SIGTERM, SIGINT or SIGQUIT; return the exit status.

    The worker starts first. If either process fails to start, it has reported the cause, and both end. Later each is
    restarted when it ends: at once, then after increasing delays. SIGHUP reloads gunicorn and replaces the worker, if
    the application can be loaded. Both end by themselves if this process is killed.
    """
    configure_logging(settings.log_format, settings.log_level)
    share_metrics()
    shutdown_timeout = max(30.0, math.ceil(settings.body_timeout + settings.stop_timeout)) + 10.0
    worker, web = ChildProcess("worker", ["worker"]), ChildProcess("web", ["serve", "--no-handlers"])
    try:
        # A new worker reads .env again, and may be unable to load the application.
        check = functools.partial(check_reload, _create_application, START_TIMEOUT)
        return Supervisor(worker, web, shutdown_timeout, check).run()
    finally:
        remove_metrics_folder()


class ChildProcess:
    """A ``cometbot`` command as a child process that can be restarted.

    ``start_count`` is the number of starts, ``failures`` the number of times in a row that it ended soon after a start.
    A process that has ended may start again at ``restart_at``, in ``time.monotonic()`` seconds. Its end is logged as a
    warning unless ``is_stop_requested`` is true and the status is that of a regular end.
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
        """True if the process has started and not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, **environment: str) -> None:
        """Start the process with ``environment`` added to this one's; pass on the ready pipe that it names, if any."""
        passed_fds = [int(environment[READY_PIPE_VARIABLE])] if READY_PIPE_VARIABLE in environment else []
        # A session of its own: Ctrl-C in the terminal reaches only the parent, which signals its children.
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
        """Return the exit status of the process once after it has ended, else None."""
        status = self._process.poll() if self._process is not None else None
        if status is None or self._process is None:
            return None
        forget_gauges(self._process.pid)
        self._process = None
        self.failures = 0 if time.monotonic() - self._started_at > _HEALTHY_UPTIME else self.failures + 1
        wait = _RESTART_BACKOFF.delay(self.failures - 2) if self.failures > 1 else 0.0
        self.restart_at = time.monotonic() + wait
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, if it is running."""
        if self.is_running and self._process is not None:
            self._process.send_signal(number)

    def wait_or_kill(self, seconds: float) -> None:
        """Wait until the process, which was asked to stop, has ended; kill its group after ``seconds``."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            _log.error("killed the %s process, which did not end in time", self.name)
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Supervisor:
    """Keeps a worker and gunicorn running, in one thread that sleeps until a signal arrives."""

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
        """Run both processes until shutdown; return the exit status."""
        try:
            status = self._start()
            while status is None:
                status = self._wait_and_handle_events()
        finally:
            self._stop_all()
            self._signals.close()
        return status

    def _start(self) -> int | None:
        """Start the worker, and gunicorn once the worker is ready; return None, or an exit status if that failed.

        The status is 0 if a shutdown was requested meanwhile.
        """
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
        _log.error("cannot start the worker: it was not ready after %.0f s", START_TIMEOUT)
        return 1

    def _wait_and_handle_events(self) -> int | None:
        """Wait for a signal or a restart that is due, and handle it; return an exit status if this is the end."""
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
                _log.log(level, "the %s process ended (%s); restarting it", child.name, _describe(exit_status))
            if not child.is_running and time.monotonic() >= child.restart_at:
                child.start()
        return None

    def _handle_signals(self) -> bool:
        """Handle the received signals, or forward them; return whether one of them requests shutdown."""
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
    """The received signals, which one thread waits for.

    It handles the signals of this process until :meth:`close`.
    """

    _HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD, *_FORWARDED_SIGNALS)

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        self._handlers = ExitStack()
        self._handlers.enter_context(handle_signals(dict.fromkeys(self._HANDLED, _ignore), self._writer))

    def wait(self, seconds: float | None, *more: int) -> bool:
        """Sleep until a signal arrives, one of the files ``more`` can be read, or ``seconds`` have passed.

        Returns whether one of ``more`` can be read.
        """
        ready, _, _ = select.select([self._reader, *more], [], [], seconds)
        return any(file in ready for file in more)

    def take(self) -> list[int]:
        """Return the numbers of the signals that arrived since the last call."""
        try:
            return list(os.read(self._reader, 4096))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Restore the previous signal handlers."""
        self._handlers.close()
        os.close(self._reader)
        os.close(self._writer)


def _create_application() -> None:
    from cometbot.web.app import create_app_from_settings

    create_app_from_settings()


def _ignore(number: int, frame: object) -> None:
    """Ignore the signal; its arrival ends the wait of :class:`SignalQueue`."""


def _describe(status: int) -> str:
    return f"exit status {status}" if status >= 0 else signal.Signals(-status).name
