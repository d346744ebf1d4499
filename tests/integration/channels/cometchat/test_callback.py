"""Callbacks and webhooks before a real database: whatever well-formed JSON holds, it is stored once or refused."""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import Client

from cometbot import Bot
from cometbot.channels.base import MAX_KEY_BYTES
from cometbot.channels.cometchat import CallbackSettings, CometChatChannel, CometChatClient
from cometbot.channels.cometchat.callback import make_blueprint
from cometbot.delivery import Delivery
from cometbot.dispatch import MAX_CONSECUTIVE_BOT_EVENTS
from cometbot.events import EditEvent, MembershipEvent
from cometbot.simulator import Simulator
from cometbot.simulator.server import HOST, LoopbackServer
from cometbot.store.tables import mailbox, outbox

PASSWORD = "s3cr3t"
LOGIN = "Basic " + b64encode(f"cc:{PASSWORD}".encode()).decode()
NUL = "a\0b"


def wide(length: int) -> str:
    """A text whose letters take four bytes each, in an order that no database compresses."""
    chance = random.Random(length)
    return "".join(chr(chance.randrange(0x20000, 0x2A6DF)) for _ in range(length))


class Site:
    """A bot's callback and webhook over a database of its own; nothing is handled."""

    def __init__(self, url: str) -> None:
        bot = Bot("helpdesk")
        self.channel = CometChatChannel(
            "app",
            CometChatClient("http://127.0.0.1:9/v3", "key"),
            bots={"helpdesk": bot},
            callback=CallbackSettings(credentials={"helpdesk": ("cc", PASSWORD)}),
        )
        self.delivery = Delivery([bot], [self.channel], url)
        app = Flask("site")
        app.register_blueprint(make_blueprint(self.channel, self.delivery))
        self._client = Client(app)

    def post(self, payload: dict[str, Any]) -> tuple[int, Any]:
        path = "/cometchat/helpdesk" + ("" if "bot" in payload else "/webhook")
        headers = {"Authorization": LOGIN}
        answer = self._client.post(path, data=orjson.dumps(payload), headers=headers, content_type="application/json")
        return answer.status_code, answer.json

    def stored(self) -> list[tuple[str, str]]:
        with self.delivery.database.read() as connection:
            rows = connection.execute(sa.select(mailbox.c.event_key, mailbox.c.sender).order_by(mailbox.c.seq))
            return [(key, sender) for key, sender in rows]


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    is_server = request.param == "postgresql"
    url = request.getfixturevalue("postgres_url") if is_server else f"sqlite:///{tmp_path}/cometbot.db"
    made = Site(url)
    if not is_server:
        made.delivery.database.upgrade()
    with closing(made.delivery):
        yield made


def callback(**changes: Any) -> dict[str, Any]:
    message = {
        "id": "7",
        "conversationId": "group_ops",
        "sender": "maria",
        "receiverType": "group",
        "receiver": "ops",
        "category": "message",
        "type": "text",
        "data": {"text": "hi"},
        "sentAt": 1,
        "updatedAt": 1,
    }
    return {"trigger": "after_message", "appId": "app", "bot": "helpdesk", "data": message | changes}


def report(kind: str, action: str, on: dict[str, Any], **changes: Any) -> dict[str, Any]:
    category, kind = ("call", "audio") if kind == "call" else ("action", kind)
    data = {"action": action, "entities": {"on": {"entity": on}}}
    return callback(**{"category": category, "type": kind, "data": data} | changes)


def webhook(trigger: str, **data: Any) -> dict[str, Any]:
    return {"trigger": trigger, "appId": "app", "webhook": "hook", "data": data}


