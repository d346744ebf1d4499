"""The CometChat channel keeps the contract of channels: over HTTP with the simulator, in each way to send cards."""

from __future__ import annotations

from cometbot.bot import Bot
from cometbot.testing import Double
from cometbot.testing.cometchat import CometChatDouble
from cometbot.testing.contract import ChannelContract


class TestCometChat(ChannelContract):
    def make_double(self, bot: Bot) -> Double:
        return CometChatDouble(bot, sockets=True)


class TestCometChatInteractive(ChannelContract):
    def make_double(self, bot: Bot) -> Double:
        return CometChatDouble(bot, rich="interactive")


class TestCometChatCards(ChannelContract):
    def make_double(self, bot: Bot) -> Double:
        return CometChatDouble(bot, rich="card")
