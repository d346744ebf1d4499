"""The platform keeps the contract of channels: with a message a reply, and with replies joined for apps that poll."""

from __future__ import annotations

from cometbot.bot import Bot
from cometbot.testing import Fake
from cometbot.testing.contract import ChannelContract
from cometbot.testing.fakes.platform import PlatformFake


class TestPlatform(ChannelContract):
    def make_fake(self, bot: Bot) -> Fake:
        return PlatformFake(bot)
