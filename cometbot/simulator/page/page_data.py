"""What the page shows of the simulated app, as JSON: people, messages, rules, and the entries of the log."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cometbot.simulator.journal import ChangeEntry, Entry
from cometbot.simulator.records import StoredMessage
from cometbot.simulator.world import World

if TYPE_CHECKING:
    from cometbot.simulator.simulator import Simulator

MAX_FIRST_MESSAGES = 1000
"""How many of the newest messages a page begins with."""

MESSAGES_PER_PAGE = 100
"""How many older messages of a conversation a page gets at once."""

MAX_FIRST_ENTRIES = 300
"""How many of the newest callbacks and REST calls a page begins with."""


def snapshot(simulator: Simulator) -> dict[str, Any]:
    """All that a page begins with: what is stored by now, and the id of the newest log entry, from where it follows."""
    world = simulator.world
    with world.condition:
        numbers = world.message_store.numbers()[-MAX_FIRST_MESSAGES:]
        found = [world.message_store[number] for number in numbers]
        since = world.journal.last_id
        logged = [*simulator.callbacks[-MAX_FIRST_ENTRIES:], *simulator.requests[-MAX_FIRST_ENTRIES:]]
        return {
            "run": run_name(simulator),
            "appId": simulator.app_id,
            "lastId": since,
            "directory": directory(world),
            "messages": [message_json(world, message) for message in found if not message.is_action],
            "hasEarlier": len(world.message_store) > len(numbers),
            "entries": [entry.to_json() for entry in sorted(logged, key=lambda entry: entry.id)],
        }


def earlier_messages(world: World, conversation: str, before: int) -> dict[str, Any]:
    """The messages of a conversation before an id, newest pageful, oldest first; ``more``: there are older ones."""
    with world.condition:
        numbers = world.message_store.numbers(conversation)
        end = bisect_left(numbers, before)
        begin = max(0, end - MESSAGES_PER_PAGE)
        found = [world.message_store[number] for number in numbers[begin:end]]
        return {
            "messages": [message_json(world, message) for message in found if not message.is_action],
            "before": found[0].number if found else before,
            "more": begin > 0,
        }


def run_name(simulator: Simulator) -> str:
    """A name that changes when the simulator is another one, or has forgotten everything: ids begin anew then."""
    return f"{simulator.name}-{simulator.world.generation}"


def directory(world: World) -> dict[str, Any]:
    """Who there is. Called with the world's lock held."""
    people, bots = world.directory, world.directory.bots
    return {
        "users": [
            {"uid": user.uid, "name": user.name, "avatar": user.avatar, "isBot": user.uid in bots}
            for user in people.users.values()
            if user.is_active
        ],
        "groups": [
            {"guid": group.guid, "name": group.name, "type": group.type, "members": list(group.members)}
            for group in people.groups.values()
        ],
        "bots": [
            {"uid": bot.uid, "enabled": bot.enabled, "groupSetting": bot.group_chat_setting, "url": bot.webhook_url}
            for bot in bots.values()
        ],
    }


def message_json(world: World, message: StoredMessage) -> dict[str, Any]:
    """A message as CometChat shows it, and in ``reactedBy`` who reacted how. Called with the world's lock held."""
    reacted: dict[str, list[str]] = {}
    for reaction in message.reactions:
        reacted.setdefault(reaction.reaction, []).append(reaction.uid)
    return {**world.serializer.message(message, with_tags=True), "reactedBy": reacted}


def entry_json(world: World, entry: Entry) -> dict[str, Any]:
    """A log entry; of a change to a message only its name and the message as it is by now."""
    if not isinstance(entry, ChangeEntry):
        return entry.to_json()
    shown: dict[str, Any] = {"kind": "change", "id": entry.id, "at": entry.at, "trigger": entry.trigger}
    message_id = _message_id(entry.data)
    with world.condition:
        message = world.message_store.find(message_id) if message_id else None
        if message is not None:
            shown["message"] = message_json(world, message)
        elif message_id:
            shown["removed"] = message_id
    return shown


def active_rules(simulator: Simulator) -> list[dict[str, Any]]:
    """The rules of misbehaviour that are in force, with what they did so far."""
    return [effect.to_json() for effect in simulator.misbehave.active_rules]


def _message_id(data: Mapping[str, Any]) -> str:
    if "message" in data:
        return str(data["message"]["id"])
    return str(data["reaction"]["messageId"]) if "reaction" in data else ""
