"""Which messages a handler wants. Matchers are values: combine them with ``&``, ``|`` and ``~``.

::

    @bot.message(of_type("image") & direct)
    @bot.message(text("hi", "hello") | pattern(r"^good (?P<part>morning|evening)$"))
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from cometbot.errors import RegistrationError

if TYPE_CHECKING:
    from cometbot.context import Context


@dataclass(frozen=True, slots=True)
class Match:
    """That a matcher fits. ``groups`` are those of all its regular expressions, ``regex`` is the first one's match."""

    groups: Mapping[str, str | None] = field(default_factory=dict)
    regex: re.Match[str] | None = None

    def merged(self, other: Match) -> Match:
        """Both in one; ``other`` wins where both filled the same group."""
        if other.regex is None:
            return self
        if self.regex is None:
            return other
        filled = {name: value for name, value in other.groups.items() if value is not None}
        return Match({**other.groups, **self.groups, **filled}, self.regex)


MATCHED = Match()
"""The match of everything that is no regular expression."""

DIRECT, MENTIONING, UNMENTIONED = "direct", "naming", "other"
"""Where a message stands: one-to-one, in a group and naming the bot, in a group without that."""

ALL_PLACES = frozenset((DIRECT, MENTIONING, UNMENTIONED))


@dataclass(frozen=True, slots=True)
class MatcherScope:
    """Where the messages stand that a matcher fits, as far as can be told without any.

    ``possible`` are the places where it fits some, ``certain`` those where it fits all. ``refers_to_groups``: messages
    of groups are asked for in so many words, whether they name the bot or not. ``is_opaque``: a function decides, which
    cannot be looked into.
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
"""The reach of a matcher that does not ask where a message stands."""
NO_SCOPE = MatcherScope(frozenset())
"""The reach of a matcher that fits no message at all."""
_GROUP_SCOPE = MatcherScope(frozenset((MENTIONING, UNMENTIONED)), refers_to_groups=True)


@dataclass(frozen=True, eq=False)
class Matcher:
    """A question to a :class:`~cometbot.Context`, with a name for messages about it.

    ``groups`` are the names that a match surely carries, ``possible`` those that it may carry. ``scope`` says where the
    messages stand that it fits.
    """

    name: str
    find: Callable[[Context], Match | None] = field(repr=False)
    groups: frozenset[str] = frozenset()
    possible: frozenset[str] = frozenset()
    scope: MatcherScope = field(default=ANY_SCOPE, repr=False)

    def matches(self, ctx: Context) -> Match | None:
        """The match, None if the event is not wanted."""
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
    """Messages in a group; called with guids, in one of these."""

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


MatcherLike: TypeAlias = "Matcher | str | re.Pattern[str] | Callable[[Context], object]"
"""What ``@bot.message`` takes: a matcher, the whole text, a regular expression, or a function of the context."""


def text(*texts: str) -> Matcher:
    """The whole text is one of ``texts``; case and spaces do not matter."""
    wanted = frozenset(normalize_text(item) for item in _require_texts("text", texts))
    return _matcher_from_test(f"text({_format_values(texts)})", lambda ctx: normalize_text(ctx.text) in wanted)


def contains(*texts: str) -> Matcher:
    """One of ``texts`` stands somewhere in the text; case and the number of spaces do not matter."""
    wanted = [normalize_text(item) for item in _require_texts("contains", texts)]

    def test(ctx: Context) -> bool:
        said = normalize_text(ctx.text)
        return any(item in said for item in wanted)

    return _matcher_from_test(f"contains({_format_values(texts)})", test)


def pattern(expression: str | re.Pattern[str], flags: int = 0) -> Matcher:
    """The regular expression is found somewhere in the text (``search``).

    ``ctx.match`` is its match, and its named groups fill the handler's parameters of the same names.
    """
    regex = _compile(expression, flags)
    names = frozenset(regex.groupindex)
    search = regex.search

    def find(ctx: Context) -> Match | None:
        found = search(ctx.text)
        return None if found is None else Match(found.groupdict(), found)

    return Matcher(f"pattern({regex.pattern!r})", find, names, names)


def of_type(*types: str) -> Matcher:
    """The message's type is one of these: ``text``, ``image``, ``video``, ``audio``, ``file`` …"""
    wanted = frozenset(_require_texts("of_type", types))
    return _matcher_from_test(
        f"of_type({_format_values(types)})", lambda ctx: ctx.message is not None and ctx.message.type in wanted
    )


