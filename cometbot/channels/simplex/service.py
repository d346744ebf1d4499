"""The process with the connection to the SimpleX CLI: it receives events, stores them, and sends replies."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from cometbot.bot import Bot
from cometbot.channels.simplex.background import RecoveryTimer
from cometbot.channels.simplex.channel import SimplexChannel
from cometbot.channels.simplex.connection import Connection, Status
from cometbot.channels.simplex.endpoint import Endpoint
from cometbot.channels.simplex.event_router import EventRouter
from cometbot.channels.simplex.files import get_shared_folder
from cometbot.channels.simplex.group_menu_sync import GroupMenuSync
from cometbot.channels.simplex.ingest import Ingester
from cometbot.channels.simplex.outgoing_files import OutgoingFiles
from cometbot.channels.simplex.protocol import Record, SendCommand
from cometbot.channels.simplex.recovery import RECOVERY_COMMAND_TIMEOUT, RECOVERY_PERIOD
from cometbot.channels.simplex.startup import AddressConfig, BotProfile, Session
from cometbot.delivery import Delivery
from cometbot.errors import BotError
from cometbot.http.file_fetcher import Fetcher, FileFetcher
from cometbot.settings import Settings

_CONNECTION_TIMEOUT = 5.0
"""Seconds that commands without urgency wait for a connection that is being re-established."""


class SimplexService:
    """The connection to the SimpleX CLI, and the channel that uses it.

    :attr:`channel` is for the :class:`Delivery` that is passed to :meth:`open` afterwards; closing the delivery closes
    the connection. ``on_status_change`` is called with every new :class:`Status` of the connection. ``fetcher``
    downloads files that the bot sends by URL. ``connection`` options are passed to :class:`Connection`. Raises
    :class:`ConfigurationError` for settings without a safe endpoint.
    """

    def __init__(
        self,
        settings: Settings,
        bot: Bot,
        *,
        on_status_change: Callable[[Status], None] | None = None,
        fetcher: FileFetcher | None = None,
        **connection: Any,
    ) -> None:
        self._settings = settings
        self._bot = bot
        self._ingester: Ingester | None = None
        self._on_status_change = on_status_change
        self._recovery_timer = RecoveryTimer(self._recover_missed)
        self._profile = BotProfile.from_bot(bot, settings)
        self.connection = Connection(
            Endpoint.from_settings(settings),
            on_event=self.handle_event,
            startup=self._run_startup,
            on_status_change=self._handle_status,
            recovery_period=RECOVERY_PERIOD + 2 * RECOVERY_COMMAND_TIMEOUT,
            **connection,
        )
        send_command = partial(self.connection.command, wait=_CONNECTION_TIMEOUT)
        self._group_menu_sync = GroupMenuSync(self._profile.menu, send_command)
        folder = get_shared_folder(settings)
        outgoing = None
        if folder is not None:
            fetcher = fetcher or Fetcher(allow_private=settings.allow_private_webhooks)
            outgoing = OutgoingFiles(fetcher, folder, settings.simplex_file_limit)
        self.channel = SimplexChannel.from_settings(settings, [bot], connection=self.connection, outgoing=outgoing)

    def open(self, delivery: Delivery) -> None:
        """Open the connection and deliver its events to ``delivery``. Call this once."""
        if self._ingester is not None:
            raise BotError("the connection to SimpleX is open already")
        settings = self._settings
        self._ingester = Ingester(
            self.channel,
            EventRouter(self.channel.account, self._bot, all_groups=settings.simplex_group_messages == "all"),
            delivery.enqueue,
            delivery.database,
            profile=self._profile,
            address=AddressConfig.from_settings(settings),
            send_command=partial(self.connection.command, timeout=RECOVERY_COMMAND_TIMEOUT),
        )
        self.channel.add_callbacks(on_refresh=self._recover_missed, on_close=self._close)
        self._recovery_timer.start()
        self._group_menu_sync.start()
        self.connection.start()

    def _close(self) -> None:
        self._group_menu_sync.close()
        self._recovery_timer.close()
        self.connection.close()

    def _handle_status(self, status: Status) -> None:
        if status.state == "ready":
            self._recovery_timer.restart()
            self._group_menu_sync.sync_all(status.session.user.user_id)
        if self._on_status_change is not None:
            self._on_status_change(status)

    def _recover_missed(self) -> None:
        """Recover missed events if the connection is ready."""
        if self._ingester is not None and self.connection.status.state == "ready":
            self._ingester.recover_missed(self.connection.command)

    def _run_startup(self, send_command: SendCommand) -> Session:
        assert self._ingester is not None
        return self._ingester.run_startup(send_command)

    def handle_event(self, record: Record) -> None:
        """Store the events of a record."""
        assert self._ingester is not None
        self._ingester.handle_event(record)
        self._group_menu_sync.handle_event(record)
