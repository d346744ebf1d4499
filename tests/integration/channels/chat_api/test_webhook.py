"""The webhook is told everything, in order, later where it must be, and holds up nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from cometbot import Bot, ConfigurationError
from cometbot.channels.chat_api.setup import make_channels
from cometbot.chat import Chat
from cometbot.observer import Observer
from cometbot.settings import Secret, Settings
from cometbot.store.factory import database_from_url
from tests.integration.channels.chat_api.conftest import MakeSite, Person, Site, wait_until

SECRET = "s3cret-of-the-webhook"


class Backend:
    """Whoever is told. ``answers`` are the next answers' statuses; 200 afterwards."""

    def __init__(self, server: HTTPServer) -> None:
        self.received: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.statuses: list[int] = []
        self.tries = 0
        self.gate = threading.Event()
        self.gate.set()
        server.expect_request("/hook", method="POST").respond_with_handler(self.handle)
        self.url = server.url_for("/hook")

    def handle(self, request: Request) -> Response:
        self.tries += 1
        self.gate.wait(60)
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.headers.append(request.headers)
            self.received.append(orjson.loads(request.data))
        return Response("", status, {"Retry-After": "1"})

    def signals_of(self, conversation: str) -> list[dict[str, Any]]:
        return [item for item in self.received if conversation in str(item["data"])]

    def wait_signals(self, conversation: str, count: int) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.signals_of(conversation)) >= count, 20)
        return self.signals_of(conversation)


@pytest.fixture
def backend(httpserver: HTTPServer) -> Iterator[Backend]:
    backend = Backend(httpserver)
    yield backend
    backend.gate.set()


@pytest.fixture
def site(make_site: MakeSite, backend: Backend) -> Site:
    return make_site(
        chat_api_webhook_url=backend.url, chat_api_webhook_secret=Secret(SECRET), allow_private_webhooks=True
    )


def test_every_signal_is_posted_as_the_stream_says_it(site: Site, backend: Backend) -> None:
    ann, bob = site.sign_up(name="Ann"), site.sign_up()
    here = ann.create_conversation()
    message = ann.send_text(here, "hi")
    ann.wait_messages(here, 2)
    ann.delete(f"/messages/{message['id']}")
    ann.wait_messages(here, 2)
    ann.post(f"/conversations/{here}/participants", {"userId": bob.id})
    ann.delete(f"/conversations/{here}/participants/{bob.id}")
    event = ann.post("/events", {"conversationId": here, "payload": {"a": 1}}).json["event"]
    told = backend.wait_signals(here, 8)

    assert told[0] == {"type": "message_created", "data": {**message, "isBot": False}}
    assert (told[1]["type"], told[1]["data"]["isBot"]) == ("message_created", True)
    kinds = [item["type"] for item in told]
    assert kinds[2:6] == ["message_deleted", "message_created", "participant_added", "participant_removed"]
    assert {"type": "event_created", "data": {**event, "isBot": False}} in told
    for headers in backend.headers:
        assert headers["x-secret-key"] == SECRET
        assert headers["content-type"] == "application/json"


def test_pieces_of_a_stream_are_posted_before_the_whole(site: Site, backend: Backend) -> None:
    ann = site.sign_up()
    here = ann.create_conversation()
    ann.send_text(here, "stream")
    told = backend.wait_signals(here, 4)
    wait_until(lambda: backend.signals_of(here)[-1]["data"].get("isBot"))
    _, *deltas, complete, created = backend.signals_of(here)

    assert told
    assert {item["type"] for item in deltas} == {"message_stream_delta"}
    assert "".join(item["data"]["delta"] for item in deltas) == "Once upon a time"
    assert (complete["type"], created["type"]) == ("message_stream_complete", "message_created")


def test_signals_stay_in_order_when_posts_fail(site: Site, backend: Backend) -> None:
    ann = site.sign_up()
    here = ann.create_conversation()
    backend.statuses += [500, 200, 503, 429, 200, 500]
    sent = [ann.send_text(here, f"number {number}")["id"] for number in range(5)]
    told = backend.wait_signals(here, 10)

    assert [item["data"]["id"] for item in told if not item["data"]["isBot"]] == sent
    assert len({item["data"]["id"] for item in told}) == 10
    assert backend.tries > 10


