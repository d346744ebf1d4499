"""Convert the words of a command to the typed arguments of its handler, or explain to the user why they do not fit.

``def remind(ctx, minutes: int, *, what: str = "stretch")`` accepts ``10 call mother``: words fill the positional
parameters, the rest of the line fills the keyword-only one. Words in double quotes count as one.
"""

from __future__ import annotations

import enum
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from cometbot.action_values import decode_value
from cometbot.errors import BotError, RegistrationError
from cometbot.events import ActionEvent
from cometbot.field_values import parse_bool

Converter = Callable[[str], Any]
Arguments = tuple[list[Any], dict[str, Any]]
"""Positional and keyword arguments, without the context."""

_NO_DEFAULT: Any = inspect.Parameter.empty
_POSITIONAL_ONLY = inspect.Parameter.POSITIONAL_ONLY
_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
_QUOTES = '"“”„'
_WORD_PATTERN = re.compile(rf"[{_QUOTES}]([^{_QUOTES}]*)[{_QUOTES}](?=\s|$)|(\S+)")
_CALL_PATTERN = re.compile(r"(/?)(\S+)(.*)", re.DOTALL)
_MAX_QUOTED_LENGTH = 40


class UsageError(BotError):
    """The user's words do not fit the command. The text explains why, and how the command is used.

    The user receives this text unless the bot has a handler for exactly this class: ``@bot.error(UsageError)``.
    """


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a handler.

    ``expects`` describes the accepted words, empty if any word is accepted. ``annotation`` is None without one.
    """

    name: str
    kind: Literal["word", "words", "rest"]
    convert: Converter = field(repr=False, default=str)
    expects: str = ""
    default: Any = _NO_DEFAULT
    options: tuple[str, ...] = ()
    annotation: Any = field(repr=False, default=None)

    @property
    def is_required(self) -> bool:
        """True if a call without it is answered with the usage."""
        return self.default is _NO_DEFAULT and self.kind != "words"

    @property
    def label(self) -> str:
        """The parameter as shown to users: ``order-number``, ``[what …]``, ``red|green``."""
        name = "|".join(self.options) or self.name.replace("_", "-")
        many = name if self.kind == "word" else f"{name} …"
        return many if self.is_required else f"[{many}]"

    def converted(self, word: str) -> Any:
        """Return ``word`` converted for the handler. Raises :class:`ValueError` with a sentence for the user."""
        try:
            return self.convert(word)
        except (ValueError, InvalidOperation, OverflowError):
            shown = word if len(word) <= _MAX_QUOTED_LENGTH else f"{word[:_MAX_QUOTED_LENGTH]}…"
            raise ValueError(f"{self.name.replace('_', '-')} must be {self.expects}, not “{shown}”.") from None

    def from_value(self, value: Any) -> Any:
        """Return the value of a button for the handler: itself, or converted if the annotation names another type.

        Raises :class:`ValueError` if it does not fit.
        """
        if isinstance(value, str):
            return self.converted(value)
        kinds = [get_origin(part) or part for part in union_members(self.annotation)]
        if any(kind in (None, Any, object, type(value)) for kind in kinds):
            return value
        return self.converted(json.dumps(value))


@dataclass(frozen=True, slots=True)
class ProvidedParameter:
    """A parameter of a handler that the bot provides. ``index`` is its position, None if it is keyword-only."""

    name: str
    provided: type
    index: int | None


@dataclass(frozen=True, slots=True)
class Signature:
    """A handler's parameters behind the context.

    ``positional`` are filled with one word each, ``variadic`` with the words behind them, ``keyword_only`` by name or
    with the rest of the line. ``provided`` are filled by the bot (see :mod:`cometbot.providers`).
    """

    positional: tuple[Parameter, ...] = ()
    variadic: Parameter | None = None
    keyword_only: tuple[Parameter, ...] = ()
    provided: tuple[ProvidedParameter, ...] = ()

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters that a user fills, in that order. The rest of the line comes last."""
        return (*self.positional, *((self.variadic,) if self.variadic else ()), *self.keyword_only)

    def parse(self, line: str) -> Arguments:
        """Return the arguments in ``line``.

        Raises :class:`ValueError` with a sentence for the user if they do not fit.
        """
        values, rest = self._parse_positional(line)
        if self.variadic is not None:
            values += [self.variadic.converted(word) for word in split_words(rest)]
            rest = ""
        if self.keyword_only:
            return values, self._parse_rest(rest.strip())
        if rest.strip():
            raise ValueError(f"Unexpected argument: “{rest.strip()[:_MAX_QUOTED_LENGTH]}”.")
        return values, {}

    def bind(self, values: Mapping[str, str | None]) -> Arguments:
        """Return the arguments from ``values`` by name.

        A parameter without a value, or with None, gets its default, or None if it has no default. Raises
        :class:`ValueError` for a value that does not convert.
        """
        by_name = {item.name: self._convert_one(item, values) for item in (*self.positional, *self.keyword_only)}
        return [by_name[item.name] for item in self.positional], {
            item.name: by_name[item.name] for item in self.keyword_only
        }

    def parse_action(self, event: ActionEvent, groups: Mapping[str, str | None], name: str) -> Arguments:
        """Return the arguments in an action.

        ``groups`` and a form's fields fill parameters by name, the action's value fills the others. A single parameter
        receives the whole value. An object fills parameters by the names of its members, if it has one of them. Raises
        :class:`UsageError` for a form field that does not convert, because the user filled it in. Raises
        :class:`BotError` for a value that does not fit, because the bot itself made the button.
        """
        given = {**event.values, **groups}
        try:
            by_name = {
                item.name: self._convert_one(item, given)
                for item in (*self.positional, *self.keyword_only)
                if item.name in given
            }
        except ValueError as error:
            raise UsageError(str(error)) from error
        left = Signature(
            tuple(item for item in self.positional if item.name not in given),
            self.variadic,
            tuple(item for item in self.keyword_only if item.name not in given),
        )
        value = decode_value(event.value)
        try:
            values, named = left._parse_value(value) if isinstance(value, str) else left._fill(value)
        except ValueError as error:
            raise BotError(f"the value {value!r} of the action {event.name!r} does not fit {name}: {error}") from error
        rest = iter(values)
        filled = [by_name[item.name] if item.name in given else next(rest) for item in self.positional]
        named |= {item.name: by_name[item.name] for item in self.keyword_only if item.name in given}
        return [*filled, *rest], named

    def usage(self, name: str) -> str:
        """Return the usage as shown to users: ``/remind minutes [what …]``."""
        return " ".join([f"/{name}", *(item.label for item in self.parameters)])

    def _parse_value(self, value: str) -> Arguments:
        if not self.parameters:
            return [], {}
        if len(self.positional) == 1 and self.variadic is None and not self.keyword_only and value.strip():
            return [self.positional[0].converted(value.strip())], {}
        return self.parse(value)

    def _fill(self, value: Any) -> Arguments:
        """Return the arguments in the value of a button that is no text."""
        every = self.parameters
        if isinstance(value, dict) and any(item.name in value for item in every):
            filled = {
                item.name: item.from_value(value[item.name]) if item.name in value else _get_default(item)
                for item in (*self.positional, *self.keyword_only)
            }
            return [filled[item.name] for item in self.positional], {
                item.name: filled[item.name] for item in self.keyword_only
            }
        if not every:
            return [], {}
        if len(every) > 1:
            names = ", ".join(item.name for item in every)
            raise ValueError(f"it fills one parameter, or an object with the members {names} fills them.")
        single = every[0].from_value(value)
        return ([], {every[0].name: single}) if self.keyword_only else ([single], {})

    def _parse_positional(self, line: str) -> tuple[list[Any], str]:
        values: list[Any] = []
        for item in self.positional:
            line = line.lstrip()
            found = _WORD_PATTERN.match(line)
            if found is None:
                values.append(_get_default(item))
                continue
            values.append(item.converted(_unquote(found)))
            line = line[found.end() :]
        return values, line

    def _parse_rest(self, rest: str) -> dict[str, Any]:
        first = self.keyword_only[0]
        given = {first.name: first.converted(rest)} if rest else {first.name: _get_default(first)}
        return given | {item.name: _get_default(item) for item in self.keyword_only[1:]}

    @staticmethod
    def _convert_one(item: Parameter, values: Mapping[str, str | None]) -> Any:
        value = values.get(item.name)
        if value is None or (not value.strip() and not item.is_required):
            return None if item.is_required else item.default
        return item.converted(value)


