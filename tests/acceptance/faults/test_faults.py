"""Everything that can break, broken while users write: nothing lost, nothing out of order, doubled only where nobody
can know.

``make faults`` runs all of it, ``make test`` what is not marked as long. Each test prints its ledger.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests

from cometbot.bot import Bot
from cometbot.simulator import Simulator

from ..conftest import Platform
from .conftest import StartSystem
from .storm import Ledger, Storm
from .system import OnSQLite, System

RECOVERY = 45.0
"""Seconds after a fault has ended within which a conversation goes on: a lease, a sweep, and a busy machine."""

ERROR_TEXT = Bot("any").error_text
_storms = itertools.count(1)
everywhere = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
long = pytest.mark.long
pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

MakeStorm = Callable[..., Storm]


@pytest.fixture
def make_storm(platform: Platform) -> MakeStorm:
    def make(system: System, users: int = 16, each: int = 8, **options: bool) -> Storm:
        name = next(_storms)
        return Storm(system, platform, [f"guest-{name}-{n:02}" for n in range(users)], each=each, **options)

    return make


def check(storm: Storm, name: str, *, doubled: int = 0, recovery: float = RECOVERY) -> Ledger:
    """The ledger of a storm that is over, in which all must be well."""
    ledger = storm.wait_answers()
    print(f"\n{name}: {ledger}")
    if ledger.lost:
        print(storm.system.describe())
    assert ledger.acknowledged == len(storm.users) * storm.each
    assert (ledger.lost, ledger.out_of_order) == ([], [])
    assert len(ledger.doubled) <= doubled, ledger.doubled
    assert ledger.answered == ledger.acknowledged
    assert ledger.slowest_recovery < recovery
    return ledger


@contextmanager
def failing(simulator: Simulator) -> Iterator[None]:
    """The platform refuses, fails and hangs up on one request in ten, before or after it has done what was asked."""
    simulator.misbehave.rate_limit(retry_after=0.3, probability=0.02, seed=1, routes=["*"])
    simulator.misbehave.fail(500, probability=0.02, seed=2, routes=["*"])
    simulator.misbehave.fail(500, after=True, probability=0.02, seed=3, routes=["*"])
    simulator.misbehave.drop(probability=0.02, seed=4, routes=["*"])
    simulator.misbehave.drop(before=False, probability=0.02, seed=5, routes=["*"])
    try:
        yield
    finally:
        effects = simulator.misbehave.effects
        hits = {effect.rule.kind + " after" * effect.rule.after: effect.hits for effect in effects}
        simulator.misbehave.clear()
        print(f"\n{json.dumps(hits)}")
        assert all(hits.values())


def test_600_messages_with_three_kills_and_a_failing_platform_are_all_answered_once_and_in_order(
    start_system: StartSystem, make_storm: MakeStorm, simulator: Simulator
) -> None:
    system = start_system("sqlite")
    storm = make_storm(system, users=60, each=10)
    with failing(simulator):
        storm.blow(*[(part, system.restart) for part in (0.25, 0.5, 0.75)])
        check(storm, "everything killed three times on SQLite")
    assert system.dead_letters() == []


def test_workers_and_web_processes_killed_on_postgresql_lose_nothing_also_of_what_comes_twice_and_out_of_order(
    start_system: StartSystem, make_storm: MakeStorm, simulator: Simulator
) -> None:
    system = start_system("postgresql")
    storm = make_storm(system, users=30, redelivers=True, shuffles=True)
    with failing(simulator):
        storm.blow(*[(part, lambda role=role: system.kill_one(role)) for part, role in
                     ((0.2, "worker"), (0.5, "web"))])  # fmt: skip
        check(storm, "a worker and a web process killed on PostgreSQL")
    assert system.dead_letters() == []


@everywhere
def test_sigterm_under_load_loses_nothing_and_has_no_handler_run_twice(
    start_system: StartSystem, make_storm: MakeStorm, kind: str
) -> None:
    system = start_system(kind)
    statuses: list[int] = []

    def stop() -> None:
        statuses.append(system.terminate())
        system.start()

    storm = make_storm(system)
    storm.blow((0.5, stop))
    check(storm, f"SIGTERM on {kind}")
    assert statuses == [0]
    assert system.query("SELECT MAX(attempts) FROM mailbox") == [(1,)]
    assert "Traceback" not in system.log


@long
@everywhere
def test_any_process_killed_at_any_moment(
    start_system: StartSystem, make_storm: MakeStorm, simulator: Simulator, kind: str
) -> None:
    system = start_system(kind)
    storm = make_storm(system, users=60, each=20, redelivers=True)
    with failing(simulator):
        storm.blow(*[(part / 10, system.kill_one) for part in range(1, 10)])
        check(storm, f"nine processes killed on {kind}", recovery=2 * RECOVERY)


@pytest.mark.parametrize(("kind", "seconds"), [
    ("postgresql", 1.0),
    pytest.param("sqlite", 20.0, marks=long),
    pytest.param("postgresql", 20.0, marks=long),
])  # fmt: skip
def test_a_database_that_goes_away_for_a_while(
    start_system: StartSystem, make_storm: MakeStorm, kind: str, seconds: float
) -> None:
    system = start_system(kind)
    storm = make_storm(system)

    def fault() -> None:
        with system.away():
            time.sleep(seconds)

    storm.blow((0.3, fault), (0.7, fault))
    check(storm, f"database away for {seconds:g} s, twice, on {kind}")
    assert len(system.processes()) >= 3
    system.wait_until(lambda: system.get("/readyz").status_code == 200)


@long
@everywhere
def test_a_platform_that_is_down_for_30_s(
    start_system: StartSystem, make_storm: MakeStorm, simulator: Simulator, kind: str
) -> None:
    system = start_system(kind)
    storm = make_storm(system)

    def fault() -> None:
        simulator.stop()
        time.sleep(30)
        simulator.start()

    storm.blow((0.3, fault))
    check(storm, f"platform down for 30 s, on {kind}", recovery=60)
    assert system.dead_letters() == []


@long
@everywhere
def test_a_platform_that_is_slower_than_requests_wait(
    start_system: StartSystem, make_storm: MakeStorm, simulator: Simulator, kind: str
) -> None:
    system = start_system(kind)
    storm = make_storm(system, users=16, each=4)
    simulator.misbehave.slow(10.0, probability=0.1, seed=1)
    simulator.misbehave.fail(500, after=True, probability=0.1, seed=2)
    storm.blow()
    storm.wait_answers()
    # What is done only after the look-up has found nothing is done twice.
    hits = simulator.misbehave.effects[0].hits
    check(storm, f"answers after more than the time-out, on {kind}", doubled=hits, recovery=60)


@long
@everywhere
@pytest.mark.parametrize("command", ["raise", "hang", "eat", "kill", "exit"])
def test_a_handler_that_misbehaves_among_others(
    start_system: StartSystem, make_storm: MakeStorm, platform: Platform, kind: str, command: str
) -> None:
    system = start_system(kind)
    storm = make_storm(system, each=20)
    victim = f"victim-{next(_storms)}"

    def fault() -> None:
        for text in (f"/{command}", "next"):
            message = platform.write(text, victim)
            system.wait_until(lambda m=message: _is_taken(system, platform.callback(m)))  # type: ignore[misc]

    storm.blow((0.3, fault))
    said = platform.wait_replies(victim, 1 if command in ("kill", "exit") else 2, system, 150)
    assert said == (["re: next"] if command in ("kill", "exit") else [ERROR_TEXT, "re: next"])
    assert len(system.dead_letters()) == 1
    check(storm, f"a handler that does /{command}, on {kind}", recovery=150)


def _is_taken(system: System, callback: object) -> bool:
    try:
        return system.post(callback).status_code == 200
    except requests.RequestException:
        return False


@long
@everywhere
@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_is_set_by_an_hour(
    start_system: StartSystem, make_storm: MakeStorm, simulator: Simulator, kind: str, hours: int
) -> None:
    system = start_system(kind)
    storm = make_storm(system, each=20)
    with failing(simulator):
        storm.blow(
            (0.2, lambda: system.move_clock(3600 * hours)),
            (0.4, lambda: system.kill_one("worker" if kind == "postgresql" else "web")),
            (0.6, lambda: system.move_clock(0)),
        )
        # Where a server's clock leaps forward the living look dead once: a send of theirs may be under way.
        check(storm, f"clock set by {hours} h and back, on {kind}", doubled=8 if kind == "postgresql" else 0)


@long
def test_a_disk_that_is_full_for_a_while(start_system: StartSystem, make_storm: MakeStorm) -> None:
    system = start_system("sqlite")
    assert isinstance(system, OnSQLite)
    storm = make_storm(system, users=40, each=10)
    refused: list[int] = []

    def fault() -> None:
        with system.full():
            end = time.monotonic() + 8
            while time.monotonic() < end:
                refused.append(system.get("/readyz").status_code)
                time.sleep(0.2)

    storm.blow((0.4, fault), (0.7, fault))
    check(storm, "disk full for 8 s, twice")
    assert "could not take a write now" in system.log
    assert system.get("/readyz").status_code == 200


@long
@everywhere
def test_processes_that_stand_still_for_longer_than_their_leases(
    start_system: StartSystem, make_storm: MakeStorm, simulator: Simulator, kind: str
) -> None:
    system = start_system(kind)
    storm = make_storm(system, each=20)
    role = "worker" if kind == "postgresql" else "web"

    def fault() -> None:
        with system.paused(role):
            time.sleep(20)

    with failing(simulator):
        storm.blow((0.3, fault), (0.6, lambda: _pause_one(system, role)))
        # What a process was sending when it stood still goes out when it goes on, and nobody could know.
        check(storm, f"processes that stand still, on {kind}", doubled=2 * 8, recovery=RECOVERY + 20)


def _pause_one(system: System, role: str) -> None:
    """The others take its conversations over; it comes back and finds that they are no longer its own."""
    pid = system.pick(role).pid
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(20)
    finally:
        os.kill(pid, signal.SIGCONT)
