"""The webhook: an author's backend is told of everything that happens, in order, conversation by conversation."""

from __future__ import annotations

from typing import ClassVar

import orjson

from cometbot.channels.base import OutgoingRequest
from cometbot.channels.chat_api.webhook_queue import WEBHOOK_ACCOUNT, WEBHOOK_CHANNEL
from cometbot.http.webhooks import WebhookChannel, WebhookClient
from cometbot.settings import Secret


class ChatApiWebhookChannel(WebhookChannel):
    """The way to the backend at ``url``, which each signal is posted to, as the stream says it.

    A conversation's signals go out in their order, and are tried again as delivery tries any reply again; a backend
    that is down is paused by itself, and no reply in a chat waits for it.
    """

    name: ClassVar[str] = WEBHOOK_CHANNEL

    def __init__(self, url: str, secret: Secret, webhooks: WebhookClient) -> None:
        super().__init__(WEBHOOK_ACCOUNT, webhooks)
        self._url = url
        self._secret = secret

    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        if not sending.payload:  # what was to be told was erased while it waited
            return ""
        headers = {"x-secret-key": self._secret.reveal()} if self._secret else {}
        self.webhooks.post(self._url, orjson.dumps(dict(sending.payload)), headers, timeout)
        return ""
