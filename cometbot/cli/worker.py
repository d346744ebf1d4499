"""``cometbot worker``: handles messages, on any machine that reaches the database."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import click

from cometbot.cli.numbers import Count

if TYPE_CHECKING:
    from cometbot.stopping import Ending


@click.command()
@click.argument("bot", required=False, metavar="[BOT]")
@click.option(
    "--concurrency",
    type=Count(example=8),
    metavar="N",
    help="How many conversations at a time (COMETBOT_HANDLER_THREADS, else 8).",
)
@click.option(
    "--bind",
    metavar="HOST:PORT",
    help="Where /metrics, /readyz and /healthz are served; without it nowhere, as workers may share a machine.",
)
def worker(bot: str | None, concurrency: int | None, bind: str | None) -> None:
    """Handle messages beside the web processes; any number of workers, on any machine.

    For PostgreSQL (COMETBOT_DATABASE_URL). On SQLite the web processes handle messages themselves.
    """
    from cometbot.errors import ConfigurationError
    from cometbot.settings import Settings
    from cometbot.stopping import told_to_end
    from cometbot.web.app import worker_from_settings
    from cometbot.web.handling import Desk, make_worker_app, tell_ready
    from cometbot.web.logs import configure_logging

    settings = Settings.from_environment()
    configure_logging(settings.log_format, settings.log_level)
    delivery, metrics = worker_from_settings(settings, bot or settings.named_bot, threads=concurrency)
    if not delivery.database.shared_url:
        raise ConfigurationError(
            "a worker needs a database that several machines reach: set COMETBOT_DATABASE_URL=postgresql://…; "
            "on SQLite cometbot serve handles messages itself"
        )
    with ExitStack() as stack:
        ended = stack.enter_context(told_to_end())
        if bind:
            stack.enter_context(closing(Desk(make_worker_app(delivery, metrics), bind)))
        stack.enter_context(closing(delivery))
        delivery.start()
        tell_ready()
        _wait(ended)


def _wait(ended: Ending) -> None:
    """Sleep until the end is told, or who started this beside a server is gone."""
    from cometbot.web.server import BESIDE, is_beside

    began_beside = BESIDE in os.environ
    while not ended.wait(1.0 if began_beside else None) and (is_beside() or not began_beside):
        pass
