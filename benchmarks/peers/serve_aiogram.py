"""The order bot of aiogram in a process: ``serve_aiogram.py default|best``.

By default, aiogram polls and keeps states in memory. At its best, a webhook acknowledges an update after its handler,
and the states are in a database.
"""

from __future__ import annotations

import asyncio
import os
import sys

import order_aiogram
from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.webhook.aiohttp_server import SimpleRequestHandler, setup_application
from aiogram_sqlite_storage.sqlitestore import SQLStorage
from aiohttp import web


def main() -> None:
    session = AiohttpSession(api=TelegramAPIServer.from_base(os.environ["TELEGRAM_URL"]))
    bot = Bot("1:token", session=session)
    if sys.argv[1] == "default":
        dispatcher = Dispatcher()
        dispatcher.include_router(order_aiogram.router)
        asyncio.run(dispatcher.start_polling(bot, handle_signals=False))
        return
    dispatcher = Dispatcher(storage=SQLStorage("states.db"))
    dispatcher.include_router(order_aiogram.router)
    application = web.Application()
    SimpleRequestHandler(dispatcher, bot, handle_in_background=False).register(application, "/")
    setup_application(application, dispatcher, bot=bot)
    web.run_app(application, host="127.0.0.1", port=int(os.environ["WEBHOOK_PORT"]), print=None)


main()
