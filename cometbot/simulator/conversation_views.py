"""Each user's view of their conversations: tags, pins, and the message up to which they deleted them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cometbot.simulator.errors import Refusal

MAX_PINS = 5

Peer = tuple[str, str]
"""The other side of a conversation: ``user`` and a uid, or ``group`` and a guid."""


@dataclass(slots=True)
class ConversationViews:
    """The conversations' tags, pins and deletions. Not thread-safe: callers must hold the world's lock.

    Keys are pairs of a uid and a conversation's id. ``app_pins`` are those of the app for all users, in their order,
    with the time of each.
    """

    tags: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    app_pins: dict[Peer, int] = field(default_factory=dict)
    _pins: dict[tuple[str, str], int] = field(default_factory=dict)
    _deleted_to: dict[tuple[str, str], int] = field(default_factory=dict)

    def deleted_to(self, uid: str, conversation: str) -> int:
        """Return the id of the newest message that the user has deleted with the conversation, or 0."""
        return self._deleted_to.get((uid, conversation), 0)

    def delete(self, uid: str, conversation: str, newest: int) -> None:
        """Delete a conversation for one user, with its tags and its pin."""
        self._deleted_to[(uid, conversation)] = newest
        self.tags.pop((uid, conversation), None)
        self._pins.pop((uid, conversation), None)

    def pinned_at(self, uid: str, conversation: str) -> int:
        """Return when the user pinned the conversation, or 0."""
        return self._pins.get((uid, conversation), 0)

    def pin(self, uid: str, conversation: str, now: int) -> None:
        """Pin a conversation for one user; do nothing if it is pinned."""
        if (uid, conversation) in self._pins:
            return
        if sum(owner == uid for owner, _ in self._pins) >= MAX_PINS:
            raise Refusal(
                "ERR_PINNED_CONVERSATIONS_LIMIT_EXCEEDED", f"A user can pin at most {MAX_PINS} conversations."
            )
        self._pins[(uid, conversation)] = now

    def unpin(self, uid: str, conversation: str) -> None:
        """Remove the user's pin, if there is one."""
        self._pins.pop((uid, conversation), None)

    def replace_app_pins(self, peers: Sequence[Peer], now: int) -> None:
        """Replace the pins of the app. Those that stay keep their time."""
        if len(peers) > MAX_PINS:
            code = "ERR_SYSTEM_PINNED_CONVERSATIONS_LIMIT_EXCEEDED"
            raise Refusal(code, f"An app can pin at most {MAX_PINS} conversations.")
        self.app_pins = {peer: self.app_pins.get(peer, now) for peer in peers}
