"""``cometbot dev``: runs a bot with a simulated or a real CometChat, and a chat in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cometbot.cli._params import GROUP_SETTINGS, IntegerParam

if TYPE_CHECKING:
    from cometbot.cli.dev.feed import TrafficDetail


@click.command()
@click.argument("bot", required=False, metavar="[BOT]")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=IntegerParam(0, 65535, example=8000),
    help="Port of the simulator, or the next free one; with --public-url the port of the bot.",
)
@click.option("--chat/--no-chat", default=True, help="Chat with the bot in this terminal.")
@click.option(
    "--traffic",
    default="on",
    show_default=True,
    type=click.Choice(["on", "full", "off"]),
    help="Show callbacks and REST calls: one line each, in full, or not at all.",
)
@click.option(
    "--group-setting",
    type=click.Choice(GROUP_SETTINGS),
    help="Group messages that the bot receives. Default: allMessages; with --public-url, as registered.",
)
@click.option(
    "--public-url",
    default="",
    metavar="URL",
    help="Let your CometChat app call the bot, through a tunnel from URL to the port.",
)
@click.option("--restore", is_flag=True, help="Restore CometChat after a run with --public-url was killed.")
@click.pass_context
def dev(
    ctx: click.Context,
    bot: str | None,
    port: int,
    chat: bool,
    traffic: TrafficDetail,
    group_setting: str | None,
    public_url: str,
    restore: bool,
) -> None:
    """Try out a bot without an account.

    BOT is module:attribute or file.py:attribute, for example shop.py:bot. Default: COMETBOT_BOT, else the only bot of
    bot.py.

    The command simulates CometChat on this machine and restarts the bot when its code changes. Lines from the terminal
    or from a pipe are sent to the bot. All data is deleted at the end.

    With --public-url, your own CometChat app (COMETCHAT_APP_ID, COMETCHAT_REGION, COMETCHAT_API_KEY) calls the bot
    through a tunnel to the port of this machine. The command registers the bot there, and restores the registration at
    the end.
    """
    if public_url and restore:
        raise click.UsageError("--restore cannot be combined with --public-url, which restores first.")
    if restore:
        from cometbot.cli.dev.public_session import restore_pending

        restore_pending()
        return
    if public_url:
        from cometbot.cli.dev.public_session import run
    else:
        from cometbot.cli.dev.session import run
    from cometbot.cli.dev.session import DevOptions

    options = DevOptions(
        bot or "",
        port=port,
        chat=chat,
        traffic=traffic,
        group_setting=group_setting or ("" if public_url else "allMessages"),
        debug=bool(ctx.find_root().params.get("debug")),
        public_url=public_url,
    )
    run(options)
