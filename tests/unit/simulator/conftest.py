"""A simulator that does not listen, and its REST API without sockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from cometbot.simulator import Simulator

Rest = Callable[..., TestResponse]


class Clock:
    """Time that goes on only when it is told to."""

    def __init__(self) -> None:
        self.time = 1_767_225_600.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def simulator(clock: Clock) -> Simulator:
    return Simulator(clock=clock).seed_demo(username="cc", password="s3cr3t-value")


@pytest.fixture
def rest(simulator: Simulator) -> Rest:
    """Calls ``rest("POST", "/bots", {…}, acting="maria")`` with the full key."""
    client = simulator.app.test_client()

    def call(
        method: str, path: str, body: Any = None, *, acting: str = "", key: str | None = None, **more: Any
    ) -> TestResponse:
        headers = {"apikey": simulator.api_key if key is None else key, **more.pop("headers", {})}
        if acting:
            headers["onBehalfOf"] = acting
        return client.open(f"/v3{path}", method=method, json=body, headers=headers, **more)

    return call
