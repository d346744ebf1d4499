"""The stand-in for the SimpleX CLI in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cometbot.channels.simplex.connection import Connection
from cometbot.channels.simplex.endpoint import Endpoint
from cometbot.channels.simplex.protocol import ChatRef, ComposedMessage, Record, commands
from cometbot.channels.simplex.protocol.contents import text_content
from cometbot.channels.simplex.socket_session import Timing
from cometbot.channels.simplex.startup import AddressConfig, BotProfile, prepare
from cometbot.testing import FakeSimplexControl
from cometbot.testing.simplex import Person

pytestmark = pytest.mark.process

WAIT_TIMEOUT = 60.0


class FakeCliProcess:
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
        self.process.communicate(timeout=WAIT_TIMEOUT)
        return self.process.returncode


@pytest.fixture
def fake_cli(tmp_path: Path) -> Iterator[FakeCliProcess]:
    made = FakeCliProcess(tmp_path / "state.json")
    yield made
    if made.process.poll() is None:
        made.end(signal.SIGKILL)


def _connected(url: str, store: Callable[[Record], None]) -> Connection:
    profile = BotProfile(name="helpdesk")
    return Connection(
        Endpoint.from_url(url),
        on_event=store,
        startup=lambda send_command: prepare(send_command, profile, AddressConfig(welcome="Hi!")),
        timing=Timing(initial_backoff=0.05, max_backoff=0.2),
    )


def test_a_bot_goes_on_after_the_cli_was_killed_and_began_again(fake_cli: FakeCliProcess) -> None:
    events: list[Record] = []
    connection = _connected(fake_cli.url, events.append)
    connection.start()
    try:
        assert connection.wait_ready(WAIT_TIMEOUT)
        with FakeSimplexControl(fake_cli.url) as people:
            alice = people.request("alice")
            assert isinstance(alice, Person)
            people.wait_for(lambda: "contactConnected" in [event.type for event in events], WAIT_TIMEOUT)
            hello = commands.send_messages(ChatRef.from_text(alice.chat), [ComposedMessage(text_content("hello"))])
            connection.command(hello)
            assert alice.texts() == ["Hi!", "hello"]
        port = int(fake_cli.url.rpartition(":")[2])
        fake_cli.end(signal.SIGKILL)
        fake_cli.start(port)
        connection.command(hello, wait=WAIT_TIMEOUT)
        with FakeSimplexControl(fake_cli.url) as people:
            assert Person(people, alice.chat, "alice").texts() == ["Hi!", "hello", "hello"]
            assert [text.split()[0] for text in people.commands] == ["/user", "/_show_address", "/_send"]
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_shuts_the_fake_cli_down(fake_cli: FakeCliProcess, number: int) -> None:
    assert fake_cli.end(number) == 0
