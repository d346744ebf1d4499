"""The agents of the simulated app, which it calls over AG-UI: docs/protocols/cometchat.md, "Agents"."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

from cometbot.simulator.errors import Refusal, bad_request
from cometbot.simulator.records import AgentRecord, UserRecord
from cometbot.simulator.world import World

AGENT_ROLE = "@agentic"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def create_agent(world: World, body: Mapping[str, Any]) -> AgentRecord:
    """Create an agent with a uid of the simulator's, and the user as which it talks to others; return it."""
    uid = str(uuid.UUID(int=world.random.getrandbits(128), version=4))
    agent = AgentRecord(uid, body["name"], body["icon"], body["integrateWith"], created_at=world.now())
    _assign(agent, body, world.now())
    world.agents[uid] = agent
    world.directory.users[uid] = UserRecord(
        uid, agent.name, avatar=agent.icon, role=AGENT_ROLE, created_at=agent.created_at
    )
    world.condition.notify_all()
    return agent


def get_agent(world: World, uid: str) -> AgentRecord:
    """Return the agent with this uid. Raises ``ERR_AGENT_NOT_FOUND`` if there is none."""
    agent = world.agents.get(uid)
    if agent is None:
        raise Refusal("ERR_AGENT_NOT_FOUND", f"The agent with UID {uid} does not exist.")
    return agent


def update_agent(world: World, uid: str, body: Mapping[str, Any]) -> AgentRecord:
    """Update the fields that ``body`` names and return the agent."""
    agent = get_agent(world, uid)
    _assign(agent, body, world.now())
    user = world.directory.users[uid]
    user.name, user.avatar = agent.name, agent.icon
    world.condition.notify_all()
    return agent


def delete_agent(world: World, uid: str) -> AgentRecord:
    """Delete the agent and return it. Its messages stay, and its user is deactivated."""
    agent = world.agents.pop(get_agent(world, uid).uid)
    world.directory.delete_user(uid, permanent=False, now=world.now())
    world.condition.notify_all()
    return agent


def agent_json(world: World, agent: AgentRecord) -> dict[str, Any]:
    """Return an agent object, with the headers in plain text."""
    return {
        "uid": agent.uid,
        "appId": world.app_id,
        "name": agent.name,
        "icon": agent.icon,
        "isActive": agent.is_active,
        "integrateWith": agent.provider,
        "integrationType": "agent",
        "tools": [],
        "actions": [],
        "integrationMeta": agent.settings,
        "metaData": agent.metadata,
        "deletedAt": None,
        "createdAt": _format_time(agent.created_at),
        "updatedAt": _format_time(agent.updated_at),
    }


def _assign(agent: AgentRecord, body: Mapping[str, Any], now: int) -> None:
    changed = AgentRecord(agent.uid, "", "", "", settings=dict(body.get("integrationMeta", agent.settings)))
    _check_url(changed.url)
    agent.settings = changed.settings
    agent.name = body.get("name", agent.name)
    agent.icon = body.get("icon", agent.icon)
    agent.provider = body.get("integrateWith", agent.provider)
    agent.is_active = body.get("isActive", agent.is_active)
    agent.metadata = dict(body.get("metaData", agent.metadata))
    agent.updated_at = now


def _check_url(url: str) -> None:
    """Refuse a URL without TLS, except one on this machine: that is where the simulator's agents are."""
    try:
        parts = urlsplit(url)
        is_valid = bool(parts.hostname) and (parts.scheme == "https" or parts.hostname in _LOOPBACK)
    except ValueError:
        is_valid = False
    if url and not is_valid:
        raise bad_request("integrationMeta.url", "The url must be a valid HTTPS URL.")


def _format_time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
