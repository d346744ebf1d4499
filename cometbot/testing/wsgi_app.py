"""A web application with only a channel's views."""

from __future__ import annotations

from typing import TYPE_CHECKING

import flask

from cometbot.channels.base import Channel
from cometbot.delivery import Delivery
from cometbot.web.channels import make_blueprint

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def make_channel_app(channel: Channel, delivery: Delivery) -> WSGIApplication:
    """Return an application with the channel's views, which store events in ``delivery``."""
    app = flask.Flask("cometbot", static_folder=None)
    if blueprint := make_blueprint(channel, delivery):
        app.register_blueprint(blueprint)
    return app.wsgi_app
