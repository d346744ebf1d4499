"""The command ``cometbot mcp`` as a process, over standard input and output and over HTTP."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cometbot.mcp.client import _Connection
from cometbot.testing.contract.base import wait_until

SHOP = f"{Path(__file__).parent / 'shop.py'}:bot"
COMMAND = [sys.executable, "-m", "cometbot.cli", "mcp", SHOP]
TOKEN = "a-long-token-for-tests"
ENVIRON = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


class HttpServer:
    """``cometbot mcp --http`` in a process of its own."""

    def __init__(self, token: str) -> None:
        variables = {"COMETBOT_MCP_TOKEN": token} if token else {}
        self.process = subprocess.Popen(
            [*COMMAND, "--http", "127.0.0.1:0"],
            env={**ENVIRON, **variables},
            text=True,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        self.log: list[str] = []
        self._is_serving = threading.Event()
        self.url = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._is_serving.wait(60), self.log

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"over (http://\S+/mcp)\.", line):
                self.url = found[1]
                self._is_serving.set()

    def close(self) -> int:
        self.process.terminate()
        self._reader.join(30)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return self.process.wait(30)


@pytest.fixture(scope="module")
def http_server() -> Iterator[HttpServer]:
    server = HttpServer(TOKEN)
    yield server
    assert server.close() in (0, -15)


@pytest.fixture(scope="module")
def open_http_server() -> Iterator[HttpServer]:
    server = HttpServer("")
    yield server
    server.close()


@pytest.fixture(autouse=True, scope="module")
def closed_connections() -> Iterator[None]:
    """Close what the tests have opened: sessions, and the servers that they start, last as long as their process."""
    opened: list[_Connection] = []
    begin = _Connection.__init__

    def begin_and_note(connection: _Connection, *args: Any) -> None:
        begin(connection, *args)
        opened.append(connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Connection, "__init__", begin_and_note)
        yield
    for connection in opened:
        connection.close()
    wait_until(lambda: all(connection._task is None or connection._task.done() for connection in opened))
