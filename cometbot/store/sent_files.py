"""The files that bots send: stored when a message is said, served under signed addresses until they are deleted."""

from __future__ import annotations

import hashlib
import io
import mimetypes
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot.content_types import media_kind, sniff_file
from cometbot.errors import MessageError, StorageFull
from cometbot.file_links import ROUTE, FileLinks, make_url_name
from cometbot.file_sources import open_source
from cometbot.messages import Media, MediaKind
from cometbot.store.database import Database
from cometbot.store.failures import DISK_FULL, classify_error
from cometbot.store.file_contents import ChunkContents, FileContents
from cometbot.store.metadata import get_or_create_metadata
from cometbot.store.tables import IS_NEW_FILE, conversations, of_account, outbox, sent_contents, sent_files
from cometbot.text import clean_file_name

SECRET_NAME = "files.secret"
"""The name of the metadata with the secret that signs addresses, unless the settings have one."""

CHECK_AFTER = 86_400.0
"""Seconds after which a file is deleted unless the outbox has its message."""

DEFAULT_MAX_TOTAL = 10 * 1024**3
DEFAULT_MIN_FREE = 256 * 1024**2

_COPY_SIZE = 1024 * 1024
_BATCH_SIZE = 100
_EXTENSIONS = {"image/jpeg": ".jpg", "application/octet-stream": ""}

_select_total = sa.select(sa.func.coalesce(sa.func.sum(sent_contents.c.size), 0))
_has_file = sa.exists().where(sent_files.c.digest == sent_contents.c.digest)
_has_message = sa.exists().where(
    outbox.c.event == sent_files.c.event,
    outbox.c.generation == sent_files.c.generation,
    outbox.c.ordinal == sent_files.c.ordinal,
)


class Said(NamedTuple):
    """The outgoing message that a file belongs to: the key of its row in the outbox, and its conversation."""

    event: str
    generation: int
    ordinal: int
    conversation_key: str


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file that a bot has sent. ``mime_type`` and ``kind`` are those of its content."""

    id: str
    name: str
    mime_type: str
    kind: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file with its address, the key of the conversation that it was sent to, and the Unix time of that."""

    file: SentFile
    url: str
    conversation: str
    created_at: float


_columns = [sent_files.c[name] for name in ("id", "name", "mime_type", "kind", "size", "digest")]


