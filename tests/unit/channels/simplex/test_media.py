"""Kinds, durations and previews of outgoing files."""

from __future__ import annotations

import base64
import io
import random
import wave
from pathlib import Path

import pytest
from PIL import Image

from cometbot.channels.simplex import media
from cometbot.channels.simplex.media import FORMATS, get_duration_seconds, make_preview, make_video_preview
from cometbot.channels.simplex.protocol.contents import PREVIEW_LIMIT
from cometbot.testing.simplex.web import make_file


def decode_image(uri: str) -> Image.Image:
    beginning, _, content = uri.partition(",")
    assert beginning == "data:image/jpg;base64"
    assert len(uri) <= PREVIEW_LIMIT
    return Image.open(io.BytesIO(base64.b64decode(content)))


def noise(width: int, height: int) -> Image.Image:
    return Image.frombytes("RGB", (width, height), random.Random(1).randbytes(width * height * 3))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_is_shown_as_it_is_only_smaller(tmp_path: Path, kind: str) -> None:
    Image.new("RGB", (1200, 600), (200, 30, 30)).save(tmp_path / "a", kind)
    small = decode_image(make_preview(tmp_path / "a"))

    assert small.size == (480, 240)
    red, green, blue = small.convert("RGB").getpixel((10, 10))  # type: ignore[misc]
    assert red > 150 > 80 > max(green, blue)


def test_the_worst_picture_fits_too(tmp_path: Path) -> None:
    noise(900, 700).save(tmp_path / "a.png")

    assert max(decode_image(make_preview(tmp_path / "a.png")).size) >= 96


def test_a_small_picture_is_not_made_larger(tmp_path: Path) -> None:
    Image.new("L", (3, 2)).save(tmp_path / "a.png")

    assert decode_image(make_preview(tmp_path / "a.png")).size == (3, 2)


def test_a_transparent_picture_stands_on_white(tmp_path: Path) -> None:
    for mode, colour in (("RGBA", (0, 0, 0, 0)), ("LA", (0, 0))):
        Image.new(mode, (20, 20), colour).save(tmp_path / "a.png")
        assert min(decode_image(make_preview(tmp_path / "a.png")).getpixel((10, 10))) > 240  # type: ignore[type-var,arg-type]


def test_preview_applies_exif_rotation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=exif)

    assert decode_image(make_preview(tmp_path / "a.jpg")).size == (20, 40)


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a" + bytes(100)])
def test_what_is_no_whole_picture_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read"):
        make_preview(tmp_path / "a.png")


def test_a_picture_that_breaks_off_is_an_error(tmp_path: Path) -> None:
    noise(200, 200).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cannot be read"):
        make_preview(tmp_path / "a.jpg")


def test_another_format_is_an_error_whatever_it_is_called(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", "BMP")
    with pytest.raises(ValueError, match="cannot be read"):
        make_preview(tmp_path / "a.png")


def test_a_picture_with_too_many_pixels_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MAX_PIXELS", 99)
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="more than 99 pixels"):
        make_preview(tmp_path / "a.png")


def test_a_film_has_a_preview_too() -> None:
    assert decode_image(make_video_preview()).size == (160, 90)


@pytest.mark.parametrize("name", ["a.mp3", "a.m4a", "a.mp4"])
def test_duration_of_recording(tmp_path: Path, name: str) -> None:
    (tmp_path / "loading").write_bytes(make_file(name))

    assert get_duration_seconds(tmp_path / "loading") == 2


@pytest.mark.parametrize(("frames", "seconds"), [(100, 1), (8000 * 7 + 4100, 8)])
def test_seconds_are_whole_and_one_at_least(tmp_path: Path, frames: int, seconds: int) -> None:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(8000)
        sound.writeframes(bytes(frames))
    (tmp_path / "a.wav").write_bytes(buffer.getvalue())

    assert get_duration_seconds(tmp_path / "a.wav") == seconds


@pytest.mark.parametrize("content", [b"", b"text", b"\0\0\0\x08ftyp", b"OggS" + bytes(50)])
def test_of_what_is_none_nothing_is_known(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp3").write_bytes(content)

    assert get_duration_seconds(tmp_path / "a.mp3") == 0
    assert get_duration_seconds(tmp_path / "nowhere.mp3") == 0
