"""``cometbot worker`` and ``cometbot serve`` before anything runs: what cannot work says so, and how to fix it."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
import sqlalchemy as sa
from click.testing import Result

Call = Callable[..., Result]
COMMANDS = [["worker"], ["serve", "--bind", "127.0.0.1:1"], ["serve", "--no-handlers", "--bind", "127.0.0.1:1"]]
commands = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)


@pytest.fixture
def bot(environ: pytest.MonkeyPatch, write_bot: Callable[[], str]) -> str:
    """A bot that needs no credentials."""
    environ.setenv("COMETBOT_ALLOW_ANONYMOUS_CALLBACKS", "1")
    return write_bot()


def last_line(result: Result, status: int = 2) -> str:
    """Return the one sentence with which a command ended."""
    assert result.exit_code == status, result.output
    assert result.stderr.startswith("cometbot: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@commands
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://bot:s3cret@host:port/shop",
        "postgresql://bot:s3cret@host:99999999/shop",
        "postgresql:/bot:s3cret@host/shop",
        "mysql://bot:s3cret@host/shop",
    ],
)
def test_a_url_that_does_not_parse_is_told_without_its_password(
    cometbot: Call, environ: pytest.MonkeyPatch, bot: str, words: list[str], url: str
) -> None:
    environ.setenv("COMETBOT_DATABASE_URL", url)
    said = last_line(cometbot(*words, bot))
    assert "COMETBOT_DATABASE_URL" in said
    assert "s3cret" not in said


@commands
@pytest.mark.parametrize("url", ["postgresql://bot:s3cret@127.0.0.1:1/shop", "postgresql:///shop?host=/nowhere"])
def test_a_server_that_cannot_be_reached_is_told(
    cometbot: Call, environ: pytest.MonkeyPatch, bot: str, words: list[str], url: str
) -> None:
    environ.setenv("COMETBOT_DATABASE_URL", url)
    said = last_line(cometbot(*words, bot), status=75)
    assert "cannot use the PostgreSQL database of COMETBOT_DATABASE_URL" in said
    assert "Check the URL" in said
    assert "s3cret" not in said


@commands
def test_a_user_without_rights_is_told_what_it_needs(
    cometbot: Call, environ: pytest.MonkeyPatch, bot: str, words: list[str], postgres_url: str
) -> None:
    stranger = "reader" + sa.make_url(postgres_url).database.removeprefix("cometbot")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {stranger} LOGIN PASSWORD 'x'")
    given = sa.make_url(postgres_url).set(username=stranger, password="x")
    environ.setenv("COMETBOT_DATABASE_URL", given.render_as_string(hide_password=False))
    assert "permission denied for table alembic_version" in last_line(cometbot(*words, bot))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {stranger}")
    said = last_line(cometbot(*words, bot))
    assert f"the user {stranger} of COMETBOT_DATABASE_URL may not read and write the tables" in said
    assert "GRANT SELECT, INSERT, UPDATE, DELETE" in said


@commands
@pytest.mark.parametrize(
    ("version", "remedy"), [("9999", "install the newer cometbot"), ("0001", "run cometbot db upgrade")]
)
def test_a_schema_of_another_version_is_told(
    cometbot: Call,
    environ: pytest.MonkeyPatch,
    bot: str,
    words: list[str],
    postgres_url: str,
    version: str,
    remedy: str,
) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", (version,))
    environ.setenv("COMETBOT_DATABASE_URL", postgres_url)
    assert remedy in last_line(cometbot(*words, bot))


@commands
def test_a_database_without_tables_is_told(
    cometbot: Call, environ: pytest.MonkeyPatch, bot: str, words: list[str], postgres_url: str
) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("DROP TABLE alembic_version")
    environ.setenv("COMETBOT_DATABASE_URL", postgres_url)
    assert "run cometbot db upgrade" in last_line(cometbot(*words, bot))


def test_a_worker_on_sqlite_is_told_who_handles_there(cometbot: Call, bot: str) -> None:
    assert "set COMETBOT_DATABASE_URL=postgresql://…" in last_line(cometbot("worker", bot))


def test_serve_without_handlers_on_sqlite_is_refused(cometbot: Call, bot: str) -> None:
    assert "on SQLite the web processes handle messages" in last_line(cometbot("serve", "--no-handlers", bot))


@pytest.mark.parametrize("number", ["-3", "0", "1.5", "many", "9999999999"])
def test_a_concurrency_that_is_no_count_is_told(cometbot: Call, bot: str, number: str) -> None:
    said = last_line(cometbot("worker", "--concurrency", number, bot))
    assert said == (
        f"cometbot: --concurrency: expected a whole number from 1 up, got '{number}'. Example: --concurrency 8\n"
    )


@pytest.mark.parametrize(
    ("bind", "sentence"),
    [
        ("9100", "--bind: expected HOST:PORT, for example 127.0.0.1:9100, got '9100'"),
        ("localhost:http", "--bind: expected HOST:PORT"),
        ("localhost:99999", "--bind: expected HOST:PORT"),
        ("192.0.2.1:9100", "cannot listen at 192.0.2.1:9100"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_told(
    cometbot: Call, environ: pytest.MonkeyPatch, bot: str, postgres_url: str, bind: str, sentence: str
) -> None:
    environ.setenv("COMETBOT_DATABASE_URL", postgres_url)
    assert sentence in last_line(cometbot("worker", "--bind", bind, bot))


@pytest.mark.parametrize("words", [["worker"], ["serve"]], ids=" ".join)
def test_no_bot_is_told(cometbot: Call, environ: pytest.MonkeyPatch, postgres_url: str, words: list[str]) -> None:
    environ.setenv("COMETBOT_DATABASE_URL", postgres_url)
    assert "COMETBOT_BOT" in last_line(cometbot(*words))
