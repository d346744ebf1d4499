"""The entry point of the chat server, for channels that store their own conversations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cometbot.chat.conversations import Conversations
from cometbot.chat.feed_table import FeedTable
from cometbot.chat.files import Files
from cometbot.chat.live_feed import Feed
from cometbot.chat.messages import Events, Messages
from cometbot.chat.models import ChatConversation, Data, Scope, Signal
from cometbot.chat.storage_quota import StorageLimits, StorageQuota
from cometbot.chat.users import Users
from cometbot.models import Conversation
from cometbot.presses import PRESS_SCOPE
from cometbot.store.database import ACK_TIMEOUT, Database, Transaction
from cometbot.store.erasure import Erasure
from cometbot.store.purge import Purge
from cometbot.store.state import StateTable

T = TypeVar("T")

FEED_RETENTION = 86_400.0
"""The seconds for which a listener that was disconnected can catch up."""

DELETE_BATCH_SIZE = 20
"""The conversations that are deleted at once."""


@dataclass(frozen=True, slots=True)
class DeliveryRecords:
    """The conversations under which delivery stores what belongs to one conversation of the chat server.

    ``earlier`` hold replies that were sent before the conversation existed. ``webhook`` holds requests to a webhook;
    those whose ``type`` is in ``content_free_types`` contain nothing that anybody wrote, and are still sent.
    """

    conversation: Conversation
    earlier: Sequence[Conversation]
    webhook: Conversation
    content_free_types: Collection[str] = ()

    def is_content(self, payload: Data) -> bool:
        """Return whether a request to the webhook contains something that a user or the bot wrote."""
        return payload.get("type") not in self.content_free_types


class Chat:
    """Users, conversations, messages, events and files in ``database``, and the feed of their changes.

    Methods that read or write take the caller's connection, so that a view can store a message and enqueue it for
    delivery in one transaction. :meth:`commit` runs such a transaction and publishes its signals. Rows belong to a
    :class:`Scope`; no operation reaches beyond it. One instance for each process is enough.

    The content of files is stored in ``folder``. :attr:`quota` limits what users store.
    """

    def __init__(self, database: Database, folder: Path, limits: StorageLimits = StorageLimits()) -> None:  # noqa: B008
        self.database = database
        self.feed_table = FeedTable(database)
        self.users = Users(database, self.feed_table)
        self.conversations = Conversations(database, self.feed_table)
        self.messages = Messages(database, self.feed_table)
        self.events = Events(database, self.feed_table)
        self.files = Files(database, folder, limits)
        self.quota = StorageQuota(database, limits)
        self.feed = Feed(database, self.feed_table)
        self.erasure = Erasure(database)
        self._state = StateTable(database)
        self._purge = Purge(database, "chat")

    def commit(
        self, work: Callable[[Transaction], T], *, durable: bool = True, timeout: float | None = ACK_TIMEOUT
    ) -> T:
        """Return the result of ``work``, run in one transaction. Its signals are published after the commit.

        ``work`` may be called again after a rollback. Raises any exception of ``work``, and :class:`StoreBusy`.
        """

        def attempt(connection: Transaction) -> tuple[T, list[Signal]]:
            with self.feed_table.collect(connection) as signals:
                return work(connection), signals

        result, signals = self.database.group_commit(attempt, durable=durable, timeout=timeout)
        self.feed.publish(signals)
        return result

    def delete_conversations(
        self,
        connection: Transaction,
        found: Iterable[ChatConversation],
        records_of: Callable[[ChatConversation], DeliveryRecords],
    ) -> int:
        """Delete conversations with the bots' state and delivery's records of them. Return the number of those deleted.

        The rows of the conversations are deleted first: this locks out new messages, and earlier ones are found.
        """
        deleted = [records_of(item) for item in found if self.conversations.delete(connection, item.scope, item.id)]
        self.erase_deleted(connection, [records.conversation for records in deleted])
        for records in deleted:
            for conversation in records.earlier:
                self.erasure.clear_sent_replies(connection, str(conversation.key))
            self.erasure.clear_replies(connection, str(records.webhook.key), records.is_content)
        return len(deleted)

    def delete_owned_conversations(
        self,
        connection: Transaction,
        scope: Scope,
        owner: str,
        records_of: Callable[[ChatConversation], DeliveryRecords],
    ) -> None:
        """Delete all conversations of ``owner`` like :meth:`delete_conversations`."""
        while found := self.conversations.list_owned(connection, scope, owner, limit=DELETE_BATCH_SIZE).items:
            self.delete_conversations(connection, found, records_of)

    def erase_deleted(self, connection: Transaction, conversations: Collection[Conversation]) -> None:
        """Erase delivery's records and the bots' state of deleted conversations."""
        conversation_keys = [str(conversation.key) for conversation in conversations]
        self.erasure.erase(connection, conversation_keys)
        for conversation_key in conversation_keys:
            self._state.delete(connection, "conversation", conversation_key)
            self._state.delete(connection, PRESS_SCOPE, conversation_key)

    def clean_up(self) -> None:
        """Remove old rows of the feed, one process at a time, and unused files."""
        before = int((self.database.clock() - FEED_RETENTION) * 1000)
        self._purge.run(lambda connection, limit: self.feed_table.purge(connection, before, limit))
        self.files.clean_up()

    def close(self) -> None:
        """End all listeners and their threads. The database stays open."""
        self.feed.close()
