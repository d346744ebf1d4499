"""A summary of the service for the log at start: bots, channels, addresses, database."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from cometbot.settings import Settings
from cometbot.store.probe import locate_database
from cometbot.web.logs import configure_logging

_log = logging.getLogger("cometbot.serve")
_ANY_HOST = ("0.0.0.0", "[::]", "::", "")


def log_summary(settings: Settings, bots: Sequence[str]) -> None:
    """Log what ``cometbot serve`` serves, before it begins."""
    configure_logging(settings.log_format, settings.log_level)
    for line in summary_lines(settings, bots):
        _log.info(line)


def summary_lines(settings: Settings, bots: Sequence[str]) -> Iterator[str]:
    """Yield the lines about the service: the bots' names, the channels, each address, and the database."""
    yield f"serving {', '.join(bots) or settings.default_bot_spec} on {', '.join(settings.channels)}"
    base = base_url(settings)
    for bot in bots or ["<bot>"]:
        if "cometchat" in settings.channels:
            yield f"CometChat callback of {bot}: {base}/cometchat/{bot}"
        if "chat_api" in settings.channels:
            yield f"Chat API of {bot}: {base}/chat/{bot}, its reference: {base}/chat/{bot}/redoc"
    if "platform" in settings.channels:
        yield f"web chat: {base}/"
    if "simplex" in settings.channels:
        yield "SimpleX: run cometbot simplex beside it, which holds the connection"
    place = locate_database(settings.database_url)
    yield f"database: {place.kind}, {place.name}"


def base_url(settings: Settings) -> str:
    """Return the service's public address, or the address it listens on."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    if settings.bind.startswith("unix:"):
        return settings.bind
    host, _, port = settings.bind.rpartition(":")
    return f"http://{'localhost' if host in _ANY_HOST else host}:{port}"
