"""The questions of ``ctx.ask``: how they are shown, and how an answer is converted and checked."""

from __future__ import annotations

import dataclasses
import enum
import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from cometbot.commands import Conversion, get_conversion
from cometbot.errors import BotError
from cometbot.events import ActionEvent, Event, MessageEvent
from cometbot.messages import Choice, Choices, Field, Form, Message, Text
from cometbot.models import Attachment
from cometbot.quick_replies import (
    find_invalid_option,
    find_unknown_option,
    resolve_quick_reply,
    serialize_quick_replies,
)
from cometbot.steps import DialogId

ACTION_PREFIX = "cometbot:ask:"
"""The prefix of the action names of a question's buttons; the dialog and the number of the step follow."""

_DEFAULT_FILE_TEXT = "Please send a file."
_DEFAULT_INVALID_TEXT = "That does not fit. Please try again."
_DEFAULT_TEXT_TEXT = "Please answer with a text."
_MAX_SHOWN = 40


class InvalidAnswer(Exception):
    """An answer does not fit. The text explains why to the user, who may answer again."""


@dataclass(frozen=True, slots=True)
class AnsweredAction:
    """The dialog and the step that a button of a question names."""

    dialog: DialogId
    step: int


@dataclass(frozen=True)
class Question:
    """A question with what makes an answer valid.

    ``message`` is shown; ``form_class`` is the dataclass that a form fills in; ``convert`` makes the value from the
    text or the chosen value; ``wants_file`` expects a file instead. If choices have values that are no texts,
    ``values`` has all values by the texts that are sent.
    """

    message: Message
    convert: Conversion | None = None
    validate: Callable[[Any], Any] | None = None
    invalid_text: str = ""
    form_class: type | None = None
    wants_file: bool = False
    values: Mapping[str, Any] | None = None

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choices of the question; empty if it has none."""
        options = self.message.options if isinstance(self.message, Choices) else ()
        return tuple(item for item in options if isinstance(item, Choice))

    @property
    def text(self) -> str:
        """The words of the question, without its choices or fields."""
        return words_of(self.message)

    @property
    def identity(self) -> str:
        """A text that is the same for the same question."""
        return f"{type(self.message).__name__} {self.message.to_text()} {self.convert and self.convert.expects}"

    def parse(self, raw: Mapping[str, Any]) -> Any:
        """Return the value of an answer that was accepted before."""
        if self.wants_file:
            return Attachment(**raw["files"][0])
        if isinstance(self.message, Form):
            return self._parse_form(raw["values"])
        text = str(raw.get("value", raw.get("text", "")))
        if self.values is not None:
            return self._find_value(text)
        return self.convert.convert(text) if self.convert is not None else text

    def _find_value(self, text: str) -> Any:
        if self.values is None or text not in self.values:
            raise BotError(
                f"ask: the stored answer {text.removeprefix('=')!r} is none of the choices of this run; take choices "
                "that may change from ctx.once, or let their values be texts"
            )
        return self.values[text]

    def check(self, raw: Mapping[str, Any]) -> Any:
        """Return the value of a new answer. Raises :class:`InvalidAnswer` if it does not fit."""
        self._check_kind(raw)
        try:
            value = self.parse(raw)
        except (ValueError, ArithmeticError) as error:
            raise InvalidAnswer(self.invalid_text or self._explain(raw, error)) from error
        try:
            is_valid = self.validate is None or self.validate(value) is not False
        except ValueError as error:
            raise InvalidAnswer(self.invalid_text or str(error) or _DEFAULT_INVALID_TEXT) from error
        if not is_valid:
            raise InvalidAnswer(self.invalid_text or _DEFAULT_INVALID_TEXT)
        return value

    def repeat(self, text: str) -> Message:
        """Return the message that explains an answer that does not fit, with the choices or the form again."""
        if isinstance(self.message, Choices):
            return dataclasses.replace(self.message, text=text)
        if isinstance(self.message, Form):
            return dataclasses.replace(self.message, title=text)
        return Text(text)

    def _check_kind(self, raw: Mapping[str, Any]) -> None:
        if self.wants_file:
            if not raw.get("files"):
                raise InvalidAnswer(self.invalid_text or _DEFAULT_FILE_TEXT)
            return
        if isinstance(self.message, Form):
            if "values" not in raw:
                raise InvalidAnswer(str(raw.get("problem") or self.invalid_text or Form.HINT))
            self._check_values(self.message, raw["values"])
            return
        if self.choices and str(raw.get("value", "")) not in {choice.value or choice.label for choice in self.choices}:
            labels = ", ".join(choice.label for choice in self.choices)
            raise InvalidAnswer(self.invalid_text or f"Please choose one of: {labels}.")
        if "value" not in raw and not str(raw.get("text", "")).strip():
            raise InvalidAnswer(self.invalid_text or _DEFAULT_TEXT_TEXT)

    def _check_values(self, form: Form, values: Mapping[str, str]) -> None:
        """Raise unless all fields that need one have a value, and the chosen ones are on offer."""
        missing = [
            item.label or item.name
            for item in form.fields
            if not (item.optional or item.default or values.get(item.name))
        ]
        if missing:
            raise InvalidAnswer(f"Please fill in: {', '.join(missing)}.")
        if (problem := find_unknown_option(form, values)) is not None:
            raise InvalidAnswer(problem)

    def _explain(self, raw: Mapping[str, Any], error: Exception) -> str:
        text = str(raw.get("text", raw.get("value", "")))
        shown = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
        if self.convert is not None and self.convert.expects:
            return f"Please answer with {self.convert.expects}, not “{shown}”."
        return str(error) or _DEFAULT_INVALID_TEXT

    def _parse_form(self, values: Mapping[str, str]) -> Any:
        if self.form_class is None and isinstance(self.message, Form):
            return {item.name: values.get(item.name) or item.default for item in self.message.fields}
        return _fill(self.form_class, values)


def make_question(
    asked: Any,
    action: str,
    *,
    choices: Sequence[Choice[Any] | str] | None,
    kind: Any,
    validate: Callable[[Any], Any] | None,
    invalid_text: str,
) -> Question:
    """Return the question of a call of ``ctx.ask``. Raises :class:`BotError` for arguments that do not fit together."""
    if isinstance(asked, type) and dataclasses.is_dataclass(asked):
        form = Form(asked.__name__, _form_fields(asked), action=action)
        return Question(form, None, validate, invalid_text, form_class=asked)
    if isinstance(asked, Form):
        return Question(dataclasses.replace(asked, action=action), None, validate, invalid_text)
    values = None
    if choices is not None:
        if not isinstance(asked, str):
            raise BotError(f"ask: with choices, expected the question as a str, got {type(asked).__name__}")
        values = _choice_values(choices)
        if values is not None and kind is not None:
            raise BotError("ask: type= converts texts, but choices have other values; leave out type=")
        message: Message = Choices(asked, list(map(_with_text_value, choices)), action=action)
    elif isinstance(asked, Message):
        message = dataclasses.replace(asked, action=action) if isinstance(asked, Choices) else asked
    elif isinstance(asked, str):
        message = Text(asked)
    else:
        raise BotError(
            f"ask: expected a str, a message, a Form or a dataclass as the question, got {type(asked).__name__}"
        )
    if kind is Attachment:
        return Question(message, None, validate, invalid_text, wants_file=True)
    return Question(message, _make_conversion(kind), validate, invalid_text, values=values)


def _choice_values(choices: Iterable[Choice[Any] | str]) -> dict[str, Any] | None:
    """Return the values of choices by the texts that are sent, or None if all values are texts."""
    given = [choice for choice in choices if isinstance(choice, Choice)]
    if all(type(choice.value) is str for choice in given):
        return None
    values: dict[str, Any] = {item: item for item in choices if isinstance(item, str)}
    for choice in given:
        text = _to_sent_value(choice) or choice.label
        if text in values:
            raise BotError(f"ask: expected choices with different values, got {choice.value!r} twice")
        values[text] = choice.value if choice.value != "" else choice.label
    return values


def _with_text_value(choice: Choice[Any] | str) -> Choice | str:
    return Choice(choice.label, _to_sent_value(choice)) if isinstance(choice, Choice) else choice


def _to_sent_value(choice: Choice[Any]) -> str:
    """Return the text that is sent for a choice's value: the name of an Enum member, or JSON.

    JSON follows a ``=``, so that a number which a user writes is not taken for a value instead of a position.
    """
    value = choice.value
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, str):
        return value
    try:
        return f"={json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True)}"
    except (TypeError, ValueError, RecursionError) as error:
        raise BotError(
            f"ask: the value of the choice {choice.label!r}: expected a text, other JSON or an Enum member, got "
            f"{type(value).__name__}: {error}"
        ) from error


def _make_conversion(kind: Any) -> Conversion | None:
    if kind is None or kind is str:
        return None
    try:
        return get_conversion(kind)
    except TypeError:
        if callable(kind):
            return Conversion(kind)
        raise BotError(f"ask: type is a function of the text, such as int, and not {kind!r}") from None


def action_name(dialog: DialogId, step: int) -> str:
    """Return the action name of the buttons of a question."""
    return f"{ACTION_PREFIX}{dialog}.{step}"


def parse_action_name(name: str) -> AnsweredAction | None:
    """Return the dialog and step that an action's name refers to, or None for any other action."""
    if not name.startswith(ACTION_PREFIX):
        return None
    dialog_text, _, number = name[len(ACTION_PREFIX) :].rpartition(".")
    dialog = DialogId.parse(dialog_text)
    if dialog is None or not (number.isascii() and number.isdecimal() and len(number) < 5):
        return None
    return AnsweredAction(dialog, int(number))


