"""Several replies to one message as one message, for apps that show the newest reply alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cometbot.chat import ChatMessage

_SEPARATOR = "\n\n"
_PART_MARK = "#"


@dataclass(frozen=True, slots=True)
class MergedReply:
    """The parts that a bot's message is made of, each with what delivery calls it. ``answers`` is the id of the message
    that it replies to; one that replies to none stays alone."""

    reply_to: str
    parts: Sequence[tuple[str, str]]

    @classmethod
    def single(cls, reply_to: str, client_id: str, body: str) -> MergedReply:
        """A message of one part."""
        return cls(reply_to, [(client_id, body)])

    @classmethod
    def from_message(cls, message: ChatMessage) -> MergedReply:
        """The parts of a stored message."""
        metadata = message.metadata or {}
        parts = [(str(client_id), str(body)) for client_id, body in metadata.get("parts", ())]
        return cls(
            str(metadata.get("answers", "")), parts or [(message.client_id, str(message.payload.get("body", "")))]
        )

    @staticmethod
    def part_id(message_id: str, part: int) -> str:
        """What delivery calls the platform's id of a part."""
        return f"{message_id}{_PART_MARK}{part}" if part else message_id

    @staticmethod
    def split_part_id(part_id: str) -> tuple[str, int]:
        """The message's id, and which part of it is meant."""
        message_id, _, part = part_id.partition(_PART_MARK)
        return message_id, int(part) if part.isdigit() else 0

    @property
    def body(self) -> str:
        """The text of the whole message."""
        return _SEPARATOR.join(body for _, body in self.parts if body)

    def part_index(self, client_id: str) -> int | None:
        """Which part was said under ``client_id``."""
        return next((place for place, (known, _) in enumerate(self.parts) if known == client_id), None)

    def with_part(self, reply_to: str, client_id: str, body: str) -> MergedReply | None:
        """With one more part; None if that replies to something else, or to nothing."""
        if not reply_to or reply_to != self.reply_to:
            return None
        return replace(self, parts=[*self.parts, (client_id, body)])

    def with_body(self, part: int, body: str) -> MergedReply:
        """With one part saying something else."""
        return replace(self, parts=[(known, body if n == part else old) for n, (known, old) in enumerate(self.parts)])

    def without(self, part: int) -> MergedReply:
        """With one part saying nothing."""
        return self.with_body(part, "")

    def to_metadata(self) -> dict[str, Any]:
        """What is kept of it beside the message."""
        return {"answers": self.reply_to, "parts": [list(part) for part in self.parts]}
