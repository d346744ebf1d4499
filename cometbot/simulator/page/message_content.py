"""What the page shows of a message beside CometChat's data: its Markdown as HTML, and its quick replies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from cometbot.http.page.markdown import to_html
from cometbot.messages import Form

JsonObject = dict[str, Any]

_CHOICES_HINT = re.compile(r"Answer ([0-9]{1,4}) for “.+”, or write it out\.")
_CHOICE = re.compile(r"([0-9]{1,4})\. (.+)")
_FIELD = re.compile(r"([^:]+):(?: \((.*)\))?")
_OPTIONAL = re.compile(r"(?:^|, )optional$")
_KINDS = {
    "one of ": "select",
    "any of ": "multi_select",
    "a number": "number",
    "a date": "date",
    "a time": "time",
    "yes or no": "checkbox",
    "an e-mail address": "email",
    "a phone number": "phone",
}
"""The kinds of fields by what their lines say is expected."""


def with_content(message: JsonObject) -> JsonObject:
    """Return a message's JSON with what the page shows.

    ``html`` is the text as safe HTML. ``quickReplies`` are the parts of a text that offers something to answer with:
    ``text``, ``choices`` and ``form``, in the form that the web chat has. ``hasQuickReplies`` is True for all messages
    whose quick replies can expire. The Markdown of cards and interactive messages gets its own ``html``.
    """
    data = message.get("data")
    if message.get("deletedAt") or not isinstance(data, Mapping):
        return message
    text = _text(data)
    shown = {**message, "html": _html(text), "hasQuickReplies": False}
    if message["category"] == "message":
        shown["hasQuickReplies"] = _has_hint(text)
        shown["quickReplies"] = quick_replies(text) if message["type"] == "text" else None
    elif message["category"] == "interactive":
        interactive = data.get("interactiveData")
        interactive = interactive if isinstance(interactive, Mapping) else {}
        shown["hasQuickReplies"] = _has_hint(_text(interactive))
        shown["data"] = {**data, "interactiveData": {**interactive, "html": _html(_text(interactive))}}
    elif message["category"] == "card":
        shown["hasQuickReplies"] = _contains(data.get("card"), "sendMessage")
        shown["data"] = {**data, "card": _card_with_html(data.get("card"))}
    return shown


def quick_replies(text: str) -> list[JsonObject] | None:
    """Return the parts of a text that :meth:`cometbot.messages.Message.to_text` made of choices, cards or a form."""
    *lines, last = text.split("\n")
    if hint := _CHOICES_HINT.fullmatch(last):
        return _choices(lines, int(hint[1]))
    return _form(lines) if last == Form.HINT else None


def _has_hint(text: str) -> bool:
    last = text.rpartition("\n")[2]
    return last == Form.HINT or _CHOICES_HINT.fullmatch(last) is not None


def _choices(lines: list[str], count: int) -> list[JsonObject] | None:
    """Return the choices 1 to ``count``, which stand in one or more lists, with the text around each list."""
    options: dict[int, JsonObject] = {}
    number = count
    for index, line in reversed(list(enumerate(lines))):
        found = _CHOICE.fullmatch(line)
        if number and found and int(found[1]) == number:
            options[index] = {"number": number, "label": found[2]}
            number -= 1
    if number:
        return None
    labels = [option["label"].lower() for option in options.values()]
    for option in options.values():
        is_unique = labels.count(option["label"].lower()) == 1
        option["value"] = option["label"] if is_unique else str(option["number"])
    return list(_parts(lines, options))


def _parts(lines: list[str], options: dict[int, JsonObject]) -> Iterator[JsonObject]:
    in_list = [False]
    for index, line in enumerate(lines):
        in_list.append(index in options or (in_list[-1] and not line.strip()))
    for is_list, indices in groupby(range(len(lines)), key=in_list[1:].__getitem__):
        if is_list:
            yield {"kind": "choices", "options": [options[index] for index in indices if index in options]}
        elif html := _html("\n".join(lines[index] for index in indices)):
            yield {"kind": "text", "html": html}


def _form(lines: list[str]) -> list[JsonObject] | None:
    """Return the title and the form. The title is the first line, which may end with a colon like a field."""
    start = next((index for index, line in enumerate(lines) if index and _FIELD.fullmatch(line)), 0)
    found = [_FIELD.fullmatch(line) for line in lines[start:] if line]
    fields = [_field(match[1], match[2] or "") for match in found if match]
    if not start or len(fields) < len(found):
        return None
    return [{"kind": "text", "html": _html("\n".join(lines[:start]))}, {"kind": "form", "fields": fields}]


def _field(label: str, note: str) -> JsonObject:
    expected = _OPTIONAL.sub("", note)
    kind = next((kind for prefix, kind in _KINDS.items() if expected.startswith(prefix)), "text")
    has_options = kind in ("select", "multi_select")
    options = expected.partition(" of ")[2].split(" / ") if has_options else []
    return {
        "name": label,
        "label": label,
        "kind": kind,
        "options": [{"label": option, "value": option} for option in options],
        "optional": expected != note,
        "hint": "" if has_options else expected,
    }


def _card_with_html(value: Any) -> Any:
    if isinstance(value, Mapping):
        copied = {name: _card_with_html(item) for name, item in value.items()}
        is_markdown = value.get("type") == "markdown"
        return {**copied, "html": _html(str(value.get("content") or ""))} if is_markdown else copied
    return [_card_with_html(item) for item in value] if isinstance(value, list | tuple) else value


def _contains(value: Any, wanted: str) -> bool:
    if isinstance(value, Mapping):
        value = list(value.values())
    return any(_contains(item, wanted) for item in value) if isinstance(value, list | tuple) else value == wanted


def _text(data: Mapping[str, Any]) -> str:
    return str(data.get("text") or "")


def _html(text: str) -> str:
    return to_html(text, mentions=True)
