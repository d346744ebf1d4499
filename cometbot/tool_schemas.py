"""Arguments of tools: the JSON schema of an annotation, and the conversion of what a model sends.

Models send JSON. Numbers in a text and the like are accepted, since small models mix them up.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args, get_origin

from cometbot.commands import get_conversion, union_members
from cometbot.error_text import describe_error
from cometbot.field_values import parse_bool

_MAX_SHOWN_LENGTH = 60
_MAX_SHOWN_PROBLEMS = 5

NO_DEFAULT: Any = inspect.Parameter.empty

_FORMATS: Mapping[Any, Mapping[str, str]] = {
    date: {"type": "string", "format": "date"},
    time: {"type": "string", "format": "time"},
    datetime: {"type": "string", "format": "date-time"},
    Decimal: {"type": "number"},
}
"""The schemas of the classes that a text is converted to."""


class InvalidArgument(ValueError):
    """A value does not fit. ``problems`` are where (``items[2].count``, empty for the value itself) and why."""

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "; ".join(f"{path}: {text}" if path else text for path, text in self.problems[:_MAX_SHOWN_PROBLEMS])

    def below(self, name: str) -> InvalidArgument:
        """Return the same error as seen from the object or list that has the value as ``name``."""
        return InvalidArgument(*((_join_path(name, path), text) for path, text in self.problems))


@dataclass(frozen=True, slots=True)
class ValueType:
    """The values of one annotation: their JSON schema, and what makes one of JSON.

    ``convert`` raises :class:`InvalidArgument` for a value that does not fit.
    """

    schema: Mapping[str, Any]
    convert: Callable[[Any], Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Member:
    """A parameter of a tool, or a field of a dataclass.

    ``default`` is JSON for the schema, or None. With ``or_none``, the value is None if it is left out.
    """

    name: str
    type: ValueType
    is_required: bool = True
    description: str = ""
    default: Any = None
    or_none: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """The schema of its values, with its description and default."""
        more = {"description": self.description} if self.description else {}
        if self.default is not None:
            more["default"] = self.default
        return {**self.type.schema, **more}


@dataclass(frozen=True, slots=True)
class ObjectType:
    """Objects with known members."""

    members: Sequence[Member]

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema."""
        return {
            "type": "object",
            "properties": {member.name: member.schema for member in self.members},
            "required": [member.name for member in self.members if member.is_required],
            "additionalProperties": False,
        }

    def convert(self, value: Any) -> dict[str, Any]:
        """Return the members that a JSON object has, converted. Raises :class:`InvalidArgument` with all errors."""
        if not isinstance(value, Mapping):
            raise _unexpected("an object", value)
        known = {member.name: member for member in self.members}
        problems = [(name, f"unexpected; expected {_list_names(known)}") for name in value if name not in known]
        problems += [(name, "missing") for name, item in known.items() if item.is_required and name not in value]
        converted = {name: None for name, item in known.items() if item.or_none}
        for name, member in known.items():
            if name in value and not (value[name] is None and _may_omit(member)):
                try:
                    converted[name] = member.type.convert(value[name])
                except InvalidArgument as error:
                    problems += error.below(name).problems
        if problems:
            raise InvalidArgument(*problems)
        return converted


def make_member(
    name: str, annotation: Any, default: Any = NO_DEFAULT, description: str = "", outer: tuple[Any, ...] = ()
) -> Member:
    """Return the parameter of a tool, or the field of a dataclass. See :func:`make_value_type`."""
    value_type = make_value_type(annotation, outer)
    if default is not NO_DEFAULT:
        return Member(name, value_type, False, description, _default_to_json(default))
    or_none = types.NoneType in union_members(annotation)
    return Member(name, value_type, not or_none, description, or_none=or_none)


