"""Where the webhooks of a chat go out."""

from __future__ import annotations

from cometbot.channels.botyard.webhook import webhook_conversation


def test_each_chat_has_a_conversation_of_its_own_and_each_receiver_an_account() -> None:
    first = webhook_conversation("bot1", "chat1", "https://user@Example.com/hook?secret=1")
    second = webhook_conversation("bot1", "chat2", "https://example.com/hook")
    other = webhook_conversation("bot2", "chat3", "http://example.com:8080/hook")

    assert first.account == second.account == "https://example.com:443"
    assert other.account == "http://example.com:8080"
    assert len({str(item.key) for item in (first, second, other)}) == 3
    assert "secret" not in str(first.key)
    assert (first.target, other.target) == ("bot1", "bot2")
