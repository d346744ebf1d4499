"""What a file can be made of: bytes, figures and pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cometbot import Media
from cometbot.errors import MessageError
from cometbot.file_sources import to_bytes


class FakeFigure:
    """A figure as matplotlib has it."""

    def savefig(self, fname: Any, /, **options: Any) -> None:
        fname.write(f"drawn as {options['format']}".encode())


@pytest.mark.parametrize("data", [b"abc", bytearray(b"abc"), memoryview(b"abc"), io.BytesIO(b"abc")])
def test_bytes_are_taken_as_they_are(data: Any) -> None:
    assert to_bytes(data) == (b"abc", "")


def test_a_figure_is_drawn_as_png() -> None:
    media = Media(data=FakeFigure(), caption="Sales")
    assert (media.data, media.name) == (b"drawn as png", "figure.png")
    assert Media(data=FakeFigure(), name="sales.png").name == "sales.png"


@pytest.mark.parametrize(("source", "name", "form"), [("PNG", "image.png", "PNG"), ("JPEG", "image.jpg", "JPEG")])
def test_a_picture_keeps_its_pixels(source: str, name: str, form: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), (200, 80, 40)).save(buffer, source)
    media = Media(data=Image.open(buffer))
    assert media.name == name
    assert isinstance(media.data, bytes)
    with Image.open(io.BytesIO(media.data)) as shown:
        assert (shown.format, shown.size) == (form, (3, 2))


def test_a_new_picture_is_a_png() -> None:
    assert Media(data=Image.new("RGBA", (1, 1))).name == "image.png"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Media(), "either a url, data or a path, not nothing"),
        (lambda: Media("https://x", data=b"a"), "not url and data"),
        (lambda: Media(data=b"a", path="b"), "not data and path"),
        (lambda: Media(data=b""), "is empty"),
        (lambda: Media(data="text"), "not str"),
        (lambda: Media(path=7), "not int"),
        (lambda: Media("/etc/hostname"), "given as path="),
    ],
)
def test_other_contents_are_refused(make: Any, text: str) -> None:
    with pytest.raises(MessageError, match=text):
        make()


def test_what_cannot_be_drawn_says_why() -> None:
    class Broken:
        def savefig(self, fname: Any, /, *, format: str) -> None:
            raise RuntimeError("no renderer")

    with pytest.raises(MessageError, match="cannot be written as PNG: no renderer"):
        Media(data=Broken())


def test_a_path_gives_its_name_and_no_bytes_are_shown() -> None:
    media = Media(path=Path("out") / "März.pdf")
    assert (media.name, media.is_local, media.to_text()) == ("März.pdf", True, "März.pdf")
    assert "secret" not in repr(Media(data=b"secret"))
