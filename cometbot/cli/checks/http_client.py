"""The HTTP client of the checks, which sees CometChat's API and the bot's callback from outside."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from cometbot.channels.cometchat.responses import read_error
from cometbot.errors import Unreachable
from cometbot.http.responses import HttpResponse

_MAX_BODY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class CheckResponse(HttpResponse):
    """An HTTP response. ``seconds`` is the time from the start of the connection to the end of the body."""

    seconds: float

    @property
    def code(self) -> str:
        """The error code in the envelope that CometChat and the callbacks share, or "" if there is none."""
        return read_error(self.json())[0]


class CheckClient:
    """An HTTP client that tries once, waits ``timeout`` seconds, follows no redirects and ignores proxy settings.

    ``ca_file`` holds the trusted certificate authorities; the default is the bundle of ``requests``.
    """

    def __init__(self, *, timeout: float = 10.0, ca_file: str = "") -> None:
        self.timeout = timeout
        self._ca_file = ca_file or DEFAULT_CA_BUNDLE_PATH

    def connect(self, url: str) -> str:
        """Connect to the host of ``url`` and return its address. Raises :class:`Unreachable` with the reason."""
        host, port = _host_and_port(url)
        try:
            with socket.create_connection((host, port), self.timeout) as connection:
                return str(connection.getpeername()[0])
        except OSError as error:
            raise Unreachable(_describe_failure(error, host, port, self.timeout)) from error

    def certificate_days(self, url: str) -> float:
        """Return the days for which the host's certificate is still valid.

        Raises :class:`Unreachable` with the reason if it is invalid, or not for this host.
        """
        host, port = _host_and_port(url)
        context = ssl.create_default_context(cafile=self._ca_file)
        try:
            with (
                socket.create_connection((host, port), self.timeout) as connection,
                context.wrap_socket(connection, server_hostname=host) as wrapped,
            ):
                certificate = wrapped.getpeercert() or {}
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(error.verify_message) from error
        except OSError as error:
            raise Unreachable(_describe_failure(error, host, port, self.timeout)) from error
        return (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / 86400

    def get(self, url: str, headers: Mapping[str, str]) -> CheckResponse:
        """Send a GET and return the response. Raises :class:`Unreachable` with the reason if there is none."""
        return self._request("GET", url, headers, None, None)

    def post(
        self, url: str, body: bytes, login: tuple[str, str] | None, headers: Mapping[str, str] | None = None
    ) -> CheckResponse:
        """Post JSON, with Basic Auth if ``login`` is given, and return the response. Raises :class:`Unreachable`."""
        auth = tuple(part.encode() for part in login) if login else None
        return self._request("POST", url, {"Content-Type": "application/json", **(headers or {})}, body, auth)

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, auth: Any
    ) -> CheckResponse:
        host, port = _host_and_port(url)
        began = time.monotonic()
        try:
            with requests.Session() as session:
                session.trust_env = False
                session.verify = self._ca_file
                with session.request(
                    method,
                    url,
                    headers=dict(headers),
                    data=body,
                    auth=auth,
                    timeout=self.timeout,
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    content = _read_body(response, began + self.timeout)
        except (requests.RequestException, OSError) as error:
            raise Unreachable(_describe_failure(error, host, port, self.timeout)) from error
        return CheckResponse(response.status_code, response.headers, content, time.monotonic() - began)


def redact_url(url: str) -> str:
    """Return ``url`` without credentials, query and fragment, for display."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _read_body(response: requests.Response, deadline: float) -> bytes:
    content = b""
    for piece in response.iter_content(16 * 1024):
        content += piece
        if len(content) > _MAX_BODY_BYTES:
            break
        if time.monotonic() > deadline:
            raise TimeoutError
    return content


def _host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _describe_failure(error: BaseException, host: str, port: int, timeout: float) -> str:
    """Describe why there was no response. requests hides the reason in the causes of its exceptions."""
    chain, cause = [], error
    while cause is not None and cause not in chain:
        chain.append(cause)
        inner = getattr(cause, "reason", None) or next((arg for arg in cause.args if _is_error(arg)), None)
        cause = inner if _is_error(inner) else (cause.__cause__ or cause.__context__)  # type: ignore[assignment]
    for item in chain:
        if isinstance(item, socket.gaierror) or "NameResolution" in type(item).__name__:
            return f"unknown host {host}"
        if isinstance(item, ssl.SSLError):
            return f"TLS handshake with {host} failed: {getattr(item, 'verify_message', '') or item.reason}"
        if isinstance(item, ConnectionRefusedError):
            return f"nothing listens on {host}, port {port}"
        if isinstance(item, TimeoutError | requests.Timeout):
            return f"no response from {host} within {timeout:g} s"
    return f"lost the connection to {host}, port {port} ({type(chain[-1]).__name__})"


def _is_error(value: object) -> bool:
    return isinstance(value, BaseException)
