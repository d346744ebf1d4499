"""Checks of the files: other users cannot open private ones, and a process may open enough."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from cometbot.cli.checks.result import CheckResult, failed, passed, skipped
from cometbot.settings import Settings
from cometbot.store.probe import locate_database
from cometbot.web.open_files import REMEDY, connection_limit, describe_shortage

_NAME = "file permissions"
_SQLITE_SUFFIXES = ("", "-wal", "-shm", "-journal", "-turns")
_OTHERS_MASK = 0o007
"""The permission bits of other users. Those of the group are ignored: its access may be intended."""

_MAX_LISTED = 3
_MAX_FILES_CHECKED = 10_000
"""Maximum number of files to check. A folder may hold millions of uploads, all created in the same way."""


def check_file_permissions(settings: Settings, *, dotenv: Path | None = None) -> CheckResult:
    """Check for files that are open to others, because an older version created them or because they were copied."""
    files = [*_database_files(settings), dotenv or Path(".env").absolute()]
    if not any(path.exists() for path in (*files, settings.data)):
        return skipped(_NAME, "no files yet")
    open_files = [path for path in files if _is_accessible_to_others(path)]
    is_data_open = _is_data_accessible_to_others(settings.data)
    if not open_files and not is_data_open:
        return passed(_NAME, "other users of this machine cannot read private files")
    found = [*open_files, *([settings.data] if is_data_open else [])]
    commands = [f"chmod 600 {_quoted(open_files)}"] if open_files else []
    commands += [f"chmod -R go= {_quoted([settings.data])}"] if is_data_open else []
    cause = f"other users of this machine can read {', '.join(map(str, found[:_MAX_LISTED]))}"
    more = f" and {len(found) - _MAX_LISTED} more" if len(found) > _MAX_LISTED else ""
    return failed(_NAME, cause + more, " && ".join(commands))


def _database_files(settings: Settings) -> list[Path]:
    path = locate_database(settings.database_url).path
    return [Path(f"{path}{end}") for end in _SQLITE_SUFFIXES] if path else []


def _is_data_accessible_to_others(folder: Path) -> bool:
    # The files in an inaccessible folder are inaccessible too, whatever their own permissions.
    if not _is_accessible_to_others(folder):
        return False
    return any(_is_accessible_to_others(path) for path in islice(_walk(folder), _MAX_FILES_CHECKED))


def _walk(folder: Path) -> Iterator[Path]:
    yield folder
    for place, folders, files in os.walk(folder):
        yield from (Path(place, name) for name in (*folders, *files))


def _is_accessible_to_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & _OTHERS_MASK)
    except OSError:
        return False


def _quoted(paths: Iterable[Path]) -> str:
    return " ".join(shlex.quote(str(path)) for path in paths)


def check_open_files(settings: Settings, hard_limit: int | None = None) -> CheckResult:
    """Check the limit on open files of this shell, which a server started from it inherits.

    ``hard_limit`` replaces this system's hard limit (None).
    """
    if shortage := describe_shortage(settings, hard_limit):
        return failed("open files", shortage, REMEDY)
    return passed("open files", f"the limit allows {connection_limit(settings, hard_limit)} connections per process")
