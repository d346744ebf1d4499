"""Every command that opens the database, with one that cannot be: one sentence and the exit code 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import Result

Call = Callable[..., Result]

COMMANDS = [
    ["serve"],
    ["serve", "--no-handlers"],
    ["worker"],
    ["db", "upgrade"],
    ["deadletters", "list"],
    ["dialogs", "list"],
    ["replay", "m1"],
    ["replay", "m1", "--send"],
    ["platform", "users", "list"],
    ["send", "--user", "ann", "hello"],
    ["simplex"],
]
everywhere = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
_WITH_BOT = {"serve", "worker", "simplex"}


@pytest.fixture
def run(cometbot: Call, environ: pytest.MonkeyPatch, write_bot: Callable[[], str]) -> Callable[..., str]:
    """Runs a command with that database; returns the one sentence with which it ended."""
    bot = write_bot()
    environ.setenv("COMETBOT_ALLOW_ANONYMOUS_CALLBACKS", "1")
    environ.setenv("COMETBOT_BOT", bot)

    def run(words: list[str], url: str, status: int = 2) -> str:
        environ.setenv("COMETBOT_DATABASE_URL", url)
        bind = ["--bind", "127.0.0.1:1"] if words[0] == "serve" else []
        given = ["--bot", bot] if words[0] == "send" else []
        result = cometbot(words[0], *words[1:], *bind, *given, *([bot] if words[0] in _WITH_BOT else []))
        assert result.exit_code == status, (result.output, result.exception)
        assert result.stderr.startswith("cometbot: ")
        assert result.stderr.count("\n") == 1
        return result.stderr

    return run


@everywhere
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://u:s3cret@127.0.0.1:1/d?pgbouncer=true", 'invalid connection option "pgbouncer". Leave out'),
        ("postgresql://u:p@s3cret@127.0.0.1:1/d", "write @ in the password as %40"),
        ("sqlite:///:memory:", "set one with three slashes"),
    ],
)
def test_a_url_that_cannot_be_right_is_told(run: Callable[..., str], words: list[str], url: str, says: str) -> None:
    if words == ["serve", "--no-handlers"] and url.startswith("sqlite"):
        says = "Leave it out"
    said = run(words, url)
    assert says in said
    assert "s3cret" not in said


@everywhere
def test_a_server_that_is_away_is_told(run: Callable[..., str], words: list[str]) -> None:
    said = run(words, "postgresql://u:s3cret@127.0.0.1:1/d", 75)
    assert "127.0.0.1" in said
    assert "s3cret" not in said


@everywhere
def test_tables_that_are_not_ours_are_told(run: Callable[..., str], words: list[str], postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            "DROP TABLE alembic_version" if words[0] == "db" else "ALTER TABLE mailbox RENAME TO letters"
        )
    assert "Check the URL" in run(words, postgres_url)


@pytest.mark.parametrize("words", [words for words in COMMANDS if "--no-handlers" not in words and words != ["worker"]])
def test_a_file_that_is_no_database_is_told(run: Callable[..., str], words: list[str], tmp_path: Path) -> None:
    (tmp_path / "list.db").write_text("this is a shopping list, not a database " * 100)
    said = run(words, f"sqlite:///{tmp_path / 'list.db'}")
    assert "list.db: file is not a database. Check COMETBOT_DATABASE_URL" in said
