"""Commands of an installed cometbot, each once for real."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from cometbot.simulator import Simulator
from cometbot.store.migrate import HEAD
from tests.acceptance.installed.conftest import NOBODY, ROOT, Installation, as_nobody
from tests.acceptance.installed.test_installed import PLATFORM

MIGRATIONS = ROOT / "cometbot" / "store" / "migrations"


def test_commands_for_cometchat_work(installation: Installation, project: Path) -> None:
    with Simulator() as simulator:
        variables = {
            "COMETCHAT_API_URL": simulator.api_url,
            "COMETCHAT_API_KEY": simulator.api_key,
            "COMETCHAT_APP_ID": simulator.app_id,
            "COMETBOT_BOT": "bot:bot",
            "COMETBOT_CALLBACK_USERNAME": "cometchat",
            "COMETBOT_CALLBACK_PASSWORD": "a-long-callback-password",
            "COMETBOT_DATABASE_URL": "sqlite:///commands.db",
        }

        def run(*words: str) -> str:
            made = installation.run(project, "cometbot", *words, **variables)
            assert made.returncode == 0, made.stdout
            return made.stdout

        run("users", "create", "maria", "--name", "Maria")
        run("bots", "create", "helper", "--url", "https://bots.example.com")
        run("bots", "update", "helper", "--disable")
        assert "helper" in run("bots", "list")
        run("bots", "sync", "--url", "https://bots.example.com", "--yes")
        run("bots", "delete", "helper", "--yes")
        assert "helper " not in run("bots", "list")
        run("send", "Hello", "--bot", "bot:bot", "--user", "maria", "--now")


@pytest.mark.parametrize("words", ["deadletters show", "deadletters retry"])
def test_unknown_dead_letter_is_one_sentence(installation: Installation, project: Path, words: str) -> None:
    made = installation.run(project, "cometbot", *words.split(), "4711", **PLATFORM)
    assert made.returncode in (1, 2), made.stdout
    assert "4711" in made.stdout
    assert "Traceback" not in made.stdout


def test_database_of_the_first_revision_is_upgraded(installation: Installation, project: Path) -> None:
    file = project / "old.db"
    engine = sa.create_engine(f"sqlite:///{file}")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    if as_nobody():
        os.chown(file, NOBODY, NOBODY)
    made = installation.run(project, "cometbot", "db", "upgrade", COMETBOT_DATABASE_URL=f"sqlite:///{file}")
    assert made.returncode == 0, made.stdout
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]


def test_postgres_extra_is_imported(installation: Installation, project: Path) -> None:
    code = "import procrastinate, psycopg; from cometbot.store.postgresql import PostgreSQL; print(PostgreSQL)"
    made = installation.run(project, "python", "-c", code)
    assert (made.returncode, "PostgreSQL" in made.stdout) == (0, True), made.stdout
