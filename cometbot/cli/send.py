"""``cometbot send``: sends a message as a bot."""

from __future__ import annotations

import secrets
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from cometbot.cli import CommandError
from cometbot.cli._account import choose_app, explain_errors, load_configured_bots
from cometbot.cli._database import open_delivery
from cometbot.cli._params import app_option
from cometbot.errors import ConfigurationError

if TYPE_CHECKING:
    from cometbot.bot import Bot
    from cometbot.channels.base import Channel
    from cometbot.settings import Settings
    from cometbot.store.database import Database

CHANNELS = ("cometchat", "chat_api", "platform", "simplex", "agui")
"""The valid names in ``COMETBOT_CHANNELS``."""

_SEND_TIMEOUT = 10.0
_DROPPED = "Not sent: the bot's outgoing middleware dropped the message. The log names the middleware."


@click.command()
@click.argument("text", metavar="TEXT")
@click.option("--bot", default="", metavar="BOT", help="module:attribute, or the name of a bot in COMETBOT_BOT.")
@click.option("--user", default="", metavar="UID", help="Recipient: a user.")
@click.option("--group", default="", metavar="GUID", help="Recipient: a group.")
@click.option("--channel", type=click.Choice(CHANNELS), help="Channel. Default: the first of COMETBOT_CHANNELS.")
@app_option
@click.option("--now", is_flag=True, help="Send directly to CometChat, ahead of queued replies.")
def send(text: str, bot: str, user: str, group: str, channel: str | None, app_name: str, now: bool) -> None:
    """Send TEXT as a bot to a user or a group; "-" reads TEXT from standard input.

    The message is stored in the database of COMETBOT_DATABASE_URL, and the running bot sends it after earlier messages
    of the conversation. UID and GUID are as in handlers: on SimpleX, the numbers of contacts and groups.
    """
    from cometbot.settings import Settings

    if bool(user) == bool(group):
        raise click.UsageError("Missing recipient: pass either --user or --group.")
    message_text = sys.stdin.read() if text == "-" else text
    if not message_text.strip():
        raise click.UsageError("The text is empty.")
    settings = Settings.from_environment()
    channels = ("cometchat",) if now and "cometchat" in settings.channels else settings.channels[:1]
    settings = replace(settings, channels=(channel,) if channel else channels)
    if settings.channels == ("cometchat",):
        settings = choose_app(settings, app_name)
    elif app_name:
        raise click.UsageError(f"--app is for CometChat, and the channel is {''.join(settings.channels)}.")
    if now:
        _send_now(bot, message_text, settings, user, group)
        click.echo(f"Sent to {user or group}.")
        return
    _enqueue(_find_bot(bot, settings, requires_code=True), message_text, settings, user, group)
    if settings.channels == ("simplex",):
        click.echo("Stored. cometbot simplex will send it.")
    else:
        click.echo("Stored. The running bot will send it, or the next one that starts.")


def _find_bot(name_or_spec: str, settings: Settings, *, requires_code: bool) -> Bot:
    """Return the bot with this name or location. Without ``requires_code`` any uid is accepted."""
    from cometbot.bot import Bot

    is_name = bool(name_or_spec) and ":" not in name_or_spec
    if is_name and not requires_code and not settings.default_bot_spec:
        return Bot(name_or_spec.lower())
    loaded = load_configured_bots("" if is_name else name_or_spec, settings)
    found = [bot for bot in loaded if not is_name or name_or_spec.lower() in map(str.lower, bot.ids)]
    if len(found) == 1:
        return found[0]
    if is_name and not requires_code:
        return Bot(name_or_spec.lower())
    problem = "there are several bots" if found else f"no bot {name_or_spec!r}"
    raise ConfigurationError(f"{problem}. Choose one with --bot: {', '.join(bot.name for bot in loaded)}")


def _enqueue(bot: Bot, text: str, settings: Settings, user: str, group: str) -> None:
    """Store the message for the worker processes.

    Raises :class:`ConfigurationError` if their database does not exist, :class:`CommandError` if it is dropped.
    """
    with open_delivery(settings, [bot], lambda source: _channels(bot, settings, source)) as delivery:
        bot.connect(delivery)
        if bot.send(user=user or None, group=group or None, text=text) is None:
            raise CommandError(_DROPPED)


def _send_now(bot: str, text: str, settings: Settings, user: str, group: str) -> None:
    """Send the message from here to CometChat. Raises :class:`CommandError` if that fails, or for another channel."""
    from cometbot.channels.cometchat.settings import get_cometchat_uid

    if settings.channels != ("cometchat",):
        name = "".join(settings.channels)
        raise CommandError(
            f"--now works only with CometChat, got the channel {name}. Without --now, the running bot sends it."
        )
    sending_bot = _find_bot(bot, settings, requires_code=False)
    with explain_errors(user or group, bot=get_cometchat_uid(sending_bot)):
        _send_directly(sending_bot, text, settings, user, group)


def _send_directly(bot: Bot, text: str, settings: Settings, user: str, group: str) -> None:
    """Send the message from this process. Raises the channel's errors, and :class:`CommandError` if it is dropped."""
    from cometbot.channels.base import OutgoingRequest
    from cometbot.messages import Operation, Text
    from cometbot.outgoing import filter_operation

    channel = _channels(bot, settings)[0]
    conversation = channel.conversation(bot, user=user, group=group)
    try:
        operation = filter_operation(Operation(conversation=conversation, message=Text(text)), bot, None)
        if operation.is_dropped:
            raise CommandError(_DROPPED)
        for payload in channel.render(operation):
            channel.send(OutgoingRequest(conversation, f"s{secrets.token_hex(8)}", payload), timeout=_SEND_TIMEOUT)
    finally:
        channel.close()


def _channels(bot: Bot, settings: Settings, database: Database | None = None) -> list[Channel]:
    """Return the chosen channel alone, on the same database as delivery."""
    from cometbot.observer import Observer
    from cometbot.web.channels import channels_from_settings

    return channels_from_settings(settings, [bot], Observer(), database)