class SentFiles:
    """The files that the bots of a database have sent.

    ``contents`` stores what is in them (None: in the database), ``base_url`` is the public URL of the server, and
    ``get_secret`` returns what signs their addresses (None: a secret that the database holds). All contents together
    have at most ``max_total`` bytes, apart from files that are stored at the same moment, and leave ``min_free`` bytes
    of their disk.
    """

    def __init__(
        self,
        database: Database,
        contents: FileContents | None = None,
        *,
        base_url: str = "",
        get_secret: Callable[[], str] | None = None,
        max_total: int = DEFAULT_MAX_TOTAL,
        min_free: int = DEFAULT_MIN_FREE,
    ) -> None:
        self._database = database
        self._contents = contents or ChunkContents(database)
        self._max_total, self._min_free = max_total, min_free
        make_secret = partial(get_or_create_metadata, database, SECRET_NAME, partial(secrets.token_hex, 32))
        self.links = FileLinks(base_url, get_secret or make_secret)

    @property
    def has_public_url(self) -> bool:
        """True if people can load files from the addresses."""
        return bool(self.links.base_url)

    def store(self, media: Media, said: Said) -> Media:
        """Store the content of ``media`` durably, and return the message with its address and what is known of it.

        A message that is stored twice, because its handler ran again, is one file. Raises :class:`MessageError` for a
        path that cannot be read, an empty file, and one that is changed meanwhile; :class:`StorageFull` if there is no
        space; and :class:`StoreBusy`.
        """
        self._contents.check_space(self._min_free)
        try:
            with self._contents.stage() as staged:
                with _open_source(media) as source:
                    digest, size = _copy(source, staged, self._check_size)
                self._contents.sync(staged)
                mime_type = sniff_file(staged, media.name)
                name = clean_file_name(media.name) or _make_name(mime_type)
                id = _make_id(said, digest, name)
                file = SentFile(id, name, mime_type, media_kind(mime_type), size, digest)
                with self._database.write() as connection:
                    self._insert(connection, file, said, staged)
        except OSError as error:
            if classify_error(error) == DISK_FULL:
                raise StorageFull(f"the disk of the files is full ({error.strerror})") from error
            raise
        return replace(
            describe_unstored(media),
            url=self.links.make_url(id, name),
            name=name,
            kind=media.kind or cast(MediaKind, file.kind),
            mime_type=media.mime_type or mime_type,
            size=size,
        )

    def _check_size(self, size: int) -> None:
        """Raise :class:`StorageFull` if ``size`` bytes alone are too many."""
        if size > self._max_total:
            raise StorageFull(f"all files together: expected at most {self._max_total} bytes, got {size} in one")

    def _insert(self, connection: Connection, file: SentFile, said: Said, staged: BinaryIO) -> None:
        """Insert a file with its content, instead of one that an earlier run of the same handler has stored."""
        same_message = _by_message(said)
        self._release(connection, sa.and_(same_message, sent_files.c.id != file.id))
        insert = self._database.insert(sent_contents).values(digest=file.digest, size=file.size, is_released=False)
        # On PostgreSQL, this also locks the content against its deletion.
        connection.execute(
            insert.on_conflict_do_update(index_elements=["digest"], set_={"is_released": False}),
        )
        self._check_total(connection)
        self._contents.save(connection, file.digest, staged)
        values = {
            **said._asdict(),
            **{column.name: getattr(file, column.name) for column in _columns},
            "created_at": self._database.clock(),
        }
        connection.execute(
            self._database.insert(sent_files).values(values).on_conflict_do_nothing(index_elements=["id"])
        )

    def _check_total(self, connection: Connection) -> None:
        if (total := connection.execute(_select_total).scalar_one()) > self._max_total:
            raise StorageFull(f"all files together: expected at most {self._max_total} bytes, got {total}")

    def find(self, url: str) -> SentFile | None:
        """Return the file at an address, or None for one that was not made here or whose file is deleted."""
        id = self.links.find_id(url)
        if not id:
            return None
        with self._database.read() as connection:
            row = connection.execute(sa.select(*_columns).where(sent_files.c.id == id)).one_or_none()
        found = SentFile(*row) if row is not None else None
        is_whole = found is not None and url.endswith(f"/{make_url_name(found.name)}")
        return found if is_whole else None

    def open(self, file: SentFile) -> BinaryIO | None:
        """Return the content of a file for reading and seeking, or None if it is gone."""
        return self._contents.open(file.digest, file.size)

    def open_url(self, url: str) -> tuple[str, int, BinaryIO] | None:
        """Return the name, the size and the content of the file at an address; None if there is none."""
        file = self.find(url)
        content = self.open(file) if file is not None else None
        return (file.name, file.size, content) if file is not None and content is not None else None

    def revoke(self, url: str) -> bool:
        """Delete the file at an address, which answers nobody any more. Return False if there is none.

        The id of a file is taken as well.
        """
        id = self.links.find_id(url) or url
        with self._database.write() as connection:
            return self._release(connection, sent_files.c.id == id) > 0

    def revoke_said(self, event: str, generation: int, ordinal: int) -> bool:
        """Delete the file of a message that is deleted. Return False if it has none."""
        condition = _by_message(Said(event, generation, ordinal, ""))
        with self._database.read() as connection:
            if connection.execute(sa.select(sent_files.c.id).where(condition)).first() is None:
                return False
        with self._database.write() as connection:
            return self._release(connection, condition) > 0

    def list(self, bot: str = "", limit: int = 100, *, account: str = "") -> list[ListedFile]:
        """Return the newest files, of all bots or of ``bot``, newest first; with ``account``, of that app alone."""
        columns = sent_files.c
        query = sa.select(*_columns, columns.conversation_key, columns.created_at)
        if bot:
            same = conversations.c.conversation_key == columns.conversation_key
            query = query.where(sa.exists().where(same, conversations.c.bot == bot))
        if account:
            query = query.where(of_account(columns.conversation_key, account))
        query = query.order_by(columns.created_at.desc(), columns.id).limit(limit)
        with self._database.read() as connection:
            return [
                ListedFile(SentFile(*row[:-2]), self.links.make_url(row.id, row.name), *row[-2:])
                for row in connection.execute(query)
            ]

    def erase_conversation(self, connection: Connection, conversation_key: str) -> None:
        """Delete the files that were sent to a conversation, in the caller's transaction."""
        self._release(connection, sent_files.c.conversation_key == conversation_key)

    def _release(self, connection: Connection, condition: sa.ColumnElement[bool]) -> int:
        """Delete files, and let :meth:`clean_up` delete the contents that no other file has. Return their number."""
        digests = connection.execute(sa.select(sent_files.c.digest).where(condition)).scalars().all()
        if not digests:
            return 0
        released = sa.update(sent_contents).where(sent_contents.c.digest.in_(set(digests))).values(is_released=True)
        connection.execute(released)
        connection.execute(sa.delete(sent_files).where(condition))
        return len(digests)

    def clean_up(self) -> int:
        """Delete contents without a file, and files of messages that were never said. Return the number of contents.

        Call it before rows of the outbox are purged: it looks for the messages of files that are a day old.
        """
        while self._check_said() == _BATCH_SIZE:
            continue
        removed, count = 0, _BATCH_SIZE
        while count == _BATCH_SIZE:
            count = self._delete_released()
            removed += count
        self._contents.delete_abandoned()
        return removed

    def _check_said(self) -> int:
        """Mark some files whose messages are in the outbox, and delete the others. Return how many were checked."""
        before = self._database.clock() - CHECK_AFTER
        columns = (sent_files.c.id, _has_message)
        query = sa.select(*columns).where(sa.text(IS_NEW_FILE), sent_files.c.created_at < before)
        with self._database.read() as connection:
            found: list[Any] = [*connection.execute(query.limit(_BATCH_SIZE))]
        if not found:
            return 0
        with self._database.write(durable=False) as connection:
            said = [id for id, is_said in found if is_said]
            connection.execute(sa.update(sent_files).where(sent_files.c.id.in_(said)).values(is_said=True))
            unsaid = [id for id, is_said in found if not is_said]
            self._release(connection, sent_files.c.id.in_(unsaid) & sa.not_(_has_message))
        return len(found)

    def _delete_released(self) -> int:
        with self._database.read() as connection:
            query = sa.select(sent_contents.c.digest).where(sa.text("sent_contents.is_released")).limit(_BATCH_SIZE)
            digests = connection.execute(query).scalars().all()
        for digest in digests:
            with self._database.write(durable=False) as connection:
                self._delete_content(connection, digest)
        return len(digests)

    def _delete_content(self, connection: Connection, digest: str) -> None:
        named = sent_contents.c.digest == digest
        # Locks the row, so that nobody begins to use the content now.
        connection.execute(sa.update(sent_contents).where(named).values(is_released=False))
        is_used = connection.execute(sa.select(_has_file).select_from(sent_contents).where(named)).scalar()
        if not is_used:
            self._contents.delete(connection, digest)
            connection.execute(sa.delete(sent_contents).where(named))


