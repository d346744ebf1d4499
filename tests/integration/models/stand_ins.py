"""A server that streams as OpenAI's and Anthropic's do, for their official clients."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

WHOLE: Literal["whole"] = "whole"


@dataclass(frozen=True)
class Answer:
    """An answer of a model: its texts, piece by piece, and a call of a tool.

    It may end with an event that reports an error, or break off: the connection ends in the middle of the answer.
    """

    texts: Iterable[str] = ()
    call: tuple[str, Mapping[str, Any]] | None = None
    end: Literal["whole", "error", "break"] = WHOLE


class ModelServer(ThreadingHTTPServer):
    """The endpoints ``/v1/chat/completions`` and ``/v1/messages``. ``answer`` returns the answer to a request."""

    daemon_threads = True
    request_queue_size = 50

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: Callable[[Mapping[str, Any]], Answer] = lambda body: Answer(["Hello"])
        self.requests: list[Mapping[str, Any]] = []
        self.open_connections: set[socket.socket] = set()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        """The address without a path."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def close(self) -> None:
        """Stop, and end all connections."""
        self.shutdown()
        self.server_close()
        for connection in list(self.open_connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ModelServer

    def setup(self) -> None:
        super().setup()
        self.server.open_connections.add(self.connection)

    def finish(self) -> None:
        self.server.open_connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(body)
        is_openai = self.path == "/v1/chat/completions"
        assert body["stream"] is True
        assert is_openai or self.path == "/v1/messages"
        assert self.headers["Authorization"] == "Bearer secret"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        answer = self.server.answer(body)
        try:
            for event in _openai_events(body, answer) if is_openai else _anthropic_events(body, answer):
                self._write(event)
            if answer.end == "break":
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
            else:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:  # the client has closed the stream
            self.close_connection = True

    def _write(self, event: str) -> None:
        data = event.encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))


@dataclass
class _Chunks:
    """Makes the chunks of one answer of the Chat Completions API."""

    model: str
    common: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.common = {
            "id": "chatcmpl-Abc123",
            "object": "chat.completion.chunk",
            "created": 1_900_000_000,
            "model": self.model,
            "service_tier": "default",
            "system_fingerprint": None,
        }

    def choice(self, delta: Mapping[str, Any], finish_reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _data({**self.common, "choices": [choice], "usage": None})

    def usage(self) -> str:
        usage = {
            "prompt_tokens": 25,
            "completion_tokens": 7,
            "total_tokens": 32,
            "prompt_tokens_details": {"cached_tokens": 5, "audio_tokens": 0},
        }
        return _data({**self.common, "choices": [], "usage": usage})


def _openai_events(body: Mapping[str, Any], answer: Answer) -> Iterator[str]:
    chunks = _Chunks(body["model"])
    yield ": keep-alive\n\n"
    yield chunks.choice({"role": "assistant", "content": None if answer.call else "", "refusal": None})
    for text in answer.texts:
        yield chunks.choice({"content": text})
    if answer.end == "error":
        yield _data({"error": {"message": "The server had an error", "type": "server_error", "param": None}})
    if answer.end != WHOLE:
        return
    if answer.call is not None:
        name, arguments = answer.call
        function = {"name": name, "arguments": ""}
        yield chunks.choice({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]})
        for piece in _halves(json.dumps(arguments)):
            yield chunks.choice({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    yield chunks.choice({}, "tool_calls" if answer.call else "stop")
    if body.get("stream_options", {}).get("include_usage"):
        yield chunks.usage()
    yield "data: [DONE]\n\n"


def _anthropic_events(body: Mapping[str, Any], answer: Answer) -> Iterator[str]:
    usage = {
        "input_tokens": 20,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 5,
        "output_tokens": 1,
        "service_tier": "standard",
    }
    message = {
        "id": "msg_Abc123",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    yield _event("message_start", message=message)
    index = 0
    if answer.texts:
        yield _event("content_block_start", index=index, content_block={"type": "text", "text": ""})
        yield _event("ping")
        for text in answer.texts:
            yield _event("content_block_delta", index=index, delta={"type": "text_delta", "text": text})
        if answer.end == "error":
            yield _event("error", error={"type": "overloaded_error", "message": "Overloaded"})
        if answer.end != WHOLE:
            return
        yield _event("content_block_stop", index=index)
        index += 1
    if answer.call is not None:
        name, arguments = answer.call
        block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
        yield _event("content_block_start", index=index, content_block=block)
        for piece in ("", *_halves(json.dumps(arguments))):
            yield _event("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": piece})
        yield _event("content_block_stop", index=index)
    reason = "tool_use" if answer.call else "end_turn"
    yield _event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage={"output_tokens": 7})
    yield _event("message_stop")


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


def _data(value: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"


def _event(kind: str, **content: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **content})}\n\n"
