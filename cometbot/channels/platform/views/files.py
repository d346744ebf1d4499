"""Uploads and downloads: streamed, typed by their content, and served with headers that prevent scripts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import flask

from cometbot.channels.platform.config import Config
from cometbot.channels.platform.errors import ApiError
from cometbot.channels.platform.ids import ALL_BOTS
from cometbot.channels.platform.multipart import FileParts, PartReader
from cometbot.channels.platform.platform import Platform
from cometbot.channels.platform.serializers import KIND_FOLDERS, JsonObject, file_json
from cometbot.channels.platform.views.routing import client_address
from cometbot.chat import ChatFile, Upload
from cometbot.errors import FileTooLarge, StorageFull
from cometbot.http.limits import open_body
from cometbot.http.ranges import simplify_range
from cometbot.store.database import ACK_TIMEOUT

_MULTIPART_OVERHEAD = 64 * 1024

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

_DOWNLOAD_TYPE = "application/octet-stream"
"""The type of files that are downloaded and not shown, so that no page can load them as a script or style."""

_CACHE_CONTROL = "private, max-age=86400"


class FileViews:
    """The views for files."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._files = platform.chat.files

    def upload(self, owner: str, *, is_bot: bool = False) -> list[JsonObject]:
        """Store the files in the request's body, and return them as File objects in the order of the parts.

        All files are stored, or none. Raises :class:`ApiError` and :class:`HttpError`.
        """
        config = self._platform.config.current
        limit = config.file.max_size + _MULTIPART_OVERHEAD
        timeout = self._platform.settings.body_timeout
        request = flask.request
        with ExitStack() as rollback:
            with open_body(request.environ, limit=limit, timeout=timeout) as stream:
                try:
                    parts = FileParts(stream, request.headers.get("Content-Type", ""))
                    uploads = self._receive(parts, config, rollback)
                except ApiError:
                    stream.drain()
                    raise
            stored_files = self._store(uploads, owner, is_limited=not is_bot)
            rollback.pop_all()
        for upload in uploads:
            upload.finalize()
        return [file_json(file) for file in stored_files]

    def _receive(self, parts: FileParts, config: Config, rollback: ExitStack) -> list[Upload]:
        uploads: list[Upload] = []
        max_files = config.message.max_attached_files
        for part in parts:
            if len(uploads) == max_files:
                raise ApiError(400, f"Too many files, max allowed amount is {max_files}.")
            uploads.append(self._receive_one(part, config))
            rollback.callback(uploads[-1].discard)
        if not uploads:
            raise ApiError(400, "No files found to upload.")
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
        except FileTooLarge as error:
            part.drain()
            message = f"Max allowed size for {KIND_FOLDERS[error.kind]} are {error.limit} bytes, but got {part.size}."
            raise ApiError(400, message) from None
        except StorageFull as error:
            self._platform.report_storage_full(error)
            raise ApiError(507, "The file could not be kept: there is no room for it.") from error
        except OSError as error:
            self._platform.report_file_error(error)
            raise ApiError(503, "The file could not be written. Try again later.", {"Retry-After": "10"}) from error

    def _store(self, uploads: Sequence[Upload], owner: str, *, is_limited: bool) -> list[ChatFile]:
        with self._platform.database.write(timeout=ACK_TIMEOUT) as connection:
            stored_files = [self._files.save(connection, ALL_BOTS, upload, owner) for upload in uploads]
            storage_limit = self._platform.settings.max_user_storage
            if is_limited and self._files.get_total_size(connection, ALL_BOTS, owner) > storage_limit:
                raise ApiError(
                    413, f"Your files take more than {storage_limit} bytes together; use fewer or smaller ones."
                )
            return stored_files

    def download(self, folder: str, name: str) -> flask.Response:
        """Return the file at ``static/<folder>/<name>``. The id in the name cannot be guessed, and gives access."""
        self._platform.request_rates.check(client_address(), "Too many requests")
        with self._platform.database.read() as connection:
            file = self._files.get(connection, ALL_BOTS, name.partition(".")[0])
        if file is None or file_json(file)["path"] != f"static/{folder}/{name}":
            raise ApiError(404, "There is no such file.")
        path = self._files.path(file)
        if not path.is_file():
            raise ApiError(404, "There is no such file.")
        simplify_range(flask.request.environ, file.size)
        response = flask.send_file(
            path,
            mimetype=file.mime_type if file.kind in _INLINE_KINDS else _DOWNLOAD_TYPE,
            as_attachment=file.kind not in _INLINE_KINDS,
            download_name=file.name or name,
            etag=file.id,
            conditional=True,
        )
        response.headers["Content-Security-Policy"] = _POLICIES[file.kind]
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Cache-Control"] = _CACHE_CONTROL
        return response
