"""The page's view of the simulated app, as JSON: users, messages, rules, and the entries of the log."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from cometbot.simulator.agent_runs import AgentRun
from cometbot.simulator.journal import ChangeEntry, Entry
from cometbot.simulator.page.message_content import with_content
from cometbot.simulator.records import StoredMessage
from cometbot.simulator.simulated_app import SimulatedApp
from cometbot.simulator.world import World

MAX_FIRST_MESSAGES = 1000
"""Maximum number of the newest messages in a page's first load."""

MESSAGES_PER_PAGE = 100
"""Maximum number of older messages of a conversation in one response."""

MAX_FIRST_ENTRIES = 300
"""Maximum number of the newest callbacks, and of REST calls, in a page's first load."""


def snapshot(simulator: SimulatedApp) -> dict[str, Any]:
    """Return the data of a page's first load, with the id of the newest log entry.

    The event stream continues after that entry.
    """
    world = simulator.world
    with world.condition:
        numbers = world.message_store.numbers()[-MAX_FIRST_MESSAGES:]
        found = [world.message_store[number] for number in numbers]
        since = world.journal.last_id
        logged = [*simulator.callbacks[-MAX_FIRST_ENTRIES:], *simulator.requests[-MAX_FIRST_ENTRIES:]]
        data = {
            "run": run_name(simulator),
            "appId": simulator.app_id,
            "lastId": since,
            "directory": directory(world),
            "messages": _messages_json(world, found),
            "hasEarlier": len(world.message_store) > len(numbers),
            "entries": [entry.to_json() for entry in sorted(logged, key=lambda entry: entry.id)],
        }
    return _with_contents(data)


def earlier_messages(world: World, conversation: str, before: int) -> dict[str, Any]:
    """Return the newest page of a conversation's messages before an id, oldest first.

    ``more`` is True if there are older ones.
    """
    with world.condition:
        numbers = world.message_store.numbers(conversation)
        end = bisect_left(numbers, before)
        begin = max(0, end - MESSAGES_PER_PAGE)
        found = [world.message_store[number] for number in numbers[begin:end]]
        data = {
            "messages": _messages_json(world, found),
            "before": found[0].number if found else before,
            "more": begin > 0,
        }
    return _with_contents(data)


def run_name(simulator: SimulatedApp) -> str:
    """Return a name that changes with each simulator and each reset, because ids start anew then."""
    return f"{simulator.name}-{simulator.world.generation}"


def directory(world: World) -> dict[str, Any]:
    """Return the users, groups, bots and agents. Must be called with the world's lock held."""
    people, bots = world.directory, world.directory.bots
    return {
        "users": [
            {
                "uid": user.uid,
                "name": user.name,
                "avatar": user.avatar,
                "isBot": user.uid in bots,
                "isAgent": user.uid in world.agents,
                "blocked": sorted(user.blocked),
            }
            for user in people.users.values()
            if user.is_active
        ],
        "groups": [
            {
                "guid": group.guid,
                "name": group.name,
                "type": group.type,
                "members": list(group.members),
                "scopes": {uid: "owner" if uid == group.owner else item.scope for uid, item in group.members.items()},
            }
            for group in people.groups.values()
        ],
        "bots": [
            {"uid": bot.uid, "enabled": bot.enabled, "groupSetting": bot.group_chat_setting, "url": bot.webhook_url}
            for bot in bots.values()
        ],
        "agents": [
            {"uid": agent.uid, "enabled": agent.is_active and agent.speaks_agui, "url": agent.url}
            for agent in world.agents.values()
        ],
    }


def agent_runs(simulator: SimulatedApp) -> list[dict[str, Any]]:
    """Return the runs of agents: whose they are, the tools being called, and the message as far as it is written."""
    world = simulator.world
    with world.condition:
        runs = simulator.agent_runs.list_running()
        messages = [_message_json(world, _partial_message(run)) if run.text else None for run in runs]
    return [
        {
            "agent": run.agent.uid,
            "user": run.message.sender,
            "tools": list(run.tools.values()),
            "message": {**with_content(message), "isPartial": True} if message else None,
        }
        for run, message in zip(runs, messages, strict=True)
    ]


def _partial_message(run: AgentRun) -> StoredMessage:
    """Return the message that an agent is writing. The ``muid`` of the message that is stored later is its id."""
    return StoredMessage(
        id=run.message_id,
        conversation_id=run.message.conversation_id,
        sender=run.agent.uid,
        receiver_type="user",
        receiver=run.message.sender,
        category="message",
        type="text",
        data={"text": run.text},
        sent_at=run.began_at,
    )


def _messages_json(world: World, messages: list[StoredMessage]) -> list[dict[str, Any]]:
    return [_message_json(world, message) for message in messages if not message.is_action]


def _message_json(world: World, message: StoredMessage) -> dict[str, Any]:
    """Return a message as CometChat shows it, with the users of each reaction in ``reactedBy``.

    Must be called with the world's lock held.
    """
    reacted: dict[str, list[str]] = {}
    for reaction in message.reactions:
        reacted.setdefault(reaction.reaction, []).append(reaction.uid)
    return {**world.serializer.message(message, with_tags=True), "reactedBy": reacted}


def _with_contents(data: dict[str, Any]) -> dict[str, Any]:
    """Return ``data`` with what the page shows of each message. Needs no lock, so that bots need not wait for it."""
    return {**data, "messages": [with_content(message) for message in data["messages"]]}


def entry_json(world: World, entry: Entry) -> dict[str, Any]:
    """Return a log entry. For a change to a message, it has only the trigger and the current message."""
    if not isinstance(entry, ChangeEntry):
        return entry.to_json()
    shown: dict[str, Any] = {"kind": "change", "id": entry.id, "at": entry.at, "trigger": entry.trigger}
    message_id = _message_id(entry.data)
    if not message_id:
        return shown
    with world.condition:
        found = world.message_store.find(message_id)
        message = _message_json(world, found) if found else None
    return {**shown, "message": with_content(message)} if message else {**shown, "removed": message_id}


def active_rules(simulator: SimulatedApp) -> list[dict[str, Any]]:
    """Return the active rules of misbehaviour with their counts."""
    return [effect.to_json() for effect in simulator.misbehave.active_rules]


def _message_id(data: Mapping[str, Any]) -> str:
    if "message" in data:
        return str(data["message"].get("id", ""))
    return str(data["reaction"]["messageId"]) if "reaction" in data else ""
