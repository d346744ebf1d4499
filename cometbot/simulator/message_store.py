"""The messages of the simulated app, indexed by id, conversation, thread and muid."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cometbot.simulator.errors import Refusal
from cometbot.simulator.records import StoredMessage


class MessageStore:
    """All messages, in the order of their ids. Not thread-safe: callers must hold the world's lock."""

    def __init__(self) -> None:
        self._messages: dict[int, StoredMessage] = {}
        self._all_ids: list[int] = []
        self._conversations: defaultdict[str, list[int]] = defaultdict(list)
        self._threads: defaultdict[str, list[int]] = defaultdict(list)
        self._muids: dict[tuple[str, str], int] = {}
        self._last_id = 0
        self._last_sent_at = 0

    def __len__(self) -> int:
        return len(self._messages)

    def __getitem__(self, number: int) -> StoredMessage:
        return self._messages[number]

    def next_id(self) -> str:
        """Return an id greater than all before."""
        self._last_id += 1
        return str(self._last_id)

    def add(self, message: StoredMessage) -> StoredMessage:
        """Store a message and return it.

        Its ``sent_at`` never precedes that of an earlier one, even if the clock jumps.
        """
        self._last_sent_at = max(self._last_sent_at, message.sent_at)
        if message.sent_at < self._last_sent_at:
            message = replace(message, sent_at=self._last_sent_at, updated_at=self._last_sent_at)
        number = message.number
        self._messages[number] = message
        self._all_ids.append(number)
        self._conversations[message.conversation_id].append(number)
        if message.parent_id:
            self._threads[message.parent_id].append(number)
        if message.muid:
            self._muids.setdefault((message.sender, message.muid), number)
        return message

    def update(self, message: StoredMessage) -> StoredMessage:
        """Replace the message that has the same id and return ``message``."""
        self._messages[message.number] = message
        return message

    def remove(self, message: StoredMessage) -> None:
        """Remove a message permanently."""
        number = message.number
        del self._messages[number]
        lists = [self._all_ids, self._conversations[message.conversation_id]]
        if message.parent_id:
            lists.append(self._threads[message.parent_id])
        for numbers in lists:
            del numbers[bisect_left(numbers, number)]
        if self._muids.get((message.sender, message.muid)) == number:
            del self._muids[(message.sender, message.muid)]

    def get(self, message_id: str) -> StoredMessage:
        """Return the message with this id. Raises ``ERR_MESSAGE_ID_NOT_FOUND`` if there is none."""
        message = self.find(message_id)
        if message is None:
            raise Refusal("ERR_MESSAGE_ID_NOT_FOUND", f"The message with id {message_id} does not exist.")
        return message

    def find(self, message_id: str) -> StoredMessage | None:
        """Return the message with this id, or None."""
        is_number = message_id.isascii() and message_id.isdigit() and len(message_id) < 20
        return self._messages.get(int(message_id)) if is_number else None

    def find_by_muid(self, sender: str, muid: str) -> StoredMessage | None:
        """Return the first message that ``sender`` sent with this muid, or None."""
        return self._messages.get(self._muids.get((sender, muid), 0))

    def numbers(self, conversation_id: str = "", parent_id: str = "") -> Sequence[int]:
        """Return the ids of one thread, one conversation or all messages, ascending.

        The result is not a copy: it changes when messages are added or removed.
        """
        if parent_id:
            return self._threads.get(parent_id, ())
        if conversation_id:
            return self._conversations.get(conversation_id, ())
        return self._all_ids

    def messages(self, conversation_id: str = "", *, after: int = 0) -> Iterator[StoredMessage]:
        """Return the messages of one conversation, or all, with a greater number than ``after``, oldest first."""
        numbers = self.numbers(conversation_id)
        places = range(bisect_right(numbers, after), len(numbers))
        return (self._messages[numbers[place]] for place in places)

    def conversation_ids(self) -> list[str]:
        """Return the ids of all conversations that have messages."""
        return [conversation for conversation, numbers in self._conversations.items() if numbers]
