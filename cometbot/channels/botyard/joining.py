"""Several replies to one message as one message, for apps that show the newest reply alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cometbot.chat import ChatMessage

_BETWEEN = "\n\n"
_MARK = "#"


@dataclass(frozen=True, slots=True)
class Joined:
    """The parts that a bot's message is made of, each with what delivery calls it. ``answers`` is the id of the message
    that it replies to; one that replies to none stays alone."""

    answers: str
    parts: Sequence[tuple[str, str]]

    @classmethod
    def first(cls, answers: str, client_id: str, body: str) -> Joined:
        """A message of one part."""
        return cls(answers, [(client_id, body)])

    @classmethod
    def of(cls, message: ChatMessage) -> Joined:
        """The parts of a stored message."""
        kept = message.metadata or {}
        parts = [(str(client_id), str(body)) for client_id, body in kept.get("parts", ())]
        return cls(str(kept.get("answers", "")), parts or [(message.client_id, str(message.payload.get("body", "")))])

    @staticmethod
    def name(message_id: str, part: int) -> str:
        """What delivery calls the platform's id of a part."""
        return f"{message_id}{_MARK}{part}" if part else message_id

    @staticmethod
    def split(name: str) -> tuple[str, int]:
        """The message's id, and which part of it is meant."""
        message_id, _, part = name.partition(_MARK)
        return message_id, int(part) if part.isdigit() else 0

    @property
    def body(self) -> str:
        """The text of the whole message."""
        return _BETWEEN.join(body for _, body in self.parts if body)

    def place(self, client_id: str) -> int | None:
        """Which part was said under ``client_id``."""
        return next((place for place, (known, _) in enumerate(self.parts) if known == client_id), None)

    def with_part(self, answers: str, client_id: str, body: str) -> Joined | None:
        """With one more part; None if that replies to something else, or to nothing."""
        if not answers or answers != self.answers:
            return None
        return replace(self, parts=[*self.parts, (client_id, body)])

    def with_body(self, part: int, body: str) -> Joined:
        """With one part saying something else."""
        return replace(self, parts=[(known, body if n == part else old) for n, (known, old) in enumerate(self.parts)])

    def without(self, part: int) -> Joined:
        """With one part saying nothing."""
        return self.with_body(part, "")

    def to_metadata(self) -> dict[str, Any]:
        """What is kept of it beside the message."""
        return {"answers": self.answers, "parts": [list(part) for part in self.parts]}
