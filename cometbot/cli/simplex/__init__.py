"""``cometbot simplex``: runs a bot on SimpleX Chat, in the process that holds the connection to the SimpleX CLI."""

from __future__ import annotations

import click


@click.command()
@click.argument("bot", required=False, metavar="[BOT]")
@click.option("--no-handlers", is_flag=True, help="Only hold the connection, store and send; others handle messages.")
@click.option("--demo", is_flag=True, help="Without a CLI and an account: talk to the bot here, as its only contact.")
@click.option(
    "--bind",
    metavar="HOST:PORT",
    help="Where /metrics, /readyz and /healthz are served; without it nowhere.",
)
def simplex(bot: str | None, no_handlers: bool, demo: bool, bind: str | None) -> None:
    """Answer on SimpleX Chat, over the WebSocket of a SimpleX CLI (simplex-chat -p 5225) at SIMPLEX_URL.

    BOT is module:attribute; without it COMETBOT_BOT counts. The bot's address is printed once it is connected. One such
    process for each CLI: a second one would take a part of its events.

    With --no-handlers other processes whose COMETBOT_CHANNELS name simplex (cometbot worker, cometbot serve) handle
    what it stores, and it sends what they answer.
    """
    from cometbot.cli.simplex.process import run
    from cometbot.loading import choose_bot
    from cometbot.settings import Settings
    from cometbot.shutdown import shutdown_on_signals

    settings = Settings.from_environment()
    spec = choose_bot(bot or "", settings)
    if demo:
        from cometbot.cli.simplex.demo import run_demo

        if no_handlers or bind:
            raise click.UsageError("--demo goes alone: leave --no-handlers and --bind out.")
        run_demo(settings, spec)
        return
    with shutdown_on_signals() as shutdown:
        run(settings, spec, shutdown, handles=not no_handlers, bind=bind or "")
