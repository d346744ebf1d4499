"""What one process does: whose messages it handles, and which channels it sends to.

Most channels are sent to by whichever process handles. One that holds a connection (``Channel.has_single_sender``) is
sent to by the process that has it alone; the others handle its messages and only write the outbox.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from cometbot.channels.base import Channel

_QUEUE_PREFIX = "cometbot"


@dataclass(frozen=True, slots=True)
class ProcessRoles:
    """``handled`` and ``sent`` are names of channels; ``owned`` those of them that one process alone sends to."""

    bots: frozenset[str]
    handled: frozenset[str]
    sent: frozenset[str]
    owned: frozenset[str] = frozenset()

    @classmethod
    def from_channels(
        cls, bots: Iterable[str], channels: Mapping[str, Channel], *, handles: bool = True
    ) -> ProcessRoles:
        """The roles of a process with ``channels``. One that does not handle only sends, to what it owns."""
        owned = owned_channels(channels)
        sent = {name for name, channel in channels.items() if channel.can_send and (handles or name in owned)}
        return cls(frozenset(bots), frozenset(channels if handles else ()), frozenset(sent), owned)

    @property
    def handled_and_sent(self) -> frozenset[str]:
        """The channels whose conversations this process works through from end to end."""
        return self.handled & self.sent

    @property
    def only_handled(self) -> frozenset[str]:
        """The channels whose replies others send."""
        return self.handled - self.sent

    @property
    def only_sent(self) -> frozenset[str]:
        """The channels whose messages others handle."""
        return self.sent - self.handled

    def involves(self, conversation_key: str) -> bool:
        """Whether this process has anything to do with a conversation."""
        channel, bot = _parse_key(conversation_key)
        return bot in self.bots and (channel in self.handled or channel in self.sent)

    def can_process(self, conversation_key: str, *, to_send: bool) -> bool:
        """Whether it can do what there is to be done in a conversation now: to send replies, or to handle messages."""
        channel, bot = _parse_key(conversation_key)
        return bot in self.bots and channel in (self.sent if to_send else self.handled)

    def queues(self) -> Iterator[tuple[str, ProcessRoles]]:
        """The queues of wakes that this process takes from, each with the part of these roles that it is for."""
        for channel in sorted(self.handled):
            channel_set = frozenset((channel,))
            both = channel_set if channel not in self.owned else frozenset[str]()
            yield queue_name(channel), ProcessRoles(self.bots, channel_set, both, self.owned)
        for channel in sorted(self.sent & self.owned):
            yield (
                queue_name(channel, to_send=True),
                ProcessRoles(self.bots, frozenset(), frozenset((channel,)), self.owned),
            )


def owned_channels(channels: Mapping[str, Channel]) -> frozenset[str]:
    """The names of the channels that one process alone sends to."""
    return frozenset(name for name, channel in channels.items() if channel.has_single_sender)


def queue_name(channel: str, *, to_send: bool = False) -> str:
    """The queue for wakes of a channel's conversations: to handle messages, or ``to_send`` where that is another's."""
    return f"{_QUEUE_PREFIX}.{channel}.send" if to_send else f"{_QUEUE_PREFIX}.{channel}"


def queue_for_conversation(conversation_key: str, owned: Collection[str], *, to_send: bool) -> str:
    """The queue for a wake of ``conversation_key``."""
    channel = conversation_key.partition("/")[0]
    return queue_name(channel, to_send=to_send and channel in owned)


def _parse_key(conversation_key: str) -> tuple[str, str]:
    """The channel and the bot in a lane's name."""
    channel, _, bot, *_ = [*conversation_key.split("/", 3), "", "", ""]
    return channel, bot
