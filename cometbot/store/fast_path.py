"""The common course of a message in one statement per commit, for databases with writable CTEs.

Each statement is the short form of several statements of a conversation runner. It applies only in the simple case: no
reply waits, no process died on the message, and the message is due. The long form then does what a short form left.

A statement of PostgreSQL sees what was committed when it began. If it waits for a row that another transaction is
changing, it changes the newest version of that row. Therefore no statement clears the mail flag and concludes from the
same snapshot that there is no mail; and each statement checks again, on the row that it changes, the condition for
which it chose that row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot.errors import LeaseLost
from cometbot.store.database import Database
from cometbot.store.leases import Lease, to_conversation
from cometbot.store.mailbox import MailboxMessage
from cometbot.store.outbox import Draft, Outbox, OutboxMessage, SendResult
from cometbot.store.tables import PENDING_MESSAGE, PENDING_REPLY, SENDING
from cometbot.store.throttles import account_key

_HELD_LEASE = "SELECT FROM conversations WHERE conversation_key = :key AND token = :held FOR UPDATE"
_OTHER_MESSAGE = f"""
    SELECT seq FROM mailbox
    WHERE conversation_key = :key AND {PENDING_MESSAGE} AND seq IS DISTINCT FROM CAST(:row AS bigint)
"""
_OTHER_REPLY = f"""
    SELECT FROM outbox
    WHERE conversation_key = :key AND {PENDING_REPLY} AND id IS DISTINCT FROM CAST(:reply AS bigint)
"""
_FINISH_MESSAGE = """
    UPDATE mailbox SET state = 'done', ended_at = CAST(:now AS float8), handler = CAST(:by AS text), error = NULL,
        due_at = NULL
    WHERE seq = CAST(:row AS bigint) AND state = 'running'
"""
_START_NEXT_MESSAGE = f"""
    UPDATE mailbox SET state = 'running', attempts = attempts + 1, due_at = NULL
    WHERE CAST(:begins AS boolean) AND EXISTS (SELECT FROM held) AND seq = ({_OTHER_MESSAGE} ORDER BY seq LIMIT 1)
        AND {PENDING_MESSAGE} AND attempts = failures AND (due_at IS NULL OR due_at <= CAST(:now AS float8))
        AND NOT EXISTS ({_OTHER_REPLY})
    RETURNING seq, event_key, sender, body, received_at, attempts - 1, failures, generation, due_at,
        coalesce(error, '') <> '',
        (SELECT coalesce(json_object_agg(name, value), '{{}}') FROM state WHERE scope = 'conversation' AND owner = :key
            AND (expires_at IS NULL OR expires_at > CAST(:now AS float8)))
"""
_claim = sa.text(f"""
    WITH held AS (
        UPDATE conversations SET token = :token, process = :process, mail = false, due_at = NULL
        WHERE conversation_key = :key AND token IS NULL
        RETURNING channel, account, bot, conversation, target, is_group
    ), begun AS ({_START_NEXT_MESSAGE})
    SELECT held.*, begun.* FROM held LEFT JOIN begun ON true
""")
_advance = sa.text(f"""
    WITH held AS ({_HELD_LEASE}), noted AS (
        UPDATE outbox SET state = 'sent', due_at = NULL, ended_at = CAST(:now AS float8), error = NULL,
            platform_id = coalesce(CAST(:named AS text), platform_id)
        WHERE id = CAST(:reply AS bigint) AND EXISTS (SELECT FROM held)
    ), ended AS ({_FINISH_MESSAGE} AND EXISTS (SELECT FROM held)), begun AS ({_START_NEXT_MESSAGE}), released AS (
        UPDATE conversations SET token = NULL, process = NULL, due_at = NULL
        WHERE conversation_key = :key AND token = :held AND NOT mail
            AND NOT EXISTS ({_OTHER_MESSAGE}) AND NOT EXISTS ({_OTHER_REPLY})
        RETURNING conversation_key
    )
    SELECT (SELECT count(*) FROM held), (SELECT count(*) FROM released), begun.*
    FROM (SELECT) AS one LEFT JOIN begun ON true
