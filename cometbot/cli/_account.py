"""Access to the CometChat app and the bots of the settings, with errors explained in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from cometbot.cli import CommandError
from cometbot.cli._output import sanitize
from cometbot.errors import ChannelError

if TYPE_CHECKING:
    from cometbot.bot import Bot
    from cometbot.channels.cometchat import CometChatClient
    from cometbot.settings import Settings


@dataclass(frozen=True)
class CometChatAccount:
    """The settings, and a client for their CometChat app."""

    settings: Settings
    client: CometChatClient


def choose_app(settings: Settings, app: str, option: str = "--app") -> Settings:
    """Return the settings of the app with this name, or of the only one.

    Raises :class:`ConfigurationError` for an unknown name, and :class:`CommandError` if there are several apps and none
    is named.
    """
    if app:
        return settings.for_app(app.lower())
    if len(settings.cometchat_apps) > 1:
        names = ", ".join(settings.cometchat_apps)
        raise CommandError(f"there are several CometChat apps. Choose one with {option}: {names}")
    return settings.split_apps()[0]


@contextmanager
def open_account(app: str = "") -> Iterator[CometChatAccount]:
    """Open a client for the CometChat app of the settings, or of several ones for ``app``.

    Raises :class:`ConfigurationError` if the settings lack its URL or its key, and the errors of :func:`choose_app`.
    """
    from cometbot.settings import Settings

    settings = choose_app(Settings.from_environment(), app)
    with closing(make_account_client(settings)) as client:
        yield CometChatAccount(settings, client)


def make_account_client(settings: Settings, **options: Any) -> CometChatClient:
    """Return a client for the CometChat app of ``settings``, with one connection."""
    from cometbot.channels.cometchat import CometChatClient

    key = settings.cometchat_api_key.reveal()
    return CometChatClient(settings.cometchat_base_url, key, app_id=settings.cometchat_app_id, pool_size=1, **options)


@contextmanager
def explain_errors(name: str = "", *, bot: str = "") -> Iterator[None]:
    """Turn an error of CometChat's into a sentence that says what to do, except with ``--debug``.

    ``name`` is the uid or guid that the request is about. ``bot`` is the bot's uid if it is another one.
    """
    from cometbot.channels.cometchat.troubleshooting import get_troubleshooting_hint

    try:
        yield
    except ChannelError as error:
        if _is_debugging():
            raise
        raise CommandError(sanitize(get_troubleshooting_hint(error, name, bot=bot))) from error


def load_configured_bots(spec: str, settings: Settings) -> list[Bot]:
    """Return the bots of ``spec``, else of ``COMETBOT_BOT``, else of ``bot.py``.

    Raises :class:`ConfigurationError` if there is none, and for an error in the author's code, with its location.
    """
    from cometbot.loading import choose_bot, load_bots_or_explain

    return load_bots_or_explain(choose_bot(spec, settings))


def print_credentials(username: str, password: str, *, suffix: str = "", err: bool = False) -> None:
    """Print the credentials as two lines for ``.env``, with a remark that they are shown only once.

    They go to standard error if ``err``.
    """
    click.echo("Add these credentials of CometChat's callbacks to .env now; they are not shown again:\n", err=err)
    click.echo(f"COMETBOT_CALLBACK_USERNAME{suffix}={username}", err=err)
    click.echo(f"COMETBOT_CALLBACK_PASSWORD{suffix}={password}", err=err)


def confirm(question: str) -> None:
    """Ask for confirmation and return if the answer is yes.

    Otherwise the command ends: with status 1 if the answer is no, with status 2 if there is no answer.
    """
    try:
        is_confirmed = click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)
        raise CommandError(
            "aborted, nothing was changed: no answer on standard input. Pass --yes to skip the question."
        ) from None
    if not is_confirmed:
        click.echo("Nothing was changed.", err=True)
        raise SystemExit(1)


def _is_debugging() -> bool:
    context = click.get_current_context(silent=True)
    return bool(context and context.find_root().params.get("debug"))
