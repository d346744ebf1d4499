"""Views that work on the WSGI environment directly, for frequent requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

import flask

Environ: TypeAlias = Mapping[str, Any]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class RawResponse:
    """A JSON response that can be sent any number of times."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.status = _STATUS_LINES[status]
        self.body = body
        kind, length = ("Content-Type", "application/json"), ("Content-Length", str(len(body)))
        self.headers = [kind, length, *(headers or {}).items()]


RawView: TypeAlias = Callable[..., RawResponse]
"""Receives the environment, and the path's parameters as keyword arguments. It must not use ``flask.request`` or any
other of Flask's context objects."""


class RawWSGIBlueprint(flask.Blueprint):
    """A blueprint with some paths that can be answered without Flask.

    For every call Flask creates a context, a request and a response, which costs more than a short view itself.
    ``raw_views`` maps paths to their views. An application without support for them serves them as ordinary routes.
    """

    def __init__(self, name: str, import_name: str) -> None:
        super().__init__(name, import_name)
        self.raw_views: dict[str, RawView] = {}
        self._endpoints: set[str] = set()

    def add_raw_view(self, rule: str, view: RawView) -> None:
        """Register ``view`` for all methods of ``rule``.

        The view answers disallowed methods too, so that these responses are JSON wherever the blueprint is mounted.
        """

        def flask_view(**parts: str) -> flask.Response:
            response = view(flask.request.environ, **parts)
            return flask.Response(response.body, response.status, response.headers)

        options: dict[str, Any] = {"methods": _METHODS, "provide_automatic_options": False, "strict_slashes": False}
        endpoint = view.__name__
        if endpoint in self._endpoints:  # the same view has several paths
            endpoint = f"{endpoint}_{len(self._endpoints)}"
        self._endpoints.add(endpoint)
        self.add_url_rule(rule, endpoint, flask_view, **options)
