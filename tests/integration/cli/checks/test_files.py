"""The doctor's line about files that other users of the machine can open."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cometbot.cli.checks.files import check_file_permissions
from cometbot.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(database_url=f"sqlite:///{tmp_path}/bot.db", data=tmp_path / "my data")


@pytest.fixture
def dotenv(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def make(path: Path, mode: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.touch()
    path.chmod(mode)


def test_files_that_do_not_exist_are_skipped(settings: Settings, dotenv: Path) -> None:
    assert check_file_permissions(settings, dotenv=dotenv).ok is None


def test_closed_files_pass(settings: Settings, dotenv: Path, tmp_path: Path) -> None:
    make(tmp_path / "bot.db", 0o600)
    make(dotenv, 0o640)
    make(settings.data / "file", 0o644)
    settings.data.chmod(0o700)
    assert check_file_permissions(settings, dotenv=dotenv).ok


def test_open_files_fail_until_the_remedy_is_run(settings: Settings, dotenv: Path, tmp_path: Path) -> None:
    for name in ("bot.db", "bot.db-wal", "bot.db-shm", ".env", "my data/file"):
        make(tmp_path / name, 0o644)
    settings.data.chmod(0o755)
    line = check_file_permissions(settings, dotenv=dotenv)
    assert line.ok is False
    assert str(tmp_path / "bot.db-wal") in line.cause
    assert line.cause.endswith(" and 2 more")

    subprocess.run(line.remedy, shell=True, check=True)
    assert check_file_permissions(settings, dotenv=dotenv).ok
    assert (settings.data / "file").read_bytes() == b""


def test_a_database_on_a_server_has_no_files(tmp_path: Path, dotenv: Path) -> None:
    settings = Settings(database_url="postgresql://u:p@host/db", data=tmp_path / "data")
    make(tmp_path / "data" / "file", 0o600)
    settings.data.chmod(0o755)
    line = check_file_permissions(settings, dotenv=dotenv)
    assert (line.ok, line.remedy) == (False, f"chmod -R go= {settings.data}")