def sent_by(*uids: str) -> Matcher:
    """The sender is one of these users."""
    wanted = frozenset(_require_texts("sent_by", uids))
    return _matcher_from_test(f"sent_by({_format_values(uids)})", lambda ctx: ctx.sender.uid in wanted)


def tagged(*tags: str) -> Matcher:
    """The message carries one of these tags."""
    wanted = frozenset(_require_texts("tagged", tags))
    return _matcher_from_test(
        f"tagged({_format_values(tags)})",
        lambda ctx: ctx.message is not None and not wanted.isdisjoint(ctx.message.tags),
    )


def to_matcher(wanted: MatcherLike) -> Matcher:
    """The matcher that ``wanted`` stands for: a str is the whole text, a pattern is searched for, a function is asked.

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
    """A matcher for whatever one of ``wanted`` fits; for any message if there is none."""
    if not wanted:
        return any_message
    if all(isinstance(item, str) for item in wanted):
        return text(*(str(item) for item in wanted))
    matcher = to_matcher(wanted[0])
    for item in wanted[1:]:
        matcher = matcher | item
    return matcher


def normalize_text(value: str) -> str:
    """``said`` as it is compared: case folded, and all white space made single spaces."""
    return " ".join(value.casefold().split())


def _matcher_from_test(name: str, test: Callable[[Context], object], scope: MatcherScope = ANY_SCOPE) -> Matcher:
    return Matcher(name, lambda ctx: MATCHED if test(ctx) else None, scope=scope)


def _from_function(function: Callable[[Context], object]) -> Matcher:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    if inspect.iscoroutinefunction(function):
        raise RegistrationError(f"the matcher {name} is async; a matcher is a plain function of ctx")
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        raise RegistrationError(f"the matcher {name} must take one argument, the context") from None
    return _matcher_from_test(name, function, MatcherScope(is_opaque=True))


def _and_matcher(left: Matcher, right: Matcher) -> Matcher:
    def find(ctx: Context) -> Match | None:
        first = left.find(ctx)
        if first is None:
            return None
        second = right.find(ctx)
        return None if second is None else first.merged(second)

    name, possible = f"({left.name} & {right.name})", left.possible | right.possible
    return Matcher(name, find, left.groups | right.groups, possible, left.scope & right.scope)


def _or_matcher(left: Matcher, right: Matcher) -> Matcher:
    def find(ctx: Context) -> Match | None:
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


any_message = _matcher_from_test("any_message", lambda ctx: True, MatcherScope(certain=ALL_PLACES))
"""Every message."""
direct = _matcher_from_test(
    "direct",
    lambda ctx: not ctx.conversation.is_group,
    MatcherScope(possible=frozenset((DIRECT,)), certain=frozenset((DIRECT,))),
)
"""One-to-one messages."""
in_group = GroupMatcher(
    "in_group",
    lambda ctx: MATCHED if ctx.conversation.is_group else None,
    scope=MatcherScope(_GROUP_SCOPE.possible, _GROUP_SCOPE.possible, refers_to_groups=True),
)
"""Messages in a group: ``in_group`` in any, ``in_group("ops-room")`` in that one."""
mentioned = _matcher_from_test(
    "mentioned",
    lambda ctx: ctx.is_mentioned,
    MatcherScope(possible=frozenset((DIRECT, MENTIONING)), certain=frozenset((MENTIONING,))),
)
"""Messages that name this bot."""
in_thread = _matcher_from_test("in_thread", lambda ctx: ctx.thread_id)
"""Messages in a thread."""
has_attachment = _matcher_from_test("has_attachment", lambda ctx: ctx.attachments)
"""Messages with a file."""
