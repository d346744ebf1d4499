"""Convert a text that selects a quick reply, such as ``2``, ``Tea`` or ``Name: Maria``, to an action.

The quick replies of a conversation are valid until the bot sends something else there in reply to a later event. Those
of all messages for one event are valid together: labels and values of all messages count, a number refers to the last
message that has quick replies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cometbot.events import ActionEvent, MessageEvent
from cometbot.matchers import normalize_text
from cometbot.messages import Choice, Choices, Form, Message
from cometbot.state import RESERVED_PREFIX

QUICK_REPLIES_KEY = f"{RESERVED_PREFIX}offers"
"""The state key of a conversation's quick replies, in the form of :func:`serialize_quick_replies`."""

QUESTION_MARK: dict[str, Any] = {"question": True}
"""An entry of a conversation's quick replies: a run that asked a question has offered them, so they are not newer."""

_NUMBER_PATTERN = re.compile(r"([0-9]{1,3})[.)]?")


def serialize_quick_replies(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return the quick replies of ``messages`` as JSON for a conversation's state; empty if there are none."""
    stored: list[dict[str, Any]] = []
    for message in messages:
        if isinstance(message, Form):
            stored.append({"action": message.action, "fields": [_serialize_field(item) for item in message.fields]})
        elif offers := message.offers():
            kind = "choices" if isinstance(message, Choices) else "buttons"
            stored.append({"offers": [[item.label, item.name, item.value] for item in offers], "kind": kind})
    return stored


def resolve_quick_reply(event: MessageEvent, text: str, stored: Any) -> ActionEvent | None:
    """Return the action that ``text`` selects among the ``stored`` quick replies, or None.

    ``event`` is the message that ``text`` comes from. ``text`` has no leading mention.
    """
    if not isinstance(stored, list) or event.type != "text":
        return None
    for offered in reversed(stored):
        if "fields" in offered and (values := _parse_form(text, offered["fields"])) is not None:
            return make_action_event(event, offered["action"], values=values)
    lists = [offered["offers"] for offered in reversed(stored) if "offers" in offered]
    found = _find_by_text(normalize_text(text), lists) or _find_by_number(text.strip(), lists)
    return make_action_event(event, found[1], value=found[2]) if found else None


def find_invalid_option(event: MessageEvent, text: str, stored: Any) -> tuple[ActionEvent, str] | None:
    """Return the action of the ``stored`` form and an error text for the user, or None if nothing is wrong.

    An error is a text that fills in lines of the form and names an option that a field does not have.
    """
    if not isinstance(stored, list) or event.type != "text":
        return None
    form = next((item for item in reversed(stored) if "fields" in item), None)
    if form is None:
        return None
    written = _parse_lines(text, form["fields"])
    problem = _describe_unknown_option(form["fields"], written)
    return (make_action_event(event, form["action"], values=written), problem) if problem else None


def find_unknown_option(form: Form, values: Mapping[str, str]) -> str | None:
    """Return an error text for the user if ``values`` have an option that a field of ``form`` does not have."""
    return _describe_unknown_option([_serialize_field(item) for item in form.fields], values)


def _describe_unknown_option(fields: Iterable[Mapping[str, Any]], values: Mapping[str, str]) -> str | None:
    for field in fields:
        value = values.get(field["name"], "").strip()
        if value and (unknown := _unknown_options(value, field)):
            quoted = " and ".join(f"“{word}”" for word in unknown)
            labels = ", ".join(option[0] for option in field["options"])
            few = "one" if field["kind"] == "select" else "any"
            return f"{field['label'] or field['name']}: {quoted} is not on offer. Choose {few} of: {labels}."
    return None


def _find_by_text(text: str, lists: Sequence[Sequence[list[str]]]) -> list[str] | None:
    for column in (0, 2):
        for offers in lists:
            fitting = [offer for offer in offers if normalize_text(offer[column]) == text]
            if fitting:
                # A label that several quick replies share is ambiguous. Only the number selects one of them.
                return fitting[0] if all(offer[1:] == fitting[0][1:] for offer in fitting) else None
    return None


def _find_by_number(text: str, lists: Sequence[Sequence[list[str]]]) -> list[str] | None:
    found = _NUMBER_PATTERN.fullmatch(text)
    if found is None or not lists or not 1 <= int(found[1]) <= len(lists[0]):
        return None
    return lists[0][int(found[1]) - 1]


def _parse_form(text: str, fields: Sequence[Mapping[str, Any]]) -> dict[str, str] | None:
    written = _parse_lines(text, fields)
    values: dict[str, str] = {}
    for field in fields:
        value = written.get(field["name"], "").strip()
        chosen = _parse_field_value(value, field) if value else field["default"]
        if chosen is None or not (chosen or field["optional"]):
            return None
        values[field["name"]] = chosen
    return values if written else None


def _parse_lines(text: str, fields: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    names = {normalize_text(field[key]): field["name"] for key in ("name", "label") for field in fields if field[key]}
    written: dict[str, str] = {}
    current = ""
    for line in text.splitlines():
        label, colon, value = line.replace("\uff1a", ":", 1).partition(":")
        name = names.get(normalize_text(label.strip(" \t*_>-"))) if colon else None
        if name is not None:
            current = name
            written[current] = value.strip(" \t*_")
        elif current and line.strip(" \t*_>") != Form.HINT:
            written[current] += f"\n{line}"
    return written


def _parse_field_value(value: str, field: Mapping[str, Any]) -> str | None:
    if field["kind"] == "text":
        return value
    if _unknown_options(value, field):
        return None
    options = _values_by_text(field)
    return ", ".join(options[normalize_text(word)] for word in _split_options(value, field))


def _unknown_options(value: str, field: Mapping[str, Any]) -> list[str]:
    if field["kind"] == "text":
        return []
    options = _values_by_text(field)
    return [word for word in _split_options(value, field) if normalize_text(word) not in options]


def _split_options(value: str, field: Mapping[str, Any]) -> list[str]:
    words = [value] if field["kind"] == "select" else re.split(r"[,;\n]", value)
    return [word.strip() for word in words if word.strip()]


def _values_by_text(field: Mapping[str, Any]) -> dict[str, str]:
    return {normalize_text(word): option[1] for option in field["options"] for word in reversed(option)}


def _serialize_field(item: Any) -> dict[str, Any]:
    return {
        "name": item.name,
        "label": item.label,
        "kind": item.kind,
        "optional": item.optional,
        "default": item.default,
        "options": [[o.label, o.value or o.label] for o in item.options if isinstance(o, Choice)],
    }


def make_action_event(
    event: MessageEvent, name: str, *, value: str = "", values: Mapping[str, str] | None = None
) -> ActionEvent:
    """Return the action that a message selects."""
    return ActionEvent(
        key=event.key,
        conversation=event.conversation,
        sender=event.sender,
        group=event.group,
        sent_at=event.sent_at,
        raw=event.raw,
        name=name,
        value=value,
        values=values or {},
        message=event,
        thread_id=event.thread_id,
    )
