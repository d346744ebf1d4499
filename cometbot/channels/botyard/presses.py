"""A pressed button, a chosen option, a sent form: checked against the message that it stands in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cometbot.channels.botyard.refusals import Refusal

Content = Mapping[str, Any]


def check_action(content: Content | None, name: str, value: str, values: Mapping[str, str]) -> dict[str, Any]:
    """The action as the bot gets it: ``name``, ``value``, and a form's ``values`` by the names of its fields.

    Raises :class:`Refusal` where the message with this ``content`` offers no such thing, so that nobody sends a bot
    what it never asked for.
    """
    shown = content or {}
    if shown.get("kind") == "form" and shown.get("action") == name:
        filled = {field["name"]: _filled(field, values.get(field["name"], "")) for field in shown["fields"]}
        return {"name": name, "value": "", "values": filled}
    if (name, value) not in set(_offers(shown)):
        raise Refusal(400, "There is no such button in that message.")
    return {"name": name, "value": value, "values": {}}


def _offers(content: Content) -> Iterator[tuple[str, str]]:
    for card in (content, *content.get("cards", ())):
        for item in (*card.get("buttons", ()), *card.get("options", ())):
            if "action" in item:
                yield item["action"], item["value"]


def _filled(field: Mapping[str, Any], given: str) -> str:
    value = given.strip() or str(field["default"])
    label = field["label"]
    if not value and not field["optional"]:
        raise Refusal(400, f"{label} must be filled in.")
    allowed = {option["value"] for option in field["options"]}
    chosen = value.split(", ") if field["kind"] == "checkbox" else [value]
    if value and field["kind"] != "text" and not allowed.issuperset(chosen):
        raise Refusal(400, f"{label} must be one of: {', '.join(sorted(allowed))}.")
    return value
