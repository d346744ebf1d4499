"""Approvals in the thread of the user, and in that of somebody else: the assistant of the examples, unchanged."""

from __future__ import annotations

import re

import pytest

from tests.acceptance.channels.agui.conftest import AgentServer, Answer, Client, StartAgent
from tests.acceptance.conftest import BOTS

pytestmark = pytest.mark.process

TOOL_CALL = ["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT"]


def find_number(answer: Answer, among: int = -1) -> str:
    """Return the number of the approval that one of the texts of an answer asks for."""
    found = re.search(r"approve (\d+)", answer.texts[among])
    assert found is not None, answer.texts
    return found[1]


@pytest.mark.parametrize("protocol", ["1.0", ""])
def test_own_approval_is_answered_with_what_comes_of_it(server: AgentServer, protocol: str) -> None:
    before, client = server.count_marks("refund"), Client(server, version=protocol)
    number = find_number(client.say("refund"))
    assert server.count_marks("refund") == before
    answer = client.say(f"approve {number}")
    assert answer.texts[-1] == "It is refunded."
    assert client.repeat().texts == answer.texts
    assert client.say(f"approve {number}").texts != answer.texts
    assert server.count_marks("refund") == before + 1


def test_declined_approval_is_answered_too(server: AgentServer) -> None:
    before, client = server.count_marks("refund"), Client(server)
    number = find_number(client.say("refund"))
    assert "declined" in client.say(f"decline {number}").texts[-1]
    assert server.count_marks("refund") == before


def test_assistant_of_the_examples_answers_over_ag_ui(start_agent: StartAgent) -> None:
    server = start_agent(COMETBOT_BOT=f"{BOTS}/assistant_agent.py:bot", COMETBOT_PROCESSES="1")
    server.bot = "assistant"
    maria, manager = Client(server, "maria"), Client(server, "manager")
    assert manager.say("Good morning.").texts[0] == "Let me see."
    answer = maria.say("I want my money back.")
    assert answer.texts[0] == "Let me see."
    assert [kind for kind in answer.kinds if kind.startswith("TOOL")] == TOOL_CALL
    assert answer.last["type"] == "RUN_FINISHED"
    card = manager.say("Anything to approve?")
    assert "Asked by maria." in card.texts[0]
    approved = manager.say(f"approve {find_number(card, 0)}")
    assert approved.last["type"] == "RUN_FINISHED"
    next_answer = maria.say("And?")
    assert next_answer.texts[0].startswith("Done: Refunded 12.50 € for order 17, receipt ")
    assert next_answer.texts[1] == "Let me see."
    seen = [*approved.texts, *manager.say("Thank you.").texts]
    assert seen[0] == "Run refund?\n\nNumber: 17\n\nEuros: 12.5\n\nApproved by manager."
    server.close()
