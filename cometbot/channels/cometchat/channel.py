"""The CometChat channel: receives callbacks and app webhooks, and sends REST requests."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from cometbot.bot import Bot
from cometbot.channels.base import (
    FILE_TIMEOUT,
    MEMBER_TIMEOUT,
    MEMBERS_TIMEOUT,
    Channel,
    DeliveryService,
    IncomingEvent,
    OutgoingRequest,
)
from cometbot.channels.cometchat import group_members, parsing, payloads, rendering
from cometbot.channels.cometchat.client import CometChatClient, ReadOnlyClient
from cometbot.channels.cometchat.group_setting import ALL, group_setting_needed
from cometbot.channels.cometchat.press_urls import KEY_PREFIX, PressSigner, parse_press_event
from cometbot.channels.cometchat.raw_payloads import ID_PATTERN, MESSAGE_CATEGORIES, find_id, read_body, read_plain_text
from cometbot.channels.cometchat.responses import Record, get_message_id
from cometbot.channels.cometchat.sent_lookup import PAGE_SIZE, SentMessageSearch, id_sort_key
from cometbot.channels.cometchat.settings import CallbackSettings, ModerationSettings, get_cometchat_uid
from cometbot.errors import (
    AuthenticationFailed,
    BotError,
    ChannelError,
    ConfigurationError,
    MessageError,
    NotFound,
    PayloadError,
    Rejected,
)
from cometbot.events import Event, GroupStarted, MembershipEvent, MessageEvent
from cometbot.messages import Operation
from cometbot.models import Attachment, Conversation, User, check_recipient

_log = logging.getLogger(__name__)
_NO_HISTORY_CODES = frozenset({"ERR_CONVERSATION_NOT_ACCESSIBLE", "ERR_CONVERSATION_NOT_FOUND"})
_REFRESH_INTERVAL = 600.0
_PREVIEW_TIMEOUT = 3.0
_COOLDOWN = 1.0


class CometChatChannel(Channel):
    """The channel to one CometChat app.

    ``bots`` maps names to the bots of this server. A bot's CometChat UID is its ``cometchat_uid``, else its name.
    ``rich`` is the form in which cards and choices are sent: as numbered ``text`` (which every app allows), as
    ``interactive`` or as ``card`` messages. With ``press_signer``, buttons of cards and of interactive forms call a
    signed address in one-to-one conversations; without, they send a message, and forms are texts. ``callback`` holds
    the credentials and limits of callbacks. ``observe`` is called for each callback with the bot's name (empty if none
    was found) and the outcome: ``received``, ``duplicate``, ``ignored`` or ``refused``. ``moderation`` holds the
    credentials and limits of requests for moderation, ``observe_moderation`` is called for each with the bot's name,
    the seconds and the outcome. Where a server has several apps, ``app`` is the name of this one. CometChat calls its
    bots below ``paths``.
    """

    name = parsing.CHANNEL

    def __init__(
        self,
        app_id: str,
        client: CometChatClient,
        *,
        bots: Mapping[str, Bot],
        rich: rendering.RichMode = "text",
        press_signer: PressSigner | None = None,
        callback: CallbackSettings | None = None,
        observe: Callable[[str, str], None] | None = None,
        moderation: ModerationSettings | None = None,
        observe_moderation: Callable[[str, float, str], None] | None = None,
        app: str = "",
        paths: Sequence[str] = ("/cometchat",),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not app_id:
            raise ConfigurationError("set COMETCHAT_APP_ID to the app's id, as the CometChat dashboard shows it")
        if rich not in ("text", "interactive", "card"):
            raise ConfigurationError(f"COMETCHAT_RICH must be text, interactive or card, not {rich!r}")
        self.capabilities = rendering.capabilities(rich, has_urls=press_signer is not None)
        self.rich = rich
        self.press_signer = press_signer
        self.callback_settings = callback or CallbackSettings()
        self.observe = observe or _ignore_outcome
        self.app = app
        self.paths = tuple(paths)
        self.moderation_settings = moderation or ModerationSettings()
        self.observe_moderation = observe_moderation or _ignore_moderation
        self._app_id = app_id
        self._client = client
        self._clock = clock
        self._bots = dict(bots)
        self._delivery: DeliveryService | None = None
        self._groups: dict[str, frozenset[str]] = {}
        self._uids = {name: get_cometchat_uid(bot) for name, bot in bots.items()}
        self._own_uids = frozenset(uid.lower() for uid in self._uids.values())
        self._bot_uids: frozenset[str] = frozenset()
        self._bots_refresh_at = float("-inf")

    @property
    def account(self) -> str:
        return self._app_id

    def get_uid(self, bot: str) -> str:
        """Return the CometChat UID of the bot with the name ``bot``."""
        return self._uids.get(bot, bot)

    def conversation(self, bot: Bot, *, user: str = "", group: str = "") -> Conversation:
        check_recipient(user, group)
        if not ID_PATTERN.fullmatch(user or group):
            wrong = (user or group)[:60]
            raise BotError(f"an id has 1 to 255 characters and no control characters; {wrong!r} can be nobody's")
        if group:
            guid = group.lower()
            return Conversation(self.name, self.account, bot.name, f"group_{guid}", guid, is_group=True)
        first, second = sorted((get_cometchat_uid(bot).lower(), user.lower()))
        return Conversation(self.name, self.account, bot.name, f"{first}_user_{second}", user.lower())

    def normalize_uid(self, uid: str) -> str:
        return uid.lower()

    def has_member(self, conversation: Conversation, user: User, *, timeout: float = MEMBER_TIMEOUT) -> bool:
        """Return True if ``user`` is a member of the group now, as CometChat shows the group to that user."""
        if not conversation.is_group:
            return not conversation.is_app and super().has_member(conversation, user, timeout=timeout)
        try:
            group = self._client.get_group(conversation.target, on_behalf_of=user.uid, timeout=timeout)
        except AuthenticationFailed:
            raise
        except Rejected:  # the group or the user is gone, or the group is not shown to others
            return False
        return bool(group.get("hasJoined"))

    def members(self, conversation: Conversation, *, timeout: float = MEMBERS_TIMEOUT) -> list[User]:
        own = self.get_uid(conversation.bot).lower()
        found = group_members.list_members(self._client, conversation.target, timeout)
        return [user for user in found if user.uid.lower() != own]

    def get_scope(self, conversation: Conversation, user: User, *, timeout: float = MEMBER_TIMEOUT) -> str:
        return group_members.get_scope(self._client, conversation.target, user.uid, timeout)

    def hears_only_mentions(self, bot: Bot) -> bool:
        return group_setting_needed(bot) != ALL

    def parse(self, incoming: IncomingEvent) -> Event:
        if incoming.key.startswith(KEY_PREFIX):
            return parse_press_event(incoming)
        payload, _ = read_body(incoming.body)
        plain = read_plain_text(payload, conversation=incoming.conversation, key=incoming.key)
        event = plain or parsing.parse(payload, conversation=incoming.conversation, key=incoming.key)
        return self._to_started(event) if isinstance(event, MembershipEvent) else event

    def _to_started(self, event: MembershipEvent) -> MembershipEvent:
        """Return an event that begins a conversation if the bot became a member; any other as it is."""
        bot = self._uids.get(event.conversation.bot, event.conversation.bot).lower()
        is_bot = any(member.uid.lower() == bot for member in event.members)
        if not is_bot or event.action not in ("added", "joined"):
            return event
        return GroupStarted(**{item.name: getattr(event, item.name) for item in fields(event)})

    def render(self, operation: Operation) -> list[dict[str, Any]]:
        if operation.conversation.is_app:
            raise BotError(
                "conversation: expected a user's or a group's, got that of the whole app, where nothing can be sent"
            )
        return rendering.render(operation, self.rich, self.press_signer.make_url if self.press_signer else None)

    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        """Send a request, like :meth:`Channel.send`.

        If the bot is not a member of the group yet, it is added and the request is sent once more; not to moderate it,
        which a new member may not. All but messages are idempotent and need no :meth:`find_sent`.
        """
        ends_at = time.monotonic() + timeout
        try:
            return self._execute(sending, timeout)
        except Rejected as error:
            is_missing = sending.conversation.is_group and error.code in group_members.NOT_A_MEMBER_CODES
            if not is_missing or sending.payload["op"] in group_members.MODERATIONS:
                raise
        self._join_group(sending.conversation, ends_at)
        return self._execute(sending, _seconds_left(ends_at))

    def find_sent(self, sending: OutgoingRequest, *, timeout: float) -> str | None:
        """Find an earlier :meth:`send` by the ``muid`` of its message, like :meth:`Channel.find_sent`.

        Returns None also if more messages were written since than can be searched, because a doubled reply is better
        than a lost one.
        """
        payload = sending.payload
        if payload["op"] not in ("send", "thread"):
            return None
        search = SentMessageSearch(sending.client_id, timeout)
        found = search.search_history(
            partial(self._load_history_page, sending, search), str(payload.get("after") or "")
        )
        if found is None and payload["op"] == "thread":
            found = search.search_thread(partial(self._load_thread_page, sending, search))
        if found is None and not search.is_complete:
            _log.warning(
                "cannot verify whether a reply arrived: the history since then is too long. It is sent again.",
                extra={"conversation": str(sending.conversation.key)},
            )
        return found

    def cooldown(self) -> float:
        """Return one second if the last response reported that no requests are left in this minute, else 0.

        The next request would be answered with 429.
        """
        rate = self._client.rate
        return _COOLDOWN if rate is not None and rate.remaining == 0 else 0.0

    def preview(self, conversation: Conversation, message_id: str, text: str) -> None:
        shown = rendering.split_by_data_limit(text, {})[:1]
        if not shown:
            return
        try:
            uid = self.get_uid(conversation.bot)
            self._client.edit_message(message_id, {"text": shown[0]}, on_behalf_of=uid, timeout=_PREVIEW_TIMEOUT)
        except (ChannelError, MessageError) as error:
            _log.debug("cannot update the live preview: %s", error, extra={"conversation": str(conversation.key)})

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        """Return the newest messages of users and bots, oldest first.

        Deleted messages and reports of joins, edits and calls are omitted, and so are messages that moderation has
        disapproved, unless ``answer_disapproved`` is set. The conversation of the whole app has no messages.
        """
        if conversation.is_app:
            return []
        query: dict[str, str | int | bool] = {
            "limit": min(max(limit, 1), 1000),
            "affix": "prepend",
            "hideDeleted": True,
        }
        query["categories"] = ",".join(sorted(MESSAGE_CATEGORIES))
        records = self._client.messages(**self._history_peer(conversation), query=query)
        events = []
        for record in records:
            message = payloads.load_message(record)
            is_complete = message["id"] and message["sender"]
            if is_complete and message["category"] in MESSAGE_CATEGORIES and not message["deletedAt"]:
                events.append(parsing.make_message(message, parsing.make_history_context(conversation, record)))
        shown = [
            event for event in events if event.moderation != "disapproved" or self.callback_settings.answer_disapproved
        ]
        return sorted(shown, key=_age_sort_key)[-limit:]

    def transcript(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        return [
            replace(event, text=parsing.find_shown_text(event.data)) if event.category == "interactive" else event
            for event in self.history(conversation, limit)
        ]

    def read_file(self, file: Attachment, client: Any, *, limit: int, timeout: float = FILE_TIMEOUT) -> bytes:
        """Load a file, like :meth:`Channel.read_file`. If its address has run out, the message has a new one."""
        ends_at = time.monotonic() + timeout
        try:
            return super().read_file(file, client, limit=limit, timeout=timeout)
        except Rejected as error:
            url = "" if error.code == "file_too_large" else self._find_fresh_url(file, client, _seconds_left(ends_at))
            if not url:
                raise
        return super().read_file(replace(file, url=url), client, limit=limit, timeout=_seconds_left(ends_at))

    def _find_fresh_url(self, file: Attachment, client: Any, timeout: float) -> str:
        """Return another address of the same file, as its message has it now; empty if there is none."""
        if not file.message_id:
            return ""
        try:
            message = payloads.load_message(client.get_message(file.message_id, timeout=timeout))
        except (ChannelError, PayloadError) as error:
            _log.info("cannot ask for a new address of a file: %s", error)
            return ""
        urls = [str(item.url) for item in message["data"].get("attachments", ())] or [message["data"].get("url", "")]
        path = urlsplit(file.url).path
        return next((url for url in urls if url != file.url and urlsplit(url).path == path), "")

    def client(self, bot: str) -> CometChatClient:
        return self._client

    def readonly_client(self, bot: str, on_write: Callable[[str], None]) -> ReadOnlyClient:
        return ReadOnlyClient(self._client, on_write)

    def is_bot(self, uid: str) -> bool:
        return uid.lower() in self._own_uids or uid.lower() in self._bot_uids

    def attach(self, delivery: DeliveryService) -> None:
        self._delivery = delivery

    def refresh(self) -> None:
        """Load which users are bots, and which groups the bots are in, at most every ten minutes.

        A failure is only logged; the earlier data stays in use.
        """
        now = self._clock()
        if now < self._bots_refresh_at:
            return
        self._bots_refresh_at = now + _REFRESH_INTERVAL
        try:
            records = [*self._client.bots(), *self._client.bots(ai=True)]
        except ChannelError as error:
            _log.info("cannot list the bots of the app %s: %s", self.app or self.account, error)
            return
        self._bot_uids = frozenset(str(record["uid"]).lower() for record in records if "uid" in record)
        self._refresh_groups()

    def _refresh_groups(self) -> None:
        """Store the groups that a bot is in, so that their webhooks are handled without a reported join."""
        for name, bot in self._bots.items():
            if self._delivery is None or not any(handler.kind == "event" for handler in bot.handlers):
                continue
            try:
                records = list(self._client.groups({"hasJoined": True}, on_behalf_of=self._uids[name]))
            except ChannelError as error:
                _log.info(
                    "cannot list the groups of the bot %s in the app %s: %s", name, self.app or self.account, error
                )
                continue
            guids = frozenset(filter(None, (find_id(record.get("guid")) for record in records)))
            new = guids - self._groups.get(name, frozenset())
            if new:
                self._delivery.add_conversations(self.conversation(bot, group=guid) for guid in sorted(new))
            self._groups[name] = guids

    def close(self) -> None:
        self._client.close()

    def _execute(self, sending: OutgoingRequest, timeout: float) -> str:
        payload, bot = sending.payload, sending.conversation.bot
        uid = self._uids.get(bot, bot)
        operation = payload["op"]
        if operation in ("send", "thread"):
            body = {**payload["body"], "muid": sending.client_id}
            if operation == "send":
                return get_message_id(self._client.send_bot_message(uid, body, timeout=timeout))
            return get_message_id(
                self._client.reply_in_thread(payload["parent"], body, on_behalf_of=uid, timeout=timeout)
            )
        if operation in group_members.MODERATIONS:
            guid, user = sending.conversation.target, str(payload["user"])
            group_members.moderate(self._client, operation, guid, user, by=uid, timeout=timeout)
            return ""
        message_id = sending.target_id or str(payload["message"])
        if operation == "edit":
            body = payload["body"]
            self._client.edit_message(
                message_id, body["data"], tags=body.get("tags"), on_behalf_of=uid, timeout=timeout
            )
        elif operation == "delete":
            self._delete_message(message_id, uid, timeout)
        else:
            self._client.add_reaction(message_id, payload["reaction"], on_behalf_of=uid, timeout=timeout)
        return message_id

    def _delete_message(self, message_id: str, uid: str, timeout: float) -> None:
        """Delete a message; one that is deleted already is no error."""
        ends_at = time.monotonic() + timeout
        try:
            self._client.delete_message(message_id, on_behalf_of=uid, timeout=timeout)
        except NotFound:
            return
        except Rejected:
            if not self._client.get_message(message_id, timeout=_seconds_left(ends_at)).get("deletedAt"):
                raise

    def _join_group(self, conversation: Conversation, ends_at: float) -> None:
        uid, guid = self.get_uid(conversation.bot), conversation.target
        _log.info("adding the bot to the group to send its reply", extra={"conversation": str(conversation.key)})
        entries = self._client.add_members(guid, [uid], timeout=_seconds_left(ends_at))
        error = next((entry["error"] for entry in entries.values() if "error" in entry), None)
        if isinstance(error, dict) and error.get("code") != "ERR_ALREADY_JOINED":
            code = str(error.get("code") or "")
            raise Rejected(f"the bot {uid} could not be added to the group {guid}: {code}", code=code)

    def _load_history_page(
        self, sending: OutgoingRequest, search: SentMessageSearch, query: Mapping[str, str]
    ) -> list[Record]:
        try:
            return self._client.messages(
                **self._history_peer(sending.conversation),
                query={**query, "limit": PAGE_SIZE},
                timeout=search.seconds_left,
            )
        except Rejected as error:
            if error.code in _NO_HISTORY_CODES:
                return []
            raise

    def _load_thread_page(self, sending: OutgoingRequest, search: SentMessageSearch, page: int) -> list[Record]:
        uid, parent = self.get_uid(sending.conversation.bot), str(sending.payload["parent"])
        return self._client.thread(parent, on_behalf_of=uid, page=page, timeout=search.seconds_left)

    def _history_peer(self, conversation: Conversation) -> dict[str, Any]:
        """Return the arguments for reading the history of ``conversation``.

        A group's is read without ``on_behalf_of``, so that it can be read even if the bot is no longer a member.
        """
        if conversation.is_group:
            return {"group": conversation.target}
        return {"user": conversation.target, "on_behalf_of": self.get_uid(conversation.bot)}


def _ignore_outcome(bot: str, outcome: str) -> None:
    """Default of ``observe``: count nothing."""


def _ignore_moderation(bot: str, seconds: float, outcome: str) -> None:
    """Default of ``observe_moderation``: count nothing."""


def _seconds_left(ends_at: float) -> float:
    return max(ends_at - time.monotonic(), 0.001)


def _age_sort_key(event: MessageEvent) -> tuple[float, tuple[int, str]]:
    return event.sent_at, id_sort_key(event.id)
