"""Checks the application and the database of the settings before a server starts or reloads."""

from __future__ import annotations

import errno
import functools
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from cometbot.author_error import ErrorReport
from cometbot.errors import ConfigurationError, StoreBusy, StoreUnavailable
from cometbot.settings import Settings
from cometbot.store.factory import check_persistent, database_from_url
from cometbot.temporary_folders import TemporaryFolder

_BIND_OPTIONS = "--bind HOST:PORT, or COMETBOT_BIND"

RELOAD_REFUSED_MESSAGE = (
    "cannot reload: %s. The old code and settings stay in use. Correct the cause, then send SIGHUP again."
)

CHECK_TIMEOUT = 60.0
"""Seconds after which the check of the application is broken off."""


def check_application(settings: Settings) -> list[str]:
    """Return the names of the bots of ``settings`` after the application was created in a throw-away process.

    Raises :class:`ConfigurationError` with the cause if the bots cannot be imported or served, so that it is reported
    once and not by each of a server's processes. The throw-away process ends together with everything that the
    author's code started in it. Any other error, or a check that takes longer than :data:`CHECK_TIMEOUT`, is left to
    the server to report; the result is then empty.
    """
    result = _run_in_child(functools.partial(_create_application, settings), CHECK_TIMEOUT)
    if problem := result.get("problem"):
        raise ConfigurationError(problem)
    return list(result.get("bots", ()))


def check_reload(load: Callable[[], object], timeout: float) -> None:
    """Raise :class:`ConfigurationError` with the cause if ``load`` fails in a throw-away process.

    Unlike :func:`check_application`, this raises for any error, and for a process that ends by itself or needs longer
    than ``timeout`` seconds, because the workers that would be replaced still work.
    """
    result = _run_in_child(functools.partial(_load_application, load), timeout)
    if not result:
        raise ConfigurationError(f"the application was not loaded within {timeout:g} s, or ended its process")
    if problem := result.get("problem") or result.get("error"):
        raise ConfigurationError(problem)


def check_bind(settings: Settings) -> None:
    """Raise :class:`ConfigurationError` if the server cannot listen at ``settings.bind``.

    A unix socket is not checked, because gunicorn replaces one that an earlier server left. Neither is an address that
    systemd, or the gunicorn that this one replaces, passes on.
    """
    if settings.bind.startswith("unix:") or {"LISTEN_FDS", "GUNICORN_FD"} & os.environ.keys():
        return
    host, _, port = settings.bind.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
            probe.listen(1)
        except OSError as error:
            remedy = f"Stop the server that listens there, or choose another address: {_BIND_OPTIONS}."
            if error.errno != errno.EADDRINUSE:
                remedy = f"Choose another address: {_BIND_OPTIONS}."
            cause = "the address is in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise ConfigurationError(f"cannot listen at {settings.bind}: {cause}. {remedy}") from error


def check_database(settings: Settings, *, allow_unreachable: bool = False) -> None:
    """Raise :class:`ConfigurationError` with the cause if this version cannot work with the database of ``settings``.

    An SQLite file is created or migrated. With ``allow_unreachable``, a database server that cannot be reached now is
    no error.
    """
    check_persistent(settings.database_url)
    opened = database_from_url(settings.database_url)
    try:
        opened.open()
    except ConfigurationError as error:
        if not (allow_unreachable and opened.server_url and isinstance(error.__cause__, StoreBusy)):
            raise
    except StoreUnavailable as error:  # a server that still runs uses another file of this name
        raise ConfigurationError(f"cannot use the database: {error}. Stop the processes that use it.") from error
    finally:
        opened.close()


def _run_in_child(work: Callable[[], Sequence[str]], timeout: float) -> dict[str, Any]:
    """Call ``work`` in a throw-away process; return its result as ``bots``, or the cause as ``problem`` or ``error``.

    The result is empty if that process ends by itself or needs longer than ``timeout`` seconds.
    """
    reader, writer = os.pipe()
    # The application's metrics would count as those of a worker.
    with TemporaryFolder("preflight") as folder:
        child = os.fork()
        if child == 0:
            os.close(reader)
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
            _run_and_report(work, writer)
        os.close(writer)
        try:
            report = _read_until_closed(reader, timeout)
        finally:
            os.close(reader)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return dict(json.loads(report or "{}"))


def _read_until_closed(pipe: int, timeout: float) -> str:
    """Return the data that arrives until the pipe is closed or ``timeout`` seconds have passed."""
    report = b""
    deadline = time.monotonic() + timeout
    while select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
        chunk = os.read(pipe, 65536)
        if not chunk:
            break
        report += chunk
    return report.decode(errors="replace")


def _run_and_report(work: Callable[[], Sequence[str]], writer: int) -> None:
    """Call ``work`` without output, write its result to ``writer``, and end the process."""
    report: dict[str, Any] = {}
    try:
        devnull = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(devnull, stream)
        sys.stdout = sys.stderr = os.fdopen(devnull, "w")
        report["bots"] = list(work())
    except ConfigurationError as error:
        report["problem"] = str(error)
    except BaseException as error:
        report["error"] = _describe(error)
    finally:
        with suppress(OSError):
            os.write(writer, json.dumps(report).encode())
        os._exit(0)


def _create_application(settings: Settings) -> list[str]:
    from cometbot.web.app import create_app_from_settings

    app = create_app_from_settings(settings)
    return list(app.extensions["cometbot"].delivery.bots)


def _load_application(load: Callable[[], object]) -> list[str]:
    load()
    return []


def _describe(error: BaseException) -> str:
    """Return the text of an error, with its place in the author's code if it is no :class:`ConfigurationError`."""
    # ``load_app`` and ``gunicorn.conf.py`` turn another error into a SystemExit.
    while isinstance(error, SystemExit) and error.__context__ is not None:
        error = error.__context__
    if isinstance(error, ConfigurationError):
        return str(error)
    return str(ErrorReport.from_exception(error))
