"""What people and bots do in chats: each as one transaction, told to listeners after it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from cometbot.channels.base import Incoming, Intake
from cometbot.channels.botyard import presses, rules, shapes
from cometbot.channels.botyard.directory import ListedBot
from cometbot.channels.botyard.platform import CHAT_MADE, EVERYWHERE, Platform, conversation_of, scope_of
from cometbot.channels.botyard.refusals import Refusal
from cometbot.channels.botyard.removal import remove_chat
from cometbot.channels.botyard.settings import MOST_CHATS
from cometbot.channels.botyard.webhook import webhook_conversation
from cometbot.chat import ChatConversation, ChatFile, ChatMessage, ChatUser, Draft, Posted, Signal, Topic
from cometbot.store.database import ACK_TIMEOUT, Transaction


@dataclass(frozen=True, slots=True)
class Words:
    """What somebody says. ``action`` is what was pressed: name, value, values, message_id."""

    body: str
    attachment_ids: Sequence[str] = ()
    client_id: str = ""
    action: Mapping[str, Any] | None = None


@dataclass
class _Told:
    """What has to be made known once the transaction has ended."""

    posted: Posted
    is_served: bool = False
    wakes: list[str] = field(default_factory=list)


class Talking:
    """Makes and removes chats, and stores messages together with what has to be done about them.

    Every method raises :class:`Refusal` for what may not be, and :class:`StoreBusy`. What users add raises
    :class:`StorageFull` where there is no room.
    """

    def __init__(self, platform: Platform, intake: Intake) -> None:
        self._platform = platform
        self._observe = platform.observe
        self._chat = platform.chat
        self._intake = intake

    def make_chat(self, user: ChatUser, bot_id: str, client_id: str = "") -> ChatConversation:
        """A new chat of ``user`` with a bot; under a ``client_id`` that was used before it is the one made then."""
        rules.check_client_id(client_id)
        chat_id = _chat_id(user.id, bot_id, client_id)
        if not bot_id:
            raise Refusal(400, "bot id must not be empty")
        scope = scope_of(bot_id)

        def work(connection: Transaction) -> ChatConversation:
            # The row of the user is this transaction's from here on, so that nobody makes two chats where one is left.
            if self._chat.users.update(connection, EVERYWHERE, user.id, {}) is None:
                raise Refusal(401, "User is unauthorized.")
            if self._platform.directory.find(connection, bot_id) is None:
                raise Refusal(404, "Bot not found.")
            known = self._chat.conversations.get(connection, scope, chat_id) if chat_id else None
            if known is not None:
                return known
            self._chat.room.check(connection)
            if self._chat.conversations.count_owned(connection, scope, user.id) >= MOST_CHATS:
                raise Refusal(400, f"Cannot create more than {MOST_CHATS} chat rooms with the same bot.")
            return self._chat.conversations.create(connection, scope, user.id, id=chat_id)

        made = self._platform.database.together(work, timeout=ACK_TIMEOUT)
        self._chat.feed.tell(Topic.of_user(EVERYWHERE, user.id), CHAT_MADE, {"id": made.id})
        return made

    def rename_chat(self, user: ChatUser, chat_id: str, title: str) -> ChatConversation:
        """The chat under another title; an empty one takes it back."""
        rules.check_title(title)

        def work(connection: Transaction) -> tuple[ChatConversation, list[Signal]]:
            chat = self.own_chat(connection, user, chat_id)
            changed = self._chat.conversations.update(connection, chat.scope, chat.id, {"title": title or None})
            if changed is None:
                raise Refusal(404, "Chat not found.")
            return changed

        changed, signals = self._platform.database.together(work, timeout=ACK_TIMEOUT)
        self._chat.feed.publish(signals)
        return changed

    def remove_chat(self, user: ChatUser, chat_id: str) -> None:
        """Remove a chat with all its messages."""

        def work(connection: Transaction) -> list[Signal]:
            chat = self.own_chat(connection, user, chat_id)
            return remove_chat(connection, self._chat, chat.scope, chat.id) or []

        self._chat.feed.publish(self._platform.database.together(work, timeout=ACK_TIMEOUT))

    def own_chat(self, connection: Transaction, user: ChatUser, chat_id: str) -> ChatConversation:
        """The chat, which is this user's."""
        chat = self._chat.conversations.get(connection, EVERYWHERE, chat_id) if chat_id else None
        if chat is None:
            raise Refusal(404, "Chat not found.")
        if chat.owner != user.id:
            raise Refusal(403, "Chat is not related to current user.")
        return chat

    def bots_chat(self, connection: Transaction, bot: ListedBot, chat_id: str) -> ChatConversation:
        """The chat, which is with this bot."""
        chat = self._chat.conversations.get(connection, EVERYWHERE, chat_id) if chat_id else None
        if chat is None:
            raise Refusal(404, "Chat not found.")
        if chat.scope.bot != bot.id:
            raise Refusal(403, "Chat is not related to current bot.")
        return chat

    def say(self, user: ChatUser, chat_id: str, words: Words) -> Posted:
        """The stored message of a user. With it is stored what its bot has to be told: nothing is between the two."""

        def work(connection: Transaction) -> _Told:
            chat = self.own_chat(connection, user, chat_id)
            bot = self._platform.directory.find(connection, chat.scope.bot)
            if (known := self._find_known(connection, chat, user.id, words)) is not None:
                return _Told(Posted(known, is_new=False), bot is not None and bot.served is not None)
            self._chat.room.check(connection)
            rules.check_body(words.body, words.attachment_ids, self._platform.config.now.message)
            if bot is None:
                raise Refusal(404, "Bot not found.")
            action = self._check_action(connection, chat, words.action) if words.action is not None else None
            files = self._own_files(connection, user.id, words.attachment_ids)
            told = _Told(self._post(connection, chat, words, files, user.id), bot.served is not None)
            if told.posted.is_new:
                told.wakes = self._pass_on(connection, bot, chat, user, told.posted.message, action)
            return told

        told = self._platform.database.together(work, timeout=ACK_TIMEOUT)
        if told.is_served:
            outcome = "received" if told.posted.is_new else "duplicate"
            self._observe(told.posted.message.scope.bot, outcome)
        return self._tell(told)

    def say_as_bot(self, bot: ListedBot, chat_id: str, words: Words) -> Posted:
        """The stored message of a bot that runs elsewhere."""

        def work(connection: Transaction) -> _Told:
            chat = self.bots_chat(connection, bot, chat_id)
            if (known := self._find_known(connection, chat, bot.id, words)) is not None:
                return _Told(Posted(known, is_new=False))
            rules.check_body(words.body, words.attachment_ids, self._platform.config.now.message)
            files = self._seen_files(connection, chat, bot.id, words.attachment_ids)
            return _Told(self._post(connection, chat, words, files, bot.id, is_bot=True))

        return self._tell(self._platform.database.together(work, timeout=ACK_TIMEOUT))

    def _find_known(
        self, connection: Transaction, chat: ChatConversation, sender: str, words: Words
    ) -> ChatMessage | None:
        """What was sent under the same client id before: it was taken then, whatever would be said of it now."""
        rules.check_client_id(words.client_id)
        name = _client_id(sender, words.client_id)
        return self._chat.messages.find_by_client_id(connection, chat.scope, chat.id, name)

    def _tell(self, told: _Told) -> Posted:
        self._chat.feed.publish(list(told.posted.signals))
        for lane in told.wakes:
            self._intake.wake(lane)
        return told.posted

    def _own_files(self, connection: Transaction, owner: str, ids: Sequence[str]) -> list[ChatFile]:
        """The files with these ids, as far as they are this owner's: others are as good as unknown."""
        found = self._chat.files.find(connection, EVERYWHERE, list(ids)) if ids else []
        return [file for file in found if file.owner == owner]

    def _seen_files(
        self, connection: Transaction, chat: ChatConversation, bot_id: str, ids: Sequence[str]
    ) -> list[ChatFile]:
        """The files that a bot may send in a chat: its own, and those of the user whom it talks to."""
        found = self._chat.files.find(connection, EVERYWHERE, list(ids)) if ids else []
        return [file for file in found if file.owner in (bot_id, chat.owner)]

    def _post(
        self,
        connection: Transaction,
        chat: ChatConversation,
        words: Words,
        files: Sequence[ChatFile],
        sender: str,
        *,
        is_bot: bool = False,
    ) -> Posted:
        draft = Draft(
            sender,
            shapes.stored_payload(words.body, files),
            is_bot=is_bot,
            client_id=_client_id(sender, words.client_id),
            files=[file.id for file in files],
        )
        return self._chat.messages.post(connection, chat.scope, chat.id, draft)

    def _check_action(
        self, connection: Transaction, chat: ChatConversation, action: Mapping[str, Any]
    ) -> dict[str, Any]:
        shown = self._chat.messages.get(connection, chat.scope, action["message_id"])
        is_here = shown is not None and shown.conversation == chat.id and shown.is_bot
        content = shown.payload.get("content") if shown is not None and is_here else None
        checked = presses.check_action(content, action["name"], action["value"], action["values"])
        return {**checked, "messageId": action["message_id"]}

    def _pass_on(
        self,
        connection: Transaction,
        bot: ListedBot,
        chat: ChatConversation,
        user: ChatUser,
        message: ChatMessage,
        action: Mapping[str, Any] | None,
    ) -> list[str]:
        """Store what the bot has to be told; returns the lanes that have to be woken."""
        told = shapes.message_json(message, with_ids=True)
        if bot.served is not None:
            body = {"message": told, "user": shapes.page_user_json(user), "action": action}
            where = conversation_of(bot.id, chat.id, user.id)
            needs_wake = self._intake.put_within(
                connection, Incoming(where, f"message:{message.id}", orjson.dumps(body), user.id)
            )
        elif bot.webhook is not None:
            where = webhook_conversation(bot.id, chat.id)
            needs_wake = self._intake.say_within(connection, where, [{"message": told}])
        else:
            return []
        return [str(where.key)] if needs_wake else []


def _client_id(sender: str, given: str) -> str:
    """What a client calls its message, so that it never meets what others, or delivery, call theirs."""
    return f"{sender}:{given}" if given else ""


def _chat_id(user_id: str, bot_id: str, client_id: str) -> str:
    """The id of the chat with a bot that a user's client calls like that; empty where it calls it nothing."""
    named = orjson.dumps([user_id, bot_id, client_id])
    return hashlib.sha256(named).hexdigest()[:26] if client_id else ""
