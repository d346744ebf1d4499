"""python-telegram-bot's webhook, which answers each message: ``telegram_replies.py PORT``."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from telegram import Update
from telegram.ext import Application, MessageHandler, filters

WAIT = float(os.environ.get("BENCH_WAIT", "0"))


async def answer(update: Update, context: Any) -> None:
    """Answer with the number of the message."""
    if WAIT:
        await asyncio.sleep(WAIT)
    assert update.message is not None
    await update.message.reply_text(f"answer to {(update.message.text or '').rpartition(' ')[2]}")


def main() -> None:
    builder = Application.builder().token("1:token").base_url(f"{os.environ['BENCH_API_URL']}/bot")
    application = builder.concurrent_updates(True).connection_pool_size(2000).pool_timeout(60).build()
    application.add_handler(MessageHandler(filters.ALL, answer))
    application.run_webhook("127.0.0.1", int(sys.argv[1]), url_path="events", webhook_url="https://bot.example/events")


main()
