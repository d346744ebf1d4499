"""Files that bots have: bytes, figures, pictures and paths."""

from __future__ import annotations

import io
import stat
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

from cometbot.errors import MessageError


@runtime_checkable
class Figure(Protocol):
    """A figure of matplotlib, or anything else with its ``savefig``."""

    def savefig(self, fname: Any, /, *, format: str) -> object:
        """Write the figure to a binary file."""
        ...


@runtime_checkable
class Picture(Protocol):
    """An image of Pillow, or anything else with its ``save``."""

    def save(self, fp: Any, /, format: str) -> object:
        """Write the picture to a binary file."""
        ...


FileData = bytes | bytearray | memoryview | io.BytesIO | Figure | Picture
"""The types from which a file can be made."""

_NAMES = {"JPEG": "image.jpg", "PNG": "image.png"}


def to_bytes(data: FileData) -> tuple[bytes, str]:
    """Return the content of a file, and a name for it if it is a figure (PNG) or a picture (PNG or JPEG).

    Raises :class:`MessageError` for anything else.
    """
    if isinstance(data, bytes):
        return data, ""
    if isinstance(data, bytearray | memoryview):
        return bytes(data), ""
    if isinstance(data, io.BytesIO):
        return data.getvalue(), ""
    if isinstance(data, Figure):
        return _write(data.savefig, "PNG"), "figure.png"
    if isinstance(data, Picture):
        form = "JPEG" if getattr(data, "format", None) == "JPEG" else "PNG"
        return _write(data.save, form), _NAMES[form]
    raise MessageError(
        f"a Media's data is bytes, a figure or a picture, not {type(data).__name__}; encode a text, and give a file by "
        "its path"
    )


def open_source(path: Path) -> BinaryIO:
    """Open the file of a message for reading. Raises :class:`MessageError` for one that cannot be read."""
    try:
        # The kind comes first: to open a pipe would wait for its writer.
        if stat.S_ISREG(path.stat().st_mode):
            return path.open("rb")
    except OSError as error:
        raise MessageError(
            f"cannot read the file of a Media: {path}: {error.strerror}. It must be there until the message is said"
        ) from error
    raise MessageError(f"the path of a Media: expected a file, got {path}, which is none")


def _write(save: Any, form: str) -> bytes:
    buffer = io.BytesIO()
    try:
        save(buffer, format=form.lower())
    except Exception as error:  # libraries raise many types of errors for what they cannot write
        raise MessageError(f"a Media's data cannot be written as {form}: {error}") from error
    return buffer.getvalue()
