"""The reply sink of a running handler: it stores operations in the outbox, then sends them to the platform."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Connection

from cometbot.context import ReplySink
from cometbot.delivery.sending import SendAttempt
from cometbot.errors import LeaseLost
from cometbot.events import MessageEvent
from cometbot.messages import Capabilities, Operation
from cometbot.models import Conversation
from cometbot.store.leases import Lease
from cometbot.store.mailbox import MailboxMessage
from cometbot.store.outbox import READY, SENDING, Draft, SendResult

if TYPE_CHECKING:
    from cometbot.bot import Bot
    from cometbot.delivery.conversation_runner import Runtime

log = logging.getLogger(__name__)

FIRST_FAILURE_ORDINAL = 1_000_000
"""The first ordinal of replies that are sent because a handler failed."""


class OutboxReplySink(ReplySink):
    """Stores what the handler of one event replies and does (see ``context.ReplySink``).

    Ordinals are assigned in the order of the calls. If an earlier run of the same event stored a reply under an
    ordinal, that reply is kept and the new one dropped, so that the replies of two runs never mix.
    """

    def __init__(self, runtime: Runtime, lease: Lease, message: MailboxMessage) -> None:
        self._runtime = runtime
        self._store = runtime.store
        self._lease = lease
        self._message = message
        self._channel = runtime.channels[lease.conversation.channel]
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
        outbox, message = self._store.outbox, self._message
        for reply in self._runtime.read(
            lambda connection: outbox.list_for_event(connection, message.event_id, message.generation)
        ):
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
        if self._is_closed:
            raise LeaseLost
        self._runtime.handlers.register(self._lease, self._message, self, handler, timeout)

    def mark_failed(self) -> None:
        with self._guard:
            self._next_ordinal = max(self._next_ordinal, FIRST_FAILURE_ORDINAL)

    def conversation(self, bot: Bot, user: str, group: str) -> Conversation:
        return self._channel.conversation(bot, user=user, group=group)

    def load_state(self, scope: str, owner: str) -> dict[str, str]:
        if self._message.conversation_state is not None and (scope, owner) == (
            "conversation",
            self._lease.conversation_key,
        ):
            return dict(self._message.conversation_state)
        return self._runtime.read(lambda connection: self._store.state.load(connection, scope, owner))

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        return self._channel.history(conversation, limit)

    def platform_id(self, ordinal: int) -> str | None:
        return self._platform_ids.get(ordinal)

    def preview(self, ordinal: int, text: str) -> None:
        message_id = self._platform_ids.get(ordinal)
        if message_id and not self._is_closed and self._runtime.process.lease_time_left() > 0:
            with suppress(Exception):
                self._channel.preview(self._lease.conversation, message_id, text)

    def stream_delta(self, stream_id: str, sequence: int, text: str | None) -> None:
        if not self._is_closed and self._runtime.process.lease_time_left() > 0:
            with suppress(Exception):
                self._channel.stream_delta(self._lease.conversation, stream_id, sequence, text)

    def post(self, operation: Operation) -> int:
        draft = self.draft(operation)
        if draft is None:
            return self._next_ordinal - 1
        attempts = self.commit([draft], [operation])
        if attempts:
            self.add_results(self._runtime.sender.send_all(self._lease, attempts))
        return draft.ordinal

    def draft(self, operation: Operation) -> Draft | None:
        """Return the rendered operation under the next ordinal, or None if that ordinal is stored already."""
        with self._guard:
            ordinal, self._next_ordinal = self._next_ordinal, self._next_ordinal + 1
        if ordinal in self._stored_ordinals:
            return None
        payloads = self._channel.render(operation)
        conversation_key = str(operation.conversation.key)
        return Draft(
            self._message.event_id, self._message.generation, ordinal, conversation_key, payloads, operation.target
        )

    def commit(
        self,
        drafts: Sequence[Draft],
        operations: Iterable[Operation],
        also: Callable[[Connection, bool], None] = lambda connection, sends: None,
    ) -> list[SendAttempt]:
        """Store drafts, pending results and the writes of ``also`` in one durable commit.

        ``also`` receives True if something is to be sent now. Return the replies to send now, in order. The commit is
        retried while the database does not accept it and the lease holds. Raises :class:`LeaseLost`.
        """
        other_conversations = {str(operation.conversation.key): operation.conversation for operation in operations}
        other_conversations.pop(self._lease.conversation_key, None)

        def work(connection: Connection) -> tuple[list[SendAttempt], int]:
            saved_count = self._lock_and_save(connection, other_conversations)
            attempts = self._add_drafts(connection, drafts)
            also(connection, bool(attempts))
            return attempts, saved_count

        attempts, noted = self._runtime.persist(work)
        with self._guard:
            del self._pending_results[:noted]
        for conversation_key in other_conversations:
            self._runtime.notify(conversation_key, to_send=True)
        return attempts

    def _lock_and_save(self, connection: Connection, other_conversations: Mapping[str, Conversation]) -> int:
        """Save the pending results, and return their number.

        The rows of this conversation and of those that receive something are locked in the same order everywhere, so
        that no two runners deadlock.
        """
        if self._is_closed:
            raise LeaseLost
        for conversation_key in sorted([self._lease.conversation_key, *other_conversations]):
            if conversation_key == self._lease.conversation_key:
                self._store.leases.check(connection, self._lease)
            else:
                self._store.leases.mark_pending(connection, other_conversations[conversation_key])
        results = self.pending_results
        self._store.save_results(connection, self._lease, results)
        return len(results)

    def _add_drafts(self, connection: Connection, drafts: Sequence[Draft]) -> list[SendAttempt]:
        own_drafts = [draft for draft in drafts if draft.conversation_key == self._lease.conversation_key]
        self._store.outbox.add(
            connection, [draft for draft in drafts if draft.conversation_key != self._lease.conversation_key]
        )
        if not own_drafts:
            return []
        can_send, is_trial = self._check_can_send(connection)
        stored = self._store.outbox.add(connection, own_drafts, SENDING if can_send else READY)
        return [SendAttempt(reply, is_trial=is_trial) for reply in stored] if can_send else []

    def _check_can_send(self, connection: Connection) -> tuple[bool, bool]:
        """Return True if nothing precedes this conversation's next reply, and True if that reply is a trial request."""
        if not self._channel.can_send or self._is_blocked:
            return False, False
        if self._store.outbox.get_next(connection, self._lease.conversation_key) is not None:
            return False, False
        throttle = self._store.throttles.acquire(
            connection, self._lease.conversation.key, self._runtime.sender.policy.timeout
        )
        return throttle.seconds <= 0, throttle.is_trial

    @property
    def is_clean(self) -> bool:
        """True if the next commit has no pending results to save, and nothing prevents sending."""
        with self._guard:
            return self._channel.can_send and not (self._pending_results or self._is_blocked or self._is_closed)

    def add_results(self, results: Iterable[SendResult]) -> None:
        """Hold the results of sends until the next commit saves them."""
        with self._guard:
            for result in results:
                self._pending_results.append(result)
                self._is_blocked = self._is_blocked or not result.is_final
                if result.reply.part == 0:
                    self._platform_ids[result.reply.ordinal] = result.platform_id

    @property
    def pending_results(self) -> list[SendResult]:
        """The results of sends that are not in the database yet."""
        with self._guard:
            return list(self._pending_results)

    def close(self) -> None:
        """Refuse further operations: the conversation continues without this handler."""
        self._is_closed = True
