"""Views that take a WSGI environment as it is: for requests that come in thousands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

import flask

Environ: TypeAlias = Mapping[str, Any]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class RawResponse:
    """An answer in JSON, ready to be sent any number of times."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.status = _STATUS_LINES[status]
        self.body = body
        kind, length = ("Content-Type", "application/json"), ("Content-Length", str(len(body)))
        self.headers = [kind, length, *(headers or {}).items()]


RawView: TypeAlias = Callable[..., RawResponse]
"""Takes the environment, and what the path names by keyword. It uses nothing of Flask's, such as ``flask.request``."""


class RawWSGIBlueprint(flask.Blueprint):
    """A blueprint some of whose paths can be answered without Flask.

    Flask makes a context, a request and a response for every call, which costs more than all that a short view does.
    ``raw_views`` are the views by path; an application that knows nothing of them serves the routes as any other.
    """

    def __init__(self, name: str, import_name: str) -> None:
        super().__init__(name, import_name)
        self.raw_views: dict[str, RawView] = {}

    def add_raw_view(self, rule: str, view: RawView) -> None:
        """Let ``view`` answer all that comes to ``rule``: every method, so that refusals are JSON too wherever this is
        mounted."""

        def flask_view(**parts: str) -> flask.Response:
            answer = view(flask.request.environ, **parts)
            return flask.Response(answer.body, answer.status, answer.headers)

        options: dict[str, Any] = {"methods": _METHODS, "provide_automatic_options": False, "strict_slashes": False}
        self.add_url_rule(rule, view.__name__, flask_view, **options)
