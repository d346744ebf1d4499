"""The conversations of delivery that belong to a chat."""

from __future__ import annotations

from cometbot.channels.platform.ids import webhook_conversation


def test_webhook_conversation_per_chat_and_account_per_bot() -> None:
    first, second = webhook_conversation("bot1", "chat1"), webhook_conversation("bot1", "chat2")
    other = webhook_conversation("bot2", "chat3")

    assert first.account == second.account != other.account
    assert len({str(item.key) for item in (first, second, other)}) == 3
    assert (first.target, other.target) == ("bot1", "bot2")
