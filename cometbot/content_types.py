"""Detect the type of a file by its content. Its name and the sender's type may be wrong."""

from __future__ import annotations

import io
import mimetypes
import os
import re
from collections.abc import Collection, Mapping
from typing import BinaryIO

from cometbot import media_tracks

SNIFFED_BYTES = 4096
"""The bytes at the beginning of a file that :func:`sniff` reads."""

_FALLBACK = "application/octet-stream"
_SIGNATURES: dict[str, tuple[bytes, ...]] = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/jxl": (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"),
    "image/jp2": (b"\0\0\0\x0cjP  \r\n\x87\n",),
    "image/vnd.adobe.photoshop": (b"8BPS\0\x01",),
    "image/x-canon-cr2": (b"II*\0\x10\0\0\0CR",),
    "image/x-canon-crw": (b"II\x1a\0\0\0HEAPCCDR",),
    "image/x-fuji-raf": (b"FUJIFILMCCD-RAW",),
    "image/x-olympus-orf": (b"IIRO\x08\0", b"IIRS\x08\0", b"MMOR\0\0\0\x08"),
    "image/x-panasonic-rw2": (b"IIU\0",),
    "image/x-minolta-mrw": (b"\0MRM",),
    "image/x-sigma-x3f": (b"FOVb",),
    "image/tiff": (b"II*\0", b"MM\0*"),
    "audio/flac": (b"fLaC",),
    "audio/amr-wb": (b"#!AMR-WB\n",),
    "audio/amr": (b"#!AMR\n",),
    "audio/midi": (b"MThd\0\0\0\x06",),
    "audio/x-caf": (b"caff\0\x01",),
    "audio/x-wavpack": (b"wvpk",),
    "video/x-flv": (b"FLV\x01",),
    "video/mpeg": (b"\0\0\x01\xba", b"\0\0\x01\xb3"),
    "application/pdf": (b"%PDF-",),
    "application/zip": (b"PK\x03\x04",),
    "application/gzip": (b"\x1f\x8b\x08",),
    "application/x-7z-compressed": (b"7z\xbc\xaf\x27\x1c",),
}


def _by_value(types: Mapping[str, tuple[bytes, ...]]) -> dict[bytes, str]:
    return {mark: mime_type for mime_type, marks in types.items() for mark in marks}


_CHUNKED_SIGNATURES = _by_value(
    {
        "image/webp": (b"RIFFWEBP",),
        "audio/wav": (b"RIFFWAVE", b"RF64WAVE", b"BW64WAVE"),
        "audio/midi": (b"RIFFRMID",),
        "video/x-msvideo": (b"RIFFAVI ",),
        "audio/aiff": (b"FORMAIFF", b"FORMAIFC"),
    }
)
"""Types by the first four bytes and the four at offset 8. The four in between are a length."""

_TYPES_BY_BRAND = _by_value(
    {
        "image/avif": (b"avif", b"avis"),
        "image/heic": (b"heic", b"heix", b"heim", b"heis"),
        "image/heic-sequence": (b"hevc", b"hevx"),
        "image/heif": (b"mif1",),
        "image/heif-sequence": (b"msf1",),
        "image/x-canon-cr3": (b"crx ",),
        "audio/mp4": (b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "),
    }
)
"""Types by the first brand of an ISO container. Audio types may have chapter pictures as a video track."""

_GENERAL_BRANDS = (b"mif1", b"msf1")
"""Brands of an image whose other brands define its compression."""

RAW_TYPES_BY_EXTENSION = {
    ".3fr": "image/x-hasselblad-3fr",
    ".arw": "image/x-sony-arw",
    ".dcr": "image/x-kodak-dcr",
    ".dng": "image/x-adobe-dng",
    ".erf": "image/x-epson-erf",
    ".iiq": "image/x-phaseone-iiq",
    ".kdc": "image/x-kodak-kdc",
    ".mef": "image/x-mamiya-mef",
    ".nef": "image/x-nikon-nef",
    ".nrw": "image/x-nikon-nrw",
    ".pef": "image/x-pentax-pef",
    ".sr2": "image/x-sony-sr2",
    ".srf": "image/x-sony-srf",
    ".srw": "image/x-samsung-srw",
}
"""Camera formats that begin like any TIFF, by file extension."""

_BROWSER_IMAGE_TYPES = frozenset(
    f"image/{name}"
    for name in (
        *("avif", "bmp", "gif", "heic", "heic-sequence", "heif", "heif-sequence", "jpeg", "jxl", "png"),
        *("vnd.microsoft.icon", "webp"),
    )
)
"""Images that at least one browser shows. ``media.js`` of the pages has the same list."""

_AUDIO_EXTENSIONS = frozenset(
    {".3ga", ".aac", ".m4a", ".m4b", ".m4r", ".mka", ".oga", ".ogg", ".opus", ".weba", ".wma"}
)
_OPENXML_PREFIX = "application/vnd.openxmlformats-officedocument"
_OPENDOCUMENT_PREFIX = "application/vnd.oasis.opendocument"
_DOCUMENT_TYPES_BY_EXTENSION = {
    ".docx": f"{_OPENXML_PREFIX}.wordprocessingml.document",
    ".epub": "application/epub+zip",
    ".md": "text/markdown",
    ".odp": f"{_OPENDOCUMENT_PREFIX}.presentation",
    ".ods": f"{_OPENDOCUMENT_PREFIX}.spreadsheet",
    ".odt": f"{_OPENDOCUMENT_PREFIX}.text",
    ".pptx": f"{_OPENXML_PREFIX}.presentationml.presentation",
    ".xlsx": f"{_OPENXML_PREFIX}.spreadsheetml.sheet",
}
"""Types missing from Python's own table, which is the only one in a small container image."""

_ROOT_ELEMENT_PATTERN = re.compile(rb"<(!doctype\s+)?(svg|html|head|body|script)\b", re.IGNORECASE)
_PROLOG = ((b"<?", b">"), (b"<!--", b"-->"))
"""Markup that may precede the root of a document: pairs of its beginning and its end."""
_ASF_SIGNATURE = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_BITMAP_HEADERS = tuple(size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124))
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MEDIA_FAMILIES = ("image", "audio", "video")


