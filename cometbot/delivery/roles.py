"""What one process does for a conversation: handle its messages, send its replies, or both.

For most channels, the process that handles a message also sends the replies. A channel that holds a connection
(``Channel.has_single_sender``) is sent to only by the process that owns the connection; other processes handle its
messages and only write the outbox.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from cometbot.channels.base import Channel, Channels

_QUEUE_PREFIX = "cometbot"


@dataclass(frozen=True, slots=True)
class ProcessRoles:
    """The roles of one process.

    ``handled`` and ``sent`` are names of channels; ``owned`` are the channels that only one process sends to. Of the
    channels in ``accounts``, the process serves these accounts alone.
    """

    bots: frozenset[str]
    handled: frozenset[str]
    sent: frozenset[str]
    owned: frozenset[str] = frozenset()
    accounts: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def from_channels(cls, bots: Iterable[str], channels: Channels, *, handles: bool = True) -> ProcessRoles:
        """Return the roles of a process with ``channels``.

        With ``handles=False`` it only sends, to the channels that it owns.
        """
        owned = owned_channels(channels)
        sent = {name for name, channel in channels.items() if channel.can_send and (handles or name in owned)}
        return cls(frozenset(bots), frozenset(channels if handles else ()), frozenset(sent), owned, channels.accounts)

    @property
    def handled_and_sent(self) -> frozenset[str]:
        """The channels for which this process both handles messages and sends replies."""
        return self.handled & self.sent

    @property
    def only_handled(self) -> frozenset[str]:
        """The channels whose replies are sent by another process."""
        return self.handled - self.sent

    @property
    def only_sent(self) -> frozenset[str]:
        """The channels whose messages are handled by other processes."""
        return self.sent - self.handled

    def abilities(self, conversation_key: str) -> tuple[bool, bool]:
        """Return whether this process can handle the conversation's messages, and whether it can send its replies."""
        channel, account, bot, *_ = [*conversation_key.split("/", 3), "", "", ""]
        accounts = self.accounts.get(channel)
        is_served = bot in self.bots and (accounts is None or account.replace("%2F", "/") in accounts)
        return is_served and channel in self.handled, is_served and channel in self.sent

    def queues(self) -> Iterator[tuple[str, ProcessRoles]]:
        """Yield the queues from which this process receives jobs, each with the part of these roles that it serves."""
        for channel in sorted(self.handled):
            channel_set = frozenset((channel,))
            both = channel_set if channel not in self.owned else frozenset[str]()
            yield queue_name(channel), replace(self, handled=channel_set, sent=both)
        for channel in sorted(self.sent & self.owned):
            yield (
                queue_name(channel, to_send=True),
                replace(self, handled=frozenset(), sent=frozenset((channel,))),
            )


def owned_channels(channels: Mapping[str, Channel]) -> frozenset[str]:
    """Return the names of the channels that only one process sends to."""
    return frozenset(name for name, channel in channels.items() if channel.has_single_sender)


def queue_name(channel: str, *, to_send: bool = False) -> str:
    """Return the queue of a channel's conversations, with ``to_send`` the queue for the one process that sends."""
    return f"{_QUEUE_PREFIX}.{channel}.send" if to_send else f"{_QUEUE_PREFIX}.{channel}"


def queue_for_conversation(conversation_key: str, owned: Collection[str], *, to_send: bool) -> str:
    """Return the queue for a job of ``conversation_key``."""
    channel = conversation_key.partition("/")[0]
    return queue_name(channel, to_send=to_send and channel in owned)
