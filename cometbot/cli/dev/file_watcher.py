"""Says when Python files change, in a folder and beside it."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from watchfiles import Change, watch

MAX_FOLDERS = 2000
"""How many folders below the watched one are looked into: somebody may start in their home folder."""

RESCAN_INTERVAL = 2.0
"""Seconds after which files are compared even though the system reported nothing."""

_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "site-packages", "build", "dist"})


def watch_changes(root: Path, extra: Callable[[], Iterable[str]], stop: threading.Event) -> Iterator[list[Path]]:
    """The ``.py`` files that were changed, made or removed, time after time, until ``stop`` is set.

    Looked at are ``root`` and what is below it, without hidden folders and virtual environments, and the files that
    ``extra()`` names. Everything counts that changes after this call, also while the caller works on the last change.
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
    """``root`` and the folders below it that may hold code of one's own, at most :data:`MAX_FOLDERS`."""
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
    """The folders to watch, and for each Python file when it was changed, and its size."""
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
    """Return when something may have changed."""
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
    except (OSError, RuntimeError):  # a folder has gone, or the system watches no more of them
        stop.wait(RESCAN_INTERVAL / 2)


def _is_relevant(change: Change, path: str) -> bool:
    return path.endswith(".py") or (change is not Change.modified and "." not in os.path.basename(path))
