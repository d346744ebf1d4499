"""The base class of channels that call webhooks."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import orjson

from cometbot.bot import Bot
from cometbot.channels.base import Channel, IncomingEvent, OutgoingRequest
from cometbot.errors import BotError, PayloadError
from cometbot.events import Event
from cometbot.http.webhooks import WebhookClient
from cometbot.messages import Capabilities, Operation
from cometbot.models import Conversation


@dataclass(frozen=True, slots=True)
class WebhookCall:
    """A POST to a webhook: its URL, its JSON, and headers that may contain a secret. ``id`` identifies the message."""

    url: str
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    id: str = ""


class WebhookChannel(Channel):
    """Base class of channels that call webhooks: they receive no events, and cannot send to a user.

    ``enqueue_outgoing_in`` stores their requests, in conversations whose account names the receiver. A receiver that is
    down thus pauses only its own requests, and each conversation is sent in order. A 2xx response means that the
    receiver has accepted the request; any other outcome is retried or becomes a dead letter, like any reply.
    """

    capabilities = Capabilities()
    call_timeout: ClassVar[float] = math.inf
    """Seconds that a receiver has to respond, if that is less than the timeout of :meth:`send`."""

    def __init__(self, account: str, webhooks: WebhookClient) -> None:
        self.webhooks = webhooks
        self._account = account

    @property
    def account(self) -> str:
        return self._account

    def conversation(self, bot: Bot, *, user: str = "", group: str = "") -> Conversation:
        raise self._cannot_send()

    def parse(self, incoming: IncomingEvent) -> Event:
        raise PayloadError(f"the channel {self.name} receives no events")

    def render(self, operation: Operation) -> list[dict[str, Any]]:
        raise self._cannot_send()

    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        """Post a stored request like :meth:`Channel.send`. Nothing is sent if it was erased while it waited."""
        call = self.make_call(sending) if sending.payload else None
        if call is None:
            return ""
        self.webhooks.post(call.url, orjson.dumps(call.body), call.headers, min(timeout, self.call_timeout))
        return call.id

    @abstractmethod
    def make_call(self, sending: OutgoingRequest) -> WebhookCall | None:
        """Return the call for a stored request, or None if its receiver has no webhook any more."""

    def close(self) -> None:
        self.webhooks.close()

    def _cannot_send(self) -> BotError:
        return BotError(f"cannot send by the channel {self.name}: it only calls webhooks. Name another channel.")
