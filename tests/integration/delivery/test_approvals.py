"""Approvals from one real channel to another: the card goes out there, and the answer comes back here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from cometbot import Bot, Context, Group, User
from cometbot.approvals import APPROVALS_KEY
from cometbot.delivery import Delivery
from cometbot.testing.fakes.base import Actor, Fake
from cometbot.testing.fakes.chat_api import ChatApiFake
from cometbot.testing.fakes.cometchat import CometChatFake
from cometbot.testing.fakes.platform import PlatformFake
from cometbot.testing.fakes.simplex import SimplexFake
from cometbot.testing.immediate_engine import ImmediateEngine, MemoryDatabase

MARIA, TOM = Actor(User("maria", "Maria")), User("tom", "Tom")


class Service:
    """One bot on two channels."""

    def __init__(self, *fakes: Callable[[Bot], Fake]) -> None:
        self.bot, self.database, self.engine = Bot("shop"), MemoryDatabase(None), ImmediateEngine()
        self.here, self.there = (make(self.bot) for make in fakes)
        for fake in (self.here, self.there):
            fake.use_database(self.database)
        channels = [self.here.channel, self.there.channel]
        self.delivery = Delivery([self.bot], channels, self.database, engine=self.engine)
        for fake in (self.here, self.there):
            fake.attach(self.delivery)
        self.delivery.start()
        self.to: Group | User = Group("managers")

        @self.bot.command
        def refund(ctx: Context) -> str:
            approval = ctx.approve("Refund 30 €?", to=self.to)
            return f"{approval.status} by {approval.by}"

        @self.bot.fallback
        def other(ctx: Context) -> str:
            return "What?"

    def say(self, fake: Fake, actor: Actor, text: str) -> None:
        fake.say(actor, text)
        fake.wait_idle()
        self.engine.run_until_idle()

    def number(self, actor: Actor) -> str:
        """Return the number of the approval that waits in the conversation of ``actor`` there."""
        key = self.there.conversation(actor).key_text
        with self.database.read() as connection:
            stored = self.delivery.store.state.load(connection, "conversation", key)
        return str(next(iter(json.loads(stored[APPROVALS_KEY])["open"])))

    def close(self) -> None:
        self.delivery.close()
        self.here.close()
        self.there.close()
        self.database.close()


PAIRS: list[tuple[type[Fake], type[Fake], str]] = [
    (ChatApiFake, CometChatFake, "managers"),
    (CometChatFake, ChatApiFake, "managers"),
    (PlatformFake, SimplexFake, "managers"),
    (SimplexFake, PlatformFake, ""),
]


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0].__name__}-{pair[1].__name__}")
def service(request: pytest.FixtureRequest) -> Iterator[tuple[Service, Actor]]:
    here, there, group = request.param
    made = Service(here, there)
    yield made, Actor(TOM, group)
    made.close()


def test_asked_here_and_approved_there(service: tuple[Service, Actor]) -> None:
    shop, tom = service
    shop.say(shop.there, tom, "hello")
    name = shop.there.channel.name
    group = Group(shop.there.guid(tom.group), channel=name)
    shop.to = group if tom.group else User(shop.there.uid(TOM), channel=name)

    shop.say(shop.here, MARIA, "/refund")
    assert shop.here.said() == []
    assert "Refund 30 €?" in shop.there.said()[-1].text
    shop.say(shop.there, tom, f"approve {shop.number(tom)}")

    [answer] = shop.here.said()
    assert answer.text.casefold() == "approved by tom"
    assert "Approved by" in shop.there.said()[-1].text