def words_of(message: Message) -> str:
    """Return the words of a question, without its choices or fields."""
    if isinstance(message, Choices):
        return message.text
    return message.title if isinstance(message, Form) else message.to_text()


def add_line(message: Message, line: str) -> Message:
    """Return a question's message with another line below its text, if it has one."""
    if isinstance(message, Choices | Text):
        return dataclasses.replace(message, text=f"{message.text}\n{line}")
    if isinstance(message, Form):
        return dataclasses.replace(message, title=f"{message.title}\n{line}")
    return message


def offers_of(message: Message) -> list[dict[str, Any]]:
    """Return the quick replies of a question, as they are stored with what its dialog waits for."""
    return serialize_quick_replies([message])


def read_answer(event: Event, text: str, offers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the raw answer in an event: what the user chose, filled in, wrote or sent. ``text`` has no mention."""
    if isinstance(event, ActionEvent):
        is_form = any("fields" in offered for offered in offers)
        return {"values": dict(event.values)} if event.values or is_form else {"value": event.value}
    raw: dict[str, Any] = {"text": text}
    if isinstance(event, MessageEvent):
        if event.attachments:
            raw["files"] = [dataclasses.asdict(item) for item in event.attachments]
        action = resolve_quick_reply(event, text, list(offers))
        if action is not None:
            return {"values": dict(action.values)} if action.values else {"value": action.value}
        if (problem := find_invalid_option(event, text, list(offers))) is not None:
            raw["problem"] = problem[1]
    return raw


def is_chosen(raw: Mapping[str, Any]) -> bool:
    """Return True if an answer chose something that the question offers."""
    return "value" in raw or "values" in raw


def to_json_value(value: Any, what: str) -> Any:
    """Return ``value`` as it comes back from JSON. Raises :class:`BotError`, with ``what``, if it is no JSON."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise BotError(
            f"{what}: expected a result that is JSON (str, number, bool, None, list, dict), got "
            f"{type(value).__name__}: {error}. Return an id, and load the object again where you need it"
        ) from error


