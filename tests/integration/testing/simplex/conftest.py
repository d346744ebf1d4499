"""A plain WebSocket to the stand-in, and the reference that all of its records are held against."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from cometbot.testing import FakeSimplexCLI
from tests.simplex_reference import find_record_errors

UNLISTED = {
    "apiChat", "versionInfo", "agentSubs", "newMemberContact", "newMemberContactSentInv", "chats", "chatHelp",
    "userProfile",
}  # fmt: skip
"""Answers of commands that the reference does not list."""


class Client:
    """A socket, its answers by correlation id, and the events that came."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self._number = 0

    def receive(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(self.socket.recv(5))
        return frame

    def __call__(self, command: str) -> dict[str, Any]:
        self._number += 1
        self.socket.send(json.dumps({"corrId": str(self._number), "cmd": command}))
        while True:
            frame = self.receive()
            if "corrId" not in frame:
                self.events.append(frame["resp"])
                continue
            assert frame["corrId"] == str(self._number)
            answer: dict[str, Any] = frame["resp"]
            return answer

    def error_tag(self, command: str) -> str:
        """The innermost tag of the error that a command is answered with."""
        answer = self(command)
        assert answer["type"] == "chatCmdError", answer["type"]
        error = answer["chatError"]
        inner = error.get("errorType") or error.get("storeError")
        tag: str = inner["type"]
        return tag

    def event(self, tag: str) -> dict[str, Any]:
        """The next event of this kind."""
        while True:
            for event in self.events:
                if event["type"] == tag:
                    self.events.remove(event)
                    return event
            self.events.append(self.receive()["resp"])


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[FakeSimplexCLI]:
    (tmp_path / "files").mkdir()
    with FakeSimplexCLI(files_folder=tmp_path / "files") as made:
        yield made
        for is_answer, record in made.server.records:
            if record["type"] not in UNLISTED:
                assert find_record_errors(record, is_answer=is_answer) == []


@pytest.fixture
def connect_client(cli: FakeSimplexCLI) -> Iterator[Callable[[], Client]]:
    opened: list[Any] = []

    def make() -> Client:
        socket = connect(cli.url, proxy=None, max_size=None)
        opened.append(socket)
        return Client(socket.__enter__())

    yield make
    for socket in opened:
        socket.__exit__(None, None, None)


@pytest.fixture
def client(connect_client: Callable[[], Client]) -> Client:
    return connect_client()


def send(chat: str, *messages: Any, options: str = "") -> str:
    whole = [message if "msgContent" in message else {"msgContent": message, "mentions": {}} for message in messages]
    return f"/_send {chat}{options} json {json.dumps(whole)}"


def sent(answer: dict[str, Any]) -> int:
    assert answer["type"] == "newChatItems", answer
    number: int = answer["chatItems"][0]["chatItem"]["meta"]["itemId"]
    return number
