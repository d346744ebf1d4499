"""What a stream holds, byte for byte, and when it ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import jwt
import orjson
import pytest
from werkzeug.test import TestResponse

from cometbot.channels.chat_api import views
from cometbot.channels.chat_api.keys import LEEWAY
from cometbot.chat import live_feed
from cometbot.http.sse import STREAMS
from tests.integration.channels.chat_api.conftest import ENCRYPTION_KEY, LONG_REPLY, MakeSite, Person, Site, wait_until


class Stream:
    """An open stream over a real socket, read line by line in the background."""

    def __init__(self, person: Person, conversation: str) -> None:
        place = urlsplit(person.site.base_url)
        connection = HTTPConnection(str(place.hostname), place.port, timeout=30)
        path = f"/chat/{person.bot}/conversations/{conversation}/listen"
        connection.request("GET", path, headers={"x-user-key": person.key, "accept": "text/event-stream"})
        self._socket = connection.sock
        self.response = connection.getresponse()
        self.status = self.response.status
        self.text = ""
        self.is_over = False
        self._connection = connection
        self._thread = threading.Thread(target=self._read, daemon=True)
        if self.status == 200:
            self._thread.start()

    def _read(self) -> None:
        with suppress(OSError):
            while piece := self.response.read1(4096):
                self.text += piece.decode()
        self.is_over = True

    @property
    def data(self) -> list[str]:
        """The data of the frames that are whole."""
        lines = self.text.rpartition("\n\n")[0].split("\n")
        return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]

    @property
    def signals(self) -> list[dict[str, Any]]:
        return [orjson.loads(item) for item in self.data if item != "ping"]

    def wait(self, count: int) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.signals) >= count)
        return self.signals

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self.status == 200:
            self._thread.join(60)
        self.response.close()
        self._connection.close()
        self._socket.close()


@pytest.fixture
def listen() -> Iterator[Callable[..., Stream]]:
    opened: list[Stream] = []

    def make(person: Person, conversation: str) -> Stream:
        opened.append(Stream(person, conversation))
        return opened[-1]

    yield make
    for stream in opened:
        stream.close()
    wait_until(lambda: len(STREAMS) == 0)


@pytest.fixture
def ann(site: Site) -> Person:
    return site.sign_up(name="Ann")


@pytest.fixture
def here(ann: Person) -> str:
    return ann.create_conversation()


Listen = Callable[[Person, str], Stream]


def test_a_message_and_its_answer_come_as_frames(ann: Person, here: str, listen: Listen) -> None:
    stream = listen(ann, here)
    assert stream.response.headers["content-type"] == "text/event-stream"
    assert stream.response.headers["x-accel-buffering"] == "no"
    message = ann.send_text(here, "héllo\n\u2028")
    question, answer = stream.wait(2)

    assert question == {"type": "message_created", "data": {**message, "isBot": False}}
    assert answer["type"] == "message_created"
    assert (answer["data"]["isBot"], answer["data"]["userId"]) == (True, "helper")
    frames = [frame for frame in stream.text.split("\n\n") if frame and not frame.startswith(":")]
    assert len(frames) == 2
    for frame in frames:
        event, data = frame.split("\n")
        assert event == "event: message"
        assert data.startswith('data: {"type":"message_created"')


def test_every_stream_gets_each_signal_once(site: Site, ann: Person, listen: Listen) -> None:
    here, bob = ann.create_conversation(), site.sign_up(name="Bob")
    ann.post(f"/conversations/{here}/participants", {"userId": bob.id})
    streams = [listen(ann, here), listen(ann, here), listen(bob, here)]
    ann.send_text(here, "hi")

    heard = [[signal["data"]["id"] for signal in stream.wait(2)] for stream in streams]
    assert heard[0] == heard[1] == heard[2]
    assert len(set(heard[0])) == 2


def test_events_deletions_and_participants_are_streamed(site: Site, ann: Person, here: str, listen: Listen) -> None:
    bob = site.sign_up()
    stream = listen(ann, here)
    event = ann.post("/events", {"conversationId": here, "payload": {"a": 1}}).json["event"]
    stream.wait(2)
    message = ann.send_text(here, "gone soon")
    stream.wait(4)
    ann.delete(f"/messages/{message['id']}")
    stream.wait(6)
    ann.post(f"/conversations/{here}/participants", {"userId": bob.id})
    ann.delete(f"/conversations/{here}/participants/{bob.id}")
    signals = stream.wait(8)

    assert signals[0] == {"type": "event_created", "data": {**event, "isBot": False}}
    deleted = {"id": message["id"], "conversationId": here, "userId": ann.id}
    assert {"type": "message_deleted", "data": deleted} in signals
    place = {"conversationId": here, "participantId": bob.id}
    assert signals[-2:] == [
        {"type": "participant_added", "data": place},
        {"type": "participant_removed", "data": place},
    ]


def test_adding_a_participant_twice_is_streamed(site: Site, ann: Person, here: str, listen: Listen) -> None:
    bob = site.sign_up()
    stream = listen(ann, here)
    for _ in range(2):
        ann.post(f"/conversations/{here}/participants", {"userId": bob.id})
    assert [signal["type"] for signal in stream.wait(2)] == ["participant_added"] * 2


def test_an_event_of_the_bot_has_no_id_and_is_not_kept(ann: Person, here: str, listen: Listen) -> None:
    stream = listen(ann, here)
    ann.send_text(here, "ping me")
    told = stream.wait(2)[1]

    assert told["type"] == "event_created"
    assert {name: told["data"][name] for name in ("id", "conversationId", "userId", "payload", "isBot")} == {
        "id": None,
        "conversationId": here,
        "userId": "helper",
        "payload": {"pong": 1},
        "isBot": True,
    }
    assert told["data"]["createdAt"].endswith("Z")
    assert len(ann.messages(here)) == 1


def is_streamed(stream: Any) -> bool:
    """Return True if both signals of the end have come, of which either may be the first."""
    types = {signal["type"] for signal in stream.signals}
    return "message_stream_complete" in types and any(signal["data"].get("isBot") for signal in stream.signals)


def test_a_streamed_answer_comes_in_pieces_then_whole(ann: Person, here: str, listen: Listen) -> None:
    stream = listen(ann, here)
    ann.send_text(here, "stream")
    wait_until(lambda: is_streamed(stream))
    deltas = [signal for signal in stream.signals if signal["type"] == "message_stream_delta"]
    [complete] = (signal for signal in stream.signals if signal["type"] == "message_stream_complete")
    [created] = (signal for signal in stream.signals if signal["data"].get("isBot"))

    assert [signal["data"]["sequence"] for signal in deltas] == list(range(len(deltas)))
    assert "".join(signal["data"]["delta"] for signal in deltas) == "Once upon a time"
    stream_id = deltas[0]["data"]["streamId"]
    for signal in deltas:
        assert set(signal["data"]) == {"streamId", "conversationId", "userId", "createdAt", "sequence", "delta"}
        assert (signal["data"]["streamId"], signal["data"]["userId"]) == (stream_id, "helper")
    message = {name: value for name, value in created["data"].items() if name != "isBot"}
    assert complete == {"type": "message_stream_complete", "data": {"streamId": stream_id, "message": message}}
    assert message["metadata"] == {"streamId": stream_id}


def test_stream_deltas_cost_at_most_twice_their_text(ann: Person, here: str, listen: Listen) -> None:
    stream = listen(ann, here)
    ann.send_text(here, "stream long")
    wait_until(lambda: is_streamed(stream))
    sizes = [len(item) for item in stream.data if '"message_stream_delta"' in item]

    assert sum(sizes) <= 2 * len(LONG_REPLY)
    assert sum(sizes) >= len(LONG_REPLY)


def test_a_stream_that_fails_is_given_up(ann: Person, here: str, listen: Listen) -> None:
    stream = listen(ann, here)
    ann.send_text(here, "give up")
    signals = stream.wait(5)
    delta, abort = (signal for signal in signals if signal["type"].startswith("message_stream"))
    half, sorry = (signal for signal in signals if signal["data"].get("isBot"))

    assert delta["data"]["delta"] == "I will "
    told = {"streamId": delta["data"]["streamId"], "conversationId": here}
    assert abort == {"type": "message_stream_abort", "data": told}
    assert half["type"] == sorry["type"] == "message_created"
    assert half["data"]["payload"]["text"] == "I will … (broken off)"
    assert signals.index(delta) < signals.index(abort) < signals.index(half) < signals.index(sorry)


def test_idle_stream_gets_pings_as_messages(
    ann: Person, here: str, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "_PING_INTERVAL", 0.05)
    stream = listen(ann, here)
    wait_until(lambda: stream.data.count("ping") >= 2)
    assert "event: message\ndata: ping\n\n" in stream.text


def test_pings_come_often_enough_for_the_official_client() -> None:
    assert views._PING_INTERVAL <= 59


def test_the_stream_of_who_is_removed_ends_and_others_go_on(site: Site, ann: Person, listen: Listen) -> None:
    here, elsewhere, bob = ann.create_conversation(), ann.create_conversation(), site.sign_up()
    for place in (here, elsewhere):
        ann.post(f"/conversations/{place}/participants", {"userId": bob.id})
    removed, kept, own = listen(bob, here), listen(bob, elsewhere), listen(ann, here)
    ann.delete(f"/conversations/{here}/participants/{bob.id}")

    wait_until(lambda: removed.is_over)
    assert removed.signals[-1]["type"] == "participant_removed"
    ann.send_text(elsewhere, "still here")
    kept.wait(1)
    assert not kept.is_over
    assert not own.is_over


def test_the_streams_of_a_deleted_conversation_end(site: Site, ann: Person, listen: Listen) -> None:
    here, bob = ann.create_conversation(), site.sign_up()
    ann.post(f"/conversations/{here}/participants", {"userId": bob.id})
    streams = [listen(ann, here), listen(bob, here)]
    ann.delete(f"/conversations/{here}")
    wait_until(lambda: all(stream.is_over for stream in streams))


def test_the_streams_of_a_deleted_user_end(site: Site, ann: Person, listen: Listen) -> None:
    here, bob = ann.create_conversation(), site.sign_up()
    ann.post(f"/conversations/{here}/participants", {"userId": bob.id})
    stream, own = listen(bob, here), listen(ann, here)
    bob.delete("/users/me")
    wait_until(lambda: stream.is_over)
    assert not own.is_over


def test_a_client_that_vanishes_leaves_nothing_behind(ann: Person, here: str, listen: Listen) -> None:
    stream = listen(ann, here)
    wait_until(lambda: len(STREAMS) == 1)
    stream.close()
    wait_until(lambda: len(STREAMS) == 0)
    ann.send_text(here, "anybody?")
    assert ann.wait_messages(here, 2)


def test_id_with_slashes_is_listened_to_raw_and_encoded(site: Site, listen: Listen) -> None:
    ann = site.sign_up()
    ann.create_conversation("a/b/c")
    streams = [listen(ann, "a/b/c"), listen(ann, "a%2Fb%2Fc")]
    assert [stream.status for stream in streams] == [200, 200]
    ann.send_text("a/b/c", "hi")
    for stream in streams:
        stream.wait(2)


def test_a_user_has_only_so_many_streams(make_site: MakeSite, listen: Listen) -> None:
    site = make_site(chat_api_streams=2, chat_api_requests=1000)
    ann, bob = site.sign_up(), site.sign_up()
    here, there = ann.create_conversation(), bob.create_conversation()
    opened = [listen(ann, here) for _ in range(3)]

    assert [stream.status for stream in opened] == [200, 200, 429]
    assert orjson.loads(opened[2].response.read())["type"] == "RateLimited"
    assert listen(bob, there).status == 200
    opened[0].close()
    wait_until(lambda: len(STREAMS) == 2)
    assert listen(ann, here).status == 200


def test_a_stream_ends_with_the_key_that_opened_it(manual_site: Site, listen: Listen) -> None:
    def key(**claims: float) -> str:
        return jwt.encode({"id": "ann", **claims}, ENCRYPTION_KEY.ljust(64, "\0"), algorithm="HS256")

    lasting = Person(manual_site, key(), "ann")
    lasting.post("/users/get-or-create", {})
    place = lasting.create_conversation()
    for seconds in (2, 6, 20):  # it may have ended on a busy machine before it is looked at
        ending = listen(Person(manual_site, key(exp=int(time.time() - LEEWAY) + seconds), "ann"), place)
        if ending.status == 200:
            break
    going_on = listen(lasting, place)
    assert (ending.status, going_on.status) == (200, 200)

    wait_until(lambda: ending.is_over)
    lasting.send_text(place, "hi")
    going_on.wait(2)
    assert ending.signals == []


def test_stream_of_a_deleted_user_ends_before_the_next_account(site: Site, listen: Listen) -> None:
    bob, old = site.sign_up("bob"), site.sign_up("ann")
    place = bob.create_conversation()
    bob.post(f"/conversations/{place}/participants", {"userId": "ann"})
    stream = listen(old, place)
    old.delete("/users/me")
    new = site.sign_up("ann")
    bob.post(f"/conversations/{place}/participants", {"userId": "ann"})

    wait_until(lambda: stream.is_over)
    assert old.get(f"/conversations/{place}/messages").status_code == 401
    assert new.get(f"/conversations/{place}/messages").status_code == 200


def test_stream_limit_error_has_retry_after(make_site: MakeSite, listen: Listen) -> None:
    site = make_site()
    ann = site.sign_up()
    here = ann.create_conversation()
    before = STREAMS.limit
    STREAMS.set_limit(1)
    try:
        listen(ann, here)
        check_error = listen(ann, here).response
        assert (check_error.status, orjson.loads(check_error.read())["type"]) == (503, "Internal")
        assert check_error.headers["Retry-After"]
        assert ann.get("/users/me").status_code == 200
    finally:
        STREAMS.set_limit(before)


def test_a_hundred_messages_reach_a_stream_in_their_order(ann: Person, here: str, listen: Listen) -> None:
    stream = listen(ann, here)
    sent = [ann.send_text(here, f"number {number}")["id"] for number in range(100)]
    wait_until(lambda: len(stream.signals) >= 200)
    heard = [signal["data"] for signal in stream.signals]

    assert [data["id"] for data in heard if not data["isBot"]] == sent
    assert [data["payload"]["text"] for data in heard if data["isBot"]] == [f"Ann: number {n}" for n in range(100)]
    dates = [data["createdAt"] for data in heard]
    assert dates == sorted(dates)


def test_message_arrives_by_notification(
    monkeypatch: pytest.MonkeyPatch, ann: Person, here: str, listen: Listen
) -> None:
    monkeypatch.setattr(live_feed, "POLL_INTERVAL", 600.0)  # so that it is not found but told
    stream = listen(ann, here)
    ann.send_text(here, "the last that may be found")
    stream.wait(2)
    ann.send_text(here, "quick")
    stream.wait(4)


def test_halves_of_characters_in_what_the_bot_says_break_nothing(ann: Person, here: str, listen: Listen) -> None:
    stream = listen(ann, here)
    ann.send_text(here, "/half")
    wait_until(lambda: sum(bool(signal["data"].get("isBot")) for signal in stream.signals) == 2)

    texts = [item["payload"]["text"] for item in ann.messages(here)]
    assert texts == ["/half", "half an emoji \ufffd", "broken \ufffd"]
    assert ann.messages(here)[2]["metadata"] == {"a": "\ufffd"}
    deltas = [signal["data"]["delta"] for signal in stream.signals if signal["type"] == "message_stream_delta"]
    assert "".join(deltas) == "half an emoji \ufffd"


def test_a_full_stream_of_emoji_comes_in_all_its_pieces(ann: Person, here: str, site: Site, listen: Listen) -> None:
    stream = listen(ann, here)
    [place] = [site.channel.conversation(site.running.delivery.bots["helper"], user=ann.id)]
    site.channel.stream_delta(place, "s", 0, "😀" * 400)
    signals = stream.wait(1)
    assert signals[0]["data"]["delta"] == "😀" * 400


def test_one_address_does_not_take_the_streams_of_all(make_site: MakeSite) -> None:
    site = make_site(streams=4)
    people = [site.sign_up() for _ in range(3)]

    def listen(person: Person, address: str) -> TestResponse:
        here = {"environ_base": {"REMOTE_ADDR": address}}
        return person.get(f"/conversations/{person.create_conversation()}/listen", **here)

    opened = [listen(person, "2001:db8::1") for person in people]
    try:
        assert [answer.status_code for answer in opened] == [200, 200, 429]
        assert opened[2].json["type"] == "RateLimited"
        assert int(opened[2].headers["Retry-After"]) >= 1
        assert listen(people[2], "2001:db8::2").status_code == 429
        opened.append(listen(people[2], "2001:db8:0:1::1"))
        assert opened[3].status_code == 200
    finally:
        for answer in opened:
            answer.close()
