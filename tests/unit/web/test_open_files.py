from __future__ import annotations

import resource

import pytest

from cometbot.settings import Settings
from cometbot.web import open_files
from cometbot.web.open_files import connection_limit, describe_shortage, handler_limit

STREAMING = Settings(channels=("cometchat", "chat_api"))


@pytest.mark.parametrize(
    ("files", "connections"),
    [(20, 10), (256, 128), (1024, 704), (1820, 1500), (1_048_576, 1500), (resource.RLIM_INFINITY, 1500), (1, 1)],
)
def test_connections_leave_files_for_the_rest(files: int, connections: int) -> None:
    assert connection_limit(STREAMING, files) == connections


def test_more_threads_get_more_files() -> None:
    busy = Settings(channels=("cometchat", "chat_api"), threads=58, handler_threads=58)
    assert connection_limit(busy, 2000) == 2000 - 256 - 4 * 116


def test_threads_of_moderation_get_files() -> None:
    moderating = Settings(cometchat_allow_anonymous_moderation=True, cometchat_moderation_threads=10)
    assert connection_limit(Settings(), 1000) - connection_limit(moderating, 1000) == 4 * 10


@pytest.mark.parametrize(
    ("files", "handlers"),
    [(20, 8), (1024, 8), (4096, (4096 - 3512) // 2), (1_048_576, 2000), (resource.RLIM_INFINITY, 2000)],
)
def test_few_files_allow_few_handlers(files: int, handlers: int) -> None:
    assert handler_limit(STREAMING, files) == handlers


def test_low_limit_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_files, "hard_limit", lambda: 1024)
    assert describe_shortage(Settings()) == (
        "expected a limit of 2512 for 1000 connections a process, got 1024, which allows 704"
    )


def test_sufficient_limit_needs_no_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_files, "hard_limit", lambda: 4096)
    assert describe_shortage(STREAMING) == ""
