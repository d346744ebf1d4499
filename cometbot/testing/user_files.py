"""The files that a user of the test kit sends."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from cometbot.models import Attachment
from cometbot.testing.fakes.base import Fake


def make_attachment(fake: Fake, file: str | Path | bytes, name: str) -> Attachment:
    """Return a file as a user attaches it: a URL, or a path or bytes that are uploaded to the fake's platform first."""
    if isinstance(file, str) and file.startswith(("http://", "https://")):
        return _describe(file, name or file.rpartition("/")[2], None)
    name = name or ("file.bin" if isinstance(file, bytes) else Path(file).name)
    content = file if isinstance(file, bytes) else _read(Path(file))
    url = fake.upload(name, content, mimetypes.guess_type(name)[0] or "")
    return _describe(url, name, len(content))


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _describe(url: str, name: str, size: int | None) -> Attachment:
    mime_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Attachment(url, name, mime_type, Path(name).suffix[1:], size)
