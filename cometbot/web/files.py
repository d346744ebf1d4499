"""The files that bots send: where they are kept, and the route that serves them."""

from __future__ import annotations

from flask import Blueprint, Response

from cometbot.file_links import ROUTE
from cometbot.http.file_response import make_file_response
from cometbot.settings import Settings
from cometbot.store.database import Database
from cometbot.store.file_contents import FolderContents
from cometbot.store.sent_files import SentFiles

MISSING_TEXT = "There is no such file, or it was deleted.\n"
_CACHE_CONTROL = "private, max-age=86400"


def files_from_settings(settings: Settings, db: Database) -> SentFiles:
    """Return the files that bots send: in the data folder, or in a database server that several machines share."""
    return SentFiles(
        db,
        None if db.server_url else FolderContents(settings.data / "sent"),
        base_url=settings.public_url,
        get_secret=settings.secret_key.reveal if settings.secret_key else None,
        max_total=settings.storage,
        min_free=0 if db.server_url else settings.free_space,
    )


def make_file_views(files: SentFiles) -> Blueprint:
    """Create the view of ``/files/…``. The signed address of a file gives access to it until the file is deleted."""
    blueprint = Blueprint("files", __name__)

    @blueprint.get(f"{ROUTE}/<token>/<name>")
    def download(token: str, name: str) -> Response:
        file = files.find(f"{ROUTE}/{token}/{name}")
        content = files.open(file) if file is not None else None
        if file is None or content is None:
            headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
            return Response(MISSING_TEXT, 404, headers, mimetype="text/plain")
        response = make_file_response(
            content,
            kind=file.kind,
            mime_type=file.mime_type,
            name=file.name,
            size=file.size,
            etag=file.digest[:32],
            from_anywhere=True,
        )
        response.headers["Cache-Control"] = _CACHE_CONTROL
        # Players of web apps load parts of a video from other origins.
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    return blueprint
