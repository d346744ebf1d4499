"""Webhooks that we call: whoever was told of messages by a POST, at an address that others may have chosen."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from cometbot.bot import Bot
from cometbot.channels.base import Capabilities, Channel, Incoming
from cometbot.errors import (
    AuthenticationFailed,
    BotError,
    ChannelError,
    NotFound,
    PayloadError,
    RateLimited,
    Rejected,
    Uncertain,
)
from cometbot.events import Event
from cometbot.http.client import exchange, is_public, make_session
from cometbot.http.retry_after import retry_after
from cometbot.messages import Operation
from cometbot.models import Conversation

LONGEST_URL = 2000

_ANSWER_READ = 64 * 1024
_DOWN = frozenset({502, 503, 504})
_PLAIN = re.compile(r"[\x21-\x7e]+")


class Webhooks:
    """The way to webhooks. Every exchange is limited in time and in what is read of its answer; redirects are not
    followed.

    Addresses of this machine and of private networks are refused unless ``allow_private``. Whoever answers with 2xx has
    taken it. Errors: :class:`Rejected` and its kin for an answer that says no for good, and for a forbidden address;
    :class:`RateLimited`; :class:`Unreachable` if nothing was sent; :class:`Uncertain` for all else.
    """

    def __init__(self, *, allow_private: bool = False, pool_size: int = 16) -> None:
        self._allow_private = allow_private
        self._session = make_session(pool_size, allow_private=allow_private)

    def check_url(self, url: str) -> str:
        """What is wrong with ``url`` as an address for a webhook; empty if nothing is. Names are not looked up."""
        if len(url) > LONGEST_URL or not _PLAIN.fullmatch(url):
            return f"it must be a URL of at most {LONGEST_URL} plain characters"
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            return "it is no URL"
        if parts.scheme.lower() not in ("http", "https") or not host:
            return "it must be an http or https URL with a host"
        if parts.username is not None or parts.password is not None:
            return "it must not hold a user name or a password"
        if not self._allow_private and _is_private(host):
            return "it must not lead to this machine or to a private network"
        return ""

    def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> None:
        """Nothing, once the receiver has taken ``body``, which is JSON, within ``timeout`` seconds.

        ``headers`` are sent beside our own and may hold a secret. Raises the errors of the class.
        """
        if problem := self.check_url(url):
            raise Rejected(f"the webhook's URL cannot be called: {problem}")
        what = f"POST {origin_of(url)}"
        sent = {"Content-Type": "application/json", "Accept-Encoding": "identity", **headers}
        with exchange(self._session, url, what, timeout, peer="the webhook") as deadline:
            wait = max(deadline.remaining, 0.001)
            answer = self._session.post(
                url, data=body, headers=sent, timeout=(wait, wait), allow_redirects=False, stream=True
            )
            with answer:
                # What follows is not read: who says a lot has its connection closed, not a place in our memory.
                next(answer.iter_content(_ANSWER_READ), b"")
        if not 200 <= answer.status_code < 300:
            raise _refusal(answer.status_code, answer.headers, what)

    def close(self) -> None:
        """Give the pooled connections back."""
        self._session.close()


class WebhookChannel(Channel):
    """What a channel that calls webhooks has in common: nothing comes in by it, and nobody can be written to.

    Its requests are stored by ``say_within``, in conversations whose account names the receiver, wherever that is: one
    that is down then pauses itself alone, and each conversation keeps its order. ``send`` posts what was stored.
    """

    capabilities = Capabilities()

    def __init__(self, account: str, webhooks: Webhooks) -> None:
        self.webhooks = webhooks
        self._account = account

    @property
    def account(self) -> str:
        return self._account

    def conversation(self, bot: Bot, *, user: str = "", group: str = "") -> Conversation:
        raise BotError(f"nobody can be written to by {self.name}; name another channel")

    def parse(self, incoming: Incoming) -> Event:
        raise PayloadError(f"nothing comes in by {self.name}")

    def render(self, operation: Operation) -> list[dict[str, Any]]:
        raise BotError(f"nobody can be written to by {self.name}; name another channel")

    def close(self) -> None:
        self.webhooks.close()


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL: who receives what is sent there."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
    host = (parts.hostname or "").lower()
    return f"{parts.scheme.lower()}://{f'[{host}]' if ':' in host else host}:{port}"


def _is_private(host: str) -> bool:
    """Whether a host is written as an address that is not public, or is this machine's own name."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return not is_public(host)


def _refusal(status: int, headers: Mapping[str, str], what: str) -> ChannelError:
    text = f"{what}: the webhook answered {status}"
    if status == 429:
        return RateLimited(text, retry_after=retry_after(headers, time.time()))
    if status >= 500 or status == 408:
        return Uncertain(text, down=status in _DOWN, status=status)
    if 300 <= status < 400:
        return Rejected(f"{text}, a redirect; set the URL that it leads to", status=status)
    kind = {401: AuthenticationFailed, 403: AuthenticationFailed, 404: NotFound, 410: NotFound}.get(status, Rejected)
    return kind(text, status=status)
