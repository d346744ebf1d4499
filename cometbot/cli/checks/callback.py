"""Checks of the callback at its public URL: reachable for CometChat, closed to others, and fast enough."""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson

from cometbot.channels.cometchat.provision import check_url
from cometbot.cli.checks.http_client import CheckClient, CheckResponse, redact_url
from cometbot.cli.checks.result import CheckResult, failed, for_app, for_bot, passed, skip_all, skipped
from cometbot.errors import ConfigurationError, Unreachable
from cometbot.settings import Credentials

CALLBACK_TIMEOUT = 2.0
"""Seconds that CometChat waits for the response to a callback (documented for its webhooks)."""

MIN_CERTIFICATE_DAYS = 7.0
"""Minimum remaining lifetime of a certificate in days. It should have been renewed long before."""

CHECK_NAMES = ("credentials refused", "credentials accepted", "response time")
SERVER_CHECK_NAMES = ("reachable", "certificate")

_UNSIGNED = "doctor"
_TIMEOUT_REMEDY = "check the service's log and the machine's load; raise COMETBOT_THREADS or COMETBOT_PROCESSES"
_SERVE_REMEDY = "start cometbot serve, and let the proxy forward /cometchat/ to it unchanged"


@dataclass(frozen=True, slots=True)
class CallbackTarget:
    """The URL and credentials with which CometChat calls one bot. Without ``credentials`` anybody may call it.

    With ``has_buttons``, users' apps call an address below the URL. Of several apps, ``app`` is the name of one.
    """

    bot: str
    uid: str
    app_id: str
    url: str
    credentials: Credentials | None
    has_buttons: bool = False
    app: str = ""


def check_callbacks(callbacks: Sequence[CallbackTarget], client: CheckClient, api_url: str) -> list[CheckResult]:
    """Check each server, then each callback. The posted callbacks cause nothing to be stored."""
    results: list[CheckResult] = []
    reached: dict[str, bool] = {}
    for origin in dict.fromkeys(get_origin(callback.url) for callback in callbacks):
        lines = check_server(origin, client, api_url)
        reached[origin] = all(line.ok is not False for line in lines)
        results += lines
    for callback in callbacks:
        if reached[get_origin(callback.url)]:
            results += for_app(callback.app, check_callback(callback, client))
        else:
            skipped_lines = for_bot(callback.bot, skip_all(CHECK_NAMES, "the server was not reached"))
            results += for_app(callback.app, skipped_lines)
    return results


def check_server(origin: str, client: CheckClient, api_url: str) -> list[CheckResult]:
    """Check that the server at ``origin`` is reachable over HTTPS with a valid certificate.

    A CometChat on this machine (``api_url``) may call this machine without TLS.
    """
    host = urlsplit(origin).hostname or ""
    unreached = skipped("certificate", "the server was not reached")
    try:
        check_url(origin, api_url)
        address = client.connect(origin)
    except ConfigurationError as error:
        return [failed("reachable", str(error), "cometbot doctor --url https://public-host-name"), unreached]
    except Unreachable as error:
        return [failed("reachable", str(error), "check DNS, the firewall, the proxy and cometbot serve"), unreached]
    reached = passed("reachable", f"{host} responds at {address}{_private_address_note(address, origin, api_url)}")
    if urlsplit(origin).scheme != "https":
        return [reached, skipped("certificate", "a CometChat on this machine calls without TLS")]
    return [reached, _check_certificate(origin, client)]


def _private_address_note(address: str, origin: str, api_url: str) -> str:
    """Return a note if ``address`` is private.

    Outside this network the name may resolve to another address, which cannot be tested from here.
    """
    is_local = not ipaddress.ip_address(address.partition("%")[0]).is_global
    if is_local and urlsplit(origin).scheme == "https" and urlsplit(api_url).scheme == "https":
        return ", a private address: outside this network the name must resolve to a public one"
    return ""


def _check_certificate(origin: str, client: CheckClient) -> CheckResult:
    try:
        days = client.certificate_days(origin)
    except Unreachable as error:
        cause = f"CometChat will not trust it: {error}"
        return failed("certificate", cause, "renew it with its complete chain for this name (certbot renew)")
    if days < MIN_CERTIFICATE_DAYS:
        remedy = "renew it, and check why it was not renewed (certbot renew)"
        return failed("certificate", f"it expires in {days:.1f} days", remedy)
    return passed("certificate", f"valid for {days:.0f} days")


def check_callback(callback: CallbackTarget, client: CheckClient) -> list[CheckResult]:
    """Check that one callback is closed to others, open to CometChat, and fast enough; and the route of buttons."""
    results = [*_check_rejection(callback, client), *_check_acceptance(callback, client)]
    if callback.has_buttons:
        results.append(_check_buttons(callback, client))
    return for_bot(callback.bot, results)


