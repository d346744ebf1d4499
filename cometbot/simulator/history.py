"""Cursors and filters of a history query: docs/protocols/cometchat.md, "History queries"."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from cometbot.simulator.records import APP_SYSTEM, StoredMessage
from cometbot.simulator.world import World

DEFAULT_LIMIT = 10

_LINK = re.compile(r"https?://\S")

Predicate = Callable[[StoredMessage], bool]


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """One page, oldest message first. ``affix`` gives the direction of the next page."""

    messages: Sequence[StoredMessage]
    affix: str
    limit: int

    def meta(self) -> dict[str, Any]:
        """Return the ``meta`` of the response. It has no ``next`` if this was the last page."""
        meta: dict[str, Any] = {"current": {"limit": self.limit, "count": len(self.messages)}}
        if len(self.messages) == self.limit:
            edge = self.messages[-1 if self.affix == "append" else 0]
            meta["next"] = {"affix": self.affix, "id": edge.id, "sentAt": edge.sent_at}
        return meta


def select_page(
    world: World, numbers: Sequence[int], query: Mapping[str, Any], *, viewer: str, involving: str = APP_SYSTEM
) -> HistoryPage:
    """Return the page of ``numbers`` (ascending ids) that ``query`` selects.

    ``append`` selects the messages right after the cursor and ``prepend`` those right before it. ``prepend`` without a
    cursor selects the newest. ``involving`` excludes conversations in which this user does not take part.
    """
    tests = list(_predicates(world, query, viewer))
    if involving != APP_SYSTEM:
        tests.append(lambda message: world.is_participant(message, involving) and _is_kept(world, message, involving))
    limit = query["limit"] or query["perPage"] or DEFAULT_LIMIT
    candidates = (world.message_store[number] for number in _ids_from_cursor(world, numbers, query))
    chosen = list(islice((message for message in candidates if all(test(message) for test in tests)), limit))
    if query["affix"] == "prepend":
        chosen.reverse()
    return HistoryPage(chosen, query["affix"], limit)


def _is_kept(world: World, message: StoredMessage, uid: str) -> bool:
    return message.number > world.conversation_views.deleted_to(uid, message.conversation_id)


def _ids_from_cursor(world: World, numbers: Sequence[int], query: Mapping[str, Any]) -> Iterable[int]:
    """Return the ids on the query's side of the cursor, nearest first."""
    forward = query["affix"] == "append"
    bisect = bisect_right if forward else bisect_left
    edge = 0 if forward else len(numbers)
    if query["id"]:
        edge = bisect(numbers, query["id"])
    elif query["sentAt"]:
        edge = bisect(numbers, query["sentAt"], key=lambda number: world.message_store[number].sent_at)
    places = range(edge, len(numbers)) if forward else range(edge - 1, -1, -1)
    return (numbers[place] for place in places)


def _predicates(world: World, query: Mapping[str, Any], viewer: str) -> Iterable[Predicate]:
    for name, value in query.items():
        if name in _FILTERS:
            yield _bind(_FILTERS[name], value)
        elif name == "myMentionsOnly" and value:
            yield _bind(_FILTERS["mentionedUids"], [viewer])
        elif name == "unread" and value:
            yield _newer_than(world.read_marks, viewer)
        elif name == "undelivered" and value:
            yield _newer_than(world.delivered_marks, viewer)


def _bind(test: Callable[[StoredMessage, Any], bool], value: Any) -> Predicate:
    return lambda message: test(message, value)


def _newer_than(marks: Mapping[tuple[str, str], int], viewer: str) -> Predicate:
    def test(message: StoredMessage) -> bool:
        return message.sender != viewer and message.number > marks.get((viewer, message.conversation_id), 0)

    return test


_FILTERS: Mapping[str, Callable[[StoredMessage, Any], bool]] = {
    "category": lambda message, value: message.category == value,
    "categories": lambda message, values: message.category in values,
    "type": lambda message, value: message.type == value,
    "types": lambda message, values: message.type in values,
    "sender": lambda message, value: message.sender == value.lower(),
    "receiverType": lambda message, value: message.receiver_type == value,
    "conversationId": lambda message, value: message.conversation_id == value,
    "tags": lambda message, values: bool(set(values) & set(message.tags)),
    "searchKey": lambda message, value: value.lower() in message.text.lower(),
    "hasAttachments": lambda message, wanted: bool(message.attachments) == wanted,
    "attachmentTypes": lambda message, values: bool(message.attachments) and message.type in values,
    "hasMentions": lambda message, wanted: bool(message.mentions) == wanted,
    "mentionedUids": lambda message, values: bool({value.lower() for value in values} & set(message.mentions)),
    "hasLinks": lambda message, wanted: bool(_LINK.search(message.text)) == wanted,
    "hasReactions": lambda message, wanted: bool(message.reactions) == wanted,
    "hideReplies": lambda message, hidden: not (hidden and message.parent_id),
    "hideDeleted": lambda message, hidden: not (hidden and message.deleted_at),
    "onlyDeleted": lambda message, wanted: bool(message.deleted_at) or not wanted,
    "fromTimestamp": lambda message, value: message.sent_at >= value,
    "toTimestamp": lambda message, value: message.sent_at <= value,
}
