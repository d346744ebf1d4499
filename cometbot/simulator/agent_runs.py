"""The runs of agents: a user's message is sent to its agent, whose answer streams into the conversation."""

from __future__ import annotations

import logging
import threading
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cometbot.simulator import messaging
from cometbot.simulator.agent_client import AgentCall, AgentEvent
from cometbot.simulator.client import CallbackResponse
from cometbot.simulator.journal import mask_headers
from cometbot.simulator.records import AgentRecord, StoredMessage, WebhookEvent
from cometbot.simulator.world import World

log = logging.getLogger(__name__)

MAX_HISTORY = 200
"""Maximum number of messages of the conversation in a request. CometChat documents none."""


@dataclass(slots=True)
class AgentRun:
    """A run for one message of a user. ``call`` sends the request ``body``.

    ``text`` is the message that the agent is writing, of the id ``message_id``. ``began_at`` is the Unix time of that
    message's beginning. ``tools`` are the names of the tools that the agent is calling, by the ids of the calls.
    """

    agent: AgentRecord
    message: StoredMessage
    id: str
    body: dict[str, Any]
    call: AgentCall
    message_id: str = ""
    began_at: int = 0
    text: str = ""
    tools: dict[str, str] = field(default_factory=dict)


class AgentRuns:
    """Runs the agents, one run at a time in each conversation, once started.

    Its state is guarded by the world's lock, which is notified at each change.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._pending: dict[str, deque[StoredMessage]] = {}
        self._runs: dict[str, AgentRun] = {}
        self._is_started = False

    def handle_event(self, event: WebhookEvent) -> None:
        """Queue a run for a text that a user has sent to an agent. Called with the world's lock held."""
        message = event.message
        if event.trigger != "message_sent" or message is None or message.receiver_type != "user":
            return
        agent = self._world.agents.get(message.receiver)
        if agent is None or not agent.is_active or not agent.speaks_agui or message.type != "text":
            return
        self._pending.setdefault(message.conversation_id, deque()).append(message)
        if self._is_started:
            self._start_next(message.conversation_id)

    def start(self) -> None:
        """Start the queued runs, and those that are added later."""
        with self._world.condition:
            self._is_started = True
            for conversation in list(self._pending):
                self._start_next(conversation)

    def stop(self) -> None:
        """End all runs. Messages that are queued wait for the next start."""
        with self._world.condition:
            self._is_started = False
            calls = [run.call for run in self._runs.values()]
        for call in calls:
            call.abort()

    def clear(self) -> None:
        """Discard all queued runs, and what the running ones still say."""
        with self._world.condition:
            self._pending.clear()
            calls = [run.call for run in self._runs.values()]
            self._runs.clear()
            self._world.condition.notify_all()
        for call in calls:
            call.abort()

    @property
    def is_idle(self) -> bool:
        """True if nothing is queued and no agent is running."""
        with self._world.condition:
            return not self._pending and not self._runs

    def list_running(self) -> list[AgentRun]:
        """Return copies of the runs. Must be called with the world's lock held."""
        return [replace(run, tools=dict(run.tools)) for run in self._runs.values()]

    def _start_next(self, conversation: str) -> None:
        """Start the next run of a conversation, unless one is running. Called with the world's lock held."""
        if conversation in self._runs or conversation not in self._pending:
            return
        queue = self._pending[conversation]
        message = queue.popleft()
        if not queue:
            del self._pending[conversation]
        agent = self._world.agents.get(message.receiver)
        if agent is None:  # it was deleted meanwhile
            self._pending.pop(conversation, None)
            return
        run_id = str(uuid.uuid4())
        body = self._make_input(agent, message, run_id)
        run = AgentRun(agent, message, run_id, body, AgentCall(agent.url, agent.headers, body))
        self._runs[conversation] = run
        self._world.condition.notify_all()
        threading.Thread(target=self._run, args=(run,), name=f"simulator-agent-{message.id}", daemon=True).start()

    def _run(self, run: AgentRun) -> None:
        conversation = run.message.conversation_id
        try:
            answer = run.call.run(lambda event: self._handle(run, event))
        except Exception as error:
            log.exception("cannot run an agent")
            answer = CallbackResponse(0, error=f"{type(error).__name__}: {error}")
        with self._world.condition:
            if self._runs.get(conversation) is not run:
                return
            del self._runs[conversation]
            self._record(run, answer)
            self._world.condition.notify_all()
            if self._is_started:
                self._start_next(conversation)

    def _handle(self, run: AgentRun, event: AgentEvent) -> None:
        """Apply one event of the answer to the conversation."""
        handle = self._HANDLERS.get(event["type"])
        if handle is None:
            return
        with self._world.condition:
            if self._runs.get(run.message.conversation_id) is run:
                handle(self, run, event)
                self._world.condition.notify_all()

    def _begin_text(self, run: AgentRun, event: AgentEvent) -> None:
        run.message_id, run.text = f"{run.id}:{event.get('messageId', '')}", ""
        run.began_at = self._world.now()

    def _add_text(self, run: AgentRun, event: AgentEvent) -> None:
        run.text += str(event.get("delta", ""))

    def _end_text(self, run: AgentRun, event: AgentEvent) -> None:
        message_id, text = run.message_id, run.text
        run.message_id = run.text = ""
        if text:
            messaging.send_as_agent(self._world, run.agent.uid, run.message.sender, text, muid=message_id)

    def _begin_tool(self, run: AgentRun, event: AgentEvent) -> None:
        run.tools[str(event.get("toolCallId", ""))] = str(event.get("toolCallName", ""))

    def _end_tool(self, run: AgentRun, event: AgentEvent) -> None:
        run.tools.pop(str(event.get("toolCallId", "")), None)

    _HANDLERS: dict[str, Callable[[AgentRuns, AgentRun, AgentEvent], None]] = {  # noqa: RUF012
        "TEXT_MESSAGE_START": _begin_text,
        "TEXT_MESSAGE_CONTENT": _add_text,
        "TEXT_MESSAGE_END": _end_text,
        "TOOL_CALL_START": _begin_tool,
        "TOOL_CALL_RESULT": _end_tool,
    }

    def _make_input(self, agent: AgentRecord, message: StoredMessage, run_id: str) -> dict[str, Any]:
        """Return the request's body, in the older form of the protocol, which CometChat's documentation shows."""
        messages = self._world.message_store.messages(message.conversation_id)
        texts = [item for item in messages if item.type == "text" and not item.deleted_at and not item.is_action]
        shown = [item for item in texts if item.number <= message.number][-MAX_HISTORY:]
        return {
            "threadId": message.conversation_id,
            "runId": run_id,
            "messages": [
                {
                    "id": item.id,
                    "role": "assistant" if item.sender == agent.uid else "user",
                    "content": item.text,
                }
                for item in shown
            ],
            "tools": [],
            "context": [],
            "state": {},
            "forwardedProps": {},
        }

    def _record(self, run: AgentRun, answer: CallbackResponse) -> None:
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream", **run.agent.headers}
        self._world.journal.add_callback(
            self._world.clock(),
            target=run.agent.uid,
            url=run.agent.url,
            trigger="agent_run",
            message_id=run.message.id,
            headers=dict.fromkeys(map(str.lower, run.agent.headers), "***") | mask_headers(headers),
            body=run.body,
            status=answer.status,
            answer=answer.text,
            error=answer.error,
            seconds=answer.seconds,
        )
