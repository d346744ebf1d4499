"""The view for the signed addresses of buttons: verifies the signature, stores the press, answers 200."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from cometbot.channels.base import DeliveryService
from cometbot.channels.cometchat import raw_payloads
from cometbot.channels.cometchat.forms import read_submission
from cometbot.channels.cometchat.press_urls import ExpiredPress, InvalidPress, PressSigner
from cometbot.errors import PayloadError, StoreBusy
from cometbot.http.errors import HttpError, to_http_error
from cometbot.http.limits import open_body, read_body
from cometbot.http.rate_limiter import RateLimiter
from cometbot.http.raw_wsgi import Environ, RawResponse

_log = logging.getLogger(__name__)

BODY_LIMIT = 16 * 1024
"""The bytes of a press's body, which is not used: the address says all."""

FORM_BODY_LIMIT = 512 * 1024
"""The bytes of a form's body: more than its values may have, with those that a client adds."""

_CORS = {"Access-Control-Allow-Origin": "*"}
_PREFLIGHT = {
    **_CORS,
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "600",
}
_ACCEPTED = RawResponse(200, b'{"data":{"success":true}}', _CORS)
_WARNING_INTERVAL = 60.0


class PressView:
    """Handles the request of a button, which a user's app sends from any page.

    The signature in the address is the only credential: no cookie and no header counts, so pages of every origin may
    send it. Refusals have CometChat's error envelope. ``body_timeout`` is in seconds without a byte.
    """

    def __init__(
        self,
        delivery: DeliveryService,
        signer: PressSigner,
        *,
        body_timeout: float,
        observe: Callable[[str, str], None],
    ) -> None:
        self._delivery = delivery
        self._signer = signer
        self._body_timeout = body_timeout
        self._observe = observe
        self._warning_limiter = RateLimiter(1, _WARNING_INTERVAL)

    def handle_press(self, environ: Environ, bot: str, token: str) -> RawResponse:
        """Store a press for the bot in the path, or answer a CORS preflight."""
        if environ["REQUEST_METHOD"] == "OPTIONS":
            return RawResponse(200, b"{}", _PREFLIGHT)
        try:
            if environ["REQUEST_METHOD"] != "POST":
                allowed = {"Allow": "OPTIONS, POST"}
                raise HttpError(405, "ERR_METHOD_NOT_ALLOWED", "only POST is allowed here", headers=allowed)
            self._store(environ, bot, token)
        except (HttpError, PayloadError, StoreBusy) as error:
            return self._make_error_response(to_http_error(error), bot)
        self._observe(bot, "received")
        return _ACCEPTED

    def _store(self, environ: Environ, bot: str, token: str) -> None:
        try:
            press = self._signer.verify(bot, token)
        except InvalidPress:
            self._log_invalid(bot)
            raise HttpError(403, "AUTH_ERR_NO_ACCESS", "this address of a button is not one of this server") from None
        except ExpiredPress:
            raise HttpError(
                410, "ERR_BUTTON_EXPIRED", "the address of this button has ended; write to the bot instead"
            ) from None
        if bot not in self._delivery.bots:
            raise HttpError(404, "ERR_BOT_NOT_FOUND", "the bot of this button is not served here any more")
        if press.is_form:
            incoming = press.to_incoming(read_form(environ, self._body_timeout))
        else:
            discard_body(environ, self._body_timeout)
            incoming = press.to_incoming()
        if not self._delivery.enqueue(incoming):
            raise HttpError(409, "ERR_BUTTON_USED", "this button was pressed before; its address works once")

    def _log_invalid(self, bot: str) -> None:
        """Log, at most once a minute, that a signature is wrong. The address is a credential, and is not logged."""
        if bot in self._delivery.bots and not self._warning_limiter.acquire(bot):
            _log.warning(
                "refused a press for the bot %s: expected a signature of this server, got another. Buttons that were "
                "sent before COMETBOT_SECRET_KEY or the database was changed have no effect.",
                bot,
            )

    def _make_error_response(self, error: HttpError, bot: str) -> RawResponse:
        self._observe(bot if bot in self._delivery.bots else "", "refused")
        _log.info("refused a press with %s %s", error.status, error.code)
        body: dict[str, Any] = {"error": {"code": error.code, "message": error.message}}
        return RawResponse(error.status, orjson.dumps(body), {**error.headers, **_CORS})


def read_form(environ: Mapping[str, Any], timeout: float) -> dict[str, str]:
    """Return the values in the body of a form's request.

    Raises :class:`PayloadError` for another body, and :class:`HttpError` for one that is too large or too slow.
    """
    payload, _ = raw_payloads.read_body(read_body(environ, limit=FORM_BODY_LIMIT, timeout=timeout))
    return read_submission(payload)


def discard_body(environ: Mapping[str, Any], timeout: float) -> None:
    """Read a body of at most :data:`BODY_LIMIT` bytes, if there is one, so that the connection can be used again."""
    if environ.get("CONTENT_LENGTH") in (None, "", "0") and "HTTP_TRANSFER_ENCODING" not in environ:
        return
    with open_body(environ, limit=BODY_LIMIT, timeout=timeout) as stream:
        while stream.read(BODY_LIMIT):
            pass
