"""The questions of ``ctx.ask``: how they are shown, and how an answer is converted and checked."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cometbot.action_values import decode_value, encode_value
from cometbot.commands import Conversion, get_conversion
from cometbot.errors import BotError
from cometbot.events import ActionEvent, Event, MessageEvent
from cometbot.form_questions import FormQuestion, make_form_question
from cometbot.messages import Choice, Choices, Form, Message, Text
from cometbot.models import Attachment
from cometbot.press_limits import has_limits
from cometbot.prompts import INVALID_TEXT, Accepted, InvalidAnswer, Prompt, check_valid
from cometbot.quick_replies import read_form_lines, resolve_quick_reply, serialize_quick_replies
from cometbot.steps import DialogId

ACTION_PREFIX = "cometbot:ask:"
"""The prefix of the action names of a question's buttons; the dialog and the number of the step follow."""

_DEFAULT_FILE_TEXT = "Please send a file."
_DEFAULT_TEXT_TEXT = "Please answer with a text."
_MAX_SHOWN = 40


@dataclass(frozen=True, slots=True)
class AnsweredAction:
    """The dialog and the step that a button of a question names, and the field of a form that is asked."""

    dialog: DialogId
    step: int
    field: str = ""


@dataclass(frozen=True)
class Question:
    """A question with what makes an answer valid.

    ``message`` is shown; ``convert`` makes the value from the text or the chosen value; ``wants_file`` expects a file
    instead. If choices have values that are no texts, ``values`` has all values by the texts that are sent.
    :class:`FormQuestion` has the same methods.
    """

    message: Message
    convert: Conversion | None = None
    validate: Callable[[Any], Any] | None = None
    invalid_text: str = ""
    wants_file: bool = False
    values: Mapping[str, Any] | None = None

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choices of the question; empty if it has none."""
        options = self.message.options if isinstance(self.message, Choices) else ()
        return tuple(item for item in options if isinstance(item, Choice))

    @property
    def text(self) -> str:
        """The words of the question, without its choices."""
        return words_of(self.message)

    @property
    def identity(self) -> str:
        """A text that is the same for the same question."""
        return f"{type(self.message).__name__} {self.message.to_text()} {self.convert and self.convert.expects}"

    def parse(self, raw: Mapping[str, Any]) -> Any:
        """Return the value of an answer that was accepted before."""
        if self.wants_file:
            return Attachment(**raw["files"][0])
        text = str(raw.get("value", raw.get("text", "")))
        if self.values is not None:
            return self._find_value(text)
        if "value" in raw:
            text = str(decode_value(text))
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
        check_valid(self.validate, value, self.invalid_text)
        return value

    def prompt(self, shows_forms: bool) -> Prompt:
        """Return what is shown first."""
        return Prompt(self.message, self.text)

    def answer(self, raw: Mapping[str, Any], before: Prompt, shows_forms: bool) -> Accepted | Prompt:
        """Return the accepted answer. Raises :class:`InvalidAnswer`, whose prompt has the choices again."""
        try:
            return Accepted(raw, self.check(raw))
        except InvalidAnswer as error:
            raise InvalidAnswer(str(error), Prompt(self._repeat(str(error)), self.text)) from error

    def _repeat(self, text: str) -> Message:
        return dataclasses.replace(self.message, text=text) if isinstance(self.message, Choices) else Text(text)

    def _check_kind(self, raw: Mapping[str, Any]) -> None:
        if self.wants_file:
            if not raw.get("files"):
                raise InvalidAnswer(self.invalid_text or _DEFAULT_FILE_TEXT)
            return
        if self.choices and str(raw.get("value", "")) not in {offer.value for offer in self.message.offers()}:
            labels = ", ".join(choice.label for choice in self.choices)
            raise InvalidAnswer(self.invalid_text or f"Please choose one of: {labels}.")
        if not self.choices and not str(raw.get("value", raw.get("text", ""))).strip():
            raise InvalidAnswer(self.invalid_text or _DEFAULT_TEXT_TEXT)

    def _explain(self, raw: Mapping[str, Any], error: Exception) -> str:
        text = str(raw.get("text", raw.get("value", "")))
        shown = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
        if self.convert is not None and self.convert.expects:
            return f"Please answer with {self.convert.expects}, not “{shown}”."
        return str(error) or INVALID_TEXT


def make_question(
    asked: Any,
    action: str,
    *,
    choices: Sequence[Choice[Any] | str] | None,
    kind: Any,
    validate: Callable[[Any], Any] | None,
    invalid_text: str,
) -> Question | FormQuestion:
    """Return the question of a call of ``ctx.ask``. Raises :class:`BotError` for arguments that do not fit together."""
    if isinstance(asked, Message) and has_limits(asked):
        raise BotError("ask: by, expires and once are for messages that are sent; a question has of= and timeout=")
    if (form := make_form_question(asked, action, validate, invalid_text)) is not None:
        if choices is not None or kind is not None:
            raise BotError("ask: a form has no choices= and no type=; its fields have kinds and options")
        return form
    if choices is not None and not isinstance(asked, str):
        raise BotError(f"ask: with choices, expected the question as a str, got {type(asked).__name__}")
    values = _choice_values(choices or (asked.options if isinstance(asked, Choices) else ()))
    if values is not None and kind is not None:
        raise BotError("ask: type= converts texts, but choices have other values; leave out type=")
    if choices is not None:
        message: Message = Choices(asked, list(choices), action=action)
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
    values: dict[str, Any] = {encode_value(item): item for item in choices if isinstance(item, str)}
    for choice in given:
        text = encode_value(choice.value, f"ask: the value of the choice {choice.label!r}") or choice.label
        if text in values:
            raise BotError(f"ask: expected choices with different values, got {choice.value!r} twice")
        values[text] = choice.value if choice.value != "" else choice.label
    return values


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
    """Return the action name of the buttons of a question; a form that is asked field by field adds the field."""
    return f"{ACTION_PREFIX}{dialog}.{step}"


def parse_action_name(name: str) -> AnsweredAction | None:
    """Return the dialog and step that an action's name refers to, or None for any other action."""
    if not name.startswith(ACTION_PREFIX):
        return None
    place, _, field = name[len(ACTION_PREFIX) :].partition(":")
    dialog_text, _, number = place.rpartition(".")
    dialog = DialogId.parse(dialog_text)
    if dialog is None or not (number.isascii() and number.isdecimal() and len(number) < 5):
        return None
    return AnsweredAction(dialog, int(number), field)


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
        values = {str(name): str(value) for name, value in event.values.items()}
        return {"values": values} if values or is_form else {"value": event.value}
    raw: dict[str, Any] = {"text": text}
    if isinstance(event, MessageEvent):
        if event.attachments:
            raw["files"] = [dataclasses.asdict(item) for item in event.attachments]
        action = resolve_quick_reply(event, text, list(offers))
        if action is not None:
            return {"values": dict(action.values)} if action.values else {"value": action.value}
        if written := read_form_lines(text, offers):
            return {"values": written}
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
