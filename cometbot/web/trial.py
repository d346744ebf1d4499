"""Whether the settings give an application and a database, found out before a server starts."""

from __future__ import annotations

import os
import select
import signal
import sys

from cometbot.errors import ConfigurationError, StoreBusy
from cometbot.settings import Settings
from cometbot.store.database import check_kept, database

PATIENCE = 60.0
"""Seconds after which a trial that does not come to an end is broken off."""


def check_application(settings: Settings) -> None:
    """Nothing, if the bots of ``settings`` can be imported and served.

    Raises :class:`ConfigurationError` with why not: once, and not from each of a server's processes. It is tried in a
    process of its own, which is gone with all that the author's code began there. What goes wrong otherwise, or takes
    longer than a minute, is left to the server to tell.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _try(settings, writing)
    os.close(writing)
    try:
        problem = _read(reading)
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if problem:
        raise ConfigurationError(problem)


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
    """Make the application without a sound, tell why it cannot be, and end the process."""
    problem = ""
    try:
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silence, stream)
        sys.stdout = sys.stderr = os.fdopen(silence, "w")
        # Its numbers are nobody's.
        os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
        from cometbot.web.app import create_app_from_settings

        create_app_from_settings(settings)
    except ConfigurationError as error:
        problem = str(error)
    finally:
        os.write(writing, problem.encode(errors="replace"))
        os._exit(0)
