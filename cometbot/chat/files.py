"""Files uploaded by users and bots. Their content is in a folder, their metadata in the database."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot import private_files
from cometbot.chat import queries
from cometbot.chat.models import ChatFile, Page, Scope
from cometbot.chat.storage_quota import StorageLimits
from cometbot.content_types import SNIFFED_BYTES, media_kind, sniff, sniff_file
from cometbot.errors import FileTooLarge, StorageFull
from cometbot.store.database import Database
from cometbot.store.failures import DISK_FULL, classify_error
from cometbot.store.tables import chat_conversations, chat_files, chat_messages
from cometbot.text import clean_file_name

UNUSED_FILE_TTL = 86_400
"""The seconds after which a file that no message uses is removed."""

_CHUNK_SIZE = 64 * 1024
_COLUMNS = queries.columns_of(chat_files, ChatFile)
_select_total_size = sa.select(sa.func.coalesce(sa.func.sum(chat_files.c.size), 0))
_CLEAN_UP_BATCH_LIMIT = 200
_CONTAINER_KINDS = ("audio", "video")
"""Kinds that differ only in the tracks of a container, which it may describe at its end."""


class Readable(Protocol):
    """A source of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; empty at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Upload:
    """A completely received file without an owner. Pass it to :meth:`Files.save`, or :meth:`discard` it.

    Its content is at ``path``. After the transaction that saves it, :meth:`finalize` moves it to its ``final_path``.
    """

    id: str
    path: Path
    final_path: Path
    name: str
    size: int
    mime_type: str
    kind: str

    def finalize(self) -> None:
        """Move the content of a saved file to its final path.

        If that fails or the process crashes before, the file can still be read, and :meth:`Files.clean_up` moves it
        later.
        """
        with suppress(OSError):
            _move(self.path, self.final_path)

    def discard(self) -> None:
        """Remove the content, also after a transaction that was to save it failed."""
        self.path.unlink(missing_ok=True)
        self.final_path.unlink(missing_ok=True)


