"""The CometChat channel keeps the contract of channels: over HTTP with the simulator, in each way to send cards."""

from __future__ import annotations

from cometbot.bot import Bot
from cometbot.testing import Fake
from cometbot.testing.contract import ChannelContract
from cometbot.testing.fakes.cometchat import CometChatFake


class TestCometChat(ChannelContract):
    def make_fake(self, bot: Bot) -> Fake:
        return CometChatFake(bot, sockets=True)


class TestCometChatInteractive(ChannelContract):
    def make_fake(self, bot: Bot) -> Fake:
        return CometChatFake(bot, rich="interactive")


class TestCometChatForms(ChannelContract):
    def make_fake(self, bot: Bot) -> Fake:
        return CometChatFake(bot, rich="interactive", card_buttons="url")


class TestCometChatCards(ChannelContract):
    def make_fake(self, bot: Bot) -> Fake:
        return CometChatFake(bot, rich="card")
