"""Tests over CometChat: the real channel with the simulator."""

from cometbot.testing.cometchat.double import CometChatDouble

__all__ = ["CometChatDouble"]
