"""The client against our own server over real sockets, and against answers as the protocol shows them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from cometbot.backoff import Backoff
from cometbot.channels.chat_api import listener as listening
from cometbot.channels.chat_api.client import ChatClient
from cometbot.channels.chat_api.keys import sign
from cometbot.channels.chat_api.models import (
    EventCreated,
    MessageCreated,
    MessageDeleted,
    ParticipantAdded,
    ParticipantRemoved,
    StreamAbort,
    StreamComplete,
    StreamDelta,
)
from cometbot.errors import (
    AuthenticationFailed,
    ConfigurationError,
    MessageError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unreachable,
)
from cometbot.http.sse import STREAMS
from tests.integration.channels.chat_api.conftest import ENCRYPTION_KEY, MakeSite, Site, wait_until

TEXT = {"type": "text", "text": "hi"}


@pytest.fixture
def ann(site: Site) -> Iterator[ChatClient]:
    client = ChatClient.connect(site.url)
    client.update_user(name="Ann")
    yield client
    client.close()
    wait_until(lambda: len(STREAMS) == 0)


@pytest.fixture
def bob(site: Site) -> Iterator[ChatClient]:
    client = ChatClient.connect(site.url)
    yield client
    client.close()


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_BACKOFF", Backoff(0.02, 30.0, jitter=0.0))


def test_users(ann: ChatClient) -> None:
    user = ann.update_user(picture_url="https://e.example/a.png", profile="{}")

    assert (user.name, user.picture_url, user.profile) == ("Ann", "https://e.example/a.png", "{}")
    assert user.created_at.tzinfo is not None
    assert ann.get_user() == user
    assert ann.get_or_create_user(name="Anna").name == "Anna"
    ann.delete_user()
    with pytest.raises(NotFound) as caught:
        ann.get_user()
    assert (caught.value.code, caught.value.status) == ("ResourceNotFound", 404)


def test_conversations_and_participants(ann: ChatClient, bob: ChatClient) -> None:
    place = ann.create_conversation("shared/one")

    assert ann.get_conversation("shared/one") == ann.get_or_create_conversation("shared/one") == place
    with pytest.raises(Rejected) as caught:
        ann.create_conversation("shared/one")
    assert (caught.value.code, caught.value.status) == ("AlreadyExists", 409)
    with pytest.raises(AuthenticationFailed) as check_error:
        bob.get_conversation("shared/one")
    assert check_error.value.code == "Forbidden"
    user = bob.get_user()
    assert ann.add_participant("shared/one", user.id) == ann.get_participant("shared/one", user.id) == user
    assert {item.id for item in bob.list_participants("shared/one")} == {user.id, ann.get_user().id}
    ann.remove_participant("shared/one", user.id)
    assert len(ann.list_participants("shared/one")) == 1
    ann.delete_conversation("shared/one")
    with pytest.raises(NotFound):
        ann.get_conversation("shared/one")


def test_messages_and_events(ann: ChatClient) -> None:
    place = ann.create_conversation().id
    message = ann.create_message(place, TEXT, {"page": 1})

    assert (message.conversation_id, message.payload, message.metadata) == (place, TEXT, {"page": 1})
    assert ann.get_message(message.id) == message
    event = ann.create_event(place, {"a": 1})
    assert ann.get_event(event.id) == event
    assert event.payload == {"a": 1}
    wait_until(lambda: len(ann.list_messages(place)) == 3)
    ann.delete_message(message.id)
    with pytest.raises(NotFound):
        ann.get_message(message.id)


def test_every_item_of_a_list_comes_page_by_page(ann: ChatClient) -> None:
    made = {ann.create_conversation().id for _ in range(23)}

    first = ann.list_conversations()
    assert len(first) == 20
    assert first.next_token
    assert {item.id for item in ann.every(ann.list_conversations)} == made


def test_a_key_that_was_kept_connects_again(site: Site, ann: ChatClient) -> None:
    again = ChatClient.connect(site.url, user_key=ann.user_key)
    assert again.get_user() == ann.get_user()
    again.close()


def test_an_own_id_is_given_to_a_new_user(site: Site) -> None:
    client = ChatClient.connect(site.url, user_id="own-1")
    assert client.get_user().id == "own-1"
    client.close()


def test_manual_mode(manual_site: Site) -> None:
    client = ChatClient.connect(manual_site.url, user_id="maria", encryption_key=ENCRYPTION_KEY)
    assert client.get_user().id == "maria"
    assert ChatClient.connect(manual_site.url, user_key=sign("maria", ENCRYPTION_KEY)).get_user().id == "maria"
    with pytest.raises(AuthenticationFailed):
        ChatClient.connect(manual_site.url)
    with pytest.raises(AuthenticationFailed):
        ChatClient.connect(manual_site.url, user_id="maria", encryption_key="another")
    with pytest.raises(ConfigurationError, match="user_id"):
        ChatClient.connect(manual_site.url, encryption_key=ENCRYPTION_KEY)
    client.close()


@pytest.mark.parametrize("url", ["", "host", "ftp://host/x", "https://", "https://user:pw@host/x", "https://host/x?y"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="api_url"):
        ChatClient(url)


def test_what_is_no_json_is_not_sent(ann: ChatClient) -> None:
    with pytest.raises(MessageError, match="JSON"):
        ann.create_event("x", {"a": object()})


def test_a_talk_over_a_stream(ann: ChatClient, bob: ChatClient) -> None:
    place = ann.create_conversation().id
    with ann.listen_conversation(place) as signals:
        message = ann.create_message(place, TEXT)
        first, second = signals.get(60), signals.get(60)
        assert isinstance(first, MessageCreated)
        assert isinstance(second, MessageCreated)
        assert (first.message, first.is_bot) == (message, False)
        assert (second.message.payload, second.is_bot) == ({"type": "text", "text": "Ann: hi"}, True)
        ann.delete_message(message.id)
        deleted = signals.get(60)
        assert isinstance(deleted, MessageDeleted)
        assert deleted.id == message.id
        assert isinstance(signals.get(60), MessageCreated)
        ann.add_participant(place, bob.get_user().id)
        ann.remove_participant(place, bob.get_user().id)
        assert isinstance(signals.get(60), ParticipantAdded)
        assert isinstance(signals.get(60), ParticipantRemoved)
        ann.create_message(place, {"type": "text", "text": "ping me"})
        assert isinstance(signals.get(60), MessageCreated)
        told = signals.get(60)
        assert isinstance(told, EventCreated)
        assert (told.event.id, told.event.payload, told.is_bot) == ("", {"pong": 1}, True)
        assert signals.get(0.01) is None
    assert signals.is_closed
    assert list(signals) == []


def test_a_streamed_answer(ann: ChatClient) -> None:
    place = ann.create_conversation().id
    with ann.listen_conversation(place) as signals:
        ann.create_message(place, {"type": "text", "text": "stream"})
        ann.create_message(place, {"type": "text", "text": "give up"})
        kinds: list[type] = []
        text = ""
        for signal in signals:
            kinds.append(type(signal))
            text += signal.delta if isinstance(signal, StreamDelta) else ""
            if isinstance(signal, StreamAbort):
                break
    assert text == "Once upon a timeI will "
    assert StreamComplete in kinds


def test_answers_end_when_the_bot_is_quiet(ann: ChatClient) -> None:
    place = ann.create_conversation().id
    with ann.listen_conversation(place) as signals:
        ann.create_message(place, TEXT)
        began = time.monotonic()
        answers = list(signals.answers(timeout=60, quiet=0.2))
        assert [answer.payload["text"] for answer in answers] == ["Ann: hi"]
        assert time.monotonic() - began < 30
        assert list(signals.answers(timeout=0.1)) == []


def test_who_takes_no_part_cannot_listen(ann: ChatClient, bob: ChatClient) -> None:
    place = ann.create_conversation().id
    with pytest.raises(AuthenticationFailed, match="participant"):
        bob.listen_conversation(place)


def test_a_listener_ends_where_the_server_lets_it_listen_no_more(ann: ChatClient, bob: ChatClient) -> None:
    place = ann.create_conversation().id
    ann.add_participant(place, bob.get_user().id)
    signals = bob.listen_conversation(place)
    ann.remove_participant(place, bob.get_user().id)

    assert isinstance(signals.get(60), ParticipantRemoved)
    for _ in range(2):
        with pytest.raises(AuthenticationFailed):
            signals.get(60)
    assert signals.is_closed
    signals.close()


def test_without_reconnecting_a_listener_ends_with_its_stream(ann: ChatClient) -> None:
    place = ann.create_conversation().id
    with ann.listen_conversation(place, reconnects=False) as signals:
        ann.delete_conversation(place)
        assert list(signals) == []


def test_broken_stream_reconnects_and_reads_missed_messages(make_site: MakeSite) -> None:
    site = make_site()
    client = ChatClient.connect(site.url)
    place = client.create_conversation().id
    client.create_message(place, {"type": "text", "text": "before"})
    wait_until(lambda: len(client.list_messages(place)) == 2)
    with client.listen_conversation(place) as signals:
        client.create_message(place, {"type": "text", "text": "while"})
        heard = [signals.get(60), signals.get(60)]
        port = site.stop_server()
        wait_until(lambda: len(STREAMS) == 0)
        headers = {"x-user-key": client.user_key}
        for number in range(30):
            body = {"conversationId": place, "payload": {"type": "text", "text": f"missed {number}"}}
            assert site.call_api("POST", "/messages", body, headers=headers).status_code == 201
        site.start_server(port)
        texts: list[str] = []
        while len(texts) < 60:
            signal = signals.get(60)
            assert isinstance(signal, MessageCreated)
            texts.append(str(signal.message.payload["text"]))
        client.create_message(place, {"type": "text", "text": "after"})
        last = signals.get(60)
        assert isinstance(last, MessageCreated)
        assert (last.message.payload["text"], last.is_bot) == ("after", False)
    assert all(isinstance(item, MessageCreated) for item in heard)
    assert [text for text in texts if text.startswith("missed")] == [f"missed {number}" for number in range(30)]
    assert len(set(texts)) == 60
    assert "before" not in texts
    assert "while" not in texts
    client.close()


def test_own_missed_messages_are_not_answers(make_site: MakeSite) -> None:
    site = make_site()
    client = ChatClient.connect(site.url)
    place = client.create_conversation().id
    with client.listen_conversation(place) as signals:
        port = site.stop_server()
        body = {"conversationId": place, "payload": TEXT}
        site.call_api("POST", "/messages", body, headers={"x-user-key": client.user_key})
        site.start_server(port)
        answers = [str(answer.payload["text"]) for answer in signals.answers(timeout=10, quiet=0.5)]
    assert len(answers) == 1
    assert answers[0].endswith(": hi")
    client.close()


def test_close_wakes_who_waits(ann: ChatClient) -> None:
    signals = ann.listen_conversation(ann.create_conversation().id)
    got: list[object] = []
    waiting = threading.Thread(target=lambda: got.append(signals.get(None)))
    waiting.start()
    signals.close()
    waiting.join(60)
    assert not waiting.is_alive()
    assert got == [None]
    signals.close()


def test_the_key_shows_nowhere(ann: ChatClient, site: Site) -> None:
    assert ann.user_key not in repr(ann)
    spoiled = ChatClient(site.url, ann.user_key + "x")
    with pytest.raises(AuthenticationFailed) as caught:
        spoiled.get_user()
    assert ann.user_key not in str(caught.value)


# As the protocol shows it.

USER = {
    "id": "user_01K0A1",
    "name": "Ann",
    "profile": '{"plan":"free"}',
    "createdAt": "2026-03-01T12:00:00.000Z",
    "updatedAt": "2026-03-01T12:00:00.000Z",
}
REFUSAL = {
    "id": "err_20260301120000x5E0FA1B2",
    "code": 403,
    "type": "Forbidden",
    "message": "You are not a participant in this conversation",
}


@pytest.fixture
def recorded(httpserver: HTTPServer) -> Iterator[ChatClient]:
    client = ChatClient(httpserver.url_for(""), "a-key", timeout=2)
    yield client
    client.close()


def test_requests_are_as_the_official_client_sends_them(recorded: ChatClient, httpserver: HTTPServer) -> None:
    seen: list[Request] = []

    def answer(request: Request) -> Response:
        seen.append(request)
        return Response(orjson.dumps({"user": USER, "participant": USER}), content_type="application/json")

    for method in ("GET", "POST", "PUT"):
        httpserver.expect_request("/users/me", method=method).respond_with_handler(answer)
    httpserver.expect_request("/conversations/a/b/participants/c d").respond_with_handler(answer)
    recorded.get_user()
    recorded.update_user(name="Ann")
    recorded.get_participant("a/b", "c d")

    get, put, path = seen
    assert (get.data, get.content_type, get.headers["x-user-key"]) == (b"", None, "a-key")
    assert (put.data, put.content_type) == (b'{"name":"Ann"}', "application/json")
    assert path.environ["RAW_URI"].endswith("/conversations/a%2Fb/participants/c%20d")


@pytest.mark.parametrize(
    ("status", "body", "error", "code"),
    [
        (403, REFUSAL, AuthenticationFailed, "Forbidden"),
        (401, {**REFUSAL, "code": 401, "type": "Unauthorized"}, AuthenticationFailed, "Unauthorized"),
        (404, {**REFUSAL, "code": 404, "type": "ResourceNotFound"}, NotFound, "ResourceNotFound"),
        (404, {"message": "Route doesn't exist"}, NotFound, ""),
        (400, {"message": "must have required property 'body'"}, Rejected, ""),
        (409, {**REFUSAL, "code": 409, "type": "AlreadyExists"}, Rejected, "AlreadyExists"),
        (200, {**REFUSAL, "code": 409, "type": "AlreadyExists"}, Rejected, "AlreadyExists"),
        (302, {}, Rejected, ""),
        (500, {**REFUSAL, "code": 500, "type": "Internal"}, OutcomeUnknown, ""),
        (200, {"something": "else"}, OutcomeUnknown, ""),
    ],
)
def test_refusals_become_errors_of_their_class(
    recorded: ChatClient, httpserver: HTTPServer, status: int, body: Any, error: type[Exception], code: str
) -> None:
    httpserver.expect_request("/users/me").respond_with_json(body, status=status)
    with pytest.raises(error) as caught:
        recorded.get_user()
    assert type(caught.value) is error
    assert getattr(caught.value, "code", code) == code


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7),
        ({"RateLimit-Reset": "12"}, 12),
        ({}, 10),
        ({"Retry-After": "nonsense"}, 10),
        ({"Retry-After": "99999"}, 3600),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
    ],
)
def test_a_429_says_how_long_to_wait(
    recorded: ChatClient, httpserver: HTTPServer, headers: dict[str, str], wait: float
) -> None:
    httpserver.expect_request("/users/me").respond_with_json({}, status=429, headers=headers)
    with pytest.raises(RateLimited) as caught:
        recorded.get_user()
    assert caught.value.retry_after == wait


def test_a_server_that_is_not_there_was_surely_not_reached() -> None:
    client = ChatClient("http://127.0.0.1:9/x", timeout=2)
    with pytest.raises(Unreachable, match="api_url"):
        client.get_user()
    client.close()


def test_a_server_that_does_not_answer_leaves_it_open(httpserver: HTTPServer) -> None:
    client = ChatClient(httpserver.url_for(""), "a-key", timeout=0.3)
    held = threading.Event()

    def wait(request: Request) -> Response:
        held.wait(60)
        return Response("{}")

    httpserver.expect_request("/users/me").respond_with_handler(wait)
    began = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        client.get_user()
    assert time.monotonic() - began < 30
    held.set()
    client.close()


def test_a_secret_that_the_server_repeats_is_taken_out(recorded: ChatClient, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/users/me").respond_with_json({"message": "bad key a-key"}, status=401)
    with pytest.raises(AuthenticationFailed) as caught:
        recorded.get_user()
    assert "a-key" not in str(caught.value)