def _check_rejection(callback: CallbackTarget, client: CheckClient) -> Iterable[CheckResult]:
    name = CHECK_NAMES[0]
    if callback.credentials is None:
        yield skipped(name, "COMETBOT_ALLOW_ANONYMOUS_CALLBACKS allows anyone to call the bot")
        return
    try:
        reply = client.post(
            callback.url, _sample_callback(callback), (callback.credentials.username, secrets.token_hex(8))
        )
    except Unreachable as error:
        yield failed(name, str(error), _SERVE_REMEDY)
        return
    if reply.status == 401:
        yield passed(name, "a wrong password is rejected")
    elif _is_from_cometbot(reply):
        cause = "a wrong password is accepted: anyone can impersonate any user"
        yield failed(name, cause, "restart the service with the settings of this folder")
    else:
        yield failed(name, *_explain(reply, callback))


def _check_acceptance(callback: CallbackTarget, client: CheckClient) -> Iterable[CheckResult]:
    accepted, timing = CHECK_NAMES[1:]
    login = (callback.credentials.username, callback.credentials.password.reveal()) if callback.credentials else None
    try:
        reply = client.post(callback.url, _sample_callback(callback), login)
    except Unreachable as error:
        yield failed(accepted, str(error), _TIMEOUT_REMEDY)
        yield skipped(timing, "no response")
        return
    if reply.status == 200 and _is_from_cometbot(reply):
        yield passed(accepted, "a valid callback is accepted")
    else:
        yield failed(accepted, *_explain(reply, callback))
    if reply.seconds >= CALLBACK_TIMEOUT:
        cause = f"expected at most {CALLBACK_TIMEOUT:g} s, got {reply.seconds:.1f} s"
        yield failed(timing, cause, _TIMEOUT_REMEDY)
    else:
        yield passed(timing, f"{reply.seconds:.2f} s")


def _check_buttons(callback: CallbackTarget, client: CheckClient) -> CheckResult:
    """Check that pages may call the addresses of buttons and forms, and that one without a signature is refused."""
    name, remedy = "buttons", "let the proxy forward /cometchat/ with all methods and headers unchanged, for everybody"
    try:
        reply = client.post(f"{callback.url}/press/{_UNSIGNED}", b"", None)
    except Unreachable as error:
        return failed(name, str(error), _SERVE_REMEDY)
    if reply.status == 404:
        cause = "the service has no addresses of buttons: COMETCHAT_RICH or COMETCHAT_CARD_BUTTONS is another there"
        return failed(name, cause, "restart the service with the settings of this folder")
    if (reply.status, reply.code) != (403, "AUTH_ERR_NO_ACCESS"):
        return failed(name, f"expected a refusal of cometbot, got status {reply.status} from another program", remedy)
    if reply.headers.get("access-control-allow-origin") != "*":
        return failed(name, "the header Access-Control-Allow-Origin is removed, so no page can press a button", remedy)
    return passed(name, "users' apps can call their addresses")


def _sample_callback(callback: CallbackTarget) -> bytes:
    """Return a valid callback about a message of the bot's own. Such messages are accepted and not stored."""
    uid, now = callback.uid, int(time.time())
    message = {
        "id": "1",
        "conversationId": f"{uid}_user_{uid}",
        "sender": uid,
        "receiverType": "user",
        "receiver": uid,
        "category": "message",
        "type": "text",
        "data": {"text": "cometbot doctor"},
        "sentAt": now,
        "updatedAt": now,
    }
    return orjson.dumps({"trigger": "after_message", "data": message, "appId": callback.app_id, "bot": uid})


def _is_from_cometbot(reply: CheckResponse) -> bool:
    """Return True if the body is a response of cometbot's callback route, be it a success or an error."""
    data = reply.json().get("data")
    return (isinstance(data, dict) and data.get("success") is True) or reply.code in _ERROR_CODES


def _explain(reply: CheckResponse, callback: CallbackTarget) -> tuple[str, str]:
    """Return the cause and the remedy of an unexpected response."""
    if reply.code in _ERROR_CODES:
        cause, remedy = _ERROR_CODES[reply.code]
        return cause.format(app_id=callback.app_id, bot=callback.bot), remedy.format(bot=callback.bot)
    if reply.status in (301, 302, 303, 307, 308):
        target = redact_url(reply.headers.get("location", ""))
        return f"it redirects to {target}, which CometChat may not follow", "register the target of the redirect"
    if reply.status == 401:
        remedy = "restart the service with the settings of this folder; a proxy must forward the header Authorization"
        return "the credentials of the settings are rejected", remedy
    if reply.status in (502, 503, 504):
        return f"the proxy cannot reach the bot (status {reply.status})", "start cometbot serve"
    if reply.status == 404:
        return f"nothing at {urlsplit(callback.url).path} (404)", _SERVE_REMEDY
    return f"expected cometbot, got another program (status {reply.status})", _SERVE_REMEDY


_ERROR_CODES = {
    "AUTH_ERR_INVALID_APPID": (
        "the service belongs to another app than {app_id}",
        "restart it with the COMETCHAT_APP_ID of this folder",
    ),
    "ERR_BOT_NOT_FOUND": (
        "the service does not have the bot {bot}",
        "restart it with the COMETBOT_BOT of this folder",
    ),
    "ERR_WRONG_BOT": ("the URL is that of another bot", "let it end in /cometchat/{bot}: cometbot bots sync"),
    "ERR_BUSY": ("the database of the service is busy", "see the lines about the database"),
}
"""The cause and the remedy for each error code of the callback route."""


def get_origin(url: str) -> str:
    """Return the scheme and the host of ``url``, without credentials."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
