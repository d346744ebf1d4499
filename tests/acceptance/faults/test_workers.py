"""``cometbot worker`` as a process: killed for good, stopped under load, and asked how it fares."""

from __future__ import annotations

import itertools
import os
import signal
import time
from contextlib import suppress

import pytest
import requests

from cometbot.store.clock import LEASE_TTL
from tests.ports import HOST, free_port

from ..conftest import WAIT_TIMEOUT, CometChatDriver
from .conftest import StartSystem
from .system import COMETBOT, PostgreSQLSystem

_users = itertools.count(1)
pytestmark = pytest.mark.process


@pytest.fixture
def system(start_system: StartSystem, monkeypatch: pytest.MonkeyPatch) -> PostgreSQLSystem:
    """A server that only takes in, and two workers as on other machines."""
    monkeypatch.setattr(PostgreSQLSystem, "command", (*COMETBOT, "serve", "--no-handlers"))
    monkeypatch.setattr(PostgreSQLSystem, "workers", 2)
    started = start_system("postgresql")
    assert isinstance(started, PostgreSQLSystem)
    return started


def send_messages(system: PostgreSQLSystem, platform: CometChatDriver, *texts: str) -> str:
    """The user who said all this; the bot was told."""
    user = f"worker-user-{next(_users)}"
    for text in texts:
        assert system.post(platform.callback(platform.write(text, user))).status_code == 200
    return user


def test_conversation_of_a_killed_worker_is_taken_over(system: PostgreSQLSystem, platform: CometChatDriver) -> None:
    user = send_messages(system, platform, "/say-and-wait", "next")
    system.wait_until(lambda: system.count_marks("say-and-wait") == 1)
    [(token,)] = system.query("SELECT process FROM conversations WHERE token IS NOT NULL")
    assert platform.wait_replies(user, 1, system) == ["first"]
    os.kill(int((system.marks_folder / "say-and-wait.pid").read_text()), signal.SIGKILL)
    killed = time.monotonic()
    (system.marks_folder / "go-on").touch()
    assert platform.wait_replies(user, 3, system) == ["first", "second", "re: next"]
    seconds = time.monotonic() - killed
    print(f"\nthe conversation of a worker that was killed went on after {seconds:.1f} s")
    assert seconds < 2 * LEASE_TTL, "it waited for more than one lease"
    assert "took over the conversation of a dead worker" in system.log
    assert system.query(f"SELECT count(*) FROM conversations WHERE process = '{token}'") == [(0,)]


def test_stopped_worker_finishes_handlers_and_releases_leases(
    system: PostgreSQLSystem, platform: CometChatDriver
) -> None:
    users = [send_messages(system, platform, "/sleep 1", "next") for _ in range(12)]
    system.wait_until(lambda: system.count_marks("sleep") >= 6)
    stopped = system._other_workers.pop()
    stopped.terminate()
    assert stopped.wait(WAIT_TIMEOUT) == 0
    for user in users:
        assert platform.wait_replies(user, 2, system) == ["slept", "re: next"]
    assert "of a dead worker" not in system.log, "somebody waited for a lease"
    assert system.count_marks("sleep") == len(users)
    assert system.query("SELECT max(attempts) FROM mailbox") == [(1,)]
    assert "Traceback" not in system.log


def test_worker_serves_health_and_metrics(system: PostgreSQLSystem, platform: CometChatDriver) -> None:
    port = free_port()
    worker = system._open((*COMETBOT, "worker", "--bind", f"{HOST}:{port}"))
    for other in system._other_workers:
        other.terminate()
        other.wait(WAIT_TIMEOUT)
    system._other_workers = [worker]

    def get(path: str) -> requests.Response:
        return requests.get(f"http://{HOST}:{port}{path}", timeout=WAIT_TIMEOUT)

    def is_at_work() -> bool:
        with suppress(requests.RequestException):
            return str(get("/readyz").json()["checks"].get("threads")).startswith("ok")
        return False

    system.wait_until(is_at_work)
    user = send_messages(system, platform, "hello")
    platform.wait_replies(user, 1, system)
    sent = 'cometbot_sends_total{bot="trial",outcome="sent"} 1.0'
    system.wait_until(lambda: sent in get("/metrics").text)
    page = get("/metrics").text
    assert 'cometbot_events_handled_total{bot="trial",outcome="done"} 1.0' in page
    assert 'cometbot_stuck_conversations{bot="trial"} 0.0' in page
    assert get("/healthz").json() == {"alive": True}
    assert get("/cometchat/trial").status_code == 404
