"""Sound or video, by the tracks of a container."""

from __future__ import annotations

import io
import time

import pytest

from cometbot.content_types import media_kind, sniff_file
from cometbot.media_tracks import MAX_READS, READ_SIZE, asf_tracks, matroska_tracks, mp4_tracks, ogg_tracks

UNKNOWN_SIZE = b"\x01\xff\xff\xff\xff\xff\xff\xff"


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return (8 + len(body)).to_bytes(4, "big") + kind + body


def long_box(kind: bytes, content: bytes) -> bytes:
    return b"\0\0\0\x01" + kind + (16 + len(content)).to_bytes(8, "big") + content


def track(handler: bytes) -> bytes:
    described = box(b"hdlr", b"\0" * 8, handler, b"\0" * 13)
    return box(b"trak", box(b"tkhd", b"\0" * 84), box(b"mdia", box(b"mdhd", b"\0" * 24), described))


def movie(*handlers: bytes) -> bytes:
    return box(b"moov", box(b"mvhd", b"\0" * 100), *map(track, handlers))


def brand(name: bytes, *others: bytes) -> bytes:
    return box(b"ftyp", name, b"\0\0\0\0", *others)


MEDIA = box(b"mdat", b"\xff" * 100_000)


def element(id: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return id + (0x10000000 | len(body)).to_bytes(4, "big") + body


def matroska(form: bytes, *tracks: bytes, before: bytes = b"") -> bytes:
    head = element(b"\x1a\x45\xdf\xa3", element(b"\x42\x82", form))
    cluster = b"\x1f\x43\xb6\x75" + UNKNOWN_SIZE + element(b"\xa3", b"\x81\0\0\0" + b"x" * 500)
    return head + b"\x18\x53\x80\x67" + UNKNOWN_SIZE + before + element(b"\x16\x54\xae\x6b", *tracks) + cluster


def typed(number: int, codec: bytes) -> bytes:
    return element(b"\xae", element(b"\xd7", b"\x01"), element(b"\x83", bytes([number])), element(b"\x86", codec))


def page(payload: bytes, flags: int = 2) -> bytes:
    segments = [255] * (len(payload) // 255) + [len(payload) % 255]
    return b"OggS\0" + bytes([flags]) + b"\0" * 20 + bytes([len(segments)]) + bytes(segments) + payload


OPUS, THEORA, SKELETON = b"OpusHead\x01\x02" + b"\0" * 9, b"\x80theora\x03\x02" + b"\0" * 33, b"fishead\0" + b"\0" * 56


def asf(*types: str) -> bytes:
    streams = b""
    for each in types:
        body = bytes.fromhex(each) + b"\0" * 38
        streams += bytes.fromhex("9107dcb7b7a9cf118ee600c00c205365") + (24 + len(body)).to_bytes(8, "little") + body
    properties = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365") + (104).to_bytes(8, "little") + b"\0" * 80
    content = (len(types) + 1).to_bytes(4, "little") + b"\x01\x02" + properties + streams
    return bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + (24 + len(content)).to_bytes(8, "little") + content


ASF_SOUND, ASF_VIDEO = "409e69f84d5bcf11a8fd00805f5c442b", "c0ef19bc4d5bcf11a8fd00805f5c442b"
TAG = b"ID3\x04\0\0" + b"\0\0\x4e\x10" + b"\0" * 10_000
"""An ID3 tag with a cover: 10,000 bytes, in four times seven bits."""

MPEG, ADTS = b"\xff\xfb\x90\x64", b"\xff\xf1\x50\x80"

FILES = [
    ("phone recorder", "rec.m4a", brand(b"mp42", b"isom") + movie(b"soun") + MEDIA, "audio/mp4"),
    ("tracks at the end", "rec.mp4", brand(b"isom") + MEDIA + movie(b"soun"), "audio/mp4"),
    ("behind a long box", "rec.mp4", brand(b"isom") + long_box(b"mdat", b"x" * 9000) + movie(b"soun"), "audio/mp4"),
    ("film", "film.mp4", brand(b"isom") + MEDIA + movie(b"soun", b"vide"), "video/mp4"),
    ("film under another name", "film.m4a", brand(b"isom") + movie(b"vide", b"soun") + MEDIA, "video/mp4"),
    ("no tracks, a name of sound", "rec.M4A", brand(b"isom") + MEDIA, "audio/mp4"),
    ("no tracks", "rec", brand(b"isom") + MEDIA, "video/mp4"),
    ("audio book with pictures", "book.m4b", brand(b"M4B ") + movie(b"soun", b"text", b"vide"), "audio/mp4"),
    ("3GP sound", "rec.3gp", brand(b"3gp4") + movie(b"soun") + MEDIA, "audio/3gpp"),
    ("3GP film", "film.3gp", brand(b"3gp5") + movie(b"soun", b"vide"), "video/3gpp"),
    ("3G2 film", "film.3g2", brand(b"3g2a") + movie(b"vide"), "video/3gpp2"),
    ("3G2 sound", "rec.3g2", brand(b"3g2a") + movie(b"soun"), "audio/3gpp2"),
    ("QuickTime film", "film.mov", brand(b"qt  ") + MEDIA + movie(b"soun", b"vide"), "video/quicktime"),
    ("QuickTime sound", "rec.mov", brand(b"qt  ") + MEDIA + movie(b"soun"), "audio/mp4"),
    ("QuickTime without a brand", "film.mov", box(b"wide") + MEDIA + movie(b"vide"), "video/quicktime"),
    ("voice of a browser", "voice.webm", matroska(b"webm", typed(2, b"A_OPUS")), "audio/webm"),
    ("film of a browser", "film.webm", matroska(b"webm", typed(2, b"A_OPUS"), typed(1, b"V_VP8")), "video/webm"),
    ("tracks by codec", "v.webm", matroska(b"webm", element(b"\xae", element(b"\x86", b"A_VORBIS"))), "audio/webm"),
    ("Matroska sound", "song.mka", matroska(b"matroska", typed(2, b"A_FLAC")), "audio/x-matroska"),
    (
        "tracks behind room for an index",
        "film.mkv",
        matroska(b"matroska", typed(1, b"V_AV1"), before=element(b"\xec", b"\0" * 9000)),
        "video/x-matroska",
    ),
    (
        "an element with a wrong length",
        "voice.webm",
        matroska(b"webm", b"\xae\xbd\xd7\x81\x01\x73\xc5\x87\x83\x81\x02\x86\x86A_OPUS"),
        "audio/webm",
    ),
    ("WebM without tracks", "voice.weba", matroska(b"webm"), "audio/webm"),
    ("Ogg sound", "a.ogg", page(OPUS) + page(b"OpusTags theora", 0), "audio/ogg"),
    ("Ogg film", "a.ogg", page(SKELETON) + page(OPUS) + page(THEORA) + page(b"rest", 0), "video/ogg"),
    ("Ogg of an unknown codec", "a.ogv", page(b"\x7fnew") + page(b"rest", 0), "video/ogg"),
    ("Windows sound", "a.wma", asf(ASF_SOUND), "audio/x-ms-wma"),
    ("Windows film", "a.wmv", asf(ASF_SOUND, ASF_VIDEO), "video/x-ms-wmv"),
    ("MP3 with a cover", "a.mp3", TAG + MPEG + b"\0" * 400, "audio/mpeg"),
    ("AAC behind a tag", "a.aac", TAG + ADTS + b"\0" * 400, "audio/aac"),
    ("FLAC behind a tag", "a.flac", TAG + b"fLaC" + b"\0" * 400, "audio/flac"),
]


@pytest.mark.parametrize(("name", "content", "mime_type"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_a_container_is_what_its_tracks_are(name: str, content: bytes, mime_type: str) -> None:
    assert sniff_file(io.BytesIO(content), name) == mime_type
    assert media_kind(mime_type) == mime_type.partition("/")[0]


class Counted(io.BytesIO):
    """A file that counts what is read of it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        self.count += len(piece)
        return piece


HOSTILE = {
    "small boxes": brand(b"isom") + box(b"free") * 500_000,
    "nested boxes": brand(b"isom") + b"".join((2**31 - i).to_bytes(4, "big") + b"moov" for i in range(0, 400_000, 8)),
    "boxes without a size": brand(b"isom") + b"\0\0\0\0moov" * 100_000,
    "a box of no length": brand(b"isom") + b"\0\0\0\x01moov" + b"\0" * 8,
    "a box that ends far away": brand(b"isom") + b"\0\0\0\x01mdat" + b"\xff" * 8,
    "nested segments": element(b"\x1a\x45\xdf\xa3") + (b"\x18\x53\x80\x67" + UNKNOWN_SIZE) * 100_000,
    "small elements": element(b"\x1a\x45\xdf\xa3") + b"\x18\x53\x80\x67" + UNKNOWN_SIZE + b"\xec\x80" * 500_000,
    "an element without an id": b"\x1a\x45\xdf\xa3\x80" + b"\0" * 100_000,
    "pages of nothing": b"".join([b"OggS\0\x02" + b"\0" * 21] * 50_000),
    "pages without a table": b"OggS\0\x02" + b"\0" * 20 + b"\xff",
    "small objects": asf()[:-104] + (b"\0" * 16 + (24).to_bytes(8, "little")) * 100_000,
    "an object of no length": asf() + b"\0" * 100_000,
    "a tag that ends far away": b"ID3\x04\0\0\x7f\x7f\x7f\x7f",
    "a cut head": b"\0\0\0\x18ftyp",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_read_in_bounds(content: bytes) -> None:
    file = Counted(content)
    begun = time.thread_time()
    sniff_file(file, "a.mp4")

    assert file.count <= 4096 + 16 + (MAX_READS + 1) * READ_SIZE
    assert time.thread_time() - begun < 0.5


@pytest.mark.parametrize("find", [mp4_tracks, matroska_tracks, ogg_tracks, asf_tracks])
@pytest.mark.parametrize("content", [row[2] for row in FILES[::4]] + [b""])
def test_a_cut_or_foreign_file_never_fails(find: object, content: bytes) -> None:
    assert callable(find)
    for size in [*range(min(len(content), 400)), len(content)]:
        assert find(io.BytesIO(content[:size])) <= {"audio", "video"}
