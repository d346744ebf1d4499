"""The bots that are measured, and the application that only stores."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from flask import Flask

from benchmarks.payloads import BOT
from cometbot import Bot, ModerationItem

silent = Bot(BOT)
echo = Bot(BOT)


waiting = Bot(BOT)
"""Handlers that wait ``BENCH_WAIT`` seconds, as for a model, and answer; async ones with ``BENCH_ASYNC``."""


@silent.fallback
def ignore(ctx: Any) -> None:
    """Handle a message without a word."""


@echo.fallback
def repeat(ctx: Any) -> str:
    """Answer with the id of the message, by which the reply is recognised."""
    return f"answer to {ctx.event.id}"


def _answer_plain(ctx: Any) -> str:
    time.sleep(float(os.environ["BENCH_WAIT"]))
    return f"answer to {ctx.event.id}"


async def _answer_async(ctx: Any) -> str:
    await asyncio.sleep(float(os.environ["BENCH_WAIT"]))
    return f"answer to {ctx.event.id}"


waiting.fallback(_answer_async if os.environ.get("BENCH_ASYNC") else _answer_plain)


judging = Bot(BOT)
"""Judges messages in ``BENCH_JUDGE`` seconds; its handlers answer at once, but for ``wait``, which takes a minute."""


@judging.moderate
def judge(item: ModerationItem) -> bool:
    """Wait as for a classifier, and look for a word."""
    if seconds := float(os.environ.get("BENCH_JUDGE", "0")):
        time.sleep(seconds)
    return "casino" in item.text


@judging.fallback
def answer_or_wait(ctx: Any) -> str:
    """Answer, or occupy a handler's thread."""
    if ctx.text == "wait":
        time.sleep(60)
    return f"answer to {ctx.event.id}"


def storing() -> Flask:
    """The application of :data:`silent` that takes in and handles nothing."""
    from cometbot.web.app import create_app  # imports prometheus_client, which gunicorn.conf.py must precede

    return create_app(silent, handles=False)
