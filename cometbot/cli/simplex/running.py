"""The process of ``cometbot simplex``: one bot, one connection."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace

import click

from cometbot.bot import Bot
from cometbot.channels.base import Channel
from cometbot.cli.text import plain
from cometbot.delivery import Observer
from cometbot.errors import ConfigurationError
from cometbot.settings import Settings
from cometbot.stopping import Ending
from cometbot.store.database import Database
from cometbot.web.app import channels_from_settings, worker_from_settings
from cometbot.web.handling import Desk, make_worker_app
from cometbot.web.logs import configure_logging

try:
    from cometbot.channels.simplex.connection import Status
    from cometbot.channels.simplex.owner import Owner
except ImportError as error:
    raise ConfigurationError(str(error)) from error

_log = logging.getLogger(__name__)
_DOOR = "simplex"


class Door:
    """The connection of one bot, made together with the channels of its process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.owner: Owner | None = None
        self._told = ""

    def make_channels(self, bots: Sequence[Bot], observer: Observer, source: Database) -> list[Channel]:
        """SimpleX with its connection, and whatever else ``COMETBOT_CHANNELS`` names beside it.

        Raises :class:`ConfigurationError` for more bots than one: a profile of SimpleX is one bot.
        """
        if len(bots) != 1:
            named = ", ".join(bot.name for bot in bots)
            raise ConfigurationError(f"a SimpleX profile is one bot, and these are {len(bots)}: {named}; name one")
        self.owner = Owner(self.settings, bots[0], on_change=self._tell)
        others = [name for name in self.settings.channels if name != _DOOR]
        if _DOOR not in self.settings.channels or not others:
            return [self.owner.channel]
        more = channels_from_settings(replace(self.settings, channels=tuple(others)), bots, observer, source)
        return [self.owner.channel, *more]

    def _tell(self, status: Status) -> None:
        """Say as whom the bot is there, and how people find it."""
        if status.state != "ready" or status.session is None:
            return
        user, address = status.session.user, status.session.address
        link = address.link if address is not None else ""
        text = f"Connected to SimpleX as {plain(user.profile.display_name or user.name)}."
        text += (
            f"\nAddress: {plain(link)}" if link else "\nThere is no address; set SIMPLEX_ADDRESS=1 to have one made."
        )
        if text == self._told:
            _log.info("connected to SimpleX again")
        else:
            self._told = text
            click.echo(text)


def run(settings: Settings, spec: str, ended: Ending, *, handles: bool = True, bind: str = "") -> None:
    """Hold the connection, store, handle and send, until ``ended`` is told."""
    configure_logging(settings.log_format, settings.log_level)
    door = Door(settings)
    delivery, metrics = worker_from_settings(settings, spec, make_channels=door.make_channels, handles=handles)
    assert door.owner is not None
    with ExitStack() as stack:
        if bind:
            stack.enter_context(closing(Desk(make_worker_app(delivery, metrics), bind)))
        stack.enter_context(closing(delivery))
        delivery.start()
        door.owner.open(delivery)
        ended.wait()
