"""The order dialog in aiogram, tested. aiogram has no test kit: a session stands in for Telegram."""

import asyncio
from datetime import datetime, timezone

import order_aiogram
from aiogram import Bot, Dispatcher
from aiogram.client.session.base import BaseSession
from aiogram.types import Chat, Message, Update, User


class Session(BaseSession):
    """Records what the bot says."""

    def __init__(self):
        super().__init__()
        self.said = []

    async def make_request(self, bot, method, timeout=None):
        self.said.append(method.text)

    async def stream_content(self, *args, **options):
        yield b""

    async def close(self):
        pass


dispatcher = Dispatcher()
dispatcher.include_router(order_aiogram.router)


def talk(person, *texts):
    """Return what the bot answers to each text."""

    async def run():
        for number, text in enumerate(texts, start=1):
            message = Message(
                message_id=number,
                date=datetime.now(timezone.utc),
                chat=Chat(id=person, type="private"),
                from_user=User(id=person, is_bot=False, first_name="Maria"),
                text=text,
            )
            await dispatcher.feed_update(bot, Update(update_id=number, message=message))

    session = Session()
    bot = Bot("1:token", session=session)
    asyncio.run(run())
    return session.said


def test_order_is_created(monkeypatch):
    monkeypatch.setattr(order_aiogram, "create_order", lambda size, count, key: "o1")
    assert talk(1, "/order", "XL", "M", "many", "3") == [
        "Which size?",
        "Please choose one of: S, M, L.",
        "How many?",
        "1 to 9, please.",
        "3 of size M, order o1. Thank you.",
    ]


def test_order_is_cancelled():
    assert talk(2, "/order", "/cancel", "M") == ["Which size?", "All right, cancelled."]
