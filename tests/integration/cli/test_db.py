"""``cometbot db`` over a real database."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from cometbot.cli import main
from cometbot.store.migrate import HEAD


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMETBOT_DATABASE_URL", f"sqlite:///{tmp_path / 'bot.db'}")
    return tmp_path / "bot.db"


def test_upgrade_makes_the_schema_and_says_which(file: Path) -> None:
    for _ in range(2):
        result = CliRunner().invoke(main, ["db", "upgrade"])
        assert result.exit_code == 0
        assert result.output == f"The database schema is at revision {HEAD}.\n"
    connection = sqlite3.connect(file)
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
    connection.close()


def test_upgrade_of_newer_database_exits_with_2(file: Path) -> None:
    CliRunner().invoke(main, ["db", "upgrade"])
    connection = sqlite3.connect(file)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    result = CliRunner().invoke(main, ["db", "upgrade"])
    assert result.exit_code == 2
    assert "newer than this version knows" in result.stderr


def test_upgrade_of_a_development_database_is_refused(file: Path) -> None:
    CliRunner().invoke(main, ["db", "upgrade"])
    connection = sqlite3.connect(file)
    connection.execute("INSERT INTO chat_users VALUES ('botyard', 'u', 'helpdesk', '{}', 1, 1, 1)")
    connection.execute("UPDATE alembic_version SET version_num = '0005'")
    connection.commit()
    result = CliRunner().invoke(main, ["db", "upgrade"])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "development version" in result.stderr
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0005",)]
    connection.close()


def test_upgrade_without_folder_is_an_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETBOT_DATABASE_URL", "sqlite:////nowhere/bot.db")
    result = CliRunner().invoke(main, ["db", "upgrade"])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "/nowhere" in result.stderr
