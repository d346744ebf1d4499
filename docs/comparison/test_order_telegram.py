"""The order dialog in python-telegram-bot, tested. It has no test kit: a request class stands in for Telegram."""

import asyncio
import json

import order_telegram
from telegram import Update
from telegram.ext import Application, PicklePersistence
from telegram.request import BaseRequest

PERSON = {"id": 1, "first_name": "Maria", "is_bot": False}
CHAT = {"id": 1, "type": "private"}


class Request(BaseRequest):
    """Records what the bot says."""

    def __init__(self):
        self.said = []

    async def initialize(self):
        pass

    async def shutdown(self):
        pass

    @property
    def read_timeout(self):
        return None

    async def do_request(self, url, method, request_data=None, **timeouts):
        if url.endswith("/getMe"):
            result = {"id": 2, "first_name": "Shop", "is_bot": True, "username": "shop_bot"}
        else:
            self.said.append(request_data.parameters["text"])
            result = {"message_id": 1, "date": 0, "chat": CHAT}
        return 200, json.dumps({"ok": True, "result": result}).encode()


def talk(folder, *texts):
    """Return what the bot answers to each text."""

    async def run():
        persistence = PicklePersistence(folder / "dialogs.pickle")
        application = Application.builder().token("1:token").request(request).persistence(persistence).build()
        application.add_handler(order_telegram.handler)
        async with application:
            for number, text in enumerate(texts, start=1):
                message = {"message_id": number, "date": 0, "chat": CHAT, "from": PERSON, "text": text}
                if text.startswith("/"):
                    message["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text)}]
                update = Update.de_json({"update_id": number, "message": message}, application.bot)
                await application.process_update(update)

    request = Request()
    asyncio.run(run())
    return request.said


def test_order_is_created(monkeypatch, tmp_path):
    monkeypatch.setattr(order_telegram, "create_order", lambda size, count, key: "o1")
    assert talk(tmp_path, "/order", "XL", "M", "many", "3") == [
        "Which size?",
        "Please choose one of: S, M, L.",
        "How many?",
        "1 to 9, please.",
        "3 of size M, order o1. Thank you.",
    ]


def test_order_is_cancelled(tmp_path):
    assert talk(tmp_path, "/order", "/cancel", "M") == ["Which size?", "All right, cancelled."]
