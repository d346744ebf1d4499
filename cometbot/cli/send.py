"""``cometbot send``: a bot says something of its own accord."""

from __future__ import annotations

import secrets
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from cometbot.cli import Sentence

if TYPE_CHECKING:
    from cometbot.bot import Bot
    from cometbot.channels.base import Channel
    from cometbot.settings import Settings
    from cometbot.store.database import Database

CHANNELS = ("cometchat", "botpress", "botyard", "simplex")
"""What ``COMETBOT_CHANNELS`` can name."""

_SECONDS = 10.0


@click.command()
@click.argument("text", metavar="TEXT")
@click.option("--bot", default="", metavar="BOT", help="module:attribute, or the name of a bot of COMETBOT_BOT.")
@click.option("--user", default="", metavar="UID", help="To this user.")
@click.option("--group", default="", metavar="GUID", help="To this group.")
@click.option("--channel", type=click.Choice(CHANNELS), help="Through it; by default the first of COMETBOT_CHANNELS.")
@click.option(
    "--now", is_flag=True, help="Send it to CometChat from here at once, past what the bot has to say already."
)
def send(text: str, bot: str, user: str, group: str, channel: str | None, now: bool) -> None:
    """Let a bot say TEXT to a user or a group; "-" reads it from standard input.

    It is stored in the database of COMETBOT_DATABASE_URL, and sent by the running bot in its conversation's order. UID
    and GUID are as handlers get them: on SimpleX the numbers of contacts and groups.
    """
    from cometbot.settings import Settings

    if bool(user) == bool(group):
        raise click.UsageError("Say to whom: either --user or --group.")
    said = sys.stdin.read() if text == "-" else text
    if not said.strip():
        raise click.UsageError("The text is empty.")
    settings = Settings.from_environment()
    first = ("cometchat",) if now and "cometchat" in settings.channels else settings.channels[:1]
    settings = replace(settings, channels=(channel,) if channel else first)
    if now:
        _send_now(bot, said, settings, user, group)
        click.echo(f"It is sent to {user or group}.")
        return
    _store(_find(bot, settings, is_code_needed=True), said, settings, user, group)
    if settings.channels == ("simplex",):
        click.echo("It is stored; cometbot simplex sends it.")
    else:
        click.echo("It is stored; the running bot sends it, or the next one that is started.")


def _find(wanted: str, settings: Settings, *, is_code_needed: bool) -> Bot:
    """The bot of this name or place. Without the need for code any UID will do."""
    from cometbot.bot import Bot
    from cometbot.cli.account import load_authors_bots
    from cometbot.errors import ConfigurationError

    is_name = bool(wanted) and ":" not in wanted
    if is_name and not is_code_needed and not settings.named_bot:
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

    with opened_delivery(settings, [bot], lambda source: _channels(bot, settings, source)) as delivery:
        bot.connect(delivery)
        bot.send(user=user or None, group=group or None, text=text)


def _send_now(bot: str, text: str, settings: Settings, user: str, group: str) -> None:
    """Send it from here to CometChat. Raises :class:`Sentence` where that fails, or is for another channel."""
    from cometbot.channels.cometchat.channel import uid_of
    from cometbot.cli.account import advised

    if settings.channels != ("cometchat",):
        name = "".join(settings.channels)
        raise Sentence(
            f"--now goes to CometChat alone, and this is for {name}; leave it out, and the running bot says it"
        )
    speaker = _find(bot, settings, is_code_needed=False)
    with advised(user or group, bot=uid_of(speaker)):
        _say(speaker, text, settings, user, group)


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


def _channels(bot: Bot, settings: Settings, source: Database | None = None) -> list[Channel]:
    """The chosen channel alone, over the database that delivery has as well."""
    from cometbot.delivery import Observer
    from cometbot.web.app import channels_from_settings

    return channels_from_settings(settings, [bot], Observer(), source)
