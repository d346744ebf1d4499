"""What one process does: whose messages it handles, and which channels it sends to.

Most channels are sent to by whichever process handles. One that holds a connection (``Channel.has_owner``) is sent to
by the process that has it alone; the others handle its messages and only write the outbox.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from cometbot.channels.base import Channel

_QUEUE = "cometbot"


@dataclass(frozen=True, slots=True)
class Roles:
    """``handled`` and ``sent`` are names of channels; ``owned`` those of them that one process alone sends to."""

    bots: frozenset[str]
    handled: frozenset[str]
    sent: frozenset[str]
    owned: frozenset[str] = frozenset()

    @classmethod
    def of(cls, bots: Iterable[str], channels: Mapping[str, Channel], *, handles: bool = True) -> Roles:
        """The roles of a process with ``channels``. One that does not handle only sends, to what it owns."""
        owned = owned_channels(channels)
        sent = {name for name, channel in channels.items() if channel.sends and (handles or name in owned)}
        return cls(frozenset(bots), frozenset(channels if handles else ()), frozenset(sent), owned)

    @property
    def both(self) -> frozenset[str]:
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

    def serve(self, lane: str) -> bool:
        """Whether this process has anything to do with a conversation."""
        channel, bot = _split(lane)
        return bot in self.bots and (channel in self.handled or channel in self.sent)

    def can(self, lane: str, *, to_send: bool) -> bool:
        """Whether it can do what there is to be done in a conversation now: to send replies, or to handle messages."""
        channel, bot = _split(lane)
        return bot in self.bots and channel in (self.sent if to_send else self.handled)

    def queues(self) -> Iterator[tuple[str, Roles]]:
        """The queues of wakes that this process takes from, each with the part of these roles that it is for."""
        for channel in sorted(self.handled):
            one = frozenset((channel,))
            both = one if channel not in self.owned else frozenset[str]()
            yield queue_of(channel), Roles(self.bots, one, both, self.owned)
        for channel in sorted(self.sent & self.owned):
            yield queue_of(channel, to_send=True), Roles(self.bots, frozenset(), frozenset((channel,)), self.owned)


def owned_channels(channels: Mapping[str, Channel]) -> frozenset[str]:
    """The names of the channels that one process alone sends to."""
    return frozenset(name for name, channel in channels.items() if channel.has_owner)


def queue_of(channel: str, *, to_send: bool = False) -> str:
    """The queue for wakes of a channel's conversations: to handle messages, or ``to_send`` where that is another's."""
    return f"{_QUEUE}.{channel}.send" if to_send else f"{_QUEUE}.{channel}"


def queue_of_lane(lane: str, owned: Collection[str], *, to_send: bool) -> str:
    """The queue for a wake of ``lane``."""
    channel = lane.partition("/")[0]
    return queue_of(channel, to_send=to_send and channel in owned)


def _split(lane: str) -> tuple[str, str]:
    """The channel and the bot in a lane's name."""
    channel, _, bot, *_ = [*lane.split("/", 3), "", "", ""]
    return channel, bot