@dataclass(frozen=True, slots=True)
class Command:
    """The names and description of a command, for menus and help. ``usage`` is shown to users."""

    name: str
    aliases: tuple[str, ...] = ()
    description: str = ""
    usage: str = ""
    parameters: tuple[Parameter, ...] = ()
    hidden: bool = False
    slash_optional: bool | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the aliases."""
        return (self.name, *self.aliases)

    def read(self, signature: Signature, line: str) -> Arguments:
        """Return the arguments in ``line``. Raises :class:`UsageError` if they do not fit."""
        try:
            return signature.parse(line)
        except ValueError as error:
            raise UsageError(f"{error}\nUsage: {self.usage}") from error


@dataclass(frozen=True, slots=True)
class CommandCall:
    """A text parsed as a command.

    ``line`` is the text behind the name. ``has_slash`` is true if the text began with a slash.
    """

    name: str
    line: str
    has_slash: bool


def parse_call(text: str) -> CommandCall | None:
    """Parse ``text`` as a command with a case-folded name, or return None if it has no name."""
    found = _CALL_PATTERN.match(text)
    return CommandCall(found[2].casefold(), found[3].strip(), bool(found[1])) if found else None


def split_words(line: str) -> list[str]:
    """Return the words of ``line``.

    Words in double quotes (straight or curly) count as one. An unclosed quote is an ordinary character.
    """
    return [_unquote(found) for found in _WORD_PATTERN.finditer(line)]


def normalize_command_name(name: str) -> str:
    """Return ``name`` case-folded. Raises :class:`RegistrationError` if a user could not write it as a command."""
    if not isinstance(name, str) or not name or name.startswith("/") or name.split() != [name]:
        raise RegistrationError(f'a command\'s name is one word without its slash, such as "track", not {name!r}')
    return name.casefold()


def help_text(description: str, commands: typing.Iterable[Command]) -> str:
    """Return the text of ``/help``: the bot's description, and a line for each of ``commands``."""
    lines = [f"{item.usage}: {item.description}" if item.description else item.usage for item in commands]
    return "\n\n".join(part for part in (description.strip(), "\n".join(lines)) if part)


