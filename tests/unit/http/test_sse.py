"""Event streams, without a socket below them."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable

import flask
import pytest

from cometbot.http.errors import HttpError
from cometbot.http.sse import END_OF_STREAM, Streams, frame, stream


class FakeSource:
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


def no_frames_after_delay(item: str) -> Iterable[bytes]:
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
    assert frame(b"{}", "message", 7) == b"id: 7\nevent: message\ndata: {}\n\n"


def test_a_stream_begins_at_once_and_ends_with_its_source(app: flask.Flask, streams: Streams) -> None:
    with app.test_request_context():
        answer = stream(lambda: FakeSource("1", "2"), to_frames, streams=streams)
        assert len(streams) == 1
        assert list(answer.response) == [b":\n\n", b"data: 1\n\n", b"data: 2\n\n"]
        answer.close()
    assert len(streams) == 0
    assert (answer.status_code, answer.content_type) == (200, "text/event-stream")
    assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == ("no-cache, no-transform", "no")


def test_a_stream_says_when_it_is_at_its_end(app: flask.Flask, streams: Streams) -> None:
    with app.test_request_context():
        answer = stream(
            lambda: FakeSource("1", "2", closed=False),
            lambda item: [frame(b"last"), END_OF_STREAM],
            streams=streams,
        )
        assert list(answer.response) == [b":\n\n", b"data: last\n\n"]


def test_items_without_frames_put_off_no_ping(app: flask.Flask, streams: Streams) -> None:
    with app.test_request_context():
        source = FakeSource(*map(str, range(1000)), closed=False)
        answer = stream(lambda: source, no_frames_after_delay, interval=0.05, streams=streams)
        pieces = iter(answer.response)
        assert [next(pieces), next(pieces)] == [b":\n\n", frame(b"{}", "ping")]
        assert len(source.waits) < 500


def test_idle_stream_sends_pings(app: flask.Flask, streams: Streams) -> None:
    with app.test_request_context():
        source = FakeSource(closed=False)
        answer = stream(lambda: source, to_frames, ping=b"ping", interval=0.01, first=b"hi", streams=streams)
        pieces = iter(answer.response)
        assert [next(pieces) for _ in range(3)] == [b"hi", b"ping", b"ping"]
        source.close()
        assert list(pieces) == []
    assert all(0 <= wait <= 0.01 for wait in source.waits)


def test_slot_is_released_if_response_is_never_read(app: flask.Flask, streams: Streams) -> None:
    with app.test_request_context():
        stream(lambda: FakeSource(closed=False), to_frames, streams=streams).close()
    assert len(streams) == 0


def test_slot_is_released_if_listen_raises(app: flask.Flask, streams: Streams) -> None:
    def fail() -> FakeSource:
        raise KeyError

    with app.test_request_context(), pytest.raises(KeyError):
        stream(fail, to_frames, streams=streams)
    assert len(streams) == 0


def acquire_error(streams: Streams, **limits: int) -> HttpError:
    with pytest.raises(HttpError) as caught:
        streams.acquire(limits, None)
    return caught.value


def test_503_with_retry_after_if_no_slot_is_free(streams: Streams) -> None:
    first, _ = streams.acquire({"ann": 0}, None), streams.acquire({"ann": 0}, None)
    error = acquire_error(streams)
    assert (error.status, error.code, error.headers["Retry-After"]) == (503, "ERR_NO_STREAM_FREE", "5")
    first.release()
    first.release()
    streams.acquire({"ann": 0}, None)
    assert len(streams) == 2


def test_one_owner_has_a_limit_of_its_own() -> None:
    streams = Streams(10)
    slot = streams.acquire({"ann": 1}, None)
    error = acquire_error(streams, ann=1)
    assert (error.status, error.code) == (429, "ERR_TOO_MANY_STREAMS")
    streams.acquire({"bob": 1}, None)
    slot.release()
    streams.acquire({"ann": 1}, None)


def test_a_stream_counts_for_its_user_and_for_its_address() -> None:
    streams = Streams(10)
    slots = [streams.acquire({user: 2, "home": 3}, None) for user in ("ann", "ann", "bob")]
    assert acquire_error(streams, ann=2, other=3).status == 429
    assert acquire_error(streams, bob=2, home=3).status == 429
    streams.acquire({"bob": 2, "other": 3}, None)
    slots[0].release()
    streams.acquire({"ann": 2, "home": 3}, None)


def test_busy_stream_ends_after_its_lifetime(app: flask.Flask, streams: Streams) -> None:
    with app.test_request_context():
        silent, loud = FakeSource(closed=False), FakeSource(*map(str, range(1000)), closed=False)
        for source, lifetime in ((silent, 0.05), (loud, 0.0)):
            answer = stream(lambda: source, to_frames, interval=60, lifetime=lifetime, streams=streams)  # noqa: B023
            assert list(answer.response) == [b":\n\n"]
            answer.close()
        answer = stream(lambda: FakeSource("1", closed=False), to_frames, interval=0.02, lifetime=0.2, streams=streams)
        assert list(answer.response)[:3] == [b":\n\n", b"data: 1\n\n", b"event: ping\ndata: {}\n\n"]


def test_stopping_ends_all_streams_and_opens_no_more(app: flask.Flask, streams: Streams) -> None:
    with app.test_request_context():
        answer = stream(lambda: FakeSource("1", closed=False), to_frames, streams=streams)
        streams.stop()
        assert list(answer.response) == [b":\n\n", b"data: 1\n\n"]
        answer.close()
    assert acquire_error(streams).status == 503
    streams.set_limit(1)
    streams.acquire({}, None)
    assert acquire_error(streams).status == 503


def test_an_address_gets_half_of_the_streams_by_default(caplog: pytest.LogCaptureFixture) -> None:
    streams = Streams(4)
    slots = [streams.acquire({}, None, "192.0.2.7") for _ in range(2)]
    for _ in range(3):
        with pytest.raises(HttpError) as caught:
            streams.acquire({}, None, "192.0.2.7")
        assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "5"})
    assert len(caplog.records) == 1
    assert "192.0.2.7" not in caplog.text
    streams.acquire({}, None, "192.0.2.8")
    slots[0].release()
    streams.acquire({}, None, "192.0.2.7")


@pytest.mark.parametrize(("limit", "allowed"), [(0, 4), (1, 1), (3, 3)])
def test_the_limit_of_an_address_can_be_set(limit: int, allowed: int) -> None:
    streams = Streams(4)
    streams.address_limit = limit
    for _ in range(allowed):
        streams.acquire({}, None, "192.0.2.7")
    with pytest.raises(HttpError):
        streams.acquire({}, None, "192.0.2.7")


def test_callers_without_an_address_are_not_counted_together() -> None:
    streams = Streams(4)
    assert [streams.acquire({}, None, "") for _ in range(4)]
