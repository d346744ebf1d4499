"""An application with all channels, over a new SQLite database, that handles nothing."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask

from cometbot import Bot, Context, ModerationItem, Verdict
from cometbot.settings import Settings
from cometbot.temporary_folders import TemporaryFolder
from cometbot.web.app import create_app

ADMIN = "the-admins-secret-key"
SIGNING_KEY = "the-key-that-signs-user-keys-of-one-bot"
AGUI_TOKEN = "the-token-of-agents-32-characters"
ENVIRONMENT = {
    "COMETBOT_CHANNELS": "cometchat,chat_api,platform,simplex,agui",
    "COMETBOT_CALLBACK_USERNAME": "cc",
    "COMETBOT_CALLBACK_PASSWORD": "the-callback-password",
    "COMETCHAT_WEBHOOK_USERNAME": "hook",
    "COMETCHAT_WEBHOOK_PASSWORD": "the-webhook-password",
    "COMETCHAT_MODERATION_USERNAME": "mod",
    "COMETCHAT_MODERATION_PASSWORD": "the-moderation-password",
    "COMETCHAT_APP_ID": "2248348660ad9bd4",
    "COMETCHAT_REGION": "eu",
    "COMETCHAT_API_KEY": "the-api-key-of-the-app",
    "CHAT_API_ENCRYPTION_KEY__SIGNED": SIGNING_KEY,
    "CHAT_API_ORIGINS": "https://app.example.com",
    "CHAT_API_CONVERSATIONS": "3",
    "PLATFORM_ADMIN_SECRET_KEY": ADMIN,
    "PLATFORM_JWT_SECRET_KEY": "the-key-that-signs-cookies",
    "COMETBOT_ALLOW_PRIVATE_WEBHOOKS": "1",
    "AGUI_TOKEN": AGUI_TOKEN,
}


def basic(username: str, password: str) -> str:
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode()


def make_bot(name: str = "helpdesk") -> Bot:
    bot = Bot(name, description="Answers questions.", avatar="https://example.com/helpdesk.png")

    @bot.command("track", description="Where is my order?")
    def track(ctx: Context, number: int) -> str:
        return f"Order {number} is on its way."

    @bot.fallback
    def echo(ctx: Context) -> str:
        return f"You said {ctx.text}"

    @bot.moderate
    def check(item: ModerationItem) -> bool | Verdict:
        if item.text == "raise":
            raise ValueError("cannot judge it")
        return Verdict(True, 0.9, "gambling") if "casino" in item.text else False

    return bot


@contextmanager
def make_app(folder: Path, environment: Mapping[str, str], *bots: Bot, **options: Any) -> Iterator[Flask]:
    """Make an application for ``environment`` with its files in ``folder``."""
    given = {
        "COMETBOT_DATABASE_URL": f"sqlite:///{folder}/bot.db",
        "COMETBOT_DATA": str(folder / "data"),
        **environment,
    }
    app = create_app(bots, Settings.from_environment(given, None), **options)
    try:
        yield app
    finally:
        app.extensions["cometbot"].stop()


@contextmanager
def make_site() -> Iterator[tuple[Flask, Path]]:
    """Make the application with all channels; with it comes the folder of its files."""
    bots = (make_bot(), make_bot("signed"))
    with TemporaryFolder("snapshot") as folder, make_app(folder, ENVIRONMENT, *bots, handles=False) as app:
        app.extensions["cometbot"].delivery.database.upgrade()
        yield app, folder
