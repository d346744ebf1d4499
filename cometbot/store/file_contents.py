"""Contents of files, each stored once under its digest: in a folder of this machine, or in chunks in the database."""

from __future__ import annotations

import io
import os
import secrets
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot import private_files
from cometbot.errors import StorageFull
from cometbot.store.database import Database
from cometbot.store.tables import sent_chunks

CHUNK_SIZE = 256 * 1024
"""The bytes of a row of ``sent_chunks``."""

_MAX_STAGING_SECONDS = 86_400.0

_select_chunk = sa.select(sent_chunks.c.data).where(
    sent_chunks.c.digest == sa.bindparam("of"), sent_chunks.c.number == sa.bindparam("at")
)


class FileContents(ABC):
    """Stores the contents of files.

    :meth:`save` and :meth:`delete` are called in a transaction in which nobody else does the same with this content.
    """

    @abstractmethod
    def stage(self) -> AbstractContextManager[BinaryIO]:
        """Return a new empty file for a content that is being received. It is gone after the ``with`` block."""

    def sync(self, staged: BinaryIO) -> None:
        """Write a file of :meth:`stage` to the disk, as far as :meth:`save` relies on it."""
        staged.flush()

    @abstractmethod
    def save(self, connection: Connection, digest: str, staged: BinaryIO) -> None:
        """Store the content of a file of :meth:`stage` under its digest, unless it is stored."""

    @abstractmethod
    def open(self, digest: str, size: int) -> BinaryIO | None:
        """Return a content for reading and seeking, or None if it is not stored."""

    @abstractmethod
    def delete(self, connection: Connection, digest: str) -> None:
        """Delete a content."""

    def check_space(self, min_free: int) -> None:
        """Raise :class:`StorageFull` unless the disk has ``min_free`` bytes left."""

    def delete_abandoned(self) -> None:
        """Delete what processes that died have left behind."""


class FolderContents(FileContents):
    """Contents as files in ``folder``, whose names are their digests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._staging = self._folder / "coming"

    @contextmanager
    def stage(self) -> Iterator[BinaryIO]:
        private_files.make_folder(self._staging)
        path = self._staging / secrets.token_hex(16)
        try:
            with private_files.open_file(path, "x+b") as file:
                yield file
        finally:
            path.unlink(missing_ok=True)

    def sync(self, staged: BinaryIO) -> None:
        staged.flush()
        os.fsync(staged.fileno())

    def save(self, connection: Connection, digest: str, staged: BinaryIO) -> None:
        path = self._path_of(digest)
        if path.exists():
            return
        private_files.make_folder(path.parent)
        Path(staged.name).replace(path)
        for folder in (path.parent, self._folder):
            _sync_folder(folder)

    def open(self, digest: str, size: int) -> BinaryIO | None:
        try:
            return self._path_of(digest).open("rb")
        except FileNotFoundError:
            return None

    def delete(self, connection: Connection, digest: str) -> None:
        self._path_of(digest).unlink(missing_ok=True)

    def check_space(self, min_free: int) -> None:
        private_files.make_folder(self._folder)
        if (free := shutil.disk_usage(self._folder).free) < min_free:
            raise StorageFull(f"the disk of the files: expected at least {min_free} bytes free, got {free}")

    def delete_abandoned(self) -> None:
        before = time.time() - _MAX_STAGING_SECONDS
        for path in self._staging.glob("*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()

    def _path_of(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest


class ChunkContents(FileContents):
    """Contents as rows of ``sent_chunks``, so that every machine that shares the database has them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def stage(self) -> Iterator[BinaryIO]:
        with tempfile.TemporaryFile() as file:
            yield cast(BinaryIO, file)

    def save(self, connection: Connection, digest: str, staged: BinaryIO) -> None:
        if connection.execute(_select_chunk, {"of": digest, "at": 0}).first() is not None:
            return
        staged.seek(0)
        number = 0
        while data := staged.read(CHUNK_SIZE):
            connection.execute(sa.insert(sent_chunks), {"digest": digest, "number": number, "data": data})
            number += 1

    def open(self, digest: str, size: int) -> BinaryIO | None:
        reader = _ChunkReader(self._database, digest, size)
        return cast(BinaryIO, io.BufferedReader(reader, CHUNK_SIZE)) if reader.exists else None

    def delete(self, connection: Connection, digest: str) -> None:
        connection.execute(sa.delete(sent_chunks).where(sent_chunks.c.digest == digest))


class _ChunkReader(io.RawIOBase):
    """Reads a content in chunks, each when it is needed."""

    def __init__(self, database: Database, digest: str, size: int) -> None:
        self._database, self._digest, self._size = database, digest, size
        self._position = 0
        self._number, self._chunk = -1, b""

    @property
    def exists(self) -> bool:
        """True if the content is stored."""
        return bool(self._load(0))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read into ``buffer``. Raises :class:`FileNotFoundError` if the content was deleted meanwhile."""
        if self._position >= self._size:
            return 0
        number, offset = divmod(self._position, CHUNK_SIZE)
        chunk = self._load(number)
        if not chunk:
            raise FileNotFoundError(f"the content {self._digest} was deleted while it was read")
        part = chunk[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _load(self, number: int) -> bytes:
        if number != self._number:
            with self._database.read() as connection:
                found = connection.execute(_select_chunk, {"of": self._digest, "at": number}).scalar()
            self._number, self._chunk = number, bytes(found or b"")
        return self._chunk


def _sync_folder(folder: Path) -> None:
    """Write a folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
