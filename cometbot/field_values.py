"""The values of a form's fields: what users may write in a field, and what it becomes.

Each value has one text on all channels: ``2.5``, ``2031-12-24``, ``18:30``, ``yes``, the value of an option, or the
values of several, separated by ``", "``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from datetime import date, datetime, time
from decimal import Decimal
from itertools import islice
from typing import Any

from cometbot.errors import MessageError
from cometbot.fields import NO, OPTION_SEPARATOR, YES, Choice, Field, format_value
from cometbot.message_checks import require
from cometbot.pattern_cost import check_pattern
from cometbot.text import normalize_text

MAX_LENGTHS = {"text": 1000, "long_text": 10_000, "email": 254, "phone": 40}
"""The characters that a text may have, by kind, if its field has no ``max``."""

_MAX_NUMBER_LENGTH = 40
_MAX_SHOWN = 40
_MAX_QUOTED = 3
_NUMBER = re.compile(r"([+-]?[0-9]+)(?:([.,])([0-9]+))?")
_ISO_DATE = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})")
_DOTTED_DATE = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})")
_TIME = re.compile(r"([0-9]{1,2})(?:[:.]([0-9]{2}))?(?::([0-9]{2}))?( ?[ap]m)?", re.IGNORECASE)
_NUMBERS = re.compile(r"[0-9 ,;]+")
_SEPARATORS = re.compile(r"[,;\n]")
_PHONE = re.compile(r"\+?[0-9 ()./-]+")
_POSITION = re.compile(r"([0-9]{1,4})[.)]?")


class InvalidValue(ValueError):
    """A text does not fit its field. The error's text explains why, to follow the field's label and a colon."""


def check_field(field: Field) -> None:
    """Raise :class:`MessageError` if the limits, the pattern or the default of a field do not fit its kind."""
    what = f"the {field.kind} field {field.name!r}"
    limits = [_check_limit(field, name, what) for name in ("min", "max")]
    if limits[0] is not None and limits[1] is not None:
        require(limits[0] <= limits[1], f"{what}: expected min up to max, got {field.min} and {field.max}")
    if field.pattern:
        require(field.kind in MAX_LENGTHS, f"{what} has no pattern; the kinds with one are {', '.join(MAX_LENGTHS)}")
        try:
            check_pattern(field.pattern, limits[1] or MAX_LENGTHS[field.kind])
        except ValueError as error:
            raise MessageError(f"{what}: pattern: {error}") from error
    try:
        normalize_value(replace(field, optional=True), str(field.default))
    except InvalidValue as error:
        raise MessageError(f"{what}: default {str(field.default)!r}: {error}") from error


def _check_limit(field: Field, name: str, what: str) -> Any:
    value = getattr(field, name)
    if value is None:
        return None
    require(field.kind not in ("select", "checkbox"), f"{what} has no {name}")
    try:
        return _parse_limit(field.kind, value)
    except ValueError:
        expected = _EXPECTED.get(field.kind, "a number") if field.kind in _COMPARABLE else "a whole number"
        raise MessageError(f"{what}: {name}: expected {expected}, got {value!r}") from None


def limits_of(field: Field) -> tuple[Any, Any]:
    """Return the ``min`` and ``max`` of a field, with texts as dates and times; None for one that it does not have."""
    return tuple(None if value is None else _parse_limit(field.kind, value) for value in (field.min, field.max))  # type: ignore[return-value]


def field_to_json(field: Field) -> dict[str, Any]:
    """Return a field as JSON, without its ``validate``; :func:`field_from_json` makes it again."""
    limits = zip(("min", "max"), limits_of(field), strict=True)
    rare = {"hint": field.hint, "pattern": field.pattern, **{name: limit_to_json(value) for name, value in limits}}
    return {
        "name": field.name,
        "label": field.label,
        "kind": field.kind,
        "optional": field.optional,
        "default": field.default,
        "options": [{"label": option.label, "value": option_value(option)} for option in choices_of(field)],
        **{name: value for name, value in rare.items() if value not in ("", None)},
    }


def field_from_json(item: Mapping[str, Any]) -> Field:
    """Return the field that :func:`field_to_json` described."""
    return Field(**{**item, "options": [Choice(option["label"], option["value"]) for option in item["options"]]})


def limit_to_json(value: Any) -> Any:
    """Return a ``min`` or ``max`` as JSON: a number, or the text of a date or a time."""
    if isinstance(value, Decimal):
        return float(value)
    return format_value(value) if isinstance(value, date | time) else value


def normalize_value(field: Field, written: str, *, is_numbered: bool = False) -> str:
    """Return the text of the value that a user has written in a field; empty if that is blank.

    With ``is_numbered``, options may be given by their number. Raises :class:`InvalidValue`.
    """
    text = written.strip()
    if not text:
        return ""
    return _KINDS[field.kind](field, text, is_numbered)


@dataclass
class FormValues:
    """The values of a form: their texts, what is wrong with others, and the required fields without one, all by name.

    An error follows its field's label and a colon.
    """

    texts: dict[str, str] = dataclass_field(default_factory=dict)
    errors: dict[str, str] = dataclass_field(default_factory=dict)
    missing: list[str] = dataclass_field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """True if all values fit, and none is missing."""
        return not (self.errors or self.missing)

    def describe(self, fields: Iterable[Field]) -> str:
        """Return what is wrong, for the user: each wrong field by its label, and the missing ones."""
        labels = {field.name: label_of(field) for field in fields}
        lines = [f"{labels[name]}: {error}" for name, error in self.errors.items()]
        if self.missing:
            lines.append(f"Please fill in: {', '.join(labels[name] for name in self.missing)}.")
        return "\n".join(lines)


def normalize_values(fields: Iterable[Field], written: Mapping[str, str], *, can_clear: bool) -> FormValues:
    """Return the values that a user has written in the fields of a form.

    A field that is not in ``written`` gets its default. One that is blank is cleared with ``can_clear``, and gets its
    default without.
    """
    found = FormValues()
    for field in fields:
        text = written.get(field.name, "").strip()
        if not text and not (can_clear and field.name in written):
            text = str(field.default)
        try:
            value = normalize_value(field, text) or (NO if field.kind == "checkbox" and field.optional else "")
        except InvalidValue as error:
            found.errors[field.name] = str(error)
            continue
        if value or field.optional:
            found.texts[field.name] = value
        else:
            found.missing.append(field.name)
    return found


def parse_value(field: Field, text: str) -> Any:
    """Return the value of a text of :func:`normalize_value`, by the kind of its field.

    An empty text is None for a number, a date and a time, False for a checkbox, and an empty list for a multi_select.
    """
    if field.kind == "multi_select":
        return split_options(text, [option_value(option) for option in choices_of(field)]) or []
    if field.kind == "checkbox":
        return text == YES
    if field.kind not in _COMPARABLE:
        return text
    return _parse_comparable(field.kind, text) if text else None


def describe_value(field: Field) -> str:
    """Return what a field expects in a few words, such as ``a number from 1 to 9``; empty for any text."""
    if field.hint:
        return field.hint
    what = _EXPECTED.get(field.kind, "")
    return f"{what}{_describe_range(field)}" if field.kind in _COMPARABLE else what


def label_of(field: Field) -> str:
    """Return the label of a field, which is its name if it has none."""
    return field.label or field.name


def option_value(option: Choice) -> str:
    """Return the text that is sent for an option."""
    return option.value or option.label


def choices_of(field: Field) -> list[Choice]:
    """Return the options of a field, which are all choices once it is made."""
    return [option for option in field.options if not isinstance(option, str)]


def labels_of(field: Field, text: str) -> str:
    """Return the text of a value as people read it: the labels of its options."""
    if not text or not field.options:
        return text
    chosen = split_options(text, [option_value(option) for option in choices_of(field)]) or [text]
    labels = {option_value(option): option.label for option in choices_of(field)}
    return OPTION_SEPARATOR.join(labels.get(value, value) for value in chosen)


def _parse_limit(kind: str, value: object) -> Any:
    """Return a ``min`` or ``max`` of a field of this kind. Raises :class:`ValueError` if it is none of that kind."""
    if kind in ("date", "time"):
        wanted = date if kind == "date" else time
        is_of_kind = isinstance(value, wanted) and not isinstance(value, datetime)
        return value if is_of_kind else _parse_comparable(kind, str(value))
    is_number = isinstance(value, int) or (kind == "number" and isinstance(value, float | Decimal))
    if isinstance(value, bool) or not is_number or value - value != 0:  # type: ignore[operator]
        raise ValueError(value)
    return value


def parse_bool(word: str) -> bool:
    """Return True for yes and False for no. Raises :class:`ValueError` for other words."""
    folded = word.casefold()
    if folded in (YES, "y", "true", "on", "1"):
        return True
    if folded in (NO, "n", "false", "off", "0"):
        return False
    raise ValueError(word)


def split_options(text: str, allowed: Sequence[str]) -> list[str] | None:
    """Return the options in ``allowed`` that ``text`` consists of, separated by ``", "``, or None for other texts.

    The options themselves may contain the separator.
    """
    paths: dict[int, tuple[int, str]] = {}
    begins, seen = [0], {0}
    while begins:
        begin = begins.pop()
        for option in allowed:
            if not option or not text.startswith(option, begin):
                continue
            end = begin + len(option)
            if end == len(text):
                return [*_join_path(paths, begin), option]
            after = end + len(OPTION_SEPARATOR)
            if text.startswith(OPTION_SEPARATOR, end) and after not in seen:
                paths[after] = (begin, option)
                seen.add(after)
                begins.append(after)
    return None


def _join_path(paths: dict[int, tuple[int, str]], end: int) -> list[str]:
    found: list[str] = []
    while end:
        end, option = paths[end]
        found.append(option)
    return found[::-1]


def _read_text(field: Field, text: str, is_numbered: bool) -> str:
    least, most = limits_of(field)
    least, most = least or 0, MAX_LENGTHS[field.kind] if most is None else most
    if len(text) > most:
        raise InvalidValue(f"please write at most {most} characters, not {len(text)}.")
    if len(text) < least:
        raise InvalidValue(f"please write at least {least} characters.")
    if field.kind == "email" and not _is_email(text):
        raise _unexpected(field, text)
    if field.kind == "phone" and not (_PHONE.fullmatch(text) and 3 <= sum(map(str.isdigit, text)) <= 15):
        raise _unexpected(field, text)
    if field.pattern and re.fullmatch(field.pattern, text) is None:
        raise _unexpected(field, text)
    return text


def _is_email(text: str) -> bool:
    local, at, domain = text.partition("@")
    is_name = bool(local and at) and "@" not in domain and not any(map(str.isspace, text))
    return is_name and "." in domain and all(domain.split("."))


def _read_comparable(field: Field, text: str, is_numbered: bool) -> str:
    try:
        value = _parse_comparable(field.kind, text)
    except ValueError:
        raise _unexpected(field, text) from None
    least, most = limits_of(field)
    if (least is not None and value < least) or (most is not None and value > most):
        raise _unexpected(field, text)
    return format_value(value)


def _parse_comparable(kind: str, text: str) -> Any:
    """Return the number, date or time that a text is. Raises :class:`ValueError` for other texts."""
    return {"number": _parse_number, "date": _parse_date, "time": _parse_time}[kind](text)


def _parse_number(text: str) -> int | float:
    """Return a number with a decimal point or comma.

    A comma before three digits is refused, because it may separate thousands.
    """
    found = _NUMBER.fullmatch(text) if len(text) <= _MAX_NUMBER_LENGTH else None
    if found is None or (found[2] == "," and len(found[3]) == 3):
        raise ValueError(text)
    return float(f"{found[1]}.{found[3]}") if found[3] and int(found[3]) else int(found[1])


def _parse_date(text: str) -> date:
    if found := _ISO_DATE.fullmatch(text):
        return date(int(found[1]), int(found[2]), int(found[3]))
    if found := _DOTTED_DATE.fullmatch(text):
        return date(int(found[3]), int(found[2]), int(found[1]))
    raise ValueError(text)


def _parse_time(text: str) -> time:
    found = _TIME.fullmatch(text)
    half = found[4].strip().lower() if found is not None and found[4] else ""
    if found is None or not (found[2] or half):
        raise ValueError(text)
    hour = int(found[1])
    if half:
        if not 1 <= hour <= 12:
            raise ValueError(text)
        hour = hour % 12 + (12 if half == "pm" else 0)
    return time(hour, int(found[2] or 0), int(found[3] or 0))


def _read_options(field: Field, text: str, is_numbered: bool) -> str:
    """Return the chosen options in the order in which the field has them."""
    allowed = [option_value(option) for option in choices_of(field)]
    chosen = split_options(text, allowed)
    if chosen is None:
        listed = text.replace(" ", ",") if is_numbered and _NUMBERS.fullmatch(text) else text
        words = [word.strip() for word in _SEPARATORS.split(listed) if word.strip()]
        unknown = [word for word in words if _match_option(field, word, is_numbered) is None]
        if unknown:
            raise _not_on_offer(field, unknown)
        chosen = [_read_option(field, word, is_numbered) for word in words]
    ordered = [value for value in dict.fromkeys(allowed) if value in chosen]
    least, most = limits_of(field)
    least, most = least or 0, len(ordered) if most is None else most
    if not least <= len(ordered) <= most:
        raise InvalidValue(f"please choose {f'at least {least}' if len(ordered) < least else f'at most {most}'}.")
    return OPTION_SEPARATOR.join(ordered)


def _read_option(field: Field, text: str, is_numbered: bool) -> str:
    found = _match_option(field, text, is_numbered)
    if found is None:
        raise _not_on_offer(field, [text])
    return found


def _match_option(field: Field, text: str, is_numbered: bool) -> str | None:
    """Return the value of the option that a text names: by its value, its label, or its number."""
    options = choices_of(field)
    if any(option_value(option) == text for option in options):
        return text
    wanted = normalize_text(text)
    for name in (lambda option: option.label, option_value):
        found = {option_value(option) for option in options if normalize_text(name(option)) == wanted}
        if found:
            # A label that several options share is ambiguous.
            return found.pop() if len(found) == 1 else None
    position = _POSITION.fullmatch(text) if is_numbered else None
    if position is not None and 1 <= int(position[1]) <= len(options):
        return option_value(options[int(position[1]) - 1])
    return None


def _read_checkbox(field: Field, text: str, is_numbered: bool) -> str:
    try:
        is_checked = parse_bool(text)
    except ValueError:
        raise _unexpected(field, text) from None
    if not (is_checked or field.optional):
        raise InvalidValue("this needs a yes.")
    return YES if is_checked else NO


def _not_on_offer(field: Field, words: Iterable[str]) -> InvalidValue:
    quoted = " and ".join(map(_quote, islice(words, _MAX_QUOTED)))
    labels = OPTION_SEPARATOR.join(option.label for option in choices_of(field))
    few = "one" if field.kind == "select" else "any"
    return InvalidValue(f"{quoted} is not on offer. Choose {few} of: {labels}.")


def _unexpected(field: Field, text: str) -> InvalidValue:
    expected = describe_value(field)
    if not expected:
        return InvalidValue(f"{_quote(text)} does not have the expected form.")
    verb = "answer" if field.kind == "checkbox" else "write"
    return InvalidValue(f"please {verb} {expected}, not {_quote(text)}.")


def _quote(text: str) -> str:
    return f"“{text if len(text) <= _MAX_SHOWN else f'{text[:_MAX_SHOWN]}…'}”"


def _describe_range(field: Field) -> str:
    least, most = map(format_value, limits_of(field))
    if least and most:
        return f" from {least} to {most}"
    if least:
        return f" of at least {least}" if field.kind == "number" else f" from {least} on"
    if most:
        return f" of at most {most}" if field.kind == "number" else f" up to {most}"
    example = {"date": "2031-12-24", "time": "18:30"}.get(field.kind)
    return f" such as {example}" if example else ""


_COMPARABLE = ("number", "date", "time")
_EXPECTED = {
    "number": "a number",
    "date": "a date",
    "time": "a time",
    "checkbox": "yes or no",
    "email": "an e-mail address",
    "phone": "a phone number",
}
_KINDS: dict[str, Callable[[Field, str, bool], str]] = {
    "text": _read_text,
    "long_text": _read_text,
    "email": _read_text,
    "phone": _read_text,
    "number": _read_comparable,
    "date": _read_comparable,
    "time": _read_comparable,
    "select": _read_option,
    "multi_select": _read_options,
    "checkbox": _read_checkbox,
}
