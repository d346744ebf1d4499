"""The Chat API's channel keeps the contract of channels."""

from __future__ import annotations

from cometbot.bot import Bot
from cometbot.testing import Fake
from cometbot.testing.contract import ChannelContract
from cometbot.testing.fakes.chat_api import ChatApiFake


class TestChatApi(ChannelContract):
    def make_fake(self, bot: Bot) -> Fake:
        return ChatApiFake(bot)
