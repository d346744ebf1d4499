"""Calls an agent over AG-UI, as CometChat does: posts a ``RunAgentInput`` and reads the events of the answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import orjson
import urllib3

from cometbot.errors import ChannelError, OutcomeUnknown
from cometbot.http.client import HttpClient, make_session, read_error_response
from cometbot.http.sse_parser import SseParser
from cometbot.http.watchdog import Deadline
from cometbot.simulator.client import MAX_RESPONSE_BYTES, CallbackResponse

AgentEvent = Mapping[str, Any]
"""An event of AG-UI: an object with a ``type``."""

RUN_TIMEOUT = 900.0
"""Maximum duration of a run in seconds. CometChat documents no limit."""

SILENCE_TIMEOUT = 60.0
"""Maximum time in seconds without a byte. Agents send a comment now and then."""

_CHUNK_SIZE = 16 * 1024
_LAST_EVENTS = ("RUN_FINISHED", "RUN_ERROR")


class AgentCall:
    """One run of the agent at ``url``. ``abort`` ends it, even while :meth:`run` waits for the next event."""

    def __init__(self, url: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> None:
        self._url = url
        self._headers = {"Content-Type": "application/json", "Accept": "text/event-stream", **headers}
        self._body = orjson.dumps(body)
        self._lock = threading.Lock()
        self._deadline: Deadline | None = None
        self._is_aborted = False
        self._seen: list[str] = []
        self._seen_size = 0

    def run(self, on_event: Callable[[AgentEvent], None]) -> CallbackResponse:
        """Send the request, call ``on_event`` for each event as it arrives, and return the response.

        Its text is the data of the events. Never raises because of what the agent does: ``error`` says what is wrong
        with the answer, also if the run ended with ``RUN_ERROR``.
        """
        started = time.monotonic()
        status, error = 0, ""
        http = HttpClient(make_session(1), peer="the agent")
        try:
            with http.exchange(f"POST {self._url}", RUN_TIMEOUT) as deadline:
                self._set_deadline(deadline)
                response = http.session.post(
                    self._url,
                    data=self._body,
                    headers={"Accept-Encoding": "identity", **self._headers},
                    timeout=(10.0, SILENCE_TIMEOUT),
                    allow_redirects=False,
                    stream=True,
                )
                with response:
                    status = response.status_code
                    error = self._read(response, on_event)
        except (ChannelError, OSError, ValueError) as failure:
            error = str(failure)
        finally:
            http.close()
        if error and self._is_aborted:
            error = "The simulator was stopped."
        text = "\n".join(self._seen)[:MAX_RESPONSE_BYTES]
        return CallbackResponse(status, text, error, time.monotonic() - started)

    def abort(self) -> None:
        """End the run, even if its connection is not made yet."""
        with self._lock:
            self._is_aborted = True
            deadline = self._deadline
        if deadline is not None:
            deadline.expire()

    def _set_deadline(self, deadline: Deadline) -> None:
        with self._lock:
            self._deadline, is_aborted = deadline, self._is_aborted
        if is_aborted:
            deadline.expire()

    def _read(self, response: Any, on_event: Callable[[AgentEvent], None]) -> str:
        """Pass the events on and return what is wrong with the answer, or ""."""
        kind = response.headers.get("Content-Type", "")
        if response.status_code != 200:
            self._record(read_error_response(response).body.decode("utf-8", "replace"))
            return f"The agent refused the request with the status {response.status_code}."
        if not kind.startswith("text/event-stream"):
            return f"expected a response of the type text/event-stream, got {kind or 'none'}"
        for event in self._read_events(response):
            on_event(event)
            if event["type"] in _LAST_EVENTS:
                return _describe_error(event)
        return "The stream ended without RUN_FINISHED or RUN_ERROR."

    def _read_events(self, response: Any) -> Iterator[AgentEvent]:
        parser = SseParser()
        with suppress(urllib3.exceptions.IncompleteRead):
            while chunk := response.raw.read1(_CHUNK_SIZE):
                for data in parser.feed(chunk):
                    self._record(data)
                    yield _parse_event(data)

    def _record(self, data: str) -> None:
        """Keep the data of an event for the response's text, as much of it as that may have."""
        if self._seen_size < MAX_RESPONSE_BYTES:
            self._seen.append(data)
            self._seen_size += len(data) + 1


def _parse_event(data: str) -> AgentEvent:
    try:
        event = orjson.loads(data)
    except ValueError:
        event = None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise OutcomeUnknown(f"expected an event of AG-UI, got {data[:200]!r}")
    return event


def _describe_error(event: AgentEvent) -> str:
    if event["type"] != "RUN_ERROR":
        return ""
    code = f" {event['code']}" if event.get("code") else ""
    return f"RUN_ERROR{code}: {event.get('message') or 'no message'}"
