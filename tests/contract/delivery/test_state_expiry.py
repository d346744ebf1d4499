"""State that ends: it is absent when its time is over, by the clock of the database, and is purged later."""

from __future__ import annotations

import json
import time
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
HOUR = 3600.0


@pytest.fixture
def delivery(harness: Harness) -> Delivery:
    made = harness.start_process(start=False)
    made.database.open()
    return made


def apply(delivery: Delivery, *changes: StateChange) -> None:
    with delivery.database.write() as connection:
        delivery.store.state.apply(connection, changes)


def store(delivery: Delivery, name: str, value: object) -> None:
    apply(delivery, StateChange(*OWNER, {name: json.dumps(value)}))


def store_for(delivery: Delivery, name: str, value: object, lifetime: float | None) -> None:
    apply(delivery, StateChange(*OWNER, {name: json.dumps(value)}, lifetimes={name: lifetime}))


def pass_time(delivery: Delivery, seconds: float) -> None:
    """Move the ends of all keys into the past, as if the seconds had passed."""
    with delivery.database.write() as connection:
        connection.execute(sa.update(state).values(expires_at=state.c.expires_at - seconds))


def load(delivery: Delivery) -> dict[str, str]:
    with delivery.database.read() as connection:
        return delivery.store.state.load(connection, *OWNER)


def count_rows(delivery: Delivery) -> int:
    with delivery.database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(state)).scalar_one())


def test_key_is_absent_when_its_time_is_over(delivery: Delivery) -> None:
    store_for(delivery, "code", 4711, HOUR)
    store_for(delivery, "cart", ["tea"], 3 * HOUR)
    assert load(delivery)["code"] == "4711"

    pass_time(delivery, 2 * HOUR)
    assert load(delivery) == {"cart": '["tea"]'}


def test_assignment_keeps_the_end_and_an_ended_key_begins_anew(delivery: Delivery) -> None:
    store_for(delivery, "tries", 1, HOUR)
    store(delivery, "tries", 2)
    assert load(delivery) == {"tries": "2"}
    pass_time(delivery, 2 * HOUR)
    assert load(delivery) == {}

    store(delivery, "tries", 3)
    pass_time(delivery, 2 * HOUR)
    assert load(delivery) == {"tries": "3"}
    assert delivery.purge() == 0


def test_end_is_removed_or_changed_by_set(delivery: Delivery) -> None:
    for name, lifetime in (("kept", None), ("longer", 3 * HOUR), ("shorter", HOUR / 2)):
        store_for(delivery, name, 1, HOUR)
        store_for(delivery, name, 1, lifetime)
    store_for(delivery, "ended", 1, HOUR)

    pass_time(delivery, 0.75 * HOUR)
    assert set(load(delivery)) == {"kept", "longer", "ended"}
    pass_time(delivery, HOUR)
    assert load(delivery) == {"kept": "1", "longer": "1"}


def test_counter_that_has_ended_begins_at_zero(delivery: Delivery) -> None:
    store_for(delivery, "count", 5, HOUR)
    apply(delivery, StateChange(*OWNER, increments={"count": 2}))
    assert load(delivery) == {"count": "7"}
    pass_time(delivery, 2 * HOUR)
    assert load(delivery) == {}

    apply(delivery, StateChange(*OWNER, increments={"count": 2}))
    assert load(delivery) == {"count": "2"}


def test_ended_keys_are_purged_and_others_stay(delivery: Delivery) -> None:
    for number in range(30):
        store_for(delivery, f"code{number}", number, HOUR)
    store_for(delivery, "cart", 1, 3 * HOUR)
    store(delivery, "name", "Maria")
    pass_time(delivery, 2 * HOUR)
    assert set(load(delivery)) == {"cart", "name"}
    assert count_rows(delivery) == 32

    assert delivery.purge() == 30
    assert count_rows(delivery) == 2


def test_handler_finds_state_until_it_ends(harness: Harness) -> None:
    @harness.bot.command
    def begin(ctx: Context) -> str:
        ctx.state.set("code", 4711, expires=0.3)
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
    store_for(delivery, "code", 4711, 60.0)
    for jump in (7200.0, -7200.0):
        jumped = Mock(wraps=time, time=lambda jump=jump: time.time() + jump)
        monkeypatch.setattr(clock, "time", jumped)
        assert load(delivery) == {"code": "4711"}
        assert delivery.purge() == 0
