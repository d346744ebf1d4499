"""The routes of the page: its files, its event stream, and its own endpoints."""

from __future__ import annotations

import select
import threading
from pathlib import Path

import orjson
from flask import Blueprint, Response, request

from cometbot.http.errors import HttpError
from cometbot.http.page import PageFiles
from cometbot.http.sse import PING_INTERVAL, Streams, stream
from cometbot.simulator.client import press_button
from cometbot.simulator.control import check_caller, data_response, load_body
from cometbot.simulator.errors import Refusal
from cometbot.simulator.page import page_data
from cometbot.simulator.page.buttons import button_request
from cometbot.simulator.page.events import EventStream
from cometbot.simulator.schemas import EarlierQuery, PressSchema, load
from cometbot.simulator.simulated_app import SimulatedApp
from cometbot.simulator.world import conversation_id

MAX_STREAMS = 16
"""Maximum number of concurrent event streams. Each holds a thread and a connection."""

_FILES = PageFiles(Path(__file__).parent / "static")


def page_blueprint(simulator: SimulatedApp, stopping: threading.Event) -> Blueprint:
    """Return the routes of the page at ``/``, with its files under ``/page``.

    Like the control API, they answer only requests from this machine.
    """
    blueprint = Blueprint("page", __name__)
    page = _PageViews(simulator, stopping)
    blueprint.before_request(check_caller)
    blueprint.add_url_rule("/", "index", lambda: _FILES.file("index.html"))
    blueprint.add_url_rule("/page/<path:name>", "file", _FILES.file)
    blueprint.add_url_rule("/simulator/page", "snapshot", page.snapshot)
    blueprint.add_url_rule("/simulator/events", "events", page.events)
    blueprint.add_url_rule("/simulator/users/<uid>/earlier", "earlier", page.earlier)
    blueprint.add_url_rule("/simulator/users/<uid>/press", "press", page.press, methods=["POST"])
    blueprint.add_url_rule("/simulator/dead/<name>/<act>", "dead", page.settle_dead_letter, methods=["POST"])
    blueprint.add_url_rule("/simulator/dialogs/<name>/expire", "expire", page.expire_dialog, methods=["POST"])
    blueprint.add_url_rule("/simulator/jobs/<name>/run", "run_job", page.run_job, methods=["POST"])
    return blueprint


_STREAMS = Streams(MAX_STREAMS)
"""The open event streams of the pages of all simulators of this process."""

_STREAMS.address_limit = 0  # all pages are on this machine

_PING_INTERVAL = PING_INTERVAL if hasattr(select, "epoll") else 2.0
"""Seconds between pings: without epoll, only a write finds out that a page was closed."""


class _PageViews:
    def __init__(self, simulator: SimulatedApp, stopping: threading.Event) -> None:
        self._simulator = simulator
        self._stopping = stopping

    def snapshot(self) -> Response:
        """Return the data of a page's first load."""
        return data_response(page_data.snapshot(self._simulator))

    def earlier(self, uid: str) -> Response:
        """Return older messages of the conversation of ``uid`` with another user, or of a group."""
        query = load(EarlierQuery(), request.args)
        kind, other = ("group", query["group"]) if query["group"] else ("user", query["user"])
        other = other.lower()
        conversation = f"group_{other}" if kind == "group" else conversation_id("user", uid.lower(), other)
        return data_response(page_data.earlier_messages(self._simulator.world, conversation, query["before"]))

    def events(self) -> Response:
        """Return server-sent events after ``Last-Event-ID``, or after the query's ``after``.

        With ``once`` in the query the response ends after the events that exist now.
        """
        last = request.headers.get("Last-Event-ID") or request.args.get("after", "")
        after = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else 0
        events = EventStream(self._simulator, after, self._stopping, once="once" in request.args)
        try:
            return stream(
                lambda: events,
                lambda frames: [frames],
                first=b"retry: 1000\n\n",
                interval=_PING_INTERVAL,
                streams=_STREAMS,
            )
        except HttpError as error:
            return Response(error.message, error.status, error.headers, mimetype="text/plain")

    def press(self, uid: str) -> Response:
        """Send the request of a button and return the response."""
        body = load_body(PressSchema())
        message = self._simulator.message(body["message"])
        with self._simulator.world.condition:
            self._simulator.world.directory.user(uid)
        button = button_request(message, body["element"], body["values"])
        sent = None if button.body is None else orjson.dumps(button.body)
        answer = press_button(button.method, button.url, button.headers, sent)
        shown = {"status": answer.status, "text": answer.text[:2000], "error": answer.error}
        return data_response({"url": button.url, **shown})

    def settle_dead_letter(self, name: str, act: str) -> Response:
        """Retry or discard a dead letter and return a confirmation."""
        bench = self._simulator.workbench
        acts = {"retry": bench.retry, "discard": bench.discard}
        if act not in acts or not acts[act](name):
            raise Refusal(
                "ERR_MESSAGE_ID_NOT_FOUND", f"There is no dead letter {name}. It may have been retried or discarded."
            )
        return data_response({"success": True})

    def expire_dialog(self, name: str) -> Response:
        """Let the time come that a dialog waits for, and return a confirmation."""
        if not self._simulator.workbench.expire(name):
            raise Refusal(
                "ERR_MESSAGE_ID_NOT_FOUND", f"There is no dialog {name} that waits for a time. It may have gone on."
            )
        return data_response({"success": True})

    def run_job(self, name: str) -> Response:
        """Run a job now, and return a confirmation."""
        if not self._simulator.workbench.run_job(name):
            raise Refusal("ERR_MESSAGE_ID_NOT_FOUND", f"There is no job {name}. It may have begun.")
        return data_response({"success": True})
