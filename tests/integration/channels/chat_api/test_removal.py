"""What is deleted is gone: from the chat, from what the bot remembers, and from what delivery keeps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from cometbot.channels.base import IncomingEvent
from cometbot.models import Conversation
from tests.integration.channels.chat_api.conftest import HANDLER_GATE, Site, make_bot, wait_until
from tests.table_rows import find_rows

SECRET = "secretword"

Make = Callable[..., Site]


@pytest.fixture(params=["sqlite", "postgresql"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes an application whose process handles, over either database."""
    url = {"database_url": request.getfixturevalue("postgres_url")} if request.param == "postgresql" else {}
    made: list[Site] = []

    def make(**settings: Any) -> Site:
        made.append(Site(tmp_path, [make_bot()], **url, **settings))
        made[-1].running.delivery.start()
        return made[-1]

    yield make
    HANDLER_GATE.set()
    for site in made:
        site.close()


@pytest.fixture
def site(make: Make) -> Site:
    return make()


def wait_until_idle(site: Site) -> None:
    wait_until(lambda: site.running.delivery.is_idle)


def stored_texts(site: Site, *words: str) -> list[str]:
    return find_rows(site.running.delivery.database, *words)


def test_deleted_conversation_leaves_nothing(site: Site) -> None:
    ann, bob = site.sign_up(name="Ann"), site.sign_up(name="Bob")
    place, other = ann.create_conversation(), bob.create_conversation()
    said = ann.send_text(place, SECRET)
    ann.post("/events", {"conversationId": place, "payload": {"it": SECRET}})
    taken = ann.send_text(place, f"{SECRET} taken back")
    ann.delete(f"/messages/{taken['id']}")
    bob.send_text(other, "bobsword")
    wait_until(lambda: len(ann.messages(place)) >= 4)
    bob.wait_messages(other, 2)
    wait_until_idle(site)
    before = stored_texts(site, "bobsword", other)
    [row] = [row for row in stored_texts(site, said["id"]) if row.startswith("mailbox")]

    assert ann.delete(f"/conversations/{place}").status_code == 200
    assert stored_texts(site, SECRET) == []
    assert stored_texts(site, "bobsword", other) == before
    conversation_key = next(part for part in row.split("'") if part.startswith(f"chat_api/local/helper/{place}:"))
    where = Conversation("chat_api", "local", "helper", conversation_key.split("/", 3)[3], ann.id)
    assert not site.running.delivery.enqueue(IncomingEvent(where, f"message:{said['id']}", b"{}", ann.id))


def test_deleted_user_leaves_only_delivered_signals(site: Site) -> None:
    ann, bob = site.sign_up("ann-of-tests", name="Ann"), site.sign_up(name="Bob")
    site.running.delivery.bots["helper"].send(user=ann.id, text=f"{SECRET} first")
    wait_until(lambda: stored_texts(site, "'sent'"))
    ann.send_text(ann.create_conversation(), SECRET)
    room = bob.create_conversation()
    bob.post(f"/conversations/{room}/participants", {"userId": ann.id})
    ann.send_text(room, f"{SECRET} in Bob's room")
    bob.wait_messages(room, 2)
    wait_until_idle(site)

    assert ann.delete("/users/me").status_code == 200
    answer = f"Ann: {SECRET} in Bob's room"  # the bot's own, in a conversation that stays
    assert [row for row in stored_texts(site, SECRET) if answer not in row.replace("\\'", "'")] == []
    assert [row for row in stored_texts(site, ann.id) if not row.startswith("chat_feed")] == []
    assert [item["payload"]["text"] for item in bob.messages(room)] == [answer]


def test_pending_work_of_a_deleted_conversation_is_dropped(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    HANDLER_GATE.clear()
    ann = site.sign_up(name="Ann")
    place = ann.create_conversation()
    ann.send_text(place, "/wait")
    wait_until(lambda: stored_texts(site, "'running'"))
    ann.send_text(place, f"/remember {SECRET}")
    ann.delete(f"/conversations/{place}")
    assert stored_texts(site, SECRET) == []
    HANDLER_GATE.set()
    wait_until_idle(site)

    assert stored_texts(site, SECRET, "a private answer") == []
    assert [row for row in stored_texts(site, "a late secret") if "'conversation'" in row] == []
    assert site.running.delivery.dead_letters.list() == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    there = ann.create_conversation()
    ann.send_text(there, "hi")
    assert ann.wait_messages(there, 2)[1]["payload"]["text"] == "Ann: hi"


class Backend:
    """Whoever is told by the webhook: nothing is taken until it is ``up``."""

    def __init__(self, server: HTTPServer) -> None:
        self.received: list[dict[str, Any]] = []
        self.tries = 0
        self.is_up = False
        server.expect_request("/hook", method="POST").respond_with_handler(self.handle)

    def handle(self, request: Request) -> Response:
        self.tries += 1
        if self.is_up:
            self.received.append(orjson.loads(request.data))
        return Response("", 200 if self.is_up else 429, {"Retry-After": "1"})


def test_webhook_gets_no_content_of_a_deleted_conversation(make: Make, httpserver: HTTPServer) -> None:
    backend = Backend(httpserver)
    site = make(chat_api_webhook_url=httpserver.url_for("/hook"), allow_private_webhooks=True)
    ann, bob = site.sign_up(name="Ann"), site.sign_up(name="Bob")
    place = ann.create_conversation()
    ann.send_text(place, SECRET)
    wait_until(lambda: backend.tries)
    ann.post(f"/conversations/{place}/participants", {"userId": bob.id})
    ann.wait_messages(place, 2)
    assert ann.delete(f"/conversations/{place}").status_code == 200
    backend.is_up = True
    wait_until_idle(site)

    assert [item["type"] for item in backend.received] == ["participant_added"]
    assert stored_texts(site, SECRET) == []
    assert site.running.delivery.dead_letters.list() == []


def test_webhook_gets_no_content_of_a_deleted_user(make: Make, httpserver: HTTPServer) -> None:
    backend = Backend(httpserver)
    site = make(chat_api_webhook_url=httpserver.url_for("/hook"), allow_private_webhooks=True)
    ann, bob = site.sign_up(name="Ann"), site.sign_up(name="Bob")
    room = bob.create_conversation()
    bob.post(f"/conversations/{room}/participants", {"userId": ann.id})
    said = [person.send_text(room, text)["id"] for person, text in ((ann, SECRET), (bob, "bobsword"))]
    bob.wait_messages(room, 4)
    ann.delete("/users/me")
    backend.is_up = True
    wait_until_idle(site)

    created = [item["data"]["id"] for item in backend.received if item["type"] == "message_created"]
    assert (said[0] in created, said[1] in created) == (False, True)
    ended = [item["data"] for item in backend.received if item["type"] in ("participant_removed", "message_deleted")]
    assert [item.get("participantId", item.get("id")) for item in ended] == [ann.id, said[0]]
