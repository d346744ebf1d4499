"""The Chat API's channel: an author's backend and apps talk to the bot through HTTP, events and a webhook of ours."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from cometbot.bot import Bot
from cometbot.channels.base import Channel, Incoming, Intake, Sending
from cometbot.channels.botpress import parsing, payloads, schemas, wire
from cometbot.channels.botpress.hook import Hook
from cometbot.channels.botpress.keys import UserKeys, check_secret, is_own_id
from cometbot.channels.botpress.operations import Operations, Outcome
from cometbot.channels.botpress.parsing import lasting_id
from cometbot.channels.botpress.places import ACCOUNT, CHANNEL, TO_USER, make_conversation, place_of
from cometbot.channels.botpress.removal import erase_gone, finish
from cometbot.channels.botpress.settings import ChatApiSettings
from cometbot.chat import EVENT_CREATED, Chat, ChatConversation, ChatMessage, Draft, Scope, Signal, Topic, new_id
from cometbot.context import StateChange
from cometbot.errors import BotError, MessageError, Missing, NotFound, StoreBusy, Unreachable
from cometbot.events import Event, MessageEvent
from cometbot.messages import Custom, Operation
from cometbot.models import Conversation, User
from cometbot.store.database import Transaction
from cometbot.store.facts import keep

_HISTORY = 1000
_PAGE = 100
_REMOVING = 60.0
_MESSAGE, _USER = schemas.MessageShape(), schemas.UserShape()


class BotpressChannel(Channel):
    """The Chat API of all bots that are served here, each under a URL of its own, over one chat server.

    What a bot says is stored there, told to streams in all processes and to the webhook. ``bot.send(user=…)`` goes to
    the newest conversation that the user owns, else to a new one; ``group=…`` is the id of a conversation.
    ``observe`` is told of messages, events and refused requests the bot's name (empty where none was found) and
    ``received`` or ``refused``. ``on_full`` is called for each request that is refused because the database has no
    room.
    """

    name = CHANNEL
    knows_conversations = True
    capabilities = payloads.CAPABILITIES

    def __init__(
        self,
        chat: Chat,
        settings: ChatApiSettings | None = None,
        *,
        observe: Callable[[str, str], None] | None = None,
        on_full: Callable[[], None] = lambda: None,
    ) -> None:
        self.chat = chat
        self.observe = observe or _ignore
        self.on_full = on_full
        self.settings = settings or ChatApiSettings()
        self._hook = Hook() if self.settings.webhook_url else None
        self._intake: Intake | None = None
        for secret in (self.settings.encryption_key, *self.settings.encryption_keys.values()):
            if secret:
                check_secret(secret.reveal(), "BOTPRESS_ENCRYPTION_KEY")

    @property
    def account(self) -> str:
        return ACCOUNT

    def conversation(self, bot: Bot, *, user: str = "", group: str = "") -> Conversation:
        if bool(user) == bool(group):
            raise BotError("a conversation is with either a user or a group: give one of them")
        wanted = Conversation(
            self.name, self.account, bot.name, group or f"{TO_USER}{user}", group or user, is_group=bool(group)
        )
        with self.chat.database.read() as connection:
            found = self._find_place(connection, wanted)
        return replace(wanted, id=place_of(bot.name, found, is_group=bool(group)).id) if found else wanted

    def parse(self, incoming: Incoming) -> Event:
        return parsing.parse(incoming)

    def render(self, operation: Operation) -> list[dict[str, Any]]:
        """What :meth:`send` carries out: ``say`` a payload, ``tell`` an event, or ``delete`` a message."""
        if operation.kind == "delete":
            return [{"op": "delete", "message": operation.message_id}]
        if operation.kind != "send" or operation.message is None:
            raise MessageError(f"the Chat API has nothing for an operation of kind {operation.kind}")
        message = operation.message
        if isinstance(message, Custom) and message.type == payloads.EVENT:
            return [{"op": "tell", "payload": payloads.to_plain(dict(message.data), "the event")}]
        metadata = payloads.to_plain(dict(message.metadata), "metadata")
        parts = payloads.to_plain(payloads.to_payloads(message), "the message")
        said = [{"op": "say", "payload": payload, "metadata": metadata} for payload in parts]
        if operation.stream_id and said:
            said[0]["metadata"] = {**metadata, wire.STREAM_ID: operation.stream_id}
        return said

    def send(self, sending: Sending, *, timeout: float) -> str:
        """As promised by :class:`Channel`. Nothing leaves the database, so that the answer is never unknown."""
        act: Mapping[str, Callable[[Transaction, Sending, Outcome], str]] = {
            "say": self._say,
            "tell": self._tell,
            "delete": self._delete,
        }

        def work(connection: Transaction) -> tuple[str, Outcome]:
            outcome = Outcome()
            does = act[sending.payload["op"]] if sending.payload else self._skip
            message_id = does(connection, sending, outcome)
            self._tell_webhook(connection, sending.conversation.bot, outcome)
            return message_id, outcome

        try:
            # The outbox remembers the reply until it is known to be sent: it may be on the disk with the next commit.
            message_id, outcome = self.chat.database.together(work, durable=False, timeout=timeout)
        except StoreBusy as error:
            raise Unreachable(f"the database is busy: {error}") from None
        except Missing as error:
            raise NotFound(f"nobody can be written to: {error}") from None
        self._publish(outcome)
        return message_id

    def find(self, sending: Sending, *, timeout: float) -> str | None:
        if sending.payload.get("op") != "say":
            return None
        where, scope, messages = sending.conversation, _scope(sending.conversation), self.chat.messages
        with self.chat.database.read() as connection:
            if where.id.startswith(TO_USER):  # the newest conversation may be another one by now
                found = messages.find_said_to(connection, scope, where.target, sending.client_id)
            elif (place := self._find_place(connection, where)) is not None:
                found = messages.find_by_client_id(connection, scope, place.id, sending.client_id)
            else:
                return None
        return found.id if found else None

    def piece(self, conversation: Conversation, stream_id: str, sequence: int, text: str | None) -> None:
        with self.chat.database.read() as connection:
            place = self._find_place(connection, conversation)
        if place is None:
            return
        data: dict[str, Any] = {"streamId": stream_id, "conversationId": place.id}
        if text is not None:
            now = wire.to_date(int(self.chat.database.clock() * 1000))
            data |= {"userId": conversation.bot, "createdAt": now, "sequence": sequence, "delta": payloads.whole(text)}
        topic = Topic(self.name, conversation.bot, place.id)
        kind = wire.ABORT if text is None else wire.DELTA
        self.chat.feed.tell(topic, kind, data)
        if self._hook is not None:
            self._pass_on(Signal(topic, kind, data=data))

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        found: list[ChatMessage] = []
        token, wanted = "", min(max(limit, 1), _HISTORY)
        scope = _scope(conversation)
        with self.chat.database.read() as connection:
            place = self._find_place(connection, conversation)
            while place and len(found) < wanted:
                size = min(wanted - len(found), _PAGE)
                page = self.chat.messages.page(connection, scope, place.id, cursor=token, limit=size)
                found += page.items
                token = page.next
                if not token:
                    break
            people = {user: self._person(connection, scope, user) for user in {message.sender for message in found}}
        return [
            parsing.make_message(
                schemas.load(_MESSAGE, shape), conversation, people[message.sender], cast(Mapping[str, Any], shape)
            )
            for message in reversed(found)
            if (shape := wire.to_message(message))
        ]

    def lasting(self, transaction: Transaction, changes: Sequence[StateChange]) -> Sequence[StateChange]:
        return [change for change in changes if self._is_there(transaction, change)]

    def refresh(self) -> None:
        """Remove what nobody needs any more, and what is left of deleted users."""
        self.chat.tidy()
        with self.chat.database.read() as connection:
            left = self.chat.users.unfinished(connection, self.name)
        for removal in left:
            finish(self.chat, removal, self._hook, self._intake, _REMOVING)

    def attach(self, intake: Intake) -> None:
        self._intake = intake

    def blueprint(self, intake: Intake) -> Any:
        from cometbot.channels.botpress.views import make_blueprint  # Flask is needed only where there are views

        return make_blueprint(self, intake)

    def close(self) -> None:
        self.chat.close()

    def operations(self, bot: Bot, intake: Intake) -> Operations:
        """What the operations on the users and conversations of ``bot`` do."""
        return Operations(bot, self.chat, intake, self.keys(bot.name), self.settings, self._hook)

    def keys(self, bot: str) -> UserKeys:
        """The keys of the users of ``bot``. The server's own secret is another one for each bot, and kept."""
        given = self.settings.encryption_keys.get(bot) or self.settings.encryption_key
        if given:
            return UserKeys(given.reveal, issues=False)
        name = f"botpress/{bot}/secret"
        return UserKeys(lambda: keep(self.chat.database, name, lambda: secrets.token_urlsafe(48)), issues=True)

    def _skip(self, connection: Transaction, sending: Sending, outcome: Outcome) -> str:
        """Say nothing: the conversation is gone, or was when this was to be said. It has an id, by which the bot may go
        on to delete what it believes to have said."""
        where = sending.conversation
        if _is_over(where) and self._find_place(connection, where) is None:
            erase_gone(connection, self.chat, where)
        return sending.client_id

    def _say(self, connection: Transaction, sending: Sending, outcome: Outcome) -> str:
        scope, payload = _scope(sending.conversation), sending.payload
        place = self._find_place(connection, sending.conversation)
        if place is None and _is_over(sending.conversation):
            return self._skip(connection, sending, outcome)
        if place is None:
            place = self._make_place(connection, scope, sending.conversation)
        draft = Draft(
            sending.conversation.bot,
            payload["payload"],
            payload["metadata"] or None,
            is_bot=True,
            client_id=sending.client_id,
            id=f"msg_{new_id()}",
        )
        posted = self.chat.messages.post(connection, scope, place.id, draft)
        outcome.signals += posted.signals
        return posted.message.id

    def _tell(self, connection: Transaction, sending: Sending, outcome: Outcome) -> str:
        """Tell an event. It is not kept, so it has no id."""
        place = self._find_place(connection, sending.conversation)
        if place is None and _is_over(sending.conversation):
            return self._skip(connection, sending, outcome)
        if place is None:
            raise Missing(f"{sending.conversation.target} has no conversation")
        told = {"sender": sending.conversation.bot, "payload": sending.payload["payload"]}
        signal = self.chat.feed.add(connection, _scope(sending.conversation), place.id, EVENT_CREATED, told)
        outcome.signals.append(signal)
        return ""

    def _delete(self, connection: Transaction, sending: Sending, outcome: Outcome) -> str:
        """Take a message back; one that is gone already is what was asked for."""
        message_id = sending.target_id or str(sending.payload["message"])
        outcome.signals += self.chat.messages.delete(connection, _scope(sending.conversation), message_id) or ()
        return message_id

    def _find_place(self, connection: Transaction, conversation: Conversation) -> ChatConversation | None:
        """The conversation that a lane is, as long as it is that one and no later one of the same id.

        A user's is the newest that the user owns; a group may be named by its id alone.
        """
        scope = _scope(conversation)
        if conversation.id.startswith(TO_USER):
            if not is_own_id(conversation.target):
                return None
            page = self.chat.conversations.list_owned(connection, scope, conversation.target, limit=1)
            return page.items[0] if page.items else None
        own_id, has_lane, _ = conversation.id.partition(":")
        found = self.chat.conversations.get(connection, scope, own_id) if is_own_id(own_id) else None
        if found is None or (has_lane and place_of(conversation.bot, found, is_group=False).id != conversation.id):
            return None
        return found

    def _is_there(self, connection: Transaction, change: StateChange) -> bool:
        """Whether the user or the conversation that is to be remembered has not been removed."""
        channel, account, bot, named = change.owner.split("/", 3)
        if change.scope == "user":
            uid = named.partition(":")[0]
            user = self.chat.users.hold(connection, Scope(channel, bot), uid)
            return user is not None and lasting_id(user.id, user.created_at) == named
        place = Conversation(channel, account, bot, named, "")
        return not _is_over(place) or self._find_place(connection, place) is not None

    def _make_place(self, connection: Transaction, scope: Scope, wanted: Conversation) -> ChatConversation:
        """A new conversation of a user to whom the bot writes first."""
        user = wanted.target
        if wanted.is_group:
            raise Missing(f"there is no conversation {user}")
        if not is_own_id(user) or self.chat.users.hold(connection, scope, user) is None:
            raise Missing(f"there is no user {user}")
        return make_conversation(connection, self.chat, scope, user, f"conv_{new_id()}")

    def _person(self, connection: Transaction, scope: Scope, user: str) -> User:
        found = self.chat.users.get(connection, scope, user)
        return parsing.to_user(schemas.load(_USER, wire.to_user(found))) if found else User(user)

    def _pass_on(self, signal: Signal) -> None:
        """Bring something that is not kept to the webhook, which gets everything."""

        def work(connection: Transaction) -> Outcome:
            outcome = Outcome([signal])
            self._tell_webhook(connection, signal.topic.bot, outcome)
            return Outcome(lanes=outcome.lanes)

        self._publish(self.chat.database.together(work, durable=False))

    def _tell_webhook(self, connection: Transaction, bot: str, outcome: Outcome) -> None:
        if self._hook is not None and self._intake is not None:
            outcome.lanes += self._hook.tell(connection, self._intake, bot, outcome.signals)

    def _publish(self, outcome: Outcome) -> None:
        if outcome.signals:
            self.chat.feed.publish(outcome.signals)
        if self._intake is not None:
            for lane in outcome.lanes:
                self._intake.wake(lane)


def _ignore(bot: str, outcome: str) -> None:
    """Where nobody counts."""


def _is_over(conversation: Conversation) -> bool:
    """Whether a conversation that is not there any more was there once: whoever deleted it wants to hear no answer."""
    return ":" in conversation.id


def _scope(conversation: Conversation) -> Scope:
    return Scope(CHANNEL, conversation.bot)
