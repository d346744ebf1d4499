"""``cometbot worker``: handles messages, on any machine that reaches the database."""

from __future__ import annotations

import signal
import threading
from typing import Any

import click


@click.command()
@click.argument("bot", required=False, metavar="[BOT]")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many conversations at a time (COMETBOT_HANDLER_THREADS, else 8).",
)
def worker(bot: str | None, concurrency: int | None) -> None:
    """Handle messages beside the web processes; any number of workers, on any machine.

    For PostgreSQL (COMETBOT_DATABASE_URL). On SQLite the web processes handle messages themselves.
    """
    from cometbot.errors import ConfigurationError
    from cometbot.settings import Settings
    from cometbot.web.app import delivery_from_settings
    from cometbot.web.logs import configure_logging

    settings = Settings.from_environment()
    configure_logging(settings.log_format, settings.log_level)
    delivery = delivery_from_settings(settings, bot or settings.bot, threads=concurrency)
    if not delivery.database.shared_url:
        raise ConfigurationError(
            "a worker needs a database that several machines reach: set COMETBOT_DATABASE_URL=postgresql://…; "
            "on SQLite cometbot serve handles messages itself"
        )
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    delivery.start()
    _wait(ended)
    delivery.close()


def _wait(ended: Any) -> None:
    # A wait without a time-out could not be ended by a signal on every system.
    while not ended.wait(3600):
        pass
