"""``cometbot send``: a bot says something of its own accord."""

from __future__ import annotations

import secrets
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cometbot.bot import Bot
    from cometbot.channels.base import Channel
    from cometbot.settings import Settings

_SECONDS = 10.0


@click.command()
@click.argument("text", metavar="TEXT")
@click.option("--bot", default="", metavar="BOT", help="module:attribute, or the name of a bot of COMETBOT_BOT.")
@click.option("--user", default="", metavar="UID", help="To this user.")
@click.option("--group", default="", metavar="GUID", help="To this group.")
@click.option("--now", is_flag=True, help="Send it from here at once, past what the bot has to say already.")
def send(text: str, bot: str, user: str, group: str, now: bool) -> None:
    """Let a bot say TEXT to a user or a group; "-" reads it from standard input.

    It is stored in the database of COMETBOT_DATABASE_URL, and sent by the running bot in its conversation's order.
    """
    from cometbot.channels.cometchat.channel import uid_of
    from cometbot.cli.account import advised
    from cometbot.settings import Settings

    if bool(user) == bool(group):
        raise click.UsageError("Say to whom: either --user or --group.")
    said = sys.stdin.read() if text == "-" else text
    if not said.strip():
        raise click.UsageError("The text is empty.")
    settings = Settings.from_environment()
    speaker = _find(bot, settings, is_code_needed=not now)
    if not now:
        _store(speaker, said, settings, user, group)
        click.echo("It is stored; the running bot sends it, or the next one that is started.")
        return
    with advised(user or group, bot=uid_of(speaker)):
        _say(speaker, said, settings, user, group)
    click.echo(f"It is sent to {user or group}.")


def _find(wanted: str, settings: Settings, *, is_code_needed: bool) -> Bot:
    """The bot of this name or place. Without the need for code any UID will do."""
    from cometbot.bot import Bot
    from cometbot.cli.account import load_authors_bots
    from cometbot.errors import ConfigurationError

    is_name = bool(wanted) and ":" not in wanted
    if is_name and not is_code_needed and not settings.bot:
        return Bot(wanted.lower())
    loaded = load_authors_bots("" if is_name else wanted, settings)
    found = [bot for bot in loaded if not is_name or wanted.lower() in map(str.lower, bot.ids)]
    if len(found) == 1:
        return found[0]
    if is_name and not is_code_needed:
        return Bot(wanted.lower())
    problem = "there are several bots" if found else f"there is no bot {wanted!r}"
    raise ConfigurationError(f"{problem}; say with --bot which one of {', '.join(bot.name for bot in loaded)}")


def _store(bot: Bot, text: str, settings: Settings, user: str, group: str) -> None:
    """Leave it to the processes that handle. Raises :class:`ConfigurationError` without their database."""
    from cometbot.cli.opened import opened_delivery

    with opened_delivery(settings, [bot], _channels(bot, settings)) as delivery:
        bot.connect(delivery)
        bot.send(user=user or None, group=group or None, text=text)


def _say(bot: Bot, text: str, settings: Settings, user: str, group: str) -> None:
    """Send it from here. Raises the channel's errors."""
    from cometbot.channels.base import Sending
    from cometbot.messages import Operation, Text

    channel = _channels(bot, settings)[0]
    conversation = channel.conversation(bot, user=user, group=group)
    try:
        for payload in channel.render(Operation(conversation=conversation, message=Text(text))):
            channel.send(Sending(conversation, f"s{secrets.token_hex(8)}", payload), timeout=_SECONDS)
    finally:
        channel.close()


def _channels(bot: Bot, settings: Settings) -> list[Channel]:
    """The CometChat channel alone."""
    from dataclasses import replace

    from cometbot.delivery import Observer
    from cometbot.web.app import channels_from_settings

    return channels_from_settings(replace(settings, channels=("cometchat",)), [bot], Observer())
