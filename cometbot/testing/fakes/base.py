"""The interface of test fakes for platforms: users, the bot's messages as users see them, and faults."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cometbot.bot import Bot
from cometbot.channels.base import Channel
from cometbot.delivery import Delivery
from cometbot.errors import BotError
from cometbot.events import Event
from cometbot.messages import ClientCall, Message, QuickReply
from cometbot.models import Attachment, ClientTool, Conversation, User
from cometbot.store.database import Database
from cometbot.testing.replies import SentMessage

PUBLIC_URL = "https://bots.test"
"""The public URL of the bot's server."""

_HISTORY_LIMIT = 1000
"""The newest messages among which one that has not been deleted is found."""

Fault = Literal["rate_limited", "failed", "failed_after_acting", "unreachable", "refused"]
"""The platform's response to the bot's next request: a 429 with one second to wait, a 500 without effect, a 500
although the request took effect, no connection, or a permanent refusal.
"""


class Unsupported(BotError):
    """On this platform users cannot do that."""


@dataclass(frozen=True, slots=True)
class Actor:
    """A user and a place: ``group``, or the one-to-one chat with the bot if that is empty."""

    user: User
    group: str = ""


@dataclass(frozen=True, slots=True)
class UserMessage:
    """A message that a user sends."""

    text: str
    thread_id: str = ""
    quote_id: str = ""
    mention: bool = False
    attachments: Sequence[Attachment] = ()
    client_tools: Sequence[ClientTool] = ()


@dataclass(frozen=True, slots=True)
class ShownRequest:
    """What users see of a stored request: its message, and the buttons and choices with their actions and values."""

    message: Message
    offers: tuple[QuickReply, ...] = ()

    @classmethod
    def of(cls, message: Message) -> ShownRequest:
        """Return what users see of ``message``, whose own offers have their actions and values."""
        return cls(message, message.offers())


def already_member(actor: Actor) -> BotError:
    """Return the error for a user who joins a group that he is in."""
    return BotError(
        f"{actor.user.uid} is in {actor.group} already: "
        "call join() before anything else is done there, or leave() first"
    )


