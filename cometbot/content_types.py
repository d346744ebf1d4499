"""What a file is, by what is in it: a name, or what its sender says of it, may lie."""

from __future__ import annotations

import mimetypes
import os
import re

HEAD = 4096
"""Bytes from the beginning of a file that :func:`sniff` reads."""

_FALLBACK = "application/octet-stream"
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (8, b"AVI ", "video/x-msvideo"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"FLV\x01", "video/x-flv"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
)
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heic",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"qt  ": "video/quicktime",
}
_OFFICE = "application/vnd.openxmlformats-officedocument"
_OPEN = "application/vnd.oasis.opendocument"
_DOCUMENTS = {
    ".docx": f"{_OFFICE}.wordprocessingml.document",
    ".epub": "application/epub+zip",
    ".md": "text/markdown",
    ".odp": f"{_OPEN}.presentation",
    ".ods": f"{_OPEN}.spreadsheet",
    ".odt": f"{_OPEN}.text",
    ".pptx": f"{_OFFICE}.presentationml.presentation",
    ".xlsx": f"{_OFFICE}.spreadsheetml.sheet",
}
"""What Python's own table lacks, and a small container has no other."""

_ROOT = re.compile(rb"<(!doctype\s+)?(svg|html|head|body|script)\b", re.IGNORECASE)
_PROLOG = ((b"<?", b">"), (b"<!--", b"-->"))
"""Markup that may precede the root of a document, by its beginning and its end."""
_MARK = b"\xef\xbb\xbf"
_SHOWN = ("image", "audio", "video")


def sniff(head: bytes, name: str = "") -> str:
    """Return the media type of a file that begins with ``head``; ``application/octet-stream`` where nothing tells.

    Only the first :data:`HEAD` bytes are read, so the time is the same for any file.

    A picture, sound or video is only what has the bytes of one. The end of ``name`` decides among what a browser does
    not show anyway: a text, a document, an archive.
    """
    head = head[:HEAD]
    found = _by_signature(head) or _by_container(head) or _by_markup(head)
    if found and found != "application/zip":
        return found
    guessed = _by_name(name)
    is_archive = bool(found)
    if is_archive:
        return guessed if _is_document(guessed) else "application/zip"
    if not guessed or guessed.partition("/")[0] in _SHOWN or guessed in ("text/html", "application/xhtml+xml"):
        return "text/plain" if guessed == "text/html" else _FALLBACK
    return _FALLBACK if guessed.startswith("text/") and b"\0" in head else guessed


def kind_of(mime_type: str) -> str:
    """``image``, ``audio`` or ``video`` for what a browser can show without harm, else ``file``.

    An SVG is a document that may hold scripts, and so a file.
    """
    family = mime_type.partition("/")[0]
    return family if family in _SHOWN and mime_type != "image/svg+xml" else "file"


def _by_signature(head: bytes) -> str:
    for offset, signature, mime_type in _SIGNATURES:
        if head.startswith(signature, offset) and (offset == 0 or head.startswith(b"RIFF")):
            return mime_type
    if len(head) > 3 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x18 != 0x08:
        return _by_frame(head)
    return ""


def _by_frame(head: bytes) -> str:
    """MPEG audio and ADTS begin with eleven set bits; what follows them must make sense too."""
    if head[1] & 0xF6 == 0xF0:
        return "audio/aac"
    is_layer = head[1] & 0x06 != 0
    has_rate = head[2] & 0xF0 not in (0x00, 0xF0) and head[2] & 0x0C != 0x0C
    return "audio/mpeg" if is_layer and has_rate else ""


def _by_container(head: bytes) -> str:
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head.startswith(b"OggS"):
        return "video/ogg" if b"theora" in head[:512] else "audio/ogg"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    return ""


def _by_markup(head: bytes) -> str:
    found = _ROOT.match(head, _end_of_prolog(head))
    if not found:
        return ""
    return "image/svg+xml" if found[2].lower() == b"svg" else "text/html"


def _end_of_prolog(head: bytes) -> int:
    """Return where the root of a document would begin: behind spaces, declarations and comments."""
    start = len(_MARK) if head.startswith(_MARK) else 0
    while True:
        while head[start : start + 1].isspace():
            start += 1
        closing = next((end for begin, end in _PROLOG if head.startswith(begin, start)), b"")
        end = head.find(closing, start) if closing else -1
        if end < 0:
            return start
        start = end + len(closing)


def _by_name(name: str) -> str:
    by_ending = _DOCUMENTS.get(os.path.splitext(name)[1].lower())
    return by_ending or mimetypes.guess_type(name, strict=False)[0] or ""


def _is_document(mime_type: str) -> bool:
    return mime_type.startswith(("application/vnd.", "application/epub", "application/java-archive"))
