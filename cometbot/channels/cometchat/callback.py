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
from cometbot.channels.cometchat import parsing, reports, schemas
from cometbot.channels.cometchat.json_body import read_body as read_json_body
from cometbot.channels.cometchat.reports import Happening
from cometbot.channels.cometchat.settings import CallbackSettings
from cometbot.errors import PayloadError, StoreBusy, StoreUnavailable
from cometbot.events import DeleteEvent, EditEvent, MessageEvent
from cometbot.http.auth import CHALLENGE, BasicCredentials
from cometbot.http.direct import Answer, DirectBlueprint, Environ
from cometbot.http.errors import HttpError, echo, unavailable
from cometbot.http.limits import read_body
from cometbot.http.rates import Rates
from cometbot.models import Conversation

if TYPE_CHECKING:
    from cometbot.channels.cometchat.channel import CometChatChannel

_log = logging.getLogger(__name__)

_DONE = Answer(200, b'{"data":{"success":true}}')
_IGNORED = Answer(200, b'{"data":{"success":true,"ignored":1}}')
_JSON = re.compile(r"(application|text)/([\w.-]+\+|x-)?json\s*(;.*)?", re.IGNORECASE | re.DOTALL)
_WEBHOOK = "webhook"
_CALLBACK = "COMETBOT_CALLBACK_USERNAME and COMETBOT_CALLBACK_PASSWORD (or in those of one bot, with __NAME at the end)"
_OF_WEBHOOK = "COMETCHAT_WEBHOOK_USERNAME and COMETCHAT_WEBHOOK_PASSWORD"
_WITHHELD = "moderation has disapproved the message"
_WARNING_INTERVAL = 60.0


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
        self._warnings = Rates(1, _WARNING_INTERVAL)

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
        except StoreUnavailable as error:
            return self._refuse(unavailable(error), bot)
        except StoreBusy:
            text = "the database did not confirm in time; call again, it is stored only once"
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
        payload, body = self._read(environ)
        uid = schemas.find_id(payload.get("bot"))
        named = self._find(uid)
        if uid and named is not found:
            belongs = f"/cometchat/{named.name}" if named else "another URL, if it is served here at all"
            raise HttpError(
                400,
                "ERR_WRONG_BOT",
                f"this URL is for the bot {found.name}; the callback for {echo(uid)} belongs to {belongs}",
                details={"bot": ["Differs from the bot in the URL."]},
            )
        return self._take(found, payload, body)

    def _take_shared_callback(self, environ: Environ, bot: str) -> Answer:
        header = environ.get("HTTP_AUTHORIZATION", "")
        has_open_bot = any(name not in self._credentials for name in self._bots)
        if not has_open_bot and not self._credentials.opens_any(header):
            raise self._unauthorized(header, "of /cometchat", _CALLBACK)
        payload, body = self._read(environ)
        uid = schemas.find_id(payload.get("bot"))
        if not uid and len(self._bots) > 1:
            return self._ignore("", "it names no bot")
        found = self._find(uid) if uid else next(iter(self._bots.values()))
        if found is None:
            raise HttpError(404, "ERR_BOT_NOT_FOUND", f"no bot {echo(uid)} is served here")
        if found.name in self._credentials and not self._credentials.opens(found.name, header):
            self._warn_of_credentials(f"of the bot {found.name}", _CALLBACK)
            raise HttpError(403, "AUTH_ERR_NO_ACCESS", f"these credentials are not those of the bot {found.name}")
        return self._take(found, payload, body)

    def _take_webhook(self, environ: Environ, bot: str) -> Answer:
        has_own = bool(self._webhook_credentials)
        credentials, name = (self._webhook_credentials, _WEBHOOK) if has_own else (self._credentials, bot)
        found = self._open(bot, environ.get("HTTP_AUTHORIZATION", ""), credentials, name)
        payload, body = self._read(environ)
        if self._is_withheld(payload):
            return self._ignore(found.name, _WITHHELD)
        happening = reports.describe(payload, body)
        if happening is None or not self._concerns(found, happening):
            return self._ignore(found.name, "it does not concern the bot")
        return self._store(found, happening, body)

    def _open(self, bot: str, header: str, credentials: BasicCredentials, name: str) -> Bot:
        """The bot in the path. Who has no valid credentials does not learn which bots there are."""
        found = self._bots.get(bot)
        if found is None:
            if (self._credentials or self._webhook_credentials) and not (
                self._credentials.opens_any(header) or self._webhook_credentials.opens_any(header)
            ):
                raise self._unauthorized(header, "of a bot that is not served here", _CALLBACK)
            raise HttpError(404, "ERR_BOT_NOT_FOUND", f"no bot {echo(bot)} is served here")
        if name in credentials and not credentials.opens(name, header):
            settings = _OF_WEBHOOK if credentials is self._webhook_credentials else _CALLBACK
            raise self._unauthorized(header, f"of the bot {bot}", settings)
        return found

    def _unauthorized(self, header: str, callee: str, settings: str) -> HttpError:
        """Return the refusal of a call without credentials, or with wrong ones, which are logged."""
        if not header.strip():
            text = "log in with the callback's user name and password (Basic)"
            return HttpError(401, "AUTH_ERR_EMPTY_AUTH_HEADER", text, headers=CHALLENGE)
        self._warn_of_credentials(callee, settings)
        text = "wrong credentials; log in with the callback's user name and password (Basic)"
        return HttpError(401, "AUTH_ERR_NO_ACCESS", text, headers=CHALLENGE)

    def _warn_of_credentials(self, callee: str, settings: str) -> None:
        """Log once a minute for each callee that wrong credentials came, with the settings that hold the right ones."""
        if not self._warnings.wait(f"{settings} {callee}"):
            _log.warning(
                "refused a call %s: expected the user name and password in %s, got others. "
                "Set the same ones here and in CometChat's dashboard; `cometbot doctor` compares them.",
                callee,
                settings,
            )

    def _read(self, environ: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Return the payload and the body that it is stored as, once its app is known to be the right one."""
        content_type = environ.get("CONTENT_TYPE", "")
        if content_type and content_type != "application/json" and not _JSON.fullmatch(content_type):
            raise HttpError(415, "ERR_UNSUPPORTED_MEDIA_TYPE", "send the body as application/json")
        if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() not in ("identity", ""):
            raise HttpError(415, "ERR_UNSUPPORTED_ENCODING", "send the body without a Content-Encoding")
        body = read_body(environ, limit=self._settings.body_limit, timeout=self._settings.body_timeout)
        payload, body = read_json_body(body)
        app_id = payload.get("appId")
        if app_id != self._account and schemas.find_id(app_id) != self._account:
            _log.warning("refused a call of the foreign app %s", echo(app_id))
            raise HttpError(403, "AUTH_ERR_INVALID_APPID", f"the app {echo(app_id)} is not the one that is served here")
        return payload, body

    def _find(self, name: object) -> Bot | None:
        uid = str(name).lower()
        return self._by_uid.get(uid) or self._bots.get(uid)

    def _take(self, bot: Bot, payload: dict[str, Any], body: bytes) -> Answer:
        if self._is_withheld(payload):
            return self._ignore(bot.name, _WITHHELD)
        if is_usual(payload) and bot.takes(MessageEvent):
            data = payload["data"]
            sender = data["sender"]
            if self._is_dropped(bot, sender):
                return self._ignore(bot.name, "a bot sent it")
            is_group = data["receiverType"] == "group"
            target = data["receiver"] if is_group else sender
            conversation_id = data["conversationId"].lower()
            conversation = Conversation(
                "cometchat", self._account, bot.name, conversation_id, target.lower(), is_group=is_group
            )
            return self._put(bot, Incoming(conversation, f"message:{data['id']}", body, sender))
        happening = reports.describe(payload, body)
        return self._store(bot, happening, body) if happening else self._ignore(bot.name, "it names no conversation")

    def _is_withheld(self, payload: Mapping[str, Any]) -> bool:
        return not self._settings.answer_disapproved and reports.is_disapproved(payload)

    def _store(self, bot: Bot, happening: Happening, body: bytes) -> Answer:
        is_joining = self._channel.uid(bot.name).lower() in happening.joined
        if not is_joining and self._is_dropped(bot, happening.sender):
            return self._ignore(bot.name, "a bot caused it")
        # That the bot is in a group is stored for later: it is how the group's other events are known to be its own.
        if not is_joining and not bot.takes(happening.event):
            return self._ignore(bot.name, f"no handler takes {happening.event.__name__}")
        conversation = self._locate(bot, happening)
        if conversation is None:
            return self._ignore(bot.name, "its conversation is not known")
        return self._put(bot, Incoming(conversation, happening.key, body, happening.sender))

    def _concerns(self, bot: Bot, happening: Happening) -> bool:
        """Return whether the bot hears of what a webhook reports of the whole app."""
        uid = self._channel.uid(bot.name).lower()
        if not happening.conversation_id:
            return True
        if happening.is_new_message:
            return uid in happening.mentioned if happening.is_group else uid == happening.receiver.lower()
        if happening.is_direct_with(uid) or uid in happening.members:
            return True
        if not happening.is_group or not bot.takes(happening.event):
            return False
        conversation = self._locate(bot, happening)
        return conversation is not None and self._intake.knows(conversation.key)

    def _locate(self, bot: Bot, happening: Happening) -> Conversation | None:
        """Return the conversation that this happened in, by what was sent and received before where it names none."""
        if happening.conversation_id:
            target = happening.target(self._channel.uid(bot.name))
            named = (parsing.CHANNEL, self._account, bot.name, happening.conversation_id, target)
            return Conversation(*named, is_group=happening.is_group) if target else None
        if happening.call_key:
            return self._intake.find_received(parsing.CHANNEL, self._account, bot.name, happening.call_key)
        sent = self._intake.find_sent(parsing.CHANNEL, self._account, happening.message_id)
        if sent is not None:
            return sent if sent.bot == bot.name else None
        if happening.event not in (EditEvent, DeleteEvent):
            return None
        key = f"message:{happening.message_id}"
        return self._intake.find_received(parsing.CHANNEL, self._account, bot.name, key)

    def _is_dropped(self, bot: Bot, sender: str) -> bool:
        """Whether it was the bot itself, or another one served here and this one does not handle bots."""
        return self._channel.is_own(sender) and (
            not bot.handle_bots or sender.lower() == self._channel.uid(bot.name).lower()
        )

    def _put(self, bot: Bot, incoming: Incoming) -> Answer:
        self._observe(bot.name, "received" if self._intake.put(incoming) else "duplicate")
        return _DONE

    def _ignore(self, bot: str, reason: str) -> Answer:
        self._observe(bot, "ignored")
        _log.debug("ignored a call for %s: %s", bot or "the shared URL", reason)
        return _IGNORED


def is_usual(payload: Mapping[str, Any]) -> bool:
    """Return whether ``payload`` is a callback whose message can be routed as it stands.

    :func:`reports.describe` says the same of it, at a hundred times the price.
    """
    data = payload.get("data")
    if type(data) is not dict or payload.get("trigger") != "after_message":
        return False
    get = data.get
    return (
        get("receiverType") in schemas.RECEIVER_TYPES
        and get("category") in _SAID
        and not get("deletedAt")
        and _is_id(get("id"))
        and _is_id(get("conversationId"))
        and _is_id(get("sender"))
        and _is_id(get("receiver"))
    )


_SAID = tuple(sorted(reports.SAID))
_matches_id = schemas.ID_PATTERN.fullmatch


def _is_id(value: object) -> bool:
    return type(value) is str and _matches_id(value) is not None
