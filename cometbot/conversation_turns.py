"""The turns of a conversation for language models: what ``ctx.turns`` returns.

The bot's messages stand right behind the message that they answer, also if the user has written on meanwhile. So the
turns of a message begin with those of the message before it, and providers of models can cache them. Where they are too
long, the first turn moves by half of the limit at once and then stays; the state of the conversation has its moves.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, NamedTuple, TypeGuard
from urllib.parse import unquote, urlsplit

from cometbot.action_values import decode_value
from cometbot.bot import Bot
from cometbot.content_types import media_family
from cometbot.errors import BotError
from cometbot.events import ActionEvent, Event, MessageEvent
from cometbot.messages import paragraphs, remove_answer_hint
from cometbot.models import Attachment
from cometbot.redaction import redact
from cometbot.sinks import ReplySink, Transcript
from cometbot.state import RESERVED_PREFIX
from cometbot.turns import Turn, clean_name

TURNS_KEY = f"{RESERVED_PREFIX}turns"
"""The state key of the moves of the first turn: ``[window, first, since]``, the newest last (:class:`_Move`)."""

MAX_TURNS = 500
IMAGE_TOKENS = 1000
"""The tokens that a picture counts as."""

CUT_MARK = " … (the rest is cut off)"
"""The end of a text that alone was longer than the budget."""

MAX_MESSAGES_SINCE = 100
"""The messages of a conversation that may follow the one that started a dialog."""

_MAX_MOVES = 20
"""The moves that are kept: a handler that runs again after more of them may get fewer turns than before."""
_END = "end"
"""The window of a move that is none: ``first`` is the last message before the event, which is no message itself."""


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """The limits of ``ctx.turns``: tokens, number of turns, Unix seconds, and the function that counts tokens."""

    budget: int | None
    limit: int
    since: float
    count: Callable[[str], int] | None

    def __post_init__(self) -> None:
        if self.budget is not None and not _is_count(self.budget):
            raise BotError(f"turns: budget: expected a number of tokens of 1 or more, or None, got {self.budget!r}")
        if not _is_count(self.limit) or self.limit > MAX_TURNS:
            raise BotError(f"turns: limit: expected a number of turns from 1 to {MAX_TURNS}, got {self.limit!r}")
        if not _is_number(self.since):
            raise BotError(f"turns: since: expected Unix seconds, got {self.since!r}")
        if self.count is not None and not callable(self.count):
            raise BotError(f"turns: count: expected a function from a text to a number, got {self.count!r}")

    @property
    def window(self) -> str:
        """What the first turn depends on."""
        return f"{self.limit}/{self.budget or ''}/{self.since or ''}"

    def leaves_out(self, message: MessageEvent) -> bool:
        """Return True for a message that was sent too early."""
        return 0 < message.sent_at <= self.since

    def count_text(self, text: str) -> float:
        """Return the tokens of a text."""
        if self.count is None:
            return len(text) / 4
        counted: object = self.count(text)
        if not _is_number(counted) or counted < 0:
            raise BotError(
                f"turns: count: expected a function from a text to a number of 0 or more, got {counted!r} from it"
            )
        return counted

    def count_turn(self, turn: Turn) -> float:
        """Return the tokens of a turn; 0 if nothing limits them."""
        if self.budget is None:
            return 0
        return self.count_text(turn.signed_text) + IMAGE_TOKENS * len(turn.images)


class _Move(NamedTuple):
    """A move of the first turn to the message ``first`` by the handler of the event ``since``."""

    window: str
    first: str
    since: str


class _Entry(NamedTuple):
    key: str
    turn: Turn


@dataclass(slots=True)
class TurnBuilder:
    """Builds the turns of one run of a handler. ``event`` started the handler.

    ``moves`` are those of the first turn so far. ``has_moved`` is true if this run has added one.
    """

    bot: Bot
    event: Event
    sink: ReplySink
    moves: Sequence[Sequence[str]]
    has_moved: bool = False

    def build(self, limits: TurnLimits) -> list[Turn]:
        """Return the conversation up to the event, as far as the limits allow."""
        asked = limits.limit + MAX_MESSAGES_SINCE
        transcript = self.sink.transcript(self.event.conversation, asked)
        messages = _order_by_answers(transcript)
        before, opening, later = self._split(messages, transcript.answered)
        shown = [item for item in before if self._is_in_thread(item) and not limits.leaves_out(item)]
        entries = [_Entry(item.key, turn) for item in (*shown, *opening) if (turn := self._make_turn(item)) is not None]
        is_whole = len(messages) < asked or limits.leaves_out(messages[0]) or self._has_thread_root(messages)
        return [entry.turn for entry in self._limit(entries, limits, later, is_whole=is_whole)]

    def _split(
        self, messages: Sequence[MessageEvent], answered: Mapping[str, str]
    ) -> tuple[Sequence[MessageEvent], Sequence[MessageEvent], frozenset[str]]:
        """Return the messages before the event, the one that it is (none or one), and the keys of later ones."""
        key = self.event.key
        found = next((number for number, item in enumerate(messages) if item.key == key), None)
        if found is not None:
            return messages[:found], messages[found : found + 1], frozenset(item.key for item in messages[found + 1 :])
        at = self.event.sent_at if isinstance(self.event, MessageEvent) else 0
        before = [item for item in messages if (not at or item.sent_at <= at) and answered.get(item.id) != key]
        before = before[: self._find_end(before)] if messages else []
        later = frozenset(item.key for item in messages) - {item.key for item in before}
        return before, _to_messages(self.event), later

    def _find_end(self, before: Sequence[MessageEvent]) -> int:
        """Return how many messages stood before the event when it was first handled. Clocks do not tell exactly."""
        key = self.event.key
        moves = map(_Move._make, self.moves)
        last = next((move.first for move in moves if (move.window, move.since) == (_END, key)), None)
        if last is None:
            self._add_move(_END, before[-1].key if before else "")
            return len(before)
        return next((number for number, item in enumerate(before, 1) if item.key == last), len(before) if last else 0)

    def _is_in_thread(self, message: MessageEvent) -> bool:
        thread = str(getattr(self.event, "thread_id", ""))
        return message.thread_id == thread or (bool(thread) and message.id == thread)

    def _has_thread_root(self, messages: Iterable[MessageEvent]) -> bool:
        thread = str(getattr(self.event, "thread_id", ""))
        return bool(thread) and any(item.id == thread for item in messages)

    def _make_turn(self, message: MessageEvent) -> Turn | None:
        """Return the turn for a message, or None if a model could not see anything in it."""
        is_own = message.sender.uid.casefold() in {uid.casefold() for uid in self.bot.ids}
        images = tuple(item for item in message.attachments if not is_own and _family(item, message) == "image")
        files = [f"[{_family(item, message)}: {_name(item)}]" for item in message.attachments if item not in images]
        text = remove_answer_hint(message.text) if is_own else self._name_mentioned(message)
        text = paragraphs(text.strip(), *files)
        if not (text or images) and not is_own and message.type != "text":
            text = f"[{message.type}]"
        if not (text or images):
            return None
        text = redact(self.bot, text) if text else ""
        images = tuple(replace(item, name=redact(self.bot, item.name)) if item.name else item for item in images)
        if not (text or images):
            return None
        if is_own:
            return Turn("assistant", text)
        name = redact(self.bot, str(message.sender)) if message.conversation.is_group else ""
        return Turn("user", text, name, images)

    def _name_mentioned(self, message: MessageEvent) -> str:
        text = message.text
        names = dict.fromkeys(self.bot.ids, self.bot.name) | {
            item.uid: item.name for item in message.mentions if item.name
        }
        for uid, name in names.items():
            text = text.replace(f"<@uid:{uid}>", f"@{clean_name(name)}")
        return text

    def _limit(
        self, entries: Sequence[_Entry], limits: TurnLimits, later: frozenset[str], *, is_whole: bool
    ) -> Sequence[_Entry]:
        """Return the entries from the first one on, which moves if they are too many or too long."""
        current = self._find_first(limits.window, later)
        begin = next((number for number, entry in enumerate(entries) if entry.key == current), None)
        if begin is None:
            begin = 0 if is_whole else len(entries) // 2
        kept = _cut(entries[begin:], limits)
        if kept and kept[0].key != current and (current or not is_whole or len(kept) < len(entries)):
            self._add_move(limits.window, kept[0].key)
        return kept

    def _add_move(self, window: str, key: str) -> None:
        others = [move for move in self.moves if (move[0] == _END) != (window == _END)]
        same = [move for move in self.moves if (move[0] == _END) == (window == _END)]
        self.moves = [*others, *same[1 - _MAX_MOVES :], _Move(window, key, self.event.key)]
        self.has_moved = True

    def _find_first(self, window: str, later: frozenset[str]) -> str:
        """Return the key of the first message. What handlers of later messages have moved does not count."""
        moves = map(_Move._make, reversed(self.moves))
        return next((move.first for move in moves if move.window == window and move.since not in later), "")


def _order_by_answers(transcript: Transcript) -> list[MessageEvent]:
    """Return the messages, the bot's own ones behind what they answer."""
    messages = transcript.messages
    numbers = {message.key: number for number, message in enumerate(messages)}

    def place(number: int) -> tuple[int, int]:
        answered = numbers.get(transcript.answered.get(messages[number].id, ""), number)
        return min(answered, number), number

    return [messages[number] for number in sorted(range(len(messages)), key=place)]


