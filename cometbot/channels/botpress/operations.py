"""What the operations of the Chat API do: rights, then the change and what follows from it in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from cometbot.bot import Bot
from cometbot.channels.base import Incoming, Intake
from cometbot.channels.botpress import wire
from cometbot.channels.botpress.accounts import ACCOUNT_FIELD, Accounts
from cometbot.channels.botpress.hook import Hook
from cometbot.channels.botpress.keys import NO_KEY, UserKey, UserKeys, is_own_id
from cometbot.channels.botpress.parsing import lasting_id
from cometbot.channels.botpress.places import ACCOUNT, CHANNEL, make_conversation, place_of
from cometbot.channels.botpress.removal import finish, remove_owned, remove_places
from cometbot.channels.botpress.settings import ChatApiSettings
from cometbot.channels.botpress.wire import Wire
from cometbot.chat import Chat, ChatConversation, ChatUser, Draft, Removal, Scope, Signal, new_id
from cometbot.errors import BadCursor, IdTaken, Missing, StoreBusy
from cometbot.http.errors import HttpError, echo
from cometbot.models import Conversation
from cometbot.store.database import ACK_TIMEOUT, Transaction
from cometbot.store.state import StateRows

PAGE = 20

_REMOVING = 10.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has its shape: the key of who asks, the ids in its path, and its body."""

    key: UserKey = NO_KEY
    ids: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    token: str = ""

    @property
    def user(self) -> str:
        """The id of who asks, empty for an operation that takes no key."""
        return self.key.user


@dataclass(slots=True)
class Outcome:
    """What a transaction leaves to be done once it is committed: whom to tell, whom to wake."""

    signals: list[Signal] = field(default_factory=list)
    lanes: list[str] = field(default_factory=list)


