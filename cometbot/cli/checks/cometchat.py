"""Checks of CometChat: reachability, the app, the scope of the key, the clock, and the remaining rate limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from cometbot.channels.cometchat.client import CometChatClient
from cometbot.channels.cometchat.responses import RateLimitStatus, error_from_response
from cometbot.cli.checks.http_client import CheckClient, CheckResponse, redact_url
from cometbot.cli.checks.result import CheckResult, failed, passed, skip_all, skipped
from cometbot.errors import AuthenticationFailed, ConfigurationError, RateLimited, Unreachable
from cometbot.settings import Settings

MAX_CLOCK_SKEW = 30.0
"""Maximum difference in seconds between this machine's clock and CometChat's, whose dates have whole seconds."""

MIN_REMAINING_SHARE = 0.1
"""Minimum remaining fraction of a minute's requests. Below it, replies will soon be delayed."""

CHECK_NAMES = ("CometChat", "app id and region", "API key", "clock", "rate limit")

_NETWORK_REMEDY = "check COMETCHAT_REGION or COMETCHAT_API_URL, and that this machine may connect to port 443 outside"
_APP_REMEDY = "copy the app id and the region from CometChat's dashboard into COMETCHAT_APP_ID and COMETCHAT_REGION"
_KEY_REMEDY = (
    "copy a REST API key (scope fullAccess) from CometChat's dashboard, API & Auth Keys, into COMETCHAT_API_KEY"
)
_UNKNOWN_APP_CODES = ("AUTH_ERR_INVALID_APPID", "AUTH_ERR_EMPTY_APPID")
_UNKNOWN_API_CODES = ("ERR_API_NOT_FOUND", "ERR_INVALID_API_VERSION")


@dataclass(frozen=True, slots=True)
class CometChatCheck:
    """The results about CometChat, and a client if the key is valid."""

    results: list[CheckResult]
    client: CometChatClient | None = None


def check_cometchat(settings: Settings, client: CheckClient, *, now: Callable[[], float] = time.time) -> CometChatCheck:
    """Check CometChat with one request for the list of bots.

    The response body is never shown, because it contains passwords.
    """
    try:
        base = settings.cometchat_base_url
        if not settings.cometchat_app_id:
            raise ConfigurationError("COMETCHAT_APP_ID is not set")
        cometchat = CometChatClient(base, settings.cometchat_api_key.reveal(), app_id=settings.cometchat_app_id)
    except ConfigurationError as error:
        remedy = f"{_APP_REMEDY}, and a REST API key into COMETCHAT_API_KEY"
        return CometChatCheck(
            [failed(CHECK_NAMES[0], str(error), remedy), *skip_all(CHECK_NAMES[1:], "CometChat was not reached")]
        )
    headers = {
        "apikey": settings.cometchat_api_key.reveal(),
        "appId": settings.cometchat_app_id,
        "Accept": "application/json",
    }
    try:
        response = client.get(f"{base}/bots?perPage=1", headers)
    except Unreachable as error:
        return CometChatCheck(
            [
                failed(CHECK_NAMES[0], str(error), _NETWORK_REMEDY),
                *skip_all(CHECK_NAMES[1:], "CometChat was not reached"),
            ]
        )
    return _check_response(settings, cometchat, response, now())


def _check_response(settings: Settings, client: CometChatClient, reply: CheckResponse, now: float) -> CometChatCheck:
    base = redact_url(settings.cometchat_base_url)
    if not reply.code and not (reply.status == 200 and "data" in reply.json()) and reply.status not in (401, 403, 429):
        cause = f"{base}: expected CometChat's JSON, got status {reply.status}"
        return CometChatCheck(
            [
                failed(CHECK_NAMES[0], cause, _server_remedy(reply)),
                *skip_all(CHECK_NAMES[1:], "the response is not CometChat's"),
            ]
        )
    key = _check_key(reply, settings.cometchat_api_key.reveal())
    if reply.code in _UNKNOWN_API_CODES or (reply.status >= 500 and key.ok is None):
        cause = f"{base}: status {reply.status} {reply.code}"
        reached = failed(CHECK_NAMES[0], cause, _server_remedy(reply))
    else:
        reached = passed(CHECK_NAMES[0], f"{base} responded within {reply.seconds:.2f} s")
    lines = [reached, _check_app(settings, reply), key, _check_clock(reply, now), _check_rate(reply, now)]
    return CometChatCheck(lines, client if key.ok else None)


def _server_remedy(reply: CheckResponse) -> str:
    if reply.status >= 500:
        return "check CometChat's status page and try again later"
    return "check COMETCHAT_API_URL, the complete base URL with its version, such as https://host/v3"


def _check_app(settings: Settings, reply: CheckResponse) -> CheckResult:
    name = "app id and region"
    where = settings.cometchat_region or "given by COMETCHAT_API_URL"
    if reply.code in _UNKNOWN_APP_CODES:
        cause = f"unknown app {settings.cometchat_app_id} (region {where})"
        return failed(name, cause, _APP_REMEDY)
    if reply.status >= 500 or reply.code in _UNKNOWN_API_CODES:
        return skipped(name, "not in CometChat's response")
    return passed(name, f"{settings.cometchat_app_id}, region {where}")


def _check_key(reply: CheckResponse, secret: str) -> CheckResult:
    name = "API key"
    if reply.status == 200:
        return passed(name, "valid, scope fullAccess")
    if reply.code in _UNKNOWN_APP_CODES:
        return skipped(name, "unknown until the app is correct")
    error = error_from_response(reply, "GET /bots", [secret])
    if reply.code == "AUTH_ERR_NO_ACCESS" or (reply.status == 403 and not reply.code):
        return failed(name, "expected scope fullAccess, got authOnly", _KEY_REMEDY)
    if isinstance(error, AuthenticationFailed):
        return failed(name, f"CometChat rejects it ({reply.code or reply.status})", _KEY_REMEDY)
    return skipped(name, f"unknown: CometChat's response was {f'{reply.status} {reply.code}'.strip()}")


def _check_clock(reply: CheckResponse, now: float) -> CheckResult:
    try:
        server_time = parsedate_to_datetime(reply.headers.get("date", "")).timestamp()
    except (TypeError, ValueError):
        return skipped("clock", "no date in the response")
    ahead = now - server_time
    if abs(ahead) > MAX_CLOCK_SKEW:
        word = "ahead of" if ahead > 0 else "behind"
        return failed("clock", f"this machine is {abs(ahead):.0f} s {word} CometChat", "timedatectl set-ntp true")
    return passed("clock", f"within {MAX_CLOCK_SKEW:g} s of CometChat's")


def _check_rate(reply: CheckResponse, now: float) -> CheckResult:
    name = "rate limit"
    remedy = "wait a minute; if it persists, request a higher limit from CometChat or find other users of the key"
    if reply.status == 429:
        error = error_from_response(reply, "GET /bots")
        seconds = error.retry_after if isinstance(error, RateLimited) else 0
        return failed(name, f"used up; retry in {seconds:.0f} s", remedy)
    rate = RateLimitStatus.from_headers(reply.headers, now)
    if rate is None or rate.remaining is None:
        return skipped(name, "not in CometChat's response")
    if rate.limit and rate.remaining < rate.limit * MIN_REMAINING_SHARE:
        return failed(name, f"only {rate.remaining} of {rate.limit} requests are left in this minute", remedy)
    return passed(name, f"{rate.remaining} of {rate.limit or '?'} requests are left in this minute")
