"""``cometbot dev``: a bot, a CometChat of its own, and a terminal to talk to it in."""

from __future__ import annotations

import click

_GROUP_SETTINGS = ("allMessages", "slashedMessages", "mentionedMessages", "none")


@click.command()
@click.argument("bot", required=False, metavar="[BOT]")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The simulator's port, or the next free one.",
)
@click.option("--chat/--no-chat", default=True, help="Whether to talk to the bot here in the terminal.")
@click.option(
    "--wire",
    default="on",
    show_default=True,
    type=click.Choice(["on", "full", "off"]),
    help="Show each callback and REST call: a line, all of it, or nothing.",
)
@click.option(
    "--group-setting",
    default="allMessages",
    show_default=True,
    type=click.Choice(_GROUP_SETTINGS),
    help="Which messages of a group the bot gets.",
)
@click.pass_context
def dev(ctx: click.Context, bot: str | None, port: int, chat: bool, wire: str, group_setting: str) -> None:
    """Try a bot out, without any account.

    BOT is module:attribute or file.py:attribute, for example shop.py:bot. Without it COMETBOT_BOT counts, else
    bot.py:bot if there is a bot.py.

    A CometChat is simulated on this machine, the bot runs beside it and is started anew when its code changes. Lines
    that are typed, or come through a pipe, are said to it. Nothing is kept at the end.
    """
    from cometbot.cli.dev.session import Options, run

    debug = bool(ctx.find_root().params.get("debug"))
    run(Options(bot or "", port=port, chat=chat, wire=wire, group_setting=group_setting, debug=debug))
