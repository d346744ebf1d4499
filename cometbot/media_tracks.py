"""Detect the kinds of tracks in an audio or video file.

The containers MP4, Matroska, Ogg and ASF often hold audio alone, and their first bytes do not show that. Libraries that
detect types by the first bytes (filetype, puremagic, libmagic) report such a file as video.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

AUDIO, VIDEO = "audio", "video"
MAX_READS = 256
"""The pieces read of one file at most, each of up to :data:`READ_SIZE` bytes, however long or odd the file is."""

READ_SIZE = 512
_UNBOUNDED = 2**63

_MP4_PARENTS = (b"moov", b"trak", b"mdia")
_MP4_HANDLERS = {b"soun": AUDIO, b"vide": VIDEO}

_SEGMENT, _TRACKS, _TRACK_ENTRY = b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\xae"
_TRACK_TYPE, _CODEC_ID, _CLUSTER = b"\x83", b"\x86", b"\x1f\x43\xb6\x75"
_MATROSKA_TYPES = {b"\x01": VIDEO, b"\x02": AUDIO}
_MATROSKA_CODECS = {b"V_": VIDEO, b"A_": AUDIO}
_CODEC_NAME = re.compile(rb"\x86[\x80-\xff]([AV]_)")

_OGG_CODECS = {
    b"\x01vorbis": AUDIO,
    b"OpusHead": AUDIO,
    b"Speex   ": AUDIO,
    b"\x7fFLAC": AUDIO,
    b"\x80theora": VIDEO,
    b"BBCD\0": VIDEO,
    b"OVP80": VIDEO,
    b"\x01video": VIDEO,
}

_ASF_STREAM = bytes.fromhex("9107dcb7b7a9cf118ee600c00c205365")
_ASF_TYPES = {
    bytes.fromhex("409e69f84d5bcf11a8fd00805f5c442b"): AUDIO,
    bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b"): VIDEO,
}


class BoundedReader:
    """Read pieces of a file at any position, at most :data:`MAX_READS` of them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._reads_left = MAX_READS

    def read_at(self, position: int) -> bytes:
        """Return up to :data:`READ_SIZE` bytes from ``position``; none behind the end or after too many reads."""
        if self._reads_left == 0 or position >= _UNBOUNDED:
            return b""
        self._reads_left -= 1
        self._file.seek(position)
        return self._file.read(READ_SIZE)


def mp4_tracks(file: BinaryIO) -> set[str]:
    """Return the kinds of tracks in an MP4, 3GP or QuickTime file, wherever the file describes them."""
    return {
        _MP4_HANDLERS[found] for found in _mp4_handlers(BoundedReader(file), 0, _UNBOUNDED) if found in _MP4_HANDLERS
    }


def _mp4_handlers(pieces: BoundedReader, start: int, end: int) -> Iterator[bytes]:
    """Yield the types of the handlers in the boxes from ``start`` to ``end``."""
    while start < end and len(piece := pieces.read_at(start)) >= 8:
        size, kind, head = int.from_bytes(piece[:4], "big"), piece[4:8], 8
        if size == 1:
            size, head = int.from_bytes(piece[8:16], "big"), 16
        size = size or end - start
        if size < head:
            return
        if kind == b"hdlr":
            yield piece[head + 8 : head + 12]
        elif kind in _MP4_PARENTS:
            yield from _mp4_handlers(pieces, start + head, min(start + size, end))
        start += size


def matroska_tracks(file: BinaryIO) -> set[str]:
    """Return the kinds of tracks in a Matroska or WebM file.

    If its elements have wrong lengths, the codec names in its first bytes decide.
    """
    return set(_matroska_track_kinds(BoundedReader(file), 0, _UNBOUNDED)) or {
        _MATROSKA_CODECS[found] for found in _CODEC_NAME.findall(BoundedReader(file).read_at(0))
    }


def _matroska_track_kinds(pieces: BoundedReader, start: int, end: int) -> Iterator[str]:
    while start < end and (piece := pieces.read_at(start)):
        length = _vint_length(piece, 0)
        digits = _vint_length(piece, length)
        id, head = piece[:length], length + digits
        if id == _CLUSTER or not digits:
            return
        unknown = (1 << 7 * digits) - 1
        size = int.from_bytes(piece[length:head], "big") & unknown
        if size == unknown:
            size = _UNBOUNDED
        if id in (_SEGMENT, _TRACKS, _TRACK_ENTRY):
            yield from _matroska_track_kinds(pieces, start + head, min(start + head + size, end))
        elif found := _matroska_track_kind(id, piece[head : head + size]):
            yield found
        start += head + size


def _matroska_track_kind(id: bytes, content: bytes) -> str:
    """Return the kind of track that an element of a track describes, or an empty str."""
    if id == _TRACK_TYPE:
        return _MATROSKA_TYPES.get(content.lstrip(b"\0"), "")
    return _MATROSKA_CODECS.get(content[:2], "") if id == _CODEC_ID else ""


def _vint_length(piece: bytes, at: int) -> int:
    """Return the length in bytes of the variable-length integer at ``at``, 0 if there is none."""
    return 9 - piece[at].bit_length() if at < len(piece) and piece[at] else 0


def ogg_tracks(file: BinaryIO) -> set[str]:
    """Return the kinds of tracks in an Ogg file. Each track begins with a page of its own before all other pages."""
    pieces, start, found = BoundedReader(file), 0, set()
    while (piece := pieces.read_at(start)).startswith(b"OggS") and piece[5:6] and piece[5] & 2 and len(piece) > 27:
        body = 27 + piece[26]
        found |= {kind for begin, kind in _OGG_CODECS.items() if piece.startswith(begin, body)}
        start += body + sum(piece[27:body])
    return found


def asf_tracks(file: BinaryIO) -> set[str]:
    """Return the kinds of tracks in an ASF file (WMA, WMV)."""
    pieces, start, found = BoundedReader(file), 30, set()
    while len(piece := pieces.read_at(start)) >= 24:
        if piece.startswith(_ASF_STREAM) and (kind := _ASF_TYPES.get(piece[24:40])):
            found.add(kind)
        size = int.from_bytes(piece[16:24], "little")
        if size < 24:
            break
        start += size
    return found
