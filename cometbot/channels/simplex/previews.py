"""Preview images: small pictures within a message, which SimpleX shows before the file is downloaded."""

from __future__ import annotations

import base64
import io
import threading
from functools import cache
from pathlib import Path

try:
    from PIL import Image, ImageDraw, ImageOps
except ImportError as error:
    raise ImportError("the SimpleX channel needs the library Pillow: pip install 'cometbot[simplex]'") from error

from cometbot.channels.simplex.protocol.contents import PREVIEW_LIMIT

FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
"""Formats that the apps show as pictures; they show other pictures as files."""

MAX_PIXELS = 40_000_000
"""Larger pictures are sent as files: to scale one down, all of it would have to be in memory."""

_SIZES = (480, 360, 240, 160, 96, 48, 16)
_QUALITIES = (75, 50)
_DATA_URI_PREFIX = "data:image/jpg;base64,"
_decoder_lock = threading.Lock()


def make_preview(path: Path) -> str:
    """Return a scaled-down picture from a file, as a data URI of at most ``PREVIEW_LIMIT`` bytes.

    Raises :class:`ValueError` if the file is not a complete picture in one of :data:`FORMATS`, or is too large.
    """
    try:
        with _decoder_lock, Image.open(path, formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"the picture has more than {MAX_PIXELS} pixels")
            picture.draft("RGB", (_SIZES[0], _SIZES[0]))
            return _shrink(_remove_transparency(ImageOps.exif_transpose(picture)))
    except ValueError:
        raise
    except Exception as error:  # the library's decoders raise many types of errors for broken files
        raise ValueError(f"the picture cannot be read ({type(error).__name__})") from error


@cache
def make_video_preview() -> str:
    """Return the preview of a video: a play symbol."""
    picture = Image.new("RGB", (160, 90), (40, 44, 52))
    ImageDraw.Draw(picture).polygon([(68, 27), (68, 63), (98, 45)], fill=(230, 230, 230))
    return _shrink(picture)


def _remove_transparency(picture: Image.Image) -> Image.Image:
    """Return the picture on white, since transparent parts would turn black in a JPEG."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    background = Image.new("RGB", layer.size, (255, 255, 255))
    background.paste(layer, mask=layer.getchannel("A"))
    return background


def _shrink(picture: Image.Image) -> str:
    """Return the largest preview of the best quality that fits."""
    uri = ""
    for size in _SIZES:
        small = picture.copy()
        small.thumbnail((size, size))
        for quality in _QUALITIES:
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=quality, optimize=True)
            uri = _DATA_URI_PREFIX + base64.b64encode(buffer.getvalue()).decode()
            if len(uri) <= PREVIEW_LIMIT:
                return uri
    raise ValueError("the picture cannot be made small enough")
