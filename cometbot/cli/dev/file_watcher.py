"""Reports changes of Python files below a folder, and of some files elsewhere."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from watchfiles import Change, watch

MAX_FOLDERS = 2000
"""Maximum number of folders to watch, in case the command is started in a home folder."""

RESCAN_INTERVAL = 2.0
"""Seconds after which files are compared even if the system reported no change."""

_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "site-packages", "build", "dist"})


def watch_changes(root: Path, extra: Callable[[], Iterable[str]], stop: threading.Event) -> Iterator[list[Path]]:
    """Yield the ``.py`` files that were changed, created or removed, until ``stop`` is set.

    Watches the files below ``root``, without hidden folders and virtual environments, and the files that ``extra()``
    returns. Reports every change after this call, also those made while the caller handles the last one.
    """
    return _follow(_scan(root, extra())[1], root, extra, stop)


def _follow(
    seen: Mapping[Path, tuple[int, int]], root: Path, extra: Callable[[], Iterable[str]], stop: threading.Event
) -> Iterator[list[Path]]:
    while not stop.is_set():
        folders, now = _scan(root, extra())
        changed = [path for path in {*seen, *now} if seen.get(path) != now.get(path)]
        known = {path for path in changed if path in seen or path.is_relative_to(root)}
        seen = now
        if known:
            yield sorted(known)
        else:
            _wait(folders, stop)


def python_folders(root: Path) -> Iterator[Path]:
    """Yield ``root`` and the folders below it that may hold the author's code, at most :data:`MAX_FOLDERS`."""
    for place, names, _ in itertools.islice(os.walk(root), MAX_FOLDERS):
        names[:] = [name for name in names if _is_code(Path(place, name))]
        yield Path(place)


def _is_code(folder: Path) -> bool:
    return (
        not folder.name.startswith(".")
        and folder.name not in _SKIPPED_FOLDERS
        and not (folder / "pyvenv.cfg").is_file()
    )


def _scan(root: Path, extra: Iterable[str]) -> tuple[list[Path], Mapping[Path, tuple[int, int]]]:
    """Return the folders to watch, and for each Python file its modification time and size."""
    folders = list(python_folders(root))
    others = [path for path in map(Path, extra) if not path.is_relative_to(root)]
    files = [Path(entry.path) for folder in folders for entry in _entries(folder) if entry.name.endswith(".py")]
    found = {}
    for path in (*files, *others):
        try:
            status = path.stat()
        except OSError:
            continue
        found[path] = (status.st_mtime_ns, status.st_size)
    beside = {path.parent for path in others if path.parent.is_dir()}
    return [*folders, *sorted(beside)], found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _wait(folders: Iterable[Path], stop: threading.Event) -> None:
    """Wait until something may have changed."""
    try:
        for _ in watch(
            *folders,
            watch_filter=_is_relevant,
            debounce=200,
            step=20,
            stop_event=stop,
            rust_timeout=int(RESCAN_INTERVAL * 1000),
            yield_on_timeout=True,
            recursive=False,
        ):
            return
    except (OSError, RuntimeError):  # a folder was removed, or the system's limit of watches is reached
        stop.wait(RESCAN_INTERVAL / 2)


def _is_relevant(change: Change, path: str) -> bool:
    return path.endswith(".py") or (change is not Change.modified and "." not in os.path.basename(path))
