"""Records every commit of a database: what it changed, and whether it was durable."""

from __future__ import annotations

import os
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.pool import Pool

from cometbot.store import database_files
from cometbot.store.factory import database_from_url
from cometbot.store.tables import metadata

_TABLES_WITH_STATE = ("mailbox", "outbox")

_POSTGRESQL = """
CREATE TABLE recorded (id bigserial PRIMARY KEY, transaction bigint, change text, level text);
CREATE FUNCTION record() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE before text := ''; after text := lower(TG_OP);
BEGIN
    IF TG_TABLE_NAME IN ('mailbox', 'outbox') AND TG_OP = 'UPDATE' THEN before := to_jsonb(OLD)->>'state'; END IF;
    IF TG_TABLE_NAME IN ('mailbox', 'outbox') AND TG_OP <> 'DELETE' THEN after := to_jsonb(NEW)->>'state'; END IF;
    IF TG_TABLE_NAME = 'chat_messages' AND TG_OP = 'INSERT' THEN
        after := CASE WHEN (to_jsonb(NEW)->>'is_bot')::boolean THEN 'of a bot' ELSE 'of a user' END;
    END IF;
    INSERT INTO recorded (transaction, change, level) VALUES (
        txid_current(), TG_TABLE_NAME || ': ' || CASE WHEN before = '' THEN after ELSE before || ' to ' || after END,
        current_setting('synchronous_commit'));
    RETURN NULL;
END $$;
"""
_DEFERRED = """
CREATE CONSTRAINT TRIGGER record_commit AFTER INSERT OR UPDATE OR DELETE ON {table} DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION record();
"""


@dataclass
class Commit:
    """One transaction: its changes in order (``mailbox: waiting to running``), and whether it is on the disk."""

    changes: list[str]
    durable: bool = False


class CommitRecorder(ABC):
    """Sees the commits of one database, whichever connection of this process makes them."""

    @property
    @abstractmethod
    def commits(self) -> Sequence[Commit]:
        """The commits so far that changed something, in order."""

    def with_change(self, change: str) -> list[Commit]:
        """The commits that made ``change``."""
        return [commit for commit in self.commits if change in commit.changes]


class PostgreSQLCommitRecorder(CommitRecorder):
    """Deferred triggers: they run in the server at the commit, and read the level that is in force there."""

    def __init__(self, url: str) -> None:
        self._url = url
        with psycopg.connect(url) as connection:
            connection.execute(_POSTGRESQL.encode())
            for table in metadata.tables:
                connection.execute(_DEFERRED.format(table=table).encode())

    @property
    def commits(self) -> Sequence[Commit]:
        with psycopg.connect(self._url) as connection:
            rows = connection.execute("SELECT transaction, change, level FROM recorded ORDER BY id").fetchall()
        found: dict[int, Commit] = {}
        for transaction, change, level in rows:
            commit = found.setdefault(transaction, Commit([], durable=level in ("on", "local", "remote_apply")))
            commit.changes.append(change)
        return list(found.values())


class SQLiteCommitRecorder(CommitRecorder):
    """Triggers that tell this process, the COMMIT of each connection, and the syncs of the write-ahead log.

    A commit is durable once the thread that made it has synced the log before it begins another transaction. ``hold``
    is called within each sync.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._commits: list[Commit] = []
        self._open: dict[int, list[str]] = {}
        self._last: dict[int, Commit] = {}
        with closing(sqlite3.connect(path)) as connection:
            for table in metadata.tables:
                for number, (operation, change) in enumerate(_changes(table)):
                    connection.execute(
                        f"CREATE TRIGGER record_{table}_{number} AFTER {operation} ON {table} "
                        f"BEGIN SELECT record_change('{table}: ' || {change}); END"
                    )

    def attach(self, connection: Any, _: Any = None) -> None:
        """Watch one more connection."""
        connection.create_function("record_change", 1, self._change)
        connection.set_trace_callback(self._trace)

    def before_sync(self) -> None:
        """Replaced by tests that look at what goes on while the log is being synced."""

    def sync(self, file: int) -> None:
        """Sync the log, in the place of the store's own function."""
        assert os.path.samestat(os.fstat(file), os.stat(f"{self._path}-wal"))
        commit = self._last.get(threading.get_ident())
        self.before_sync()
        os.fsync(file)
        if commit is not None:
            commit.durable = True

    def _change(self, change: str) -> None:
        self._open.setdefault(threading.get_ident(), []).append(change)

    def _trace(self, statement: str) -> None:
        thread, word = threading.get_ident(), statement.partition(" ")[0].upper()
        if word in ("BEGIN", "ROLLBACK"):
            self._last.pop(thread, None)
            self._open.pop(thread, None)
        elif word == "COMMIT" and (changes := self._open.pop(thread, [])):
            with self._lock:
                self._last[thread] = Commit(changes)
                self._commits.append(self._last[thread])

    @property
    def commits(self) -> Sequence[Commit]:
        with self._lock:
            return list(self._commits)


def _changes(table: str) -> Iterator[tuple[str, str]]:
    """The operations on ``table``, each with what its trigger calls the change."""
    if table in _TABLES_WITH_STATE:
        yield "INSERT", "NEW.state"
        yield "UPDATE", "OLD.state || ' to ' || NEW.state"
    elif table == "chat_messages":
        yield "INSERT", "CASE WHEN NEW.is_bot THEN 'of a bot' ELSE 'of a user' END"
        yield "UPDATE", "'update'"
    else:
        yield "INSERT", "'insert'"
        yield "UPDATE", "'update'"
    yield "DELETE", "'delete'"


@contextmanager
def record_commits(url: str) -> Iterator[CommitRecorder]:
    """Record the commits of the database ``url``, whose connections are all opened within this block."""
    if not url.startswith("sqlite"):
        yield PostgreSQLCommitRecorder(url)
        return
    made = database_from_url(url)
    made.open()
    made.close()
    recorder = SQLiteCommitRecorder(str(sa.make_url(url).database))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database_files, "_fdatasync", recorder.sync)
        sa.event.listen(Pool, "connect", recorder.attach)
        try:
            yield recorder
        finally:
            sa.event.remove(Pool, "connect", recorder.attach)
