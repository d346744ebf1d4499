"""The response with a file of a user or a bot: with ranges, and with headers that let no browser run it."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import flask

from cometbot.http.ranges import simplify_range

DOWNLOAD_TYPE = "application/octet-stream"
"""The type of files that are downloaded and not shown, so that no page can load them as a script or style."""

_INLINE_KINDS = ("image", "audio", "video")
_MEDIA_POLICY = "sandbox allow-same-origin; default-src 'none'; media-src 'self'"
_POLICIES = {
    "image": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self'",
    "audio": _MEDIA_POLICY,
    "video": _MEDIA_POLICY,
    "file": "sandbox; default-src 'none'",
}
"""The Content-Security-Policy of a file that is opened by itself. A sandbox runs no script.

Browsers create a page around an image, with inline styles. Around audio and video they create a page that loads the
file again, which needs the origin.
"""


def make_file_response(
    content: Path | BinaryIO, *, kind: str, mime_type: str, name: str, size: int, etag: str, from_anywhere: bool = False
) -> flask.Response:
    """Return the response with a file, or the part of it that the request asks for.

    A picture, sound or video is shown with its type; a file of another ``kind`` is downloaded under its ``name``. With
    ``from_anywhere``, pages of other sites may show it. A ``content`` that is open is closed with the response.
    """
    simplify_range(flask.request.environ, size)
    is_inline = kind in _INLINE_KINDS
    response = flask.send_file(
        content,
        mimetype=mime_type if is_inline else DOWNLOAD_TYPE,
        as_attachment=not is_inline,
        download_name=name,
        etag=etag,
        conditional=isinstance(content, Path),
    )
    if not isinstance(content, Path):
        _make_conditional(response, content, size)
    response.headers["Content-Security-Policy"] = _POLICIES.get(kind, _POLICIES["file"])
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin" if from_anywhere else "same-origin"
    return response


def _make_conditional(response: flask.Response, content: BinaryIO, size: int) -> None:
    """Limit a response to what the request asks for, and close a content of which nothing is sent."""
    response.content_length = size
    has_body = False
    try:
        response.make_conditional(flask.request, accept_ranges=True, complete_length=size)
        has_body = flask.request.method != "HEAD" and response.status_code != 304
    finally:
        if not has_body:
            content.close()
