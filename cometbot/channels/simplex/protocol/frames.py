"""WebSocket frames: outgoing commands, and incoming answers and events in the formats of all releases of the CLI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from cometbot.channels.simplex.protocol.command import Command
from cometbot.lenient_json import load_json

FRAME_LIMIT = 64 * 1024 * 1024
"""Maximum bytes of an incoming frame. Lists of contacts contain pictures and reach many megabytes."""

ERROR_TAG = "chatCmdError"


@dataclass(frozen=True, slots=True)
class Record:
    """An answer or an event: its tag, and the whole object, unknown fields included."""

    type: str
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_object(cls, value: object) -> Record | None:
        """Return the record in a ``resp``, flat or as ``{"Right": …}``; None if it is not a record."""
        for _ in range(2):
            if not isinstance(value, dict):
                return None
            tag = value.get("type")
            if isinstance(tag, str) and tag:
                return cls(tag, value)
            if tag is not None:
                return None
            value = value.get("Right", value.get("Left"))
        return None

    @property
    def is_error(self) -> bool:
        """True if the record reports that a command failed."""
        return self.type == ERROR_TAG

    @property
    def user_id(self) -> int | None:
        """The id of the profile that the record is about, or None."""
        user = self.raw.get("user", self.raw.get("user_"))
        user_id = user.get("userId") if isinstance(user, Mapping) else None
        return user_id if isinstance(user_id, int) else None


SendCommand = Callable[["Command | str"], Record]
"""Sends a command object or string and returns the CLI's answer, or raises a ``ChannelError``."""


@dataclass(frozen=True, slots=True)
class Frame:
    """An incoming frame. ``corr_id`` is empty for events; ``problem`` is the reason if there is no ``record``."""

    corr_id: str
    record: Record | None = None
    problem: str = ""


def encode_command(corr_id: str, command: Command) -> str:
    """Return the frame for ``command``."""
    return orjson.dumps({"corrId": corr_id, "cmd": command.text}).decode()


def decode_frame(data: str | bytes) -> Frame:
    """Parse a frame. Never raises. A binary frame with JSON in it is parsed like a text frame.

    The formats: ``resp`` with the record, ``resp`` with ``Right`` or ``Left`` around it, ``remoteHostId`` beside it,
    and the library's ``result`` and ``error`` without ``resp``. Values that are nested too deep become null.
    """
    try:
        frame = load_json(data)
    except ValueError as error:
        return Frame("", problem=f"it is no JSON ({str(error).partition(':')[0]})")
    if not isinstance(frame, dict):
        return Frame("", problem=f"it is JSON, but no object ({type(frame).__name__})")
    corr_id = frame.get("corrId")
    corr_id = corr_id if isinstance(corr_id, str) else ""
    content = _find_record(frame)
    record = Record.from_object(content)
    if record is None:
        problem = "it has no resp" if content is None else "its resp is no record with a type"
        return Frame(corr_id, problem=problem)
    return Frame(corr_id, record)


def _find_record(frame: Mapping[str, Any]) -> object:
    error = frame.get("error")
    wrapped = None if error is None else {"type": ERROR_TAG, "chatError": error}
    return next((found for found in (frame.get("resp"), frame.get("result"), wrapped) if found is not None), None)
