"""A umask that takes no right away, and the mode of what was created under it."""

from __future__ import annotations

import stat
from pathlib import Path


def mode_of_path(path: Path) -> int:
    """Return the rights of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


def open_to_others(folder: Path) -> list[str]:
    """Return what in `folder` other users of the machine may open."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if mode_of_path(path) & 0o077)
