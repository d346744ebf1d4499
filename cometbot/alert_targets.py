"""The places that alerts go to, as ``COMETBOT_ALERTS`` names them: addresses of webhooks, and groups or users."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from cometbot.setting_values import Secret

_NO_URL = Secret()
_CONVERSATION = re.compile(
    r"(?P<channel>[a-z_]+)(?:/(?P<app>[A-Za-z0-9_-]+))?:(?P<kind>group|user):(?P<id>[^\s,]{1,255})"
)
_EXPECTED = "expected https URLs or CHANNEL:group:ID, separated by commas, such as cometchat:group:ops"


@dataclass(frozen=True, slots=True)
class AlertTarget:
    """A webhook's ``url``, or a ``group`` or ``user`` of a ``channel`` to which the bot itself sends.

    ``app`` is one of the channel's apps, empty for the first.

    ``str`` shows the host of a URL alone: the rest is a secret, with which anybody could post there.
    """

    url: Secret = _NO_URL
    channel: str = ""
    app: str = ""
    group: str = ""
    user: str = ""

    def __str__(self) -> str:
        if self.url:
            parts = urlsplit(self.url.reveal())
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…"
        channel = f"{self.channel}/{self.app}" if self.app else self.channel
        return f"{channel}:{'group' if self.group else 'user'}:{self.group or self.user}"


def parse_alert_targets(text: str) -> tuple[AlertTarget, ...]:
    """Return the targets in a comma-separated list. Errors show nothing of a URL."""
    return tuple(_parse_target(part.strip()) for part in text.split(",") if part.strip())


def _parse_target(text: str) -> AlertTarget:
    if found := _CONVERSATION.fullmatch(text):
        is_group = found["kind"] == "group"
        return AlertTarget(
            channel=found["channel"],
            app=found["app"] or "",
            group=found["id"] if is_group else "",
            user="" if is_group else found["id"],
        )
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("https", "http") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_url = False
    if not is_url or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(_EXPECTED)
    return AlertTarget(url=Secret(text))
