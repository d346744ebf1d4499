"""The Chat API's channel keeps the contract of channels."""

from __future__ import annotations

from cometbot.bot import Bot
from cometbot.testing import Double
from cometbot.testing.chat_api import ChatApiDouble
from cometbot.testing.contract import ChannelContract


class TestChatApi(ChannelContract):
    def make_double(self, bot: Bot) -> Double:
        return ChatApiDouble(bot)
