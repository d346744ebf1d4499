"""The request of AG-UI, ``RunAgentInput``: what it is for, and the key under which it is handled once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from cometbot.channels.agui.ids import make_digest, to_plain_id
from cometbot.models import Attachment, ClientTool

RequestKind = Literal["message", "resume", "tool"]


@dataclass(frozen=True, slots=True)
class InputMessage:
    """A message of the request. ``text`` and ``attachments`` are its content."""

    role: str
    id: str = ""
    text: str = ""
    attachments: tuple[Attachment, ...] = ()
    tool_call_id: str = ""

    @property
    def identity(self) -> list[Any]:
        """The content by which it is the same message, whatever id the client gives it."""
        return [self.role, self.text, [[item.url, item.mime_type] for item in self.attachments]]


@dataclass(frozen=True, slots=True)
class ResumeEntry:
    """The answer to an interrupt. ``payload`` is any JSON value."""

    interrupt_id: str
    is_cancelled: bool
    payload: Any

    @property
    def digest(self) -> str:
        """A digest of the answer: after one that did not fit, the question is open under the same id for another."""
        return make_digest(json.dumps([self.is_cancelled, self.payload], sort_keys=True))[:16]


@dataclass(frozen=True, slots=True)
class RunInput:
    """A request. ``is_versioned`` is true if the client speaks version 1.0 of the protocol or a newer one."""

    thread_id: str = ""
    run_id: str = ""
    messages: tuple[InputMessage, ...] = ()
    tools: tuple[ClientTool, ...] = ()
    resume: tuple[ResumeEntry, ...] = ()
    is_versioned: bool = False

    @property
    def kind(self) -> RequestKind | None:
        """The purpose of the request: an interrupt's answer, a tool's result, or a message; None for none of them."""
        if self.resume and not self.cancels_first:
            return "resume"
        if self.messages and self.messages[-1].role == "tool" and self.messages[-1].tool_call_id:
            return "tool"
        return "message" if self.find_message() is not None else None

    @property
    def cancels_first(self) -> bool:
        """True if it leaves interrupts unanswered, and has a message of the user after them: it is for both."""
        is_cancelled = bool(self.resume) and all(entry.is_cancelled for entry in self.resume)
        return is_cancelled and bool(self.messages) and self.messages[-1].role == "user"

    def find_message(self) -> int | None:
        """Return the index of the last message of the user, or None if there is none."""
        return next(
            (index for index in reversed(range(len(self.messages))) if self.messages[index].role == "user"), None
        )

    @property
    def event_key(self) -> str:
        """The key of the event that the request is; equal requests have the same one."""
        match self.kind:
            case "resume":
                return self.resume_key
            case "tool":
                return f"tool:{self.thread_id}:{to_plain_id(self.messages[-1].tool_call_id)}"
            case "message":
                return self.message_keys()[self.find_message() or 0]
        return ""

    @property
    def resume_key(self) -> str:
        """The key of the event that answers its first interrupt."""
        entry = self.resume[0]
        return f"resume:{self.thread_id}:{to_plain_id(entry.interrupt_id)}:{entry.digest}"

    def message_keys(self) -> list[str]:
        """Return the keys of all messages: each depends on the thread and on everything up to it, not on its id."""
        digest = hashlib.sha256(self.thread_id.encode("utf-8", "replace"))
        keys = []
        for message in self.messages:
            digest.update(json.dumps(message.identity).encode())
            keys.append(f"message:{digest.hexdigest()[:32]}")
        return keys
