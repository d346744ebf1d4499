"""The base class of channels that call webhooks: what it refuses, and what it posts."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot.bot import Bot
from cometbot.channels.base import IncomingEvent, OutgoingRequest
from cometbot.channels.webhook import WebhookCall, WebhookChannel
from cometbot.errors import BotError, PayloadError
from cometbot.http.webhooks import WebhookClient
from cometbot.messages import Operation, Text
from cometbot.models import Conversation

CONVERSATION = Conversation("hooks", "https://example.com:443", "helpdesk", "c", "c")


class FakeClient(WebhookClient):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []

    def post(self, *call: Any) -> None:
        self.calls.append(call)


class FakeWebhookChannel(WebhookChannel):
    name = "hooks"
    call_timeout = 5.0

    def make_call(self, sending: OutgoingRequest) -> WebhookCall | None:
        call = WebhookCall("https://example.com/a", sending.payload["body"], {"x-key": "s"}, "m1")
        return call if call.body else None


def test_webhook_channel_neither_renders_nor_parses() -> None:
    channel = FakeWebhookChannel("https://example.com:443", WebhookClient())
    assert channel.account == "https://example.com:443"
    with pytest.raises(BotError, match="Name another channel"):
        channel.conversation(Bot("helpdesk"), user="maria")
    with pytest.raises(BotError, match="Name another channel"):
        channel.render(Operation(conversation=CONVERSATION, message=Text("hi")))
    with pytest.raises(PayloadError, match="receives no events"):
        channel.parse(IncomingEvent(CONVERSATION, "k", b"{}"))
    channel.close()


@pytest.mark.parametrize(("timeout", "used"), [(3.0, 3.0), (9.0, 5.0)])
def test_send_posts_json_within_the_lesser_timeout(timeout: float, used: float) -> None:
    client = FakeClient()
    channel = FakeWebhookChannel("a", client)
    assert channel.send(OutgoingRequest(CONVERSATION, "c1", {"body": {"a": 1}}), timeout=timeout) == "m1"
    assert client.calls == [("https://example.com/a", b'{"a":1}', {"x-key": "s"}, used)]


@pytest.mark.parametrize("payload", [{}, {"body": None}])
def test_erased_request_or_missing_webhook_posts_nothing(payload: dict[str, Any]) -> None:
    client = FakeClient()
    assert FakeWebhookChannel("a", client).send(OutgoingRequest(CONVERSATION, "c1", payload), timeout=3.0) == ""
    assert client.calls == []
