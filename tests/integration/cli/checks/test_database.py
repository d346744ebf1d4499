"""The lines about the database, in each broken state."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cometbot import Context
from cometbot.cli.checks import database
from cometbot.cli.checks.database import check_database
from cometbot.cli.checks.result import CheckResult
from cometbot.delivery import Delivery
from cometbot.settings import Settings
from cometbot.store import probe
from cometbot.store.factory import database_from_url
from cometbot.store.leases import ProcessRegistration
from cometbot.testing.fake_channel import FakeChannel

LOCAL = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
NAMES = [
    "database",
    "database is writable",
    "database file system",
    "free space",
    "schema",
    "worker",
    "dead letters",
    "jobs",
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(database_url=f"sqlite:///{tmp_path}/cometbot.db")


@pytest.fixture
def delivery(settings: Settings) -> Iterator[Delivery]:
    """A database with the current schema."""
    made = Delivery([], [FakeChannel()], settings.database_url)
    made.database.open()
    yield made
    made.close()


def check(settings: Settings, **options: Any) -> dict[str, CheckResult]:
    return {line.name: line for line in check_database(settings, **options)}


def write(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def write_mounts(folder: Path, kind: str, point: Path) -> Path:
    """A table of mounts in which ``point`` has its own file system, and one beside it another."""
    table = folder / "mountinfo"
    shown = str(point).replace(" ", "\\040")
    table.write_text(
        f"{LOCAL}30 22 0:9 / {shown} rw - {kind} somewhere rw\n31 22 0:9 / {shown}-beside rw - proc x rw\n"
    )
    return table


def test_a_database_that_is_well_has_a_worker_and_no_failure(settings: Settings, delivery: Delivery) -> None:
    ProcessRegistration(delivery.database).heartbeat()
    lines = check(settings)
    assert list(lines) == NAMES
    assert {line.ok for line in lines.values()} == {True}


def test_a_database_in_memory_is_told() -> None:
    lines = check(Settings(database_url="sqlite://"))
    assert list(lines) == NAMES
    assert [line.ok for line in lines.values()] == [False, *[None] * 7]
    assert "in memory" in lines["database"].cause


def test_a_folder_that_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    lines = check(Settings(database_url=f"sqlite:///{tmp_path}/data/cometbot.db"))
    assert list(lines) == NAMES
    assert lines["database"].remedy.startswith(f"mkdir -p {tmp_path}/data")
    assert not (tmp_path / "data").exists()


def test_missing_database_passes_and_is_not_created(settings: Settings, tmp_path: Path) -> None:
    lines = check(settings)
    assert list(lines) == NAMES
    assert [name for name, line in lines.items() if line.ok is False] == ["worker"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_told(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "cometbot.db").write_bytes(b"this is a letter to my aunt" * 100)
    lines = check(settings)
    assert list(lines) == NAMES
    assert lines["database"].ok is False
    assert "not a database" in lines["database"].cause


def test_a_locked_database_is_told(
    settings: Settings, delivery: Delivery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "LOCK_TIMEOUT", 0.05)
    with closing(sqlite3.connect(tmp_path / "cometbot.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert probe.probe_database(settings.database_url).is_locked
        lines = check(settings)
        other.execute("ROLLBACK")
    line = lines["database is writable"]
    assert line.ok is False
    assert "locked" in line.cause
    assert "fuser" in line.remedy
    assert lines["worker"].ok is None
    assert check(settings)["database is writable"].ok


@pytest.mark.parametrize("is_there", [True, False])
def test_a_folder_that_may_not_be_written_to_is_told(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    if is_there:
        write(tmp_path / "cometbot.db", "CREATE TABLE anything (name)")
    monkeypatch.setattr(database.os, "access", lambda *asked: False)  # who runs tests as root may write everywhere
    line = check(settings)["database is writable"]
    assert line.ok is False
    assert line.remedy.startswith("chown")


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs"])
def test_a_network_file_system_is_told(settings: Settings, tmp_path: Path, kind: str) -> None:
    line = check(settings, mounts=write_mounts(tmp_path, kind, tmp_path))["database file system"]
    assert line.ok is False
    assert "network file system" in line.cause
    assert "postgresql" in line.remedy


def test_a_containers_own_layer_is_told_with_the_volume_to_mount(settings: Settings, tmp_path: Path) -> None:
    line = check(settings, mounts=write_mounts(tmp_path, "overlay", Path("/")))["database file system"]
    assert line.ok is False
    assert f"docker run -v cometbot:{tmp_path}" in line.remedy


def test_a_file_system_in_memory_is_told(settings: Settings, tmp_path: Path) -> None:
    assert (
        "in memory" in check(settings, mounts=write_mounts(tmp_path, "tmpfs", tmp_path))["database file system"].cause
    )


def test_a_volume_in_a_container_is_right(settings: Settings, tmp_path: Path) -> None:
    table = write_mounts(tmp_path, "ext4", tmp_path)
    table.write_text(table.read_text().replace(LOCAL, LOCAL.replace("ext4", "overlay")))
    assert check(settings, mounts=table)["database file system"].ok


def test_mount_point_with_a_space_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    folder.mkdir()
    settings = Settings(database_url=f"sqlite:///{folder}/cometbot.db")
    assert check(settings, mounts=write_mounts(tmp_path, "nfs", folder))["database file system"].ok is False


def test_a_system_that_does_not_tell_its_mounts_is_no_failure(settings: Settings, tmp_path: Path) -> None:
    assert check(settings, mounts=tmp_path / "nothing")["database file system"].ok is None


def test_a_full_disk_is_told(settings: Settings) -> None:
    line = check(settings, min_free=10**18)["free space"]
    assert line.ok is False
    assert "free space" in line.remedy


@pytest.mark.parametrize(
    ("channel", "ok"), [("chat_api", False), ("platform", False), ("agui", False), ("cometchat", True)]
)
def test_free_space_that_uploads_need_fails(settings: Settings, channel: str, ok: bool) -> None:
    settings = replace(settings, channels=(channel,), free_space=10**18)
    line = check(settings, min_free=1)["free space"]
    assert line.ok is ok
    assert ("lower COMETBOT_FREE_SPACE" in line.remedy) is not ok


@pytest.mark.parametrize("url", ["sqlite", "postgresql"])
def test_database_size_at_its_limit_fails(settings: Settings, request: pytest.FixtureRequest, url: str) -> None:
    if url == "postgresql":
        settings = replace(settings, database_url=request.getfixturevalue("postgres_url"))
    else:
        request.getfixturevalue("delivery")
    settings = replace(settings, channels=("cometchat", "platform"))
    line = check(settings)["database size"]
    assert (line.ok, line.cause) == (True, "0.0 GB, and the limit for users is 10.0 GB")
    line = check(replace(settings, database_size=1))["database size"]
    assert line.ok is False
    assert "users can store nothing" in line.cause
    assert "raise COMETBOT_DATABASE_SIZE" in line.remedy
    line = check(replace(settings, database_size=0))["database size"]
    assert (line.ok, line.cause) == (True, "0.0 GB, without a limit for users")


def test_database_size_is_not_checked_for_cometchat(settings: Settings, delivery: Delivery) -> None:
    assert "database size" not in check(replace(settings, channels=("cometchat", "simplex"), database_size=1))


def test_an_old_schema_is_told_and_not_upgraded(settings: Settings, delivery: Delivery, tmp_path: Path) -> None:
    write(tmp_path / "cometbot.db", "UPDATE alembic_version SET version_num = '0001'")
    for _ in range(2):
        lines = check(settings)
        assert lines["schema"].ok is False
        assert lines["schema"].remedy == "cometbot db upgrade"
        assert (lines["worker"].ok, lines["dead letters"].ok) == (None, None)


def test_a_newer_schema_is_told(settings: Settings, delivery: Delivery, tmp_path: Path) -> None:
    write(tmp_path / "cometbot.db", "UPDATE alembic_version SET version_num = '9999'")
    assert "install the newer cometbot" in check(settings)["schema"].remedy


def test_without_a_worker_what_waits_is_counted(settings: Settings, delivery: Delivery) -> None:
    from cometbot import Bot

    channel = FakeChannel()
    delivery.enqueue(channel.incoming(Bot("helpdesk"), "hi"))
    line = check(settings)["worker"]
    assert line.ok is False
    assert "1 waiting message, the oldest for 0 s" in line.cause
    assert line.remedy == "cometbot serve"


def test_a_worker_that_has_died_does_not_count(settings: Settings, delivery: Delivery) -> None:
    process = ProcessRegistration(delivery.database)
    process.heartbeat()
    with delivery.database.write() as connection:
        connection.exec_driver_sql("UPDATE processes SET lease_until = 1")
    assert check(settings)["worker"].ok is False


def test_dead_letters_are_counted_by_bot(settings: Settings, delivery: Delivery) -> None:
    from cometbot import Bot

    channel = FakeChannel()
    for name in ("helpdesk", "helpdesk", "sales"):
        delivery.enqueue(channel.incoming(Bot(name), "hi"))
    with delivery.database.write() as connection:
        connection.exec_driver_sql("UPDATE mailbox SET state = 'dead'")
    line = check(settings)["dead letters"]
    assert line.ok is False
    assert "2 of helpdesk, 1 of sales" in line.cause
    assert line.remedy == "cometbot deadletters list"


def test_overdue_jobs_fail_and_others_are_counted(settings: Settings, delivery: Delivery) -> None:
    from cometbot import Bot

    bot = Bot("helpdesk")

    @bot.job
    def ring(ctx: Context) -> None: ...

    bot.connect(delivery)
    assert check(settings)["jobs"].cause == "0 to come; 0 running, 0 failed"
    bot.at(datetime.now(timezone.utc) + timedelta(hours=1), ring)
    assert check(settings)["jobs"].cause.startswith("1 to come, the next in 3")
    bot.at(datetime(2020, 1, 1, tzinfo=timezone.utc), ring)
    line = check(settings)["jobs"]
    assert line.ok is False
    assert line.cause.startswith("1 overdue; 2 to come, the next is due since")
    assert line.remedy == "cometbot serve; see cometbot jobs list"
    delivery.store.fire_jobs()
    line = check(settings)["jobs"]
    assert line.ok
    assert line.cause.endswith("; 1 running, 0 failed")
    with delivery.database.write() as connection:
        connection.exec_driver_sql("UPDATE mailbox SET state = 'dead'")
    assert check(settings)["jobs"].cause.endswith("; 0 running, 1 failed")


def test_healthy_postgresql_lacks_only_a_worker(postgres_url: str) -> None:
    lines = check(Settings(database_url=postgres_url))
    assert list(lines) == [*NAMES, "connections"]
    assert [name for name, line in lines.items() if line.ok is False] == ["worker"]
    assert lines["database file system"].ok is None
    assert lines["worker"].remedy == "cometbot serve, or cometbot worker"


def test_a_postgresql_that_takes_no_writes_is_told(postgres_url: str) -> None:
    url = f"{postgres_url}{'&' if '?' in postgres_url else '?'}options=-cdefault_transaction_read_only%3Don"
    assert check(Settings(database_url=url))["database is writable"].ok is False


def test_a_postgresql_without_its_schema_is_told(postgres_url: str) -> None:
    made = database_from_url(postgres_url)
    with made.write() as connection:
        connection.exec_driver_sql("DROP TABLE alembic_version")
    made.close()
    lines = check(Settings(database_url=postgres_url))
    assert lines["schema"].remedy == "cometbot db upgrade"


def test_unreachable_postgresql_hides_the_password() -> None:
    lines = check(Settings(database_url="postgresql://me:hidden@127.0.0.1:9/bots"))
    assert list(lines) == NAMES
    assert lines["database"].ok is False
    assert "127.0.0.1:9/bots" in lines["database"].cause
    assert "hidden" not in str(lines)


def test_free_connections_are_compared_with_the_need(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    line = check(Settings(database_url=postgres_url, processes=2))["connections"]
    assert line.ok
    assert "one cometbot serve opens up to 41" in line.cause
    line = check(Settings(database_url=postgres_url, processes=20))["connections"]
    assert line.ok is False
    assert "of 197 are in use" in line.cause
    assert "max_connections" in line.remedy


def test_connections_of_others_count_as_taken(postgres_url: str) -> None:
    with ExitStack() as others:
        for _ in range(70):
            others.enter_context(closing(psycopg.connect(postgres_url, application_name="another")))
        assert check(Settings(database_url=postgres_url, processes=10))["connections"].ok is False
    with ExitStack() as ours:
        for _ in range(70):
            ours.enter_context(closing(psycopg.connect(postgres_url, application_name="cometbot")))
        assert check(Settings(database_url=postgres_url, processes=10))["connections"].ok
