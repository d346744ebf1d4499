"""The stand-in for the SimpleX CLI in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cometbot.channels.simplex.connection import Connection, Timing
from cometbot.channels.simplex.endpoint import Endpoint
from cometbot.channels.simplex.protocol import ChatRef, ComposedMessage, Record, commands
from cometbot.channels.simplex.protocol.contents import text_content
from cometbot.channels.simplex.startup import AddressWish, BotProfile, prepare
from cometbot.testing import FakeSimplexControl
from cometbot.testing.simplex import Person

pytestmark = pytest.mark.process

LIMIT = 60.0


class Process:
    """A stand-in that keeps everything in a file, and can be killed."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self.url = ""
        self.start(0)

    def start(self, port: int) -> None:
        command = [sys.executable, "-m", "cometbot.testing.simplex", "--port", str(port), "--state", str(self._state)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("ws://127.0.0.1:")

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=LIMIT)
        return self.process.returncode


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path / "state.json")
    yield made
    if made.process.poll() is None:
        made.end(signal.SIGKILL)


def _connected(url: str, store: Callable[[Record], None]) -> Connection:
    profile = BotProfile(name="helpdesk")
    return Connection(
        Endpoint.from_url(url),
        on_event=store,
        startup=lambda ask: prepare(ask, profile, AddressWish(welcome="Hi!")),
        timing=Timing(first_wait=0.05, longest_wait=0.2),
    )


def test_a_bot_goes_on_after_the_cli_was_killed_and_began_again(stand_in: Process) -> None:
    events: list[Record] = []
    connection = _connected(stand_in.url, events.append)
    connection.start()
    try:
        assert connection.wait_ready(LIMIT)
        with FakeSimplexControl(stand_in.url) as people:
            alice = people.request("alice")
            assert isinstance(alice, Person)
            people.wait_for(lambda: "contactConnected" in [event.type for event in events], LIMIT)
            hello = commands.send_messages(ChatRef.from_text(alice.chat), [ComposedMessage(text_content("hello"))])
            connection.command(hello)
            assert alice.texts() == ["Hi!", "hello"]
        port = int(stand_in.url.rpartition(":")[2])
        stand_in.end(signal.SIGKILL)
        stand_in.start(port)
        connection.command(hello, wait=LIMIT)
        with FakeSimplexControl(stand_in.url) as people:
            assert Person(people, alice.chat, "alice").texts() == ["Hi!", "hello", "hello"]
            assert [text.split()[0] for text in people.commands] == ["/user", "/_show_address", "/_send"]
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(stand_in: Process, number: int) -> None:
    assert stand_in.end(number) == 0
