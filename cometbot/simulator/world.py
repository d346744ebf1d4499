"""The state of the simulated app: its records, its clock, its log, and the lock that guards them."""

from __future__ import annotations

import random
import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cometbot.simulator.behaviour import Behaviour
from cometbot.simulator.conversation_views import ConversationViews
from cometbot.simulator.directory import Directory
from cometbot.simulator.journal import Journal
from cometbot.simulator.message_store import MessageStore
from cometbot.simulator.records import (
    AgentRecord,
    FileRecord,
    ModerationRule,
    StoredMessage,
    WebhookEvent,
    WebhookRecord,
)
from cometbot.simulator.serializers import Serializer

Clock = Callable[[], float]


class World:
    """State shared by the views, the actors and the relay.

    ``condition`` is the simulator's main lock. It is held for each whole operation and notified at each change. A
    thread that holds it may acquire the lock of a callback queue, but never the other way round.
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
        self.hold_message: Callable[[StoredMessage, Mapping[str, str] | None], bool] = lambda message, origin: False
        """Returns True if a new message waits for moderation, and is reported later. Called with the lock held."""
        self.generation = 0
        self.clear()

    def clear(self) -> None:
        """Delete every user, group, bot, agent, webhook, rule of moderation, message and file. The log stays."""
        with self.condition:
            self.generation += 1
            self.directory = Directory()
            self.message_store = MessageStore()
            self.serializer = Serializer(self.directory, self.message_store)
            self.agents: dict[str, AgentRecord] = {}
            self.webhooks: dict[str, WebhookRecord] = {}
            self.moderation_rules: dict[str, ModerationRule] = {}
            self.flagged: set[str] = set()
            """The ids of the messages that wait for the review of a moderator."""
            self.files: dict[str, FileRecord] = {}
            self.read_marks: dict[tuple[str, str], int] = {}
            self.delivered_marks: dict[tuple[str, str], int] = {}
            self.conversation_views = ConversationViews()
            self.contacts: dict[str, dict[str, str]] = {}
            self.condition.notify_all()

    def now(self) -> int:
        """Return the time in whole Unix seconds, as CometChat gives it."""
        return int(self.clock())

    def token(self, length: int = 16) -> str:
        """Return a random hexadecimal name. The same seed gives the same sequence of names."""
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
        """Log a change and notify bots and webhooks.

        Must be called with ``condition`` held, so that all receivers see the same order.
        """
        self.journal.add_change(self.clock(), trigger, data)
        self.on_event(WebhookEvent(trigger, data, message, action, origin or {"platform": "API"}))

    def visible_numbers(self, conversation: str, uid: str) -> Sequence[int]:
        """Return the ids of the messages of a conversation that ``uid`` has not deleted for themselves, ascending."""
        numbers = self.message_store.numbers(conversation)
        deleted_to = self.conversation_views.deleted_to(uid, conversation)
        return numbers[bisect_right(numbers, deleted_to) :] if deleted_to else numbers

    def is_participant(self, message: StoredMessage, uid: str) -> bool:
        """Return True if the user takes part in the conversation of the message."""
        if message.receiver_type == "user":
            return uid in (message.sender, message.receiver)
        group = self.directory.groups.get(message.receiver)
        return group is not None and uid in group.members

    def record_action(
        self, by: str, type: str, data: Mapping[str, Any], *, conversation: str, receiver_type: str, receiver: str
    ) -> StoredMessage:
        """Store the action message that records what ``by`` did, and return it."""
        now = self.now()
        return self.message_store.add(
            StoredMessage(
                id=self.message_store.next_id(),
                conversation_id=conversation,
                sender=by,
                receiver_type=receiver_type,
                receiver=receiver,
                category="action",
                type=type,
                data=data,
                sent_at=now,
                updated_at=now,
            )
        )


def conversation_id(receiver_type: str, sender: str, receiver: str) -> str:
    """Return the id of a conversation: both uids in ascending order (docs/protocols/cometchat.md, "Identifiers")."""
    if receiver_type == "group":
        return f"group_{receiver}"
    first, second = sorted((sender, receiver))
    return f"{first}_user_{second}"
