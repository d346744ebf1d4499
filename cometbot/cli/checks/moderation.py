"""Checks of a bot's moderation at its public URL: closed to others, and a decision in time."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from cometbot.bot import Bot
from cometbot.cli.checks.callback import CALLBACK_TIMEOUT
from cometbot.cli.checks.http_client import CheckClient, CheckResponse
from cometbot.cli.checks.result import CheckResult, failed, for_bot, passed, skip_all, skipped
from cometbot.errors import Unreachable
from cometbot.settings import WEAK_SECRET_TEXT, Credentials, Settings, is_weak

SETTINGS_NAME = "moderation settings"
CHECK_NAMES = ("moderation refused", "moderation decides")

_RESTART_REMEDY = "restart the service with the settings and the code of this folder"


@dataclass(frozen=True, slots=True)
class ModerationTarget:
    """The URL at which CometChat's moderation asks one bot. Without ``credentials`` anybody may ask."""

    url: str
    credentials: Credentials | None


def check_moderation(
    settings: Settings, bot: Bot, callback_url: str, client: CheckClient, *, is_reached: bool
) -> list[CheckResult]:
    """Check the settings of a bot's moderation, and ask it about a text at its URL, which the callback's URL begins.

    ``callback_url`` is empty if it is not known.
    """
    line = _check_settings(settings)
    if line.ok is False:
        return for_bot(bot.name, [line, *skip_all(CHECK_NAMES, "the service does not start, see above")])
    if not callback_url or not is_reached:
        why = "the server was not reached" if callback_url else "unknown URL: pass --url, or set COMETBOT_PUBLIC_URL"
        return for_bot(bot.name, [line, *skip_all(CHECK_NAMES, why)])
    target = ModerationTarget(f"{callback_url}/moderation", settings.moderation_credentials)
    return for_bot(bot.name, [line, _check_rejection(target, client), _check_decision(target, client)])


def _check_settings(settings: Settings) -> CheckResult:
    login = settings.moderation_credentials
    if login is not None:
        note = f"; COMETCHAT_MODERATION_PASSWORD {WEAK_SECRET_TEXT}" if is_weak(login.password) else ""
        return passed(SETTINGS_NAME, f"CometChat must log in as {login.username}{note}")
    if settings.cometchat_allow_anonymous_moderation:
        return skipped(SETTINGS_NAME, "COMETCHAT_ALLOW_ANONYMOUS_MODERATION allows anyone to ask")
    return failed(
        SETTINGS_NAME,
        "no credentials are set, so the service does not start",
        "set COMETCHAT_MODERATION_USERNAME and COMETCHAT_MODERATION_PASSWORD, here and in the dashboard's list",
    )


def _check_rejection(target: ModerationTarget, client: CheckClient) -> CheckResult:
    name = CHECK_NAMES[0]
    if target.credentials is None:
        return skipped(name, "COMETCHAT_ALLOW_ANONYMOUS_MODERATION allows anyone to ask")
    try:
        reply = client.post(target.url, _sample_request(), (target.credentials.username, secrets.token_hex(8)))
    except Unreachable as error:
        return failed(name, str(error), _RESTART_REMEDY)
    if reply.status == 401:
        return passed(name, "a wrong password is rejected")
    return failed(name, *_explain(reply, f"expected 401 for a wrong password, got {reply.status}"))


def _check_decision(target: ModerationTarget, client: CheckClient) -> CheckResult:
    name = CHECK_NAMES[1]
    login = (target.credentials.username, target.credentials.password.reveal()) if target.credentials else None
    try:
        reply = client.post(target.url, _sample_request(), login)
    except Unreachable as error:
        return failed(name, str(error), "check the service's log and the machine's load")
    match = reply.json().get("isMatchingCondition")
    if reply.status != 200 or not isinstance(match, bool):
        return failed(name, *_explain(reply, f"expected a decision, got status {reply.status}"))
    if reply.seconds >= CALLBACK_TIMEOUT:
        cause = f"expected at most {CALLBACK_TIMEOUT:g} s, got {reply.seconds:.1f} s"
        return failed(name, cause, "make the function faster, or the way to the service shorter")
    return passed(name, f'"cometbot doctor" {"matches" if match else "does not match"}, {reply.seconds:.2f} s')


def _explain(reply: CheckResponse, otherwise: str) -> tuple[str, str]:
    """Return the cause and the remedy of an unexpected response."""
    if reply.code in _ERROR_CODES:
        return _ERROR_CODES[reply.code]
    return next(_find_causes(reply.status), (otherwise, _RESTART_REMEDY))


def _find_causes(status: int) -> Iterator[tuple[str, str]]:
    if status == 401:
        remedy = f"{_RESTART_REMEDY}; a proxy must forward the header Authorization"
        yield "the credentials of the settings are rejected", remedy
    if status == 404:
        yield "the service has no function for moderation", _RESTART_REMEDY
    if status in (502, 504):
        yield f"the proxy cannot reach the bot (status {status})", "start cometbot serve"


def _sample_request() -> bytes:
    """Return a request about a short text, as CometChat sends it."""
    now = int(time.time())
    message = {
        "id": "1",
        "conversationId": "cometbot-doctor_user_cometbot-nobody",
        "sender": "cometbot-doctor",
        "receiverType": "user",
        "receiver": "cometbot-nobody",
        "category": "message",
        "type": "text",
        "data": {"text": "cometbot doctor"},
        "sentAt": now,
        "updatedAt": now,
    }
    return orjson.dumps({"contextMessages": [{"cometbot-nobody": message}]})


_ERROR_CODES = {
    "ERR_BOT_NOT_FOUND": ("the service does not have the bot", "restart it with the COMETBOT_BOT of this folder"),
    "ERR_NO_MODERATION": ("the service's bot has no function for moderation", _RESTART_REMEDY),
    "ERR_MODERATION_FAILED": ("the function raised an error or returned no decision", "see the service's log"),
    "ERR_MODERATION_LATE": ("the function gave no decision in time", "make it faster; CometChat waits for 2 s"),
    "ERR_MODERATION_BUSY": ("all threads for moderation are taken", "raise COMETCHAT_MODERATION_THREADS"),
}
"""The cause and the remedy for each error code of the route."""
