"""Routes of the web chat's files. The page itself calls the platform's other routes."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response

from cometbot.http.page import PageFiles

FILES = PageFiles(Path(__file__).parent / "static")
"""The page, and the scripts and styles that it shares with the simulator's page."""


def page_blueprint() -> Blueprint:
    """Return the blueprint of the web chat.

    The page is at ``/``, ``/bot/<id>`` and ``/conversation/<id>``, its files are under ``/page``. The page's script
    reads the bot or chat from the URL. File URLs contain a version, so that browsers cache the files until they change.
    """
    blueprint = Blueprint("webchat", __name__)
    blueprint.add_url_rule("/", "index", _index)
    blueprint.add_url_rule("/bot/<identifier>", "bot", _index)
    blueprint.add_url_rule("/conversation/<identifier>", "chat", _index)
    blueprint.add_url_rule("/page/<name>", "file", FILES.file)
    blueprint.add_url_rule("/page/<version>/<name>", "versioned", FILES.versioned)
    return blueprint


def _index(identifier: str = "") -> Response:
    return FILES.index()
