"""Values that are made once and kept."""

from __future__ import annotations

import threading
from pathlib import Path

from cometbot.store.database import database
from cometbot.store.facts import keep


def test_a_value_is_made_once_and_the_same_after_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bot.db"
    made: list[str] = []

    def make() -> str:
        made.append(f"value {len(made)}")
        return made[-1]

    first = database(url)
    first.open()
    assert keep(first, "a", make) == keep(first, "a", make) == "value 0"
    assert keep(first, "b", make) == "value 1"
    first.close()
    second = database(url)
    second.open()
    assert keep(second, "a", make) == "value 0"
    assert len(made) == 2
    second.close()


def test_those_who_come_at_once_agree(tmp_path: Path) -> None:
    store = database(f"sqlite:///{tmp_path}/bot.db")
    store.open()
    gate = threading.Barrier(8)
    kept: list[str] = []

    def ask(number: int) -> None:
        gate.wait()
        kept.append(keep(store, "a", lambda: f"value of {number}"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept) == 8
    assert len(set(kept)) == 1
    store.close()


def test_postgresql_keeps_it_for_all_machines(postgres_url: str) -> None:
    stores = [database(postgres_url) for _ in range(2)]
    for store in stores:
        store.open()
    assert keep(stores[0], "a", lambda: "first") == keep(stores[1], "a", lambda: "second") == "first"
    for store in stores:
        store.close()