""")
_finish_with_reply = sa.text(f"""
    WITH held AS ({_HELD_LEASE}), said AS (
        INSERT INTO outbox (
            event, generation, ordinal, part, conversation_key, payload, client_id, target, target_event, state,
            created_at, began_at
        )
        SELECT :event, CAST(:generation AS integer), CAST(:ordinal AS integer), CAST(:part AS integer), :key, :payload,
            :client_id, CAST(:target AS integer), CAST(:target_event AS text), :state,
            CAST(:created_at AS float8), CAST(:began_at AS float8)
        WHERE EXISTS (SELECT FROM held)
            AND NOT EXISTS (SELECT FROM outbox WHERE conversation_key = :key AND {PENDING_REPLY})
            AND NOT EXISTS (SELECT FROM pauses WHERE account = :account)
        ON CONFLICT DO NOTHING
        RETURNING id, event, generation, ordinal, part, conversation_key, payload, client_id, target, target_event,
            state, attempts, created_at, began_at, due_at, platform_id
    ), ended AS ({_FINISH_MESSAGE} AND EXISTS (SELECT FROM said))
    SELECT * FROM said
""")


@dataclass(frozen=True, slots=True)
class AdvanceResult:
    """The result of :meth:`FastPath.advance`: the next message, started; or the released lease, if nothing is left."""

    message: MailboxMessage | None
    is_released: bool


class FastPath:
    """Statements that are one commit each. All methods work on the connection of :meth:`Database.autocommit`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._claim = database.prepare(_claim)
        self._advance = database.prepare(_advance)
        self._finish_with_reply = database.prepare(_finish_with_reply)

    def claim(
        self, connection: Connection, conversation_key: str, process: str, token: str
    ) -> tuple[Lease, MailboxMessage | None] | None:
        """Claim a lease that nobody holds, and start the oldest message in the same statement.

        If the message is None, one may still have arrived while the lease was claimed.
        """
        values = {
            "key": conversation_key,
            "token": token,
            "process": process,
            "now": self._database.clock(),
            "begins": True,
        }
        row = self._claim(connection, {**values, "row": None, "reply": None}).fetchone()
        return None if row is None else (Lease(conversation_key, token, to_conversation(row[:6])), _to_message(row[6:]))

    def advance(
        self,
        connection: Connection,
        lease: Lease,
        *,
        message: MailboxMessage | None,
        handler: str,
        result: SendResult | None,
        begin_next: bool,
    ) -> AdvanceResult:
        """Mark ``message`` as done, save that a reply was sent, and start the next message or release the lease.

        The next message is started only with ``begin_next``; the lease is released only if nothing is left to do.
        Raises :class:`LeaseLost`.
        """
        values = {
            "key": lease.conversation_key,
            "held": lease.token,
            "now": self._database.clock(),
            "row": message.seq if message else None,
            "by": handler,
            "reply": result.reply.id if result else None,
            "named": result.platform_id if result else None,
            "begins": begin_next,
        }
        held, released, *started = self._advance(connection, values).fetchone()
        if not held:
            raise LeaseLost
        return AdvanceResult(_to_message(started), bool(released))

    def finish_with_reply(
        self, connection: Connection, lease: Lease, message: MailboxMessage, handler: str, draft: Draft
    ) -> OutboxMessage | None:
        """Store the only part of ``draft`` as being sent, and mark ``message`` as done, in one commit.

        Return None, with neither done, if another reply or a throttle precedes it or the lease is lost.
        """
        values = Outbox.make_row(draft, 0, draft.payloads[0], SENDING, self._database.clock())
        lease_values = {
            "key": lease.conversation_key,
            "held": lease.token,
            "now": values["created_at"],
            "row": message.seq,
            "by": handler,
        }
        account = account_key(lease.conversation.key)
        row = self._finish_with_reply(connection, {**values, **lease_values, "account": account}).fetchone()
        return OutboxMessage(*row) if row else None


def _to_message(row: Sequence[Any]) -> MailboxMessage | None:
    return None if row[0] is None else MailboxMessage(*row)
