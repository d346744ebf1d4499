"""The Flask application that receives callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import flask
from flask.sansio.blueprints import Blueprint

from cometbot.http.raw_wsgi import RawView, RawWSGIBlueprint

_SIGNALS = (flask.request_started, flask.request_finished, flask.request_tearing_down, flask.appcontext_pushed)


class Application(flask.Flask):
    """A Flask application that answers frequent requests without Flask's overhead.

    These are POSTs to the ``raw_views`` paths of its blueprints. They go through Flask like all others if functions are
    registered to run around a request (``before_request``, ``after_request``, signals and the like).
    ``before_each_request`` is called first in any case.
    """

    def __init__(self, *args: Any, before_each_request: Callable[[], None], **options: Any) -> None:
        super().__init__(*args, **options)
        self._raw_views: dict[str, RawView] = {}
        self._before_each_request = before_each_request

    def register_blueprint(self, blueprint: Blueprint, **options: Any) -> None:
        """Register ``blueprint``, and its raw views if it has any and no options change its paths."""
        super().register_blueprint(blueprint, **options)
        if isinstance(blueprint, RawWSGIBlueprint) and not options:
            self._raw_views.update(blueprint.raw_views)

    def wsgi_app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        self._before_each_request()
        view = self._raw_views.get(environ["PATH_INFO"]) if environ["REQUEST_METHOD"] == "POST" else None
        if view is None or self._has_flask_hooks():
            return super().wsgi_app(environ, start_response)
        try:
            answer = view(environ)
        except Exception as error:
            with self.request_context(environ):
                return self.handle_exception(error)(environ, start_response)
        start_response(answer.status, list(answer.headers))
        return [answer.body]

    def _has_flask_hooks(self) -> bool:
        for signal in _SIGNALS:
            if signal.receivers and signal.has_receivers_for(self):
                return True
        return (
            None in self.before_request_funcs
            or None in self.after_request_funcs
            or None in self.teardown_request_funcs
            or None in self.url_value_preprocessors
            or bool(self.teardown_appcontext_funcs)
        )
