"""Posts every signal to the author's backend, in order within each conversation."""

from __future__ import annotations

from typing import ClassVar

import orjson

from cometbot.channels.base import OutgoingRequest
from cometbot.channels.chat_api.webhook_queue import WEBHOOK_ACCOUNT, WEBHOOK_CHANNEL
from cometbot.http.webhooks import WebhookChannel, WebhookClient
from cometbot.settings import Secret


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

    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        if not sending.payload:  # the signal was erased while it waited
            return ""
        headers = {"x-secret-key": self._secret.reveal()} if self._secret else {}
        self.webhooks.post(self._url, orjson.dumps(dict(sending.payload)), headers, timeout)
        return ""
