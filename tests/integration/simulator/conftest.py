"""A simulator that listens, and a server that takes its callbacks."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import requests

from cometbot.simulator import Simulator
from cometbot.simulator.server import LoopbackServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Receiver:
    """Takes callbacks: ``bodies`` and ``credentials`` in order of arrival; ``statuses`` are answered first, then 200.

    While ``may_answer`` is not set, callbacks wait for their answer.
    """

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.credentials: list[str] = []
        self.statuses: list[int] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.server = LoopbackServer(self.handle, 0)
        self.url = f"http://127.0.0.1:{self.server.port}/callback"

    def handle(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = json.loads(environ["wsgi.input"].read())
        self.bodies.append(body)
        self.credentials.append(environ.get("HTTP_AUTHORIZATION", ""))
        self.may_answer.wait(60)
        status = self.statuses.pop(0) if self.statuses else 200
        start_response(f"{status} X", [("Content-Type", "application/json")])
        return [b'{"taken": true}']

    @property
    def texts(self) -> list[str]:
        return [body["data"]["data"]["text"] for body in self.bodies]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.may_answer.set()
    receiver.server.stop()


@pytest.fixture
def simulator(receiver: Receiver) -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator.seed_demo("helpdesk", receiver.url, "cc", "s3cr3t-value")


@pytest.fixture
def rest(simulator: Simulator) -> Iterator[Callable[..., requests.Response]]:
    """Calls ``rest("POST", "/bots", {…})`` over one connection that stays open."""
    with requests.Session() as session:
        session.trust_env = False
        session.headers["apikey"] = simulator.api_key
        yield lambda method, path, body=None, **more: session.request(
            method, simulator.api_url + path, json=body, timeout=60, **more
        )
