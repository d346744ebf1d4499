"""Who is deleted from a platform is deleted from the broadcasts, with the choice to get none."""

from __future__ import annotations

import pytest

from cometbot import Bot
from cometbot.broadcasts import OPTED_OUT_KEY
from cometbot.channels.platform.chat_service import delete_user
from cometbot.testing import BotClient
from cometbot.testing.fakes.chat_api import ChatApiFake
from cometbot.testing.fakes.platform import PlatformFake
from tests.table_rows import find_rows

UID = "secretperson"


def delete(client: BotClient) -> None:
    """Delete the user as the platform does."""
    fake = client.fake
    if isinstance(fake, PlatformFake):
        with client._harness.database.write() as connection:
            assert delete_user(connection, fake.chat, UID)
        return
    assert isinstance(fake, ChatApiFake)
    fake._call("DELETE", "/users/me", {}, fake._join_conversation(client._actor))


@pytest.mark.parametrize("channel", ["chat_api", "platform"])
def test_deleted_user_is_in_no_broadcast(channel: str) -> None:
    bot = Bot("news", opt_out_words=["unsubscribe"])
    with BotClient(bot, user=UID, channel=channel) as client:
        client.as_user("maria").start()
        client.send("unsubscribe")
        bot.broadcast(users=["maria", UID], text="Old news", name="old")
        client.advance("1m")
        bot.broadcast(users=["maria", UID], text="News", name="news", pace="1/hour")
        client.advance("1s")
        broadcasts = client._harness.delivery.broadcasts
        assert (broadcasts.get("old").opted_out, broadcasts.get("news").waiting) == (1, 1)
        delete(client)
        assert (broadcasts.get("old").recipients, broadcasts.get("news").recipients) == (1, 1)
        rows = find_rows(client._harness.database, UID, OPTED_OUT_KEY)
        assert [row for row in rows if row.startswith(("broadcast_recipients:", "state:"))] == []
