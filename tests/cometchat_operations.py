"""Checks requests to CometChat, and the simulator's answers, against the table of CometChat's documented operations.

The table is ``tests/data/cometchat_operations.csv``. Every client and every simulator of a test is checked: a request
without a row, one with an unknown field, and an answer without a documented key fail the test. The sources of the
table are those of ``docs/protocols/cometchat.md``.
"""

from __future__ import annotations

import csv
import functools
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from flask import request as current_request

from cometbot.channels.cometchat import CometChatClient
from cometbot.channels.cometchat.api_request import ApiRequest
from cometbot.simulator.app import PREFIX, RestApi, RestCall

TABLE = Path(__file__).parent / "data" / "cometchat_operations.csv"

_lock = threading.Lock()
_collected: list[list[str]] = []


@dataclass(frozen=True)
class Documented:
    """One row of the table. ``answer`` is ``object``, ``list``, ``results`` (by uid), or ``plain-…``: no envelope."""

    method: str
    path: str
    on_behalf_of: str
    required: frozenset[str]
    optional: frozenset[str]
    query: frozenset[str]
    answer: str
    keys: frozenset[str]
    source: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def matches(self, method: str, path: str) -> bool:
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(self.path))
        return method == self.method and re.fullmatch(pattern, path) is not None


@functools.cache
def documented_operations() -> tuple[Documented, ...]:
    """Return the rows of the table."""
    with TABLE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    texts = ("method", "path", "on_behalf_of", "answer", "source")
    return tuple(
        Documented(**{name: row[name] if name in texts else frozenset(row[name].split()) for name in row})
        for row in rows
    )


def find_documented(method: str, path: str) -> Documented | None:
    """Return the row of a request, or None; a row whose path has no parameters comes first."""
    found = [row for row in documented_operations() if row.matches(method, path)]
    return min(found, key=lambda row: row.path.count("{"), default=None)


def check_request(method: str, path: str, body: object, query: Mapping[str, object], on_behalf_of: str) -> list[str]:
    """Return what in a request the documents do not allow. ``path`` is percent-encoded and has no version."""
    row = find_documented(method, path)
    if row is None:
        return [f"{method} {path} has no row in tests/data/cometchat_operations.csv"]
    fields = set(body) if isinstance(body, dict) else set()
    asked = {name.removesuffix("[]") for name in query}
    problems = {
        "lacks the field": row.required - fields,
        "has the unknown field": fields - row.required - row.optional,
        "has the unknown query parameter": asked - row.query - row.optional,
        "needs": {"onBehalfOf"} if row.on_behalf_of == "must" and not on_behalf_of else set(),
        "does not take": {"onBehalfOf"} if row.on_behalf_of == "no" and on_behalf_of else set(),
    }
    return [f"the request {row} {problem} {name}" for problem, names in problems.items() for name in sorted(names)]


def check_answer(method: str, path: str, answer: Any) -> list[str]:
    """Return what a successful answer lacks, or has in another form than the documents say."""
    row = find_documented(method, path)
    if row is None:
        return [f"{method} {path} has no row in tests/data/cometchat_operations.csv"]
    kind = row.answer.removeprefix("plain-")
    if kind == row.answer and not (isinstance(answer, dict) and "data" in answer):
        return [f"the answer of {row} has no data"]
    data = answer if kind != row.answer else answer["data"]
    if not isinstance(data, list if kind == "list" else dict):
        return [f"the answer of {row} is no {kind}"]
    entries = {"object": [data], "list": data, "results": list(data.values()) if isinstance(data, dict) else []}[kind]
    missing = {name for entry in entries for name in row.keys - entry.keys()}
    return [f"the answer of {row} lacks {name}" for name in sorted(missing)]


@contextmanager
def collect_faults() -> Iterator[list[str]]:
    """Yield a list that gets what the clients and simulators of this process do against the documents meanwhile."""
    faults: list[str] = []
    with _lock:
        _collected.append(faults)
    try:
        yield faults
    finally:
        with _lock:
            _collected.remove(faults)


def install_checks() -> None:
    """Check each request of clients, and each answer of simulators, from now on."""
    send_request, log_call = CometChatClient.send_request, RestApi._log_call

    @functools.wraps(send_request)
    def checked_send_request(client: CometChatClient, request: ApiRequest) -> dict[str, Any]:
        body = json.loads(request.body) if isinstance(request.body, bytes) else request.body
        _report(check_request(request.method, request.path, body, request.params, request.on_behalf_of))
        return send_request(client, request)

    @functools.wraps(log_call)
    def checked_log_call(api: RestApi, exchange: RestCall, status: int) -> None:
        log_call(api, exchange, status)
        if 200 <= status < 300 and not exchange.rules and current_request.path.startswith(f"{PREFIX}/"):
            method = "GET" if current_request.method == "HEAD" else current_request.method
            _report(check_answer(method, _encoded_path(), exchange.answer))

    CometChatClient.send_request = checked_send_request  # type: ignore[method-assign]
    RestApi._log_call = checked_log_call  # type: ignore[method-assign]


def _encoded_path() -> str:
    """Return the path of the current request without its version; a slash in a reaction does not divide it."""
    raw = current_request.environ.get("RAW_URI") or current_request.environ.get("REQUEST_URI") or current_request.path
    path = str(raw).partition("?")[0].partition("/v3")[2].removeprefix(".0")
    return re.sub(r"(/reactions/).+", r"\1x", unquote(path)).rstrip("/")


def _report(faults: list[str]) -> None:
    with _lock:
        for collected in _collected:
            collected.extend(faults)
