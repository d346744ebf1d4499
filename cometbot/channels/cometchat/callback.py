"""The views that CometChat calls: bot callbacks and app webhooks, stored and then acknowledged."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from cometbot.bot import Bot
from cometbot.channels.base import Incoming, Intake
from cometbot.channels.cometchat import parsing, schemas
from cometbot.channels.cometchat.parsing import Happening
from cometbot.channels.cometchat.settings import CallbackSettings
from cometbot.errors import PayloadError, StoreBusy
from cometbot.http.auth import CHALLENGE, BasicCredentials
from cometbot.http.direct import Answer, DirectBlueprint, Environ
from cometbot.http.errors import HttpError, echo
from cometbot.http.limits import read_body
from cometbot.models import Conversation

if TYPE_CHECKING:
    from cometbot.channels.cometchat.channel import CometChatChannel

_log = logging.getLogger(__name__)

_DONE = Answer(200, b'{"data":{"success":true}}')
_IGNORED = Answer(200, b'{"data":{"success":true,"ignored":1}}')
_JSON = re.compile(r"application/json\s*(;\s*charset\s*=\s*(utf-?8|\"utf-?8\")\s*)?(;\s*)?", re.IGNORECASE)
_WEBHOOK = "webhook"
_ROUTING_KEYS = frozenset(
    {
        "trigger",
        "appId",
        "bot",
        "data",
        "id",
        "conversationId",
        "sender",
        "receiverType",
        "receiver",
        "category",
        "type",
    }
)
_UNIQUE_KEYS = (b'"trigger"', b'"appId"', b'"bot"', b'"id"', b'"receiverType"', b'"category"')
_ESCAPED_LETTERS = (b"\\u004", b"\\u005", b"\\u006", b"\\u007")


def make_blueprint(channel: CometChatChannel, intake: Intake) -> DirectBlueprint:
    """The routes ``/cometchat/<bot>``, ``/cometchat`` and ``/cometchat/<bot>/webhook``.

    Raises :class:`ConfigurationError` for a bot that anybody could call unless that was asked for.
    """
    for name in intake.bots:
        channel.callback.check(name)
    views = CallbackViews(channel, intake)
    blueprint = DirectBlueprint("cometchat", __name__)
    blueprint.add_view("/cometchat", views.answer_shared_callback)
    blueprint.add_view("/cometchat/<bot>", views.answer_callback)
    blueprint.add_view("/cometchat/<bot>/webhook", views.answer_webhook)
    blueprint.direct["/cometchat"] = views.answer_shared_callback
    for name in intake.bots:
        blueprint.direct[f"/cometchat/{name}"] = partial(views.answer_callback, bot=name)
    return blueprint


class CallbackViews:
    """What happens to one call: credentials, body, shape, store, 200. Refusals come in CometChat's error envelope."""

    def __init__(self, channel: CometChatChannel, intake: Intake) -> None:
        self._channel = channel
        self._account = channel.account
        self._intake = intake
        self._bots = dict(intake.bots)
        self._by_uid = {channel.uid(name).lower(): bot for name, bot in self._bots.items()}
        self._observe = channel.observe
        self._settings: CallbackSettings = channel.callback
        self._credentials = BasicCredentials(self._settings.credentials)
        shared = self._settings.webhook_credentials
        self._webhook_credentials = BasicCredentials({_WEBHOOK: shared} if shared else {})

    def answer_callback(self, environ: Environ, bot: str) -> Answer:
        """Store what CometChat reports to the bot in the path."""
        return self._answer(self._take_callback, environ, bot)

    def answer_shared_callback(self, environ: Environ) -> Answer:
        """Store what CometChat reports to the bot that the payload names."""
        return self._answer(self._take_shared_callback, environ, "")

    def answer_webhook(self, environ: Environ, bot: str) -> Answer:
        """Store what CometChat's app webhook reports, as far as it concerns the bot in the path."""
        return self._answer(self._take_webhook, environ, bot)

    def _answer(self, take: Callable[[Environ, str], Answer], environ: Environ, bot: str) -> Answer:
        try:
            if environ["REQUEST_METHOD"] != "POST":
                raise HttpError(405, "ERR_METHOD_NOT_ALLOWED", "only POST is allowed here", headers={"Allow": "POST"})
            return take(environ, bot)
        except HttpError as error:
            return self._refuse(error, bot)
        except PayloadError as error:
            return self._refuse(HttpError(400, "ERR_BAD_REQUEST", str(error), details=error.details), bot)
        except StoreBusy:
            text = "the database is busy; nothing was stored, call again"
            return self._refuse(HttpError(503, "ERR_BUSY", text, headers={"Retry-After": "1"}), bot)

    def _refuse(self, error: HttpError, bot: str) -> Answer:
        self._observe(bot if bot in self._bots else "", "refused")
        _log.info("refused a call with %s %s", error.status, error.code)
        described: dict[str, Any] = {"code": error.code, "message": error.message}
        if error.details:
            described["details"] = error.details
        return Answer(error.status, orjson.dumps({"error": described}), error.headers)

    def _take_callback(self, environ: Environ, bot: str) -> Answer:
        found = self._open(bot, environ.get("HTTP_AUTHORIZATION", ""), self._credentials, bot)
        body = self._read(environ)
        payload = parsing.read_json(body)
        is_plain = self._check_callback(payload)
        named = self._find(payload["bot"])
        if named is not found:
            belongs = f"/cometchat/{named.name}" if named else "another URL, if it is served here at all"
            raise HttpError(
                400,
                "ERR_WRONG_BOT",
                f"this URL is for the bot {found.name}; the callback for {echo(payload['bot'])} belongs to {belongs}",
                details={"bot": ["Differs from the bot in the URL."]},
            )
        return self._take(found, payload, body, is_plain=is_plain)

    def _take_shared_callback(self, environ: Environ, bot: str) -> Answer:
        header = environ.get("HTTP_AUTHORIZATION", "")
        has_open_bot = any(name not in self._credentials for name in self._bots)
        if not has_open_bot and not self._credentials.opens_any(header):
            raise _unauthorized()
        body = self._read(environ)
        payload = parsing.read_json(body)
        is_plain = self._check_callback(payload)
        found = self._find(payload["bot"])
        if found is None:
            raise HttpError(404, "ERR_BOT_NOT_FOUND", f"no bot {echo(payload['bot'])} is served here")
        if found.name in self._credentials and not self._credentials.opens(found.name, header):
            raise HttpError(403, "AUTH_ERR_NO_ACCESS", f"these credentials are not those of the bot {found.name}")
        return self._take(found, payload, body, is_plain=is_plain)

    def _take_webhook(self, environ: Environ, bot: str) -> Answer:
        has_own = bool(self._webhook_credentials)
        credentials, name = (self._webhook_credentials, _WEBHOOK) if has_own else (self._credentials, bot)
        found = self._open(bot, environ.get("HTTP_AUTHORIZATION", ""), credentials, name)
        body = self._read(environ)
        payload = parsing.read_json(body)
        self._check_app(schemas.load(schemas.ENVELOPE, payload)["appId"])
        _check_duplicates(body)
        happening = parsing.describe(payload, body)
        conversation = self._concerned(found, happening) if happening else None
        if happening is None or conversation is None:
            return self._ignore(found)
        return self._put(found, Incoming(conversation, happening.key, body, happening.sender))

    def _open(self, bot: str, header: str, credentials: BasicCredentials, name: str) -> Bot:
        """The bot in the path. Who has no valid credentials does not learn which bots there are."""
        found = self._bots.get(bot)
        if found is None:
            if (self._credentials or self._webhook_credentials) and not (
                self._credentials.opens_any(header) or self._webhook_credentials.opens_any(header)
            ):
                raise _unauthorized()
            raise HttpError(404, "ERR_BOT_NOT_FOUND", f"no bot {echo(bot)} is served here")
        if name in credentials and not credentials.opens(name, header):
            raise _unauthorized()
        return found

    def _read(self, environ: Mapping[str, Any]) -> bytes:
        content_type = environ.get("CONTENT_TYPE", "")
        if content_type != "application/json" and not _JSON.fullmatch(content_type):
            raise HttpError(415, "ERR_UNSUPPORTED_MEDIA_TYPE", "send the body as application/json in UTF-8")
        if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() not in ("identity", ""):
            raise HttpError(415, "ERR_UNSUPPORTED_ENCODING", "send the body without a Content-Encoding")
        return read_body(environ, limit=self._settings.body_limit, timeout=self._settings.body_timeout)

    def _check_callback(self, payload: dict[str, Any]) -> bool:
        """Whether this is a message of the usual shape; everything else that may be taken has passed the schemas."""
        is_plain = is_usual(payload)
        if not is_plain:
            trigger = payload.get("trigger")
            is_known = isinstance(trigger, str) and trigger in parsing.SENT
            schemas.load(schemas.CALLBACK if is_known else schemas.CALLBACK_ENVELOPE, payload)
        self._check_app(payload["appId"])
        return is_plain

    def _check_app(self, app_id: object) -> None:
        if app_id != self._account:
            _log.warning("refused a call of the foreign app %s", echo(app_id))
            raise HttpError(403, "AUTH_ERR_INVALID_APPID", f"the app {echo(app_id)} is not the one that is served here")

    def _find(self, name: object) -> Bot | None:
        uid = str(name).lower()
        return self._by_uid.get(uid) or self._bots.get(uid)

    def _take(self, bot: Bot, payload: dict[str, Any], body: bytes, *, is_plain: bool) -> Answer:
        if not is_plain or may_hold_duplicates(body, payload):
            _check_duplicates(body)
        if is_plain:
            data = payload["data"]
            sender = data["sender"]
            if self._is_dropped(bot, sender):
                return self._ignore(bot)
            is_group = data["receiverType"] == "group"
            target = data["receiver"] if is_group else sender
            conversation_id = data["conversationId"].lower()
            conversation = Conversation(
                "cometchat", self._account, bot.name, conversation_id, target.lower(), is_group=is_group
            )
            return self._put(bot, Incoming(conversation, f"message:{data['id']}", body, sender))
        happening = parsing.describe(payload, body)
        if happening is None or not happening.conversation_id or self._is_dropped(bot, happening.sender):
            return self._ignore(bot)
        return self._put(bot, Incoming(self._conversation(bot, happening), happening.key, body, happening.sender))

    def _concerned(self, bot: Bot, happening: Happening) -> Conversation | None:
        """Where the bot is told of this; None if it is not its business."""
        uid = self._channel.uid(bot.name).lower()
        if self._is_dropped(bot, happening.sender):
            return None
        if not happening.conversation_id:
            said = self._intake.find_sent(parsing.CHANNEL, self._account, happening.message_id)
            return said if said is not None and said.bot == bot.name else None
        conversation = self._conversation(bot, happening)
        if happening.is_new_message:
            is_addressed = uid in happening.mentioned if happening.is_group else uid == happening.receiver.lower()
            return conversation if is_addressed else None
        takes_part = happening.is_direct_with(uid) or uid in happening.members
        return conversation if takes_part or (happening.is_group and self._intake.knows(conversation.key)) else None

    def _is_dropped(self, bot: Bot, sender: str) -> bool:
        """Whether it was the bot itself, or another one served here and this one does not handle bots."""
        return self._channel.is_own(sender) and (
            not bot.handle_bots or sender.lower() == self._channel.uid(bot.name).lower()
        )

    def _conversation(self, bot: Bot, happening: Happening) -> Conversation:
        target = happening.target(self._channel.uid(bot.name))
        return Conversation(
            parsing.CHANNEL, self._account, bot.name, happening.conversation_id, target, is_group=happening.is_group
        )

    def _put(self, bot: Bot, incoming: Incoming) -> Answer:
        self._observe(bot.name, "received" if self._intake.put(incoming) else "duplicate")
        return _DONE

    def _ignore(self, bot: Bot) -> Answer:
        self._observe(bot.name, "ignored")
        return _IGNORED


