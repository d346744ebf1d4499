"""Client of CometChat's REST API: one pooled session, total timeouts, typed errors."""

from __future__ import annotations

import io
import logging
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from cometbot import private_files
from cometbot.channels.cometchat import request_bodies
from cometbot.channels.cometchat.api_request import ApiRequest
from cometbot.channels.cometchat.operations import Operations
from cometbot.channels.cometchat.responses import (
    RateLimitStatus,
    error_from_response,
    find_secrets,
    parse_envelope,
    parse_plain,
)
from cometbot.errors import ConfigurationError, MessageError, OutcomeUnknown
from cometbot.http.client import HttpClient, make_session
from cometbot.http.responses import HttpResponse

_log = logging.getLogger(__name__)
_MAX_RESPONSE_BYTES = 64 * 1024 * 1024
MAX_MEDIA_BYTES = 100 * 1024 * 1024
"""Default limit of :meth:`CometChatClient.download` in bytes: the largest file that CometChat lets users send."""

DRY_RUN_ID = "withheld"
"""The id of an object that a dry run would have created."""

_COMETCHAT_DOMAINS = ("cometchat.io", "cc-cluster-2.io", "cc-edge-2.io")
_TOKEN_HOST_PATTERN = re.compile(r"files-[a-z0-9-]+\.")


