"""Quick replies and forms in tests: finds the button that is meant, and validates form values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cometbot.errors import BotError
from cometbot.field_values import choices_of, field_from_json, option_value
from cometbot.fields import NO, Field, FieldDefault, format_value
from cometbot.messages import Form, QuickReply
from cometbot.steps import Waiting
from cometbot.testing.replies import SentMessage

FormAnswer = FieldDefault
"""What a test fills in in a field: a text, a number, a date, a time, a bool, or a list of options."""


def find_quick_reply(
    wanted: str | int, said: Sequence[SentMessage], stored: Any
) -> tuple[SentMessage | None, QuickReply]:
    """Return the newest quick reply with that label or number, and its message (None if it is shown as text).

    It is one of the messages ``said``, or of those ``stored`` by the bot. A number refers to the newest message with
    quick replies. Raises :class:`BotError` if there is none.
    """
    found: list[tuple[SentMessage | None, Sequence[QuickReply]]] = [
        (message, message.offers) for message in reversed(said) if message.offers
    ]
    found += [(None, offers) for offers in _parse_offers(stored)]
    for message, offers in found[:1] if isinstance(wanted, int) else found:
        for offer in offers:
            if wanted in (offer.number, offer.label):
                return message, offer
    links = {label: url for message in said for label, url in message.links.items()}
    if wanted in links:
        raise BotError(f"the button {wanted!r} opens {links[str(wanted)]} and sends the bot nothing")
    labels = [f"{offer.number} {offer.label!r}" for offer in found[0][1]] if found else []
    raise BotError(f"no button or choice {wanted!r}; available: {', '.join(labels) or 'none'}")


def fill_form(
    values: Mapping[str, FormAnswer], said: Sequence[SentMessage], stored: Any
) -> tuple[SentMessage | None, dict[str, str]]:
    """Return the message of the newest form (None if it is shown as text), and the values as the bot receives them."""
    message = next((message for message in reversed(said) if isinstance(message.message, Form)), None)
    if message is not None and isinstance(message.message, Form):
        return message, _field_values(values, message.message.fields)
    fields = next((item["fields"] for item in reversed(stored or ()) if "fields" in item), None)
    if fields is None:
        raise BotError("there is no form here")
    return None, _field_values(values, list(map(field_from_json, fields)))


def answer_field(values: Mapping[str, FormAnswer], waiting: Waiting) -> str:
    """Return the text that answers the field of a form that is asked."""
    unknown = [name for name in values if name not in (*waiting.fields, *waiting.filled)]
    if unknown:
        raise _unknown_fields(unknown, (*waiting.filled, *waiting.fields))
    text = format_value(values.get(waiting.asked_field)) or waiting.skip
    if not text:
        raise BotError(f"missing form fields: {waiting.asked_field}")
    return text


def _field_values(values: Mapping[str, FormAnswer], fields: Iterable[Field]) -> dict[str, str]:
    known = {field.name: field for field in fields}
    unknown = [name for name in values if name not in known]
    if unknown:
        raise _unknown_fields(unknown, known)
    answers = {name: _field_value(field, values.get(name, field.default)) for name, field in known.items()}
    missing = [name for name, field in known.items() if not answers[name] and not field.optional]
    if missing:
        raise BotError(f"missing form fields: {', '.join(missing)}")
    return answers


def _unknown_fields(unknown: Iterable[str], known: Iterable[str]) -> BotError:
    return BotError(f"the form has no field {', '.join(unknown)}; it has: {', '.join(known)}")


def _field_value(field: Field, given: FormAnswer) -> str:
    """Return the value that a platform's form submits: a user can choose only options, but write any text."""
    if field.kind == "checkbox":
        return format_value(given) or NO
    if not field.options or given == field.default:
        return format_value(given)
    options = {word: option_value(option) for option in choices_of(field) for word in (option.value, option.label)}
    chosen = [str(word) for word in given] if isinstance(given, list | tuple) else [str(given)]
    wrong = [word for word in chosen if word not in options]
    if wrong:
        labels = ", ".join(option.label for option in choices_of(field))
        raise BotError(f"{field.name} has no option {', '.join(wrong)}; it has: {labels}")
    return ", ".join(options[word] for word in chosen)


def _parse_offers(stored: Any) -> list[list[QuickReply]]:
    lists = [item["offers"] for item in reversed(stored or ()) if "offers" in item]
    return [
        [QuickReply(label, name, value, number) for number, (label, name, value) in enumerate(offers, start=1)]
        for offers in lists
    ]
