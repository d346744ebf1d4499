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

from cometbot.channels.base import Incoming
from cometbot.models import Conversation
from tests.integration.channels.botpress.conftest import GATE, Site, make_bot, wait_for
from tests.residue import rows_with

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
    GATE.set()
    for site in made:
        site.close()


@pytest.fixture
def site(make: Make) -> Site:
    return make()


def idle(site: Site) -> None:
    wait_for(lambda: site.running.delivery.is_idle)


def kept(site: Site, *words: str) -> list[str]:
    return rows_with(site.running.delivery.database, *words)


def test_nothing_of_a_deleted_conversation_is_left_and_others_keep_theirs(site: Site) -> None:
    ann, bob = site.person(name="Ann"), site.person(name="Bob")
    place, other = ann.converse(), bob.converse()
    said = ann.say(place, SECRET)
    ann.post("/events", {"conversationId": place, "payload": {"it": SECRET}})
    taken = ann.say(place, f"{SECRET} taken back")
    ann.delete(f"/messages/{taken['id']}")
    bob.say(other, "bobsword")
    wait_for(lambda: len(ann.messages(place)) >= 4)
    bob.wait_messages(other, 2)
    idle(site)
    before = kept(site, "bobsword", other)
    [row] = [row for row in kept(site, said["id"]) if row.startswith("mailbox")]

    assert ann.delete(f"/conversations/{place}").status_code == 200
    assert kept(site, SECRET) == []
    assert kept(site, "bobsword", other) == before
    lane = next(part for part in row.split("'") if part.startswith(f"botpress/local/helper/{place}:"))
    where = Conversation("botpress", "local", "helper", lane.split("/", 3)[3], ann.id)
    assert not site.running.delivery.put(Incoming(where, f"message:{said['id']}", b"{}", ann.id))


def test_nothing_of_a_deleted_user_is_left_but_what_was_told_to_others(site: Site) -> None:
    ann, bob = site.person("ann-of-tests", name="Ann"), site.person(name="Bob")
    site.running.delivery.bots["helper"].send(user=ann.id, text=f"{SECRET} first")
    wait_for(lambda: kept(site, "'sent'"))
    ann.say(ann.converse(), SECRET)
    room = bob.converse()
    bob.post(f"/conversations/{room}/participants", {"userId": ann.id})
    ann.say(room, f"{SECRET} in Bob's room")
    bob.wait_messages(room, 2)
    idle(site)

    assert ann.delete("/users/me").status_code == 200
    answer = f"Ann: {SECRET} in Bob's room"  # the bot's own, in a conversation that stays
    assert [row for row in kept(site, SECRET) if answer not in row.replace("\\'", "'")] == []
    assert [row for row in kept(site, ann.id) if not row.startswith("chat_feed")] == []
    assert [item["payload"]["text"] for item in bob.messages(room)] == [answer]


def test_what_waits_or_runs_in_a_deleted_conversation_is_dropped_and_nobody_is_troubled(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    GATE.clear()
    ann = site.person(name="Ann")
    place = ann.converse()
    ann.say(place, "/wait")
    wait_for(lambda: kept(site, "'running'"))
    ann.say(place, f"/remember {SECRET}")
    ann.delete(f"/conversations/{place}")
    assert kept(site, SECRET) == []
    GATE.set()
    idle(site)

    assert kept(site, SECRET, "a private answer") == []
    assert [row for row in kept(site, "a late secret") if "'conversation'" in row] == []
    assert site.running.delivery.dead_letters.list() == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    there = ann.converse()
    ann.say(there, "hi")
    assert ann.wait_messages(there, 2)[1]["payload"]["text"] == "Ann: hi"


class Backend:
    """Whoever is told by the webhook: nothing is taken until it is ``up``."""

    def __init__(self, server: HTTPServer) -> None:
        self.told: list[dict[str, Any]] = []
        self.tries = 0
        self.is_up = False
        server.expect_request("/hook", method="POST").respond_with_handler(self.take)

    def take(self, request: Request) -> Response:
        self.tries += 1
        if self.is_up:
            self.told.append(orjson.loads(request.data))
        return Response("", 200 if self.is_up else 429, {"Retry-After": "1"})


def test_the_webhook_hears_of_people_but_no_more_of_what_was_said_in_a_deleted_conversation(
    make: Make, httpserver: HTTPServer
) -> None:
    backend = Backend(httpserver)
    site = make(botpress_webhook_url=httpserver.url_for("/hook"), allow_private_webhooks=True)
    ann, bob = site.person(name="Ann"), site.person(name="Bob")
    place = ann.converse()
    ann.say(place, SECRET)
    wait_for(lambda: backend.tries)
    ann.post(f"/conversations/{place}/participants", {"userId": bob.id})
    ann.wait_messages(place, 2)
    assert ann.delete(f"/conversations/{place}").status_code == 200
    backend.is_up = True
    idle(site)

    assert [item["type"] for item in backend.told] == ["participant_added"]
    assert kept(site, SECRET) == []
    assert site.running.delivery.dead_letters.list() == []


def test_the_webhook_is_told_no_more_what_a_deleted_user_said_to_others(make: Make, httpserver: HTTPServer) -> None:
    backend = Backend(httpserver)
    site = make(botpress_webhook_url=httpserver.url_for("/hook"), allow_private_webhooks=True)
    ann, bob = site.person(name="Ann"), site.person(name="Bob")
    room = bob.converse()
    bob.post(f"/conversations/{room}/participants", {"userId": ann.id})
    said = [person.say(room, text)["id"] for person, text in ((ann, SECRET), (bob, "bobsword"))]
    bob.wait_messages(room, 4)
    ann.delete("/users/me")
    backend.is_up = True
    idle(site)

    created = [item["data"]["id"] for item in backend.told if item["type"] == "message_created"]
    assert (said[0] in created, said[1] in created) == (False, True)
    ended = [item["data"] for item in backend.told if item["type"] in ("participant_removed", "message_deleted")]
    assert [item.get("participantId", item.get("id")) for item in ended] == [ann.id, said[0]]
