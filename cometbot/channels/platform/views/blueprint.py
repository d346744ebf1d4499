"""The blueprint of the platform: three APIs, the web chat, and files."""

from __future__ import annotations

from typing import Any

import flask
from werkzeug.exceptions import HTTPException

from cometbot.channels.base import DeliveryService
from cometbot.channels.platform.chat_service import ChatService
from cometbot.channels.platform.ids import CHANNEL
from cometbot.channels.platform.page.views import page_blueprint
from cometbot.channels.platform.platform import Platform
from cometbot.channels.platform.views.admin_api import AdminApi
from cometbot.channels.platform.views.bot_api import BotApi
from cometbot.channels.platform.views.client_api import ClientApi
from cometbot.channels.platform.views.files import FileViews
from cometbot.channels.platform.views.page_api import PageApi
from cometbot.channels.platform.views.routing import METHODS, Router, to_error_response, to_response
from cometbot.errors import StoreBusy
from cometbot.http.errors import HttpError, quote_value, to_http_error


def make_blueprint(platform: Platform, delivery: DeliveryService) -> flask.Blueprint:
    """Return ``/v1/client-api``, ``/v1/bot-api``, ``/v1/admin-api``, ``/static``, and the web chat at ``/``."""
    chat_service, files = ChatService(platform, delivery), FileViews(platform)
    routes = [
        *ClientApi(platform, chat_service, files).routes(),
        *BotApi(platform, chat_service, files).routes(),
        *AdminApi(platform).routes(),
        *PageApi(platform, chat_service).routes(),
    ]
    router = Router(platform, routes)
    blueprint = flask.Blueprint(CHANNEL, __name__)
    for prefix in ("v1", "V1"):
        blueprint.add_url_rule(
            f"/{prefix}/<path:rest>", prefix, router.dispatch, methods=METHODS, provide_automatic_options=False
        )
    blueprint.add_url_rule("/static/<folder>/<name>", "static_file", files.download)
    for kind in (HttpError, StoreBusy, HTTPException):
        blueprint.register_error_handler(kind, to_error_response)
    blueprint.app_errorhandler(404)(_not_found_response)
    blueprint.app_errorhandler(405)(_not_found_response)
    blueprint.register_blueprint(page_blueprint())
    return blueprint


def _not_found_response(error: HTTPException) -> flask.Response:
    """Return the response for an unknown path or method, in the shape of this protocol and of CometChat's."""
    request, refusal = flask.request, to_http_error(error)
    text = "Method Not Allowed"
    if refusal.status == 404:
        text = f"Cannot {quote_value(request.method)[1:-1]} {quote_value(request.path)[1:-1]}"
    body: dict[str, Any] = {"message": text}
    if not request.path.lower().startswith(("/v1/", "/static/")):
        body["error"] = {"code": refusal.code, "message": text}
    response = to_response(body, refusal.status)
    response.headers.update(refusal.headers)
    return response
