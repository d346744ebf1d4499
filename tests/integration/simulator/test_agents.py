"""Users talk to an agent over HTTP: what it is sent, and how its answer streams into the conversation."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from cometbot.simulator import Simulator
from cometbot.simulator.agents import update_agent
from cometbot.simulator.page import page_data
from cometbot.simulator.page.events import EventStream
from cometbot.simulator.server import LoopbackServer

TOKEN = "t0ken-" * 8
STARTED = {"type": "RUN_STARTED", "threadId": "t", "runId": "r"}
FINISHED = {"type": "RUN_FINISHED", "threadId": "t", "runId": "r"}


def text_events(*deltas: str, id: str = "m1") -> list[dict[str, Any]]:
    return [
        {"type": "TEXT_MESSAGE_START", "messageId": id, "role": "assistant"},
        *({"type": "TEXT_MESSAGE_CONTENT", "messageId": id, "delta": delta} for delta in deltas),
        {"type": "TEXT_MESSAGE_END", "messageId": id},
    ]


class Agent:
    """An agent of one's own. It answers with ``events``; a ``threading.Event`` among them is waited for.

    It begins to answer once ``may_begin`` is set.
    """

    def __init__(self) -> None:
        self.events: list[Any] = [STARTED, *text_events("Hello ", "you."), FINISHED]
        self.status, self.content_type = "200 OK", "text/event-stream"
        self.inputs: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        self.left = threading.Event()
        self.may_begin = threading.Event()
        self.may_begin.set()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.inputs.append(json.loads(environ["wsgi.input"].read()))
        self.tokens.append(environ.get("HTTP_AUTHORIZATION", ""))
        self.may_begin.wait(30)
        start_response(self.status, [("Content-Type", self.content_type)])
        return self._frames(list(self.events))

    def _frames(self, events: list[Any]) -> Iterator[bytes]:
        try:
            yield b": ping\n\n"
            for event in events:
                if isinstance(event, threading.Event):
                    while not event.wait(0.05):
                        yield b": ping\n\n"
                else:
                    yield event if isinstance(event, bytes) else b"data: %s\n\n" % json.dumps(event).encode()
        finally:
            self.left.set()


@pytest.fixture
def agent() -> Agent:
    return Agent()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def uid(agent: Agent, simulator: Simulator) -> Iterator[str]:
    """The uid of the agent, which is served and registered."""
    server = LoopbackServer(agent, 0)
    yield simulator.add_agent("Helper", f"http://127.0.0.1:{server.port}/agui/helper", TOKEN).uid
    server.stop()
    server.server_close()


def answers(simulator: Simulator, uid: str) -> list[str]:
    return [message.text for message in simulator.messages() if message.sender == uid]


def ask(simulator: Simulator, uid: str, text: str = "Hi") -> list[str]:
    """Say something to the agent and return all that it has said when it is done."""
    simulator.user("maria").say(text, to=uid)
    simulator.wait_idle()
    return answers(simulator, uid)


def wait_for_text(simulator: Simulator, text: str) -> None:
    simulator.wait_for(lambda _: [run.text for run in simulator.agent_runs.list_running()] == [text])


def test_answer_becomes_one_message(simulator: Simulator, uid: str) -> None:
    assert ask(simulator, uid) == ["Hello you."]
    assert simulator.messages(between=("maria", uid))[-1].sender == uid


def test_request_has_the_token_and_the_older_form(simulator: Simulator, agent: Agent, uid: str) -> None:
    ask(simulator, uid)
    assert agent.tokens == [f"Bearer {TOKEN}"]
    (given,) = agent.inputs
    (question, _) = simulator.messages()
    assert given == {
        "threadId": question.conversation_id, "runId": given["runId"],
        "messages": [{"id": question.id, "role": "user", "content": "Hi"}],
        "tools": [], "context": [], "state": {}, "forwardedProps": {},
    }  # fmt: skip


def test_next_request_has_the_whole_conversation(simulator: Simulator, agent: Agent, uid: str) -> None:
    ask(simulator, uid, "one")
    simulator.user("tom").say("something else", to=uid)
    simulator.wait_idle()
    ask(simulator, uid, "two")
    first, other, last = agent.inputs
    assert [(item["role"], item["content"]) for item in last["messages"]] == [
        ("user", "one"), ("assistant", "Hello you."), ("user", "two"),
    ]  # fmt: skip
    assert first["threadId"] == last["threadId"] != other["threadId"]
    assert len({given["runId"] for given in agent.inputs}) == 3


def test_text_streams_before_it_is_stored(simulator: Simulator, agent: Agent, uid: str) -> None:
    first, second = threading.Event(), threading.Event()
    start, hello, you, end = text_events("Hello ", "you.")
    agent.events = [STARTED, start, hello, first, you, second, end, FINISHED]
    simulator.user("maria").say("Hi", to=uid)
    wait_for_text(simulator, "Hello ")
    first.set()
    wait_for_text(simulator, "Hello you.")
    assert answers(simulator, uid) == []
    second.set()
    simulator.wait_idle()
    assert answers(simulator, uid) == ["Hello you."]


def test_each_text_is_a_message(simulator: Simulator, agent: Agent, uid: str) -> None:
    agent.events = [STARTED, *text_events("One."), *text_events("Two.", id="m2"), FINISHED]
    assert ask(simulator, uid) == ["One.", "Two."]


def test_long_answer_is_one_message(simulator: Simulator, agent: Agent, uid: str) -> None:
    agent.events = [STARTED, *text_events(*["0123456789" * 100] * 50), FINISHED]
    assert [len(text) for text in ask(simulator, uid)] == [50_000]


def test_tools_that_are_called_are_known(simulator: Simulator, agent: Agent, uid: str) -> None:
    gate = threading.Event()
    agent.events = [
        STARTED,
        {"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "search"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": "{}"},
        {"type": "TOOL_CALL_END", "toolCallId": "c1"},
        gate,
        {"type": "TOOL_CALL_RESULT", "toolCallId": "c1", "messageId": "x", "content": "[]"},
        *text_events("Found."),
        FINISHED,
    ]
    simulator.user("maria").say("Hi", to=uid)
    simulator.wait_for(
        lambda _: [list(run.tools.values()) for run in simulator.agent_runs.list_running()] == [["search"]]
    )
    gate.set()
    simulator.wait_idle()
    assert answers(simulator, uid) == ["Found."]


def test_runs_of_a_conversation_come_one_after_the_other(simulator: Simulator, agent: Agent, uid: str) -> None:
    gate = threading.Event()
    agent.events = [STARTED, gate, *text_events("Done."), FINISHED]
    maria = simulator.user("maria")
    maria.say("one", to=uid)
    maria.say("two", to=uid)
    simulator.wait_for(lambda _: agent.inputs)
    assert len(agent.inputs) == 1
    gate.set()
    simulator.wait_idle()
    assert [given["messages"][-1]["content"] for given in agent.inputs] == ["one", "two"]


def test_run_is_in_the_log_without_its_token(simulator: Simulator, uid: str) -> None:
    ask(simulator, uid)
    (entry,) = simulator.callbacks
    assert (entry.target, entry.trigger, entry.status, entry.error) == (uid, "agent_run", 200, "")
    assert "RUN_STARTED" in entry.answer
    assert "RUN_FINISHED" in entry.answer
    assert "t0ken" not in str(entry.to_json())


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([STARTED, {"type": "RUN_ERROR", "message": "no luck", "code": "BAD"}], "RUN_ERROR BAD: no luck"),
        ([STARTED, *text_events("Hello")], "The stream ended without RUN_FINISHED or RUN_ERROR."),
        ([b"data: nonsense\n\n"], "expected an event of AG-UI, got 'nonsense'"),
        ([b"data: []\n\n"], "expected an event of AG-UI, got '[]'"),
    ],
)
def test_bad_ends_are_in_the_log(simulator: Simulator, agent: Agent, uid: str, events: list[Any], error: str) -> None:
    agent.events = events
    ask(simulator, uid)
    assert (simulator.callbacks[-1].status, simulator.callbacks[-1].error) == (200, error)


def test_text_that_is_not_ended_is_dropped(simulator: Simulator, agent: Agent, uid: str) -> None:
    agent.events = [STARTED, *text_events("Hello")[:-1]]
    assert ask(simulator, uid) == []


def test_refusal_is_in_the_log(simulator: Simulator, agent: Agent, uid: str) -> None:
    agent.status, agent.content_type, agent.events = "401 Unauthorized", "application/json", [b'{"error":{}}']
    ask(simulator, uid)
    entry = simulator.callbacks[-1]
    assert (entry.status, "401" in entry.error, "error" in entry.answer) == (401, True, True)


def test_answer_that_is_no_stream_is_in_the_log(simulator: Simulator, agent: Agent, uid: str) -> None:
    agent.content_type = "text/html"
    ask(simulator, uid)
    assert simulator.callbacks[-1].error == "expected a response of the type text/event-stream, got text/html"


def test_agent_that_is_not_there_is_in_the_log(simulator: Simulator) -> None:
    uid = simulator.add_agent("Gone", "http://127.0.0.1:9/agui/gone").uid
    ask(simulator, uid)
    entry = simulator.callbacks[-1]
    assert (entry.status, "could not be reached" in entry.error) == (0, True)


@pytest.mark.parametrize("change", [{"isActive": False}, {"integrateWith": "mastra"}])
def test_agents_that_cannot_be_called_are_not(
    simulator: Simulator, agent: Agent, uid: str, change: dict[str, Any]
) -> None:
    with simulator.world.condition:
        update_agent(simulator.world, uid, change)
    assert ask(simulator, uid) == []
    assert agent.inputs == []


def test_group_messages_and_files_are_not_sent(simulator: Simulator, agent: Agent, uid: str) -> None:
    simulator.add_group("ops", members=["maria", uid])
    simulator.user("maria").say("Hi", group="ops")
    url = simulator.add_file("a.txt", b"x", "text/plain")
    file = {"url": url, "name": "a.txt", "mimeType": "text/plain", "extension": "txt"}
    simulator.user("maria").say("", to=uid, attachments=[file])
    simulator.wait_idle()
    assert agent.inputs == []


def test_stop_ends_a_run(simulator: Simulator, agent: Agent, uid: str) -> None:
    agent.events = [STARTED, threading.Event()]
    simulator.user("maria").say("Hi", to=uid)
    simulator.wait_for(lambda _: agent.inputs)
    simulator.stop()
    simulator.wait_idle()
    assert simulator.callbacks[-1].error == "The simulator was stopped."
    assert agent.left.wait(30)


def test_stop_ends_a_run_whose_answer_has_not_begun(simulator: Simulator, agent: Agent, uid: str) -> None:
    agent.may_begin.clear()
    simulator.user("maria").say("Hi", to=uid)
    simulator.wait_for(lambda _: agent.inputs)
    simulator.stop()
    simulator.wait_idle()
    agent.may_begin.set()
    assert simulator.callbacks[-1].error == "The simulator was stopped."
    assert answers(simulator, uid) == []


def test_reset_forgets_runs(simulator: Simulator, agent: Agent, uid: str) -> None:
    gate = threading.Event()
    agent.events = [STARTED, gate, *text_events("Late."), FINISHED]
    simulator.user("maria").say("Hi", to=uid)
    simulator.wait_for(lambda _: agent.inputs)
    simulator.reset()
    assert simulator.is_idle
    gate.set()
    assert agent.left.wait(30)
    assert len(simulator.messages()) == len(simulator.callbacks) == 0


def test_messages_from_before_the_start_are_answered_then(agent: Agent, uid: str, simulator: Simulator) -> None:
    simulator.stop()
    simulator.user("maria").say("Hi", to=uid)
    assert agent.inputs == []
    simulator.start()
    simulator.wait_idle()
    assert answers(simulator, uid) == ["Hello you."]


def test_page_shows_a_message_that_is_being_written(simulator: Simulator, agent: Agent, uid: str) -> None:
    gate = threading.Event()
    start, *rest = text_events("Hello **you**", ".")
    agent.events = [STARTED, start, rest[0], gate, *rest[1:], FINISHED]
    simulator.user("maria").say("Hi", to=uid)
    wait_for_text(simulator, "Hello **you**")
    (run,) = page_data.agent_runs(simulator)
    assert (run["agent"], run["user"], run["tools"]) == (uid, "maria", [])
    shown = run["message"]
    assert (shown["sender"], shown["receiver"], shown["isPartial"]) == (uid, "maria", True)
    assert "<strong>you</strong>" in shown["html"]
    gate.set()
    simulator.wait_idle()
    assert page_data.agent_runs(simulator) == []
    assert simulator.messages()[-1].muid == shown["id"]


def test_page_streams_a_text_while_it_is_written(simulator: Simulator, agent: Agent, uid: str) -> None:
    gate = threading.Event()
    start, hello, end = text_events("Hello")
    agent.events = [STARTED, start, hello, gate, end, FINISHED]
    simulator.user("maria").say("Hi", to=uid)
    wait_for_text(simulator, "Hello")
    stream = EventStream(simulator, 0, threading.Event())
    first = stream.get(30) or b""
    assert b"event: runs" in first
    assert b'"isPartial":true' in first
    gate.set()
    received = b""
    while b"event: runs\ndata: []" not in received:
        received += stream.get(30) or b""
    assert b'"trigger":"message_sent"' in first + received
