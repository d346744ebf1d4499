"""The order bot of python-telegram-bot in a process: ``serve_telegram.py default|best``.

By default, it polls, and its persistence writes each minute. At its best, a webhook of the author's own writes after
each update, and acknowledges it after that.
"""

from __future__ import annotations

import os
import sys

import order_telegram
from aiohttp import web
from telegram import Update
from telegram.ext import Application, PicklePersistence


def make_application() -> Application:
    builder = Application.builder().token("1:token").base_url(f"{os.environ['TELEGRAM_URL']}/bot")
    application = builder.persistence(PicklePersistence("dialogs.pickle")).build()
    application.add_handler(order_telegram.handler)
    return application


def make_webhook(application: Application) -> web.Application:
    async def receive(request: web.Request) -> web.Response:
        update = Update.de_json(await request.json(), application.bot)
        await application.process_update(update)
        await application.update_persistence()
        return web.Response()

    async def start(_: web.Application) -> None:
        await application.initialize()

    served = web.Application()
    served.on_startup.append(start)
    served.router.add_post("/", receive)
    return served


def main() -> None:
    application = make_application()
    if sys.argv[1] == "default":
        application.run_polling(timeout=1)
        return
    web.run_app(make_webhook(application), host="127.0.0.1", port=int(os.environ["WEBHOOK_PORT"]), print=None)


main()
