"""Create files and folders that only their owner can open, whatever the umask is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, cast

FILE_MODE = 0o600
FOLDER_MODE = 0o700


def make_folder(path: Path) -> None:
    """Create the folder and its missing parents with mode 0700. An existing one is not changed."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        # Another process may create the same folder at this moment.
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    if not path.is_dir():
        path.mkdir(mode=FOLDER_MODE)


def open_file(path: str | os.PathLike[str], mode: str) -> BinaryIO:
    """Open a binary file like ``open``. A new file has mode 0600; an existing one keeps its mode."""
    return cast(BinaryIO, open(path, mode, opener=_open))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file like ``Path.write_bytes``. A new file has mode 0600."""
    with open_file(path, "wb") as file:
        file.write(content)


def create_file(path: str) -> None:
    """Create an empty file with mode 0600. Do nothing if the path exists."""
    # A caller that opens a dangling link creates the link's target.
    target = os.path.realpath(path)
    try:
        os.close(_open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return


def copy_access(path: Path, folder: Path) -> None:
    """Give a file or folder the access mode of ``folder``, so that another program can read it there."""
    mode = folder.stat().st_mode
    path.chmod(mode & 0o777 if path.is_dir() else mode & 0o666)


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, FILE_MODE)
