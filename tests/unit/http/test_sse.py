"""Event streams, without a socket below them."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable

import flask
import pytest

from cometbot.http.errors import HttpError
from cometbot.http.sse import END, Streams, frame, stream


class Items:
    """A source that holds what is given, and ends when it is closed."""

    def __init__(self, *items: str, closed: bool = True) -> None:
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.is_closed = False
        self.waits: list[float] = []
        for item in items:
            self._queue.put(item)
        if closed:
            self.close()

    def get(self, timeout: float) -> str | None:
        self.waits.append(timeout)
        try:
            item = self._queue.get(timeout=min(timeout, 5))
        except queue.Empty:
            return None
        self.is_closed = item is None
        return item

    def close(self) -> None:
        self._queue.put(None)


def to_frames(item: str) -> Iterable[bytes]:
    return [frame(item.encode())]


def slowly_nothing(item: str) -> Iterable[bytes]:
    time.sleep(0.001)
    return []


@pytest.fixture
def streams() -> Streams:
    return Streams(2)


@pytest.fixture
def app() -> flask.Flask:
    return flask.Flask("test")


def test_a_frame_has_a_line_of_data_and_a_name_if_it_is_given() -> None:
    assert frame(b"{}") == b"data: {}\n\n"
    assert frame(b"{}", "message") == b"event: message\ndata: {}\n\n"


def test_a_stream_begins_at_once_and_ends_with_its_source(app: flask.Flask, streams: Streams) -> None:
    with app.test_request_context():
        answer = stream(lambda: Items("1", "2"), to_frames, streams=streams)
        assert len(streams) == 1
        assert list(answer.response) == [b":\n\n", b"data: 1\n\n", b"data: 2\n\n"]
        answer.close()
    assert len(streams) == 0
    assert (answer.status_code, answer.content_type) == (200, "text/event-stream")
    assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == ("no-cache, no-transform", "no")


def test_a_stream_says_when_it_is_at_its_end(app: flask.Flask, streams: Streams) -> None:
    with app.test_request_context():
        answer = stream(
            lambda: Items("1", "2", closed=False),
            lambda item: [frame(b"last"), END],
            streams=streams,
            headers={"X-Mine": "1"},
        )
        assert list(answer.response) == [b":\n\n", b"data: last\n\n"]
    assert answer.headers["X-Mine"] == "1"


def test_items_without_frames_put_off_no_ping(app: flask.Flask, streams: Streams) -> None:
    with app.test_request_context():
        source = Items(*map(str, range(1000)), closed=False)
        answer = stream(lambda: source, slowly_nothing, interval=0.05, streams=streams)
        pieces = iter(answer.response)
        assert [next(pieces), next(pieces)] == [b":\n\n", frame(b"{}", "ping")]
        assert len(source.waits) < 500


def test_silence_is_broken_by_pings(app: flask.Flask, streams: Streams) -> None:
    with app.test_request_context():
        source = Items(closed=False)
        answer = stream(lambda: source, to_frames, ping=b"ping", interval=0.01, first=b"hi", streams=streams)
        pieces = iter(answer.response)
        assert [next(pieces) for _ in range(3)] == [b"hi", b"ping", b"ping"]
        source.close()
        assert list(pieces) == []
    assert all(0 <= wait <= 0.01 for wait in source.waits)


def test_a_place_is_given_back_where_the_answer_is_never_read(app: flask.Flask, streams: Streams) -> None:
    with app.test_request_context():
        stream(lambda: Items(closed=False), to_frames, streams=streams).close()
    assert len(streams) == 0


def test_a_place_is_given_back_where_nobody_can_listen(app: flask.Flask, streams: Streams) -> None:
    def fail() -> Items:
        raise KeyError

    with app.test_request_context(), pytest.raises(KeyError):
        stream(fail, to_frames, streams=streams)
    assert len(streams) == 0


def refusal(streams: Streams, **limits: int) -> HttpError:
    with pytest.raises(HttpError) as caught:
        streams.enter(limits, None)
    return caught.value


def test_who_comes_when_all_places_are_taken_is_told_when_to_come_again(streams: Streams) -> None:
    first, _ = streams.enter({"ann": 0}, None), streams.enter({"ann": 0}, None)
    error = refusal(streams)
    assert (error.status, error.code, error.headers["Retry-After"]) == (503, "ERR_NO_STREAM_FREE", "5")
    first.leave()
    first.leave()
    streams.enter({"ann": 0}, None)
    assert len(streams) == 2


def test_one_owner_has_a_limit_of_its_own() -> None:
    streams = Streams(10)
    place = streams.enter({"ann": 1}, None)
    error = refusal(streams, ann=1)
    assert (error.status, error.code) == (429, "ERR_TOO_MANY_STREAMS")
    streams.enter({"bob": 1}, None)
    place.leave()
    streams.enter({"ann": 1}, None)


def test_a_stream_counts_for_its_user_and_for_its_address() -> None:
    streams = Streams(10)
    places = [streams.enter({user: 2, "home": 3}, None) for user in ("ann", "ann", "bob")]
    assert refusal(streams, ann=2, other=3).status == 429
    assert refusal(streams, bob=2, home=3).status == 429
    streams.enter({"bob": 2, "other": 3}, None)
    places[0].leave()
    streams.enter({"ann": 2, "home": 3}, None)


def test_a_stream_ends_when_its_lifetime_does_though_much_is_told(app: flask.Flask, streams: Streams) -> None:
    with app.test_request_context():
        silent, loud = Items(closed=False), Items(*map(str, range(1000)), closed=False)
        for source, lifetime in ((silent, 0.05), (loud, 0.0)):
            answer = stream(lambda: source, to_frames, interval=60, lifetime=lifetime, streams=streams)  # noqa: B023
            assert list(answer.response) == [b":\n\n"]
            answer.close()
        answer = stream(lambda: Items("1", closed=False), to_frames, interval=0.02, lifetime=0.2, streams=streams)
        assert list(answer.response)[:3] == [b":\n\n", b"data: 1\n\n", b"event: ping\ndata: {}\n\n"]


def test_stopping_ends_all_streams_and_opens_no_more(app: flask.Flask, streams: Streams) -> None:
    with app.test_request_context():
        answer = stream(lambda: Items("1", closed=False), to_frames, streams=streams)
        streams.stop()
        assert list(answer.response) == [b":\n\n", b"data: 1\n\n"]
        answer.close()
    assert refusal(streams).status == 503
    streams.admit(1)
    streams.enter({}, None)
    assert refusal(streams).status == 503


def test_an_address_gets_half_of_the_streams_by_default(caplog: pytest.LogCaptureFixture) -> None:
    streams = Streams(4)
    places = [streams.enter({}, None, "192.0.2.7") for _ in range(2)]
    for _ in range(3):
        with pytest.raises(HttpError) as caught:
            streams.enter({}, None, "192.0.2.7")
        assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "5"})
    assert len(caplog.records) == 1
    assert "192.0.2.7" not in caplog.text
    streams.enter({}, None, "192.0.2.8")
    places[0].leave()
    streams.enter({}, None, "192.0.2.7")


@pytest.mark.parametrize(("limit", "allowed"), [(0, 4), (1, 1), (3, 3)])
def test_the_limit_of_an_address_can_be_set(limit: int, allowed: int) -> None:
    streams = Streams(4)
    streams.address_limit = limit
    for _ in range(allowed):
        streams.enter({}, None, "192.0.2.7")
    with pytest.raises(HttpError):
        streams.enter({}, None, "192.0.2.7")


def test_callers_without_an_address_are_not_counted_together() -> None:
    streams = Streams(4)
    assert [streams.enter({}, None, "") for _ in range(4)]
