"""The blueprint of the platform: three APIs, the web chat, and files."""

from __future__ import annotations

from typing import Any

import flask
from werkzeug.exceptions import HTTPException

from cometbot.channels.base import DeliveryService
from cometbot.channels.platform.chat_service import ChatService
from cometbot.channels.platform.ids import CHANNEL
from cometbot.channels.platform.keys import BotKeys
from cometbot.channels.platform.page.views import page_blueprint
from cometbot.channels.platform.platform import Platform
from cometbot.channels.platform.views.access import Authenticator, Sessions
from cometbot.channels.platform.views.admin_api import AdminApi
from cometbot.channels.platform.views.bot_api import BotApi
from cometbot.channels.platform.views.client_api import ClientApi
from cometbot.channels.platform.views.files import FileViews
from cometbot.channels.platform.views.page_api import PageApi
from cometbot.channels.platform.views.parameters import BodyReader
from cometbot.channels.platform.views.routing import METHODS, Router, to_error_response, to_response
from cometbot.errors import StoreBusy
from cometbot.http.errors import HttpError, quote_value, to_http_error
from cometbot.http.rate_limiter import RateLimiter


def make_blueprint(platform: Platform, delivery: DeliveryService) -> flask.Blueprint:
    """Return ``/v1/client-api``, ``/v1/bot-api``, ``/v1/admin-api``, ``/static``, and the web chat at ``/``."""
    settings, observer = platform.settings, platform.observer
    service = ChatService(
        platform.chat,
        platform.directory,
        platform.config,
        delivery,
        observer,
        message_rate=settings.message_rate,
        signup_rate=settings.signup_rate,
    )
    sessions = Sessions(platform.chat, platform.config, lambda: platform.token_signer, settings.is_secure)
    bodies = BodyReader(platform.config, settings.body_timeout)
    request_rates = RateLimiter(settings.request_rate, 60)
    files = FileViews(service, settings, request_rates, observer.storage_full)
    router = Router(
        [
            *ClientApi(service, sessions, files, bodies).routes(),
            *BotApi(service, files, bodies, platform.webhooks).routes(),
            *AdminApi(service, BotKeys(settings.admin_secret), bodies).routes(),
            *PageApi(service, sessions, bodies).routes(),
        ],
        Authenticator(sessions, platform.directory, settings.admin_secret),
        sessions,
        request_rates=request_rates,
        base_url=settings.base_url,
        on_database_full=observer.database_full,
    )
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
