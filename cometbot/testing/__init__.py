"""Tools for testing a bot, and for testing a channel.

Names are imported on first use, since pytest loads this package's plugin in every project.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cometbot.testing.client import BotClient
    from cometbot.testing.double import Double, Fault, Seat, Unsupported
    from cometbot.testing.fake_channel import EVERYTHING, TEXT_ONLY, FakeChannel
    from cometbot.testing.fake_double import FakeDouble
    from cometbot.testing.immediate_engine import ImmediateEngine, MemoryDatabase
    from cometbot.testing.replies import Replies, Said
    from cometbot.testing.simplex import FakeSimplexCLI, FakeSimplexControl

_MODULES = {
    "EVERYTHING": "fake_channel",
    "TEXT_ONLY": "fake_channel",
    "BotClient": "client",
    "Double": "double",
    "FakeChannel": "fake_channel",
    "FakeDouble": "fake_double",
    "FakeSimplexCLI": "simplex",
    "FakeSimplexControl": "simplex",
    "Fault": "double",
    "ImmediateEngine": "immediate_engine",
    "MemoryDatabase": "immediate_engine",
    "Replies": "replies",
    "Said": "replies",
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
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
