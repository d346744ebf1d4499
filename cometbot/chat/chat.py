"""The chat server as a whole: what the channels with their own conversations build on."""

from __future__ import annotations

from pathlib import Path

from cometbot.chat.conversations import Conversations
from cometbot.chat.feed import FeedRows
from cometbot.chat.files import LEAST_FREE, MOST, Files
from cometbot.chat.listening import Feed
from cometbot.chat.messages import Events, Messages
from cometbot.chat.room import MAX_SIZE, Room
from cometbot.chat.users import Users
from cometbot.store.database import Database
from cometbot.store.purge import Purge

FEED_KEPT = 86_400.0
"""Seconds for which a listener that was away can catch up."""


class Chat:
    """Users, conversations, messages, events and files over ``database``, and the feed of what happens to them.

    What reads and what writes takes the caller's connection, so that a view can store a message and hand it to delivery
    in one transaction. What was written comes back as signals, for :meth:`Feed.publish` after the commit. Rows belong
    to a :class:`Scope`; nothing reaches out of it. One for each process is enough; the bytes of files go to ``folder``,
    at most ``most_bytes`` and only while ``least_free`` bytes of its disk are free. :attr:`room` holds users to
    ``max_size`` bytes of the whole database.
    """

    def __init__(
        self,
        database: Database,
        folder: Path,
        *,
        most_bytes: int = MOST,
        least_free: int = LEAST_FREE,
        max_size: int = MAX_SIZE,
    ) -> None:
        self.database = database
        kept = FeedRows(database)
        self.users = Users(database, kept)
        self.conversations = Conversations(database, kept)
        self.messages = Messages(database, kept)
        self.events = Events(database, kept)
        self.files = Files(database, folder, most=most_bytes, least_free=least_free)
        self.room = Room(database, max_size=max_size, min_free=least_free)
        self.feed = Feed(database, kept)
        self._kept = kept
        self._purge = Purge(database, "chat")

    def tidy(self) -> None:
        """Remove old rows of the feed, one process at a time, and unused files."""
        before = int((self.database.clock() - FEED_KEPT) * 1000)
        self._purge.run(lambda connection, limit: self._kept.purge(connection, before, limit))
        self.files.tidy()

    def close(self) -> None:
        """End all listeners, and what listens for them. The database stays open."""
        self.feed.close()
