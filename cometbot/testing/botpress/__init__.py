"""The Chat API in tests: the real one, with users who send its requests."""

from cometbot.testing.botpress.double import BotpressDouble

__all__ = ["BotpressDouble"]
