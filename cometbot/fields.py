"""The fields of forms, and the choices of fields and questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_args

from cometbot.message_checks import require, require_sequence, require_texts

if TYPE_CHECKING:  # what type checkers know of newer Pythons
    from typing_extensions import TypeVar as TypeVarWithDefault

    V = TypeVarWithDefault("V", default=str)
else:
    V = TypeVar("V")

FieldKind = Literal[
    "text", "long_text", "number", "date", "time", "select", "multi_select", "checkbox", "email", "phone"
]
FieldDefault = str | bool | int | float | Decimal | date | time | Sequence[str] | None
FieldLimit = int | float | Decimal | date | time | str | None

YES, NO = "yes", "no"
OPTION_SEPARATOR = ", "


@dataclass(frozen=True)
class Choice(Generic[V]):
    """One answer of a :class:`Choices`. ``value`` is passed to the handler (default: the label).

    It is a text or any other JSON value (see :mod:`cometbot.action_values`), in a :class:`Field` a text.
    """

    label: str
    value: V = ""  # type: ignore[assignment]  # the default of V is str

    def __post_init__(self) -> None:
        require_texts(self, "label")
        require(bool(self.label.strip()), "a Choice needs a label")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form.

    ``kind`` is ``text``, ``long_text``, ``number``, ``date``, ``time``, ``select`` (one of ``options``),
    ``multi_select`` (any of them), ``checkbox`` (yes or no; yes unless it is optional), ``email`` or ``phone``.
    ``hint`` says what is expected ("a number plate").

    ``min`` and ``max`` limit a number, a date or a time (also as ``"2031-12-24"``, ``"18:30"``), the characters of a
    text, or the options of a ``multi_select``. ``pattern`` is a regular expression for the whole text. ``validate``
    gets the value in ``ctx.ask``, and returns False or raises :class:`ValueError` if it does not fit.
    """

    name: str
    label: str = ""
    kind: FieldKind = "text"
    options: Sequence[Choice | str] = ()
    default: FieldDefault = ""
    optional: bool = False
    hint: str = ""
    min: FieldLimit = None
    max: FieldLimit = None
    pattern: str = ""
    validate: Callable[[Any], object] | None = None

    def __post_init__(self) -> None:
        require_texts(self, "name", "label", "hint", "pattern")
        require(bool(self.name.strip()), "a form's Field needs a name")
        kinds = get_args(FieldKind)
        require(self.kind in kinds, f"a Field's kind is one of {', '.join(kinds)}, not {self.kind!r}")
        require_choices(self)
        if self.kind in ("select", "multi_select"):
            require(bool(self.options), f"the {self.kind} field {self.name!r} needs options")
        else:
            what = f"the {self.kind} field {self.name!r} has no options"
            require(not self.options, f"{what}; the kinds with options are select and multi_select")
        require(self.validate is None or callable(self.validate), "a Field's validate is a function of its value")
        object.__setattr__(self, "default", format_value(self.default))


def require_choices(message: object) -> None:
    """Convert the options to a tuple of choices whose values are texts. None becomes an empty text."""
    require_sequence(message, "options", Choice, lambda item: Choice(item) if isinstance(item, str) else item)
    options: tuple[Choice, ...] = message.options  # type: ignore[attr-defined]
    what = f"the value of a Choice in a {type(message).__name__} is a text"
    for option in options:
        is_text = option.value is None or isinstance(option.value, str)
        require(is_text, f"{what}, not {type(option.value).__name__}; only those of a Choices have others")
    texts = tuple(replace(option, value="") if option.value is None else option for option in options)
    object.__setattr__(message, "options", texts)


def format_value(value: object) -> str:
    """Return the text of a field's value: a text, a number, a date, a time, a bool, or a list of options."""
    if isinstance(value, bool):
        return YES if value else NO
    if isinstance(value, time):
        return value.isoformat("auto" if value.second or value.microsecond else "minutes")
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return OPTION_SEPARATOR.join(map(str, value))
    return "" if value is None else str(value)
