"""``cometbot dev``: runs a bot with a simulated or a real CometChat, and a chat in the terminal."""

from __future__ import annotations

import click

from cometbot.cli._params import IntegerParam

_GROUP_SETTINGS = ("allMessages", "slashedMessages", "mentionedMessages", "none")


@click.command()
@click.argument("bot", required=False, metavar="[BOT]")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=IntegerParam(0, 65535, example=8000),
    help="The simulator's port, or the next free one; with --public-url the bot's own.",
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
    type=click.Choice(_GROUP_SETTINGS),
    help="Which messages of a group the bot gets; allMessages, or with --public-url as CometChat has it.",
)
@click.option(
    "--public-url",
    default="",
    metavar="URL",
    help="Let your app on CometChat call the bot here, through a tunnel that leads from URL to the port.",
)
@click.option("--put-back", is_flag=True, help="Put back what a run with --public-url that was killed has left.")
@click.pass_context
def dev(
    ctx: click.Context,
    bot: str | None,
    port: int,
    chat: bool,
    wire: str,
    group_setting: str | None,
    public_url: str,
    put_back: bool,
) -> None:
    """Try a bot out, without any account.

    BOT is module:attribute or file.py:attribute, for example shop.py:bot. Without it COMETBOT_BOT counts, else
    the only bot of bot.py.

    A CometChat is simulated on this machine, the bot runs beside it and is started anew when its code changes. Lines
    that are typed, or come through a pipe, are said to it. Nothing is kept at the end.

    With --public-url it is your own app on CometChat (COMETCHAT_APP_ID, COMETCHAT_REGION, COMETCHAT_API_KEY) that
    calls the bot, through a tunnel from there to the port of this machine. CometChat is told so, and at the end
    everything is put back as it was.
    """
    debug = bool(ctx.find_root().params.get("debug"))
    if public_url or put_back:
        from cometbot.cli.dev import public_session

        if public_url and put_back:
            raise click.UsageError("--put-back goes without --public-url, which does the same first.")
        if put_back:
            public_session.restore_pending()
            return
        options = public_session.PublicOptions(
            bot or "",
            public_url,
            port=port,
            shows_calls=wire != "off",
            group_setting=group_setting or "",
            debug=debug,
        )
        public_session.run(options)
        return
    from cometbot.cli.dev.session import DevOptions, run

    setting = group_setting or _GROUP_SETTINGS[0]
    run(DevOptions(bot or "", port=port, chat=chat, wire=wire, group_setting=setting, debug=debug))