def inspect_signature(function: Callable[..., Any], name: str, *, has_values: bool = False) -> Signature:
    """Return the signature of the handler ``function`` without its context.

    With ``has_values``, it handles actions, whose values may be objects and lists.
    Raises :class:`RegistrationError` if there is no context, an annotation cannot be resolved or converted, or there is
    a ``**parameter``, which nothing could fill.
    """
    parameters = list(get_python_signature(function, name).parameters.values())
    if not parameters or parameters[0].kind not in (_POSITIONAL_ONLY, _POSITIONAL):
        raise RegistrationError(
            f"{name} must take the context first: def {name.rpartition('.')[2]}(ctx, …). "
            "If another decorator hides it, that should use functools.wraps"
        )
    words, many, named, provided = [], None, [], []
    for index, item in enumerate(parameters[1:]):
        if item.kind is item.VAR_KEYWORD:
            raise RegistrationError(f"nothing fills **{item.name} of {name}; name the parameters one by one")
        annotation = resolve_annotation(function, name, item)
        if item.kind is not item.VAR_POSITIONAL and can_be_provided(annotation):
            position = None if item.kind is item.KEYWORD_ONLY else index
            provided.append(ProvidedParameter(item.name, annotation, position))
            continue
        read = _make_parameter(name, item, annotation, has_values=has_values)
        if item.kind is item.VAR_POSITIONAL:
            many = read
        elif item.kind is item.KEYWORD_ONLY:
            named.append(read)
        else:
            words.append(read)
    return Signature(tuple(words), many, tuple(named), tuple(provided))


def can_be_provided(annotation: Any) -> bool:
    """Return True for a class that no text is converted to."""
    if get_origin(annotation) is not None or not isinstance(annotation, type):
        return False
    if annotation.__module__ in ("builtins", "collections.abc", "typing"):
        return False
    try:
        get_conversion(annotation)
    except TypeError:
        return True
    return False


def _get_default(item: Parameter) -> Any:
    if item.is_required:
        raise ValueError(f"{item.name.replace('_', '-')} is missing.")
    return item.default


def _unquote(found: re.Match[str]) -> str:
    return found[2] if found[1] is None else found[1]


def get_python_signature(function: Callable[..., Any], name: str) -> inspect.Signature:
    """Return the signature of a function. Raises :class:`RegistrationError` if it has none."""
    try:
        return inspect.signature(function)
    except (ValueError, TypeError, NameError) as error:
        raise RegistrationError(f"the signature of {name} cannot be read: {error}") from error


