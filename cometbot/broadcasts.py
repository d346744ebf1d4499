"""Broadcasts: one message to many users, each in their own conversation with the bot."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

from cometbot.errors import BotError, MessageError, RegistrationError
from cometbot.file_sources import open_source
from cometbot.jobs import check_job_name, make_conversation
from cometbot.message_json import message_to_json
from cometbot.messages import ClientCall, Media, Message
from cometbot.models import Conversation, User
from cometbot.state import RESERVED_PREFIX
from cometbot.text import normalize_text

DEFAULT_PACE = "20/second"

OPTED_OUT_KEY = f"{RESERVED_PREFIX}opted_out"
"""The key in the state of a user who gets no broadcasts."""

CHUNK_SIZE = 1000
"""The users that are stored in one commit."""

MAX_BATCH = 50
"""The messages that are handed over in one commit: what others do waits for it."""

MAX_PACE = 1000.0
"""The most messages in a second."""

MAX_UID_LENGTH = 255

_READ_SIZE = 1024 * 1024

_PACE_PATTERN = re.compile(r"([0-9]{1,7})/(second|minute|hour|day)")
_ID_PATTERN = re.compile(r"[bj][0-9]+", re.IGNORECASE | re.ASCII)
_PERIODS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A broadcast that is stored: its name, and the number of its recipients, each user once."""

    name: str
    recipients: int


@dataclass(frozen=True, slots=True)
class Pace:
    """The speed of a broadcast: ``count`` messages in ``period`` seconds, evenly."""

    count: int
    period: float

    @classmethod
    def parse(cls, text: object) -> Pace:
        """Return the pace written as ``text``, such as ``"20/second"``. Raises :class:`BotError` for others."""
        found = _PACE_PATTERN.fullmatch("".join(text.lower().split())) if isinstance(text, str) else None
        pace = cls(int(found[1]), _PERIODS[found[2]]) if found else cls(0, 1.0)
        if not 0 < pace.count / pace.period <= MAX_PACE:
            raise BotError(
                f'pace: expected a number a second, minute, hour or day, such as "20/second" or "500/hour", at most '
                f"{MAX_PACE:.0f} a second; got {text!r}"
            )
        return pace

    @property
    def batch(self) -> int:
        """The messages that are handed over together: those of a second, at most :data:`MAX_BATCH`, or one."""
        return max(1, min(MAX_BATCH, int(self.count / self.period)))

    def seconds_for(self, count: int) -> float:
        """Return the seconds that ``count`` messages take."""
        return count * self.period / self.count


@dataclass(frozen=True, slots=True)
class OptOuts:
    """The words of a bot that opt out of its broadcasts, and that opt in again, with its answers."""

    out: tuple[str, ...]
    out_text: str | None
    back: tuple[str, ...]
    back_text: str | None

    @classmethod
    def check(cls, out: object, out_text: str | None, back: object, back_text: str | None) -> OptOuts:
        """Return the words, normalized. Raises :class:`RegistrationError` for anything but lists of words."""
        words = _check_words("opt_out_words", out), _check_words("opt_in_words", back)
        if not words[1]:
            raise RegistrationError("opt_in_words: expected at least one word, with which users get broadcasts again")
        if words[0] and (twice := set(words[0]) & set(words[1])):
            raise RegistrationError(f"opt_in_words: expected none of opt_out_words, got {min(twice)!r} in both")
        return cls(words[0], out_text, words[1], back_text)

    @property
    def words(self) -> tuple[str, ...]:
        """All words, if there is one that opts out."""
        return (*self.out, *self.back) if self.out else ()


def _check_words(name: str, words: object) -> tuple[str, ...]:
    given: list[object] = list(words) if isinstance(words, Collection) and not isinstance(words, str) else [None]
    texts = [word for word in given if isinstance(word, str) and word.strip() and not word.lstrip().startswith("/")]
    if len(texts) < len(given):
        raise RegistrationError(
            f'{name}: expected a list of words without a slash, such as ["unsubscribe"], got {words!r}'
        )
    return tuple(map(normalize_text, texts))


@dataclass(frozen=True, slots=True)
class BroadcastRequest:
    """The arguments of one call of ``bot.broadcast``, without the users. ``name`` is empty for one without a name.

    ``is_repeated`` is true if a handler that runs again may pass another message, as of a file that is gone by now.
    """

    message: Message
    name: str = ""
    channel: str = ""
    pace: str = DEFAULT_PACE
    app: str = ""
    is_repeated: bool = False


def make_request(message: object, name: str, channel: str, pace: str, app: str = "") -> BroadcastRequest:
    """Return a request whose parts are checked. Raises :class:`BotError` and :class:`MessageError`."""
    if not isinstance(message, Message):
        raise BotError(f"message= is a message such as Card, not {type(message).__name__}; use text= for a str")
    if isinstance(message, ClientCall):
        raise MessageError("a ClientCall cannot be broadcast: it waits for an answer; use ctx.call")
    if not (isinstance(message, Media) and message.is_local):
        message_to_json(message)
    Pace.parse(pace)
    if name and _ID_PATTERN.fullmatch(check_job_name(name)):
        raise BotError(f"name: expected a name that is no id of cometbot jobs, such as b3 or j12; got {name!r}")
    return BroadcastRequest(message, name, channel, pace, app)


def make_unique_name() -> str:
    """Return the name of a broadcast that was given none."""
    return f"broadcast {datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S} {secrets.token_hex(3)}"


def find_digest(message: Message) -> str:
    """Return a digest of a message, by which a later call with a broadcast's name is known to have the same one.

    Raises :class:`MessageError` for a file that cannot be read.
    """
    content: dict[str, Any] = message_to_json(message)
    if isinstance(message, Media) and message.is_local:
        content["url"] = _hash_file(message)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _hash_file(media: Media) -> str:
    if media.path is None:
        assert isinstance(media.data, bytes)
        return hashlib.sha256(media.data).hexdigest()
    digest = hashlib.sha256()
    with open_source(Path(media.path)) as file:
        while chunk := file.read(_READ_SIZE):
            digest.update(chunk)
    return digest.hexdigest()


def split_users(users: object) -> Iterator[list[str]]:
    """Yield the uids of ``users``, in chunks that are stored together.

    Raises :class:`BotError` for anything but uids and :class:`User` objects, when it comes to it.
    """
    if isinstance(users, str | bytes | Mapping) or not isinstance(users, Iterable):
        raise BotError(f'users: expected uids, such as ["maria", "tom"], got {users!r:.100}')
    uids = map(_to_uid, users)
    while chunk := list(islice(uids, CHUNK_SIZE)):
        yield list(dict.fromkeys(chunk))


def _to_uid(user: object) -> str:
    uid = user.uid if isinstance(user, User) else user
    if not isinstance(uid, str) or not uid.isprintable() or not 0 < len(uid.strip()) <= MAX_UID_LENGTH:
        raise BotError(
            f"users: expected uids of 1 to {MAX_UID_LENGTH} printable characters, or users; got {user!r:.100}"
        )
    return uid


def make_broadcast_conversation(bot: str, id: int) -> Conversation:
    """Return the conversation in which a broadcast does its work: one at a time, in any process."""
    return make_conversation(bot, f"#broadcast-{id}")


def make_event(recipient: int) -> str:
    """Return the key under which the outbox has the message to a recipient."""
    return f"b{recipient}"


def make_file_event(broadcast: int) -> str:
    """Return the key under which the file of a broadcast is stored, which all recipients share."""
    return f"broadcast{broadcast}"