def _cut(entries: Sequence[_Entry], limits: TurnLimits) -> Sequence[_Entry]:
    """Return the entries, or the newest half of what the limits allow if they are beyond these."""
    sizes = [limits.count_turn(entry.turn) for entry in entries]
    budget = float("inf") if limits.budget is None else float(limits.budget)
    if len(entries) <= limits.limit and sum(sizes) <= budget:
        return entries
    begin, total = len(entries) - 1, sizes[-1]
    while begin and len(entries) - begin < max(1, limits.limit // 2) and total + sizes[begin - 1] <= budget / 2:
        begin -= 1
        total += sizes[begin]
    kept = list(entries[begin:])
    if total > budget:
        kept[0] = kept[0]._replace(turn=_shorten(kept[0].turn, budget, limits))
    return kept


def _shorten(turn: Turn, budget: float, limits: TurnLimits) -> Turn:
    """Return a turn whose text fits the budget. Its pictures stay."""
    text = turn.text

    def shortened(length: int) -> Turn:
        return replace(turn, text=text[:length].rstrip() + CUT_MARK)

    if limits.count_text(turn.signed_text) <= budget:
        return turn
    fits = bisect_right(
        range(1, len(text)), budget, key=lambda length: limits.count_text(shortened(length).signed_text)
    )
    return shortened(fits)


def _to_messages(event: Event) -> Sequence[MessageEvent]:
    """Return an event that is in no history as a message; none for one that nobody has written or pressed."""
    if isinstance(event, MessageEvent):
        return (event,)
    if not isinstance(event, ActionEvent):
        return ()
    if event.message is not None:
        return (event.message,)
    value = decode_value(event.value)
    pressed = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = "\n".join(f"{name}: {value}" for name, value in event.values.items()) or pressed or event.name
    common: dict[str, Any] = {name: getattr(event, name) for name in ("key", "conversation", "sender", "sent_at")}
    return (MessageEvent(**common, id="", text=text),)


def _family(attachment: Attachment, message: MessageEvent) -> str:
    """Return ``image``, ``audio``, ``video`` or ``file``."""
    if attachment.mime_type:
        return media_family(attachment.mime_type)
    return message.type if message.type in ("image", "audio", "video") else "file"


def _name(attachment: Attachment) -> str:
    """Return the name of a file in one line."""
    name = attachment.name or unquote(urlsplit(attachment.url).path.rpartition("/")[2]) or attachment.url
    return " ".join(name.split())


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
