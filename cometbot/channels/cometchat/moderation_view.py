"""The view for CometChat's moderation: gives a message to the bot's function, and its verdict to CometChat."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from cometbot.author_error import ErrorReport
from cometbot.bot import Bot
from cometbot.channels.base import DeliveryService
from cometbot.channels.cometchat import raw_payloads
from cometbot.channels.cometchat.moderation import make_answer, read_item
from cometbot.channels.cometchat.moderation_threads import AllThreadsBusy, ModerationThreads, TooLate
from cometbot.channels.cometchat.rotation_log import RotationLog
from cometbot.channels.cometchat.settings import ModerationSettings
from cometbot.error_text import describe_error
from cometbot.errors import BotError, PayloadError
from cometbot.event_loop import run_in_thread
from cometbot.http.auth import CHALLENGE, BasicCredentials
from cometbot.http.errors import HttpError, quote_value, to_http_error
from cometbot.http.json_headers import check_json_headers
from cometbot.http.limits import read_body
from cometbot.http.rate_limiter import RateLimiter
from cometbot.http.raw_wsgi import Environ, RawResponse, RawWSGIBlueprint
from cometbot.models import Attachment, file_reader
from cometbot.moderation import ModerationFunction, ModerationItem, Verdict, moderate

if TYPE_CHECKING:
    from cometbot.channels.cometchat.channel import CometChatChannel

_log = logging.getLogger(__name__)

TIME_LIMIT = 1.8
"""Seconds from the beginning of a request to the response. CometChat waits for 2 s."""

_APP = "app"
_WARNING_INTERVAL = 60.0
_SETTINGS = (
    "COMETCHAT_MODERATION_USERNAME and COMETCHAT_MODERATION_PASSWORD (or in those of one app, with __NAME at the end)"
)

ReadFile = Callable[[str, Attachment, int, float], bytes]
"""Loads a file for a bot, of at most so many bytes and in so many seconds."""


def add_moderation_view(blueprint: RawWSGIBlueprint, channel: CometChatChannel, delivery: DeliveryService) -> None:
    """Add ``/cometchat/<bot>/moderation``, below each path of the channel, if a bot has a function for it.

    Raises :class:`ConfigurationError` if it has no credentials, unless anonymous requests are allowed.
    """
    moderating = [name for name, bot in delivery.bots.items() if bot.moderation is not None]
    if not moderating:
        return
    channel.moderation_settings.validate(moderating[0])
    view = ModerationView(
        delivery.bots,
        account=channel.account,
        settings=channel.moderation_settings,
        observe=channel.observe_moderation,
        path=channel.paths[0],
        read_file=lambda bot, file, limit, timeout: channel.read_file(
            file, channel.client(bot), limit=limit, timeout=timeout
        ),
    )
    for path in channel.paths:
        blueprint.add_raw_view(f"{path}/<bot>/moderation", view.handle_moderation)
        for name in moderating:
            blueprint.raw_views[f"{path}/{name}/moderation"] = partial(view.handle_moderation, bot=name)


class ModerationView:
    """Handles a request: checks the credentials, reads the message, and answers with what the bot's function says.

    A decision is only ever the function's own. Everything else has an error status and CometChat's error envelope, and
    the app's setting "On Custom API Error" decides: 503 if the function is late, raises or returns no decision, and at
    once if all threads are taken. Nothing is stored. ``observe`` gets each request's outcome: ``match``, ``no_match``,
    ``late``, ``failed``, ``busy`` or ``refused``.
    """

    def __init__(
        self,
        bots: Mapping[str, Bot],
        *,
        account: str,
        settings: ModerationSettings,
        observe: Callable[[str, float, str], None],
        read_file: ReadFile,
        path: str = "/cometchat",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bots = bots
        self._account = account
        self._settings = settings
        self._observe = observe
        self._read_file = read_file
        self._clock = clock
        self._credentials = BasicCredentials(
            {_APP: settings.credentials} if settings.credentials else {},
            {_APP: settings.previous} if settings.previous else {},
        )
        self._path = path
        self._rotation = RotationLog(
            self._credentials, "COMETCHAT_MODERATION_PREVIOUS_PASSWORD", "in the Custom API list on the dashboard"
        )
        self._threads = ModerationThreads(settings.threads)
        self._warning_limiter = RateLimiter(1, _WARNING_INTERVAL)

    def handle_moderation(self, environ: Environ, bot: str) -> RawResponse:
        """Answer what the bot in the path says about a message."""
        began = self._clock()
        try:
            function = self._find_function(environ, bot)
            item = read_item(self._read_payload(environ), account=self._account, bot=bot)
        except (HttpError, PayloadError) as error:
            refusal = to_http_error(error)
            _log.info("refused a request for moderation with %s %s", refusal.status, refusal.code)
            return self._refuse(bot, began, "refused", refusal)
        try:
            verdict = self._judge(bot, function, item, began + TIME_LIMIT)
        except HttpError as error:
            return self._refuse(bot, began, _OUTCOMES[error.code], error)
        self._observe(bot, self._clock() - began, "match" if verdict.match else "no_match")
        return RawResponse(200, make_answer(verdict))

    def _find_function(self, environ: Environ, bot: str) -> ModerationFunction:
        """Return the function of the bot in the path, if method and credentials are right."""
        if environ["REQUEST_METHOD"] != "POST":
            raise HttpError(405, "ERR_METHOD_NOT_ALLOWED", "only POST is allowed here", headers={"Allow": "POST"})
        header = environ.get("HTTP_AUTHORIZATION", "")
        if self._credentials and not self._credentials.matches(_APP, header):
            raise self._make_unauthorized(header, bot)
        found = self._bots.get(bot)
        if found is None:
            raise HttpError(404, "ERR_BOT_NOT_FOUND", f"no bot {quote_value(bot)} is served here")
        if found.moderation is None:
            text = f"the bot {bot} judges no messages; decorate a function with @bot.moderate"
            raise HttpError(404, "ERR_NO_MODERATION", text)
        self._rotation.record(_APP, header, f"{self._path}/{bot}/moderation")
        return found.moderation

    def _make_unauthorized(self, header: str, bot: str) -> HttpError:
        if not header.strip():
            text = "log in with the user name and password of the moderation (Basic)"
            return HttpError(401, "AUTH_ERR_EMPTY_AUTH_HEADER", text, headers=CHALLENGE)
        if not self._warning_limiter.acquire("credentials"):
            _log.warning(
                "refused a request for moderation by %s at %s: expected the user name and password in %s, got others. "
                "Set the same ones here and in the Custom API list of CometChat's dashboard.",
                f"the bot {bot}" if bot in self._bots else "a bot that is not served here",
                self._path,
                _SETTINGS,
            )
        text = "wrong credentials; log in with the user name and password of the moderation (Basic)"
        return HttpError(401, "AUTH_ERR_NO_ACCESS", text, headers=CHALLENGE)

    def _read_payload(self, environ: Environ) -> dict[str, Any]:
        check_json_headers(environ)
        body = read_body(environ, limit=self._settings.body_limit, timeout=self._settings.body_timeout)
        return raw_payloads.read_body(body)[0]

    def _judge(self, bot: str, function: ModerationFunction, item: ModerationItem, ends_at: float) -> Verdict:
        """Return what the function says. Raises :class:`HttpError` with 503 if it says nothing in time."""
        extra = {"bot": bot, "event": f"message:{item.id}"}
        try:
            remaining = max(ends_at - self._clock(), 0.0)
            return self._threads.call(partial(self._moderate, bot, function, item, ends_at), timeout=remaining)
        except AllThreadsBusy:
            if not self._warning_limiter.acquire("busy"):
                _log.warning(
                    "moderation has no free thread: all %d are taken. CometChat decides by its own setting. Raise "
                    "COMETCHAT_MODERATION_THREADS, or make the function faster.",
                    self._settings.threads,
                )
            raise HttpError(503, _BUSY, "all threads for moderation are taken", headers={"Retry-After": "1"}) from None
        except TooLate:
            _log.warning(
                "moderation of %s is late: expected a decision within %g s, got none. CometChat decides by its own "
                "setting.",
                bot,
                TIME_LIMIT,
                extra=extra,
            )
            raise HttpError(503, _LATE, f"no decision within {TIME_LIMIT:g} s") from None
        except BaseException as error:
            _log_failure(bot, error, extra)
            raise HttpError(503, _FAILED, "the function for moderation failed; the log says why") from None

    def _moderate(self, bot: str, function: ModerationFunction, item: ModerationItem, ends_at: float) -> Verdict:
        """Call the function, in which attachments can be read while there is time."""

        def read(file: Attachment, limit: int) -> bytes:
            return run_in_thread(self._read_file, bot, file, limit, max(ends_at - self._clock(), 0.001))

        file_reader.set(read)
        return moderate(function, item)

    def _refuse(self, bot: str, began: float, outcome: str, error: HttpError) -> RawResponse:
        self._observe(bot if bot in self._bots else "", self._clock() - began, outcome)
        body: dict[str, Any] = {"code": error.code, "message": error.message}
        if error.details:
            body["details"] = error.details
        return RawResponse(error.status, orjson.dumps({"error": body}), error.headers)


_BUSY, _LATE, _FAILED = "ERR_MODERATION_BUSY", "ERR_MODERATION_LATE", "ERR_MODERATION_FAILED"
_OUTCOMES = {_BUSY: "busy", _LATE: "late", _FAILED: "failed"}


def _log_failure(bot: str, error: BaseException, extra: Mapping[str, str]) -> None:
    """Log where the function failed. The text of an author's error may quote the message: only ``debug`` shows it."""
    place = ErrorReport.from_exception(error).place
    what = describe_error(error) if isinstance(error, BotError) else type(error).__name__
    what = f"{what} at {place}" if place else what
    _log.error("moderation of %s failed: %s. CometChat decides by its own setting.", bot, what, extra=extra)
    _log.debug("moderation of %s failed", bot, exc_info=error, extra=extra)
