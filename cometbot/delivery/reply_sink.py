"""The reply sink of a running handler: it stores operations in the outbox, then sends them to the platform."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cometbot.channels.base import Channel
from cometbot.context import ReplySink
from cometbot.delivery.handler_registry import HandlerRegistry
from cometbot.delivery.transactions import ReplyBatch, Transactions
from cometbot.errors import LeaseLost
from cometbot.events import MessageEvent
from cometbot.messages import Capabilities, Operation
from cometbot.models import Conversation
from cometbot.store.leases import Lease
from cometbot.store.mailbox import MailboxMessage
from cometbot.store.outbox import Draft, SendAttempt, SendResult

if TYPE_CHECKING:
    from cometbot.bot import Bot

FIRST_FAILURE_ORDINAL = 1_000_000
"""The first ordinal of replies that are sent because a handler failed."""


class OutboxReplySink(ReplySink):
    """Stores what the handler of one event replies and does (see ``context.ReplySink``).

    Ordinals are assigned in the order of the calls. If an earlier run of the same event stored a reply under an
    ordinal, that reply is kept and the new one dropped, so that the replies of two runs never mix.
    """

    def __init__(
        self,
        transactions: Transactions,
        handlers: HandlerRegistry,
        channel: Channel,
        lease: Lease,
        message: MailboxMessage,
        *,
        send_all: Callable[[Lease, Sequence[SendAttempt]], list[SendResult]],
    ) -> None:
        self._transactions = transactions
        self._handlers = handlers
        self._channel = channel
        self._lease = lease
        self._message = message
        self._send_all = send_all
        self._guard = threading.Lock()
        self._next_ordinal = 0
        self._pending_results: list[SendResult] = []
        self._platform_ids: dict[int, str | None] = {}
        self._stored_ordinals: set[int] = set()
        self._is_blocked = False
        self._is_closed = False
        if message.is_rerun:
            self._load_stored_replies()

    def _load_stored_replies(self) -> None:
        for reply in self._transactions.list_replies(self._message):
            self._stored_ordinals.add(reply.ordinal)
            if reply.part == 0:
                self._platform_ids[reply.ordinal] = reply.platform_id

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of the channel.

        ``stream_interval`` is None if another process sends: then no message exists here that could be edited.
        """
        capabilities = self._channel.capabilities
        return capabilities if self._channel.can_send else replace(capabilities, stream_interval=None)

    @property
    def client(self) -> Any:
        return self._channel.client(self._lease.conversation.bot)

    def start_handler(self, handler: str, timeout: float | None) -> None:
        self._check_open()
        self._handlers.register(self._lease, self._message, self, handler, timeout)

    def mark_failed(self) -> None:
        with self._guard:
            self._next_ordinal = max(self._next_ordinal, FIRST_FAILURE_ORDINAL)

    def conversation(self, bot: Bot, user: str, group: str) -> Conversation:
        return self._channel.conversation(bot, user=user, group=group)

    def load_state(self, scope: str, owner: str) -> dict[str, str]:
        loaded = self._message.conversation_state
        if loaded is not None and (scope, owner) == ("conversation", self._lease.conversation_key):
            return dict(loaded)
        return self._transactions.load_state(scope, owner)

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        return self._channel.history(conversation, limit)

    def platform_id(self, ordinal: int) -> str | None:
        return self._platform_ids.get(ordinal)

    def preview(self, ordinal: int, text: str) -> None:
        message_id = self._platform_ids.get(ordinal)
        if message_id and not self._is_closed and self._transactions.process.lease_time_left() > 0:
            with suppress(Exception):
                self._channel.preview(self._lease.conversation, message_id, text)

    def stream_delta(self, stream_id: str, sequence: int, text: str | None) -> None:
        if not self._is_closed and self._transactions.process.lease_time_left() > 0:
            with suppress(Exception):
                self._channel.stream_delta(self._lease.conversation, stream_id, sequence, text)

    def post(self, operation: Operation) -> int:
        """Store an operation in a durable commit, send it if its turn has come, and return its ordinal."""
        ordinal = self._assign_ordinal()
        if ordinal in self._stored_ordinals:
            return ordinal
        draft = self._render(operation, ordinal)
        batch = self.batch([draft])
        attempts = self._transactions.store_replies(self._lease, batch, durable=True)
        self._discard_saved(batch.results)
        if attempts:
            self._add_results(self._send_all(self._lease, attempts))
        return ordinal

    def draft(self, operation: Operation) -> Draft | None:
        """Return the rendered operation under the next ordinal, or None if that ordinal is stored already."""
        ordinal = self._assign_ordinal()
        return None if ordinal in self._stored_ordinals else self._render(operation, ordinal)

    def batch(self, drafts: Sequence[Draft]) -> ReplyBatch:
        """Return ``drafts`` with everything else that the next commit must store. Raises :class:`LeaseLost`."""
        self._check_open()
        with self._guard:
            return ReplyBatch(drafts, tuple(self._pending_results), self._is_blocked)

    @property
    def pending_results(self) -> Sequence[SendResult]:
        """The results of sends that are not in the database yet."""
        with self._guard:
            return tuple(self._pending_results)

    def close(self) -> None:
        """Refuse further operations: the conversation continues without this handler."""
        self._is_closed = True

    def _assign_ordinal(self) -> int:
        with self._guard:
            ordinal, self._next_ordinal = self._next_ordinal, self._next_ordinal + 1
            return ordinal

    def _render(self, operation: Operation, ordinal: int) -> Draft:
        message, payloads = self._message, self._channel.render(operation)
        return Draft(message.event_id, message.generation, ordinal, operation.conversation, payloads, operation.target)

    def _check_open(self) -> None:
        if self._is_closed:
            raise LeaseLost

    def _add_results(self, results: Iterable[SendResult]) -> None:
        """Hold the results of sends until the next commit saves them."""
        with self._guard:
            for result in results:
                self._pending_results.append(result)
                self._is_blocked = self._is_blocked or not result.is_final
                if result.reply.part == 0:
                    self._platform_ids[result.reply.ordinal] = result.platform_id

    def _discard_saved(self, saved: Sequence[SendResult]) -> None:
        """Forget the results that a commit has saved; a handler's threads may commit at the same time."""
        with self._guard:
            self._pending_results = [result for result in self._pending_results if result not in saved]
