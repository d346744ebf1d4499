"""From the start of a callback's POST until the reply's REST request arrives at CometChat, at a steady rate."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.load import percentile
from benchmarks.payloads import APP_ID, BOT, PASSWORD, USERNAME
from benchmarks.servers import serve_cometbot
from benchmarks.tables import table
from cometbot.simulator import Simulator
from cometbot.simulator.behaviour import Behaviour

RATE = 50
USERS = 50
_UNLIMITED = 1_000_000_000
_CALLBACK_THREADS = 8
_PATIENCE = 30.0


@dataclass(frozen=True)
class Talk:
    """One round: how many messages were answered, of how many, and the seconds that each answer took."""

    messages: int
    wall: float
    seconds: list[float]


def run(rounds: int = 3, messages: int = 600) -> str:
    """The table: a real gunicorn with the project's settings, and the simulator in a process of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="cometbot-bench-") as folder,
        _simulator() as (pipe, url),
        serve_cometbot("wsgi:app", Path(folder), api_url=f"{url}/v3", COMETBOT_BOT="benchmarks.bots:echo") as server,
    ):
        pipe.send(f"{server.url}/cometchat/{BOT}")
        talks = []
        for number in range(rounds + 1):
            pipe.send(messages if number else RATE)  # the first round only warms up
            talks.append(pipe.recv())
    head = ("round", "messages", "answered", "messages/s", "p50 ms", "p90 ms", "p99 ms", "slowest ms")
    return table(head, [_row(number, talk) for number, talk in enumerate(talks) if number])


def _row(number: int, talk: Talk) -> list[object]:
    parts = [percentile(talk.seconds, part) * 1000 for part in (0.5, 0.9, 0.99, 1.0)]
    return [number, talk.messages, len(talk.seconds), talk.messages / talk.wall, *parts]


@contextmanager
def _simulator() -> Iterator[tuple[Connection, str]]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_converse, args=(there,), daemon=True)
    process.start()
    try:
        yield here, here.recv()
    finally:
        here.close()
        process.join(_PATIENCE)


def _converse(pipe: Connection) -> None:
    """The simulator's process: tells its URL, is told the bot's, and has users write for as long as it is asked to."""
    behaviour = Behaviour(core_limit=_UNLIMITED, standard_limit=_UNLIMITED, callback_threads=_CALLBACK_THREADS)
    with Simulator(app_id=APP_ID, api_key="benchmark", behaviour=behaviour) as simulator:
        pipe.send(simulator.url)
        simulator.add_bot(BOT, pipe.recv(), username=USERNAME, password=PASSWORD)
        for number in range(USERS):
            simulator.add_user(f"user-{number}")
        while True:
            try:
                pipe.send(_talk(simulator, pipe.recv()))
            except EOFError:
                return


def _talk(simulator: Simulator, messages: int) -> Talk:
    seen = len(simulator.requests)
    began = time.monotonic()
    for number in range(messages):
        time.sleep(max(began + number / RATE - time.monotonic(), 0.0))
        simulator.user(f"user-{number % USERS}").say("hello", to=BOT)
    wall = time.monotonic() - began
    try:
        simulator.wait_for(lambda _: len(simulator.requests) >= seen + messages, _PATIENCE)
    finally:
        simulator.wait_idle(_PATIENCE)
    asked = {entry.message_id: entry.at - entry.seconds for entry in simulator.callbacks}
    answered = {
        entry.body["data"]["text"].rpartition(" ")[2]: entry.at
        for entry in simulator.requests[seen:]
        if entry.path.endswith("/messages")
    }
    return Talk(messages, wall, [at - asked[message] for message, at in answered.items()])


if __name__ == "__main__":
    print(run())
