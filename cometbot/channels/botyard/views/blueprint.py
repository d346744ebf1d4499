"""The routes of the platform: three APIs, the web chat, and files."""

from __future__ import annotations

import flask
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from cometbot.channels.base import Intake
from cometbot.channels.botyard.page.views import page_blueprint
from cometbot.channels.botyard.platform import NAME, Platform
from cometbot.channels.botyard.refusals import Refusal
from cometbot.channels.botyard.talking import Talking
from cometbot.channels.botyard.views.admin_api import AdminApi
from cometbot.channels.botyard.views.bot_api import BotApi
from cometbot.channels.botyard.views.client_api import ClientApi
from cometbot.channels.botyard.views.files import Files
from cometbot.channels.botyard.views.page_api import PageApi
from cometbot.channels.botyard.views.routing import METHODS, Router, refuse, to_response
from cometbot.errors import StoreBusy
from cometbot.http.errors import HttpError, echo


def make_blueprint(platform: Platform, intake: Intake) -> flask.Blueprint:
    """``/v1/client-api``, ``/v1/bot-api``, ``/v1/admin-api``, ``/static``, and the web chat at ``/``."""
    talking, files = Talking(platform, intake), Files(platform)
    routes = [
        *ClientApi(platform, talking, files).routes(),
        *BotApi(platform, talking, files).routes(),
        *AdminApi(platform).routes(),
        *PageApi(platform, talking).routes(),
    ]
    router = Router(platform, routes)
    blueprint = flask.Blueprint(NAME, __name__)
    for prefix in ("v1", "V1"):
        blueprint.add_url_rule(
            f"/{prefix}/<path:rest>", prefix, router.answer, methods=METHODS, provide_automatic_options=False
        )
    blueprint.add_url_rule("/static/<folder>/<name>", "static_file", files.download)
    for kind in (Refusal, HttpError, StoreBusy):
        blueprint.register_error_handler(kind, refuse)
    blueprint.register_error_handler(HTTPException, _refuse_http)
    blueprint.app_errorhandler(404)(_refuse_unknown)
    blueprint.app_errorhandler(405)(_refuse_unknown)
    blueprint.register_blueprint(page_blueprint())
    return blueprint


def _refuse_http(error: HTTPException) -> flask.Response:
    """Return Flask's own refusal, and any unexpected error, in the shape of this protocol."""
    status = error.code or 500
    text = "Something went wrong here; the log says what." if status >= 500 else str(error.description)
    response = refuse(Refusal(status, text))
    response.headers.extend((name, value) for name, value in error.get_headers() if name.lower() != "content-type")
    return response


def _refuse_unknown(error: HTTPException) -> flask.Response:
    """The answer for a path or a method that no view has, in the shape of this protocol and of CometChat's."""
    request = flask.request
    unknown = Refusal(404, f"Cannot {echo(request.method)[1:-1]} {echo(request.path)[1:-1]}")
    refusal = unknown if error.code == 404 else Refusal(405, "Method Not Allowed")
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        refusal.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    code = f"ERR_{error.name.upper().replace(' ', '_')}"
    body = {"message": refusal.message, "error": {"code": code, "message": refusal.message}}
    is_ours = request.path.lower().startswith(("/v1/", "/static/"))
    response = to_response({"message": refusal.message} if is_ours else body, refusal.status)
    response.headers.update(refusal.headers)
    return response
