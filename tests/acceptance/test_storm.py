"""Many conversations at once, a platform that fails, and a server that dies and comes back: nothing lost or doubled."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from cometbot.simulator import Simulator, StoredMessage

from .conftest import LOGIN, TRIAL, Platform, Server, StartServer

RECOVERY = 20.0
"""Seconds after a crash within which a conversation goes on."""

EACH = 10
"""Messages a user."""


@dataclass
class Ledger:
    """What became of the messages of one storm. All times are in seconds."""

    acknowledged: int = 0
    answered: int = 0
    doubled: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    slowest_recovery: float = 0.0

    def __str__(self) -> str:
        counts = {
            name: value if isinstance(value, int) else len(value) if isinstance(value, list) else round(value, 1)
            for name, value in vars(self).items()
        }
        return ", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in counts.items())


class Storm:
    """Many users who write at once, each a message after the other, to a server that ends now and then.

    A callback that is not answered with 200 is posted again, as it was, until it is. ``end`` ends the server.
    """

    def __init__(self, server: Server, platform: Platform, users: list[str], end: Callable[[], object]) -> None:
        self.users = users
        self._server = server
        self._platform = platform
        self._end = end
        self._lock = threading.Lock()
        self._up = threading.Event()
        self._up.set()
        self._over = threading.Event()
        self.acknowledged: dict[str, StoredMessage] = {}
        self.ends: list[tuple[float, set[str]]] = []

    def blow(self, ends_at: tuple[int, ...]) -> None:
        """Have everything posted, and the server ended and started whenever so many messages were acknowledged."""
        with ThreadPoolExecutor(8) as pool:
            users = [pool.submit(self._write_all, self.users[first::8]) for first in range(8)]
            try:
                for count in ends_at:
                    self._server.wait_until(lambda at=count: len(self.acknowledged) >= at, 60)  # type: ignore[misc]
                    self._interrupt()
                for user in users:
                    user.result(60)
            finally:
                self._over.set()
                self._up.set()

    def _write_all(self, users: list[str]) -> None:
        with requests.Session() as session:
            for number in range(EACH):
                for user in users:
                    self._post_until_taken(session, self._platform.write(str(number), user))

    def _post_until_taken(self, session: requests.Session, message: StoredMessage) -> None:
        callback = self._platform.callback(message)
        while not self._post(session, callback):
            self._up.wait(30)
            if self._over.is_set():
                return
        with self._lock:
            self.acknowledged[message.id] = message

    def _post(self, session: requests.Session, callback: dict[str, Any]) -> bool:
        try:
            answer = session.post(self._server.callback_url, json=callback, auth=LOGIN, timeout=10)
            return answer.status_code == 200
        except requests.RequestException:
            return False

    def _interrupt(self) -> None:
        self._up.clear()
        self._end()
        with self._lock:
            waiting = set(self.acknowledged) - {message.id for message, _ in self._answers()}
        self.ends.append((time.time(), waiting))
        self._server.start()
        self._up.set()

    def _answers(self) -> Iterator[tuple[StoredMessage, StoredMessage]]:
        """What was asked and what was answered to it, in the order of the answers."""
        asked = {(message.sender, message.text): message for message in self._platform.simulator.messages()}
        for message in self._platform.simulator.messages():
            if message.sender == TRIAL and message.receiver in self.users:
                yield asked[message.receiver, message.text.removeprefix("re: ")], message

    def are_all_answered(self) -> bool:
        return {message.id for message, _ in self._answers()} >= set(self.acknowledged)

    def make_ledger(self) -> Ledger:
        """What became of everything that was acknowledged."""
        ledger = Ledger(acknowledged=len(self.acknowledged))
        answers: dict[str, list[StoredMessage]] = defaultdict(list)
        latest: dict[str, int] = {}
        for message, answer in self._answers():
            answers[message.id].append(answer)
            if len(answers[message.id]) > 1:
                ledger.doubled.append(f"{message.sender}: {message.text}")
            elif message.number < latest.get(message.sender, 0):
                ledger.out_of_order.append(f"{message.sender}: {message.text}")
            latest[message.sender] = max(message.number, latest.get(message.sender, 0))
        ledger.answered = len(answers)
        ledger.lost = [
            f"{message.sender}: {message.text}" for name, message in self.acknowledged.items() if name not in answers
        ]
        ledger.slowest_recovery = max(self._recoveries(), default=0.0)
        return ledger

    def _recoveries(self) -> Iterator[float]:
        """For each conversation with something to do when the server ended: the time from there until it went on."""
        said_at = self._said_at()
        answered: dict[str, list[float]] = defaultdict(list)
        for message, answer in self._answers():
            answered[message.sender].append(said_at[answer.muid])
        for ended_at, waiting in self.ends:
            for user in {self.acknowledged[name].sender for name in waiting}:
                went_on = min((at for at in answered[user] if at > ended_at), default=float("inf"))
                yield went_on - max(at for at, _ in self.ends if at < went_on)

    def _said_at(self) -> dict[str, float]:
        """When each answer arrived, by its muid; some were answered with 500 then."""
        said: dict[str, float] = {}
        for request in self._platform.simulator.requests:
            if request.method == "POST" and (request.status == 200 or "fail" in request.misbehaviour):
                said.setdefault(request.body["muid"], request.at)
        return said


@pytest.mark.process
@pytest.mark.timeout(180)
def test_600_messages_with_three_kills_and_a_failing_platform_are_all_answered_once_and_in_order(
    start_server: StartServer, platform: Platform, simulator: Simulator
) -> None:
    server = start_server()
    simulator.misbehave.rate_limit(retry_after=0.3, probability=0.02, seed=1, routes=["*"])
    simulator.misbehave.fail(500, probability=0.04, seed=2, routes=["*"])
    simulator.misbehave.fail(500, after=True, probability=0.04, seed=3, routes=["*"])
    storm = Storm(server, platform, [f"guest-{number:02}" for number in range(60)], end=server.kill)
    began = time.monotonic()
    try:
        storm.blow(ends_at=(150, 300, 450))
        server.wait_until(storm.are_all_answered, 60)
    finally:
        ledger = storm.make_ledger()
        effects = simulator.misbehave.effects
        misbehaved = {effect.rule.kind + " after" * effect.rule.after: effect.hits for effect in effects}
        simulator.misbehave.clear()
        seconds = time.monotonic() - began
        print(f"\n{ledger}; {json.dumps(misbehaved)}; {len(simulator.requests)} requests in {seconds:.1f} s")
    assert ledger.acknowledged == ledger.answered == 600
    assert (ledger.lost, ledger.doubled, ledger.out_of_order) == ([], [], [])
    assert ledger.slowest_recovery < RECOVERY
    assert len(storm.ends) == 3
    assert all(misbehaved.values())
    assert server.dead_letters() == []
    server.close()


@pytest.mark.process
@pytest.mark.timeout(120)
def test_sigterm_under_load_loses_nothing_and_has_no_handler_run_twice(
    start_server: StartServer, platform: Platform
) -> None:
    server = start_server()
    statuses: list[int] = []
    users = [f"caller-{number:02}" for number in range(24)]
    storm = Storm(server, platform, users, end=lambda: statuses.append(server.terminate()))
    storm.blow(ends_at=(60, 120, 180))
    server.wait_until(storm.are_all_answered, 60)
    ledger = storm.make_ledger()
    assert ledger.acknowledged == ledger.answered == 240
    assert (ledger.lost, ledger.doubled, ledger.out_of_order) == ([], [], [])
    assert statuses == [0, 0, 0]
    assert server.query("SELECT MAX(attempts) FROM mailbox") == [(1,)]
    assert "Traceback" not in server.log
    server.close()