class Operations:
    """The operations on one bot's users and conversations.

    Each takes a :class:`Call` and returns the answer's JSON; a refusal is raised as :class:`HttpError`. What changes
    something tells streams and webhook of it, and brings messages and events to the bot, all in the transaction that
    stores it. Each transaction verifies the key of its call, so that a user who is deleted and recreated during a
    request is not opened by the old key. Raises :class:`StoreBusy` where the database did not take it in time, and
    :class:`StorageFull` where there is no room for it.
    """

    def __init__(
        self, bot: Bot, chat: Chat, intake: Intake, keys: UserKeys, settings: ChatApiSettings, hook: Hook | None
    ) -> None:
        self.keys = keys
        self.scope = Scope(CHANNEL, bot.name)
        self._bot = bot
        self._reserved = frozenset(name.lower() for name in bot.ids)
        self._chat = chat
        self._intake = intake
        self._settings = settings
        self._hook = hook
        self._state = StateRows(chat.database)
        self._accounts = Accounts(chat, self.scope, issues_keys=keys.issues)

    def create_user(self, call: Call) -> Wire:
        """A new user and its key; in automatic mode only."""
        if not self.keys.issues:
            raise HttpError(401, "Unauthorized", "Keys are signed by you here: call getOrCreateUser with one")
        own_id = self._own_id(call.body) if "id" in call.body else ""
        if own_id.lower() in self._reserved:
            raise _taken(own_id)
        account = new_id()
        data = {**_user_data(call.body), ACCOUNT_FIELD: account}
        user_id = own_id or f"user_{new_id()}"
        try:
            user = self._write(NO_KEY, lambda c, _: self._add_user(c, data, user_id))
        except IdTaken:
            raise _taken(own_id) from None
        except Missing as error:
            raise StoreBusy from error
        return {"user": wire.to_user(user), "key": self.keys.issue(user.id, account)}

    def _add_user(self, connection: Transaction, data: dict[str, str], user_id: str) -> ChatUser:
        self._chat.room.check(connection)
        return self._chat.users.create(connection, self.scope, data, id=user_id)

    def get_or_create_user(self, call: Call) -> Wire:
        """The user of the key, made or changed."""
        self._check_id(call.user)
        if call.user.lower() in self._reserved:
            raise _taken(call.user)
        data = _user_data(call.body)
        try:
            user = self._write(call.key, lambda c, _: self._accounts.ensure(c, call.key, data))
        except Missing as error:
            raise StoreBusy from error
        return {"user": wire.to_user(user)}

    def get_user(self, call: Call) -> Wire:
        """The user of the key."""
        return {"user": wire.to_user(_found(self._find_user(call, call.user), "user", call.user))}

    def update_user(self, call: Call) -> Wire:
        """The user of the key, changed."""
        self.get_user(call)
        data = _user_data(call.body)

        def work(connection: Transaction, outcome: Outcome) -> ChatUser | None:
            self._chat.room.check(connection)
            return self._chat.users.update(connection, self.scope, call.user, data)

        user = self._write(call.key, work)
        return {"user": wire.to_user(_found(user, "user", call.user))}

    def delete_user(self, call: Call) -> Wire:
        """Nothing; the user of the key is gone, with all that belongs to it.

        What was said in the conversations of others goes bit by bit, so that no other request waits for it; what takes
        longer than a request may is finished by :meth:`BotpressChannel.refresh`.
        """
        self.get_user(call)

        def work(connection: Transaction, outcome: Outcome) -> Removal | None:
            # The conversations before the user: in this order those take the rows who store what is said.
            outcome.signals += remove_owned(connection, self._chat, self.scope, call.user)
            # Held before anything of the user is: a handler that stores what it remembers has done so, or finds nobody.
            user = self._chat.users.hold(connection, self.scope, call.user)
            if user is None:
                return None
            self._accounts.check(connection, call.key)  # now: at the end of the transaction the user is gone
            outcome.signals += remove_owned(connection, self._chat, self.scope, call.user)  # made meanwhile
            person = lasting_id(user.id, user.created_at)
            self._state.forget(connection, "user", f"{CHANNEL}/{ACCOUNT}/{self._bot.name}/{person}")
            begun = self._chat.users.begin_delete(connection, self.scope, call.user)
            if begun is None:
                return None
            removal, signals = begun
            self._accounts.forget(connection, call.key)
            self._tell(connection, signals, outcome)
            return removal

        removal = self._write(call.key, work)
        if removal is None:
            raise _missing("user", call.user)
        finish(self._chat, removal, self._hook, self._intake, _REMOVING)
        return {}

    def create_conversation(self, call: Call) -> Wire:
        """A new conversation of the caller."""
        own_id = self._own_id(call.body) if "id" in call.body else ""
        try:
            return self._make_conversation(call, own_id or f"conv_{new_id()}")
        except IdTaken:
            raise _taken(own_id) from None

    def get_or_create_conversation(self, call: Call) -> Wire:
        """The caller's conversation of this id, made if there is none."""
        conversation_id = str(call.body["id"])
        found = self._find(call, conversation_id)
        if found is None:
            self._check_id(conversation_id)
            try:
                return self._make_conversation(call, conversation_id)
            except IdTaken:
                found = self._find(call, conversation_id)
        return {"conversation": wire.to_conversation(self._owned(call, found, conversation_id))}

    def get_conversation(self, call: Call) -> Wire:
        """A conversation that the caller takes part in."""
        conversation = _found(self._find(call, call.ids["id"]), "conversation", call.ids["id"])
        self._check_participant(call, conversation.id)
        return {"conversation": wire.to_conversation(conversation)}

    def delete_conversation(self, call: Call) -> Wire:
        """Nothing; the conversation is gone, with all that was said in it."""
        conversation = self._owned(call, self._find(call, call.ids["id"]), call.ids["id"])

        def work(connection: Transaction, outcome: Outcome) -> bool:
            signals = remove_places(connection, self._chat, [conversation])
            outcome.signals += signals
            return bool(signals)

        if not self._write(call.key, work):
            raise _missing("conversation", conversation.id)
        return {}

    def list_conversations(self, call: Call) -> Wire:
        """A page of the conversations that the caller owns."""
        page = self._paged(
            call.key,
            lambda c: self._chat.conversations.list_owned(c, self.scope, call.user, cursor=call.token, limit=PAGE),
        )
        return _listed("conversations", [wire.to_conversation(item) for item in page.items], page.next)

    def list_messages(self, call: Call) -> Wire:
        """A page of what was said, the newest first."""
        here = call.ids["conversationId"]
        self._check_participant(call, here)
        page = self._paged(
            call.key, lambda c: self._chat.messages.page(c, self.scope, here, cursor=call.token, limit=PAGE)
        )
        return _listed("messages", [wire.to_message(item) for item in page.items], page.next)

    def add_participant(self, call: Call) -> Wire:
        """The user who takes part from now on."""
        conversation = self._owned_in_path(call)
        user_id = str(call.body["userId"])
        _found(self._find_user(call, user_id), "user", user_id)

        def work(connection: Transaction, outcome: Outcome) -> ChatUser:
            self._chat.room.check(connection)
            user = _found(self._chat.users.hold(connection, self.scope, user_id), "user", user_id)
            signals = self._chat.conversations.add(connection, self.scope, conversation.id, user.id)
            self._tell(connection, signals, outcome)
            return user

        return {"participant": wire.to_user(self._write(call.key, work))}

    def get_participant(self, call: Call) -> Wire:
        """A user who takes part."""
        return {"participant": wire.to_user(self._participant(call, self._owned_in_path(call), call.ids["userId"]))}

    def remove_participant(self, call: Call) -> Wire:
        """Nothing; the user takes part no more."""
        conversation = self._owned_in_path(call)
        if call.ids["userId"] == conversation.owner:
            raise HttpError(400, "InvalidPayload", "The owner of a conversation cannot be removed from it")
        participant = self._participant(call, conversation, call.ids["userId"])

        def work(connection: Transaction, outcome: Outcome) -> None:
            signals = self._chat.conversations.remove(connection, self.scope, conversation.id, participant.id)
            self._tell(connection, signals, outcome)

        self._write(call.key, work)
        return {}

    def list_participants(self, call: Call) -> Wire:
        """A page of those who take part."""
        here = call.ids["conversationId"]
        self._check_participant(call, here)
        page = self._paged(
            call.key,
            lambda c: self._chat.conversations.participants(c, self.scope, here, cursor=call.token, limit=PAGE),
        )
        return _listed("participants", [wire.to_user(item) for item in page.items], page.next)

    def create_message(self, call: Call) -> Wire:
        """A message, stored, told, and brought to the bot, which answers afterwards."""
        here = str(call.body["conversationId"])
        self._check_participant(call, here)
        payload, metadata = call.body["payload"], call.body.get("metadata")

        def work(connection: Transaction, outcome: Outcome) -> Wire:
            self._chat.room.check(connection)
            draft = Draft(call.user, payload, metadata, id=f"msg_{new_id()}")
            # First, since it locks the conversation: then the sender is not removed before the commit.
            posted = self._chat.messages.post(connection, self.scope, here, draft)
            sender, place = self._place(connection, here, call.user)
            message = wire.to_message(posted.message)
            self._tell(connection, posted.signals, outcome)
            self._bring(connection, place, f"message:{posted.message.id}", sender, {"message": message}, outcome)
            return message

        return {"message": self._write_here(call.key, work)}

    def get_message(self, call: Call) -> Wire:
        """A message."""
        message_id = call.ids["id"]
        found = self._read(call.key, lambda c: self._chat.messages.get(c, self.scope, message_id), message_id)
        message = _found(found, "message", message_id)
        self._check_participant(call, message.conversation)
        return {"message": wire.to_message(message)}

    def delete_message(self, call: Call) -> Wire:
        """Nothing; the message is taken back, and the bot told so."""
        message_id = call.ids["id"]
        found = self._read(call.key, lambda c: self._chat.messages.get(c, self.scope, message_id), message_id)
        message = _found(found, "message", message_id)
        if message.sender != call.user:
            raise HttpError(403, "Forbidden", "You are not the sender of this message")

        def work(connection: Transaction, outcome: Outcome) -> bool:
            signals = self._chat.messages.delete(connection, self.scope, message_id)
            if signals is None:
                return False
            self._tell(connection, signals, outcome)
            sender, place = self._place(connection, message.conversation, call.user)
            shape = {"deleted": wire.to_message(message)}
            self._bring(connection, place, f"delete:{message_id}", sender, shape, outcome)
            return True

        if not self._write(call.key, work):
            raise _missing("message", message_id)
        return {}

    def create_event(self, call: Call) -> Wire:
        """An event, stored, told, and brought to the bot."""
        here = str(call.body["conversationId"])
        self._check_participant(call, here)

        def work(connection: Transaction, outcome: Outcome) -> Wire:
            self._chat.room.check(connection)
            event_id = f"evt_{new_id()}"
            event, signals = self._chat.events.create(
                connection, self.scope, here, call.user, call.body["payload"], id=event_id
            )
            sender, place = self._place(connection, here, call.user)
            shape = wire.to_event(event)
            self._tell(connection, signals, outcome)
            self._bring(connection, place, f"event:{event.id}", sender, {"event": shape}, outcome)
            return shape

        return {"event": self._write_here(call.key, work)}

    def get_event(self, call: Call) -> Wire:
        """An event."""
        event_id = call.ids["id"]
        found = self._read(call.key, lambda c: self._chat.events.get(c, self.scope, event_id), event_id)
        event = _found(found, "event", event_id)
        self._check_participant(call, event.conversation)
        return {"event": wire.to_event(event)}

    def check_listener(self, call: Call) -> None:
        """Raise the refusal for a user who may not listen."""
        self._check_participant(call, call.ids["id"])

    def _make_conversation(self, call: Call, conversation_id: str) -> Wire:
        owner = call.user
        _found(self._find_user(call, owner), "user", owner)
        most = self._settings.conversations

        def work(connection: Transaction, outcome: Outcome) -> ChatConversation:
            self._chat.room.check(connection)
            # Whose row is held makes one conversation after the other, so that the count is right.
            _found(self._chat.users.hold(connection, self.scope, owner), "user", owner)
            if self._chat.conversations.count_owned(connection, self.scope, owner) >= most:
                raise HttpError(403, "QuotaExceeded", f"A user may own {most} conversations here; delete one first")
            return make_conversation(connection, self._chat, self.scope, owner, conversation_id)

        return {"conversation": wire.to_conversation(self._write(call.key, work))}

    def _find_user(self, call: Call, user_id: str) -> ChatUser | None:
        return self._read(call.key, lambda c: self._chat.users.get(c, self.scope, user_id), user_id)

    def _find(self, call: Call, conversation_id: str) -> ChatConversation | None:
        return self._read(
            call.key, lambda c: self._chat.conversations.get(c, self.scope, conversation_id), conversation_id
        )

    def _owned_in_path(self, call: Call) -> ChatConversation:
        conversation_id = call.ids["conversationId"]
        return self._owned(call, self._find(call, conversation_id), conversation_id)

    def _owned(self, call: Call, conversation: ChatConversation | None, conversation_id: str) -> ChatConversation:
        found = _found(conversation, "conversation", conversation_id)
        if found.owner != call.user:
            raise HttpError(403, "Forbidden", "You are not the owner of this conversation")
        return found

    def _participant(self, call: Call, conversation: ChatConversation, user_id: str) -> ChatUser:
        found = self._read(
            call.key, lambda c: self._chat.conversations.participant(c, self.scope, conversation.id, user_id), user_id
        )
        return _found(found, "participant", user_id)

    def _check_participant(self, call: Call, conversation_id: str) -> None:
        takes_part = self._read(
            call.key,
            lambda c: self._chat.conversations.has(c, self.scope, conversation_id, call.user),
            conversation_id,
            call.user,
        )
        if not takes_part:
            raise _no_participant()

    def _place(self, connection: Transaction, conversation_id: str, user: str) -> tuple[ChatUser, Conversation]:
        """Who writes, and the lane that this goes to. Raises the refusal if one takes part no more."""
        sender = self._chat.conversations.participant(connection, self.scope, conversation_id, user)
        conversation = self._chat.conversations.get(connection, self.scope, conversation_id)
        if sender is None or conversation is None:
            raise _no_participant()
        people = self._chat.conversations.participants(connection, self.scope, conversation_id, limit=2)
        return sender, place_of(self._bot.name, conversation, is_group=len(people.items) > 1)

    def _bring(
        self, connection: Transaction, place: Conversation, key: str, sender: ChatUser, body: Wire, outcome: Outcome
    ) -> None:
        """Put what somebody wrote into the bot's mailbox."""
        stored = orjson.dumps({**body, "user": wire.to_user(sender)})
        if self._intake.put_within(connection, Incoming(place, key, stored, sender.id)):
            outcome.lanes.append(str(place.key))

    def _tell(self, connection: Transaction, signals: Sequence[Signal], outcome: Outcome) -> None:
        outcome.signals += signals
        if self._hook is not None:
            outcome.lanes += self._hook.tell(connection, self._intake, self._bot.name, signals)

    def _read(self, key: UserKey, query: Callable[[Transaction], T], *ids: str) -> T | None:
        """Return what ``query`` finds; None without a query where one of ``ids`` cannot exist."""
        if not all(map(is_own_id, ids)):
            return None
        with self._chat.database.snapshot() as connection:
            self._accounts.check(connection, key)
            return query(connection)

    def _paged(self, key: UserKey, query: Callable[[Transaction], T]) -> T:
        try:
            with self._chat.database.snapshot() as connection:
                self._accounts.check(connection, key)
                return query(connection)
        except BadCursor:
            raise HttpError(400, "InvalidQuery", "nextToken is none that this list has given out") from None

    def _write_here(self, key: UserKey, work: Callable[[Transaction, Outcome], T]) -> T:
        """Write as :meth:`_write`, in a conversation, which may be removed at this moment."""
        try:
            return self._write(key, work)
        except Missing:
            raise _no_participant() from None

    def _write(self, key: UserKey, work: Callable[[Transaction, Outcome], T]) -> T:
        """Return what ``work`` returns, done in one transaction; then notify listeners, webhook and bot.

        The key is verified after ``work``: only then are the rows of the user or of the conversation locked, so that
        the user cannot be deleted before the commit. The check itself locks nothing, so no two requests can deadlock.
        """

        def attempt(connection: Transaction) -> tuple[T, Outcome]:
            outcome = Outcome()
            result = work(connection, outcome)
            if key is not NO_KEY:
                self._accounts.check(connection, key)
            return result, outcome

        result, outcome = self._chat.database.together(attempt, timeout=ACK_TIMEOUT)
        if outcome.signals:
            self._chat.feed.publish(outcome.signals)
        for lane in outcome.lanes:
            self._intake.wake(lane)
        return result

    def _own_id(self, body: Mapping[str, Any]) -> str:
        self._check_id(str(body["id"]))
        return str(body["id"])

    def _check_id(self, text: str) -> None:
        if not is_own_id(text):
            raise HttpError(
                400, "InvalidPayload", f"An id has 1 to 70 letters, digits, _, -, \\ and /; {echo(text)} is none"
            )


def _user_data(body: Mapping[str, Any]) -> dict[str, str]:
    return {name: body[name] for name in ("name", "pictureUrl", "profile") if name in body}


def _listed(name: str, items: Sequence[Wire], token: str) -> Wire:
    return {name: items, "meta": {"nextToken": token} if token else {}}


def _found(value: T | None, what: str, named: str) -> T:
    if value is None:
        raise _missing(what, named)
    return value


def _missing(what: str, named: str) -> HttpError:
    return HttpError(404, "ResourceNotFound", f"There is no {what} {echo(named)}")


def _taken(named: str) -> HttpError:
    return HttpError(409, "AlreadyExists", f"The id {echo(named)} is taken")


def _no_participant() -> HttpError:
    return HttpError(403, "Forbidden", "You are not a participant in this conversation")
