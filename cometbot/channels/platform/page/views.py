"""The routes of the web chat's files; what it asks for and sends are the platform's own routes."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response

from cometbot.http.page import PageFiles

FILES = PageFiles(Path(__file__).parent / "static")
"""The page, with the scripts and styles that it shares with the simulator's."""


def page_blueprint() -> Blueprint:
    """The page at ``/``, ``/bot/<id>`` and ``/conversation/<id>``, and its files under ``/page``.

    Which bot and which chat is meant the page finds out itself. The files are named by their version, so that
    a browser keeps them until they change.
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
