"""Signed addresses that the buttons of card messages call, in one-to-one conversations. No I/O.

An address names what a press of the button is, signed with a secret of this server: the conversation, the thread, the
action (for a question: its dialog and step) and its value, and when the address ends. Each works once: its random id is
the key of the event.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson

from cometbot.channels.base import IncomingEvent
from cometbot.errors import PayloadError
from cometbot.events import ActionEvent
from cometbot.messages import Operation, QuickReply
from cometbot.models import Conversation, User
from cometbot.presses import parse_press

KEY_PREFIX = "press:"
"""The prefix of the event keys of presses; the id of the address follows."""

FORM_VALUE = "cometbot:form"
"""The value that the address of a form's button has in place of one."""

MAX_URL_LENGTH = 2000
"""The longest address that is sent: servers and proxies accept lines of four to eight thousand characters."""

_MAX_TOKEN_LENGTH = 2 * MAX_URL_LENGTH
_PURPOSE = b"cometbot: addresses of CometChat buttons"


class InvalidPress(Exception):
    """An address was not signed here, or was changed or cut off."""


class ExpiredPress(Exception):
    """The time of an address is over."""


@dataclass(frozen=True, slots=True)
class SignedPress:
    """The press of a button that an address stands for. ``id`` belongs to this address alone."""

    conversation: Conversation
    thread_id: str
    name: str
    value: str
    id: str

    @property
    def is_form(self) -> bool:
        """True if the button submits a form, whose values are in the body of the request."""
        return self.value == FORM_VALUE

    def to_incoming(self, values: Mapping[str, str] | None = None) -> IncomingEvent:
        """Return the event of the press, as it is stored, with the ``values`` of a form."""
        value = "" if self.is_form else self.value
        body = {"name": self.name, "value": value, "values": values or {}, "threadId": self.thread_id}
        return IncomingEvent(self.conversation, f"{KEY_PREFIX}{self.id}", orjson.dumps(body), self.conversation.target)


class PressSigner:
    """Makes and verifies the addresses of buttons.

    ``base_url`` is the public URL of the server, below whose ``path`` the bots are. ``account`` is the id of the app.
    ``get_secret`` returns the secret that all processes and machines share; it is called once. Addresses end after
    ``lifetime`` seconds at the latest: as long as it is known that they were used.
    """

    def __init__(
        self,
        base_url: str,
        account: str,
        get_secret: Callable[[], str],
        *,
        lifetime: float,
        path: str = "/cometchat",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self._base_url = f"{base_url}{path}"
        self._account = account
        self._get_secret = get_secret
        self._lifetime = lifetime
        self._key = b""

    def make_url(self, operation: Operation, offer: QuickReply) -> str:
        """Return the address of a button; empty if there is none.

        In groups, nobody could tell who has pressed. An address that would be too long is none either.
        """
        conversation = operation.conversation
        if conversation.is_group:
            return ""
        press = parse_press(offer.name)
        ends = [self.clock() + self._lifetime]
        if press is not None and press.rules.expires_at is not None:
            ends.append(press.rules.expires_at)
        parts = [
            conversation.id,
            conversation.target,
            operation.thread_id,
            offer.name,
            offer.value,
            int(min(ends)),
            secrets.token_hex(12),
        ]
        payload = orjson.dumps(parts)
        token = f"{_encode(payload)}.{_encode(self._sign(conversation.bot, payload))}"
        url = f"{self._base_url}/{conversation.bot}/press/{token}"
        return url if len(url) <= MAX_URL_LENGTH else ""

    def verify(self, bot: str, token: str) -> SignedPress:
        """Return what the address with this ``token`` stands for. ``bot`` is the bot in its path.

        Raises :class:`InvalidPress` or :class:`ExpiredPress`.
        """
        encoded, dot, signature = token.partition(".")
        if not dot or len(token) > _MAX_TOKEN_LENGTH:
            raise InvalidPress
        payload = _decode(encoded)
        if not hmac.compare_digest(self._sign(bot, payload), _decode(signature)):
            raise InvalidPress
        conversation_id, target, thread_id, name, value, expires_at, id = orjson.loads(payload)
        if self.clock() >= expires_at:
            raise ExpiredPress
        conversation = Conversation("cometchat", self._account, bot, conversation_id, target)
        return SignedPress(conversation, thread_id, name, value, id)

    def _sign(self, bot: str, payload: bytes) -> bytes:
        if not self._key:
            secret = self._get_secret().encode("utf-8", "surrogateescape")
            self._key = hmac.digest(secret, _PURPOSE, hashlib.sha256)
        return hmac.digest(self._key, orjson.dumps([self._account, bot]) + payload, hashlib.sha256)


def find_press(url: str) -> tuple[str, str] | None:
    """Return the name and the value of the press that an address stands for, without any check; None for others."""
    token = url.rpartition("/press/")[2].partition(".")[0]
    try:
        name, value = orjson.loads(_decode(token))[3:5]
    except (InvalidPress, ValueError, TypeError):
        return None
    return str(name), str(value)


def parse_press_event(incoming: IncomingEvent) -> ActionEvent:
    """Return the event of a stored press. Raises :class:`PayloadError` for a body of another shape."""
    try:
        body = orjson.loads(incoming.body)
        name, value, thread_id = str(body["name"]), str(body["value"]), str(body["threadId"])
        values = {str(field): str(text) for field, text in body.get("values", {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PayloadError(f"the stored press is invalid: {type(error).__name__}") from None
    return ActionEvent(
        key=incoming.key,
        conversation=incoming.conversation,
        sender=User(incoming.sender),
        sent_at=incoming.received_at,
        raw=body,
        name=name,
        value=value,
        values=values,
        thread_id=thread_id,
    )


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Return the bytes of a text in the only spelling that :func:`_encode` makes."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise InvalidPress from None
    if _encode(data) != text:
        raise InvalidPress
    return data
