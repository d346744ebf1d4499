"""The webhooks that CometChat documents, each with the event that it must become: ``tests/data/cometchat_webhooks``.

Their structure and types are as documented, names and ids those of the tests: the bot ``helpdesk`` and the users ann
and tom, who share the group hiking with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from cometbot.events import Event
from cometbot.models import Conversation, Group, User

APP = "2248348660ad9bd4"
BOT = "helpdesk"
REACTED_MESSAGE = "57"
"""The id of the bot's own message that the samples of reactions name."""

_FOLDER = Path(__file__).parent / "data" / "cometchat_webhooks"

JOINED: dict[str, Any] = {
    "trigger": "group_member_joined",
    "data": {"group": {"guid": "hiking", "name": "Hiking"}, "members": {BOT: {"uid": BOT, "name": "Helpdesk"}}},
    "appId": APP,
    "region": "eu",
    "webhook": "w1",
}
"""The webhook that makes the group hiking one of the bot's."""


@dataclass(frozen=True)
class Sample:
    """One documented webhook: the class of its event and the event's fields, as :func:`describe` shows them."""

    name: str
    source: str
    event: str
    fields: Mapping[str, Any]
    payload: Mapping[str, Any]

    @property
    def trigger(self) -> str:
        return str(self.payload["trigger"])

    def check(self, shown: Mapping[str, Any]) -> None:
        """Check an event that :func:`describe` has shown."""
        assert shown["class"] == self.event
        expected = {name: _subset(value, shown.get(name)) for name, value in self.fields.items()}
        assert expected == self.fields


def load_samples() -> dict[str, Sample]:
    """Return all samples by name."""
    found = sorted(_FOLDER.glob("*.json"))
    return {path.stem: Sample(path.stem, **json.loads(path.read_text())) for path in found}


def describe(event: Event) -> dict[str, Any]:
    """Return an event as JSON: users, groups and conversations by their ids, without what the platform sent."""
    return {"class": type(event).__name__, **_to_json(event)}


def _to_json(value: Any) -> Any:
    if isinstance(value, Conversation):
        return value.id
    if isinstance(value, User):
        return value.uid
    if isinstance(value, Group):
        return value.guid
    if is_dataclass(value):
        return {item.name: _to_json(getattr(value, item.name)) for item in fields(value) if item.name != "raw"}
    if isinstance(value, Mapping):
        return {name: _to_json(item) for name, item in value.items()}
    return [_to_json(item) for item in value] if isinstance(value, list | tuple) else value


def _subset(expected: Any, shown: Any) -> Any:
    """Return what ``shown`` has for the keys of ``expected``, so that a difference is easily read."""
    if isinstance(expected, Mapping) and isinstance(shown, Mapping):
        return {name: _subset(value, shown.get(name)) for name, value in expected.items()}
    if isinstance(expected, list) and isinstance(shown, list) and len(expected) == len(shown):
        return [_subset(*pair) for pair in zip(expected, shown, strict=True)]
    return shown
