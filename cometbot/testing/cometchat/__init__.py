"""CometChat in tests: the real channel, against the simulator."""

from cometbot.testing.cometchat.double import CometChatDouble

__all__ = ["CometChatDouble"]
