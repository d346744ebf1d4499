"""Parses the server-sent events of other servers. No I/O."""

from __future__ import annotations

from cometbot.errors import OutcomeUnknown


class SseParser:
    """Splits the bytes of a stream, in chunks of any size, into server-sent events.

    Only events named ``message`` are returned.
    """

    def __init__(self, limit: int = 4 * 1024 * 1024) -> None:
        self._limit = limit
        self._buffer = b""
        self._name = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[str]:
        """Return the data of the events that ``chunk`` completes.

        Raises :class:`OutcomeUnknown` for an event that is longer than the limit.
        """
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        found = [data for line in lines if (data := self._handle_line(line.removesuffix(b"\r"))) is not None]
        if len(self._buffer) + sum(map(len, self._data)) > self._limit:
            raise OutcomeUnknown(f"the stream: expected events of at most {self._limit} bytes, got a longer one")
        return found

    def _handle_line(self, line: bytes) -> str | None:
        if not line:
            data, name = "\n".join(self._data), self._name
            self._data, self._name = [], ""
            return data if data and name in ("", "message") else None
        field, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", "replace")
        if field == b"data":
            self._data.append(text)
        elif field == b"event":
            self._name = text
        return None
