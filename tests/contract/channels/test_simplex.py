"""The SimpleX channel keeps the contract of channels: over a WebSocket with the stand-in for its CLI."""

from __future__ import annotations

from cometbot.bot import Bot
from cometbot.context import Context
from cometbot.messages import Media
from cometbot.testing import BotClient, Fake
from cometbot.testing.contract import ChannelContract
from cometbot.testing.fakes.simplex import SimplexFake


class TestSimplex(ChannelContract):
    def make_fake(self, bot: Bot) -> Fake:
        return SimplexFake(bot)

    def test_a_picture_arrives_as_a_picture(self, bot: Bot, client: BotClient) -> None:
        @bot.fallback
        def answer(ctx: Context) -> Media:
            return Media("https://example.com/a/photo.jpg", caption="A photo")

        [said] = client.send("show me")

        assert said.message == Media("https://example.com/a/photo.jpg", "image", "photo.jpg", caption="A photo")