def _form_fields(form_class: Any) -> list[Field]:
    hints = typing.get_type_hints(form_class)
    return [_form_field(item, hints[item.name]) for item in dataclasses.fields(form_class) if item.init]


def _form_field(item: dataclasses.Field[Any], annotation: Any) -> Field:
    has_default = item.default is not dataclasses.MISSING or item.default_factory is not dataclasses.MISSING
    label = str(item.metadata.get("label", item.name.replace("_", " ").capitalize()))
    many = _item_type(annotation)
    single, is_optional = _without_none(annotation if many is None else many)
    default = "" if item.default in (dataclasses.MISSING, None) else str(item.default)
    optional = has_default or is_optional
    options = _options(single)
    if not options:
        if many is not None:
            raise BotError(f"ask: the field {item.name}: a list needs Literal[…] or an Enum, not {single!r}")
        return Field(item.name, label, default=default, optional=optional)
    kind: Literal["select", "checkbox"] = "select" if many is None else "checkbox"
    return Field(item.name, label, kind, options, default=default, optional=optional)


def _options(annotation: Any) -> tuple[str, ...]:
    try:
        return get_conversion(annotation).options
    except TypeError:
        raise BotError(
            f"ask: a form's field is a str, int, float, bool, Decimal, date, datetime, an Enum or Literal[…], "
            f"not {annotation!r}"
        ) from None


def _item_type(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) in (list, tuple) and get_args(annotation) else None


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation, False
    parts = [part for part in get_args(annotation) if part is not types.NoneType]
    return parts[0] if len(parts) == 1 else annotation, len(parts) < len(get_args(annotation))


def _fill(form_class: Any, values: Mapping[str, str]) -> Any:
    """Return the object that a form fills in. Raises :class:`InvalidAnswer` for a value that does not convert."""
    hints = typing.get_type_hints(form_class)
    filled: dict[str, Any] = {}
    for item in dataclasses.fields(form_class):
        text = values.get(item.name, "").strip()
        if not text or not item.init:
            continue
        many = _item_type(hints[item.name])
        single, _ = _without_none(hints[item.name] if many is None else many)
        conversion = get_conversion(single)
        try:
            words = [text] if many is None else [word.strip() for word in text.split(",") if word.strip()]
            converted = [conversion.convert(word) for word in words]
        except (ValueError, ArithmeticError) as error:
            label = item.metadata.get("label", item.name.replace("_", " "))
            raise InvalidAnswer(f"{label}: please write {conversion.expects}.") from error
        filled[item.name] = converted if many is not None else converted[0]
    try:
        return form_class(**filled)
    except TypeError:
        missing = [item.name for item in dataclasses.fields(form_class) if item.init and item.name not in filled]
        raise InvalidAnswer(f"Please fill in: {', '.join(missing)}.") from None
