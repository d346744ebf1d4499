"""The transactions of delivery as single statements of PostgreSQL, each for its simple case.

A message without a reply then costs one round trip, one with a reply two. All other cases run the statements of
``transactions``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from cometbot.delivery.transactions import Transactions
from cometbot.delivery.work import HandleMessage, Limits, MessageEnd, Released, SendReplies, StartNext, Work
from cometbot.store.delivery_store import DeliveryStore
from cometbot.store.fast_path import AdvanceResult, FastPath
from cometbot.store.leases import Lease
from cometbot.store.mailbox import MailboxMessage
from cometbot.store.outbox import SendAttempt, SendResult
from cometbot.store.tables import DONE


class SingleStatementTransactions(Transactions):
    """The transactions on a database whose statements may write to several tables (``supports_writable_ctes``)."""

    def __init__(self, store: DeliveryStore, *args: Any, **options: Any) -> None:
        super().__init__(store, *args, **options)
        self.fast_path = FastPath(store.database)

    def claim(self, conversation_key: str, token: str, limits: Limits, *, durable: bool) -> tuple[Lease, Work] | None:
        if not (limits.can_handle and limits.can_send):
            return super().claim(conversation_key, token, limits, durable=durable)

        def claim(connection: Any) -> tuple[Lease, MailboxMessage | None] | None:
            # The process may have begun to stop while this thread waited for a connection.
            if self._is_stopping():
                return None
            return self.fast_path.claim(connection, conversation_key, self.process.token, token)

        claimed = self._store.database.autocommit(claim, durable=durable)
        if claimed is None:
            return super().claim(conversation_key, token, limits, durable=durable)
        lease, message = claimed
        return lease, StartNext() if message is None else HandleMessage(message)

    def start_next(self, lease: Lease, results: Sequence[SendResult], limits: Limits, *, durable: bool) -> Work:
        if len(results) != 1 or not results[0].is_plain_success:
            return super().start_next(lease, results, limits, durable=durable)
        return self._advance(lease, limits, durable, result=results[0])

    def finish_message(self, lease: Lease, end: MessageEnd, limits: Limits, *, durable: bool) -> Work:
        if self._is_simple(lease, end):
            drafts = end.replies.drafts
            if not drafts:
                return self._advance(lease, limits, durable, message=end.message, handler=end.handler)
            finish = partial(
                self.fast_path.finish_with_reply,
                lease=lease,
                message=end.message,
                handler=end.handler,
                draft=drafts[0],
            )
            reply = self._retry_while_busy(self._store.database.autocommit, finish, durable=durable)
            if reply is not None:
                return SendReplies([SendAttempt(reply)])
        return super().finish_message(lease, end, limits, durable=durable)

    def _is_simple(self, lease: Lease, end: MessageEnd) -> bool:
        """Return True for a message that is done without state, with one reply to its own conversation or none."""
        replies = end.replies
        if (
            end.state != DONE
            or end.changes
            or end.dialog
            or end.decision
            or replies.steps
            or replies.marks
            or end.message.crash_count
            or end.joined
            or replies.results
            or replies.is_blocked
            or replies.stops
        ):
            return False
        if not self.channels.of(lease.conversation).can_send:
            return False
        return not replies.drafts or (
            len(replies.drafts) == 1
            and len(replies.drafts[0].payloads) == 1
            and replies.drafts[0].job is None
            and replies.drafts[0].conversation.key_text == lease.conversation_key
        )

    def _advance(
        self,
        lease: Lease,
        limits: Limits,
        durable: bool,
        *,
        message: MailboxMessage | None = None,
        handler: str = "",
        result: SendResult | None = None,
    ) -> Work:
        """Mark ``message`` as done or save ``result``, and start the next message or release the lease."""

        def advance(connection: Any) -> AdvanceResult:
            begin_next = limits.can_handle and not (limits.must_yield or self._is_stopping())
            return self.fast_path.advance(
                connection, lease, message=message, handler=handler, result=result, begin_next=begin_next
            )

        advanced = self._retry_while_busy(self._store.database.autocommit, advance, durable=durable)
        if advanced.message is not None:
            return HandleMessage(advanced.message)
        return Released() if advanced.is_released else StartNext()
