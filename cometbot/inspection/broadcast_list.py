"""The broadcasts, for operators: list, show, pause, resume and cancel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cometbot.broadcasts import make_broadcast_conversation
from cometbot.errors import DeliveryError
from cometbot.message_json import message_from_json
from cometbot.store.broadcasts import CANCELLED, PAUSED, BroadcastRow
from cometbot.store.database import Transaction
from cometbot.store.delivery_store import DeliveryStore

_BROADCAST_ID = re.compile(r"[bB](\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class BroadcastInfo:
    """A broadcast with its progress. ``id`` is such as ``b3``; times are Unix seconds.

    ``account`` is that of the channel, such as an app's id.

    ``status`` is ``preparing`` (users are being added), ``running``, ``paused``, ``cancelled`` or ``done``. Of all
    ``recipients``, ``waiting`` are those whose turn is to come, ``sending`` have the message in their conversation's
    queue, to ``sent`` it has arrived at the platform, ``refused`` have none for one of ``reasons``, each with its
    number. Outgoing middleware has ``dropped`` the message for some, and some had ``opted_out``.
    """

    id: str
    bot: str
    name: str
    status: str
    channel: str
    account: str
    pace: str
    text: str
    created_at: float
    ended_at: float | None
    recipients: int
    waiting: int
    sending: int
    sent: int
    refused: int
    dropped: int
    opted_out: int
    reasons: Mapping[str, int]


class BroadcastList:
    """The broadcasts of one database. Methods with an id, or a name, raise :class:`DeliveryError` if there is none."""

    def __init__(self, store: DeliveryStore) -> None:
        self._store = store

    def list(self, bot: str = "", limit: int = 100, *, account: str = "") -> list[BroadcastInfo]:
        """Return at most ``limit`` broadcasts of one bot or of all, the newest first.

        With ``account``, they are those to the users of that CometChat app.
        """
        with self._store.database.read() as connection:
            rows = self._store.broadcasts.list(connection, bot, limit, account=account)
            return [self._to_info(connection, row) for row in rows]

    def get(self, id: str) -> BroadcastInfo:
        """Return the broadcast with this id, or the newest with this name."""
        with self._store.database.read() as connection:
            return self._to_info(connection, self._find(connection, id))

    def pause(self, id: str) -> None:
        """Pause a broadcast: it hands over nothing more until :meth:`resume`."""
        self._stop(id, PAUSED)

    def cancel(self, id: str) -> None:
        """End a broadcast for good. Messages that were handed over to conversations are sent."""
        self._stop(id, CANCELLED)

    def resume(self, id: str) -> str:
        """Resume a paused broadcast, and return the key of the conversation to notify."""
        with self._store.database.write() as connection:
            row = self._find(connection, id)
            if not self._store.broadcasts.resume(connection, row.id):
                raise DeliveryError(f"the broadcast {id} is not paused but {row.state}")
        return make_broadcast_conversation(row.bot, row.id).key_text

    def has(self, id: str) -> bool:
        """Return True if there is a broadcast with this id or name."""
        with self._store.database.read() as connection:
            return self._look_up(connection, id) is not None

    def _stop(self, id: str, state: str) -> None:
        with self._store.database.write() as connection:
            row = self._find(connection, id)
            if not self._store.broadcasts.stop(connection, row.id, state):
                raise DeliveryError(f"the broadcast {id} is {row.state} already")

    def _find(self, connection: Transaction, id: str) -> BroadcastRow:
        row = self._look_up(connection, id)
        if row is None:
            raise DeliveryError(f"there is no broadcast {id!r} (any more). List them with: cometbot jobs list")
        return row

    def _look_up(self, connection: Transaction, id: str) -> BroadcastRow | None:
        match = _BROADCAST_ID.fullmatch(id)
        row = self._store.broadcasts.get(connection, int(match[1])) if match else None
        return row or self._store.broadcasts.find(connection, id)

    def _to_info(self, connection: Transaction, row: BroadcastRow) -> BroadcastInfo:
        counts = self._store.broadcasts.count(connection, row.id)
        return BroadcastInfo(
            id=f"b{row.id}",
            bot=row.bot,
            name=row.name,
            status=row.state,
            channel=row.channel,
            account=row.account,
            pace=row.pace,
            text=message_from_json(row.content).to_text() if row.content is not None else "",
            created_at=row.created_at,
            ended_at=row.ended_at,
            recipients=counts.total,
            waiting=counts.waiting,
            sending=counts.sending,
            sent=counts.sent,
            refused=counts.refused,
            dropped=counts.dropped,
            opted_out=counts.opted_out,
            reasons=dict(counts.reasons),
        )
