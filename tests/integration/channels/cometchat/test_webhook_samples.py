"""Each webhook that CometChat documents, stored in a real database, and read as the event of its class."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import Client

from cometbot import BlockEvent, Bot, Event, GroupEvent, MembershipEvent, PresenceEvent
from cometbot.channels.base import IncomingEvent
from cometbot.channels.cometchat import CallbackSettings, CometChatChannel, CometChatClient
from cometbot.channels.cometchat.callback import make_blueprint
from cometbot.delivery import Delivery
from cometbot.models import Conversation
from cometbot.simulator import TRIGGERS
from cometbot.store.tables import conversations, mailbox, outbox
from tests.webhook_samples import APP, BOT, JOINED, REACTED_MESSAGE, Sample, describe, load_samples

SAMPLES = load_samples()
_LOGIN = "Basic " + b64encode(b"cc:s3cr3t").decode()
_IGNORED = {"data": {"success": True, "ignored": 1}}
_STORED = {"data": {"success": True}}


class Site:
    """The webhook of a bot over a database of its own; nothing is handled."""

    def __init__(self, url: str) -> None:
        self.bot = Bot(BOT)
        self.counted: list[str] = []
        self.channel = CometChatChannel(
            APP,
            CometChatClient("http://127.0.0.1:9/v3", "key"),
            bots={BOT: self.bot},
            callback=CallbackSettings(credentials={BOT: ("cc", "s3cr3t")}),
            observe=lambda bot, outcome: self.counted.append(outcome),
        )
        self.delivery = Delivery([self.bot], [self.channel], url)
        self.delivery.database.upgrade()
        app = Flask("site")
        self.now = 1_000_019.0
        app.register_blueprint(make_blueprint(self.channel, self.delivery, clock=lambda: self.now))
        self._client = Client(app)

    def post(self, payload: Any) -> Any:
        response = self._client.post(
            f"/cometchat/{BOT}/webhook",
            data=orjson.dumps(payload),
            headers={"Authorization": _LOGIN},
            content_type="application/json",
        )
        assert response.status_code == 200
        return response.json

    def close(self) -> None:
        self.delivery.close()

    def join_group(self) -> None:
        """Make the group of the samples one of the bot's."""
        self.post(JOINED)

    def send_message(self) -> None:
        """Store the bot's own message, which reactions are to, in its conversation with ann."""
        sample = SAMPLES["message_sent"].payload
        self.post({**sample, "data": {"message": {**sample["data"]["message"], "id": "50"}}})
        with self.delivery.database.write() as connection:
            key = self.channel.conversation(self.bot, user="ann").key_text
            sent = {"event": "e", "ordinal": 0, "part": 0, "payload": "{}", "client_id": "c", "state": "sent"}
            connection.execute(
                sa.insert(outbox).values(**sent, conversation_key=key, created_at=1, platform_id=REACTED_MESSAGE)
            )

    def events(self) -> list[Event]:
        """Return the events that are stored, as handlers get them."""
        columns = (mailbox.c.event_key, mailbox.c.body, mailbox.c.sender, conversations)
        joined = mailbox.join(conversations, mailbox.c.conversation_key == conversations.c.conversation_key)
        with self.delivery.database.read() as connection:
            rows = connection.execute(sa.select(*columns).select_from(joined).order_by(mailbox.c.seq)).mappings().all()
        names = ("channel", "account", "bot", "conversation", "target", "is_group")
        return [
            self.channel.parse(
                IncomingEvent(
                    Conversation(*(row[name] for name in names)), row["event_key"], row["body"], row["sender"]
                )
            )
            for row in rows
        ]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with closing(Site(f"sqlite:///{tmp_path}/cometbot.db")) as made:
        yield made


@pytest.fixture(scope="module")
def taking_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A bot that takes everything, is in the group of the samples, and has sent the message that reactions are to."""
    with closing(Site(f"sqlite:///{tmp_path_factory.mktemp('site')}/cometbot.db")) as made:
        made.bot.event(lambda ctx: None)
        made.join_group()
        made.send_message()
        yield made


@pytest.fixture(scope="module")
def passing_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A bot with a handler for messages, and middleware, which surrounds all events."""
    with closing(Site(f"sqlite:///{tmp_path_factory.mktemp('site')}/cometbot.db")) as made:
        made.bot.middleware(lambda ctx, call_next: call_next())
        made.bot.message()(lambda ctx: None)
        yield made


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_documented_webhook_becomes_its_event(taking_site: Site, sample: Sample) -> None:
    site = taking_site
    known = len(site.events())
    assert site.post(sample.payload) == _STORED
    assert site.post(sample.payload) == _STORED
    assert site.counted[-2:] == ["received", "duplicate"]
    (event,) = site.events()[known:]
    sample.check(describe(event))
    assert event.raw == sample.payload
    assert event.conversation.is_app == event.conversation.id.startswith("cometbot:app:")


def test_every_documented_trigger_has_a_sample() -> None:
    assert {sample.trigger for sample in SAMPLES.values()} >= set(TRIGGERS)


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_webhook_without_handler_is_ignored_and_counted(passing_site: Site, sample: Sample) -> None:
    site = passing_site
    known = len(site.events())
    stored = ("MessageEvent", "EditEvent", "DeleteEvent", "ReceiptEvent", "legacy_before_message")
    answer = site.post(sample.payload)
    if sample.event in stored or sample.name in stored:  # middleware takes the events of the bot's own conversations
        assert answer == _STORED
        return
    assert answer == _IGNORED
    assert site.counted[-1] == "ignored"
    assert len(site.events()) == known


@pytest.mark.parametrize(
    "began", [1_000_020.0, 1_000_029.9, 1_000_079.9], ids=["at once", "before 10 s", "before 60 s"]
)
def test_blocking_again_is_another_event(site: Site, began: float) -> None:
    site.bot.event(BlockEvent)(lambda ctx: None)
    for name, seconds in (("user_blocked", 0), ("user_blocked", 10), ("user_blocked", 40)):  # CometChat's redeliveries
        site.now = began + seconds
        site.post(SAMPLES[name].payload)
    assert site.counted == ["received", "duplicate", "duplicate"]
    for name, seconds in (("user_unblocked", 50), ("user_blocked", 61)):
        site.now = began + seconds
        site.post(SAMPLES[name].payload)
    assert [event.blocked for event in site.events() if isinstance(event, BlockEvent)] == [True, False, True]


def test_storing_a_group_of_others_does_not_make_it_the_bots(site: Site) -> None:
    site.bot.event(GroupEvent, MembershipEvent)(lambda ctx: None)
    assert site.post(SAMPLES["group_created"].payload) == _STORED
    joined = {**JOINED, "data": {"group": {"guid": "climbing"}, "members": {"tom": {"uid": "tom"}}}}
    assert site.post(joined) == _IGNORED


def test_each_report_of_presence_is_an_event(site: Site) -> None:
    site.bot.event(PresenceEvent)(lambda ctx: None)
    payload = SAMPLES["user_connection_status_changed"].payload
    for timestamp in (1696935103114, 1696935103115):
        site.post({**payload, "data": {**payload["data"], "timestamp": timestamp}})
    assert len(site.events()) == 2
