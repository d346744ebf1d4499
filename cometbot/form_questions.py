"""A form as a question of ``ctx.ask``: it is shown whole, or asked field by field, with the same answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cometbot.dataclass_forms import ClassForm, make_class_form
from cometbot.errors import FieldError
from cometbot.field_values import (
    InvalidValue,
    choices_of,
    describe_value,
    label_of,
    labels_of,
    normalize_value,
    normalize_values,
    parse_value,
)
from cometbot.fields import NO, YES, Choice, Field
from cometbot.messages import Choices, Form, Message, Text, paragraphs
from cometbot.prompts import Accepted, InvalidAnswer, Prompt, check_valid
from cometbot.text import normalize_text

MAX_LENGTH = 50_000
"""The characters that all values of one form may have together."""

_FILL_TEXT = "Please fill in the form."
_TEXT_TEXT = "Please answer with a text."
_SEVERAL_HINT = "Answer with the numbers or names, such as 1, 2."


@dataclass(frozen=True)
class FormQuestion:
    """A form that is asked. Its values are stored as texts, by field name, whether it is shown whole or not."""

    form: Form
    class_form: ClassForm | None = None
    validate: Callable[[Any], Any] | None = None
    invalid_text: str = ""

    @property
    def identity(self) -> str:
        """A text that is the same for the same question."""
        return f"Form {self.form.to_text()} None"

    def parse(self, raw: Mapping[str, Any]) -> Any:
        """Return the value of an answer that was accepted before.

        Raises :class:`InvalidValue` if the form has changed so that the answer does not fit.
        """
        texts: Mapping[str, str] = raw["values"]
        missing = [item.name for item in self.form.fields if item.name not in texts and not _can_skip(item)]
        if missing:
            raise InvalidValue(f"the stored answer has no value for {', '.join(missing)}")
        known = {item.name: texts.get(item.name, str(item.default)) for item in self.form.fields}
        if self.class_form is not None:
            return self.class_form.fill(known)
        try:
            return {item.name: parse_value(item, known[item.name]) for item in self.form.fields}
        except ValueError as error:
            raise InvalidValue(str(error)) from error

    def prompt(self, shows_forms: bool) -> Prompt:
        """Return what is shown first: the form, or its first field."""
        return self._prompt(shows_forms, {}, "")

    def answer(self, raw: Mapping[str, Any], before: Prompt, shows_forms: bool) -> Accepted | Prompt:
        """Return the accepted answer, or the next field to ask. ``before`` was shown, ``raw`` has come.

        Raises :class:`InvalidAnswer`, whose prompt asks again for what is wrong; what is right stays filled in.
        """
        if "values" in raw:
            return self._answer_whole(raw["values"], shows_forms)
        if before.asked_field:
            return self._answer_field(raw, before, shows_forms)
        raise self._invalid(_FILL_TEXT, {}, shows_forms)

    def _answer_whole(self, written: Mapping[str, str], shows_forms: bool) -> Accepted:
        found = normalize_values(self.form.fields, written, can_clear=True)
        for item in self.form.fields:
            if item.name in found.texts and (problem := self._find_problem(item, found.texts[item.name])):
                found.errors[item.name] = problem
                del found.texts[item.name]
        if not found.is_complete:
            raise self._invalid(found.describe(self.form.fields), found.texts, shows_forms)
        return self._accept(found.texts, shows_forms, is_whole=True)

    def _answer_field(self, raw: Mapping[str, Any], before: Prompt, shows_forms: bool) -> Accepted | Prompt:
        filled = self._find_valid(before.filled)
        field = next((item for item in self.form.fields if item.name == before.asked_field), None)
        if field is not None:  # else the form has changed
            text = str(raw.get("value", raw.get("text", "")))
            try:
                filled = self._add(field, text, filled)
            except InvalidValue as error:
                raise self._invalid(f"{label_of(field)}: {error}", filled, shows_forms, field) from error
        if len(filled) < len(self.form.fields):
            return self._prompt(shows_forms, filled, "", is_first=False)
        return self._accept(filled, shows_forms, is_whole=False)

    def _add(self, field: Field, written: str, filled: Mapping[str, str]) -> dict[str, str]:
        """Return ``filled`` with what was written as the answer for one field."""
        texts = {**filled, field.name: self._read(field, written)}
        if sum(map(len, texts.values())) > MAX_LENGTH:
            raise InvalidValue(f"all answers have at most {MAX_LENGTH} characters together. Please be brief.")
        return texts

    def _read(self, field: Field, written: str) -> str:
        """Return the text of a value that was written as the answer for one field."""
        text = written.strip()
        is_skipped = _can_skip(field) and normalize_text(text) == normalize_text(self.form.skip)
        if is_skipped:
            text = str(field.default)
        elif not text:
            raise InvalidValue(_TEXT_TEXT)
        value = normalize_value(field, text, is_numbered=True)
        if not value:
            return NO if field.kind == "checkbox" else ""
        if problem := self._find_problem(field, value):
            raise InvalidValue(problem)
        return value

    def _find_problem(self, field: Field, text: str) -> str:
        """Return what the author's conversion or ``validate`` of a field has against a value, empty for nothing."""
        try:
            value = self._convert(field, text)
            if field.validate is not None and text:
                check_valid(field.validate, value, "")
        except (InvalidValue, InvalidAnswer, FieldError) as error:
            return str(error)
        return ""

    def _convert(self, field: Field, text: str) -> Any:
        if self.class_form is None or not text:
            return parse_value(field, text)
        return self.class_form.convert(field.name, text)

    def _find_valid(self, filled: Mapping[str, str]) -> dict[str, str]:
        """Return what earlier answers have filled in, as far as today's form still has it."""
        known = [item for item in self.form.fields if item.name in filled]
        return normalize_values(known, filled, can_clear=True).texts

    def _accept(self, texts: Mapping[str, str], shows_forms: bool, *, is_whole: bool) -> Accepted:
        """Return the answer if the author's checks of the whole form accept it."""
        if sum(map(len, texts.values())) > MAX_LENGTH:
            text = f"The answers have more than {MAX_LENGTH} characters together. Please be brief."
            raise self._invalid(text, {}, shows_forms)
        raw = {"values": dict(texts)}
        try:
            value = self.parse(raw)
            check_valid(self.validate, value, self.invalid_text)
        except FieldError as error:
            raise self._invalid_field(error, texts, shows_forms) from error
        except InvalidAnswer as error:
            raise self._invalid(str(error), texts if is_whole else {}, shows_forms) from error
        except ValueError as error:  # of a dataclass
            text = self.invalid_text or str(error)
            raise self._invalid(text, texts if is_whole else {}, shows_forms) from error
        return Accepted(raw, value)

    def _invalid_field(self, error: FieldError, texts: Mapping[str, str], shows_forms: bool) -> InvalidAnswer:
        field = next((item for item in self.form.fields if item.name == error.field), None)
        right = {name: text for name, text in texts.items() if name != error.field}
        label = f"{label_of(field)}: " if field is not None else ""
        return self._invalid(f"{label}{error}", right, shows_forms, field)

    def _invalid(
        self, text: str, filled: Mapping[str, str], shows_forms: bool, field: Field | None = None
    ) -> InvalidAnswer:
        return InvalidAnswer(text, self._prompt(shows_forms, filled, text, field=field))

    def _prompt(
        self,
        shows_forms: bool,
        filled: Mapping[str, str],
        problem: str,
        *,
        field: Field | None = None,
        is_first: bool = True,
    ) -> Prompt:
        """Return the form with what is filled in, or the question for ``field``, else for the first one left."""
        left = [item for item in self.form.fields if item.name not in filled] or [*self.form.fields]
        if shows_forms:
            fields = [
                dataclasses.replace(item, default=filled.get(item.name, item.default), validate=None)
                for item in self.form.fields
            ]
            message: Message = dataclasses.replace(self.form, title=problem or self.form.title, fields=fields)
            return Prompt(message, self.form.title, fields=tuple(item.name for item in self.form.fields))
        item = field or left[0]
        head = problem or (self.form.title if is_first else "")
        message = _make_field_question(self.form, item, head, has_label=field is None or not problem)
        text = f"{self.form.title}: {label_of(item)}"
        skip = self.form.skip if _can_skip(item) else ""
        return Prompt(message, text, item.name, dict(filled), tuple(one.name for one in left), skip)


