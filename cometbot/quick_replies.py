"""Convert a text that selects a quick reply, such as ``2``, ``Tea`` or ``Name: Maria``, to an action.

The quick replies of a conversation are valid until the bot sends something else there in reply to a later event. Those
of all messages for one event are valid together: labels and values of all messages count, a number refers to the last
message that has quick replies. Those with limits are kept longer (``kept``), and have no numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cometbot.events import ActionEvent, MessageEvent
from cometbot.field_values import FormValues, field_from_json, field_to_json, normalize_values
from cometbot.fields import Field
from cometbot.messages import APPROVAL_ACTION, Choices, Form, Message
from cometbot.state import RESERVED_PREFIX
from cometbot.text import normalize_text

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
            stored.append({"action": message.action, "fields": [field_to_json(item) for item in message.fields]})
        elif offers := [item for item in message.offers() if not item.name.startswith(APPROVAL_ACTION)]:
            kind = "choices" if isinstance(message, Choices) else "buttons"
            stored.append({"offers": [[item.label, item.name, item.value] for item in offers], "kind": kind})
    return stored


def resolve_quick_reply(event: MessageEvent, text: str, stored: Any) -> ActionEvent | None:
    """Return the action that ``text`` selects among the ``stored`` quick replies, or None.

    ``event`` is the message that ``text`` comes from. ``text`` has no leading mention.
    """
    if not isinstance(stored, list) or event.type != "text":
        return None
    kept = [offered["offers"] for offered in reversed(stored) if offered.get("kept")]
    stored = [offered for offered in stored if not offered.get("kept")]
    for offered in reversed(stored):
        if "fields" in offered and (values := _parse_form(text, offered["fields"])) is not None:
            return make_action_event(event, offered["action"], values=values)
    lists = [offered["offers"] for offered in reversed(stored) if "offers" in offered]
    written = normalize_text(text)
    found = _find_by_text(written, lists) or _find_by_number(text.strip(), lists) or _find_by_text(written, kept)
    return make_action_event(event, found[1], value=found[2]) if found else None


def find_invalid_value(event: MessageEvent, text: str, stored: Any) -> tuple[ActionEvent, str] | None:
    """Return the action of the ``stored`` form and an error text for the user, or None if nothing is wrong.

    An error is a text that fills in lines of the form with something that does not fit a field.
    """
    if not isinstance(stored, list) or event.type != "text":
        return None
    form = next((item for item in reversed(stored) if "fields" in item), None)
    if form is None:
        return None
    fields = [field_from_json(item) for item in form["fields"]]
    written = _parse_lines(text, fields)
    wrong = FormValues(errors=normalize_values(fields, written, can_clear=False).errors)
    return (make_action_event(event, form["action"], values=written), wrong.describe(fields)) if wrong.errors else None


def read_form_lines(text: str, stored: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return what a text fills in in the lines of the ``stored`` form, as far as it does."""
    described = next((item["fields"] for item in stored if "fields" in item), ())
    written = _parse_lines(text, [field_from_json(item) for item in described])
    return {name: value for name, value in written.items() if value.strip()}


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


def _parse_form(text: str, described: Sequence[Mapping[str, Any]]) -> dict[str, str] | None:
    fields = [field_from_json(item) for item in described]
    written = _parse_lines(text, fields)
    values = normalize_values(fields, written, can_clear=False)
    return values.texts if written and values.is_complete else None


def _parse_lines(text: str, fields: Sequence[Field]) -> dict[str, str]:
    names = {normalize_text(field.name): field.name for field in fields}
    names |= {normalize_text(field.label): field.name for field in fields if field.label}
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
        client_tools=event.client_tools,
        name=name,
        value=value,
        values=values or {},
        message=event,
        thread_id=event.thread_id,
    )
