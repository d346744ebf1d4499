"""The platform keeps the contract of channels: with a message a reply, and with replies joined for apps that poll."""

from __future__ import annotations

import pytest

from cometbot.bot import Bot
from cometbot.channels.platform import config
from cometbot.testing import BotClient, Fake
from cometbot.testing.contract import ChannelContract
from cometbot.testing.fakes.platform import PlatformFake


class TestPlatform(ChannelContract):
    def make_fake(self, bot: Bot) -> Fake:
        return PlatformFake(bot)


def test_config_is_read_outside_of_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory there is one connection, so that a transaction that reads the config's version would wait for ever."""
    monkeypatch.setattr(config, "CHECK_INTERVAL", -1.0)
    bot = Bot("shop")
    bot.fallback(lambda ctx: f"echo {ctx.text}")
    with BotClient(bot, channel="platform") as client:
        assert client.send("hello").text == "echo hello"