def _make_parameter(name: str, item: inspect.Parameter, annotation: Any, *, has_values: bool) -> Parameter:
    default = item.default
    optional = [part for part in union_members(annotation) if part is not types.NoneType]
    if default is _NO_DEFAULT and len(optional) < len(union_members(annotation)):
        default = None
    try:
        converters = [
            _JSON_VALUE if has_values and (get_origin(part) or part) in (dict, list) else get_conversion(part)
            for part in optional or [annotation]
        ]
    except TypeError:
        raise RegistrationError(
            f"{item.name}: {annotation!r} of {name} is not made from text; use str, int, float, bool, Decimal, date, "
            "time, datetime, an Enum, Literal[…] or one of these with | None (several words: *names: str), or a class "
            "that bot.provide() provides"
        ) from None
    kind: Literal["word", "words", "rest"] = "word"
    if item.kind in (item.VAR_POSITIONAL, item.KEYWORD_ONLY):
        kind = "words" if item.kind is item.VAR_POSITIONAL else "rest"
    options = tuple(option for found in converters for option in found.options)
    expects = " or ".join(found.expects for found in converters)
    given = None if item.annotation is _NO_DEFAULT else annotation
    convert = _try_each([found.convert for found in converters])
    return Parameter(item.name, kind, convert, expects, default, options, given)


def resolve_annotation(
    function: Callable[..., Any], name: str, item: inspect.Parameter, *, include_extras: bool = False
) -> Any:
    """Return the annotation of a parameter, ``str`` without one.

    With ``include_extras``, an ``Annotated`` keeps its notes. Raises :class:`RegistrationError` for a name that cannot
    be resolved.
    """
    if item.annotation is _NO_DEFAULT:
        return str
    plain = inspect.unwrap(function)
    plain = getattr(plain, "func", plain)
    names = getattr(getattr(plain, "__func__", plain), "__globals__", {})
    holder = types.SimpleNamespace(__annotations__={item.name: item.annotation})
    try:
        return typing.get_type_hints(holder, globalns=names, include_extras=include_extras)[item.name]
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise RegistrationError(
            f"the annotation {item.annotation!r} of {item.name} in {name} cannot be resolved ({error}); "
            "what it names must be importable at run time, at the top of the module"
        ) from error


def union_members(annotation: Any) -> tuple[Any, ...]:
    """Return the parts of a union, or the annotation itself."""
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(part for item in get_args(annotation) for part in union_members(item))
    return (annotation,)


@dataclass(frozen=True, slots=True)
class Conversion:
    """The conversion of a word; ``expects`` describes the accepted words, ``options`` lists them if they are few."""

    convert: Converter
    expects: str = ""
    options: tuple[str, ...] = ()


def get_conversion(annotation: Any) -> Conversion:
    """Return the conversion from text to ``annotation``. Raises :class:`TypeError` if there is none."""
    if get_origin(annotation) is Annotated:
        return get_conversion(get_args(annotation)[0])
    if annotation in (Any, object, str):
        return Conversion(str, "a text")
    if get_origin(annotation) is Literal:
        return _choice_conversion({str(value): value for value in get_args(annotation)})
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _choice_conversion(
            {str(item.value): item for item in annotation} | {item.name: item for item in annotation}, annotation
        )
    if isinstance(annotation, type) and annotation in _CONVERSIONS:
        return _CONVERSIONS[annotation]
    raise TypeError(annotation)


def _choice_conversion(values: dict[str, Any], members: typing.Iterable[Any] | None = None) -> Conversion:
    folded = {text.casefold(): value for text, value in values.items()}
    shown = tuple(values) if members is None else tuple(item.name.lower() for item in members)

    def convert(word: str) -> Any:
        if word.casefold() not in folded:
            raise ValueError(word)
        return folded[word.casefold()]

    return Conversion(convert, f"one of {', '.join(shown)}", shown)


def _try_each(converters: list[Converter]) -> Converter:
    def convert(word: str) -> Any:
        for attempt in converters:
            try:
                return attempt(word)
            except (ValueError, InvalidOperation, OverflowError):
                continue
        raise ValueError(word)

    return convert


def _to_finite(kind: Converter) -> Converter:
    """Return the conversion to a number, which NaN and the infinities are not to a user."""

    def convert(word: str) -> Any:
        value = kind(word)
        if value - value != 0:
            raise ValueError(word)
        return value

    return convert


def _to_datetime(word: str) -> datetime:
    return datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", word))


def _refuse_text(word: str) -> Any:
    raise ValueError(word)


_JSON_VALUE = Conversion(_refuse_text, "an object or a list")
"""The conversion of a parameter that only the value of a button fills."""

_CONVERSIONS: dict[type, Conversion] = {
    int: Conversion(int, "a whole number"),
    float: Conversion(_to_finite(float), "a number"),
    Decimal: Conversion(_to_finite(Decimal), "a number"),
    bool: Conversion(parse_bool, "yes or no"),
    date: Conversion(date.fromisoformat, "a date such as 2031-12-24"),
    time: Conversion(time.fromisoformat, "a time such as 18:30"),
    datetime: Conversion(_to_datetime, "a date and time such as 2031-12-24T18:30"),
}
