"""Streams the files in a multipart body, one after the other, without holding them in memory."""

from __future__ import annotations

from collections.abc import Iterator

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import NEED_DATA, Data, Epilogue, Event, Field, File, MultipartDecoder

from cometbot.channels.platform.errors import ApiError
from cometbot.http.limits import LimitedReader

_CHUNK_SIZE = 64 * 1024
_MAX_FORM_MEMORY = 4 * _CHUNK_SIZE
_MAX_PARTS = 200
_FILE_FIELD = "file"


class PartReader:
    """The content of a file part. ``size`` counts the bytes read so far."""

    def __init__(self, name: str, parts: FileParts) -> None:
        self.name = name
        self.size = 0
        self._parts = parts
        self._buffer = b""
        self._is_complete = False

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end. Raises :class:`ApiError` and :class:`HttpError`."""
        while not self._buffer and not self._is_complete:
            self._buffer, self._is_complete = self._parts.next_data()
        chunk, self._buffer = self._buffer[:size], self._buffer[size:]
        self.size += len(chunk)
        return chunk

    def drain(self) -> None:
        """Read to the end, so that ``size`` is the size of the file."""
        while self.read(_CHUNK_SIZE):
            pass


class FileParts:
    """The file parts named ``file`` of a multipart body. Other parts are skipped.

    Each part must be read before the next one is requested; the rest of it is skipped. Raises :class:`ApiError` for a
    body that is not multipart, is incomplete, or has too many parts.
    """

    def __init__(self, stream: LimitedReader, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get("boundary", "")
        if kind.lower() != "multipart/form-data" or not 0 < len(boundary) <= 200:
            raise ApiError(400, "request has no multipart/form-data Content-Type")
        self._stream = stream
        self._decoder = MultipartDecoder(
            boundary.encode("latin-1", "replace"), max_form_memory_size=_MAX_FORM_MEMORY, max_parts=_MAX_PARTS
        )

    def __iter__(self) -> Iterator[PartReader]:
        while not isinstance(event := self._next_event(), Epilogue):
            if isinstance(event, File) and event.name == _FILE_FIELD:
                part = PartReader(event.filename, self)
                yield part
                part.drain()
            elif isinstance(event, File | Field):
                self._skip()

    def next_data(self) -> tuple[bytes, bool]:
        """Return the next chunk of the current part, and whether it is the last one."""
        event = self._next_event()
        if not isinstance(event, Data):
            raise _malformed_form()
        return bytes(event.data), not event.more_data

    def _skip(self) -> None:
        while not self.next_data()[1]:
            pass

    def _next_event(self) -> Event:
        try:
            event = self._decoder.next_event()
            while event is NEED_DATA:
                self._decoder.receive_data(self._stream.read(_CHUNK_SIZE) or None)
                event = self._decoder.next_event()
        except RequestEntityTooLarge as error:
            raise ApiError(413, "The form has too many parts, or one with too long a head.") from error
        except (ValueError, LookupError) as error:
            raise _malformed_form() from error
        return event


def _malformed_form() -> ApiError:
    return ApiError(400, "The form is broken, or breaks off.", {"Connection": "close"})