def make_value_type(annotation: Any, outer: tuple[Any, ...] = ()) -> ValueType:
    """Return the type of the values of ``annotation``. Raises :class:`TypeError` if no JSON is converted to it.

    ``outer`` are the dataclasses that it is part of.
    """
    if get_origin(annotation) is Annotated:
        inner, *notes = get_args(annotation)
        made = make_value_type(inner, outer)
        text = next((note for note in notes if isinstance(note, str)), "")
        return ValueType({**made.schema, "description": text}, made.convert) if text else made
    if annotation in (Any, object):
        return ValueType({}, _pass)
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if annotation in _FORMATS:
        return ValueType(_FORMATS[annotation], _TextConverter(annotation))
    if len(members := union_members(annotation)) > 1:
        return _make_union(members, outer)
    if get_origin(annotation) is Literal:
        return _make_enum({value: value for value in get_args(annotation)})
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        values = [item.value for item in annotation]
        by_value = all(isinstance(value, str | int) for value in values)
        return _make_enum({item.value if by_value else item.name: item for item in annotation})
    if dataclasses.is_dataclass(annotation):
        return _make_dataclass_type(annotation, outer)
    return _make_container(annotation, outer)


def _make_union(members: Sequence[Any], outer: tuple[Any, ...]) -> ValueType:
    made = [make_value_type(member, outer) for member in members]
    return ValueType({"anyOf": [item.schema for item in made]}, _UnionConverter(tuple(made)))


def _make_enum(values: Mapping[Any, Any]) -> ValueType:
    kinds = {str: "string", bool: "boolean", int: "integer", types.NoneType: "null"}
    if not all(type(value) in kinds for value in values):
        raise TypeError(values)
    found = list(dict.fromkeys(kinds[type(value)] for value in values))
    schema: dict[str, Any] = {"enum": list(values)}
    return ValueType({"type": found[0], **schema} if len(found) == 1 else schema, _EnumConverter(values))


def _make_container(annotation: Any, outer: tuple[Any, ...]) -> ValueType:
    origin, arguments = get_origin(annotation) or annotation, get_args(annotation)
    if origin in (dict, typing.Mapping, Mapping):
        if arguments and arguments[0] is not str:
            raise TypeError(annotation)
        item = make_value_type(arguments[1], outer) if arguments else ValueType({}, _pass)
        more: dict[str, Any] = {"additionalProperties": item.schema} if arguments else {}
        return ValueType({"type": "object", **more}, _MappingConverter(item))
    if origin in _LISTS:
        if origin is tuple and arguments and arguments[1:] != (Ellipsis,):
            raise TypeError(annotation)
        item = make_value_type(arguments[0], outer) if arguments else ValueType({}, _pass)
        more = {"uniqueItems": True} if _LISTS[origin] in (set, frozenset) else {}
        return ValueType({"type": "array", "items": item.schema, **more}, _ListConverter(item, _LISTS[origin]))
    raise TypeError(annotation)


def _make_dataclass_type(annotation: Any, outer: tuple[Any, ...]) -> ValueType:
    if annotation in outer:
        raise TypeError(annotation)  # it contains itself
    hints = typing.get_type_hints(annotation, include_extras=True)
    described = describe_parameters(annotation.__doc__)
    members = []
    for item in dataclasses.fields(annotation):
        if item.init:
            has_default = item.default is not dataclasses.MISSING or item.default_factory is not dataclasses.MISSING
            default = item.default if has_default else NO_DEFAULT
            kind, text = hints[item.name], described.get(item.name, "")
            members.append(make_member(item.name, kind, default, text, (*outer, annotation)))
    made = ObjectType(tuple(members))
    return ValueType(made.schema, _DataclassConverter(annotation, made))


def describe_parameters(docstring: str | None) -> dict[str, str]:
    """Return what a docstring says about each parameter, in the style of Google, NumPy, Sphinx or Epydoc."""
    return {item.arg_name: " ".join((item.description or "").split()) for item in _parse(docstring).params}


def describe_function(docstring: str | None) -> str:
    """Return what a docstring says before its parts about parameters and results."""
    return str(_parse(docstring).description or "").strip()


def _parse(docstring: str | None) -> Any:
    from docstring_parser import Docstring, ParseError, parse  # bots without tools do not need it

    try:
        return parse(docstring or "")
    except ParseError:
        found = Docstring()
        found.short_description = docstring
        return found


def _default_to_json(value: Any) -> Any:
    """Return a default for a schema, None if it cannot stand there."""
    if isinstance(value, enum.Enum):
        value = value.value
    return value if isinstance(value, str | bool | int | float) else None


def _may_omit(member: Member) -> bool:
    """Return True if null stands for a member that is left out, which many models write."""
    if member.is_required:
        return False
    try:
        member.type.convert(None)
    except InvalidArgument:
        return True
    return False


def _join_path(name: str, path: str) -> str:
    return f"{name}.{path}" if path and not path.startswith("[") else f"{name}{path}"


