"""The simulated app as one thing: its records, its clock, its log, and the lock that all of it is under."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from typing import Any

from cometbot.simulator.behaviour import Behaviour
from cometbot.simulator.directory import Directory
from cometbot.simulator.journal import Journal
from cometbot.simulator.message_store import MessageStore
from cometbot.simulator.records import FileRecord, StoredMessage, WebhookEvent, WebhookRecord
from cometbot.simulator.serializers import Serializer

Clock = Callable[[], float]


class World:
    """What the views, the actors and the relay share.

    ``condition`` is the one lock of the simulator, held for each whole act, and notified at each change. Whoever holds
    it may take a lane's lock, never the other way round.
    """

    def __init__(
        self, *, app_id: str, region: str, behaviour: Behaviour, clock: Clock, seed: int, log_size: int
    ) -> None:
        self.app_id = app_id
        self.region = region
        self.behaviour = behaviour
        self.clock = clock
        self.random = random.Random(seed)
        self.condition = threading.Condition()
        self.journal = Journal(log_size, self.condition)
        self.on_event: Callable[[WebhookEvent], None] = lambda event: None
        self.generation = 0
        self.clear()

    def clear(self) -> None:
        """Forget every user, group, bot, webhook, message and file. The log stays."""
        with self.condition:
            self.generation += 1
            self.directory = Directory()
            self.message_store = MessageStore()
            self.serializer = Serializer(self.directory, self.message_store)
            self.webhooks: dict[str, WebhookRecord] = {}
            self.files: dict[str, FileRecord] = {}
            self.read_marks: dict[tuple[str, str], int] = {}
            self.delivered_marks: dict[tuple[str, str], int] = {}
            self.contacts: dict[str, dict[str, str]] = {}
            self.condition.notify_all()

    def now(self) -> int:
        """The time in whole Unix seconds, as CometChat gives it."""
        return int(self.clock())

    def token(self, length: int = 16) -> str:
        """A name that nobody else has; the same row of names for the same seed."""
        return f"{self.random.getrandbits(length * 4):0{length}x}"

    def emit(
        self,
        trigger: str,
        data: Mapping[str, Any],
        *,
        message: StoredMessage | None = None,
        action: StoredMessage | None = None,
        origin: Mapping[str, str] | None = None,
    ) -> None:
        """Log a change and tell whoever must be told. Called with ``condition`` held, so that all see one order."""
        self.journal.add_change(self.clock(), trigger, data)
        self.on_event(WebhookEvent(trigger, data, message, action, origin or {"platform": "API"}))


def conversation_id(receiver_type: str, sender: str, receiver: str) -> str:
    """The id of a conversation: both uids in ascending order (docs/protocols/cometchat.md, "Identifiers")."""
    if receiver_type == "group":
        return f"group_{receiver}"
    first, second = sorted((sender, receiver))
    return f"{first}_user_{second}"
