"""The event stream over real connections: it flows, it is resumed, it is limited, and it is given back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import requests
from pytest_httpserver import HTTPServer

from cometbot.simulator import Simulator
from cometbot.simulator.page.views import MAX_STREAMS

WAIT_TIMEOUT = 10.0


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator().seed_demo() as running:
        yield running


def follow(simulator: Simulator, after: int, **headers: str) -> requests.Response:
    url = f"{simulator.url}/simulator/events?after={after}"
    return requests.get(url, headers=headers, stream=True, timeout=WAIT_TIMEOUT)


def next_entry(lines: Iterator[str]) -> str:
    """The text of the next message that is told."""
    for line in lines:
        if line.startswith("data: {") and '"trigger"' in line:
            return str(json.loads(line.removeprefix("data: "))["message"]["data"]["text"])
    raise AssertionError("the stream ended")


def wait_until(condition: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + WAIT_TIMEOUT
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0.02)


def test_events_arrive_while_connection_stays_open(simulator: Simulator) -> None:
    with follow(simulator, simulator.world.journal.last_id) as response:
        lines = response.iter_lines(chunk_size=1, decode_unicode=True)
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["Cache-Control"] == "no-cache, no-transform"
        for text in ("one", "two"):
            simulator.user("maria").say(text, to="tom")
            assert next_entry(lines) == text


def test_the_last_event_id_counts_more_than_the_address(simulator: Simulator) -> None:
    simulator.user("maria").say("seen", to="tom")
    last = str(simulator.world.journal.last_id)
    simulator.user("maria").say("missed", to="tom")
    with follow(simulator, 0, **{"Last-Event-ID": last}) as response:
        assert next_entry(response.iter_lines(chunk_size=1, decode_unicode=True)) == "missed"


def follow_until_let_in(simulator: Simulator) -> requests.Response:
    """Follow the events; a stream of an earlier test may still end, and all simulators of a process share the limit."""
    found: list[requests.Response] = []

    def is_let_in() -> bool:
        found.append(follow(simulator, 0))
        return found[-1].status_code == 200

    wait_until(is_let_in)
    return found[-1]


def test_streams_are_limited_and_a_closed_one_makes_room(simulator: Simulator) -> None:
    streams = [follow_until_let_in(simulator) for _ in range(MAX_STREAMS)]
    refused = follow(simulator, 0)
    assert refused.status_code == 503
    assert refused.headers["Retry-After"]
    assert requests.get(f"{simulator.url}/simulator", timeout=WAIT_TIMEOUT).status_code == 200
    streams.pop().close()

    def is_let_in() -> bool:
        with follow(simulator, 0) as response:
            return response.status_code == 200

    wait_until(is_let_in)
    for stream in streams:
        stream.close()


def test_stopping_the_simulator_ends_the_streams(simulator: Simulator) -> None:
    with follow(simulator, 0) as response:
        began = time.monotonic()
        simulator.stop()
        with suppress(requests.RequestException):  # it is cut off, which some would call an end
            list(response.iter_lines())  # and this would wait for ever on one that goes on
        assert time.monotonic() - began < WAIT_TIMEOUT / 2


def test_pressing_a_button_calls_its_address_as_the_message_says(simulator: Simulator, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/go", method="PUT", json={"id": 1}).respond_with_data("thanks", status=202)
    action = {"actionType": "apiAction", "url": httpserver.url_for("/go"), "method": "PUT", "payload": {"id": 1}}
    shown = {"cardActions": [{"elementType": "button", "elementId": "go", "buttonText": "Go", "action": action}]}
    body = {"receiver": "maria", "receiverType": "user", "category": "interactive", "type": "card"}
    sent = simulator.user("helpdesk").write({**body, "data": {"interactiveData": shown}})
    asked = {"message": sent.id, "element": "go"}
    answer = requests.post(f"{simulator.url}/simulator/users/maria/press", json=asked, timeout=WAIT_TIMEOUT).json()[
        "data"
    ]
    assert (answer["status"], answer["text"], answer["error"]) == (202, "thanks", "")


def test_pressing_a_button_whose_address_is_dead_says_why(simulator: Simulator) -> None:
    action = {"type": "apiCall", "url": "http://127.0.0.1:9/"}
    button = {"id": "go", "type": "button", "label": "Go", "action": action}
    card = {"version": "1.0", "fallbackText": "x", "style": {"background": {}}, "body": [button]}
    body = {"receiver": "maria", "receiverType": "user", "category": "card", "type": "text"}
    sent = simulator.user("helpdesk").write({**body, "data": {"text": "x", "card": card}})
    asked = {"message": sent.id, "element": "go"}
    answer = requests.post(f"{simulator.url}/simulator/users/maria/press", json=asked, timeout=WAIT_TIMEOUT).json()[
        "data"
    ]
    assert answer["status"] == 0
    assert "refused" in answer["error"]
