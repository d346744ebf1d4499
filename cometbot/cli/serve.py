"""``cometbot serve``: runs gunicorn as ``gunicorn.conf.py`` would, in any folder that has the bot."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from cometbot.errors import ConfigurationError

if TYPE_CHECKING:
    from cometbot.settings import Settings

_APP_LOAD_ERROR_STATUS = 4
_ANY_HOST = ("0.0.0.0", "[::]", "::", "")

_log = logging.getLogger("cometbot.serve")


@click.command()
@click.argument("bot", required=False, metavar="[BOT]")
@click.option("--bind", metavar="ADDRESS", help="HOST:PORT or unix:PATH (default: COMETBOT_BIND, else 0.0.0.0:8000).")
@click.option("--socket-group", metavar="GROUP", help="Group that may use a unix socket (COMETBOT_SOCKET_GROUP).")
@click.option("--processes", metavar="N", help="Number of processes (default: COMETBOT_PROCESSES, else 2).")
@click.option("--threads", metavar="N", help="Threads for requests per process (default: COMETBOT_THREADS, else 8).")
@click.option("--no-handlers", is_flag=True, help="On PostgreSQL: start no worker; only accept and store messages.")
def serve(no_handlers: bool, **options: str | None) -> None:
    """Serve bots with gunicorn.

    BOT is module:attribute, for example shop:bot for the Bot named bot in shop.py; separate several with commas.
    Default: COMETBOT_BOT, else the only bot of bot.py. On PostgreSQL the command also runs a "cometbot worker".
    "gunicorn wsgi:app" does the same without the worker.
    """
    from cometbot.loading import choose_bot
    from cometbot.settings import Settings, variable_name

    # Set the environment, so that the bot's own code and its subprocesses see the same settings.
    os.environ.update({variable_name(setting): text for setting, text in options.items() if text is not None})
    settings = Settings.from_environment()
    choose_bot("", settings)
    if settings.database_url.startswith("sqlite") and no_handlers:
        raise ConfigurationError(
            "--no-handlers needs PostgreSQL: on SQLite the web processes handle messages. Leave it out."
        )
    _serve(settings, no_handlers=no_handlers)


def _serve(settings: Settings, *, no_handlers: bool) -> None:
    from cometbot.web.preflight import check_application, check_bind, check_database
    from cometbot.web.server import import_application, is_supervised

    import_application()
    if not is_supervised():
        bots = check_application(settings)
        check_bind(settings)
        check_database(settings)
        log_summary(settings, bots)
    if settings.database_url.startswith("sqlite") or no_handlers:
        _serve_without_worker(settings)
    else:
        from cometbot.web.supervisor import serve_with_worker

        raise SystemExit(serve_with_worker(settings))


def _serve_without_worker(settings: Settings) -> None:
    from cometbot.web.server import serve

    parent = os.getpid()
    try:
        serve(settings)
    except SystemExit as error:
        # gunicorn's child processes exit here too, and gunicorn must receive their own status.
        if os.getpid() == parent and error.code == _APP_LOAD_ERROR_STATUS:
            raise SystemExit(2) from None
        raise


def log_summary(settings: Settings, bots: Sequence[str]) -> None:
    """Log what ``cometbot serve`` serves, before it begins."""
    from cometbot.web.logs import configure_logging

    configure_logging(settings.log_format, settings.log_level)
    for line in summary_lines(settings, bots):
        _log.info(line)


def summary_lines(settings: Settings, bots: Sequence[str]) -> Iterator[str]:
    """Yield the lines about the service: the bots' names, the channels, each address, and the database."""
    from cometbot.store.probe import locate_database

    yield f"serving {', '.join(bots) or settings.default_bot_spec} on {', '.join(settings.channels)}"
    base = base_url(settings)
    for bot in bots or ["<bot>"]:
        if "cometchat" in settings.channels:
            for app in settings.split_apps():
                where = f" in {app.cometchat_app}" if app.cometchat_app else ""
                yield f"CometChat callback of {bot}{where}: {base}{app.callback_path}/{bot}"
        if "chat_api" in settings.channels:
            yield f"Chat API of {bot}: {base}/chat/{bot}, its reference: {base}/chat/{bot}/redoc"
        if "agui" in settings.channels:
            yield f"AG-UI of {bot}: {base}/agui/{bot}"
    if "platform" in settings.channels:
        yield f"web chat: {base}/"
    if "simplex" in settings.channels:
        yield "SimpleX: also run cometbot simplex, which holds the connection"
    place = locate_database(settings.database_url)
    yield f"database: {place.kind}, {place.name}"


def base_url(settings: Settings) -> str:
    """Return the service's public address, or the address it listens on."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    if settings.bind.startswith("unix:"):
        return settings.bind
    host, _, port = settings.bind.rpartition(":")
    return f"http://{'localhost' if host in _ANY_HOST else host}:{port}"
