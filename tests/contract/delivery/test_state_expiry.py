"""State that ends: it is absent when its time is over, by the clock of the database, and is purged later."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from unittest.mock import Mock

import pytest
import sqlalchemy as sa

from cometbot.context import Context
from cometbot.delivery import Delivery
from cometbot.state import StateChange
from cometbot.store import clock
from cometbot.store.tables import state

from .conftest import Harness, wait_until

OWNER = ("conversation", "fake/test/helpdesk/maria")
SOON = 0.3


@pytest.fixture
def delivery(harness: Harness) -> Delivery:
    made = harness.start_process(start=False)
    made.database.open()
    return made


def apply(delivery: Delivery, *changes: StateChange) -> None:
    with delivery.database.write() as connection:
        delivery.store.state.apply(connection, changes)


def store(delivery: Delivery, name: str, value: object, lifetimes: Sequence[float | None] = ()) -> None:
    apply(
        delivery,
        StateChange(
            *OWNER, {name: json.dumps(value)}, lifetimes=dict.fromkeys([name] if lifetimes else [], *lifetimes)
        ),
    )


def load(delivery: Delivery) -> dict[str, str]:
    with delivery.database.read() as connection:
        return delivery.store.state.load(connection, *OWNER)


def count_rows(delivery: Delivery) -> int:
    with delivery.database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(state)).scalar_one())


def test_key_is_absent_when_its_time_is_over(delivery: Delivery) -> None:
    store(delivery, "code", 4711, [SOON])
    store(delivery, "cart", ["tea"], [3600.0])
    assert load(delivery)["code"] == "4711"

    wait_until(lambda: "code" not in load(delivery))
    assert load(delivery) == {"cart": '["tea"]'}


def test_assignment_keeps_the_end_and_an_ended_key_begins_anew(delivery: Delivery) -> None:
    store(delivery, "tries", 1, [SOON])
    store(delivery, "tries", 2)
    assert load(delivery) == {"tries": "2"}
    wait_until(lambda: load(delivery) == {})

    store(delivery, "tries", 3)
    time.sleep(0.01)
    assert load(delivery) == {"tries": "3"}
    assert delivery.purge() == 0


def test_end_is_removed_or_changed_by_set(delivery: Delivery) -> None:
    for name, lifetime in (("kept", None), ("longer", 3600.0)):
        store(delivery, name, 1, [SOON])
        store(delivery, name, 1, [lifetime])
    store(delivery, "ended", 1, [SOON])

    wait_until(lambda: "ended" not in load(delivery))
    assert load(delivery) == {"kept": "1", "longer": "1"}


def test_counter_that_has_ended_begins_at_zero(delivery: Delivery) -> None:
    store(delivery, "count", 5, [SOON])
    apply(delivery, StateChange(*OWNER, increments={"count": 2}))
    assert load(delivery) == {"count": "7"}
    wait_until(lambda: load(delivery) == {})

    apply(delivery, StateChange(*OWNER, increments={"count": 2}))
    assert load(delivery) == {"count": "2"}


def test_ended_keys_are_purged_and_others_stay(delivery: Delivery) -> None:
    for number in range(30):
        store(delivery, f"code{number}", number, [SOON])
    store(delivery, "cart", 1, [3600.0])
    store(delivery, "name", "Maria")
    wait_until(lambda: len(load(delivery)) == 2)
    assert count_rows(delivery) == 32

    assert delivery.purge() == 30
    assert count_rows(delivery) == 2


def test_handler_finds_state_until_it_ends(harness: Harness) -> None:
    @harness.bot.command
    def begin(ctx: Context) -> str:
        ctx.state.set("code", 4711, expires=SOON)
        ctx.user_state.set("visit", 1, expires="1d")
        return "begun"

    @harness.bot.fallback
    def read(ctx: Context) -> str:
        return f"{ctx.state.get('code')} {ctx.user_state.get('visit')}"

    delivery = harness.start_process()
    harness.enqueue(delivery, "/begin", user="maria")
    harness.channel.wait_for(lambda: harness.channel.texts() == ["begun"])

    def read_again() -> str:
        before = len(harness.channel.texts())
        harness.enqueue(delivery, "read", user="maria")
        harness.channel.wait_for(lambda: len(harness.channel.texts()) > before)
        return harness.channel.texts()[-1]

    wait_until(lambda: read_again() == "None 1")


def test_wall_clock_that_jumps_ends_nothing(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    store(delivery, "code", 4711, [60.0])
    for jump in (7200.0, -7200.0):
        jumped = Mock(wraps=time, time=lambda jump=jump: time.time() + jump)
        monkeypatch.setattr(clock, "time", jumped)
        assert load(delivery) == {"code": "4711"}
        assert delivery.purge() == 0
