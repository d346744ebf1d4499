from __future__ import annotations

from pathlib import Path

import pytest

from cometbot.absolute_paths import absolute_bind, absolute_database_url, absolute_path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_relative_path_becomes_absolute(folder: Path) -> None:
    assert absolute_path("a/../b") == str(folder / "b")
    assert absolute_path("/srv/b") == "/srv/b"
    assert absolute_path("") == ""


@pytest.mark.parametrize("bind", ["127.0.0.1:8000", "[::1]:8000", "localhost:0", "unix:/run/bot.sock"])
def test_an_absolute_address_stays_as_it_is(bind: str) -> None:
    assert absolute_bind(bind) == bind


@pytest.mark.parametrize("bind", ["unix:bot.sock", "unix://bot.sock"])
def test_a_relative_socket_becomes_absolute(folder: Path, bind: str) -> None:
    assert absolute_bind(bind) == f"unix:{folder}/bot.sock"


@pytest.mark.parametrize(
    ("url", "end"),
    [
        ("sqlite:///bot.db", "bot.db"),
        ("sqlite+pysqlite:///bot.db", "bot.db"),
        ("sqlite:///data/bot.db?timeout=3", "data/bot.db?timeout=3"),
    ],
)
def test_a_relative_sqlite_file_becomes_absolute(folder: Path, url: str, end: str) -> None:
    assert absolute_database_url(url) == f"{url.partition('///')[0]}///{folder}/{end}"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:////srv/bot.db",
        "postgresql://u:p%40@host/db",
        "postgresql://u:p?sslkey=a@host/db",
        "postgresql://u:p@host/db?sslmode=verify-full&sslrootcert=system",
        "postgresql://u:p@/db?host=/run/postgresql&application_name=a+b",
        "postgresql://host/db?sslrootcert=/etc/ca.pem",
    ],
)
def test_a_url_without_a_relative_file_stays_as_it_is(url: str) -> None:
    assert absolute_database_url(url) == url


def test_a_servers_certificates_and_keys_become_absolute(folder: Path) -> None:
    url = "postgresql://u:p%40@host/db?sslmode=verify-full&sslrootcert=ca.pem&sslkey=my%20key"
    made = absolute_database_url(url)
    path = str(folder)
    assert made.startswith("postgresql://u:p%40@host/db?sslmode=verify-full&sslrootcert=")
    assert made.endswith(f"sslrootcert={path}/ca.pem&sslkey={path}/my%20key")


def test_a_question_mark_in_the_folder_leaves_the_url_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a?b").mkdir()
    monkeypatch.chdir(folder / "a?b")
    assert absolute_database_url("sqlite:///bot.db") == "sqlite:///bot.db"
