"""Where the webhooks of a chat go out."""

from __future__ import annotations

from cometbot.channels.botyard.webhook import webhook_conversation


def test_each_chat_has_a_conversation_of_its_own_and_each_bot_an_account() -> None:
    first, second = webhook_conversation("bot1", "chat1"), webhook_conversation("bot1", "chat2")
    other = webhook_conversation("bot2", "chat3")

    assert first.account == second.account != other.account
    assert len({str(item.key) for item in (first, second, other)}) == 3
    assert (first.target, other.target) == ("bot1", "bot2")
