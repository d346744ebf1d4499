"""Values that are made once and kept."""

from __future__ import annotations

import threading
from pathlib import Path

from cometbot.store.factory import database_from_url
from cometbot.store.metadata import get_or_create_metadata


def test_a_value_is_made_once_and_the_same_after_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bot.db"
    made: list[str] = []

    def make() -> str:
        made.append(f"value {len(made)}")
        return made[-1]

    first = database_from_url(url)
    first.open()
    assert get_or_create_metadata(first, "a", make) == get_or_create_metadata(first, "a", make) == "value 0"
    assert get_or_create_metadata(first, "b", make) == "value 1"
    first.close()
    second = database_from_url(url)
    second.open()
    assert get_or_create_metadata(second, "a", make) == "value 0"
    assert len(made) == 2
    second.close()


def test_concurrent_get_or_create_agrees(tmp_path: Path) -> None:
    store = database_from_url(f"sqlite:///{tmp_path}/bot.db")
    store.open()
    gate = threading.Barrier(8)
    kept: list[str] = []

    def ask(number: int) -> None:
        gate.wait()
        kept.append(get_or_create_metadata(store, "a", lambda: f"value of {number}"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept) == 8
    assert len(set(kept)) == 1
    store.close()


def test_postgresql_shares_the_value_between_machines(postgres_url: str) -> None:
    stores = [database_from_url(postgres_url) for _ in range(2)]
    for store in stores:
        store.open()
    assert (
        get_or_create_metadata(stores[0], "a", lambda: "first")
        == get_or_create_metadata(stores[1], "a", lambda: "second")
        == "first"
    )
    for store in stores:
        store.close()
