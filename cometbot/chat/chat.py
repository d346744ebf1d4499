"""The entry point of the chat server, for channels that store their own conversations."""

from __future__ import annotations

from pathlib import Path

from cometbot.chat.conversations import Conversations
from cometbot.chat.feed_table import FeedTable
from cometbot.chat.files import MAX_TOTAL_SIZE, MIN_FREE_SPACE, Files
from cometbot.chat.live_feed import Feed
from cometbot.chat.messages import Events, Messages
from cometbot.chat.storage_quota import MAX_DATABASE_SIZE, StorageQuota
from cometbot.chat.users import Users
from cometbot.store.database import Database
from cometbot.store.purge import Purge

FEED_RETENTION = 86_400.0
"""The seconds for which a listener that was disconnected can catch up."""


class Chat:
    """Users, conversations, messages, events and files in ``database``, and the feed of their changes.

    Methods that read or write take the caller's connection, so that a view can store a message and enqueue it for
    delivery in one transaction. Writes return signals, which the caller passes to :meth:`Feed.publish` after the
    commit. Rows belong to a :class:`Scope`; no operation reaches beyond it. One instance for each process is enough.

    The content of files is stored in ``folder``: at most ``max_total_size`` bytes, and only while ``min_free`` bytes of
    its disk are free. :attr:`quota` limits what users store to ``max_size`` bytes of the whole database.
    """

    def __init__(
        self,
        database: Database,
        folder: Path,
        *,
        max_total_size: int = MAX_TOTAL_SIZE,
        min_free: int = MIN_FREE_SPACE,
        max_size: int = MAX_DATABASE_SIZE,
    ) -> None:
        self.database = database
        feed_table = FeedTable(database)
        self.users = Users(database, feed_table)
        self.conversations = Conversations(database, feed_table)
        self.messages = Messages(database, feed_table)
        self.events = Events(database, feed_table)
        self.files = Files(database, folder, max_total_size=max_total_size, min_free=min_free)
        self.quota = StorageQuota(database, max_size=max_size, min_free=min_free)
        self.feed = Feed(database, feed_table)
        self._feed_table = feed_table
        self._purge = Purge(database, "chat")

    def clean_up(self) -> None:
        """Remove old rows of the feed, one process at a time, and unused files."""
        before = int((self.database.clock() - FEED_RETENTION) * 1000)
        self._purge.run(lambda connection, limit: self._feed_table.purge(connection, before, limit))
        self.files.clean_up()

    def close(self) -> None:
        """End all listeners and their threads. The database stays open."""
        self.feed.close()
