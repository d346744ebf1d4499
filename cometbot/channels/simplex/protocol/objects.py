"""Reads the CLI's objects into dataclasses: strict for fields that cannot be done without, otherwise lenient.

A dataclass's field without a default is required. All others keep their default if the CLI's field is absent, null or
of a wrong type. ``Annotated`` names the paths of a field in the CLI's object, of which the first valid one counts, and
a function that reads it::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Item(CliObject):
        item_id: Annotated[int, read_id, "chatItem.meta.itemId"]
        edited: Annotated[bool, "chatItem.meta.itemEdited"] = False

Without a path it is the field's own name: ``contactId`` for ``contact_id``. The path ``""`` is the whole object.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from cometbot.channels.simplex.protocol.refs import MAX_ID
from cometbot.errors import PayloadError

Raw = Mapping[str, Any]

_log = logging.getLogger(__name__)

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,12}))?(?:Z|\+00:00)")


@dataclass(frozen=True, slots=True, kw_only=True)
class CliObject:
    """The base class of what is read from an object of the CLI, which it stores in ``raw``."""

    raw: Raw = field(default_factory=dict, repr=False, compare=False)


Object = TypeVar("Object", bound=CliObject)


class _FieldReader(NamedTuple):
    name: str
    paths: tuple[str, ...]
    read: Callable[[Any], Any]
    is_required: bool


def read_object(model: type[Object], raw: object) -> Object:
    """Return the value of ``model`` for an object. Raises :class:`PayloadError` with the paths of all faults."""
    if not isinstance(raw, Mapping):
        raise _shape_error({"_schema": ["Invalid input type."]})
    values: dict[str, Any] = {}
    faults: dict[str, list[str]] = {}
    for reader in _get_readers(model):  # type: ignore[arg-type]  # mypy takes a dataclass for unhashable
        try:
            values[reader.name] = _read_first(reader, raw)
        except PayloadError as error:
            faults |= error.details if reader.is_required else {}
    if faults:
        raise _shape_error(faults)
    return model(**values, raw=raw)


def read_or_none(model: type[Object], raw: object, level: int = logging.DEBUG) -> Object | None:
    """Return the value of ``model`` for an object, or None without one or if it cannot be read, which is logged."""
    if raw is None:
        return None
    try:
        return read_object(model, raw)
    except PayloadError as error:
        _log.log(level, "skipped an unreadable %s of the SimpleX CLI: %s", model.__name__, error)
        return None


def find(value: object, path: str) -> Any:
    """Return what stands at a path such as ``chatItem.meta``, or None if a part of the path is missing."""
    for key in path.split(".") if path else ():
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def find_object(value: object, path: str) -> Raw:
    """Return the object at a path, or an empty one if there is none."""
    found = find(value, path)
    return found if isinstance(found, Mapping) else {}


def find_list(value: object, path: str) -> list[Any]:
    """Return the list at a path, or an empty one if there is none."""
    found = find(value, path)
    return found if isinstance(found, list) else []


def read_id(value: object) -> int:
    """Return an id from 1 up."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_ID:
        raise ValueError("Not a valid id: a whole number from 1 up.")
    return value


def read_tag(value: object) -> str:
    """Return a tag or an enum value, a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("Not a valid tag: a text that is not empty.")
    return value


def read_time(value: object) -> float:
    """Return a UTCTime with zero to twelve fractional digits as seconds since 1970."""
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("Not a valid time, such as 2026-03-01T10:00:00.123456Z.")
    whole = datetime.datetime.fromisoformat(match[1]).replace(tzinfo=datetime.timezone.utc)
    return whole.timestamp() + float(f"0.{match[2] or 0}")


def is_object(value: object) -> bool:
    """Return True if there is an object, whatever it has in it."""
    return isinstance(value, Mapping)


Id = Annotated[int, read_id]
Tag = Annotated[str, read_tag]
Time = Annotated[float, read_time]


@cache
def _get_readers(model: type[CliObject]) -> tuple[_FieldReader, ...]:
    hints = get_type_hints(model, include_extras=True)
    return tuple(_make_reader(each, hints[each.name]) for each in dataclasses.fields(model) if each.name != "raw")


def _make_reader(each: dataclasses.Field[Any], hint: Any) -> _FieldReader:
    kind, extras = _split_hint(hint)
    functions = [extra for extra in extras if callable(extra)]
    paths = tuple(extra for extra in extras if isinstance(extra, str))
    is_required = each.default is MISSING and each.default_factory is MISSING
    return _FieldReader(
        each.name,
        paths or (re.sub(r"_(\w)", lambda match: match[1].upper(), each.name),),
        functions[0] if functions else _get_type_reader(kind),
        is_required,
    )


def _split_hint(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return the type and the annotations of a hint; for an optional type, those of the type itself."""
    if get_origin(hint) is Annotated:
        kind, extras = _split_hint(hint.__origin__)
        return kind, (*extras, *hint.__metadata__)
    options = [option for option in get_args(hint) if option is not type(None)]
    return _split_hint(options[0]) if type(None) in get_args(hint) else (hint, ())


def _get_type_reader(kind: Any) -> Callable[[Any], Any]:
    plain = get_origin(kind) or kind
    if issubclass(plain, CliObject):
        return lambda value: read_object(plain, value)

    def read(value: object) -> object:
        if not isinstance(value, plain) or (isinstance(value, bool) and plain is not bool):
            raise ValueError(f"Not a valid {plain.__name__}.")
        return value

    return read


def _read_first(reader: _FieldReader, raw: Raw) -> Any:
    *others, last = reader.paths
    for path in others:
        try:
            return _read_at(path, reader, raw)
        except PayloadError:
            continue
    return _read_at(last, reader, raw)


def _read_at(path: str, reader: _FieldReader, raw: Raw) -> Any:
    value = find(raw, path)
    if value is None:
        raise _shape_error({_find_missing(raw, path): ["Missing data for required field."]})
    try:
        return reader.read(value)
    except ValueError as error:
        raise _shape_error({path: [str(error)]}) from error
    except PayloadError as error:
        inner = {"" if key == "_schema" else f".{key}": texts for key, texts in error.details.items()}
        raise _shape_error({f"{path}{key}".lstrip("."): texts for key, texts in inner.items()}) from error


def _find_missing(raw: Raw, path: str) -> str:
    """Return the first part of the path that is no object, or the whole path."""
    keys = path.split(".")
    prefixes = [".".join(keys[:count]) for count in range(1, len(keys))]
    return next((prefix for prefix in prefixes if not is_object(find(raw, prefix))), path)


def _shape_error(details: dict[str, list[str]]) -> PayloadError:
    path, texts = next(iter(details.items()))
    return PayloadError(f"the SimpleX CLI sent something of another shape: {path}: {texts[0]}", details=details)
