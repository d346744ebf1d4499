"""The web application that serves bots, and the configuration of gunicorn to run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cometbot.web.app import create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    # Not imported at once: prometheus_client reads the environment that gunicorn's configuration prepares.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cometbot.web import app

    return getattr(app, name)
