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

from ..conftest import CometChatDriver
from .conftest import StartSystem
from .load import Load, Report
from .system import SQLiteSystem, System

RECOVERY_LIMIT = 45.0
"""Seconds after a fault has ended within which a conversation goes on: a lease, a sweep, and a busy machine."""

ERROR_TEXT = Bot("any").error_text
_load_numbers = itertools.count(1)
on_each_database = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
long = pytest.mark.long
pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

MakeLoad = Callable[..., Load]


@pytest.fixture
def make_load(platform: CometChatDriver) -> MakeLoad:
    def make(system: System, users: int = 16, each: int = 8, **options: bool) -> Load:
        name = next(_load_numbers)
        return Load(system, platform, [f"guest-{name}-{n:02}" for n in range(users)], messages_per_user=each, **options)

    return make


def check_load(load: Load, name: str, *, max_duplicates: int = 0, recovery_limit: float = RECOVERY_LIMIT) -> Report:
    """The ledger of a storm that is over, in which all must be well."""
    report = load.wait_for_answers()
    print(f"\n{name}: {report}")
    if report.lost:
        print(load.system.describe())
    assert report.acknowledged == len(load.users) * load.messages_per_user
    assert (report.lost, report.out_of_order) == ([], [])
    assert len(report.duplicates) <= max_duplicates, report.duplicates
    assert report.answered == report.acknowledged
    assert report.slowest_recovery < recovery_limit
    return report


@contextmanager
def failing_platform(simulator: Simulator) -> Iterator[None]:
    """The platform refuses, fails and hangs up on one request in ten, before or after it has done what was asked."""
    simulator.misbehave.rate_limit(retry_after=0.3, probability=0.02, seed=1, routes=["*"])
    simulator.misbehave.fail(500, probability=0.02, seed=2, routes=["*"])
    simulator.misbehave.fail(500, after=True, probability=0.02, seed=3, routes=["*"])
    simulator.misbehave.drop(probability=0.02, seed=4, routes=["*"])
    simulator.misbehave.drop(before=False, probability=0.02, seed=5, routes=["*"])
    try:
        yield
    finally:
        effects = simulator.misbehave.active_rules
        hits = {effect.rule.kind + " after" * effect.rule.after: effect.hits for effect in effects}
        simulator.misbehave.clear()
        print(f"\n{json.dumps(hits)}")
        assert all(hits.values())


def test_three_kills_and_a_failing_platform_lose_nothing(
    start_system: StartSystem, make_load: MakeLoad, simulator: Simulator
) -> None:
    system = start_system("sqlite")
    load = make_load(system, users=60, each=10)
    with failing_platform(simulator):
        load.run(*[(part, system.restart) for part in (0.25, 0.5, 0.75)])
        check_load(load, "everything killed three times on SQLite")
    assert system.dead_letters() == []


def test_killed_processes_on_postgresql_lose_nothing(
    start_system: StartSystem, make_load: MakeLoad, simulator: Simulator
) -> None:
    system = start_system("postgresql")
    load = make_load(system, users=30, redelivers=True, shuffles=True)
    with failing_platform(simulator):
        load.run(*[(part, lambda role=role: system.kill_one(role)) for part, role in
                     ((0.2, "worker"), (0.5, "web"))])  # fmt: skip
        check_load(load, "a worker and a web process killed on PostgreSQL")
    assert system.dead_letters() == []


@on_each_database
def test_sigterm_under_load_loses_and_reruns_nothing(start_system: StartSystem, make_load: MakeLoad, kind: str) -> None:
    system = start_system(kind)
    statuses: list[int] = []

    def stop() -> None:
        statuses.append(system.terminate())
        system.start()

    load = make_load(system)
    load.run((0.5, stop))
    check_load(load, f"SIGTERM on {kind}")
    assert statuses == [0]
    assert system.query("SELECT MAX(attempts) FROM mailbox") == [(1,)]
    assert "Traceback" not in system.log


@long
@on_each_database
def test_any_process_killed_at_any_moment(
    start_system: StartSystem, make_load: MakeLoad, simulator: Simulator, kind: str
) -> None:
    system = start_system(kind)
    load = make_load(system, users=60, each=20, redelivers=True)
    with failing_platform(simulator):
        load.run(*[(part / 10, system.kill_one) for part in range(1, 10)])
        check_load(load, f"nine processes killed on {kind}", recovery_limit=2 * RECOVERY_LIMIT)


@pytest.mark.parametrize(("kind", "seconds"), [
    ("postgresql", 1.0),
    pytest.param("sqlite", 20.0, marks=long),
    pytest.param("postgresql", 20.0, marks=long),
])  # fmt: skip
def test_database_outage(start_system: StartSystem, make_load: MakeLoad, kind: str, seconds: float) -> None:
    system = start_system(kind)
    load = make_load(system)

    def fault() -> None:
        with system.database_down():
            time.sleep(seconds)

    load.run((0.3, fault), (0.7, fault))
    check_load(load, f"database away for {seconds:g} s, twice, on {kind}")
    assert len(system.processes()) >= 3
    system.wait_until(lambda: system.get("/readyz").status_code == 200)


