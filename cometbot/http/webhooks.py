"""Outgoing webhooks: POST requests to URLs that users may have chosen."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from cometbot.errors import (
    AuthenticationFailed,
    ChannelError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
)
from cometbot.http.client import is_public, make_session, time_limited_exchange
from cometbot.http.retry_after import parse_retry_after

MAX_URL_LENGTH = 2000

_MAX_RESPONSE_BYTES = 64 * 1024
_UNAVAILABLE_STATUSES = frozenset({502, 503, 504})
_URL_CHARACTERS_PATTERN = re.compile(r"[\x21-\x7e]+")


class WebhookClient:
    """An HTTP client for webhooks, with limits on the time and on how much of the response is read.

    It follows no redirects. Addresses of this machine and of private networks are refused unless ``allow_private``.
    Any 2xx means that the receiver has accepted the request. Errors: :class:`Rejected` and its subclasses for a
    permanent refusal and for a forbidden address; :class:`RateLimited`; :class:`Unreachable` if nothing was sent;
    :class:`OutcomeUnknown` for all else.
    """

    def __init__(self, *, allow_private: bool = False, pool_size: int = 16) -> None:
        self._allow_private = allow_private
        self._session = make_session(pool_size, allow_private=allow_private)

    def check_url(self, url: str) -> str:
        """Return the problem with ``url`` as the URL of a webhook, or "" if it is valid. No DNS lookup is made."""
        if len(url) > MAX_URL_LENGTH or not _URL_CHARACTERS_PATTERN.fullmatch(url):
            return f"it must be a URL of at most {MAX_URL_LENGTH} plain characters"
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
        """Send ``body``, which is JSON, and return once the receiver has accepted it, within ``timeout`` seconds.

        ``headers`` are sent in addition to our own and may contain a secret. Raises the errors of the class.
        """
        if problem := self.check_url(url):
            raise Rejected(f"the webhook's URL cannot be called: {problem}")
        what = f"POST {url_origin(url)}"
        sent = {"Content-Type": "application/json", "Accept-Encoding": "identity", **headers}
        with time_limited_exchange(self._session, url, what, timeout, peer="the webhook") as deadline:
            wait = max(deadline.remaining, 0.001)
            answer = self._session.post(
                url, data=body, headers=sent, timeout=(wait, wait), allow_redirects=False, stream=True
            )
            with answer:
                # The rest is not read, so that a long response is closed instead of filling the memory.
                next(answer.iter_content(_MAX_RESPONSE_BYTES), b"")
        if not 200 <= answer.status_code < 300:
            raise _error_for_status(answer.status_code, answer.headers, what)

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()


def url_origin(url: str) -> str:
    """Return the scheme, host and port of a URL, which name its receiver without a path or query."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
    host = (parts.hostname or "").lower()
    return f"{parts.scheme.lower()}://{f'[{host}]' if ':' in host else host}:{port}"


def _is_private(host: str) -> bool:
    """Return whether a host is ``localhost``, a name below it, or an IP address that is not public."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return not is_public(host)


def _error_for_status(status: int, headers: Mapping[str, str], what: str) -> ChannelError:
    text = f"{what}: the webhook answered {status}"
    if status == 429:
        return RateLimited(text, retry_after=parse_retry_after(headers, time.time()))
    if status >= 500 or status == 408:
        return OutcomeUnknown(text, down=status in _UNAVAILABLE_STATUSES, status=status)
    if 300 <= status < 400:
        return Rejected(f"{text}, a redirect; set the URL that it leads to", status=status)
    kind = {401: AuthenticationFailed, 403: AuthenticationFailed, 404: NotFound, 410: NotFound}.get(status, Rejected)
    return kind(text, status=status)