class Files:
    """The table ``chat_files`` and a folder. Methods with a connection run in the caller's transaction.

    The path of a file is made from an id generated here, never from input. Several machines need a shared folder.

    All files of the database together stay within ``limits``, apart from uploads at the same moment.
    """

    def __init__(self, database: Database, folder: Path, limits: StorageLimits) -> None:
        self._database = database
        self._max_total_size = limits.files
        self._min_free = limits.min_free
        self._folder = folder.absolute()
        self._uploads = self._folder / "coming"

    def receive(self, stream: Readable, *, name: str = "", limits: Mapping[str, int]) -> Upload:
        """Store the content of ``stream`` on disk. ``limits`` are the bytes that each kind of file may have.

        Type and kind are detected from the content. Whether a container is video or audio is decided when the file is
        complete. Raises :class:`FileTooLarge` as soon as the content exceeds the limit of its kind,
        :class:`StorageFull` if there is no space, and the errors of the stream. No content is left behind then.
        """
        private_files.make_folder(self._uploads)
        id = queries.new_id().lower()
        path = self._uploads / id
        try:
            with private_files.open_file(path, "x+b") as file:
                head = _read_head(stream)
                likely = media_kind(sniff(head, name))
                size = _copy(stream, head, file, lambda size: self._check_progress(size, likely, limits))
                self._check_total(size)
                file.flush()
                mime_type = sniff_file(file, name)
                kind = media_kind(mime_type)
                _check_size(size, kind, limits.get(kind, 0))
                os.fsync(file.fileno())
        except BaseException as error:
            path.unlink(missing_ok=True)
            if isinstance(error, OSError) and classify_error(error) == DISK_FULL:
                raise StorageFull(f"the disk of the files is full ({error.strerror})") from error
            raise
        return Upload(id, path, self._path_of(id), clean_file_name(name), size, mime_type, kind)

    def _check_progress(self, size: int, kind: str, limits: Mapping[str, int]) -> None:
        """Raise :class:`FileTooLarge` if an upload is too long, :class:`StorageFull` if the disk has no space for it.

        Audio may still turn out to be video, and the reverse.
        """
        if (free := shutil.disk_usage(self._uploads).free) < self._min_free:
            raise StorageFull(f"the disk of the files: expected at least {self._min_free} bytes free, got {free}")
        possible_kinds = _CONTAINER_KINDS if kind in _CONTAINER_KINDS else (kind,)
        if size > max(limits.get(each, 0) for each in possible_kinds):
            _check_size(size, kind, limits.get(kind, 0))

    def _check_total(self, size: int) -> None:
        """Raise :class:`StorageFull` if ``size`` more bytes exceed the total, counting the files of all processes."""
        with self._database.read() as connection:
            total = connection.execute(_select_total_size).scalar_one()
        if total + size > self._max_total_size:
            raise StorageFull(f"all files together: expected at most {self._max_total_size} bytes, got {total + size}")

    def save(self, connection: Connection, scope: Scope, upload: Upload, owner: str) -> ChatFile:
        """Save ``upload`` and return its file.

        Call :meth:`Upload.finalize` after the commit, or :meth:`Upload.discard` if the transaction fails.
        """
        values = {
            **queries.row_values(scope),
            "id": upload.id,
            "owner": queries.validate_id(owner),
            "name": upload.name,
            "size": upload.size,
            "mime_type": upload.mime_type,
            "kind": upload.kind,
            "created_at": queries.now_ms(self._database),
            "used_at": None,
        }
        insert = sa.insert(chat_files).values(values).returning(*_COLUMNS)
        return _to_file(connection.execute(insert).one())

    def get(self, connection: Connection, scope: Scope, id: str) -> ChatFile | None:
        """Return the file with this id, or None."""
        return next(iter(self.find(connection, scope, [id])), None)

    def find(self, connection: Connection, scope: Scope, ids: Collection[str]) -> list[ChatFile]:
        """Return the files with these ids, in the order of the ids, without those that do not exist."""
        wanted = list(dict.fromkeys(queries.replace_unstorable(id) for id in ids))
        query = sa.select(*_COLUMNS).where(*_existing(scope), chat_files.c.id.in_(wanted))
        found = {file.id: file for file in map(_to_file, connection.execute(query))} if wanted else {}
        return [found[id] for id in wanted if id in found]

    def path(self, file: ChatFile) -> Path:
        """Return the path of the content."""
        final_path, upload_path = self._path_of(file.id), self._uploads / file.id
        return upload_path if not final_path.exists() and upload_path.exists() else final_path

    def delete(self, connection: Connection, scope: Scope, id: str) -> bool:
        """Delete a file and return False if there is none. :meth:`clean_up` removes its content."""
        named = (*_existing(scope), chat_files.c.id == queries.replace_unstorable(id))
        return connection.execute(sa.update(chat_files).where(*named).values(removed=True)).rowcount > 0

    def delete_by_owner(self, connection: Connection, scope: Scope, owner: str) -> None:
        """Delete the files of one owner. :meth:`clean_up` removes their content."""
        own = (*queries.in_scope(chat_files, scope), chat_files.c.owner == queries.replace_unstorable(owner))
        connection.execute(sa.update(chat_files).where(*own).values(removed=True))

    def clean_up(self) -> int:
        """Remove deleted files, files unused for a day and aborted uploads. Return their number.

        A file is in use as long as its id occurs in the payload of a message. The content is removed before the row, so
        that a crash leaves no content without a row.
        """
        gone, found = 0, _CLEAN_UP_BATCH_LIMIT
        while found == _CLEAN_UP_BATCH_LIMIT:
            found, removed = self._clean_up_batch()
            gone += removed
        return gone + self._clean_up_uploads()

    def _clean_up_batch(self) -> tuple[int, int]:
        """Return how many files were checked, and how many were removed."""
        removed_count = 0
        with self._database.read() as connection:
            found = self.find_removable(connection)
            used = {channel: self.find_used(connection, channel, ids) for channel, ids in found.items()}
        for channel, ids in found.items():
            with self._database.write(durable=False) as connection:
                self._mark_used(connection, channel, used[channel])
                removed_ids = self.mark_removed(connection, channel, ids)
            for id in removed_ids:
                self._path_of(id).unlink(missing_ok=True)
                (self._uploads / id).unlink(missing_ok=True)
            with self._database.write(durable=False) as connection:
                connection.execute(sa.delete(chat_files).where(*_by_ids(channel, removed_ids), chat_files.c.removed))
            removed_count += len(removed_ids)
        return sum(map(len, found.values())), removed_count

    def find_removable(self, connection: Connection) -> dict[str, list[str]]:
        """Return the ids of some deleted or unused files, by channel."""
        cutoff = queries.now_ms(self._database) - UNUSED_FILE_TTL * 1000
        columns = chat_files.c
        unused = sa.and_(columns.used_at.is_(None), columns.created_at < cutoff)
        query = sa.select(columns.channel, columns.id).where(
            # Literally the condition of the index, or SQLite does not use it.
            sa.text("(removed OR used_at IS NULL)"),
            sa.or_(columns.removed, unused),
        )
        found: dict[str, list[str]] = {}
        for channel, id in connection.execute(query.limit(_CLEAN_UP_BATCH_LIMIT)):
            found.setdefault(channel, []).append(id)
        return found

    def find_used(self, connection: Connection, channel: str, ids: Collection[str]) -> Sequence[str]:
        """Return those of ``ids`` that occur in a message in a conversation of the file's owner."""
        files, messages, conversations = chat_files.c, chat_messages.c, chat_conversations.c
        uses = sa.exists().where(
            conversations.channel == files.channel,
            conversations.owner == files.owner,
            queries.in_same_conversation(),
            messages.payload.contains(files.id),
        )
        query = sa.select(files.id).where(*_by_ids(channel, ids), sa.not_(files.removed), uses)
        return connection.execute(query).scalars().all()

    def _mark_used(self, connection: Connection, channel: str, ids: Collection[str]) -> None:
        used = sa.update(chat_files).where(*_by_ids(channel, ids), chat_files.c.used_at.is_(None))
        if ids:
            connection.execute(used.values(used_at=queries.now_ms(self._database)))

    def mark_removed(self, connection: Connection, channel: str, ids: Collection[str]) -> Sequence[str]:
        """Mark unused ones of ``ids`` as removed, and return those that are marked.

        A message may have begun to use one of them since they were found.
        """
        named, columns = _by_ids(channel, ids), chat_files.c
        connection.execute(sa.update(chat_files).where(*named, columns.used_at.is_(None)).values(removed=True))
        return connection.execute(sa.select(columns.id).where(*named, columns.removed)).scalars().all()

    def _clean_up_uploads(self) -> int:
        """Remove old uploads without a row, and return their number. Those with a row are moved to their final path."""
        removed_count, cutoff = 0, time.time() - UNUSED_FILE_TTL
        for path in self._uploads.glob("*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < cutoff:
                    removed_count += self._clean_up_upload(path)
        return removed_count

    def _clean_up_upload(self, path: Path) -> int:
        if self._is_saved(path.name):
            _move(path, self._path_of(path.name))
            return 0
        path.unlink()
        return 1

    def _is_saved(self, id: str) -> bool:
        with self._database.read() as connection:
            return connection.execute(sa.select(chat_files.c.id).where(chat_files.c.id == id)).first() is not None

    def _path_of(self, id: str) -> Path:
        return self._folder / id[-2:] / id

    def list(
        self, connection: Connection, scope: Scope, *, owner: str = "", cursor: str = "", limit: int = 20
    ) -> Page[ChatFile]:
        """List the files, of one owner if it is given, oldest first. Raises :class:`BadCursor`."""
        query = sa.select(*_COLUMNS).where(*_existing(scope))
        if owner:
            query = query.where(chat_files.c.owner == queries.replace_unstorable(owner))
        order = (chat_files.c.created_at, chat_files.c.id)
        return queries.load_page(connection, query, order, _to_file, cursor=cursor, limit=limit)

    def get_total_size(self, connection: Connection, scope: Scope, owner: str) -> int:
        """Return the total bytes of one owner's files."""
        own = (*_existing(scope), chat_files.c.owner == queries.replace_unstorable(owner))
        return int(connection.execute(_select_total_size.where(*own)).scalar_one())


def _to_file(row: Sequence[Any]) -> ChatFile:
    channel, bot, *rest = row
    return ChatFile(Scope(channel, bot), *rest)


def _existing(scope: Scope) -> list[sa.ColumnElement[bool]]:
    return [*queries.in_scope(chat_files, scope), sa.not_(chat_files.c.removed)]


def _move(path: Path, final_path: Path) -> None:
    private_files.make_folder(final_path.parent)
    path.replace(final_path)


def _by_ids(channel: str, ids: Collection[str]) -> list[sa.ColumnElement[bool]]:
    return [chat_files.c.channel == channel, chat_files.c.id.in_(ids)]


def _read_head(stream: Readable) -> bytes:
    head = b""
    while len(head) < SNIFFED_BYTES and (chunk := stream.read(SNIFFED_BYTES - len(head))):
        head += chunk
    return head


def _check_size(size: int, kind: str, limit: int) -> None:
    if size > limit:
        raise FileTooLarge(f"{kind}: expected at most {limit} bytes, got more", kind=kind, limit=limit)


def _copy(stream: Readable, head: bytes, file: BinaryIO, check: Callable[[int], None]) -> int:
    """Copy the stream to the file and return the number of bytes. ``check`` receives it before each write."""
    size, chunk = 0, head
    while chunk:
        size += len(chunk)
        check(size)
        file.write(chunk)
        chunk = stream.read(_CHUNK_SIZE)
    return size
