"""Tests over the Chat API: the real one, with users who send its requests."""

from cometbot.testing.chat_api.double import ChatApiDouble

__all__ = ["ChatApiDouble"]
