"""What stands in for a platform in tests: its users, what they see, and how it fails."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cometbot.bot import Bot
from cometbot.channels.base import Channel
from cometbot.delivery import Delivery
from cometbot.errors import BotError
from cometbot.events import Event
from cometbot.messages import QuickReply
from cometbot.models import Attachment, Conversation, User
from cometbot.store.database import Database
from cometbot.testing.replies import Said

Fault = Literal["rate_limited", "failed", "failed_after_acting", "unreachable", "refused"]
"""How the platform answers the bot's next request: a 429 with a wait of a second, a 500 with nothing done, a 500
although it was done, no connection, or a no that stays a no."""


class Unsupported(BotError):
    """On this platform users cannot do that."""


@dataclass(frozen=True, slots=True)
class Seat:
    """Who acts, and where: in ``group``, or one-to-one with the bot where that is empty."""

    user: User
    group: str = ""


def already_member(seat: Seat) -> BotError:
    """Return the error for a user who joins a group that he is in."""
    return BotError(
        f"{seat.user.uid} is in {seat.group} already: call join() before anything else is done there, or leave() first"
    )


class Double(ABC):
    """A channel together with a stand-in for its platform, on which users do things and a bot's words are seen.

    What a user does goes the way that it goes in production: through what the channel has for taking it in, to
    ``put`` of the :class:`Delivery` that was attached. Methods that a platform has nothing for raise
    :class:`Unsupported` and need not be overridden. A double may be slow to tell delivery; :meth:`settle` waits for it.
    """

    def __init__(self, bot: Bot) -> None:
        self.bot = bot

    def use(self, database: Database) -> None:
        """Work in ``database``, which delivery works in too: for platforms of our own, whose rows are kept there.

        Called once, before anything else.
        """

    @property
    @abstractmethod
    def channel(self) -> Channel:
        """The channel under test; always the same object."""

    @abstractmethod
    def attach(self, delivery: Delivery) -> None:
        """Bring what users do to ``delivery`` from now on."""

    @abstractmethod
    def say(
        self,
        seat: Seat,
        text: str,
        *,
        thread_id: str = "",
        quote_id: str = "",
        mention: bool = False,
        attachments: Sequence[Attachment] = (),
    ) -> str:
        """The platform's id of what a user just wrote. ``mention`` puts a mention of the bot before the text."""

    @abstractmethod
    def said(self) -> list[Said]:
        """What the bot said and did not take back, in the order in which the platform shows it."""

    def uid(self, user: User, group: str = "") -> str:
        """What the platform calls ``user``, alone with the bot or in ``group``; another name where it gives its own."""
        return user.uid

    def lasting_id(self, user: User, group: str = "") -> str:
        """What the bot's memory of ``user`` is kept under: the uid, unless the platform gives freed uids to others."""
        return self.uid(user, group)

    def guid(self, group: str) -> str:
        """What the platform calls ``group``; another name where it gives its own."""
        return group

    def conversation(self, seat: Seat) -> Conversation:
        """Where the words of this seat are said."""
        if seat.group:
            return self.channel.conversation(self.bot, group=self.guid(seat.group))
        return self.channel.conversation(self.bot, user=self.uid(seat.user))

    def reactions(self, message_id: str) -> list[str]:
        """The reactions that the bot put on a message."""
        raise Unsupported

    def press(self, seat: Seat, said: Said, offer: QuickReply) -> None:
        """Press a button, or take a choice, of a message that the platform shows as such."""
        raise Unsupported

    def submit(self, seat: Seat, said: Said, values: Mapping[str, str]) -> None:
        """Send a form that the platform shows as such, with a value a field."""
        raise Unsupported

    def edit(self, seat: Seat, message_id: str, text: str) -> None:
        """Change what the user wrote."""
        raise Unsupported

    def delete(self, seat: Seat, message_id: str) -> None:
        """Take back what the user wrote."""
        raise Unsupported

    def react(self, seat: Seat, message_id: str, reaction: str, *, added: bool = True) -> None:
        """Put a reaction on a message, or take it away."""
        raise Unsupported

    def join(self, seat: Seat) -> None:
        """Make the user a member of the seat's group and tell the bot.

        Raises :class:`BotError` for a member (:func:`already_member`). Users become members silently with the first
        thing that they do in a group.
        """
        raise Unsupported

    def leave(self, seat: Seat) -> None:
        """Let the user leave the seat's group."""
        raise Unsupported

    def take(self, event: Event) -> None:
        """Bring an event to delivery that was made elsewhere."""
        raise Unsupported(f"{type(self).__name__} takes no events from elsewhere; let a user do what causes one")

    def upload(self, name: str, content: bytes, mime_type: str) -> str:
        """The URL under which a file of a user can be loaded."""
        return f"https://files.example/{name}"

    def repeat(self) -> None:
        """Have the platform tell once more what a user wrote last."""
        raise Unsupported

    def misbehave(self, *faults: Fault) -> None:
        """Answer the bot's next requests like that, one after the other, and the later ones well again."""
        raise Unsupported

    def settle(self) -> None:
        """Wait until delivery has everything that users did."""

    def close(self) -> None:
        """Give back what the double holds; the channel is closed by delivery."""
