"""Merges several replies to one message into one message, for apps that show only the newest reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cometbot.chat import ChatMessage

_SEPARATOR = "\n\n"
_PART_MARK = "#"


@dataclass(frozen=True, slots=True)
class MergedReply:
    """The parts of a bot's message, each with delivery's client id.

    ``reply_to`` is the id of the message that it replies to. A message that replies to none is not merged.
    """

    reply_to: str
    parts: Sequence[tuple[str, str]]

    @classmethod
    def single(cls, reply_to: str, client_id: str, body: str) -> MergedReply:
        """Return a message of one part."""
        return cls(reply_to, [(client_id, body)])

    @classmethod
    def from_message(cls, message: ChatMessage) -> MergedReply:
        """Return the parts of a stored message."""
        metadata = message.metadata or {}
        parts = [(str(client_id), str(body)) for client_id, body in metadata.get("parts", ())]
        return cls(
            str(metadata.get("answers", "")), parts or [(message.client_id, str(message.payload.get("body", "")))]
        )

    @staticmethod
    def part_id(message_id: str, part: int) -> str:
        """Return the message id by which delivery knows a part."""
        return f"{message_id}{_PART_MARK}{part}" if part else message_id

    @staticmethod
    def split_part_id(part_id: str) -> tuple[str, int]:
        """Return the id of the message, and the index of the part."""
        message_id, _, part = part_id.partition(_PART_MARK)
        return message_id, int(part) if part.isdigit() else 0

    @property
    def body(self) -> str:
        """The text of the whole message."""
        return _SEPARATOR.join(body for _, body in self.parts if body)

    def part_index(self, client_id: str) -> int | None:
        """Return the index of the part with this client id, or None."""
        return next((index for index, (known, _) in enumerate(self.parts) if known == client_id), None)

    def with_part(self, reply_to: str, client_id: str, body: str) -> MergedReply | None:
        """Return a copy with one more part, or None if the part replies to another message or to none."""
        if not reply_to or reply_to != self.reply_to:
            return None
        return replace(self, parts=[*self.parts, (client_id, body)])

    def with_body(self, part: int, body: str) -> MergedReply:
        """Return a copy with another text of one part."""
        return replace(
            self, parts=[(known, body if index == part else old) for index, (known, old) in enumerate(self.parts)]
        )

    def to_metadata(self) -> dict[str, Any]:
        """Return the metadata that is stored with the message."""
        return {"answers": self.reply_to, "parts": [list(part) for part in self.parts]}