def sniff(head: bytes, name: str = "") -> str:
    """Return the media type of a file that begins with ``head``, by default ``application/octet-stream``.

    Only the first :data:`SNIFFED_BYTES` bytes are read, so the time is the same for any file. :func:`sniff_file`
    detects more, because containers may describe their tracks at their end.

    A file counts as image, audio or video only by its bytes. The extension of ``name`` decides among types that a
    browser does not show anyway: texts, documents, archives, camera formats. It also decides between audio and video if
    a container does not describe its tracks.
    """
    return sniff_file(io.BytesIO(head[:SNIFFED_BYTES]), name)


def sniff_file(file: BinaryIO, name: str = "") -> str:
    """Return the media type of a whole file, like :func:`sniff`. ``file`` must be readable and seekable.

    The number of bytes read is bounded whatever the file contains.
    """
    file.seek(0)
    head = file.read(SNIFFED_BYTES)
    found = _by_signature(head, file) or _by_container(head, file, name) or _by_markup(head)
    if found == "image/tiff":
        return RAW_TYPES_BY_EXTENSION.get(_extension(name), found)
    if found and found != "application/zip":
        return found
    guessed = _by_name(name)
    is_archive = bool(found)
    if is_archive:
        return guessed if _is_document(guessed) else "application/zip"
    if not guessed or guessed.partition("/")[0] in _MEDIA_FAMILIES or guessed in ("text/html", "application/xhtml+xml"):
        return "text/plain" if guessed == "text/html" else _FALLBACK
    return _FALLBACK if guessed.startswith("text/") and b"\0" in head else guessed


def media_kind(mime_type: str) -> str:
    """Return ``image``, ``audio`` or ``video`` for a type that a browser can safely show, else ``file``.

    An SVG is a document that may contain scripts, so it is a ``file``. So are images that no browser shows, such as
    TIFF and camera formats.
    """
    family = media_family(mime_type)
    return "file" if family == "image" and mime_type not in _BROWSER_IMAGE_TYPES else family


def media_family(mime_type: str) -> str:
    """Return ``image``, ``audio`` or ``video`` for a type of this family, else ``file``."""
    family = mime_type.partition("/")[0]
    return family if family in _MEDIA_FAMILIES else "file"


def _by_signature(head: bytes, file: BinaryIO) -> str:
    if found := _CHUNKED_SIGNATURES.get(head[:4] + head[8:12]):
        return found
    for mime_type, signatures in _SIGNATURES.items():
        if head.startswith(signatures):
            return mime_type
    if head.startswith((b"ID3\x02", b"ID3\x03", b"ID3\x04")):
        return _by_id3_tag(head, file)
    return _by_mpeg_frame(head) or _by_weak_signature(head)


def _by_id3_tag(head: bytes, file: BinaryIO) -> str:
    """Return the type of the audio behind an ID3 tag, whose length has seven bits in each byte."""
    length = 0
    for byte in head[6:10]:
        length = length << 7 | byte & 0x7F
    file.seek(10 + length)
    sound = file.read(16)
    return "audio/flac" if sound.startswith(b"fLaC") else _by_mpeg_frame(sound) or "audio/mpeg"