def test_signals_stay_in_order_when_the_backend_moves(make_site: MakeSite, backend: Backend, tmp_path: Path) -> None:
    shared = {"database_url": f"sqlite:///{tmp_path}/moved.db", "allow_private_webhooks": True}
    before = make_site(chat_api_webhook_url="http://127.0.0.1:9/hook", **shared)
    ann = before.sign_up(name="Ann")
    here = ann.create_conversation()
    ann.send_text(here, "first")
    ann.wait_messages(here, 2)
    before.running.stop()

    after = make_site(chat_api_webhook_url=backend.url, **shared)
    Person(after, ann.key, ann.id).send_text(here, "second")
    texts = [item["data"]["payload"]["text"] for item in backend.wait_signals(here, 4)]
    assert texts == ["first", "Ann: first", "second", "Ann: second"]


def test_a_webhook_that_hangs_delays_no_request_and_no_answer(site: Site, backend: Backend) -> None:
    ann = site.sign_up(name="Ann")
    here = ann.create_conversation()
    backend.gate.clear()
    began = time.monotonic()
    ann.send_text(here, "hi")
    assert time.monotonic() - began < 20
    assert [item["payload"]["text"] for item in ann.wait_messages(here, 2)] == ["hi", "Ann: hi"]
    assert backend.received == []
    backend.gate.set()
    assert len(backend.wait_signals(here, 2)) == 2


def test_rejected_signal_is_a_dead_letter_and_the_next_is_posted(site: Site, backend: Backend) -> None:
    ann = site.sign_up()
    here = ann.create_conversation()
    backend.statuses += [400]
    ann.send_text(here, "hi")
    told = backend.wait_signals(here, 1)

    assert told[0]["data"]["isBot"] is True
    [letter] = wait_until(site.running.delivery.dead_letters.list)
    assert letter.is_reply
    assert "400" in str(letter.error)
    assert SECRET not in str(letter)
    assert backend.url.rpartition("/")[0].removesuffix("/") in str(letter.error)


def test_nothing_is_stored_for_a_webhook_where_none_is_set(make_site: MakeSite) -> None:
    site = make_site()
    ann = site.sign_up()
    here = ann.create_conversation()
    ann.send_text(here, "hi")
    ann.wait_messages(here, 2)
    assert "chat_api_webhook" not in site.running.delivery.channels
    wait_until(lambda: site.running.delivery.is_idle)


Make = Callable[..., Any]


@pytest.fixture
def make(tmp_path: Any) -> Make:
    chat = Chat(database_from_url(f"sqlite:///{tmp_path}/bot.db"), tmp_path)
    return lambda **settings: make_channels(Settings(**settings), [Bot("helper")], Observer(), chat)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/hook", "http://localhost/", "https://10.0.0.7/x", "http://[::1]/", "https://a:b@e.example/"],
)
def test_a_webhook_that_must_not_be_called_is_a_wrong_setting(make: Make, url: str) -> None:
    with pytest.raises(ConfigurationError, match="CHAT_API_WEBHOOK_URL: "):
        make(chat_api_webhook_url=url)


@pytest.mark.parametrize("secret", ["a\nb", "ü", "a\0b"])
def test_a_secret_that_no_header_can_carry_is_a_wrong_setting(make: Make, secret: str) -> None:
    with pytest.raises(ConfigurationError, match="CHAT_API_WEBHOOK_SECRET"):
        make(chat_api_webhook_url="https://e.example/", chat_api_webhook_secret=Secret(secret))


def test_an_encryption_key_that_cannot_sign_is_a_wrong_setting(make: Make) -> None:
    with pytest.raises(ConfigurationError, match="CHAT_API_ENCRYPTION_KEY"):
        make(chat_api_encryption_key=Secret("ssh-rsa AAAA"))


def test_the_webhook_is_a_channel_of_its_own(make: Make) -> None:
    channels = make(chat_api_webhook_url="https://e.example/hook/", chat_api_webhook_secret=Secret(SECRET))
    assert [channel.name for channel in channels] == ["chat_api", "chat_api_webhook"]
    assert channels[1].account == "backend"
    assert SECRET not in repr(vars(channels[1]))
