"""What SimpleX needs to know of an outgoing file: its kind, its duration, and a preview image.

A preview is a small picture within a message, which SimpleX shows before the file is downloaded.
"""

from __future__ import annotations

import base64
import io
import logging
import threading
from functools import cache
from pathlib import Path

try:
    from PIL import Image, ImageDraw, ImageOps
    from tinytag import TinyTag
except ImportError as error:
    raise ImportError("the SimpleX channel needs Pillow and tinytag: pip install 'cometbot[simplex]'") from error

from cometbot.channels.simplex.protocol import contents
from cometbot.content_types import media_kind

_log = logging.getLogger(__name__)

FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
"""Formats that the apps show as pictures; they show other pictures as files."""

MAX_PIXELS = 40_000_000
"""Larger pictures are sent as files: to scale one down, all of it would have to be in memory."""

VOICE_TYPES = ("audio/mp4", "audio/aac", "audio/mpeg")
VIDEO_TYPES = ("video/mp4", "video/quicktime")
MAX_VOICE_SECONDS = 300
"""Audio of these types up to this duration is sent as a voice message. Other audio would not play everywhere and is
sent as a file.
"""

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


def get_duration_seconds(path: Path) -> int:
    """Return the duration of a recording in whole seconds, at least 1; 0 if the file does not contain it."""
    try:
        duration = TinyTag.get(path, tags=False).duration
    except Exception as error:  # the library raises many types of errors for broken files
        _log.debug("cannot read the duration of a recording: %s", type(error).__name__)
        return 0
    return max(1, round(duration)) if duration and 0 < duration < 10**6 else 0


def make_content(path: Path, mime_type: str, wanted: str) -> contents.Content:
    """Return the message content for the file by its actual type, or a plain file if ``wanted`` is ``file``."""
    kind = "file" if wanted == "file" else media_kind(mime_type)
    if kind == "image":
        try:
            return contents.image_content("", make_preview(path))
        except ValueError as error:
            _log.info("sending a picture as a file: %s", error)
    if kind == "audio" and mime_type in VOICE_TYPES:
        seconds = get_duration_seconds(path)
        if 0 < seconds <= MAX_VOICE_SECONDS:
            return contents.voice_content(seconds)
    if kind == "video" and mime_type in VIDEO_TYPES:
        return contents.video_content("", make_video_preview(), get_duration_seconds(path))
    return contents.file_content()


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
            if len(uri) <= contents.PREVIEW_LIMIT:
                return uri
    raise ValueError("the picture cannot be made small enough")