ODD: dict[str, Callable[[], dict[str, Any]]] = {
    "a call's action and session with NUL": lambda: report("call", NUL, {"sessionid": NUL}),
    "a long session": lambda: report("call", "ended", {"sessionid": wide(3000)}),
    "a session that is no text": lambda: report("call", "ended", {"sessionid": {"a": [NUL] * 2000}}),
    "a long action": lambda: report("call", wide(6000), {"sessionid": "v1"}),
    "a member and what it did with NUL": lambda: report("groupMember", NUL, {"uid": NUL}),
    "a long member": lambda: report("groupMember", wide(3000), {"uid": wide(3000)}),
    "the longest ids": lambda: callback(
        id=wide(255), conversationId=wide(254), sender=wide(253), receiver=wide(252), type=wide(251)
    ),
    "an unknown trigger of the longest name": lambda: callback() | {"trigger": wide(255)},
    "a text with NUL": lambda: callback(id="8", data={"text": NUL}),
    "the longest members": lambda: webhook(
        "group_member_added",
        group={"guid": wide(255)},
        members={uid: {"uid": uid} for uid in ("helpdesk", wide(255), wide(254), wide(253))},
        by={"uid": "maria"},
    ),
    "an owner with NUL": lambda: webhook("group_owner_transferred", group={"guid": "ops"}, oldOwner=NUL),
    "an owner with NUL in the group": lambda: webhook(
        "group_owner_transferred", group={"guid": "ops", "oldOwner": NUL, "owner": NUL}
    ),
    "an owner with a long name": lambda: webhook(
        "group_owner_transferred", group={"guid": "ops", "oldOwner": wide(9000)}, by={"uid": NUL}
    ),
}


def test_odd_names_are_stored_once_without_500(site: Site) -> None:
    done = (200, {"data": {"success": True}})
    site.post(callback())
    for count, (name, make) in enumerate(ODD.items(), start=2):
        assert site.post(make()) == done, name
        assert len(site.stored()) == count, name
        assert site.post(make()) == done, name
        assert len(site.stored()) == count, name
    assert all(len(key.encode()) <= MAX_KEY_BYTES for key, _ in site.stored())
    assert not any("\0" in key + sender for key, sender in site.stored())


def test_event_keys_are_stable(site: Site) -> None:
    group, members = {"guid": "Ops"}, {uid: {"uid": uid} for uid in ("maria", "helpdesk")}
    for payload in (
        callback(),
        report("call", "canceled", {"sessionid": "v1.eu.5"}),
        report("groupMember", "scopeChanged", {"uid": "Tom"}, id="8"),
        callback() | {"trigger": "moderation_engine_approved"},
        webhook("group_member_added", group=group, members=members, by={"uid": "ann"}),
    ):
        assert site.post(payload)[0] == 200
    keys = [key for key, _ in site.stored()]
    assert keys[:-1] == [
        "message:7",
        "call:v1.eu.5:cancelled",
        "member:ops:scope_changed:tom:8",
        "moderation_engine_approved:7",
    ]
    assert keys[-1].startswith("member:ops:added:helpdesk,maria:")


def test_long_member_lists_have_distinct_keys(site: Site) -> None:
    for uid in (wide(3000), wide(3000) + "x"):
        site.post(report("groupMember", "added", {"uid": uid}))
    assert len(site.stored()) == 2


def member_added(**data: Any) -> dict[str, Any]:
    members = {"helpdesk": {"uid": "helpdesk"}}
    return webhook("group_member_added", **{"group": {"guid": "ops"}, "members": members, **data})


@pytest.mark.parametrize(
    "report",
    [
        member_added(by={"uid": "ann"}),
        member_added(),
        member_added(by={"uid": "helpdesk"}),
        webhook("group_member_joined", group={"guid": "ops"}, members={"helpdesk": {}}),
        webhook("group_created", group={"guid": "ops"}, members={"ann": {"uid": "ann"}, "helpdesk": {}}),
    ],
    ids=["by somebody", "by nobody", "by itself", "joined", "made with it"],
)
def test_bot_added_to_group_receives_its_events(site: Site, report: dict[str, Any]) -> None:
    bot = site.delivery.bots["helpdesk"]
    bot.event(MembershipEvent)(lambda ctx: None)
    others = webhook("group_member_joined", group={"guid": "ops"}, members={"tom": {"uid": "tom"}})
    assert site.post(others)[1] == {"data": {"success": True, "ignored": 1}}
    assert site.post(report)[1] == {"data": {"success": True}}
    assert site.post(others)[1] == {"data": {"success": True}}
    assert [sender for _, sender in site.stored()][-1] == "tom"


