"""Room for what users store, over every database."""

from __future__ import annotations

import logging

import pytest

from cometbot.chat import Chat
from cometbot.chat.storage_quota import StorageLimits, StorageQuota
from cometbot.errors import StorageFull
from tests.contract.chat.conftest import SCOPE


def check(quota: StorageQuota, chat: Chat) -> None:
    with chat.database.write() as connection:
        quota.check(connection)


def test_database_at_its_limit_has_no_room(chat: Chat, caplog: pytest.LogCaptureFixture) -> None:
    quota = StorageQuota(chat.database, StorageLimits(database=1, min_free=0))
    for _ in range(3):
        with pytest.raises(StorageFull, match="COMETBOT_DATABASE_SIZE"):
            check(quota, chat)
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "raise COMETBOT_DATABASE_SIZE" in record.getMessage()


def test_limit_of_zero_is_no_limit(chat: Chat) -> None:
    check(StorageQuota(chat.database, StorageLimits(database=0, min_free=0)), chat)


def test_disk_of_this_machine_keeps_its_free_space(chat: Chat) -> None:
    quota = StorageQuota(chat.database, StorageLimits(min_free=10**18))
    if chat.database.free_space() is None:
        check(quota, chat)
        return
    with pytest.raises(StorageFull, match="COMETBOT_FREE_SPACE"):
        check(quota, chat)


def test_size_grows_with_what_is_stored(chat: Chat) -> None:
    with chat.database.write() as connection:
        before = chat.database.size(connection)
        for _ in range(20):
            chat.users.create(connection, SCOPE, {"profile": "x" * 50_000})
    with chat.database.read() as connection:
        assert chat.database.size(connection) > before


def test_room_is_there_again_once_there_is_space(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    quota = StorageQuota(chat.database, StorageLimits())
    monkeypatch.setattr(chat.database, "free_space", lambda: 0)
    with pytest.raises(StorageFull):
        check(quota, chat)
    monkeypatch.setattr(chat.database, "free_space", lambda: None)
    monkeypatch.setattr(quota, "_measured_at", float("-inf"))
    check(quota, chat)
