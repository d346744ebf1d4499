"""The process with the connection to the SimpleX CLI: it receives events, stores them, and sends replies."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from cometbot.bot import Bot
from cometbot.channels.simplex.connection import Connection, Status
from cometbot.channels.simplex.endpoint import Endpoint
from cometbot.channels.simplex.event_router import EventRouter
from cometbot.channels.simplex.files import SharedFolder
from cometbot.channels.simplex.group_menu_sync import GroupMenuSync
from cometbot.channels.simplex.ingest import Ingester
from cometbot.channels.simplex.outgoing_files import FileFetcher, OutgoingFiles
from cometbot.channels.simplex.protocol import Command, Record
from cometbot.channels.simplex.recovery import RECOVERY_COMMAND_TIMEOUT, RECOVERY_PERIOD
from cometbot.channels.simplex.setup import get_shared_folder, make_channel
from cometbot.channels.simplex.startup import AddressConfig, BotProfile, SendCommand, Session
from cometbot.delivery import Delivery
from cometbot.errors import BotError, ChannelError, DeliveryError
from cometbot.http.file_fetcher import Fetcher
from cometbot.settings import Settings

log = logging.getLogger(__name__)

RECOVERY_DELAYS = (1.0, 3.0, 10.0, 60.0)
"""Seconds after a reconnection at which events that were sent to the earlier connection are recovered."""

_CONNECTION_TIMEOUT = 5.0
"""Seconds that commands without urgency wait for a connection that is being re-established."""


class RecoveryTimer(threading.Thread):
    """Calls ``action`` at each of :data:`RECOVERY_DELAYS` after :meth:`restart`, until :meth:`close`.

    If ``action`` fails, it is called again at the next time.
    """

    def __init__(self, action: Callable[[], None]) -> None:
        super().__init__(name="cometbot-simplex-looks", daemon=True)
        self._action = action
        self._due_times: list[float] = []
        self._is_closed = False
        self._changed = threading.Condition()

    def restart(self) -> None:
        """Start the delays anew."""
        with self._changed:
            self._due_times = [time.monotonic() + seconds for seconds in RECOVERY_DELAYS]
            self._changed.notify_all()

    def close(self) -> None:
        """Stop the thread and wait for it."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self.ident is not None:
            self.join(5)

    def run(self) -> None:
        """Call ``action`` whenever it is due."""
        while self._wait_until_due():
            try:
                self._action()
            except (ChannelError, DeliveryError) as error:
                log.info("could not look for what was missed: %s", error)
            except Exception:
                log.exception("looking for what was missed failed")

    def _wait_until_due(self) -> bool:
        """Return True when the action is due, False once closed."""
        with self._changed:
            while not self._is_closed:
                left = self._due_times[0] - time.monotonic() if self._due_times else None
                if left is not None and left <= 0:
                    self._due_times.pop(0)
                    return True
                self._changed.wait(left)
            return False


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
        self._group_menu_sync = GroupMenuSync(self._profile.menu, self._send_menu_command)
        self.connection = Connection(
            Endpoint.from_settings(settings),
            on_event=self.handle_event,
            startup=self._run_startup,
            on_status_change=self._handle_status,
            recovery_period=RECOVERY_PERIOD + 2 * RECOVERY_COMMAND_TIMEOUT,
            **connection,
        )
        folder = get_shared_folder(settings)
        outgoing = None
        if isinstance(folder, SharedFolder):
            fetcher = fetcher or Fetcher(allow_private=settings.allow_private_webhooks)
            outgoing = OutgoingFiles(fetcher, folder, settings.simplex_file_limit)
        self.channel = make_channel(settings, [bot], connection=self.connection, outgoing=outgoing)

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
            send_command=self._send_recovery_command,
        )
        self.channel.add_callbacks(on_refresh=self._recover_missed, on_close=self.connection.close)
        self.channel.add_callbacks(on_refresh=lambda: None, on_close=self._recovery_timer.close)
        self.channel.add_callbacks(on_refresh=lambda: None, on_close=self._group_menu_sync.close)
        self._recovery_timer.start()
        self._group_menu_sync.start()
        self.connection.start()

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

    def _send_recovery_command(self, command: Command | str) -> Record:
        return self.connection.command(command, timeout=RECOVERY_COMMAND_TIMEOUT)

    def _send_menu_command(self, command: Command | str) -> Record:
        return self.connection.command(command, wait=_CONNECTION_TIMEOUT)

    def _run_startup(self, send_command: SendCommand) -> Session:
        assert self._ingester is not None
        return self._ingester.run_startup(send_command)

    def handle_event(self, record: Record) -> None:
        """Store the events of a record."""
        assert self._ingester is not None
        self._ingester.handle_event(record)
        self._group_menu_sync.handle_event(record)
