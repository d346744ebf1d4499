"""Count the Python calls of one message inside ``cometbot``, and list the functions that it goes through.

A text message goes through the application in this process: the callback's POST (Basic Auth, ``after_message``), the
mailbox on SQLite, a handler that replies once, the POST to the Send Bot Message API (a stub), the reply recorded as
sent. All settings have their defaults. Counting ends when the worker waits for work again.

A call is a "call" event of :func:`sys.setprofile` for a function of ``cometbot``. A generator counts each time it
resumes, a comprehension where Python runs it as a function, a class body never. Only two threads are counted: the one
that posts the callback, and the one that runs the handler. Maintenance threads (heartbeats, sweeps, purges) are left
out, and so is gunicorn's worker.

The process is warm: two messages of the same conversation come first. The result is the smallest of the ``MESSAGES``
counts that follow, since a thread that waits for the write lock tries again, which adds calls.
"""

from __future__ import annotations

import base64
import inspect
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from unittest import mock

from benchmarks.code_size import PACKAGE, chains, module_name, sizes
from benchmarks.payloads import APP_ID, BOT, PASSWORD, USERNAME, callback_body
from cometbot import Bot
from cometbot.web.app import create_app

MESSAGES = 5
_WARM_UP = 2
_TIMEOUT = 30.0
_QUIET = 0.3
"""Seconds in which no thread moves, before the next message is posted."""

Position = tuple[CodeType, int]


@dataclass
class Calls:
    """The calls of one thread while one message passes; ``first`` has each function's depth at its first call."""

    total: int = 0
    first: dict[CodeType, int] = field(default_factory=dict)


class Profiler:
    """Records the calls into cometbot, for each thread of its own."""

    def __init__(self) -> None:
        self.calls: dict[int, Calls] = {}
        self.is_on = False

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Called by the interpreter for each call and return."""
        if event == "call" and self.is_on and _module(frame.f_code):
            calls = self.calls.setdefault(threading.get_ident(), Calls())
            calls.total += 1
            if frame.f_code not in calls.first:
                calls.first[frame.f_code] = _depth(frame)


@dataclass(frozen=True)
class Route:
    """What one message did, in the thread that took the callback and in the one that ran the handler."""

    phases: dict[str, Calls]

    @property
    def total(self) -> int:
        return sum(calls.total for calls in self.phases.values())

    def __str__(self) -> str:
        functions = {code for calls in self.phases.values() for code in calls.first}
        modules = {_module(code) for code in functions}
        return f"{self.total} calls, {len(functions)} functions, {len(modules)} modules"

    def lines(self) -> Iterator[str]:
        """Yield the functions in the order of their first calls, by thread."""
        for phase, calls in self.phases.items():
            yield f"{phase}: {calls.total} calls, {len(calls.first)} functions"
            top = min(calls.first.values(), default=0)
            for code, depth in calls.first.items():
                name = "  " * (depth - top + 1) + getattr(code, "co_qualname", code.co_name)
                yield f"{name}  {_module(code)}:{code.co_firstlineno}"
            yield ""


def run() -> str:
    """Return the route, the import chains and the code lines, in Markdown."""
    route = trace()
    return "\n".join(["```", str(route), "", *route.lines(), "```", "", chains(), "", sizes()])


def summary() -> str:
    """Return the numbers of calls, functions and modules."""
    return str(trace())


def trace() -> Route:
    """Send messages through an application of this process, and return the route of one."""
    profiler, handled, sent = Profiler(), list[int](), list[str]()
    bot = Bot(BOT)

    @bot.fallback
    def reply(ctx: Any) -> str:
        handled.append(threading.get_ident())
        return "hello"

    threading.setprofile(profiler)
    try:
        with _stub(sent) as url, _environment(url):
            app = create_app(bot)
            try:
                routes = [
                    _pass(app.test_client(), number, profiler, handled, sent) for number in range(_WARM_UP + MESSAGES)
                ]
            finally:
                app.extensions["cometbot"].stop()
    finally:
        threading.setprofile(None)
    return min(routes[_WARM_UP:], key=lambda route: route.total)


def _pass(client: Any, number: int, profiler: Profiler, handled: list[int], sent: list[str]) -> Route:
    credentials = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {credentials}"}
    body = callback_body(number + 1, conversations=1)
    before = _wait_until_quiet()
    profiler.calls, profiler.is_on = {}, True
    sys.setprofile(profiler)
    try:
        answer = client.post(f"/cometchat/{BOT}", data=body, headers=headers)
    finally:
        sys.setprofile(None)
    assert answer.status_code == 200, answer.data
    _wait_for(lambda: len(sent) > number)
    worker = handled[number]
    if worker in before:
        _wait_for(lambda: _positions()[worker] == before[worker])
    _wait_until_quiet()
    profiler.is_on = False
    here = profiler.calls.get(threading.get_ident(), Calls())
    return Route({"callback": here, "worker": profiler.calls[worker]})


def _positions() -> dict[int, Position]:
    """Return the innermost function and instruction of each thread."""
    return {thread: (frame.f_code, frame.f_lasti) for thread, frame in sys._current_frames().items()}


def _wait_until_quiet() -> dict[int, Position]:
    positions, since = _positions(), time.monotonic()
    while time.monotonic() - since < _QUIET:
        time.sleep(0.01)
        if (now := _positions()) != positions:
            positions, since = now, time.monotonic()
    return positions


def _wait_for(is_done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _TIMEOUT
    while not is_done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the reply was not sent within {_TIMEOUT:.0f} s")
        time.sleep(0.005)


@contextmanager
def _environment(api_url: str) -> Iterator[None]:
    """A folder and an environment in which only what has no default is set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COMET", "PROMETHEUS"))}
    folder_before = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="cometbot-bench-") as folder:
        given = {
            "COMETBOT_DATABASE_URL": f"sqlite:///{folder}/cometbot.db",
            "COMETBOT_CALLBACK_USERNAME": USERNAME,
            "COMETBOT_CALLBACK_PASSWORD": PASSWORD,
            "COMETCHAT_APP_ID": APP_ID,
            "COMETCHAT_API_KEY": "benchmark",
            "COMETCHAT_API_URL": api_url,
        }
        os.chdir(folder)  # where no .env is
        try:
            with mock.patch.dict(os.environ, {**kept, **given}, clear=True):
                yield
        finally:
            os.chdir(folder_before)


@contextmanager
def _stub(sent: list[str]) -> Iterator[str]:
    """A CometChat that accepts each message; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b'{"data": {"id": "%d", "success": true}}' % (1000 + len(sent))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            sent.append(self.path)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v3"
    finally:
        server.shutdown()
        server.server_close()


@cache
def _module(code: CodeType) -> str:
    """Return the module of cometbot that holds the function, or "" for other code and for class bodies."""
    path = Path(code.co_filename)
    is_counted = path.is_relative_to(PACKAGE) and code.co_flags & inspect.CO_NEWLOCALS
    return module_name(path) if is_counted else ""


def _depth(frame: FrameType) -> int:
    depth, outer = 0, frame.f_back
    while outer is not None:
        depth, outer = depth + bool(_module(outer.f_code)), outer.f_back
    return depth


if __name__ == "__main__":
    print(run())