def test_group_is_known_without_membership_handler(site: Site) -> None:
    bot = site.delivery.bots["helpdesk"]
    bot.event(EditEvent)(lambda ctx: None)
    edited = callback(editedAt=5)["data"]
    assert site.post(webhook("message_edited", message=edited))[1] == {"data": {"success": True, "ignored": 1}}
    assert site.post(member_added(by={"uid": "ann"}))[1] == {"data": {"success": True}}
    assert site.post(webhook("message_edited", message=edited))[1] == {"data": {"success": True}}


def test_a_group_that_was_remembered_is_known(site: Site) -> None:
    where = site.channel.conversation(site.delivery.bots["helpdesk"], group="ops")
    for _ in range(2):
        site.delivery.add_conversations([where])
    others = webhook("group_member_joined", group={"guid": "ops"}, members={"tom": {"uid": "tom"}})
    assert site.post(others)[1] == {"data": {"success": True}}
    assert site.delivery.backlog()["helpdesk"].waiting == 1


class BotConversation:
    """An app with the bots alpha and beta, who answer whatever anybody says, bots too."""

    def __init__(self, simulator: Simulator, url: str) -> None:
        self.simulator = simulator
        bots = [Bot(name, handle_bots=True) for name in ("alpha", "beta")]
        for bot in bots:
            bot.fallback(lambda ctx: f"I heard {ctx.sender.uid}")
        self._client = CometChatClient(simulator.api_url, simulator.api_key, app_id=simulator.app_id)
        channel = CometChatChannel(
            simulator.app_id,
            self._client,
            bots={bot.name: bot for bot in bots},
            callback=CallbackSettings(credentials={bot.name: ("cc", PASSWORD) for bot in bots}),
        )
        self._delivery = Delivery(bots, [channel], url)
        app = Flask("site")
        app.register_blueprint(make_blueprint(channel, self._delivery))
        self._server = LoopbackServer(app, 0)
        for bot in bots:
            place = f"http://{HOST}:{self._server.port}/cometchat/{bot.name}"
            simulator.add_bot(bot.name, place, username="cc", password=PASSWORD)
        simulator.add_group("ops", members=["maria", "alpha", "beta"])
        self._delivery.start()

    def count_messages(self) -> list[int]:
        """How many messages each of the bots said, once nobody says anything more."""
        self.simulator.wait_for(lambda _: self._is_idle())
        messages = self.simulator.messages()
        return [sum(message.sender == uid for message in messages) for uid in ("alpha", "beta")]

    def _is_idle(self) -> bool:
        # Nothing is under way only where nothing was before and after the database was looked at.
        before = len(self.simulator.messages())
        if not self.simulator.is_idle:
            return False
        with self._delivery.database.read() as connection:
            undone = [
                connection.execute(sa.select(sa.func.count()).where(sa.text(f"state IN ({states})")).select_from(table))
                for table, states in ((mailbox, "'waiting', 'running'"), (outbox, "'ready', 'sending', 'held'"))
            ]
            is_done = not any(result.scalar() for result in undone)
        return is_done and self.simulator.is_idle and before == len(self.simulator.messages())

    def close(self) -> None:
        self._delivery.stop(5)
        self._delivery.close()
        self._client.close()
        self._server.stop()
        self._server.server_close()


@pytest.fixture
def bot_conversation(tmp_path: Path) -> Iterator[BotConversation]:
    with Simulator() as simulator, closing(BotConversation(simulator, f"sqlite:///{tmp_path}/cometbot.db")) as made:
        yield made


def test_bot_loop_in_group_stops_until_human_writes(bot_conversation: BotConversation) -> None:
    for round in (1, 2):
        bot_conversation.simulator.user("maria").say("hello", group="ops")
        assert bot_conversation.count_messages() == [round * (MAX_CONSECUTIVE_BOT_EVENTS + 1)] * 2


def test_one_to_one_bot_loop_stops(bot_conversation: BotConversation) -> None:
    bot_conversation.simulator.user("alpha").say("hello", to="beta")
    assert bot_conversation.count_messages() == [1 + MAX_CONSECUTIVE_BOT_EVENTS, MAX_CONSECUTIVE_BOT_EVENTS]
