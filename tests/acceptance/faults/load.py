"""Many users who write at once while things break, and the ledger of what became of their messages."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import requests

from cometbot.simulator import StoredMessage

from ..conftest import BOT_NAME, LOGIN, WAIT_TIMEOUT, CometChatDriver
from .system import System

Fault = Callable[[], object]

_WRITER_COUNT = 8
LOAD_TIMEOUT = 180.0
"""Seconds for what takes a tenth of them on a machine that does nothing else."""


@dataclass
class Report:
    """What became of the messages of one storm. All times are in seconds."""

    acknowledged: int = 0
    answered: int = 0
    duplicates: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    slowest_recovery: float = 0.0

    def __str__(self) -> str:
        counts = {
            name: value if isinstance(value, int) else len(value) if isinstance(value, list) else round(value, 1)
            for name, value in vars(self).items()
        }
        return ", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in counts.items())


@dataclass
class FaultWindow:
    """A fault that was done: when it began and ended, and whose messages had no answer when it began."""

    started_at: float
    ended_at: float
    unanswered: set[str]


class Load:
    """``users`` who write ``messages_per_user`` messages, one after the other, to a system in which things break.

    A callback that is not answered with 200 is posted again, as it was, until it is. With ``redelivers`` a third of
    those that were come once more, later. With ``shuffles`` neighbours come in the wrong order; what counts as order
    is that of their arrival.
    """

    def __init__(
        self,
        system: System,
        platform: CometChatDriver,
        users: Sequence[str],
        *,
        messages_per_user: int = 10,
        redelivers: bool = False,
        shuffles: bool = False,
    ) -> None:
        self.users = users
        self.system = system
        self._platform = platform
        self.messages_per_user = messages_per_user
        self._redelivers = redelivers
        self._shuffles = shuffles
        self._random = random.Random(4711)
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self.acknowledged: dict[str, StoredMessage] = {}
        self.fault_windows: list[FaultWindow] = []
        self.slowest_acknowledgement = 0.0

    def run(self, *faults: tuple[float, Fault]) -> None:
        """Have everything posted, and each fault done when that part (0 to 1) of the messages was acknowledged."""
        total = len(self.users) * self.messages_per_user
        with ThreadPoolExecutor(_WRITER_COUNT) as pool:
            writers = [pool.submit(self._write_all, self.users[first::_WRITER_COUNT]) for first in range(_WRITER_COUNT)]
            try:
                for part, fault in faults:
                    self.system.wait_until(lambda at=part * total: len(self.acknowledged) >= at, LOAD_TIMEOUT)  # type: ignore[misc]
                    self._inject(fault)
                for writer in writers:
                    writer.result(LOAD_TIMEOUT)
            finally:
                self._is_over.set()

    def _inject(self, fault: Fault) -> None:
        began = time.time()
        with self._lock:
            waiting = set(self.acknowledged) - {message.id for message, _ in self._answers()}
        fault()
        self.fault_windows.append(FaultWindow(began, time.time(), waiting))

    def _write_all(self, users: Sequence[str]) -> None:
        with requests.Session() as session:
            for first in range(0, self.messages_per_user, 2):
                for user in users:
                    pair = [self._platform.write(str(number), user) for number in range(first, first + 2)]
                    if self._shuffles and self._random.random() < 0.3:
                        pair.reverse()
                    for message in pair[: self.messages_per_user - first]:
                        self._post_until_acknowledged(session, message)

    def _post_until_acknowledged(self, session: requests.Session, message: StoredMessage) -> None:
        callback = self._platform.callback(message)
        while not self._post(session, callback):
            if self._is_over.wait(0.1):
                return
        with self._lock:
            self.acknowledged[message.id] = message
            again = self._random.choice(list(self.acknowledged.values())) if self._redelivers else None
        if again is not None and self._random.random() < 0.3:
            self._post(session, self._platform.callback(again))

    def _post(self, session: requests.Session, callback: dict[str, Any]) -> bool:
        began = time.monotonic()
        try:
            answer = session.post(self.system.callback_url, json=callback, auth=LOGIN, timeout=WAIT_TIMEOUT)
        except requests.RequestException:
            return False
        if answer.status_code == 200:
            self.slowest_acknowledgement = max(self.slowest_acknowledgement, time.monotonic() - began)
        return answer.status_code == 200

    def _answers(self) -> Iterator[tuple[StoredMessage, StoredMessage]]:
        """What was asked and what was answered to it, in the order of the answers."""
        messages = self._platform.simulator.messages()
        asked = {(message.sender, message.text): message for message in messages if message.receiver == BOT_NAME}
        users = set(self.users)
        for message in messages:
            if message.sender == BOT_NAME and message.receiver in users:
                yield asked[message.receiver, message.text.removeprefix("re: ")], message

    def are_all_answered(self) -> bool:
        return {message.id for message, _ in self._answers()} >= set(self.acknowledged)

    def wait_for_answers(self, seconds: float = LOAD_TIMEOUT) -> Report:
        """The ledger, once every acknowledged message was answered, or the time is up."""
        end = time.monotonic() + seconds
        while not self.are_all_answered() and time.monotonic() < end:
            time.sleep(0.05)
        return self.make_report()

    def make_report(self) -> Report:
        """What became of everything that was acknowledged."""
        ledger = Report(acknowledged=len(self.acknowledged))
        arrived = {name: number for number, name in enumerate(self.acknowledged)}
        answers: dict[str, list[StoredMessage]] = defaultdict(list)
        latest: dict[str, int] = {}
        for message, answer in self._answers():
            answers[message.id].append(answer)
            number = arrived.get(message.id, 0)
            if len(answers[message.id]) > 1:
                ledger.duplicates.append(f"{message.sender}: {message.text}")
            elif number < latest.get(message.sender, 0):
                ledger.out_of_order.append(f"{message.sender}: {message.text}")
            latest[message.sender] = max(number, latest.get(message.sender, 0))
        ledger.answered = len(answers)
        ledger.lost = [f"{one.sender}: {one.text}" for name, one in self.acknowledged.items() if name not in answers]
        ledger.slowest_recovery = max(self._recoveries(), default=0.0)
        return ledger

    def _recoveries(self) -> Iterator[float]:
        """For each conversation with something to do when something broke: how long after its end it went on."""
        arrival_times = self._arrival_times()
        answered: dict[str, list[float]] = defaultdict(list)
        for message, answer in self._answers():
            answered[message.sender].append(arrival_times.get(answer.muid, answer.sent_at))
        for window in self.fault_windows:
            for user in {self.acknowledged[name].sender for name in window.unanswered}:
                resumed_at = min((at for at in answered[user] if at > window.started_at), default=float("inf"))
                yield resumed_at - max(
                    (one.ended_at for one in self.fault_windows if one.ended_at < resumed_at), default=resumed_at
                )

    def _arrival_times(self) -> dict[str, float]:
        """When each answer arrived, by its muid; some were answered with 500 then."""
        said: dict[str, float] = {}
        for request in list(self._platform.simulator.requests):
            if request.method == "POST" and (request.status == 200 or request.misbehaviour):
                said.setdefault(str(request.body.get("muid")), request.at)
        return said