def make_form_question(
    asked: Any, action: str, validate: Callable[[Any], Any] | None, invalid_text: str
) -> FormQuestion | None:
    """Return the question of a :class:`Form` or a dataclass, or None for anything else."""
    if isinstance(asked, Form):
        return FormQuestion(dataclasses.replace(asked, action=action), None, validate, invalid_text)
    if isinstance(asked, type) and dataclasses.is_dataclass(asked):
        made = make_class_form(asked)
        form = dataclasses.replace(made.form, action=action)
        return FormQuestion(form, dataclasses.replace(made, form=form), validate, invalid_text)
    return None


def _make_field_question(form: Form, field: Field, head: str, *, has_label: bool) -> Message:
    """Return the question for one field, below ``head``; a question that is repeated needs no label."""
    notes = [describe_value(field)] if field.kind != "checkbox" else []
    if _can_skip(field) and field.kind != "checkbox":
        given = labels_of(field, str(field.default))
        notes.append(f"“{form.skip}” {f'for {given}' if given else 'to leave it out'}")
    note = ", ".join(filter(None, notes))
    line = f"{label_of(field)}{f' ({note})' if note else ''}" if has_label else ""
    options = choices_of(field)
    if field.kind == "checkbox":
        options = [Choice("Yes", YES), Choice("No", NO)]
    if field.kind == "multi_select":
        listed = [f"{number}. {option.label}" for number, option in enumerate(options, start=1)]
        return Text(paragraphs(head, line, *listed, _SEVERAL_HINT))
    if not options:
        return Text(paragraphs(head, line))
    if _can_skip(field) and field.kind == "select":
        options = [*options, Choice(form.skip, form.skip)]
    return Choices(paragraphs(head, line), options, action=f"{form.action}:{field.name}")


def _can_skip(field: Field) -> bool:
    return field.optional or bool(field.default)
