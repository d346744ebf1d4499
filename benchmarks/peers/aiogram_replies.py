"""aiogram's webhook in aiohttp, which answers each message after ``BENCH_WAIT`` seconds: ``aiogram_replies.py PORT``.

Several of these processes listen on one port.
"""

from __future__ import annotations

import asyncio
import os
import sys

from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.types import Message
from aiogram.webhook.aiohttp_server import SimpleRequestHandler, setup_application
from aiohttp import web

WAIT = float(os.environ.get("BENCH_WAIT", "0"))

dispatcher = Dispatcher()


@dispatcher.message()
async def answer(message: Message) -> None:
    """Answer with the number of the message."""
    if WAIT:
        await asyncio.sleep(WAIT)
    await message.answer(f"answer to {(message.text or '').rpartition(' ')[2]}")


def main() -> None:
    session = AiohttpSession(api=TelegramAPIServer.from_base(os.environ["BENCH_API_URL"]), limit=2000)
    bot = Bot("1:token", session=session)
    application = web.Application()
    SimpleRequestHandler(dispatcher, bot).register(application, "/events")
    setup_application(application, dispatcher, bot=bot)
    web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), reuse_port=True, print=None, access_log=None)


main()
