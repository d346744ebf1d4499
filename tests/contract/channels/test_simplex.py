"""The SimpleX channel keeps the contract of channels: over a WebSocket with the stand-in for its CLI."""

from __future__ import annotations

from cometbot.bot import Bot
from cometbot.testing import Double
from cometbot.testing.contract import ChannelContract
from cometbot.testing.simplex.double import SimplexDouble


class TestSimplex(ChannelContract):
    def make_double(self, bot: Bot) -> Double:
        return SimplexDouble(bot)
