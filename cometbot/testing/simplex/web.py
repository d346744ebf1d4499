"""A fake web for bots that send files by URL, so that no test needs the network."""

from __future__ import annotations

import io
import struct
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from PIL import Image

from cometbot import private_files
from cometbot.errors import NotFound, Rejected

_PICTURES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".gif": "GIF", ".webp": "WEBP"}


class MadeUpWeb:
    """Files at any URL: those in :attr:`files`, otherwise generated ones that fit the URL's extension.

    A URL whose value in :attr:`files` is None is not found. :attr:`asked` has the requested URLs in order.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes | None] = {}
        self.asked: list[str] = []
        self._sources: dict[Path, str] = {}

    def fetch(self, url: str, to: Path, *, limit: int, timeout: float) -> str:
        """Write the file of ``url`` to ``to`` and return the last part of the URL.

        Raises the errors of a real fetcher.
        """
        self.asked.append(url)
        name = unquote(PurePosixPath(urlsplit(url).path).name)
        content = self.files.get(url, b"")
        if content is None:
            raise NotFound(f"GET {urlsplit(url).netloc}: the file's server answered 404", status=404)
        content = content or make_file(name)
        if len(content) > limit:
            raise Rejected(f"the file has {len(content)} bytes, and the limit is {limit}", code="file_too_large")
        private_files.write_bytes(to, content)
        self._sources[to.parent] = url
        return name

    def address_of(self, path: str) -> str:
        """Return the URL of a file that the bot sent, or an empty string if it was not fetched."""
        return self._sources.get(Path(path).parent, "")

    def close(self) -> None:
        """Do nothing, since nothing is open."""


def make_file(name: str) -> bytes:
    """Return a small complete file for the extension of ``name``: a picture, two seconds of audio or video, a text."""
    ending = PurePosixPath(name).suffix.lower()
    if ending in _PICTURES:
        buffer = io.BytesIO()
        Image.new("RGB", (64, 48), (200, 80, 40)).save(buffer, _PICTURES[ending])
        return buffer.getvalue()
    recordings = {".mp3": _make_mp3(), ".mp4": _make_mp4(b"isom"), ".m4a": _make_mp4(b"M4A ")}
    return recordings.get(ending) or (b"%PDF-1.4\n" if ending == ".pdf" else b"some text\n")


def _make_mp3() -> bytes:
    """Return silent frames of 26 ms at 128 kbit/s."""
    return (b"\xff\xfb\x90\x64" + bytes(413)) * 77


def _make_mp4(brand: bytes) -> bytes:
    """Return the header of a video or audio file with its duration and no content."""
    times = struct.pack(">IIIII", 0, 0, 0, 1000, 2000)
    movie = _box(b"mvhd", times + bytes(80))
    media = _box(b"mdia", _box(b"mdhd", times + bytes(4)))
    return _box(b"ftyp", brand + bytes(4) + brand) + _box(b"moov", movie + _box(b"trak", media)) + _box(b"mdat", b"")


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content
