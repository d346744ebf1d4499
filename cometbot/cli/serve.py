"""``cometbot serve``: gunicorn, set up as by ``gunicorn.conf.py``, in any folder that has the bot."""

from __future__ import annotations

import os

import click

_LOAD_ERROR = 4


@click.command()
@click.argument("bot", required=False, metavar="[BOT]")
@click.option("--bind", metavar="HOST:PORT", help="Where to listen (COMETBOT_BIND, else 0.0.0.0:8000).")
@click.option("--processes", metavar="N", help="How many processes (COMETBOT_PROCESSES, else 2).")
@click.option("--threads", metavar="N", help="How many threads for requests in each (COMETBOT_THREADS, else 8).")
def serve(bot: str | None, bind: str | None, processes: str | None, threads: str | None) -> None:
    """Serve a bot to CometChat, with gunicorn.

    BOT is module:attribute, for example shop:bot for the Bot named bot in shop.py; several with commas. Without it
    COMETBOT_BOT counts. "gunicorn wsgi:app" does the same.
    """
    from cometbot.errors import ConfigurationError
    from cometbot.settings import Settings, variable_name
    from cometbot.web.server import serve as run

    given = {"bot": bot, "bind": bind, "processes": processes, "threads": threads}
    # Through the environment, so that whatever the bot's own code starts or reads sees the same settings.
    os.environ.update({variable_name(setting): text for setting, text in given.items() if text is not None})
    settings = Settings.from_environment()
    if not settings.bot:
        raise ConfigurationError(
            "no bot is named: say which one, for example cometbot serve shop:bot, or set COMETBOT_BOT"
        )
    parent = os.getpid()
    try:
        run(settings)
    except SystemExit as end:
        # gunicorn's own processes end here too, and must say to it what they said.
        if os.getpid() == parent and end.code == _LOAD_ERROR:
            raise SystemExit(2) from None
        raise
