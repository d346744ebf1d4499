"""``cometbot worker``: handles messages on any machine that reaches the database."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import click

from cometbot.cli._params import IntegerParam
from cometbot.errors import ConfigurationError

if TYPE_CHECKING:
    from cometbot.shutdown import ShutdownEvent


@click.command()
@click.argument("bot", required=False, metavar="[BOT]")
@click.option(
    "--concurrency",
    type=IntegerParam(example=8),
    metavar="N",
    help="Conversations at a time; more while handlers wait (default: COMETBOT_HANDLER_THREADS, else 8).",
)
@click.option(
    "--bind",
    metavar="HOST:PORT",
    help="Address of /metrics, /readyz and /healthz. Default: not served.",
)
def worker(bot: str | None, concurrency: int | None, bind: str | None) -> None:
    """Handle messages in a separate process. Any number of workers may run, on any machine.

    This needs PostgreSQL (COMETBOT_DATABASE_URL). On SQLite the web processes handle messages.
    """
    from cometbot.settings import Settings
    from cometbot.shutdown import shutdown_on_signals
    from cometbot.web.alerts import make_alert_watcher
    from cometbot.web.app import worker_from_settings
    from cometbot.web.logs import configure_logging
    from cometbot.web.monitoring import MonitoringServer, make_monitoring_app, notify_ready

    settings = Settings.from_environment()
    configure_logging(settings.log_format, settings.log_level)
    delivery, metrics = worker_from_settings(settings, bot or settings.default_bot_spec, threads=concurrency)
    if not delivery.database.server_url:
        raise ConfigurationError(
            "a worker needs PostgreSQL: set COMETBOT_DATABASE_URL=postgresql://…. "
            "On SQLite, cometbot serve handles messages."
        )
    alerts = make_alert_watcher(settings, delivery, metrics)
    with ExitStack() as stack:
        shutdown = stack.enter_context(shutdown_on_signals())
        if bind:
            stack.enter_context(closing(MonitoringServer(make_monitoring_app(delivery, metrics), bind)))
        stack.enter_context(closing(delivery))
        delivery.start()
        stack.callback(alerts.stop)
        alerts.start()
        notify_ready()
        _wait_for_shutdown(shutdown)


def _wait_for_shutdown(shutdown: ShutdownEvent) -> None:
    """Wait for the shutdown event, or until the server that started this process is gone."""
    from cometbot.web.server import SUPERVISOR_VARIABLE, is_supervised

    has_parent_server = SUPERVISOR_VARIABLE in os.environ
    while not shutdown.wait(1.0 if has_parent_server else None) and (is_supervised() or not has_parent_server):
        pass
