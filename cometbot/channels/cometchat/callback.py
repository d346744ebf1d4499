"""The views for CometChat's bot callbacks and app webhooks, which are stored and then acknowledged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import orjson

from cometbot.bot import Bot
from cometbot.channels.base import DeliveryService, IncomingEvent
from cometbot.channels.cometchat import parsing, payloads, raw_payloads
from cometbot.channels.cometchat.channel import CometChatChannel
from cometbot.channels.cometchat.moderation_view import add_moderation_view
from cometbot.channels.cometchat.payloads import Notification
from cometbot.channels.cometchat.press_view import PressView
from cometbot.channels.cometchat.raw_payloads import find_id, is_plain_message
from cometbot.channels.cometchat.rotation_log import RotationLog
from cometbot.channels.cometchat.settings import CallbackSettings
from cometbot.errors import PayloadError, StoreBusy
from cometbot.events import AgentMessageEvent, DeleteEvent, EditEvent, MessageEvent, ModerationEvent
from cometbot.http.auth import CHALLENGE, BasicCredentials
from cometbot.http.errors import HttpError, quote_value, to_http_error
from cometbot.http.json_headers import check_json_headers
from cometbot.http.limits import read_body
from cometbot.http.rate_limiter import RateLimiter
from cometbot.http.raw_wsgi import Environ, RawResponse, RawWSGIBlueprint
from cometbot.models import Conversation

_log = logging.getLogger(__name__)

_ACCEPTED = RawResponse(200, b'{"data":{"success":true}}')
_IGNORED = RawResponse(200, b'{"data":{"success":true,"ignored":1}}')
_CALLBACK_SETTINGS = (
    "COMETBOT_CALLBACK_USERNAME and COMETBOT_CALLBACK_PASSWORD (or in those of one bot or app, with __NAME at the end)"
)
_WEBHOOK_SETTINGS = "COMETCHAT_WEBHOOK_USERNAME and COMETCHAT_WEBHOOK_PASSWORD"
_DISAPPROVED = "moderation has disapproved the message"
_WARNING_INTERVAL = 60.0
_SLOT_SECONDS = 10
_REDELIVERY_SLOTS = 5


def make_blueprint(
    channel: CometChatChannel, delivery: DeliveryService, *, clock: Callable[[], float] = time.time
) -> RawWSGIBlueprint:
    """Create the routes ``/cometchat/<bot>``, ``/cometchat`` and ``/cometchat/<bot>/webhook``.

    If they are in use, ``/cometchat/<bot>/moderation`` and the route of buttons are added. The routes of one app of
    several begin with ``/cometchat/<app>``. Raises :class:`ConfigurationError` for a bot without credentials for
    callbacks, or for its moderation, unless anonymous ones are allowed.
    """
    for name in delivery.bots:
        channel.callback_settings.validate(name)
    views = CallbackViews(
        delivery,
        account=channel.account,
        uids={name: channel.get_uid(name) for name in delivery.bots},
        settings=channel.callback_settings,
        observe=channel.observe,
        clock=clock,
        path=channel.paths[0],
        app=channel.app,
    )
    blueprint = RawWSGIBlueprint(f"cometchat_{channel.app}" if channel.app else "cometchat", __name__)
    for path in channel.paths:
        blueprint.add_raw_view(path, views.handle_shared_callback)
        blueprint.add_raw_view(f"{path}/<bot>", views.handle_callback)
        blueprint.add_raw_view(f"{path}/<bot>/webhook", views.handle_webhook)
        blueprint.raw_views[path] = views.handle_shared_callback
        for name in delivery.bots:
            blueprint.raw_views[f"{path}/{name}"] = partial(views.handle_callback, bot=name)
    if channel.press_signer is not None:
        timeout = channel.callback_settings.body_timeout
        press_view = PressView(delivery, channel.press_signer, body_timeout=timeout, observe=channel.observe)
        for path in channel.paths:
            blueprint.add_raw_view(f"{path}/<bot>/press/<token>", press_view.handle_press)
    add_moderation_view(blueprint, channel, delivery)
    return blueprint


class CallbackViews:
    """Handles a callback: checks the credentials, reads and validates the body, stores the event, answers 200.

    ``account`` is the id of the app, ``uids`` are the CometChat UIDs of the bots by name. The bots' callbacks are below
    ``path``; ``app`` is the app's name, if there are several. Refusals have CometChat's error envelope.
    """

    def __init__(
        self,
        delivery: DeliveryService,
        *,
        account: str,
        uids: Mapping[str, str],
        settings: CallbackSettings,
        observe: Callable[[str, str], None],
        clock: Callable[[], float],
        path: str = "/cometchat",
        app: str = "",
    ) -> None:
        self._delivery = delivery
        self._clock = clock
        self._path = path
        self._account = account
        self._observe = observe
        self._settings = settings
        self._bots = dict(delivery.bots)
        self._uids = {name: uid.lower() for name, uid in uids.items()}
        self._by_uid = {uid: self._bots[name] for name, uid in self._uids.items()}
        self._by_any_id = {**self._bots, **self._by_uid}
        self._credentials = BasicCredentials(settings.credentials, settings.previous)
        shared, previous = settings.webhook_credentials, settings.previous_webhook
        self._webhook_credentials = BasicCredentials(
            dict.fromkeys(self._bots, shared) if shared else {}, dict.fromkeys(self._bots, previous) if previous else {}
        )
        sync = f"cometbot bots sync --app {app}" if app else "cometbot bots sync"
        self._callback_rotation = RotationLog(self._credentials, "COMETBOT_CALLBACK_PREVIOUS_PASSWORD", sync)
        self._webhook_rotation = RotationLog(
            self._webhook_credentials, "COMETCHAT_WEBHOOK_PREVIOUS_PASSWORD", "in the webhook on the dashboard"
        )
        self._warning_limiter = RateLimiter(1, _WARNING_INTERVAL)

    def handle_callback(self, environ: Environ, bot: str) -> RawResponse:
        """Store a callback for the bot in the path."""
        return self._handle(self._process_callback, environ, bot)

    def handle_shared_callback(self, environ: Environ) -> RawResponse:
        """Store a callback for the bot that the payload names."""
        return self._handle(self._process_shared_callback, environ, "")

    def handle_webhook(self, environ: Environ, bot: str) -> RawResponse:
        """Store a notification of CometChat's app webhook, if it concerns the bot in the path."""
        return self._handle(self._process_webhook, environ, bot)

    def _handle(self, process: Callable[[Environ, str], RawResponse], environ: Environ, bot: str) -> RawResponse:
        try:
            if environ["REQUEST_METHOD"] != "POST":
                raise HttpError(405, "ERR_METHOD_NOT_ALLOWED", "only POST is allowed here", headers={"Allow": "POST"})
            return process(environ, bot)
        except (HttpError, PayloadError, StoreBusy) as error:
            return self._make_error_response(to_http_error(error), bot)

    def _make_error_response(self, error: HttpError, bot: str) -> RawResponse:
        self._observe(bot if bot in self._bots else "", "refused")
        _log.info("refused a callback with %s %s", error.status, error.code)
        error_body: dict[str, Any] = {"code": error.code, "message": error.message}
        if error.details:
            error_body["details"] = error.details
        return RawResponse(error.status, orjson.dumps({"error": error_body}), error.headers)

    def _process_callback(self, environ: Environ, bot: str) -> RawResponse:
        found = self._find_authorized_bot(bot, environ.get("HTTP_AUTHORIZATION", ""), self._credentials)
        payload, body = self._read_payload(environ)
        uid = find_id(payload.get("bot"))
        named = self._by_any_id.get(uid.lower())
        if uid and named is not found:
            belongs = f"{self._path}/{named.name}" if named else "another URL, if it is served here at all"
            raise HttpError(
                400,
                "ERR_WRONG_BOT",
                f"this URL is for the bot {found.name}; the callback for {quote_value(uid)} belongs to {belongs}",
                details={"bot": ["Differs from the bot in the URL."]},
            )
        return self._store_payload(found, payload, body)

    def _process_shared_callback(self, environ: Environ, bot: str) -> RawResponse:
        header = environ.get("HTTP_AUTHORIZATION", "")
        has_open_bot = any(name not in self._credentials for name in self._bots)
        if not has_open_bot and not self._credentials.matches_any(header):
            raise self._make_unauthorized(header, f"of {self._path}", _CALLBACK_SETTINGS)
        payload, body = self._read_payload(environ)
        uid = find_id(payload.get("bot"))
        if not uid and len(self._bots) > 1:
            return self._ignore("", "it names no bot")
        found = self._by_any_id.get(uid.lower()) if uid else next(iter(self._bots.values()))
        if found is None:
            raise HttpError(404, "ERR_BOT_NOT_FOUND", f"no bot {quote_value(uid)} is served here")
        if found.name in self._credentials and not self._credentials.matches(found.name, header):
            self._log_wrong_credentials(self._describe(found.name), _CALLBACK_SETTINGS)
            raise HttpError(403, "AUTH_ERR_NO_ACCESS", f"these credentials are not those of the bot {found.name}")
        self._callback_rotation.record(found.name, header, f"{self._path}/{found.name}")
        return self._store_payload(found, payload, body)

    def _process_webhook(self, environ: Environ, bot: str) -> RawResponse:
        credentials = self._webhook_credentials or self._credentials
        found = self._find_authorized_bot(bot, environ.get("HTTP_AUTHORIZATION", ""), credentials)
        payload, body = self._read_payload(environ)
        if self._is_disapproved(payload):
            return self._ignore(found.name, _DISAPPROVED)
        notification = payloads.read_notification(payload, body)
        if notification is None:
            return self._ignore(found.name, "it does not concern the bot")
        # A handler may report what was judged, in a message that is judged in its turn.
        if notification.event is ModerationEvent and self._is_ignored_sender(found, notification.author):
            return self._ignore(found.name, "it is about the message of a bot")
        if notification.has_place and self._is_relevant(found, notification):
            return self._store_notification(found, notification, body, can_be_of_app=True)
        return self._store_app_report(found, notification, body)

    def _find_authorized_bot(self, bot: str, header: str, credentials: BasicCredentials) -> Bot:
        """Return the bot in the path, if the credentials are right.

        Raises :class:`HttpError`: 401, or 404 for an unknown bot. Without valid credentials the status is 401 for
        unknown bots too, so that it does not disclose which bots exist.
        """
        found = self._bots.get(bot)
        if found is None:
            if (self._credentials or self._webhook_credentials) and not (
                self._credentials.matches_any(header) or self._webhook_credentials.matches_any(header)
            ):
                raise self._make_unauthorized(header, "of a bot that is not served here", _CALLBACK_SETTINGS)
            raise HttpError(404, "ERR_BOT_NOT_FOUND", f"no bot {quote_value(bot)} is served here")
        if not credentials.matches(bot, header) and bot in credentials:
            settings = _WEBHOOK_SETTINGS if credentials is self._webhook_credentials else _CALLBACK_SETTINGS
            raise self._make_unauthorized(header, self._describe(bot), settings)
        if credentials is self._webhook_credentials:
            self._webhook_rotation.record(bot, header, f"{self._path}/{bot}/webhook")
        else:
            self._callback_rotation.record(bot, header, f"{self._path}/{bot}")
        return found

    def _describe(self, bot: str) -> str:
        return f"of the bot {bot} at {self._path}"

    def _make_unauthorized(self, header: str, call_target: str, settings: str) -> HttpError:
        """Return the 401 for missing or wrong credentials; log that wrong ones were sent."""
        if not header.strip():
            text = "log in with the callback's user name and password (Basic)"
            return HttpError(401, "AUTH_ERR_EMPTY_AUTH_HEADER", text, headers=CHALLENGE)
        self._log_wrong_credentials(call_target, settings)
        text = "wrong credentials; log in with the callback's user name and password (Basic)"
        return HttpError(401, "AUTH_ERR_NO_ACCESS", text, headers=CHALLENGE)

    def _log_wrong_credentials(self, call_target: str, settings: str) -> None:
        """Log that wrong credentials were sent, with the settings to check, at most once a minute for each target."""
        if not self._warning_limiter.acquire(f"{settings} {call_target}"):
            _log.warning(
                "refused a callback %s: expected the user name and password in %s, got others. "
                "Set the same ones here and in CometChat's dashboard; `cometbot doctor` compares them.",
                call_target,
                settings,
            )

    def _read_payload(self, environ: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Return the payload, and the body to store for it.

        Raises :class:`HttpError`: 415 for another content type or encoding, 403 for a payload of another app, and the
        errors of :func:`~cometbot.http.limits.read_body`. Raises :class:`PayloadError` if the body is no JSON object.
        """
        check_json_headers(environ)
        body = read_body(environ, limit=self._settings.body_limit, timeout=self._settings.body_timeout)
        payload, body = raw_payloads.read_body(body)
        app_id = payload.get("appId")
        if app_id != self._account and find_id(app_id) != self._account:
            _log.warning(
                "refused a callback of %s: appId: expected %s, got %s", self._path, self._account, quote_value(app_id)
            )
            raise HttpError(
                403, "AUTH_ERR_INVALID_APPID", f"the app {quote_value(app_id)} is not the one that is served here"
            )
        return payload, body

    def _store_payload(self, bot: Bot, payload: dict[str, Any], body: bytes) -> RawResponse:
        if self._is_disapproved(payload):
            return self._ignore(bot.name, _DISAPPROVED)
        if is_plain_message(payload) and bot.takes(MessageEvent):
            data = payload["data"]
            sender = data["sender"]
            if self._is_ignored_sender(bot, sender):
                return self._ignore(bot.name, "a bot sent it")
            is_group = data["receiverType"] == "group"
            target = data["receiver"] if is_group else sender
            conversation_id = data["conversationId"].lower()
            conversation = Conversation(
                "cometchat", self._account, bot.name, conversation_id, target.lower(), is_group=is_group
            )
            return self._enqueue(bot, IncomingEvent(conversation, f"message:{data['id']}", body, sender))
        notification = payloads.read_notification(payload, body)
        return (
            self._store_notification(bot, notification, body)
            if notification and notification.has_place
            else self._ignore(bot.name, "it names no conversation")
        )

    def _is_disapproved(self, payload: Mapping[str, Any]) -> bool:
        return not self._settings.answer_disapproved and raw_payloads.is_disapproved(payload)

    def _store_notification(
        self, bot: Bot, notification: Notification, body: bytes, *, can_be_of_app: bool = False
    ) -> RawResponse:
        is_bot_joining = self._uids[bot.name] in notification.joined
        if not is_bot_joining and self._is_ignored_sender(bot, notification.sender):
            return self._ignore(bot.name, "a bot caused it")
        # A bot's own joining is always stored: later webhooks of the group count as relevant because of it.
        if not is_bot_joining and not bot.takes(notification.event):
            return self._ignore(bot.name, f"no handler takes {notification.event.__name__}")
        conversation = self._find_conversation(bot, notification)
        if conversation is not None and not conversation.is_app:
            return self._enqueue(bot, IncomingEvent(conversation, notification.key, body, notification.sender))
        if can_be_of_app and notification.app_kind:
            return self._store_app_report(bot, notification, body)
        return self._ignore(bot.name, "its conversation is not known")

    def _store_app_report(self, bot: Bot, notification: Notification, body: bytes) -> RawResponse:
        """Store an event that concerns no conversation of the bot, if it is of a kind that counts all the same.

        Middleware alone does not take it: an app reports much more of these than of what concerns the bot.
        """
        if not notification.app_kind or not bot.routes.can_handle(notification.event):
            return self._ignore(bot.name, "it does not concern the bot")
        if self._is_ignored_sender(bot, notification.sender):
            return self._ignore(bot.name, "a bot caused it")
        conversation = Conversation.of_app(parsing.CHANNEL, self._account, bot.name, notification.app_kind)
        key = notification.key if notification.has_time else self._find_repeatable_key(bot, notification.key)
        return self._enqueue(bot, IncomingEvent(conversation, key, body, notification.sender))

    def _find_repeatable_key(self, bot: Bot, key: str) -> str:
        """Return the key of an event whose payload may recur: the same for its redeliveries, another one later.

        CometChat delivers a webhook again after 10 and 30 seconds. A report within 50 seconds counts as the same, one
        after a minute as new.
        """
        slot = int(self._clock() // _SLOT_SECONDS)
        keys = [f"{key}:{earlier}" for earlier in range(slot - _REDELIVERY_SLOTS, slot)]
        find = partial(self._delivery.find_received_conversation, parsing.CHANNEL, self._account, bot.name)
        return next((earlier for earlier in keys if find(earlier) is not None), f"{key}:{slot}")

    def _is_relevant(self, bot: Bot, notification: Notification) -> bool:
        """Return whether a notification of an app webhook, which reports events of the whole app, concerns the bot."""
        uid = self._uids[bot.name]
        if not notification.conversation_id:
            return True
        if notification.event is AgentMessageEvent:
            return notification.is_direct_with(uid)
        if notification.is_new_message:
            return uid in notification.mentioned if notification.is_group else uid == notification.receiver.lower()
        if notification.is_direct_with(uid) or uid in notification.members:
            return True
        if not notification.is_group or not bot.takes(notification.event):
            return False
        conversation = self._find_conversation(bot, notification)
        return conversation is not None and self._delivery.has_conversation(conversation.key)

    def _find_conversation(self, bot: Bot, notification: Notification) -> Conversation | None:
        """Return the conversation of a notification, or None if it is unknown.

        If the notification names none, it is found by an earlier message that was sent or received.
        """
        if notification.conversation_id:
            target = notification.target(self._uids[bot.name])
            named = (parsing.CHANNEL, self._account, bot.name, notification.conversation_id, target)
            return Conversation(*named, is_group=notification.is_group) if target else None
        if notification.call_key:
            return self._delivery.find_received_conversation(
                parsing.CHANNEL, self._account, bot.name, notification.call_key
            )
        sent = self._delivery.find_sent_conversation(parsing.CHANNEL, self._account, notification.message_id)
        if sent is not None:
            return sent if sent.bot == bot.name else None
        if notification.event not in (EditEvent, DeleteEvent):
            return None
        key = f"message:{notification.message_id}"
        return self._delivery.find_received_conversation(parsing.CHANNEL, self._account, bot.name, key)

    def _is_ignored_sender(self, bot: Bot, sender: str) -> bool:
        """Return whether the sender is the bot itself, or another bot of this server and ``bot.handle_bots`` is off."""
        sender = sender.lower()
        return sender in self._by_uid and (not bot.handle_bots or sender == self._uids[bot.name])

    def _enqueue(self, bot: Bot, incoming: IncomingEvent) -> RawResponse:
        self._observe(bot.name, "received" if self._delivery.enqueue(incoming) else "duplicate")
        return _ACCEPTED

    def _ignore(self, bot: str, reason: str) -> RawResponse:
        self._observe(bot, "ignored")
        _log.debug("ignored a callback for %s: %s", bot or "the shared URL", reason)
        return _IGNORED
