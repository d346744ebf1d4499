"""The answer to a request: AG-UI's events, in the order and with the ends that the protocol demands."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from cometbot.channels.agui import rows
from cometbot.channels.agui.ids import stream_message_id
from cometbot.channels.agui.parsing import message_id
from cometbot.chat import CONVERSATION_DELETED, EVENT_CREATED, MESSAGE_CREATED, ChatMessage, Signal
from cometbot.http import sse
from cometbot.lenient_json import dump_json

PROTOCOL_VERSION = "1.0"

ERRORS = {
    "failed": ("HANDLER_FAILED", "The bot failed to handle the message."),
    "timeout": ("TIMEOUT", "The bot did not answer in time."),
    "over": ("NOT_OPEN", "What this answers is not open any more. Send a message instead."),
}
"""The code and the text of ``RUN_ERROR`` for each kind of end but ``done``."""

JsonObject = dict[str, Any]


@dataclass(slots=True)
class _OpenText:
    """A text message that has begun and may grow.

    ``shown`` has been sent; ``received`` is what its stream has brought, the pieces before ``next_number``. With
    ``has_gap``, a piece was lost, so that only the complete text can continue it.
    """

    stream: str
    message_id: str
    shown: str = ""
    received: str = ""
    next_number: int = 0
    has_gap: bool = False

    def add(self, number: int, text: str | None) -> None:
        """Add the piece ``number`` of the stream. A first piece begins anew: the handler runs again."""
        if number == 0:
            self.received, self.next_number, self.has_gap = "", 0, False
        if text is None or number != self.next_number:
            self.has_gap = True
        if text is not None and not self.has_gap:
            self.received += text
            self.next_number += 1

    def find_rest(self, text: str, stream: str) -> str | None:
        """Return how a row's ``text`` of ``stream`` goes on behind what is shown, or None if it does not continue it.

        The mark of a stream that was broken off names no stream, and follows the text without its last spaces.
        """
        is_same = stream == self.stream
        if not self.shown or not (is_same or (not stream and self.has_gap)):
            return None
        begin = self.shown if text.startswith(self.shown) else self.shown.rstrip()
        return text[len(begin) :] if begin and text.startswith(begin) else None


@dataclass(slots=True)
class AnswerWriter:
    """Writes the events of one answer.

    ``is_versioned`` and ``shows_custom``: see ``RunInput`` and ``AguiSettings``.
    """

    thread_id: str
    run_id: str
    _: KW_ONLY
    is_versioned: bool
    shows_custom: bool = False
    _key: str = ""
    _pending: set[str] = field(default_factory=set)
    _open: _OpenText | None = None
    _cut_off: dict[str, str] = field(default_factory=dict)
    _complete: set[str] = field(default_factory=set)
    _last_at: int = 0
    _message_ids: set[str] = field(default_factory=set)
    _open_calls: set[str] = field(default_factory=set)
    _seen_calls: set[str] = field(default_factory=set)

    def follow(self, key: str, pending: Collection[str]) -> None:
        """Write the answer to the request whose event is ``key``.

        Until the earlier requests of the thread that are ``pending`` have ended, what the bot says is theirs.
        """
        self._key, self._pending = key, set(pending)

    def start(self) -> bytes:
        """Return the first event."""
        version = {"protocolVersion": PROTOCOL_VERSION} if self.is_versioned else {}
        return self._event("RUN_STARTED", **self._ids, **version)

    def write(self, signal: Signal) -> Iterator[bytes]:
        """Yield the events for a change in the thread, and the end of the stream behind the last one."""
        if signal.kind == MESSAGE_CREATED and signal.message is not None:
            yield from self.write_row(signal.message)
        elif signal.kind == CONVERSATION_DELETED:
            yield from self.fail("THREAD_DELETED", "The thread was deleted. Begin a new one.")
        elif self._pending:
            return
        elif signal.kind == rows.DELTA:
            yield from self._write_delta(signal.data)
        elif signal.kind == EVENT_CREATED and signal.at > self._last_at:
            # Otherwise it is older than a row that was read from the database, and belongs to an earlier request.
            yield from self._write_tool(signal.data)

    def write_row(self, row: ChatMessage) -> Iterator[bytes]:
        """Yield the events for a row of the thread. A row that was written already is left out."""
        if row.at <= self._last_at:
            return
        self._last_at = row.at
        self._complete.add(row.payload.get("stream", ""))
        kind = row.payload.get("kind")
        if kind == rows.END:
            yield from self._write_end(row.payload)
        elif not self._is_own(row.payload):
            return
        elif kind == rows.TEXT:
            yield from self._write_text(row)
        elif kind == rows.TOOL_CALL:
            yield from self._write_client_call(row.payload)

    def _is_own(self, payload: Mapping[str, Any]) -> bool:
        """Return True if a row belongs to this answer. What answers ``/stop`` comes before its handler has ended."""
        if "answers" in payload:
            return bool(payload["answers"] == message_id(self._key))
        return not self._pending

    def fail(self, code: str, message: str) -> Iterator[bytes]:
        """Yield the events that end the answer with an error."""
        yield from self._close()
        yield self._event("RUN_ERROR", message=message, code=code)
        yield sse.END_OF_STREAM

    @property
    def _ids(self) -> JsonObject:
        return {"threadId": self.thread_id, "runId": self.run_id}

    def _write_end(self, payload: Mapping[str, Any]) -> Iterator[bytes]:
        if payload["event"] != self._key:
            self._pending.discard(payload["event"])
            return
        if payload["end"] in ERRORS:
            yield from self.fail(*ERRORS[payload["end"]])
            return
        yield from self._close()
        yield self._event("RUN_FINISHED", **self._ids, **(_make_details(payload) if self.is_versioned else {}))
        yield sse.END_OF_STREAM

    def _write_text(self, row: ChatMessage) -> Iterator[bytes]:
        stream, opened = row.payload.get("stream", ""), self._open
        text = self._find_text(row.payload, stream)
        rest = opened.find_rest(text, stream) if opened is not None else None
        if opened is not None and rest:
            yield self._event("TEXT_MESSAGE_CONTENT", messageId=opened.message_id, delta=rest)
        yield from self._close()
        if rest is None:
            yield from self._write_message(row.id, _remove_start(text, self._cut_off.get(stream, "")))
        if self.shows_custom and "custom" in row.payload:
            yield self._event("CUSTOM", **row.payload["custom"])

    def _find_text(self, payload: Mapping[str, Any], stream: str) -> str:
        """Return the text of a row. That of a stream that was broken off gets what has been shown beyond it."""
        text, ending = str(payload["text"]), payload.get("ending")
        if ending is None:
            return text
        opened = self._open
        shown = opened.shown if opened is not None and opened.stream == stream else self._cut_off.get(stream, "")
        return shown.rstrip() + ending if shown.startswith(text.removesuffix(ending)) else text

    def _write_message(self, id: str, text: str) -> Iterator[bytes]:
        if text:
            message_id = self._choose_id(id)
            yield self._event("TEXT_MESSAGE_START", messageId=message_id, role="assistant")
            yield self._event("TEXT_MESSAGE_CONTENT", messageId=message_id, delta=text)
            yield self._event("TEXT_MESSAGE_END", messageId=message_id)

    def _write_delta(self, data: Mapping[str, Any]) -> Iterator[bytes]:
        stream, number, text = data["stream"], data["number"], data["text"]
        if stream in self._cut_off or stream in self._complete:
            return  # the complete text follows, or was read from the database before this came
        if self._open is None or self._open.stream != stream:
            if number != 0 or not text:
                return  # its beginning was lost, or came before this request: the complete text follows
            yield from self._close()
            self._open = _OpenText(stream, stream_message_id(stream))
        self._open.add(number, text)
        yield from self._show_received(self._open)

    def _show_received(self, opened: _OpenText) -> Iterator[bytes]:
        """Show what is new in a growing text. If it is not what an earlier run has said, a new message begins."""
        if opened.shown.startswith(opened.received):
            return
        if not opened.received.startswith(opened.shown):
            yield self._event("TEXT_MESSAGE_END", messageId=opened.message_id)
            opened.shown = ""
        if not opened.shown:
            opened.message_id = self._choose_id(opened.message_id)
            yield self._event("TEXT_MESSAGE_START", messageId=opened.message_id, role="assistant")
        rest = opened.received[len(opened.shown) :]
        yield self._event("TEXT_MESSAGE_CONTENT", messageId=opened.message_id, delta=rest)
        opened.shown = opened.received

    def _close(self) -> Iterator[bytes]:
        """End the text that is open. If its complete text comes later, only the rest of that is written."""
        opened, self._open = self._open, None
        if opened is not None and opened.shown:
            self._cut_off[opened.stream] = opened.shown
            yield self._event("TEXT_MESSAGE_END", messageId=opened.message_id)

    def _write_tool(self, data: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield the events for the begin or the end of a call of one of the bot's own tools."""
        call_id = str(data.get("id"))
        if data.get("kind") == rows.TOOL_CALLED and call_id not in self._seen_calls:
            self._open_calls.add(call_id)
            yield from self._write_call(call_id, data["name"], data["arguments"])
        elif data.get("kind") == rows.TOOL_RETURNED and call_id in self._open_calls:
            self._open_calls.discard(call_id)
            message_id = self._choose_id(f"result_{call_id}")
            yield self._event("TOOL_CALL_RESULT", messageId=message_id, toolCallId=call_id, content=data["content"])

    def _write_client_call(self, payload: Mapping[str, Any]) -> Iterator[bytes]:
        if payload["id"] not in self._seen_calls:
            yield from self._write_call(payload["id"], payload["name"], payload["arguments"])

    def _write_call(self, call_id: str, name: str, arguments: Mapping[str, Any]) -> Iterator[bytes]:
        yield from self._close()
        self._seen_calls.add(call_id)
        yield self._event("TOOL_CALL_START", toolCallId=call_id, toolCallName=name)
        yield self._event("TOOL_CALL_ARGS", toolCallId=call_id, delta=dump_json(arguments).decode())
        yield self._event("TOOL_CALL_END", toolCallId=call_id)

    def _choose_id(self, wanted: str) -> str:
        """Return an id that no message of this answer has."""
        chosen, number = wanted, 1
        while chosen in self._message_ids:
            number += 1
            chosen = f"{wanted}.{number}"
        self._message_ids.add(chosen)
        return chosen

    @staticmethod
    def _event(kind: str, **members: Any) -> bytes:
        return sse.frame(dump_json({"type": kind, **members}))


def _remove_start(text: str, shown: str) -> str:
    """Return what is new in ``text`` behind the text that was shown before; ``text`` itself if it begins otherwise."""
    begin = shown if text.startswith(shown) else shown.rstrip()
    rest = text.removeprefix(begin)
    return "" if len(rest) < len(text) and not rest.strip() else rest


def _make_details(payload: Mapping[str, Any]) -> JsonObject:
    """Return what clients of version 1.0 also get to know about the end of a run that did not fail."""
    details: JsonObject = {}
    if "interrupt" in payload:
        details["outcome"] = {"type": "interrupt", "interrupts": [payload["interrupt"]]}
    elif "pending" in payload:
        details["outcome"] = {"type": "success", "pendingToolCallIds": [payload["pending"]]}
    if "usage" in payload:
        details["usage"] = payload["usage"]
    return details
