"""Tools for testing a bot, and for testing a channel.

Names are imported on first use, since pytest loads this package's plugin in every project.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cometbot.testing.client import BotClient
    from cometbot.testing.fake_channel import EVERYTHING, TEXT_ONLY, FakeChannel
    from cometbot.testing.fake_model import FakeModel, ModelRequest
    from cometbot.testing.fakes.base import Actor, Fake, Fault, Unsupported, UserMessage
    from cometbot.testing.fakes.memory import MemoryFake
    from cometbot.testing.immediate_engine import ImmediateEngine, MemoryDatabase
    from cometbot.testing.replies import Replies, SentMessage
    from cometbot.testing.simplex import FakeSimplexCLI, FakeSimplexControl
    from cometbot.testing.waiting_step import WaitingStep
    from cometbot.token_usage import ModelUsage

_MODULES = {
    "EVERYTHING": "fake_channel",
    "TEXT_ONLY": "fake_channel",
    "Actor": "fakes.base",
    "BotClient": "client",
    "Fake": "fakes.base",
    "FakeChannel": "fake_channel",
    "FakeModel": "fake_model",
    "FakeSimplexCLI": "simplex",
    "FakeSimplexControl": "simplex",
    "Fault": "fakes.base",
    "ImmediateEngine": "immediate_engine",
    "MemoryDatabase": "immediate_engine",
    "MemoryFake": "fakes.memory",
    "ModelRequest": "fake_model",
    "ModelUsage": "harness",
    "Replies": "replies",
    "SentMessage": "replies",
    "Unsupported": "fakes.base",
    "UserMessage": "fakes.base",
    "WaitingStep": "waiting_step",
}

__all__ = [
    "EVERYTHING",
    "TEXT_ONLY",
    "Actor",
    "BotClient",
    "Fake",
    "FakeChannel",
    "FakeModel",
    "FakeSimplexCLI",
    "FakeSimplexControl",
    "Fault",
    "ImmediateEngine",
    "MemoryDatabase",
    "MemoryFake",
    "ModelRequest",
    "ModelUsage",
    "Replies",
    "SentMessage",
    "Unsupported",
    "UserMessage",
    "WaitingStep",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
