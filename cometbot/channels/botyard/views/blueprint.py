"""The routes of the platform: three APIs, the web chat, and files."""

from __future__ import annotations

import flask

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
from cometbot.channels.botyard.views.routing import METHODS, Router, refuse


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
    blueprint.register_error_handler(Refusal, refuse)
    blueprint.register_blueprint(page_blueprint())
    return blueprint
