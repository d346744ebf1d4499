"""The channel of the conversations in which jobs run. It has no platform: a job says things in other conversations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cometbot.bot import Bot
from cometbot.channels.base import Channel, Channels, IncomingEvent, OutgoingRequest
from cometbot.errors import BotError, PayloadError, Rejected
from cometbot.events import Event
from cometbot.jobs import ACCOUNT, JOBS_CHANNEL, parse_body
from cometbot.messages import Capabilities, Operation
from cometbot.models import Conversation


class JobChannel(Channel):
    """The channel of jobs. A conversation that a job names without a channel is on the first one of ``channels``."""

    name = JOBS_CHANNEL
    capabilities = Capabilities()

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    @property
    def home(self) -> Channel:
        if not self._channels:
            raise BotError("a job cannot send anything here: no channel is configured; see COMETBOT_CHANNELS")
        return self._channels.choose()

    @property
    def account(self) -> str:
        return ACCOUNT

    def conversation(self, bot: Bot, *, user: str = "", group: str = "") -> Conversation:
        return self.home.conversation(bot, user=user, group=group)

    def parse(self, incoming: IncomingEvent) -> Event:
        try:
            return parse_body(incoming.key, incoming.conversation, incoming.body)
        except (ValueError, KeyError, TypeError) as error:
            raise PayloadError(f"not the body of a job: {error}") from error

    def render(self, operation: Operation) -> list[dict[str, Any]]:
        raise BotError("a job has no conversation of its own; use ctx.send(…, to=…)")

    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        raise Rejected("a job has no conversation of its own")

    def client(self, bot: str) -> Any:
        return self.home.client(bot)

    def readonly_client(self, bot: str, on_write: Callable[[str], None]) -> Any:
        return self.home.readonly_client(bot, on_write)


def add_job_channel(channels: Channels) -> Channels:
    """Return the channels of a process that handles messages: the configured ones, and that of jobs."""
    return Channels([*channels.all, JobChannel(channels)], channels.aliases, channels.app_aliases)
