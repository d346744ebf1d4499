"""Matchers, which select the messages of a handler. Combine them with ``&``, ``|`` and ``~``.

::

    @bot.message(of_type("image") & direct)
    @bot.message(text("hi", "hello") | pattern(r"^good (?P<part>morning|evening)$"))
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, TypeAlias

from cometbot.errors import RegistrationError
from cometbot.events import Event, MessageEvent
from cometbot.models import Attachment, Conversation, User
from cometbot.text import normalize_text as normalize_text


class MatchContext(Protocol):
    """The part of a :class:`~cometbot.Context` by which an event's handler is found."""

    event: Event

    @property
    def text(self) -> str: ...
    @property
    def message(self) -> MessageEvent | None: ...
    @property
    def sender(self) -> User: ...
    @property
    def conversation(self) -> Conversation: ...
    @property
    def attachments(self) -> tuple[Attachment, ...]: ...
    @property
    def thread_id(self) -> str: ...
    @property
    def is_mentioned(self) -> bool: ...
    @property
    def begins_with_mention(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Match:
    """The result of a matcher that matches.

    ``groups`` are the named groups of all its regular expressions. ``regex`` is the match of the first of them.
    """

    groups: Mapping[str, str | None] = field(default_factory=dict)
    regex: re.Match[str] | None = None

    def merged(self, other: Match) -> Match:
        """Return both matches as one. ``other`` wins if both filled the same group."""
        if other.regex is None:
            return self
        if self.regex is None:
            return other
        filled = {name: value for name, value in other.groups.items() if value is not None}
        return Match({**other.groups, **self.groups, **filled}, self.regex)


MATCHED = Match()
"""The match of every matcher that has no regular expression."""

DIRECT, MENTIONING, UNMENTIONED = "direct", "naming", "other"
"""The places of a message: one-to-one, in a group with a mention of the bot, in a group without one."""

ALL_PLACES = frozenset((DIRECT, MENTIONING, UNMENTIONED))


@dataclass(frozen=True, slots=True)
class MatcherScope:
    """The places of the messages that a matcher can match, as far as they are known in advance.

    ``possible`` are the places where it matches some messages, ``certain`` those where it matches all. With
    ``refers_to_groups``, the matcher explicitly selects messages of groups, whether or not they mention the bot. With
    ``is_opaque``, a function decides, which cannot be analysed.
    """

    possible: frozenset[str] = ALL_PLACES
    certain: frozenset[str] = frozenset()
    refers_to_groups: bool = False
    is_opaque: bool = False

    def __and__(self, other: MatcherScope) -> MatcherScope:
        return self._combine(other, self.possible & other.possible, self.certain & other.certain)

    def __or__(self, other: MatcherScope) -> MatcherScope:
        return self._combine(other, self.possible | other.possible, self.certain | other.certain)

    def __invert__(self) -> MatcherScope:
        return MatcherScope(ALL_PLACES - self.certain, ALL_PLACES - self.possible, is_opaque=self.is_opaque)

    def _combine(self, other: MatcherScope, possible: frozenset[str], certain: frozenset[str]) -> MatcherScope:
        refers_to_groups = UNMENTIONED in possible and (self.refers_to_groups or other.refers_to_groups)
        return MatcherScope(possible, certain, refers_to_groups, self.is_opaque or other.is_opaque)


ANY_SCOPE = MatcherScope()
"""The scope of a matcher that does not depend on the place of a message."""
NO_SCOPE = MatcherScope(frozenset())
"""The scope of a matcher that matches no message."""
_GROUP_SCOPE = MatcherScope(frozenset((MENTIONING, UNMENTIONED)), refers_to_groups=True)


@dataclass(frozen=True, eq=False)
class Matcher:
    """A predicate on a :class:`~cometbot.Context`, with a name for error messages.

    ``groups`` are the names that every match has, ``possible`` those that a match may have. ``scope`` describes the
    places of the messages that it can match.
    """

    name: str
    find: Callable[[MatchContext], Match | None] = field(repr=False)
    groups: frozenset[str] = frozenset()
    possible: frozenset[str] = frozenset()
    scope: MatcherScope = field(default=ANY_SCOPE, repr=False)

    def matches(self, ctx: MatchContext) -> Match | None:
        """Return the match, or None if the event does not match."""
        return self.find(ctx)

    def __and__(self, other: MatcherLike) -> Matcher:
        return _and_matcher(self, to_matcher(other))

    def __rand__(self, other: MatcherLike) -> Matcher:
        return _and_matcher(to_matcher(other), self)

    def __or__(self, other: MatcherLike) -> Matcher:
        return _or_matcher(self, to_matcher(other))

    def __ror__(self, other: MatcherLike) -> Matcher:
        return _or_matcher(to_matcher(other), self)

    def __invert__(self) -> Matcher:
        find = self.find
        return _matcher_from_test(f"~{self.name}", lambda ctx: find(ctx) is None, ~self.scope)

    def __bool__(self) -> NoReturn:
        raise RegistrationError("matchers are combined with & | ~, not with and, or, not")


class GroupMatcher(Matcher):
    """A matcher for messages in any group. Called with guids, it returns a matcher for these groups."""

    def __call__(self, *guids: str) -> Matcher:
        if any(hasattr(guid, "conversation") for guid in guids):
            raise RegistrationError(
                "in_group() takes the ids of groups, not a context; inside a function of ctx write "
                "ctx.conversation.is_group, or ctx.conversation.target == 'ops-room' for one group"
            )
        wanted = frozenset(_require_texts("in_group", guids))
        return _matcher_from_test(
            f"in_group({_format_values(guids)})",
            lambda ctx: ctx.conversation.is_group and ctx.conversation.target in wanted,
            _GROUP_SCOPE,
        )


MatcherLike: TypeAlias = Matcher | str | re.Pattern[str] | Callable[[Any], object]
"""An argument of ``@bot.message``: a matcher, the whole text, a regular expression, or a function of the context."""


def text(*texts: str) -> Matcher:
    """Match messages whose whole text is one of ``texts``. Case and the number of spaces do not matter."""
    wanted = frozenset(normalize_text(item) for item in _require_texts("text", texts))
    return _matcher_from_test(f"text({_format_values(texts)})", lambda ctx: normalize_text(ctx.text) in wanted)


def contains(*texts: str) -> Matcher:
    """Match messages that contain one of ``texts``. Case and the number of spaces do not matter."""
    wanted = [normalize_text(item) for item in _require_texts("contains", texts)]

    def test(ctx: MatchContext) -> bool:
        said = normalize_text(ctx.text)
        return any(item in said for item in wanted)

    return _matcher_from_test(f"contains({_format_values(texts)})", test)


def pattern(expression: str | re.Pattern[str], flags: int = 0) -> Matcher:
    """Match messages in whose text the regular expression is found anywhere (``search``).

    ``ctx.match`` is its match. Its named groups fill the handler's parameters of the same names.
    """
    regex = _compile(expression, flags)
    names = frozenset(regex.groupindex)
    search = regex.search

    def find(ctx: MatchContext) -> Match | None:
        found = search(ctx.text)
        return None if found is None else Match(found.groupdict(), found)

    return Matcher(f"pattern({regex.pattern!r})", find, names, names)


def of_type(*types: str) -> Matcher:
    """Match messages of one of these types, such as ``text``, ``image``, ``video``, ``audio`` or ``file``."""
    wanted = frozenset(_require_texts("of_type", types))
    return _matcher_from_test(
        f"of_type({_format_values(types)})", lambda ctx: ctx.message is not None and ctx.message.type in wanted
    )


def sent_by(*uids: str) -> Matcher:
    """Match messages of one of these users."""
    wanted = frozenset(_require_texts("sent_by", uids))
    return _matcher_from_test(f"sent_by({_format_values(uids)})", lambda ctx: ctx.sender.uid in wanted)


def tagged(*tags: str) -> Matcher:
    """Match messages that have one of these tags."""
    wanted = frozenset(_require_texts("tagged", tags))
    return _matcher_from_test(
        f"tagged({_format_values(tags)})",
        lambda ctx: ctx.message is not None and not wanted.isdisjoint(ctx.message.tags),
    )


def to_matcher(wanted: MatcherLike) -> Matcher:
    """Convert ``wanted`` to a matcher: a str matches the whole text, a pattern is searched for, a function is called.

    Raises :class:`RegistrationError` for anything else.
    """
    if isinstance(wanted, Matcher):
        return wanted
    if isinstance(wanted, str):
        return text(wanted)
    if isinstance(wanted, re.Pattern):
        return pattern(wanted)
    if not callable(wanted) or isinstance(wanted, type):
        raise RegistrationError(
            f"{wanted!r} is no matcher: give the whole text as a str, a re.Pattern, a matcher such as contains(…), "
            "or a function of ctx"
        )
    return _from_function(wanted)


def any_of(wanted: tuple[MatcherLike, ...]) -> Matcher:
    """Return a matcher for messages that match one of ``wanted``, or for any message if there are none."""
    if not wanted:
        return any_message
    if all(isinstance(item, str) for item in wanted):
        return text(*(str(item) for item in wanted))
    matcher = to_matcher(wanted[0])
    for item in wanted[1:]:
        matcher = matcher | item
    return matcher


def _matcher_from_test(name: str, test: Callable[[MatchContext], object], scope: MatcherScope = ANY_SCOPE) -> Matcher:
    return Matcher(name, lambda ctx: MATCHED if test(ctx) else None, scope=scope)


def _from_function(function: Callable[[Any], object]) -> Matcher:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    if inspect.iscoroutinefunction(function):
        raise RegistrationError(f"the matcher {name} is async; a matcher is a plain function of ctx")
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        raise RegistrationError(f"the matcher {name} must take one argument, the context") from None
    return _matcher_from_test(name, function, MatcherScope(is_opaque=True))


def _and_matcher(left: Matcher, right: Matcher) -> Matcher:
    def find(ctx: MatchContext) -> Match | None:
        first = left.find(ctx)
        if first is None:
            return None
        second = right.find(ctx)
        return None if second is None else first.merged(second)

    name, possible = f"({left.name} & {right.name})", left.possible | right.possible
    return Matcher(name, find, left.groups | right.groups, possible, left.scope & right.scope)


def _or_matcher(left: Matcher, right: Matcher) -> Matcher:
    def find(ctx: MatchContext) -> Match | None:
        first = left.find(ctx)
        return first if first is not None else right.find(ctx)

    name, possible = f"({left.name} | {right.name})", left.possible | right.possible
    return Matcher(name, find, left.groups & right.groups, possible, left.scope | right.scope)


def _compile(expression: Any, flags: int) -> re.Pattern[str]:
    if isinstance(expression, re.Pattern) and isinstance(expression.pattern, str) and not flags:
        return expression
    if not isinstance(expression, str):
        raise RegistrationError(
            f"a pattern is a str, or a compiled re.Pattern of str without flags, not {expression!r}"
        )
    try:
        return re.compile(expression, flags)
    except re.error as error:
        raise RegistrationError(f"the regular expression {expression!r} is wrong: {error}") from error


def _require_texts(matcher: str, values: tuple[str, ...]) -> tuple[str, ...]:
    if not values or not all(isinstance(value, str) and value.strip() for value in values):
        raise RegistrationError(
            f"{matcher}() takes one or more texts that are not empty, not {_format_values(values) or 'none'}"
        )
    return values


def _format_values(values: tuple[object, ...]) -> str:
    return ", ".join(map(repr, values))


any_message = Matcher("any_message", lambda ctx: MATCHED, scope=MatcherScope(certain=ALL_PLACES))
"""Match every message."""
direct = _matcher_from_test(
    "direct",
    lambda ctx: not ctx.conversation.is_group,
    MatcherScope(possible=frozenset((DIRECT,)), certain=frozenset((DIRECT,))),
)
"""Match one-to-one messages."""
in_group = GroupMatcher(
    "in_group",
    lambda ctx: MATCHED if ctx.conversation.is_group else None,
    scope=MatcherScope(_GROUP_SCOPE.possible, _GROUP_SCOPE.possible, refers_to_groups=True),
)
"""Match messages in any group, or with ``in_group("ops-room")`` in that one."""
mentioned = _matcher_from_test(
    "mentioned",
    lambda ctx: ctx.is_mentioned,
    MatcherScope(possible=frozenset((DIRECT, MENTIONING)), certain=frozenset((MENTIONING,))),
)
"""Match messages that mention this bot."""
in_thread = _matcher_from_test("in_thread", lambda ctx: ctx.thread_id)
"""Match messages in a thread."""
has_attachment = _matcher_from_test("has_attachment", lambda ctx: ctx.attachments)
"""Match messages with a file."""
