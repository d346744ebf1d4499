"""Quick replies and forms in tests: finds the button that is meant, and validates form values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cometbot.errors import BotError
from cometbot.messages import Choice, Field, Form, QuickReply
from cometbot.testing.replies import SentMessage

Answer = str | Sequence[str]


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
    values: Mapping[str, Answer], said: Sequence[SentMessage], stored: Any
) -> tuple[SentMessage | None, dict[str, str]]:
    """Return the message of the newest form (None if it is shown as text), and the values as the bot receives them."""
    message = next((message for message in reversed(said) if isinstance(message.message, Form)), None)
    if message is not None and isinstance(message.message, Form):
        return message, _field_values(values, message.message.fields)
    fields = next((item["fields"] for item in reversed(stored or ()) if "fields" in item), None)
    if fields is None:
        raise BotError("there is no form here")
    return None, _field_values(values, [_parse_field(field) for field in fields])


def _field_values(values: Mapping[str, Answer], fields: Iterable[Field]) -> dict[str, str]:
    known = {field.name: field for field in fields}
    unknown = [name for name in values if name not in known]
    if unknown:
        raise BotError(f"the form has no field {', '.join(unknown)}; it has: {', '.join(known)}")
    answers = {name: _field_value(field, values.get(name, field.default)) for name, field in known.items()}
    missing = [name for name, field in known.items() if not answers[name] and not field.optional]
    if missing:
        raise BotError(f"missing form fields: {', '.join(missing)}")
    return answers


def _field_value(field: Field, given: Answer) -> str:
    if field.kind == "text" or given == field.default:
        return str(given)
    options = {
        word: option.value or option.label for option in _choices(field) for word in (option.value, option.label)
    }
    chosen = [given] if isinstance(given, str) else list(given)
    wrong = [word for word in chosen if word not in options]
    if wrong:
        labels = ", ".join(option.label for option in _choices(field))
        raise BotError(f"{field.name} has no option {', '.join(wrong)}; it has: {labels}")
    return ", ".join(options[word] for word in chosen)


def _choices(field: Field) -> list[Choice]:
    return [option for option in field.options if isinstance(option, Choice)]


def _parse_offers(stored: Any) -> list[list[QuickReply]]:
    lists = [item["offers"] for item in reversed(stored or ()) if "offers" in item]
    return [
        [QuickReply(label, name, value, number) for number, (label, name, value) in enumerate(offers, start=1)]
        for offers in lists
    ]


def _parse_field(stored: Mapping[str, Any]) -> Field:
    options = [Choice(label, value) for label, value in stored["options"]]
    return Field(stored["name"], stored["label"], stored["kind"], options, stored["default"], stored["optional"])
