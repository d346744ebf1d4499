"""Outgoing webhooks: POST requests to URLs that users may have chosen."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from cometbot.errors import Rejected
from cometbot.http.client import HttpClient, is_public, make_session, url_origin
from cometbot.http.responses import HttpResponse, error_for_status

MAX_URL_LENGTH = 2000

_MAX_RESPONSE_BYTES = 64 * 1024
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
        self._http = HttpClient(make_session(pool_size, allow_private=allow_private), peer="the webhook")

    def check_url(self, url: str) -> str:
        """Return the problem with ``url`` as the URL of a webhook, or "" if it is valid. No DNS lookup is made."""
        if len(url) > MAX_URL_LENGTH or not _URL_CHARACTERS_PATTERN.fullmatch(url):
            return f"it must be a URL of at most {MAX_URL_LENGTH} printable ASCII characters"
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            return "it is not a URL"
        if parts.scheme.lower() not in ("http", "https") or not host:
            return "it must be an http or https URL with a host"
        if parts.username is not None or parts.password is not None:
            return "it must not contain a user name or a password"
        if not self._allow_private and _is_private(host):
            return "it must not point to this machine or to a private network"
        return ""

    def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> None:
        """Send ``body``, which is JSON, and return once the receiver has accepted it, within ``timeout`` seconds.

        ``headers`` are sent in addition to our own and may contain a secret. Raises the errors of the class.
        """
        if problem := self.check_url(url):
            raise Rejected(f"the webhook's URL cannot be called: {problem}")
        request_name = f"POST {url_origin(url)}"
        sent = {"Content-Type": "application/json", **headers}
        with self._http.open("POST", url, request_name, timeout, data=body, headers=sent) as response:
            # The rest is not read, so that a long response is closed instead of filling the memory.
            next(response.iter_content(_MAX_RESPONSE_BYTES), b"")
        status, text = response.status_code, f"{request_name}: the webhook answered {response.status_code}"
        if 300 <= status < 400:
            raise Rejected(f"{text}, a redirect; set the URL that it leads to", status=status)
        if not 200 <= status < 300:
            raise error_for_status(HttpResponse(status, response.headers, b""), text)

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.close()


def _is_private(host: str) -> bool:
    """Return whether a host is ``localhost``, a name below it, or an IP address that is not public."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return not is_public(host)
