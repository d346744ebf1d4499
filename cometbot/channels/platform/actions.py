"""Validates a button, option or form against the message that contains it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cometbot.channels.platform.errors import ApiError

Content = Mapping[str, Any]

_OPTION_SEPARATOR = ", "


def validate_action(content: Content | None, name: str, value: str, values: Mapping[str, str]) -> dict[str, Any]:
    """Return the action as the bot receives it: ``name``, ``value``, and a form's ``values`` by field name.

    Raises :class:`ApiError` if the message with this ``content`` does not offer the action, so a bot receives only
    actions that it has offered.
    """
    shown = content or {}
    if shown.get("kind") == "form" and shown.get("action") == name:
        valid_values = {field["name"]: _validate_field(field, values.get(field["name"])) for field in shown["fields"]}
        return {"name": name, "value": "", "values": valid_values}
    if (name, value) not in set(_available_actions(shown)):
        raise ApiError(400, "There is no such button in that message.")
    return {"name": name, "value": value, "values": {}}


def _available_actions(content: Content) -> Iterator[tuple[str, str]]:
    for card in (content, *content.get("cards", ())):
        for item in (*card.get("buttons", ()), *card.get("options", ())):
            if "action" in item:
                yield item["action"], item["value"]


def _validate_field(field: Mapping[str, Any], submitted: str | None) -> str:
    """Return the value of a field.

    The default applies only if the field was not submitted, since a user may clear it.
    """
    value = str(field["default"]) if submitted is None else submitted.strip()
    label = field["label"]
    if not value and not field["optional"]:
        raise ApiError(400, f"{label} must be filled in.")
    allowed = [str(option["value"]) for option in field["options"]]
    is_multiple = field["kind"] == "checkbox"
    if value and field["kind"] != "text" and not (_is_option_list(value, allowed) if is_multiple else value in allowed):
        raise ApiError(400, f"{label} must be one of: {', '.join(sorted(allowed))}.")
    return value


def _is_option_list(value: str, allowed: Sequence[str]) -> bool:
    """Return whether ``value`` consists of options in ``allowed``, separated by ``", "``.

    The options themselves may contain the separator.
    """
    begins, seen = [0], {0}
    while begins:
        begin = begins.pop()
        ends = {begin + len(option) for option in allowed if option and value.startswith(option, begin)}
        if len(value) in ends:
            return True
        after = {end + len(_OPTION_SEPARATOR) for end in ends if value.startswith(_OPTION_SEPARATOR, end)} - seen
        seen |= after
        begins += after
    return False
