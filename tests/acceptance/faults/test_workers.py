"""``cometbot worker`` as a process: killed for good, stopped under load, and asked how it fares."""

from __future__ import annotations

import itertools
import os
import signal
import time
from contextlib import suppress

import pytest
import requests

from cometbot.store.clock import LEASE
from tests.ports import HOST, free_port

from ..conftest import PATIENCE, Platform
from .conftest import StartSystem
from .system import COMETBOT, OnPostgreSQL

_users = itertools.count(1)
pytestmark = pytest.mark.process


@pytest.fixture
def system(start_system: StartSystem, monkeypatch: pytest.MonkeyPatch) -> OnPostgreSQL:
    """A server that only takes in, and two workers as on other machines."""
    monkeypatch.setattr(OnPostgreSQL, "command", (*COMETBOT, "serve", "--no-handlers"))
    monkeypatch.setattr(OnPostgreSQL, "workers", 2)
    started = start_system("postgresql")
    assert isinstance(started, OnPostgreSQL)
    return started


def say(system: OnPostgreSQL, platform: Platform, *texts: str) -> str:
    """The user who said all this; the bot was told."""
    user = f"worker-user-{next(_users)}"
    for text in texts:
        assert system.post(platform.callback(platform.write(text, user))).status_code == 200
    return user


def test_a_worker_that_is_killed_for_good_holds_its_conversations_no_longer_than_a_lease(
    system: OnPostgreSQL, platform: Platform
) -> None:
    user = say(system, platform, "/say-and-wait", "next")
    system.wait_until(lambda: system.count_marks("say-and-wait") == 1)
    [(token,)] = system.query("SELECT process FROM conversations WHERE token IS NOT NULL")
    assert platform.wait_replies(user, 1, system) == ["first"]
    os.kill(int((system.marks / "say-and-wait.pid").read_text()), signal.SIGKILL)
    killed = time.monotonic()
    (system.marks / "go-on").touch()
    assert platform.wait_replies(user, 3, system) == ["first", "second", "re: next"]
    seconds = time.monotonic() - killed
    print(f"\nthe conversation of a worker that was killed went on after {seconds:.1f} s")
    assert seconds < 2 * LEASE, "it waited for more than one lease"
    assert "took over a conversation whose worker had died" in system.log
    assert system.query(f"SELECT count(*) FROM conversations WHERE process = '{token}'") == [(0,)]


def test_a_worker_that_is_stopped_lets_its_handlers_end_and_gives_the_rest_to_others_at_once(
    system: OnPostgreSQL, platform: Platform
) -> None:
    users = [say(system, platform, "/sleep 1", "next") for _ in range(12)]
    system.wait_until(lambda: system.count_marks("sleep") >= 6)
    stopped = system._others.pop()
    stopped.terminate()
    assert stopped.wait(PATIENCE) == 0
    for user in users:
        assert platform.wait_replies(user, 2, system) == ["slept", "re: next"]
    assert "whose worker had died" not in system.log, "somebody waited for a lease"
    assert system.count_marks("sleep") == len(users)
    assert system.query("SELECT max(attempts) FROM mailbox") == [(1,)]
    assert "Traceback" not in system.log


def test_a_worker_tells_on_a_port_of_its_own_how_it_fares(system: OnPostgreSQL, platform: Platform) -> None:
    port = free_port()
    worker = system._open((*COMETBOT, "worker", "--bind", f"{HOST}:{port}"))
    for other in system._others:
        other.terminate()
        other.wait(PATIENCE)
    system._others = [worker]

    def get(path: str) -> requests.Response:
        return requests.get(f"http://{HOST}:{port}{path}", timeout=PATIENCE)

    def is_at_work() -> bool:
        with suppress(requests.RequestException):
            return str(get("/readyz").json()["checks"].get("lanes")).startswith("ok")
        return False

    system.wait_until(is_at_work)
    user = say(system, platform, "hello")
    platform.wait_replies(user, 1, system)
    sent = 'cometbot_sends_total{bot="trial",outcome="sent"} 1.0'
    system.wait_until(lambda: sent in get("/metrics").text)
    page = get("/metrics").text
    assert 'cometbot_events_handled_total{bot="trial",outcome="done"} 1.0' in page
    assert 'cometbot_stuck_conversations{bot="trial"} 0.0' in page
    assert get("/healthz").json() == {"alive": True}
    assert get("/cometchat/trial").status_code == 404
