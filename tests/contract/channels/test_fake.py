"""The platform of tests keeps the contract of channels, whatever it is told that it can show."""

from __future__ import annotations

from cometbot.bot import Bot
from cometbot.testing import TEXT_ONLY, Fake, MemoryFake
from cometbot.testing.contract import ChannelContract


class TestFake(ChannelContract):
    def make_fake(self, bot: Bot) -> Fake:
        return MemoryFake(bot)


class TestFakeWithTextOnly(ChannelContract):
    def make_fake(self, bot: Bot) -> Fake:
        return MemoryFake(bot, TEXT_ONLY)
