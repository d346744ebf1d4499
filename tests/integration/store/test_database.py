"""SQLite as it really is: files, locks, forks, and what happens when the disk says no."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from cometbot.errors import ConfigurationError, StoreBusy
from cometbot.store import clock as clock_module
from cometbot.store import database as module
from cometbot.store import database_files, migrate
from cometbot.store import sqlite as sqlite_module
from cometbot.store.clock import boot_id
from cometbot.store.database import Database
from cometbot.store.database_files import WriteLock
from cometbot.store.factory import check_persistent, database_from_url
from cometbot.store.tables import conversations, facts, metadata, processes
from cometbot.testing import MemoryDatabase

FIRST_RELEASE = Path(__file__).parents[2] / "data" / "schema_0008.sql"
"""The schema of the first release on SQLite, as the statements that created it."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cometbot.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Database]:
    made = database_from_url(f"sqlite:///{path}")
    made.open()
    yield made
    made.close()


def fact(connection: sa.Connection, name: str) -> str | None:
    return connection.execute(sa.select(facts.c.value).where(facts.c.name == name)).scalar()


@pytest.fixture
def syncs(opened: Database, path: Path, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each sync: whether another process saw the fact by then. The log is really synced."""
    seen: list[bool] = []

    def sync(file: int) -> None:
        assert os.path.samestat(os.fstat(file), os.stat(f"{path}-wal"))
        with closing(sqlite3.connect(path)) as other:
            seen.append(other.execute("SELECT 1 FROM facts WHERE name = 'a'").fetchone() is not None)
        os.fsync(file)

    monkeypatch.setattr(database_files, "_fdatasync", sync)
    return seen


def add_fact(connection: sa.Connection) -> None:
    connection.execute(facts.insert().values(name="a", value="1"))


def test_only_durable_writes_sync_the_log(opened: Database, syncs: list[bool]) -> None:
    with opened.write(durable=False):
        pass
    opened.group_commit(lambda connection: None, durable=False)
    assert syncs == []
    with opened.write() as connection:
        add_fact(connection)
    assert syncs == [True]


def test_group_commit_syncs_the_log(opened: Database, syncs: list[bool]) -> None:
    opened.group_commit(add_fact)
    assert syncs == [True]


def test_a_duplicate_is_synced_like_what_it_repeats(opened: Database, syncs: list[bool]) -> None:
    opened.group_commit(add_fact, durable=False)
    opened.group_commit(lambda connection: fact(connection, "a"))
    assert syncs == [True]


def test_a_log_that_cannot_be_synced_is_busy_and_not_a_success(
    opened: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(database_files, "_fdatasync", fail)
    with pytest.raises(StoreBusy, match="Input/output error"), opened.write():
        pass
    with pytest.raises(StoreBusy, match="Input/output error"):
        opened.group_commit(lambda connection: None)


def test_a_write_that_raises_leaves_nothing(opened: Database) -> None:
    def fail_halfway() -> None:
        with opened.write() as connection:
            connection.execute(facts.insert().values(name="a", value="1"))
            raise KeyError

    with pytest.raises(KeyError):
        fail_halfway()
    with opened.read() as connection:
        assert fact(connection, "a") is None


def test_a_relaxed_write_is_read_by_another_process_at_once(opened: Database, path: Path) -> None:
    with opened.write(durable=False) as connection:
        connection.execute(facts.insert().values(name="a", value="1"))

    with sqlite3.connect(path) as other:
        assert other.execute("SELECT value FROM facts WHERE name = 'a'").fetchone() == ("1",)
    other.close()


def test_write_times_out_while_another_process_writes(opened: Database, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    began = time.monotonic()
    with pytest.raises(StoreBusy), opened.write(timeout=module.ACK_TIMEOUT):
        pass  # pragma: no cover
    assert 0.9 < time.monotonic() - began < 30
    other.execute("ROLLBACK")
    other.close()
    with opened.write(timeout=module.ACK_TIMEOUT) as connection:
        connection.execute(facts.insert().values(name="a", value="1"))


def test_stopped_lock_holder_does_not_block_others(opened: Database, path: Path) -> None:
    stopped = WriteLock(f"{path}-turns")
    assert stopped.acquire(0.0)
    began = time.monotonic()
    with opened.write(timeout=20.0) as connection:
        add_fact(connection)
    assert time.monotonic() - began < 20.0
    stopped.close()


def test_write_times_out_while_a_stopped_process_writes(opened: Database, path: Path) -> None:
    neighbour = database_from_url(f"sqlite:///{path}")
    with closing(neighbour), neighbour.write():
        began = time.monotonic()
        with pytest.raises(StoreBusy), opened.write(timeout=0.2):
            pass  # pragma: no cover
        assert 0.2 <= time.monotonic() - began < 30


def test_write_times_out_while_another_thread_writes(opened: Database) -> None:
    inside, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with opened.write():
            inside.set()
            let_go.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait(60)
    with pytest.raises(StoreBusy), opened.write(timeout=0.05):
        pass  # pragma: no cover
    let_go.set()
    holder.join()


def test_a_child_after_a_fork_writes_through_its_own_connections(opened: Database) -> None:
    child = os.fork()
    if child == 0:  # pragma: no cover - runs in the child
        try:
            with opened.write() as connection:
                connection.execute(facts.insert().values(name="child", value=str(os.getpid())))
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with opened.write() as connection:
        assert fact(connection, "child") == str(child)


def test_a_full_disk_is_busy_and_not_a_crash(opened: Database) -> None:
    with opened.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreBusy, match="full"), opened.write() as connection:
        connection.execute(facts.insert().values(name="big", value="x" * 1_000_000))
    with opened.read() as connection:
        assert fact(connection, "big") is None


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("not a url", "is not a database URL"),
        ("mysql://localhost/x", "names a mysql database"),
        ("sqlite:////nowhere/at/all/cometbot.db", "does not exist. Create it, or set COMETBOT_DATABASE_URL"),
    ],
)
def test_a_database_that_cannot_be_used_says_what_to_set(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        database_from_url(url).open()


def test_a_file_that_is_no_database_says_so(path: Path) -> None:
    path.write_text("this is a shopping list, not a database " * 100)
    with pytest.raises(ConfigurationError, match="not a database"):
        database_from_url(f"sqlite:///{path}").open()


def test_the_password_of_a_database_url_is_not_printed() -> None:
    with pytest.raises(ConfigurationError) as caught:
        database_from_url("mysql://user:s3cret@localhost/x")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        ("h/d?pgbouncer=true", 'invalid connection option "pgbouncer"'),
        ("h/d?schema=public", 'invalid connection option "schema"'),
        ("h/d?prepare_threshold=5", 'invalid connection option "prepare_threshold"'),
        ("h/d?sslmode=nonsense", 'invalid sslmode value: "nonsense"'),
        ("h/d?sslmode=require&sslmode=disable", "invalid sslmode value"),
        ("h/d?target_session_attrs=best", "invalid target_session_attrs value"),
        ("h/d?connect_timeout=abc", "connect_timeout is no whole number"),
        ("h/d?keepalives_idle=abc", "keepalives_idle is no whole number"),
        ("u@/d?host=a,b,c&port=1,2", "its hosts and ports do not fit together"),
        ("h/d?password=s3cret&s3cret=1", "an option is not known"),
        ("u:p@s3cret@h/d", "write @ in the password as %40"),
        ("u:p@h:99999/d", "expected a port from 1 to 65535"),
    ],
)
def test_wrong_server_url_is_rejected_before_connecting(rest: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        database_from_url(f"postgresql://{rest}")
    sentence = str(caught.value)
    assert sentence.startswith("COMETBOT_DATABASE_URL: ")
    assert says in sentence
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "rest",
    [
        "h/d?sslmode=verify-full&sslrootcert=/nowhere",
        "u@/d?host=a:1&host=b:2",
        "u@/d?host=a,b&port=1,2",
        "u@/d?hostaddr=127.0.0.1,127.0.0.2",
        "h/d?options=-c%20search_path%3Dbots&application_name=shop&connect_timeout=3&keepalives=0",
    ],
)
def test_driver_options_are_accepted(rest: str) -> None:
    database_from_url(f"postgresql://{rest}").close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://bot.db", "sqlite:///?x=1"])
def test_memory_database_is_not_persistent(url: str) -> None:
    with pytest.raises(ConfigurationError, match="set one with three slashes"):
        check_persistent(url)


def test_files_and_servers_are_persistent(path: Path) -> None:
    check_persistent(f"sqlite:///{path}")
    check_persistent("postgresql://host/name")
    assert not path.exists()


def test_processes_of_one_boot_share_a_clock(opened: Database, path: Path) -> None:
    second = database_from_url(f"sqlite:///{path}")
    assert abs(second.clock() - opened.clock()) < 1.0
    assert second._clock_offset == opened._clock_offset  # type: ignore[attr-defined]
    second.close()


def test_the_clock_does_not_follow_the_wall_clock(
    opened: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = opened.clock()
    jumped = SimpleNamespace(**{**vars(time), "time": lambda: 0.0})
    for patched in (clock_module, sqlite_module):
        monkeypatch.setattr(patched, "time", jumped)
    assert 0 <= opened.clock() - before < 5
    with closing(database_from_url(f"sqlite:///{path}")) as second:
        assert 0 <= second.clock() - before < 5


def test_the_wall_clock_serves_without_a_boot_id(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "boot_id", lambda: "")
    with closing(database_from_url(f"sqlite:///{path}")) as opened:
        assert abs(opened.clock() - time.time()) < 1.0
        jumped = SimpleNamespace(**{**vars(time), "time": lambda: 5000.0})
        monkeypatch.setattr(sqlite_module, "time", jumped)
    with closing(database_from_url(f"sqlite:///{path}")) as opened:
        assert abs(opened.clock() - 5000.0) < 1.0


def test_new_boot_voids_leases_and_makes_timers_due(
    opened: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = opened.clock() + 86400
    with opened.write() as connection:
        connection.execute(processes.insert().values(token="old", lease_until=far, handles=True, address=""))
        conversation_row = {
            "conversation_key": "l",
            "channel": "c",
            "account": "a",
            "bot": "b",
            "conversation": "k",
            "target": "t",
        }
        connection.execute(
            conversations.insert().values(**conversation_row, is_group=False, token="x", process="old", due_at=far)
        )
    opened.close()
    monkeypatch.setattr(sqlite_module, "boot_id", lambda: "another boot")
    again = database_from_url(f"sqlite:///{path}")
    with again.read() as connection:
        assert connection.execute(processes.select()).all() == []
        assert connection.execute(conversations.select()).one().due_at <= again.clock()
    again.close()


def test_this_system_has_a_boot_id() -> None:
    assert boot_id()


def test_migrations_lead_to_the_schema_that_new_databases_get() -> None:
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        connection.connection.driver_connection.executescript(FIRST_RELEASE.read_text())  # type: ignore[union-attr]
        migrate._run_migrations(connection)
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
        assert differences == []
        assert migrate.revision(connection) == migrate.HEAD
        assert _definitions(connection) == _fresh_definitions()
    engine.dispose()


def test_head_is_the_newest_migration() -> None:
    folder = Path(migrate.__file__).parent / "migrations"
    assert ScriptDirectory(str(folder)).get_heads() == [migrate.HEAD]


def _fresh_definitions() -> dict[str, str]:
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        migrate.upgrade(connection)
        found = _definitions(connection)
    engine.dispose()
    return found


def _definitions(connection: sa.Connection) -> dict[str, str]:
    rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {name: " ".join(sql.split()) for name, sql in rows if not name.startswith(("sqlite", "alembic"))}


def test_a_database_of_a_newer_version_is_refused(opened: Database, path: Path) -> None:
    with opened.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        assert "install the newer cometbot" in migrate.problem(connection)
    opened.close()
    with pytest.raises(ConfigurationError, match="newer than this version knows"):
        database_from_url(f"sqlite:///{path}").open()


def test_an_up_to_date_schema_is_no_problem(opened: Database) -> None:
    assert opened.schema_problem() == ""


def test_open_during_a_write_releases_the_write_lock(path: Path) -> None:
    first = database_from_url(f"sqlite:///{path}")
    first.open()
    stranger = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    stranger.execute("BEGIN IMMEDIATE")
    threading.Timer(0.2, stranger.execute, ("ROLLBACK",)).start()
    second = database_from_url(f"sqlite:///{path}")
    second.open()
    written = threading.Event()

    def write() -> None:
        with first.write() as connection:
            connection.execute(facts.insert().values(name="a", value="1"))
        written.set()

    threading.Thread(target=write, daemon=True).start()
    assert written.wait(60), "the one that opened the database kept the turn"
    for opened in (first, second, stranger):
        opened.close()


def test_snapshot_in_memory_after_a_read() -> None:
    store = MemoryDatabase()
    store.upgrade()
    with store.read() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar_one() == 1
    with store.snapshot() as connection:
        assert connection.execute(sa.text("SELECT 2")).scalar_one() == 2
    store.close()
