"""HTTP without sockets: an application with only a channel's views, and a session that calls an application."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import flask
import requests
from requests.adapters import BaseAdapter
from urllib3.response import HTTPResponse
from werkzeug.test import Client

from cometbot.channels.base import Channel
from cometbot.delivery import Delivery
from cometbot.errors import BotError
from cometbot.store.sent_files import SentFiles
from cometbot.web.channels import make_blueprint
from cometbot.web.files import make_file_views

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def make_channel_app(channel: Channel, delivery: Delivery) -> WSGIApplication:
    """Return an application with the channel's views, which store events in ``delivery``."""
    app = flask.Flask("cometbot", static_folder=None)
    if blueprint := make_blueprint(channel, delivery):
        app.register_blueprint(blueprint)
    return app.wsgi_app


def download_file(files: SentFiles, base_url: str, url: str) -> bytes:
    """Return the content of a file of the bot, as its server answers. Raises :class:`BotError` if it is gone."""
    app = flask.Flask("cometbot", static_folder=None)
    app.register_blueprint(make_file_views(files))
    with Client(app).get(url, base_url=base_url) as answer:
        if answer.status_code != 200:
            raise BotError(f"download: GET {url} was answered with {answer.status_code}")
        return answer.get_data()


def make_wsgi_session(app: WSGIApplication) -> requests.Session:
    """Return a session that sends all requests to ``app``."""
    session = requests.Session()
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, _WsgiAdapter(app))
    return session


class _WsgiAdapter(BaseAdapter):
    def __init__(self, app: WSGIApplication) -> None:
        super().__init__()
        self._client = Client(app)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Return the application's response. Raises ``requests.ConnectionError`` if it drops the connection."""
        url = request.url or ""
        headers, body = list(request.headers.items()), request.body or b""
        try:
            answer = self._client.open(
                url, method=request.method, base_url=urljoin(url, "/"), headers=headers, data=body
            )
        except ConnectionResetError as error:
            raise requests.ConnectionError(error, request=request) from error
        response = requests.Response()
        response.status_code = answer.status_code
        response.headers = requests.structures.CaseInsensitiveDict(answer.headers.items())
        response.raw = HTTPResponse(io.BytesIO(answer.data), status=answer.status_code, preload_content=False)
        response.request, response.url = request, url
        answer.close()
        return response

    def close(self) -> None:
        """Do nothing, since no connection is open."""
