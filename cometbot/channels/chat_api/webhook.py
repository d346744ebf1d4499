"""Posts every signal to the author's backend, in order within each conversation."""

from __future__ import annotations

from typing import ClassVar

from cometbot.channels.base import OutgoingRequest
from cometbot.channels.webhook import WebhookCall, WebhookChannel
from cometbot.http.webhooks import WebhookClient
from cometbot.models import Conversation
from cometbot.settings import Secret

WEBHOOK_CHANNEL = "chat_api_webhook"
WEBHOOK_ACCOUNT = "backend"
"""The account of every webhook conversation. It stays the same when the URL changes, so the order is kept."""


class ChatApiWebhookChannel(WebhookChannel):
    """Posts each signal to the backend at ``url``, in the same form as on the stream.

    A conversation's signals are sent in order, and are retried like any reply. A backend that is down pauses only its
    own account, and delays no reply in a chat.
    """

    name: ClassVar[str] = WEBHOOK_CHANNEL

    def __init__(self, url: str, secret: Secret, webhooks: WebhookClient) -> None:
        super().__init__(WEBHOOK_ACCOUNT, webhooks)
        self._url = url
        self._secret = secret

    def make_call(self, sending: OutgoingRequest) -> WebhookCall:
        headers = {"x-secret-key": self._secret.reveal()} if self._secret else {}
        return WebhookCall(self._url, dict(sending.payload), headers)


def webhook_conversation(bot: str, conversation_id: str) -> Conversation:
    """Return the outgoing conversation that keeps one conversation's signals in order."""
    return Conversation(WEBHOOK_CHANNEL, WEBHOOK_ACCOUNT, bot, conversation_id, conversation_id)