def _by_weak_signature(head: bytes) -> str:
    """Return the type of a file whose signature is too short to be certain, so that other bytes are checked as well."""
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0" and head[14:18] in _BITMAP_HEADERS:
        return "image/bmp"
    if head.startswith(b"\0\0\x01\0") and 0 < int.from_bytes(head[4:6], "little") < 256 and head[9:10] == b"\0":
        return "image/vnd.microsoft.icon"
    for start, step in ((0, 188), (4, 192)):
        if head[start::step][:4] == b"GGGG":
            return "video/mp2t"
    return ""


def _by_mpeg_frame(head: bytes) -> str:
    """Return the type of MPEG audio or ADTS: eleven set bits, followed by a valid header.

    Layer I is ignored: such files do not occur in practice, and a text in UTF-16 may begin like one.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0 or head[1] & 0x18 == 0x08:
        return ""
    if head[1] & 0xF6 == 0xF0:
        return "audio/aac"
    is_layer = head[1] & 0x06 in (0x02, 0x04)
    has_rate = head[2] & 0xF0 not in (0x00, 0xF0) and head[2] & 0x0C != 0x0C
    return "audio/mpeg" if is_layer and has_rate else ""


def _by_container(head: bytes, file: BinaryIO, name: str) -> str:
    if head[4:8] == b"ftyp":
        return _by_brand(head, file, name)
    if head[4:8] in (b"moov", b"mdat", b"wide") and head[0] < 9:  # a text does not contain such a byte
        return _audio_or_video(media_tracks.mp4_tracks(file), name, "audio/mp4", "video/quicktime")
    if head.startswith(b"OggS"):
        found = media_tracks.ogg_tracks(file) or {"video" if _extension(name) == ".ogv" else "audio"}
        return _audio_or_video(found, name, "audio/ogg", "video/ogg")
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        form = "webm" if b"webm" in head[:64] else "x-matroska"
        return _audio_or_video(media_tracks.matroska_tracks(file), name, f"audio/{form}", f"video/{form}")
    if head.startswith(_ASF_SIGNATURE):
        return _audio_or_video(media_tracks.asf_tracks(file), name, "audio/x-ms-wma", "video/x-ms-wmv")
    return ""


def _by_brand(head: bytes, file: BinaryIO, name: str) -> str:
    """Return the type of an ISO container, by its brand or else by its tracks."""
    brand, end = head[8:12], int.from_bytes(head[:4], "big")
    if brand in _GENERAL_BRANDS:
        others = (head[at : at + 4] for at in range(16, min(end, len(head)), 4))
        brand = next((other for other in others if other in _TYPES_BY_BRAND and other not in _GENERAL_BRANDS), brand)
    if found := _TYPES_BY_BRAND.get(brand):
        return found
    sound, video = "audio/mp4", "video/mp4"
    if brand == b"qt  ":
        video = "video/quicktime"  # audio alone has no type of its own, and players read it as MP4
    elif brand.startswith(b"3g"):
        form = "3gpp2" if brand.startswith(b"3g2") else "3gpp"
        sound, video = f"audio/{form}", f"video/{form}"
    return _audio_or_video(media_tracks.mp4_tracks(file), name, sound, video)


def _audio_or_video(tracks: Collection[str], name: str, sound: str, video: str) -> str:
    """Return ``video`` or ``sound`` by the tracks of a container, or by its name if no tracks are found."""
    if "video" in tracks:
        return video
    return sound if "audio" in tracks or _extension(name) in _AUDIO_EXTENSIONS else video


def _by_markup(head: bytes) -> str:
    found = _ROOT_ELEMENT_PATTERN.match(head, _end_of_prolog(head))
    if not found:
        return ""
    return "image/svg+xml" if found[2].lower() == b"svg" else "text/html"


def _end_of_prolog(head: bytes) -> int:
    """Return the position at which the root of a document would begin, behind spaces, declarations and comments."""
    start = len(_BYTE_ORDER_MARK) if head.startswith(_BYTE_ORDER_MARK) else 0
    while True:
        while head[start : start + 1].isspace():
            start += 1
        closing = next((end for begin, end in _PROLOG if head.startswith(begin, start)), b"")
        end = head.find(closing, start) if closing else -1
        if end < 0:
            return start
        start = end + len(closing)


def _by_name(name: str) -> str:
    by_ending = _DOCUMENT_TYPES_BY_EXTENSION.get(_extension(name))
    return by_ending or mimetypes.guess_type(name, strict=False)[0] or ""


def _is_document(mime_type: str) -> bool:
    return mime_type.startswith(("application/vnd.", "application/epub", "application/java-archive"))


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()