@long
@on_each_database
def test_a_platform_that_is_down_for_30_s(
    start_system: StartSystem, make_load: MakeLoad, simulator: Simulator, kind: str
) -> None:
    system = start_system(kind)
    load = make_load(system)

    def fault() -> None:
        simulator.stop()
        time.sleep(30)
        simulator.start()

    load.run((0.3, fault))
    check_load(load, f"platform down for 30 s, on {kind}", recovery_limit=60)
    assert system.dead_letters() == []


@long
@on_each_database
def test_a_platform_that_is_slower_than_requests_wait(
    start_system: StartSystem, make_load: MakeLoad, simulator: Simulator, kind: str
) -> None:
    system = start_system(kind)
    load = make_load(system, users=16, each=4)
    simulator.misbehave.slow(10.0, probability=0.1, seed=1)
    simulator.misbehave.fail(500, after=True, probability=0.1, seed=2)
    load.run()
    load.wait_for_answers()
    # What is done only after the look-up has found nothing is done twice.
    hits = simulator.misbehave.active_rules[0].hits
    check_load(load, f"answers after more than the time-out, on {kind}", max_duplicates=hits, recovery_limit=60)


@long
@on_each_database
@pytest.mark.parametrize("command", ["raise", "hang", "eat", "kill", "exit"])
def test_a_handler_that_misbehaves_among_others(
    start_system: StartSystem, make_load: MakeLoad, platform: CometChatDriver, kind: str, command: str
) -> None:
    system = start_system(kind)
    load = make_load(system, each=20)
    victim = f"victim-{next(_load_numbers)}"

    def fault() -> None:
        for text in (f"/{command}", "next"):
            message = platform.write(text, victim)
            system.wait_until(lambda m=message: _is_acknowledged(system, platform.callback(m)))  # type: ignore[misc]

    load.run((0.3, fault))
    said = platform.wait_replies(victim, 1 if command in ("kill", "exit") else 2, system, 150)
    assert said == (["re: next"] if command in ("kill", "exit") else [ERROR_TEXT, "re: next"])
    assert len(system.dead_letters()) == 1
    check_load(load, f"a handler that does /{command}, on {kind}", recovery_limit=150)


def _is_acknowledged(system: System, callback: object) -> bool:
    try:
        return system.post(callback).status_code == 200
    except requests.RequestException:
        return False


@long
@on_each_database
@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_is_set_by_an_hour(
    start_system: StartSystem, make_load: MakeLoad, simulator: Simulator, kind: str, hours: int
) -> None:
    system = start_system(kind)
    load = make_load(system, each=20)
    with failing_platform(simulator):
        load.run(
            (0.2, lambda: system.move_clock(3600 * hours)),
            (0.4, lambda: system.kill_one("worker" if kind == "postgresql" else "web")),
            (0.6, lambda: system.move_clock(0)),
        )
        # Where a server's clock leaps forward the living look dead once: a send of theirs may be under way.
        check_load(load, f"clock set by {hours} h and back, on {kind}", max_duplicates=8 if kind == "postgresql" else 0)


@long
def test_a_disk_that_is_full_for_a_while(start_system: StartSystem, make_load: MakeLoad) -> None:
    system = start_system("sqlite")
    assert isinstance(system, SQLiteSystem)
    load = make_load(system, users=40, each=10)
    refused: list[int] = []

    def fault() -> None:
        with system.disk_full():
            end = time.monotonic() + 8
            while time.monotonic() < end:
                refused.append(system.get("/readyz").status_code)
                time.sleep(0.2)

    load.run((0.4, fault), (0.7, fault))
    check_load(load, "disk full for 8 s, twice")
    assert "refused a callback with 503" in system.log
    system.wait_until(lambda: system.get("/readyz").status_code == 200)


@long
@on_each_database
def test_processes_suspended_for_longer_than_their_leases(
    start_system: StartSystem, make_load: MakeLoad, simulator: Simulator, kind: str
) -> None:
    system = start_system(kind)
    load = make_load(system, each=20)
    role = "worker" if kind == "postgresql" else "web"

    def fault() -> None:
        with system.paused(role):
            time.sleep(20)

    with failing_platform(simulator):
        load.run((0.3, fault), (0.6, lambda: _pause_one(system, role)))
        # What a process was sending when it stood still goes out when it goes on, and nobody could know.
        check_load(
            load, f"processes that stand still, on {kind}", max_duplicates=2 * 8, recovery_limit=RECOVERY_LIMIT + 20
        )


def _pause_one(system: System, role: str) -> None:
    """The others take its conversations over; it comes back and finds that they are no longer its own."""
    pid = system.pick_process(role).pid
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(20)
    finally:
        os.kill(pid, signal.SIGCONT)
