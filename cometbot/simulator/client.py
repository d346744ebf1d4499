"""An HTTP client that posts callbacks like CometChat: JSON with Basic Auth, one attempt, no redirects."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

MAX_RESPONSE_BYTES = 64 * 1024
BUTTON_TIMEOUT = 10.0

Session = requests.Session
"""A pool of connections."""


@dataclass(frozen=True, slots=True)
class CallbackResponse:
    """The response to a callback. Without a response, ``status`` is 0 and ``error`` holds the cause."""

    status: int
    text: str = ""
    error: str = ""
    seconds: float = 0.0


def make_session() -> Session:
    """Return a session that ignores the proxy settings of the environment."""
    session = Session()
    session.trust_env = False
    return session


def press_button(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> CallbackResponse:
    """Send the request of a button of a card or a form and return the response.

    Never raises because of what the receiver does.
    """
    headers = {"Content-Type": "application/json", "User-Agent": "CometChat-simulator", **headers}
    with make_session() as session:
        return send(session, method, url, body, headers, BUTTON_TIMEOUT)


def basic_auth(username: str, password: str) -> str:
    """Return the ``Authorization`` header for these credentials, in UTF-8."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


def send(
    session: Session, method: str, url: str, body: bytes | None, headers: Mapping[str, str], timeout: float
) -> CallbackResponse:
    """Send one request and return the response. Never raises because of what the receiver does.

    ``timeout`` applies to the connection, to each read, and to the body as a whole. At most 64 KiB of the body are
    read.
    """
    started = time.monotonic()
    options: dict[str, Any] = {"timeout": timeout, "allow_redirects": False, "stream": True}
    try:
        with session.request(method, url, data=body, headers=dict(headers), **options) as response:
            text = _read(response, started + timeout)
            return CallbackResponse(response.status_code, text, seconds=time.monotonic() - started)
    except (requests.RequestException, OSError, ValueError) as error:
        reason = f"{type(error).__name__}: {_without_address(error)}"
        return CallbackResponse(0, error=reason, seconds=time.monotonic() - started)


def _read(response: requests.Response, deadline: float) -> str:
    content = b""
    for chunk in response.iter_content(8192):
        content += chunk
        if len(content) > MAX_RESPONSE_BYTES or time.monotonic() > deadline:
            break
    return content[:MAX_RESPONSE_BYTES].decode("utf-8", "replace")


def _without_address(error: BaseException) -> str:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return str(reason or error).rpartition(": ")[2]
