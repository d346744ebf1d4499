"""Whether the settings give an application and a database, found out before a server starts."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence

from cometbot.errors import ConfigurationError, StoreBusy, StoreUnavailable
from cometbot.settings import Settings
from cometbot.store.database import check_kept, database

_OTHER_ADDRESS = "--bind HOST:PORT, or COMETBOT_BIND"

PATIENCE = 60.0
"""Seconds after which a trial that does not come to an end is broken off."""


def check_application(settings: Settings) -> list[str]:
    """Return the names of the bots of ``settings``, if they can be imported and served.

    Raises :class:`ConfigurationError` with why not: once, and not from each of a server's processes. It is tried in a
    process of its own, which is gone with all that the author's code began there. What goes wrong otherwise, or takes
    longer than a minute, is left to the server to report; then no name is known.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _try(settings, writing)
    os.close(writing)
    try:
        told = _read(reading)
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    answer = json.loads(told or '{"problem": "", "bots": []}')
    if answer["problem"]:
        raise ConfigurationError(answer["problem"])
    return list(answer["bots"])


def check_bind(settings: Settings) -> None:
    """Raise :class:`ConfigurationError` if nothing can listen at ``settings.bind``.

    A unix socket is not tried: gunicorn replaces one that an earlier server left. Neither is an address that is handed
    over by systemd, or by the gunicorn that this one replaces.
    """
    if settings.bind.startswith("unix:") or {"LISTEN_FDS", "GUNICORN_FD"} & os.environ.keys():
        return
    host, _, port = settings.bind.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host.strip("[]"), int(port)))
            tried.listen(1)
        except OSError as error:
            remedy = f"stop the server that listens there, or choose another address: {_OTHER_ADDRESS}"
            if error.errno != errno.EADDRINUSE:
                remedy = f"choose another address: {_OTHER_ADDRESS}"
            cause = "the address is in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise ConfigurationError(f"cannot listen at {settings.bind}: {cause}; {remedy}") from error


def check_database(settings: Settings, *, may_be_away: bool = False) -> None:
    """Nothing, if this version can work with the database of ``settings``; a file is made and brought up to date.

    Raises :class:`ConfigurationError` with why not; with ``may_be_away`` not for a server that cannot be reached now.
    """
    check_kept(settings.database_url)
    opened = database(settings.database_url)
    try:
        opened.open()
    except ConfigurationError as error:
        if not (may_be_away and opened.shared_url and isinstance(error.__cause__, StoreBusy)):
            raise
    except StoreUnavailable as error:  # a server that still runs uses another file of this name
        raise ConfigurationError(f"cannot use the database: {error}; stop the processes that use it") from error
    finally:
        opened.close()


def _read(pipe: int) -> str:
    """All that comes through the pipe."""
    told = b""
    while select.select([pipe], [], [], PATIENCE)[0]:
        piece = os.read(pipe, 65536)
        if not piece:
            break
        told += piece
    return told.decode(errors="replace")


def _try(settings: Settings, writing: int) -> None:
    """Make the application without a sound, write its bots or what is wrong, and end the process."""
    told = b""
    try:
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silence, stream)
        sys.stdout = sys.stderr = os.fdopen(silence, "w")
        # Its numbers are nobody's.
        os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
        from cometbot.web.app import create_app_from_settings

        app = create_app_from_settings(settings)
        told = _told(bots=list(app.extensions["cometbot"].delivery.bots))
    except ConfigurationError as error:
        told = _told(problem=str(error))
    finally:
        os.write(writing, told)
        os._exit(0)


def _told(*, problem: str = "", bots: Sequence[str] = ()) -> bytes:
    return json.dumps({"problem": problem, "bots": list(bots)}).encode()