def is_usual(payload: Mapping[str, Any]) -> bool:
    """Whether ``payload`` is a callback with a message, all that is always present being there and of its type.

    The schemas say the same and more, at a hundred times the price.
    """
    data = payload.get("data")
    if type(data) is not dict or payload.get("trigger") != "after_message":
        return False
    get = data.get
    inner = get("data")
    return (
        type(payload.get("appId")) is str
        and type(payload.get("bot")) is str
        and get("receiverType") in schemas.RECEIVER_TYPES
        and get("category") in _SAID
        and _is_time(get("sentAt"))
        and _is_time(get("updatedAt"))
        and type(inner) is dict
        and _is_id(get("type"))
        and (type(inner.get("text")) is str or get("category") != "message" or get("type") != "text")
        and _is_id(get("id"))
        and _is_id(get("conversationId"))
        and _is_id(get("sender"))
        and _is_id(get("receiver"))
    )


def may_hold_duplicates(body: bytes, payload: Mapping[str, Any]) -> bool:
    """Whether a key that routes the message may occur twice or be spelled with escapes: a closer look is due.

    ``payload`` is what was read from ``body``, of the usual shape; in that each key has its number of places.
    """
    count = body.count
    for key in _UNIQUE_KEYS:
        if count(key) > 1:
            return True
    entities = payload["data"]["data"].get("entities")
    entities = entities if type(entities) is dict else {}
    located = sum(
        "conversationId" in (holder.get("entity") or ()) for holder in entities.values() if type(holder) is dict
    )
    return (
        count(b'"data"') > 2
        or count(b'"sender"') > 1 + ("sender" in entities)
        or count(b'"receiver"') > 1 + ("receiver" in entities)
        or count(b'"conversationId"') > 1 + located
        or (b"\\u00" in body and any(letters in body for letters in _ESCAPED_LETTERS))
    )


_SAID = tuple(sorted(parsing.SAID))
_matches_id = schemas.ID_PATTERN.fullmatch


def _is_id(value: object) -> bool:
    return type(value) is str and _matches_id(value) is not None


def _is_time(value: object) -> bool:
    return type(value) is int and 0 <= value < schemas.TIME_LIMIT


def _check_duplicates(body: bytes) -> None:
    duplicate = parsing.find_duplicate_key(body, _ROUTING_KEYS)
    if duplicate:
        raise HttpError(
            400,
            "ERR_BAD_REQUEST",
            f"the key {duplicate!r} occurs twice in one object",
            details={duplicate: ["Occurs twice."]},
        )


def _unauthorized() -> HttpError:
    return HttpError(
        401,
        "AUTH_ERR_EMPTY_AUTH_HEADER",
        "log in with the callback's user name and password (Basic)",
        headers=CHALLENGE,
    )