class Fake(ABC):
    """A channel with a fake for its platform, on which users act and the bot's messages can be read.

    Users' actions take the same path as in production: through the channel's own receiving code to
    :meth:`Delivery.enqueue` of the attached delivery. Methods for actions that a platform does not support raise
    :class:`Unsupported` and need not be overridden. A fake may deliver events with a delay; :meth:`wait_idle` waits for
    them.
    """

    def __init__(self, bot: Bot) -> None:
        self.bot = bot
        self.files: dict[str, bytes] = {}

    def use_database(self, database: Database) -> None:
        """Use ``database``, which the delivery uses too. This is for platforms that store their rows in it.

        It is called once, before anything else.
        """

    @property
    @abstractmethod
    def channel(self) -> Channel:
        """The channel under test; always the same object."""

    @abstractmethod
    def attach(self, delivery: Delivery) -> None:
        """Deliver users' actions to ``delivery`` from now on."""

    def restart(self, bot: Bot, delivery: Delivery) -> None:
        """Let ``bot``, which has the same name, answer from now on, as after a restart with new code."""
        self.bot = bot

    def say(
        self,
        actor: Actor,
        text: str,
        *,
        thread_id: str = "",
        quote_id: str = "",
        mention: bool = False,
        attachments: Sequence[Attachment] = (),
        client_tools: Sequence[ClientTool] = (),
    ) -> str:
        """Send a user's message and return the platform's id of it.

        ``mention`` puts a mention of the bot before the text. ``client_tools`` are those that the client offers.
        """
        return self.send(actor, UserMessage(text, thread_id, quote_id, mention, attachments, client_tools))

    @abstractmethod
    def send(self, actor: Actor, message: UserMessage) -> str:
        """Send a user's message as :meth:`say` describes it."""

    @abstractmethod
    def said(self) -> list[SentMessage]:
        """Return the bot's messages without deleted ones, in the platform's order."""

    @classmethod
    def read_request(cls, payload: Mapping[str, Any]) -> ShownRequest | None:
        """Return what users see of a request that the channel has rendered and delivery has stored.

        None if it shows no message, or if only the platform knows what it shows.
        """
        return None

    def read_file(self, said: SentMessage) -> bytes | None:
        """Return the content of the file that the platform itself delivers with a message of the bot.

        None on a platform that shows the address of the file.
        """
        return None

    def uid(self, user: User, group: str = "") -> str:
        """Return the platform's uid of ``user``, alone with the bot or in ``group``.

        It differs if the platform assigns uids.
        """
        return user.uid

    def stable_id(self, user: User, group: str = "") -> str:
        """Return the id under which the bot's state of ``user`` is stored.

        It is the uid, unless the platform may assign a freed uid to another user.
        """
        return self.uid(user, group)

    def known_name(self, user: User) -> str:
        """Return the name of ``user`` as the bot gets to know it. It is empty on a platform without names."""
        return user.name

    def guid(self, group: str) -> str:
        """Return the platform's id of ``group``. It differs if the platform assigns ids."""
        return group

    def conversation(self, actor: Actor) -> Conversation:
        """Return the conversation of ``actor``."""
        if actor.group:
            return self.channel.conversation(self.bot, group=self.guid(actor.group))
        return self.channel.conversation(self.bot, user=self.uid(actor.user))

    def reactions(self, message_id: str) -> list[str]:
        """Return the bot's reactions to a message."""
        raise Unsupported

    def start(self, actor: Actor) -> None:
        """Open the conversation of the user, or add the bot to the actor's group, so that the bot gets the event.

        Nothing happens if it has begun. On some platforms, any other first action there opens it, too.
        """
        raise Unsupported(f"{type(self).__name__} does not report that a conversation begins")

    def press(self, actor: Actor, said: SentMessage, offer: QuickReply) -> None:
        """Press a button or select a choice of a message that the platform shows natively."""
        raise Unsupported

    def submit(self, actor: Actor, said: SentMessage, values: Mapping[str, str]) -> None:
        """Submit a form that the platform shows natively, with one value for each field."""
        raise Unsupported

    def answer_call(self, actor: Actor, call: ClientCall, content: str) -> None:
        """Let the client return the result of a call of its tool."""
        raise Unsupported

    def edit(self, actor: Actor, message_id: str, text: str) -> None:
        """Edit a message of the user."""
        raise Unsupported

    def delete(self, actor: Actor, message_id: str) -> None:
        """Delete a message of the user."""
        raise Unsupported

    def react(self, actor: Actor, message_id: str, reaction: str, *, added: bool = True) -> None:
        """Add a reaction to a message, or remove it."""
        raise Unsupported

    def join(self, actor: Actor) -> None:
        """Add the user to the actor's group and send the bot the event.

        Raises :class:`BotError` if the user is a member already (:func:`already_member`). With any other first action
        in a group a user becomes a member without an event.
        """
        raise Unsupported

    def leave(self, actor: Actor) -> None:
        """Remove the user from the actor's group and send the bot the event."""
        raise Unsupported

    def remove_member(self, actor: Actor) -> None:
        """Remove the user from the actor's group. The bot gets an event only if the platform has one."""
        self.leave(actor)

    def set_scope(self, actor: Actor, scope: str) -> None:
        """Give the user one of :data:`~cometbot.models.SCOPES` in the actor's group, without an event.

        The user becomes a member if that is necessary.
        """
        raise Unsupported

    def set_bot_scope(self, group: str, scope: str) -> None:
        """Give the bot one of :data:`~cometbot.models.SCOPES` in a group. At first, it is an admin."""
        raise Unsupported

    def get_scope(self, actor: Actor) -> str:
        """Return what the user is in the actor's group, or an empty text for nobody of it."""
        return self.channel.get_scope(self._find_place(actor), User(self.uid(actor.user, actor.group)))

    def is_deleted(self, actor: Actor, message_id: str) -> bool:
        """Return True if a message that the user has sent here is not in the conversation any more."""
        if not self.channel.capabilities.history:
            raise Unsupported
        shown = self.channel.history(self._find_place(actor), _HISTORY_LIMIT)
        return all(message.id != message_id for message in shown)

    def _find_place(self, actor: Actor) -> Conversation:
        """Return the conversation of ``actor``, who does not become a member of the group by that."""
        if not actor.group:
            return self.conversation(actor)
        return self.channel.conversation(self.bot, group=self.guid(actor.group))

    def deliver(self, event: Event) -> None:
        """Deliver an event that was created outside the fake."""
        raise Unsupported(f"{type(self).__name__} does not accept events; use a user's action that causes the event")

    def upload(self, name: str, content: bytes, mime_type: str) -> str:
        """Return the URL for downloading a user's file. Its content is in ``files`` under that URL."""
        url = f"https://files.example/{name}"
        self.files[url] = content
        return url

    def repeat(self) -> None:
        """Deliver the last message of a user again."""
        raise Unsupported

    def misbehave(self, *faults: Fault) -> None:
        """Apply one fault to each of the bot's next requests, in order. Later requests succeed again."""
        raise Unsupported

    def wait_idle(self) -> None:
        """Wait until all users' actions have been delivered."""

    def close(self) -> None:
        """Release the fake's resources. The delivery closes the channel."""
