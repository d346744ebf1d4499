"""Files that clients can load, in CometChat's two access modes: docs/protocols/cometchat.md, "Media files"."""

from __future__ import annotations

import hashlib
import hmac
import mimetypes
from collections.abc import Callable
from urllib.parse import quote

from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from cometbot.http.ranges import simplify_range
from cometbot.simulator.errors import Refusal
from cometbot.simulator.records import FileRecord
from cometbot.simulator.world import World

TOKEN_LIFETIME = 300
KEY_PAIR = "SIMULATOR"


class MediaServer:
    """The app's files. ``base_url`` returns the server's address; ``api_key`` has full access."""

    def __init__(self, world: World, base_url: Callable[[], str], api_key: str) -> None:
        self._world = world
        self._base_url = base_url
        self._api_key = api_key
        self._secret = world.token(32).encode()

    def add(self, name: str, content: bytes, mime_type: str = "", *, expires_in: int = 86_400) -> str:
        """Store a file and return its URL: pre-signed for ``expires_in`` seconds, or one that requires a token."""
        with self._world.condition:
            kind = mime_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
            file = FileRecord(self._world.token(), name, kind, content)
            self._world.files[file.id] = file
        if self._world.behaviour.media_access == "token":
            return self._make_url("files", file)
        expires = self._world.now() + expires_in
        signature = self._sign(f"{file.id}:{expires}")
        return f"{self._make_url('media', file)}?Expires={expires}&Signature={signature}&Key-Pair-Id={KEY_PAIR}"

    def blueprint(self) -> Blueprint:
        """Return the routes that serve the files."""
        blueprint = Blueprint("media", __name__)
        blueprint.add_url_rule("/media/<app_id>/<file_id>/<name>", view_func=self._serve_presigned)
        blueprint.add_url_rule("/files/<app_id>/<file_id>/<name>", view_func=self._serve_with_token)
        return blueprint

    def _make_url(self, route: str, file: FileRecord) -> str:
        return f"{self._base_url()}/{route}/{self._world.app_id}/{file.id}/{quote(file.name)}"

    def _serve_presigned(self, app_id: str, file_id: str, name: str) -> Response:
        expires = request.args.get("Expires", "")
        signature = self._sign(f"{file_id}:{expires}")
        if not _is_equal(signature, request.args.get("Signature", "")):
            return Response("Access denied: the URL is not signed.", 403, mimetype="text/plain")
        if int(expires) < self._world.now():
            return Response("Access denied: the URL has expired.", 403, mimetype="text/plain")
        return self._file_response(file_id)

    def _serve_with_token(self, app_id: str, file_id: str, name: str) -> Response | dict[str, object]:
        token = request.args.get("fat")
        if token is not None:
            expires, _, signature = token.partition(".")
            is_good = _is_equal(signature, self._sign(f"{file_id}:{expires}"))
            if not is_good or int(expires) < self._world.now():
                raise Refusal("AUTH_ERR_AUTH_TOKEN_NOT_FOUND", "The file access token is wrong or has expired.")
            return self._file_response(file_id)
        has_key = _is_equal(request.headers.get("apiKey", ""), self._api_key)
        if request.headers.get("appId") != self._world.app_id or not has_key:
            raise Refusal("AUTH_ERR_EMPTY_AUTH_TOKEN", "A GET of this file needs the headers appId and apiKey.")
        expires = str(self._world.now() + TOKEN_LIFETIME)
        return {"data": {"url": f"{request.base_url}?fat={expires}.{self._sign(f'{file_id}:{expires}')}"}}

    def _file_response(self, file_id: str) -> Response:
        file = self._world.files.get(file_id)
        if file is None:
            return Response("There is no such file.", 404, mimetype="text/plain")
        headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
        simplify_range(request.environ, len(file.content))
        response = Response(file.content, headers=headers, content_type=file.mime_type)
        try:
            response.make_conditional(request.environ, accept_ranges=True, complete_length=len(file.content))
        except RequestedRangeNotSatisfiable as error:
            return Response(
                error.description, 416, {"Content-Range": f"bytes */{len(file.content)}"}, mimetype="text/plain"
            )
        return response

    def _sign(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()


def _is_equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
