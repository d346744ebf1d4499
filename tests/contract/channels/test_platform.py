"""The platform keeps the contract of channels: with a message a reply, and with replies joined for apps that poll."""

from __future__ import annotations

from cometbot.bot import Bot
from cometbot.testing import Double
from cometbot.testing.contract import ChannelContract
from cometbot.testing.platform import PlatformDouble


class TestPlatform(ChannelContract):
    def make_double(self, bot: Bot) -> Double:
        return PlatformDouble(bot)