class CometChatClient(Operations):
    """Client of CometChat's REST API for one app, with the methods of :class:`Operations`.

    ``api_url`` includes the version (``https://<app>.api-<region>.cometchat.io/v3``). Every request ends within
    ``timeout`` seconds in total, however slowly the response arrives; only the DNS lookup is not limited. The client
    never retries. ``rate`` is the app's rate limit status from the last response that reported one. A client may be
    used by many threads. The API key appears in no repr, log or error.

    Errors: :class:`AuthenticationFailed`, :class:`NotFound`, :class:`Rejected`, :class:`RateLimited`;
    :class:`Unreachable` if nothing was sent; :class:`OutcomeUnknown` if the request was sent and no usable response
    arrived.
    """

    def __init__(
        self,
        api_url: str,
        api_key: str,
        *,
        app_id: str = "",
        session: requests.Session | None = None,
        pool_size: int = 32,
        timeout: float = 10.0,
    ) -> None:
        parts = urlsplit(api_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ConfigurationError(
                "COMETCHAT_API_URL must be the whole base URL with its version, such as https://host/v3"
            )
        if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise ConfigurationError("set COMETCHAT_API_KEY to the app's REST API key (scope fullAccess)")
        self.api_url = api_url.rstrip("/")
        self.app_id = app_id
        self.timeout = timeout
        self.rate: RateLimitStatus | None = None
        self._key = api_key
        self._http = HttpClient(
            session or make_session(pool_size), peer="CometChat", remedy="check COMETCHAT_API_URL and the network"
        )

    @classmethod
    def from_region(cls, app_id: str, region: str, api_key: str, **options: Any) -> CometChatClient:
        """Return a client for an app in CometChat's own cloud; ``options`` are those of the class.

        Raises :class:`ConfigurationError` if the app id, the region or the key is malformed.
        """
        if not (re.fullmatch(r"[A-Za-z0-9-]{1,64}", app_id) and re.fullmatch(r"[A-Za-z0-9-]{1,32}", region)):
            raise ConfigurationError("COMETCHAT_APP_ID and COMETCHAT_REGION must be as the dashboard shows them")
        return cls(f"https://{app_id}.api-{region}.cometchat.io/v3", api_key, app_id=app_id, **options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.api_url!r})"

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.close()

    def send_request(self, request: ApiRequest) -> dict[str, Any]:
        """Send ``request`` and return the response's envelope. Raises the errors of the class."""
        request_name = str(request)
        headers = {"apikey": self._key, "Accept": "application/json"}
        if request.on_behalf_of:
            headers["onBehalfOf"] = request_bodies.check_id(request.on_behalf_of, "onBehalfOf")
        body = request.body
        encoded = body if isinstance(body, bytes) or body is None else request_bodies.encode(dict(body), "the body")
        if encoded is not None:
            headers["Content-Type"] = "application/json"
        query = None
        if request.params:
            query = {
                name: str(value).lower() if isinstance(value, bool) else value for name, value in request.params.items()
            }
        url, timeout = self.api_url + request.path, request.timeout or self.timeout
        answer = self._send_request(request_name, request.method, url, timeout, headers, data=encoded, params=query)
        secrets = [self._key, request.secret, *(find_secrets(body) if isinstance(body, Mapping) else ())]
        parse = parse_plain if request.has_plain_answer else parse_envelope
        return parse(answer, request_name, secrets)

    def download(
        self,
        url: str,
        to: str | Path | None = None,
        *,
        limit: int = MAX_MEDIA_BYTES,
        timeout: float = 60.0,
    ) -> bytes:
        """Return the bytes of a file that a user sent; with ``to``, write them there and return no bytes.

        Both of CometChat's access modes work: pre-signed URLs are fetched directly, for token-based ones a token is
        requested first. The API key is sent only to CometChat's hosts and the host of ``api_url``. Raises
        :class:`Rejected` for a file over ``limit`` bytes and for a host's refusal, :class:`MessageError` if ``url`` is
        not an http(s) URL. On failure a partial file is removed.
        """
        ends_at = time.monotonic() + timeout
        address = self._resolve_media_url(url, ends_at)
        timeout = max(ends_at - time.monotonic(), 0.001)
        save = partial(self._http.download, address, limit=limit, timeout=timeout, to_error=error_from_response)
        if to is None:
            buffer = io.BytesIO()
            save(buffer)
            return buffer.getvalue()
        path = Path(to)
        try:
            with private_files.open_file(path, "wb") as file:
                save(file)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return b""

    def _send_request(
        self, request_name: str, method: str, url: str, timeout: float, headers: Mapping[str, str], **options: Any
    ) -> HttpResponse:
        started_at = time.perf_counter()
        response = self._http.send(
            method, url, request_name, timeout, limit=_MAX_RESPONSE_BYTES, headers=headers, **options
        )
        self.rate = RateLimitStatus.from_headers(response.headers, time.time()) or self.rate
        milliseconds = (time.perf_counter() - started_at) * 1000
        _log.debug("asked CometChat: %s answered %s in %.0f ms", request_name, response.status, milliseconds)
        return response

    def _resolve_media_url(self, url: str, ends_at: float) -> str:
        """Return a URL that can be fetched without the API key; request one with a token if ``url`` needs it."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise MessageError("url must be an http(s) URL of a file")
        has_token = "fat=" in parts.query
        if has_token or not self._is_trusted(parts.hostname) or not self._needs_token(parts.hostname, parts.path):
            return url
        headers = {"appId": self.app_id, "apiKey": self._key}
        request_name = "GET (media token)"
        answer = self._send_request(request_name, "GET", url, max(ends_at - time.monotonic(), 0.001), headers)
        data = parse_envelope(answer, request_name, [self._key]).get("data")
        address = data.get("url") if isinstance(data, dict) else None
        if not isinstance(address, str):
            raise OutcomeUnknown("GET (media token): CometChat answered without a URL")
        return urljoin(url, address)

    def _is_trusted(self, host: str) -> bool:
        """Return whether the API key may be sent to ``host``."""
        is_own = host == urlsplit(self.api_url).hostname
        return is_own or any(host == family or host.endswith(f".{family}") for family in _COMETCHAT_DOMAINS)

    def _needs_token(self, host: str, path: str) -> bool:
        return bool(_TOKEN_HOST_PATTERN.match(host)) or (host == urlsplit(self.api_url).hostname and "/files/" in path)


class ReadOnlyClient(Operations):
    """The operations of ``client``, of which only those that read are sent.

    For each other operation, ``on_write`` is called with the method and path. The operation succeeds and returns its
    request's body as result; an object that would have got an id has the id ``withheld``.
    """

    def __init__(self, client: CometChatClient, on_write: Callable[[str], None]) -> None:
        self.api_url = client.api_url
        self.app_id = client.app_id
        self.timeout = client.timeout
        self._client = client
        self._on_write = on_write

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.api_url!r})"

    @property
    def rate(self) -> RateLimitStatus | None:
        """The app's rate limit status from the last response that reported one."""
        return self._client.rate

    def send_request(self, request: ApiRequest) -> dict[str, Any]:
        """Send a GET or HEAD request; for any other, call ``on_write`` and return a successful envelope."""
        if request.method.upper() in ("GET", "HEAD"):
            return self._client.send_request(request)
        self._on_write(str(request))
        requested = request.body if isinstance(request.body, Mapping) else {}
        return {"data": {"id": DRY_RUN_ID, "success": True, **requested}}

    def download(
        self, url: str, to: str | Path | None = None, *, limit: int = MAX_MEDIA_BYTES, timeout: float = 60.0
    ) -> bytes:
        """Download a file, like :meth:`CometChatClient.download`."""
        return self._client.download(url, to, limit=limit, timeout=timeout)

    def close(self) -> None:
        """Do nothing: the connections belong to the underlying client, which stays open."""
