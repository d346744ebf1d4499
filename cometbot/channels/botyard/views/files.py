"""Uploads and downloads: streamed, typed by their content, shown with headers that let nothing run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import flask

from cometbot.channels.botyard.config import Config
from cometbot.channels.botyard.multipart import FileParts, PartReader
from cometbot.channels.botyard.platform import EVERYWHERE, Platform
from cometbot.channels.botyard.refusals import Refusal, not_stored, too_many
from cometbot.channels.botyard.shapes import FOLDERS, JSON, file_json
from cometbot.channels.botyard.views.routing import address
from cometbot.chat import ChatFile, Upload
from cometbot.errors import StorageFull, StoreBusy, TooLarge
from cometbot.http.limits import body_stream
from cometbot.http.ranges import simplify_range
from cometbot.store.database import ACK_TIMEOUT

_OVERHEAD = 64 * 1024

_SHOWN = ("image", "audio", "video")
_PLAYED = "sandbox allow-same-origin; default-src 'none'; media-src 'self'"
_POLICIES = {
    "image": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self'",
    "audio": _PLAYED,
    "video": _PLAYED,
    "file": "sandbox; default-src 'none'",
}
"""What a file that is opened by itself may do: be seen, or heard. A sandbox runs no script.

Browsers make a page around a picture and style it inline; around sound and video they make one that loads them again,
which needs the origin.
"""

_DOWNLOADED = "application/octet-stream"
"""What is not shown: as a script or a style a page could use it, whatever it is to be saved as."""

_AGE = "private, max-age=86400"


class Files:
    """What the routes for files do."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._files = platform.chat.files

    def upload(self, owner: str, *, is_bot: bool = False) -> list[JSON]:
        """The files in the request's body as File objects, in the order of the parts. All are kept, or none.

        Raises :class:`Refusal` and :class:`HttpError`.
        """
        config = self._platform.config.now
        limit = config.file.largest + _OVERHEAD
        timeout = self._platform.settings.body_timeout
        request = flask.request
        with ExitStack() as undoing:
            with body_stream(request.environ, limit=limit, timeout=timeout) as stream:
                try:
                    parts = FileParts(stream, request.headers.get("Content-Type", ""))
                    uploads = self._receive(parts, config, undoing)
                except Refusal:
                    stream.drain()
                    raise
            kept = self._keep(uploads, owner, limited=not is_bot)
            undoing.pop_all()
        for upload in uploads:
            upload.settle()
        return [file_json(file) for file in kept]

    def _receive(self, parts: FileParts, config: Config, undoing: ExitStack) -> list[Upload]:
        uploads: list[Upload] = []
        most = config.message.max_attached_files
        for part in parts:
            if len(uploads) == most:
                raise Refusal(400, f"Too many files, max allowed amount is {most}.")
            uploads.append(self._receive_one(part, config))
            undoing.callback(uploads[-1].discard)
        if not uploads:
            raise Refusal(400, "No files found to upload.")
        return uploads

    def _receive_one(self, part: PartReader, config: Config) -> Upload:
        sizes = config.file
        limits = {
            "image": sizes.max_image_size,
            "audio": sizes.max_audio_size,
            "video": sizes.max_video_size,
            "file": sizes.max_file_size,
        }
        try:
            return self._files.receive(part, name=part.name, limits=limits)
        except TooLarge as error:
            part.drain()
            said = f"Max allowed size for {FOLDERS[error.kind]} are {error.limit} bytes, but got {part.size}."
            raise Refusal(400, said) from None
        except StorageFull as error:
            self._platform.report_full(error)
            raise Refusal(507, "The file could not be kept: there is no room for it.") from error
        except OSError as error:
            self._platform.report_failed_file(error)
            raise Refusal(503, "The file could not be written. Try again later.", {"Retry-After": "10"}) from error

    def _keep(self, uploads: Sequence[Upload], owner: str, *, limited: bool) -> list[ChatFile]:
        with self._platform.database.write(timeout=ACK_TIMEOUT) as connection:
            kept = [self._files.keep(connection, EVERYWHERE, upload, owner) for upload in uploads]
            most = self._platform.settings.storage
            if limited and self._files.size_of(connection, EVERYWHERE, owner) > most:
                raise Refusal(413, f"Your files take more than {most} bytes together; use fewer or smaller ones.")
            return kept

    def download(self, folder: str, name: str) -> flask.Response:
        """The file behind ``static/<folder>/<name>``; its id, which nobody guesses, is what opens it."""
        wait = self._platform.requests_of_address.wait(address())
        if wait > 0:
            raise too_many("requests", wait)
        try:
            with self._platform.database.read() as connection:
                file = self._files.get(connection, EVERYWHERE, name.partition(".")[0])
        except StoreBusy as error:
            raise not_stored(error) from None
        if file is None or file_json(file)["path"] != f"static/{folder}/{name}":
            raise Refusal(404, "There is no such file.")
        path = self._files.path(file)
        if not path.is_file():
            raise Refusal(404, "There is no such file.")
        simplify_range(flask.request.environ, file.size)
        response = flask.send_file(
            path,
            mimetype=file.mime_type if file.kind in _SHOWN else _DOWNLOADED,
            as_attachment=file.kind not in _SHOWN,
            download_name=file.name or name,
            etag=file.id,
            conditional=True,
        )
        response.headers["Content-Security-Policy"] = _POLICIES[file.kind]
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Cache-Control"] = _AGE
        return response
