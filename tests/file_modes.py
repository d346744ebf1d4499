"""A umask that takes no right away, and the mode of what was created under it."""

from __future__ import annotations

import stat
from pathlib import Path


def get_mode(path: Path) -> int:
    """Return the rights of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


def find_open_paths(folder: Path) -> list[str]:
    """Return what in `folder` other users of the machine may open."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if get_mode(path) & 0o077)
