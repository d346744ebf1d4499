"""A database whose files or disk fail while it serves: callbacks are refused, and the log says what to repair."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import Platform, Server, StartServer

LIMIT = 10.0
"""Seconds until a failure is seen; on an idle machine it takes less than two."""


def remove(database: Path) -> None:
    database.unlink()


def replace(database: Path) -> None:
    copy = database.with_name("backup.db")
    shutil.copyfile(database, copy)
    os.replace(copy, database)


def remove_log(database: Path) -> None:
    Path(f"{database}-wal").unlink()


def remove_index(database: Path) -> None:
    Path(f"{database}-shm").unlink()


def move_folder(database: Path) -> None:
    database.parent.rename(database.parent.with_name("elsewhere"))


def start_on(start_server: StartServer, folder: Path) -> Server:
    return start_server(COMETBOT_DATABASE_URL=f"sqlite:///{folder}/bot.db", COMETBOT_PROCESSES="1")


def errors(server: Server) -> list[str]:
    return [line for line in server.log.splitlines() if "ERROR" in line]


@pytest.mark.parametrize("damage", [remove, replace, remove_log, remove_index, move_folder])
def test_lost_database_file_refuses_callbacks(
    start_server: StartServer, platform: Platform, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    server = start_on(start_server, folder)
    assert server.post(platform.callback(platform.write("hello"))).status_code == 200

    damage(folder / "bot.db")

    answer = server.post(platform.callback(platform.write("hello")))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "ERR_UNAVAILABLE")
    server.wait_until(lambda: server.get("/readyz").status_code == 503, LIMIT)
    assert server.get("/readyz").json()["checks"]["database"].startswith("failed: ")
    assert len(errors(server)) == 1, server.log
    assert "docs/upgrading.md" in errors(server)[0]
    assert 'cometbot_database_failures_total{kind="missing"}' in server.get("/metrics").text
    server.terminate()


def test_switched_symlink_refuses_callbacks(start_server: StartServer, platform: Platform, tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    link = tmp_path / "current"
    link.symlink_to("old")
    server = start_on(start_server, link)
    link.unlink()
    link.symlink_to("new")
    assert server.post(platform.callback(platform.write("hello"))).status_code == 503
    server.terminate()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB in memory, which only root can mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_full_disk_is_reported_until_there_is_room(
    start_server: StartServer, platform: Platform, small_disk: Path
) -> None:
    server = start_on(start_server, small_disk)
    (small_disk / "filler").write_bytes(b"\0" * (os.statvfs(small_disk).f_bavail * 4096 - 65536))
    answers = [server.post(platform.callback(platform.write("x" * 900))) for _ in range(1)]
    server.wait_until(lambda: server.get("/readyz").status_code == 503, LIMIT)
    for _ in range(60):
        answers.append(server.post(platform.callback(platform.write("x" * 4000))))
        if answers[-1].status_code == 503:
            break
    assert answers[-1].json()["error"]["code"] == "ERR_UNAVAILABLE"
    assert "full" in answers[-1].text
    assert "full" in server.get("/readyz").json()["checks"]["database"]
    assert len(errors(server)) == 1, server.log
    assert 'cometbot_database_failures_total{kind="full"}' in server.get("/metrics").text

    (small_disk / "filler").unlink()
    server.wait_until(lambda: server.get("/readyz").status_code == 200, 60)
    assert server.post(platform.callback(platform.write("hello"))).status_code == 200
    server.terminate()