def _list_names(names: Iterable[str]) -> str:
    return ", ".join(names) or "no arguments"


def _unexpected(expected: str, value: Any) -> InvalidArgument:
    try:
        shown = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        shown = type(value).__name__
    if len(shown) > _MAX_SHOWN_LENGTH:
        shown = f"{shown[:_MAX_SHOWN_LENGTH]}…"
    return InvalidArgument(("", f"expected {expected}, got {shown}"))


def _pass(value: Any) -> Any:
    return value


def _to_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # a number of an order, written as one
    raise _unexpected("a text", value)


def _to_int(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass
    raise _unexpected("a whole number", value)


def _to_float(value: Any) -> float:
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number
    raise _unexpected("a number", value)


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            return parse_bool(value)
        except ValueError:
            pass
    raise _unexpected("true or false", value)


def _to_none(value: Any) -> None:
    if value is not None:
        raise _unexpected("null", value)


@dataclass(frozen=True, slots=True)
class _TextConverter:
    """Makes a date and the like of its text; for Decimal, of a number too."""

    annotation: Any

    def __call__(self, value: Any) -> Any:
        conversion = get_conversion(self.annotation)
        is_number = self.annotation is Decimal and isinstance(value, int | float) and not isinstance(value, bool)
        if not (isinstance(value, str) or is_number):
            raise _unexpected(conversion.expects, value)
        try:
            return conversion.convert(str(value))
        except (ValueError, ArithmeticError):
            raise _unexpected(conversion.expects, value) from None


@dataclass(frozen=True, slots=True)
class _EnumConverter:
    values: Mapping[Any, Any]

    def __call__(self, value: Any) -> Any:
        for known, meant in self.values.items():
            if type(value) is type(known) and value == known:
                return meant
        texts = {str(known).casefold(): meant for known, meant in self.values.items()}
        if isinstance(value, str) and value.casefold() in texts:
            return texts[value.casefold()]
        raise _unexpected(f"one of {', '.join(map(str, self.values))}", value)


@dataclass(frozen=True, slots=True)
class _UnionConverter:
    """Makes the first member that fits. A value that has a member's type as it is comes before others."""

    members: Sequence[ValueType]

    def __call__(self, value: Any) -> Any:
        errors, found = [], []
        for member in self.members:
            try:
                found.append(member.convert(value))
            except InvalidArgument as error:
                errors.append(error)
        if found:
            return next((item for item in found if type(item) is type(value)), found[0])
        raise errors[0]


@dataclass(frozen=True, slots=True)
class _ListConverter:
    item: ValueType
    make: Callable[[Iterable[Any]], Any]

    def __call__(self, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise _unexpected("a list", value)
        items = [_convert_at(self.item, f"[{index}]", item) for index, item in enumerate(value)]
        try:
            return self.make(items)
        except TypeError:  # objects in a set
            raise _unexpected("texts or numbers", value) from None


@dataclass(frozen=True, slots=True)
class _MappingConverter:
    item: ValueType

    def __call__(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _unexpected("an object", value)
        return {str(name): _convert_at(self.item, str(name), item) for name, item in value.items()}


@dataclass(frozen=True, slots=True)
class _DataclassConverter:
    made_class: Any
    members: ObjectType

    def __call__(self, value: Any) -> Any:
        try:
            return self.made_class(**self.members.convert(value))
        except InvalidArgument:
            raise
        except ValueError as error:  # of the author's __post_init__
            raise InvalidArgument(("", str(error))) from error
        except Exception as error:
            raise InvalidArgument(("", describe_error(error))) from error


def _convert_at(value_type: ValueType, place: str, value: Any) -> Any:
    try:
        return value_type.convert(value)
    except InvalidArgument as error:
        raise error.below(place) from None


_SCALARS: Mapping[Any, ValueType] = {
    str: ValueType({"type": "string"}, _to_text),
    int: ValueType({"type": "integer"}, _to_int),
    float: ValueType({"type": "number"}, _to_float),
    bool: ValueType({"type": "boolean"}, _to_bool),
    types.NoneType: ValueType({"type": "null"}, _to_none),
    None: ValueType({"type": "null"}, _to_none),
}
_LISTS: Mapping[Any, Callable[[Iterable[Any]], Any]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    Sequence: list,
    Iterable: list,
}
