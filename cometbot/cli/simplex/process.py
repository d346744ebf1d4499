"""The process of ``cometbot simplex``: one bot, one connection."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace

import click

from cometbot.bot import Bot
from cometbot.channels.base import Channel
from cometbot.cli._output import sanitize
from cometbot.errors import ConfigurationError
from cometbot.observer import Observer
from cometbot.settings import Settings
from cometbot.shutdown import ShutdownEvent
from cometbot.store.database import Database
from cometbot.web.app import worker_from_settings
from cometbot.web.channels import channels_from_settings
from cometbot.web.logs import configure_logging
from cometbot.web.monitoring import MonitoringServer, make_monitoring_app

try:
    from cometbot.channels.simplex.connection import Status
    from cometbot.channels.simplex.service import SimplexService
except ImportError as error:
    raise ConfigurationError(str(error)) from error

_log = logging.getLogger(__name__)
_CHANNEL_NAME = "simplex"


class SimplexChannels:
    """Creates the connection of one bot together with the channels of its process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.service: SimplexService | None = None
        self._printed = ""

    def make_channels(self, bots: Sequence[Bot], observer: Observer, database: Database) -> list[Channel]:
        """Return the SimpleX channel with its connection, and the other channels that ``COMETBOT_CHANNELS`` names.

        Raises :class:`ConfigurationError` for more than one bot, because a SimpleX profile is one bot.
        """
        if len(bots) != 1:
            named = ", ".join(bot.name for bot in bots)
            raise ConfigurationError(f"a SimpleX profile is one bot, and these are {len(bots)}: {named}; name one")
        self.service = SimplexService(self.settings, bots[0], on_status_change=self._print_address)
        others = [name for name in self.settings.channels if name != _CHANNEL_NAME]
        if _CHANNEL_NAME not in self.settings.channels or not others:
            return [self.service.channel]
        more = channels_from_settings(replace(self.settings, channels=tuple(others)), bots, observer, database)
        return [self.service.channel, *more]

    def _print_address(self, status: Status) -> None:
        """Print the bot's profile name and its address once it is connected."""
        if status.state != "ready" or status.session is None:
            return
        user, address = status.session.user, status.session.address
        link = address.link if address is not None else ""
        text = f"Connected to SimpleX as {sanitize(user.profile.display_name or user.name)}."
        text += (
            f"\nAddress: {sanitize(link)}" if link else "\nThere is no address; set SIMPLEX_ADDRESS=1 to have one made."
        )
        if text == self._printed:
            _log.info("connected to SimpleX again")
        else:
            self._printed = text
            click.echo(text)


def run(settings: Settings, spec: str, shutdown: ShutdownEvent, *, handles: bool = True, bind: str = "") -> None:
    """Hold the connection, store, handle and send until ``shutdown`` is set."""
    configure_logging(settings.log_format, settings.log_level)
    channels = SimplexChannels(settings)
    delivery, metrics = worker_from_settings(settings, spec, make_channels=channels.make_channels, handles=handles)
    assert channels.service is not None
    with ExitStack() as stack:
        if bind:
            stack.enter_context(closing(MonitoringServer(make_monitoring_app(delivery, metrics), bind)))
        stack.enter_context(closing(delivery))
        delivery.start()
        channels.service.open(delivery)
        shutdown.wait()
