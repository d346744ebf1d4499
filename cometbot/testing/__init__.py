"""What a bot's author tests a bot with, and what a channel's author tests a channel with.

Its names are imported when they are first used, since pytest loads this package's plugin in every project.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cometbot.testing.channel import EVERYTHING, TEXT_ONLY, FakeChannel
    from cometbot.testing.client import BotClient
    from cometbot.testing.double import Double, Fault, Seat, Unsupported
    from cometbot.testing.engine import ImmediateEngine, MemoryDatabase
    from cometbot.testing.fake import FakeDouble
    from cometbot.testing.said import Replies, Said
    from cometbot.testing.simplex import FakeSimplexCLI, FakeSimplexControl

_HOMES = {
    "EVERYTHING": "channel",
    "TEXT_ONLY": "channel",
    "BotClient": "client",
    "Double": "double",
    "FakeChannel": "channel",
    "FakeDouble": "fake",
    "FakeSimplexCLI": "simplex",
    "FakeSimplexControl": "simplex",
    "Fault": "double",
    "ImmediateEngine": "engine",
    "MemoryDatabase": "engine",
    "Replies": "said",
    "Said": "said",
    "Seat": "double",
    "Unsupported": "double",
}

__all__ = [
    "EVERYTHING",
    "TEXT_ONLY",
    "BotClient",
    "Double",
    "FakeChannel",
    "FakeDouble",
    "FakeSimplexCLI",
    "FakeSimplexControl",
    "Fault",
    "ImmediateEngine",
    "MemoryDatabase",
    "Replies",
    "Said",
    "Seat",
    "Unsupported",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
