"""The channel of AG-UI keeps the contract of channels."""

from __future__ import annotations

from cometbot.bot import Bot
from cometbot.testing import Fake
from cometbot.testing.contract import ChannelContract
from cometbot.testing.fakes.agui import AguiFake


class TestAgui(ChannelContract):
    def make_fake(self, bot: Bot) -> Fake:
        return AguiFake(bot)
