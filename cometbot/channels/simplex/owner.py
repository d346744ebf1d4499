"""The process that holds the connection to the SimpleX CLI: it hears, stores and sends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from cometbot.bot import Bot
from cometbot.channels.simplex.arrivals import Arrivals
from cometbot.channels.simplex.connection import Connection, Status
from cometbot.channels.simplex.endpoint import Endpoint
from cometbot.channels.simplex.files import Folder
from cometbot.channels.simplex.menus import GroupMenus
from cometbot.channels.simplex.outgoing import Fetching, OutgoingFiles
from cometbot.channels.simplex.protocol import Command, Record
from cometbot.channels.simplex.reception import Reception
from cometbot.channels.simplex.settling import LOOK_SECONDS, SETTLING
from cometbot.channels.simplex.setup import folder_of, make_channel
from cometbot.channels.simplex.startup import AddressWish, Ask, BotProfile, Session
from cometbot.delivery import Delivery
from cometbot.errors import BotError, ChannelError, DeliveryError
from cometbot.http.fetching import Fetcher
from cometbot.settings import Settings

log = logging.getLogger(__name__)

LOOKS = (1.0, 3.0, 10.0, 60.0)
"""Seconds after a connection was made at which it is looked for what was told to the one before."""

_PATIENCE = 5.0
"""Seconds that what is not urgent waits for a connection that is being made again."""


class Looks(threading.Thread):
    """Calls ``look`` some time after each :meth:`begin`, until it is closed; what fails is done at the next time."""

    def __init__(self, look: Callable[[], None]) -> None:
        super().__init__(name="cometbot-simplex-looks", daemon=True)
        self._look = look
        self._due: list[float] = []
        self._is_closed = False
        self._changed = threading.Condition()

    def begin(self) -> None:
        """Begin anew."""
        with self._changed:
            self._due = [time.monotonic() + seconds for seconds in LOOKS]
            self._changed.notify_all()

    def close(self) -> None:
        """End it, and wait for that."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self.ident is not None:
            self.join(5)

    def run(self) -> None:
        """Wait and look."""
        while self._is_due():
            try:
                self._look()
            except (ChannelError, DeliveryError) as error:
                log.info("could not look for what was missed: %s", error)
            except Exception:
                log.exception("looking for what was missed failed")

    def _is_due(self) -> bool:
        """True when it is time to look, False once closed."""
        with self._changed:
            while not self._is_closed:
                left = self._due[0] - time.monotonic() if self._due else None
                if left is not None and left <= 0:
                    self._due.pop(0)
                    return True
                self._changed.wait(left)
            return False


class Owner:
    """The connection, and the channel over it.

    :attr:`channel` is for the :class:`Delivery` that :meth:`open` is given afterwards; closing that closes the
    connection. ``on_change`` is told how it stands with the connection, ``fetcher`` loads the files that the bot sends
    by their addresses, ``connection`` options go to :class:`Connection`. Raises :class:`ConfigurationError` for
    settings that lead nowhere safe.
    """

    def __init__(
        self,
        settings: Settings,
        bot: Bot,
        *,
        on_change: Callable[[Status], None] | None = None,
        fetcher: Fetching | None = None,
        **connection: Any,
    ) -> None:
        self._settings = settings
        self._bot = bot
        self._reception: Reception | None = None
        self._on_change = on_change
        self._looks = Looks(self._look_again)
        self._profile = BotProfile.from_bot(bot, settings)
        self._menus = GroupMenus(self._profile.menu, self._ask_for_menus)
        self.connection = Connection(
            Endpoint.from_settings(settings),
            on_event=self.hear,
            startup=self._begin,
            on_change=self._tell,
            settling=SETTLING + 2 * LOOK_SECONDS,
            **connection,
        )
        folder = folder_of(settings)
        outgoing = None
        if isinstance(folder, Folder):
            fetcher = fetcher or Fetcher(allow_private=settings.allow_private_webhooks)
            outgoing = OutgoingFiles(fetcher, folder, settings.simplex_file_limit)
        self.channel = make_channel(settings, [bot], connection=self.connection, outgoing=outgoing)

    def open(self, delivery: Delivery) -> None:
        """Bring what is heard to ``delivery`` from now on. Call this once."""
        if self._reception is not None:
            raise BotError("the connection to SimpleX is open already")
        settings = self._settings
        self._reception = Reception(
            self.channel,
            Arrivals(self.channel.account, self._bot, all_groups=settings.simplex_group_messages == "all"),
            delivery.put,
            delivery.database,
            profile=self._profile,
            address=AddressWish.from_settings(settings),
            ask=self._ask_while_settling,
        )
        self.channel.look_after(on_refresh=self._look_again, on_close=self.connection.close)
        self.channel.look_after(on_refresh=lambda: None, on_close=self._looks.close)
        self.channel.look_after(on_refresh=lambda: None, on_close=self._menus.close)
        self._looks.start()
        self._menus.start()
        self.connection.start()

    def _tell(self, status: Status) -> None:
        if status.state == "ready":
            self._looks.begin()
            self._menus.begin(status.session.user.user_id)
        if self._on_change is not None:
            self._on_change(status)

    def _look_again(self) -> None:
        """Look for what was not told, if there is a connection now."""
        if self._reception is not None and self.connection.status.state == "ready":
            self._reception.look_again(self.connection.command)

    def _ask_while_settling(self, command: Command | str) -> Record:
        return self.connection.command(command, timeout=LOOK_SECONDS)

    def _ask_for_menus(self, command: Command | str) -> Record:
        return self.connection.command(command, wait=_PATIENCE)

    def _begin(self, ask: Ask) -> Session:
        assert self._reception is not None
        return self._reception.begin(ask)

    def hear(self, record: Record) -> None:
        """Store what an event brings."""
        assert self._reception is not None
        self._reception.hear(record)
        self._menus.hear(record)
