"""A reader's terminals: lines of a page run one after the other, and servers go on in a terminal of their own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from cometbot.web.server import READY_PIPE_VARIABLE
from tests.acceptance.conftest import WAIT_TIMEOUT, wait_for

_SCRIPT = 'trap "export -p > {state}; pwd > {place}" EXIT\n{line}\n'
_YES_ANSWERS = "y\n" * 3
_INTERRUPTED_STATUSES = (0, 2, -signal.SIGINT, 128 + signal.SIGINT)
"""Statuses after Ctrl-C: of a server, of make, of the shell around it, and of a shell that says so by a number."""
_LISTENING = re.compile(r"Listening at: (\S+)")


def _is_served(output: str) -> bool:
    """Return whether the server answers at the address that its log names."""
    found = _LISTENING.search(output)
    if found is None:
        return False
    if found[1].startswith("unix:"):
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(found[1].removeprefix("unix:")) == 0
    with suppress(requests.RequestException):
        return requests.get(f"{found[1]}/readyz", timeout=WAIT_TIMEOUT).status_code == 200
    return False


@dataclass(frozen=True)
class ServerCommand:
    """A command that runs until Ctrl-C: its lines, what a person types into it, and when it is ready."""

    name: str
    lines: str
    typed: str
    is_ready: Callable[[str], bool]


WORKER = ServerCommand("worker", r"cometbot worker\b", "", lambda output: output.endswith("!"))
"""It logs nothing when it is ready, but writes a mark to the file that its environment names: here to the log."""

SERVERS = [
    ServerCommand(
        "chat", r"(make run|cometbot dev|cometbot simplex --demo)\b", "hi\n", lambda output: "Hello" in output
    ),
    ServerCommand("simplex", r"cometbot simplex\b", "", lambda output: "Address: " in output),
    ServerCommand("serve", r"cometbot serve\b", "", _is_served),
    ServerCommand("client", r"node client\.mjs\b", "", lambda output: output.count("type:") > 1),
    WORKER,
]


def find_server(line: str) -> ServerCommand | None:
    """Return the server that a line starts, or None for a command that ends by itself."""
    command = re.sub(r"^(\w+=\S* )*(/\S*/)?", "", line)
    return next((server for server in SERVERS if re.match(server.lines, command)), None)


class _RunningLine:
    """A line that runs, with all that it starts, in a process group of its own."""

    def __init__(self, line: str, typed: str, folder: Path, environ: dict[str, str], files: Path) -> None:
        self.line = line
        self._log, self._state, self._place = (files.with_suffix(f".{end}") for end in ("log", "state", "place"))
        script = _SCRIPT.format(state=self._state, place=self._place, line=line)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                # Who runs the tests in the background has Ctrl-C ignored; a reader's terminal has not.
                ["env", "--default-signal=INT", "bash", "-c", script],
                cwd=folder,
                env=environ | ({READY_PIPE_VARIABLE: str(log.fileno())} if find_server(line) is WORKER else {}),
                pass_fds=[log.fileno()],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        self._stdin = self._process.stdin
        with suppress(BrokenPipeError):
            self._stdin.write(typed)
            self._stdin.flush()

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def status(self) -> int | None:
        return self._process.poll()

    def close_input(self) -> None:
        with suppress(BrokenPipeError):
            self._stdin.close()

    def end(self) -> int:
        """Press Ctrl-C and return the exit status."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGINT)
        try:
            return self._process.wait(WAIT_TIMEOUT)
        finally:
            self.kill()

    def kill(self) -> None:
        """Leave nothing behind."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.close_input()

    def outcome(self) -> tuple[str, dict[str, str]]:
        """Return the folder and the exported variables at the end of the line."""
        shown = subprocess.run(
            ["bash", "-c", f"source {self._state} && env -0"], env={}, capture_output=True, text=True, check=True
        )
        pairs = (item.partition("=") for item in shown.stdout.split("\0") if item)
        return self._place.read_text().rstrip("\n"), {name: value for name, _, value in pairs if name != "_"}


class Terminal:
    """Run lines in a folder; folder and exported variables go from one line to the next."""

    def __init__(self, folder: Path, environ: Mapping[str, str], files: Path) -> None:
        self.folder = folder
        self.environ = dict(environ)
        self._files = files
        self._count = 0
        self._running: dict[str, _RunningLine] = {}

    def run(self, line: str) -> str:
        """Run a line to its end, or until the server that it starts is ready, and return what it printed."""
        server = find_server(line)
        if server is not None:
            self.end(server.name)
        self._count += 1
        typed = _YES_ANSWERS if server is None else server.typed
        started = _RunningLine(line, typed, self.folder, self.environ, self._files / f"line-{self._count}")
        if server is None:
            self._finish(started)
        else:
            self._running[server.name] = started
            wait_for(lambda: self._is_ready(server, started), or_show=lambda: f"{line}\n{started.output}")
        return started.output

    def end(self, name: str) -> None:
        """End a server that runs, as its reader does before starting it in another way."""
        line = self._running.pop(name, None)
        if line is not None:
            assert line.end() in _INTERRUPTED_STATUSES, f"{line.line}\n{line.output}"

    def close(self) -> None:
        """End all servers."""
        try:
            for name in list(self._running):
                self.end(name)
        finally:
            for line in self._running.values():
                line.kill()

    def _is_ready(self, server: ServerCommand, started: _RunningLine) -> bool:
        if started.status is not None:
            pytest.fail(f"ended with {started.status}: {started.line}\n{started.output}")
        return server.is_ready(started.output)

    def _finish(self, started: _RunningLine) -> None:
        started.close_input()
        try:
            wait_for(lambda: started.status is not None, or_show=lambda: f"{started.line}\n{started.output}")
        finally:
            started.kill()
        # doctor ends with 1 where a check fails, as some do without the domain of the page; replay, and with the
        # traceback of the handler, where that raises.
        is_replay = " replay" in started.line
        expected = (0, 1) if is_replay or " doctor" in started.line else (0,)
        assert started.status in expected, f"ended with {started.status}: {started.line}\n{started.output}"
        assert is_replay or "Traceback" not in started.output, f"{started.line}\n{started.output}"
        place, self.environ = started.outcome()
        self.folder = Path(place)
        self._write_settings(started.output)

    def _write_settings(self, output: str) -> None:
        """Put the lines for ``.env`` that a command shows into that file."""
        lines = re.findall(r"^\s*(COMETBOT_CALLBACK_\w+=\S+)$", output, re.M)
        if lines:
            with (self.folder / ".env").open("a") as file:
                file.write("\n".join(["", *lines, ""]))
