"""Agents: docs/protocols/cometchat.md, "Agents"."""

from __future__ import annotations

from cometbot.simulator import agents
from cometbot.simulator.rest.routes import ApiCall, PlainBody, RouteTable, confirmation
from cometbot.simulator.schemas import AgentSchema

routes = RouteTable()
_AGENT = AgentSchema()


@routes.add("POST", "/ai-agents/agents", acting="no")
def create_agent(call: ApiCall) -> PlainBody:
    """Create an agent and return it, including its headers."""
    agent = agents.create_agent(call.world, call.load_body(_AGENT))
    return PlainBody({"agent": agents.agent_json(call.world, agent)}, 201)


@routes.add("GET", "/ai-agents/agents", acting="no")
def list_agents(call: ApiCall) -> PlainBody:
    """Return all agents, oldest first."""
    return PlainBody([agents.agent_json(call.world, agent) for agent in call.world.agents.values()])


@routes.add("PATCH", "/ai-agents/agents/<uid>", acting="no")
def update_agent(call: ApiCall, uid: str) -> PlainBody:
    """Update an agent and return a confirmation."""
    agents.update_agent(call.world, uid, call.load_body(_AGENT, partial=True))
    return PlainBody({"success": True})


@routes.add("DELETE", "/ai-agents/agents/<uid>", acting="no")
def delete_agent(call: ApiCall, uid: str) -> PlainBody:
    """Delete an agent and return a confirmation."""
    agent = agents.delete_agent(call.world, uid)
    return PlainBody(confirmation(f"Agent with UID '{agent.uid}' has been deleted successfully"))
