"""A real ``cometbot serve`` with AG-UI, and a client that keeps the bytes of each answer."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import requests

from cometbot.temporary_folders import TemporaryFolder
from tests.acceptance.conftest import BOTS, WAIT_TIMEOUT, Server, wait_for

TOKEN = "0123456789abcdef" * 4
OTHER_TOKEN = "fedcba9876543210" * 4
WHOLE = "".join(f"word{number} " for number in range(10))
"""What the bot streams."""

_numbers = itertools.count(1)


def run_validator(target: str, *options: str) -> None:
    """Run ``ag-ui-validate`` on a file or a URL; the test fails if it finds an error or a warning."""
    if sys.version_info < (3, 11):
        return  # the package needs Python 3.11
    command = [sys.executable, "-m", "ag_ui_validate.cli", "--no-color", "--max-warnings", "0", *options, target]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_TIMEOUT, check=False)
    assert ended.returncode == 0, f"{target}\n{ended.stdout}{ended.stderr}"


def find_faults(received: bytes) -> list[str]:
    """Return the errors and warnings of ``ag-ui-validate`` about the bytes of a complete answer."""
    if sys.version_info < (3, 11):
        return []
    from ag_ui_validate.transport import TransportOptions, validate_body

    async def pieces() -> AsyncIterator[bytes]:
        yield received

    result = asyncio.run(validate_body(pieces(), None, TransportOptions(recorded=True)))
    return [f"{fault.rule}: {fault.message}" for fault in result.report.diagnostics if fault.severity != "info"]


class AgentServer(Server):
    """``cometbot serve``, with AG-UI alone."""

    command = (sys.executable, "-c", "from cometbot.cli import main; main(prog_name='cometbot')", "serve")

    @property
    def run_url(self) -> str:
        return f"{self.url}/agui/{self.bot}"


class Answer:
    """One answer, read by a thread of its own."""

    def __init__(self, response: requests.Response) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.received = b""
        self.is_torn = False
        self._response = response
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for piece in self._response.iter_content(None):
                self.received += piece
        except (requests.RequestException, AttributeError):  # closed here, or there
            self.is_torn = True

    def wait(self) -> Answer:
        """Return this, once it is complete. An answer of events must be a valid one."""
        self._thread.join(WAIT_TIMEOUT)
        assert not self._thread.is_alive(), self.received
        if self.status == 200 and not self.is_torn:
            assert self.headers["Content-Type"] == "text/event-stream"
            assert find_faults(self.received) == [], self.received
        return self

    def wait_for(self, kind: str, count: int = 1) -> Answer:
        """Return this, once so many events of a kind have come."""
        wait_for(lambda: self.kinds.count(kind) >= count, or_show=lambda: self.received)
        return self

    def close(self) -> None:
        """Go away without a word."""
        self._response.raw._fp.fp.raw._sock.shutdown(2)
        self._thread.join(WAIT_TIMEOUT)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in re.findall(rb"^data: (.*)\n\n", self.received, re.MULTILINE)]

    @property
    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]

    @property
    def texts(self) -> list[str]:
        """The texts of the messages, in the order of their beginnings."""
        found: dict[str, str] = {}
        for event in self.events:
            if event["type"].startswith("TEXT_MESSAGE_"):
                found[event["messageId"]] = found.get(event["messageId"], "") + event.get("delta", "")
        return list(found.values())

    @property
    def last(self) -> dict[str, Any]:
        return self.events[-1]

    @property
    def interrupt(self) -> str:
        """The id of the interrupt that the run ended with."""
        [found] = self.last["outcome"]["interrupts"]
        return str(found["id"])


class Client:
    """A client in one thread. It sends all messages with each request, as AG-UI demands."""

    def __init__(self, server: AgentServer, thread: str = "", *, version: str = "1.0") -> None:
        self.server = server
        self.thread = thread or f"thread-{next(_numbers)}"
        self.messages: list[dict[str, Any]] = []
        self._version = {"protocolVersion": version} if version else {}

    def say(self, text: str, **members: Any) -> Answer:
        """Return the complete answer to a text, which is added to the messages as well."""
        answer = self.start(text, **members).wait()
        self.messages += [{"id": f"m{next(_numbers)}", "role": "assistant", "content": text} for text in answer.texts]
        return answer

    def start(self, text: str, **members: Any) -> Answer:
        """Send a text, and return the answer as it begins."""
        self.messages.append({"id": f"m{next(_numbers)}", "role": "user", "content": text})
        return self.post(**members)

    def repeat(self, **members: Any) -> Answer:
        """Return the complete answer to the same messages, in a run of another id."""
        return self.post(**members).wait()

    def resume(self, interrupt: str, payload: Any = None, status: str = "resolved") -> Answer:
        """Return the complete answer to an answer to an interrupt."""
        entry = {"interruptId": interrupt, "status": status, "payload": payload}
        return self.post(resume=[entry]).wait()

    def post(self, *, headers: Mapping[str, str] | None = None, **members: Any) -> Answer:
        """Send the messages, and return the answer as it begins."""
        run = {"threadId": self.thread, "runId": f"run-{next(_numbers)}", "messages": self.messages, **self._version}
        return post(self.server, run | members, headers)


def post(server: AgentServer, body: Mapping[str, Any] | bytes, headers: Mapping[str, str] | None = None) -> Answer:
    """Send a body, and return the answer as it begins."""
    given = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **(headers or {})}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(requests.post(server.run_url, data=data, headers=given, stream=True, timeout=WAIT_TIMEOUT))


StartAgent = Callable[..., AgentServer]


@pytest.fixture(scope="module")
def start_agent() -> Iterator[StartAgent]:
    """Starts a server; ``variables`` go into its environment."""
    started: list[AgentServer] = []
    with TemporaryFolder("test") as folder:

        def start(**variables: str) -> AgentServer:
            place = folder / str(len(started))
            place.mkdir()
            environ = {
                "COMETBOT_BOT": f"{BOTS}/agent.py:bot",
                "COMETBOT_CHANNELS": "agui",
                "COMETBOT_DATA": str(place / "data"),
                "AGUI_TOKEN": f"{OTHER_TOKEN},{TOKEN}",
            }
            server = AgentServer(place, environ | variables)
            started.append(server)
            server.start()
            return server

        yield start
        for server in started:
            server.close()


@pytest.fixture(scope="module")
def server(start_agent: StartAgent) -> AgentServer:
    """The server that the tests of a module share, as far as they leave it whole."""
    return start_agent()


def shape(kinds: Sequence[str]) -> list[str]:
    """Return the kinds of events, each only once where it repeats."""
    return [kind for kind, _ in itertools.groupby(kinds)]
