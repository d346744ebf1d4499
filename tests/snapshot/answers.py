"""The HTTP answers to the requests of ``requests.py``, with placeholders for what is new in each run."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
from werkzeug.test import Client, TestResponse

from cometbot.simulator import Simulator
from tests.snapshot.requests import HEADERS, REQUESTS, Request
from tests.snapshot.site import SIGNING_KEY, make_site

LONGEST = 20_000
"""Characters of the longest body that is shown whole."""

_HIDDEN = ("Content-Length", "Date", "ETag", "Last-Modified", "Server", "X-Rate-Limit-Remaining")
_KINDS = {
    "jwt": r"eyJ[\w-]+\.[\w-]+\.[\w-]+",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*(?:Z|\+00:00)",
    "date": r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT",
    "uuid": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "error": r"err_\d{14}x[0-9A-F]{8}",
    "ulid": r"(?<![0-9A-Za-z])[0-7](?:[0-9A-HJKMNP-TV-Z]{25}|[0-9a-hjkmnp-tv-z]{25})(?![0-9A-Za-z])",
}
_SECONDS = re.compile(r"\b\d{10}(?:\d{3})?(?:\.\d+)?\b")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_DAY = 86_400.0


class RequestRunner:
    """Sends requests one after the other; what one answer gave is used by later ones as ``{name}``."""

    def __init__(self, apps: Mapping[str, Any], folder: Path, values: Mapping[str, str]) -> None:
        self._apps = apps
        self._folder = folder
        self._values = dict(values)
        self._initial = frozenset(values)
        self._clients: dict[tuple[str, str], Client] = {}

    def run(self, request: Request) -> str:
        """Return the request and its answer as lines."""
        client = self._clients.setdefault((request.site, request.who), Client(self._apps[request.site]))
        options = {key: self._fill(value) for key, value in request.options.items()}
        headers = {**HEADERS.get(request.who, {}), **options.pop("headers", {})}
        path = self._fill(request.path)
        answer = client.open(path, method=request.method, headers=self._fill(headers), **options)
        try:
            # First, so that the answer is shown with these names too.
            self._values.update({name: _find(answer.json, keys) for name, keys in request.capture.items()})
            return self._to_text(request, answer)
        finally:
            answer.close()

    def _fill(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._fill(key): self._fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._fill(item) for item in value]
        if isinstance(value, str):
            return _PLACEHOLDER.sub(lambda match: self._values.get(match[1], match[0]), value)
        return value

    def _to_text(self, request: Request, answer: TestResponse) -> str:
        headers = [(name, _sort_methods(text) if name == "Allow" else text) for name, text in sorted(answer.headers)]
        shown = [f"{name}: {text}" for name, text in headers if name not in _HIDDEN]
        about = " ".join(filter(None, (request.site, request.method, request.path, request.who, request.note)))
        return "\n".join([f"== {about}", answer.status, *map(self.normalise, shown), *self._body(request, answer), ""])

    def _body(self, request: Request, answer: TestResponse) -> list[str]:
        if answer.mimetype == "text/event-stream":
            return ["(stream)"]
        if answer.mimetype == "text/plain" and request.path == "/metrics":
            return ["(see metrics.txt)"]
        data = answer.data
        if answer.mimetype == "application/json" and len(data) <= LONGEST:
            return [self.normalise(data.decode())]
        if data and (not data.isascii() or len(data) > 200):
            text = self.normalise(data.decode("utf-8", "replace"))
            return [f"({answer.mimetype}, sha256 of it {hashlib.sha256(text.encode()).hexdigest()})"]
        return self.normalise(data.decode()).splitlines()

    def normalise(self, text: str) -> str:
        """Return ``text`` with placeholders for ids, keys, times and this run's folder."""
        for name, value in sorted(self._values.items(), key=lambda item: -len(item[1])):
            if name not in self._initial:
                text = text.replace(value, f"<{name}>")
        text = text.replace(str(self._folder), "<folder>")
        for name, pattern in _KINDS.items():
            text = re.sub(pattern, f"<{name}>", text)
        return _SECONDS.sub(_hide_now, text)


def _hide_now(match: re.Match[str]) -> str:
    value = float(match[0])
    seconds = value / 1000 if value > 1e11 else value
    return "<seconds>" if abs(seconds - time.time()) < 40 * _DAY else match[0]


def _find(value: Any, keys: str) -> str:
    for key in keys.split("."):
        value = value[int(key) if key.isdigit() else key]
    return str(value)


def answers() -> str:
    """Return all requests with their answers."""
    values = {"signed_key": jwt.encode({"id": "maria"}, SIGNING_KEY, "HS256")}
    simulator = Simulator(clock=lambda: 1_700_000_000.0)
    simulator.seed_demo(callback_url="http://127.0.0.1:9/")
    values |= {"api_key": simulator.api_key, "auth_key": simulator.auth_key}
    with make_site() as (app, folder):
        runner = RequestRunner({"app": app, "simulator": simulator.app}, folder, values)
        return "\n".join(map(runner.run, REQUESTS))


def _sort_methods(text: str) -> str:
    """Return the methods of an ``Allow`` header in one order; Flask's is that of a set."""
    return ", ".join(sorted(text.split(", ")))
