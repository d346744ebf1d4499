"""Forms made from dataclasses: each field of the class is one of the form, and an answer is an object of the class."""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from typing import Any, get_args, get_origin

from cometbot.commands import Conversion, get_conversion
from cometbot.errors import BotError
from cometbot.field_values import InvalidValue, option_value, split_options
from cometbot.fields import Field, FieldKind, format_value
from cometbot.messages import Form

_KINDS: dict[Any, FieldKind] = {
    bool: "checkbox",
    int: "number",
    float: "number",
    Decimal: "number",
    date: "date",
    time: "time",
}
_OWN_KINDS = ("text", "long_text", "email", "phone")
_OPTIONS = ("label", "optional", "hint", "min", "max", "pattern", "validate")
"""The options of a :class:`Field` that the metadata of a dataclass's field may have, beside ``kind`` for a text."""

_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")


@dataclass(frozen=True)
class ClassForm:
    """The form of a dataclass, and the conversions of its fields by name."""

    form_class: Any
    form: Form
    conversions: Mapping[str, Conversion]

    def convert(self, name: str, text: str) -> Any:
        """Return the value of the text of a field. Raises :class:`InvalidValue` if it does not convert."""
        field = next(item for item in self.form.fields if item.name == name)
        conversion = self.conversions[name]
        try:
            if field.kind != "multi_select":
                return conversion.convert(text)
            allowed = [option_value(option) for option in field.options if not isinstance(option, str)]
            return [conversion.convert(word) for word in split_options(text, allowed) or [text]]
        except (ValueError, ArithmeticError) as error:
            raise InvalidValue(f"please write {conversion.expects}, not “{text[:40]}”.") from error

    def fill(self, texts: Mapping[str, str]) -> Any:
        """Return the object with these values. A field with an empty text gets its default, or None."""
        given: dict[str, Any] = {}
        for item in dataclasses.fields(self.form_class):
            text = texts.get(item.name, "")
            if text:
                value = self.convert(item.name, text)
                is_tuple = isinstance(value, list) and _origin(self._annotation(item.name)) is tuple
                given[item.name] = tuple(value) if is_tuple else value
            elif item.init and not _has_default(item):
                given[item.name] = None
        return self.form_class(**given)

    def _annotation(self, name: str) -> Any:
        return _get_annotations(self.form_class)[name]


@functools.lru_cache(maxsize=256)
def make_class_form(form_class: Any) -> ClassForm:
    """Return the form of a dataclass. Raises :class:`BotError` for a field that no text is converted to."""
    annotations = _get_annotations(form_class)
    conversions, fields = {}, []
    for item in dataclasses.fields(form_class):
        if item.init:
            conversions[item.name], field = _make_field(item, annotations[item.name])
            fields.append(field)
    if not fields:
        raise BotError(f"ask: {form_class.__name__}: expected a dataclass with at least one field")
    return ClassForm(form_class, Form(_make_title(form_class), fields), conversions)


def _get_annotations(form_class: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(form_class)
    except NameError as error:
        raise BotError(
            f"ask: the annotations of {form_class.__name__} cannot be resolved ({error}); what they name must be "
            "importable at run time, at the top of the module"
        ) from error


def _make_title(form_class: Any) -> str:
    """Return the first line of the author's docstring, or else the name of the class in words."""
    written = (form_class.__doc__ or "").strip()
    if written and not written.startswith(f"{form_class.__name__}("):
        return str(written.partition("\n")[0])
    return " ".join(_WORD.findall(form_class.__name__)).capitalize() or str(form_class.__name__)


def _make_field(item: dataclasses.Field[Any], annotation: Any) -> tuple[Conversion, Field]:
    many = _item_type(annotation)
    single, is_optional = _without_none(annotation if many is None else many)
    conversion = _get_conversion(item.name, single)
    if many is not None and not conversion.options:
        raise BotError(f"ask: the field {item.name}: a list needs Literal[…] or an Enum, not {single!r}")
    kind = _find_kind(single, conversion, is_many=many is not None)
    given = {name: item.metadata[name] for name in _OPTIONS if name in item.metadata}
    own_kind = item.metadata.get("kind", kind)
    if own_kind != kind and not (kind == "text" and single is str and own_kind in _OWN_KINDS):
        raise BotError(f"ask: the field {item.name}: expected the kind {kind} for its type, got {own_kind!r}")
    options: dict[str, Any] = {
        "label": item.name.replace("_", " ").capitalize(),
        "optional": _has_default(item) or is_optional or kind == "checkbox",
        "default": _format_default(item.default),
        "hint": conversion.expects if kind == "text" and single is not str else "",
    }
    return conversion, Field(item.name, kind=own_kind, options=conversion.options, **{**options, **given})


def _find_kind(annotation: Any, conversion: Conversion, *, is_many: bool) -> FieldKind:
    if conversion.options:
        return "multi_select" if is_many else "select"
    return _KINDS.get(annotation, "text")


def _format_default(default: Any) -> Any:
    if default is dataclasses.MISSING:
        return ""
    if isinstance(default, enum.Enum):
        return default.name.lower()
    return [_format_default(part) for part in default] if isinstance(default, list | tuple) else format_value(default)


def _get_conversion(name: str, annotation: Any) -> Conversion:
    try:
        return get_conversion(annotation)
    except TypeError:
        raise BotError(
            f"ask: the field {name}: expected str, int, float, bool, Decimal, date, time, datetime, an Enum, "
            f"Literal[…], or a list of one of the last two, got {annotation!r}"
        ) from None


def _has_default(item: dataclasses.Field[Any]) -> bool:
    return item.default is not dataclasses.MISSING or item.default_factory is not dataclasses.MISSING


def _origin(annotation: Any) -> Any:
    """Return ``list`` or ``tuple`` for an annotation of several values, None for others."""
    inner, _ = _without_none(annotation)
    origin = get_origin(inner)
    return origin if origin in (list, tuple) and get_args(inner) else None


def _item_type(annotation: Any) -> Any:
    inner, _ = _without_none(annotation)
    return get_args(inner)[0] if _origin(annotation) is not None else None


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation, False
    parts = [part for part in get_args(annotation) if part is not types.NoneType]
    return parts[0] if len(parts) == 1 else annotation, len(parts) < len(get_args(annotation))
