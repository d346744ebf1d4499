"""Dead letters: list, show, retry and discard what failed for good. Nothing else removes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cometbot.models import ConversationKey
from cometbot.store.delivery_store import DeliveryStore


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that could not be handled (``m12``) or a reply that could not be sent (``r7``), with its cause.

    ``body`` is the callback's body or the request's payload. ``account`` is that of the channel, such as an app's id.
    ``at`` is the time when it was received or created, ``ended_at`` when it failed (Unix seconds).
    """

    id: str
    bot: str
    channel: str
    conversation: str
    event: str
    error: str
    at: float
    ended_at: float
    attempts: int
    handler: str
    body: str
    account: str = ""

    @property
    def is_reply(self) -> bool:
        """True for a reply that could not be sent, False for a message that could not be handled."""
        return self.id.startswith("r")


class DeadLetters:
    """The dead letters of one database."""

    def __init__(self, store: DeliveryStore) -> None:
        self._store = store

    def list(self, bot: str = "", limit: int = 100, *, account: str = "") -> list[DeadLetter]:
        """Return at most ``limit`` dead letters of one bot or of all, the newest first.

        With ``account``, they are of that CometChat app alone.
        """
        mailbox, outbox = self._store.mailbox, self._store.outbox
        with self._store.database.read() as connection:
            messages = [_from_mailbox_row(row) for row in mailbox.list_dead_letters(connection, bot, limit, account)]
            replies = [_from_outbox_row(row) for row in outbox.list_dead_letters(connection, bot, limit, account)]
        return sorted(messages + replies, key=lambda letter: letter.ended_at, reverse=True)[:limit]

    def get(self, letter_id: str) -> DeadLetter | None:
        """Return the dead letter with this id, or None."""
        kind, number = _parse_id(letter_id)
        with self._store.database.read() as connection:
            if kind == "m":
                row = self._store.mailbox.get(connection, number)
                return _from_mailbox_row(row) if row and row["state"] == "dead" else None
            row = self._store.outbox.get_dead_letter(connection, number)
            return _from_outbox_row(row) if row else None

    def retry(self, letter_id: str) -> str | None:
        """Queue ``letter_id`` again and return the key of the conversation to notify, or None if it is no dead letter.

        A message is handled again, but its replies that are already stored are not sent again. A reply is verified and,
        if it had not arrived, sent before anything newer.
        """
        kind, number = _parse_id(letter_id)
        table = self._store.mailbox if kind == "m" else self._store.outbox
        with self._store.database.write() as connection:
            conversation_key = table.requeue(connection, number)
            if kind == "m":
                self._store.dialogs.reopen(connection, number)
            if conversation_key is not None:
                self._store.leases.mark_pending_by_key(connection, conversation_key)
        return conversation_key

    def discard(self, letter_id: str) -> bool:
        """Discard ``letter_id``, and return True if it was a dead letter."""
        kind, number = _parse_id(letter_id)
        table = self._store.mailbox if kind == "m" else self._store.outbox
        with self._store.database.write() as connection:
            is_discarded = table.discard(connection, number)
            if is_discarded and kind == "m":
                self._store.dialogs.discard(connection, number)
            return is_discarded


def _parse_id(letter_id: str) -> tuple[str, int]:
    kind, number = letter_id[:1].lower(), letter_id[1:]
    if kind in ("m", "r") and number.isascii() and number.isdigit() and len(number) < 19:
        return kind, int(number)
    return "m", -1


def _from_mailbox_row(row: sa.RowMapping) -> DeadLetter:
    return DeadLetter(
        id=f"m{row['seq']}",
        bot=row["bot"],
        channel=row["channel"],
        conversation=ConversationKey.parse(row["conversation_key"]).conversation,
        event=row["event_key"],
        error=row["error"] or "",
        at=row["received_at"],
        ended_at=row["ended_at"] or 0.0,
        attempts=row["attempts"],
        handler=row["handler"] or "",
        body=_decode_body(row["body"]),
        account=row["account"],
    )


def _from_outbox_row(row: sa.RowMapping) -> DeadLetter:
    return DeadLetter(
        id=f"r{row['id']}",
        bot=row["bot"],
        channel=row["channel"],
        conversation=row["conversation"],
        event=row["event"],
        error=row["error"] or "",
        at=row["created_at"],
        ended_at=row["ended_at"] or 0.0,
        attempts=row["attempts"],
        handler="",
        body=row["payload"],
        account=row["account"],
    )


def _decode_body(body: Any) -> str:
    return bytes(body).decode("utf-8", "replace")