def describe_unstored(media: Media) -> Media:
    """Return a message without its content, as far as it is known before it is stored: for a dry run."""
    name = clean_file_name(media.name) or "file"
    url = f"{ROUTE}/not-stored/{make_url_name(name)}"
    return replace(media, url=url, name=name, data=None, path=None, is_stored=True)


def _by_message(said: Said) -> sa.ColumnElement[bool]:
    columns = sent_files.c
    return sa.and_(columns.event == said.event, columns.generation == said.generation, columns.ordinal == said.ordinal)


def _make_id(said: Said, digest: str, name: str) -> str:
    """Return an id that is the same in every run, and never that of another content."""
    parts = (said.event, str(said.generation), str(said.ordinal), digest, name)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _make_name(mime_type: str) -> str:
    return media_kind(mime_type) + _EXTENSIONS.get(mime_type, mimetypes.guess_extension(mime_type) or "")


@contextmanager
def _open_source(media: Media) -> Iterator[BinaryIO]:
    """Open the content of a message for reading.

    Raises :class:`MessageError` if it is a path that cannot be read, or whose file is empty or changed meanwhile.
    """
    if media.path is None:
        yield io.BytesIO(cast(bytes, media.data))
        return
    path = Path(media.path)
    with open_source(path) as file:
        before = os.fstat(file.fileno())
        if not before.st_size:
            raise MessageError(f"the file of a Media is empty: {path}; a file has at least one byte")
        yield file
        after = os.fstat(file.fileno())
        if _version_of(before) != _version_of(after) or file.tell() != after.st_size:
            raise MessageError(
                f"the file of a Media changed while it was read: {path}. Write it to the end, then send it"
            )


def _version_of(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _copy(source: BinaryIO, target: BinaryIO, check: Callable[[int], None]) -> tuple[str, int]:
    """Copy a file, and return its digest and size. ``check`` receives the size before each write."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(_COPY_SIZE):
        size += len(chunk)
        check(size)
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest(), size
