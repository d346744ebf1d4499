"""Agents of Pydantic AI in handlers: their answers are streamed, and their tools run durably.

The agent's own loop runs again in each run of the handler. Each request to its model and each call of a tool is a step
(see :mod:`cometbot.steps`): a later run gets what is stored, so that the loop takes the same path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeAlias

try:
    from pydantic_ai import AgentRunResult, ModelMessage, ModelRequest, ModelResponse, UsageLimits
    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.capabilities import ReinjectSystemPrompt
    from pydantic_ai.durable_exec import replay_scope
    from pydantic_ai.messages import (
        BinaryContent,
        ImageUrl,
        ModelRequestPart,
        ModelResponsePart,
        SystemPromptPart,
        TextPart,
        ToolCallPart,
        ToolReturnPart,
        UserContent,
        UserPromptPart,
    )
    from pydantic_ai.settings import ModelSettings
    from typing_extensions import TypeVar
except ImportError as error:
    raise ImportError(
        "PydanticAgent needs the library pydantic-ai-slim, on Python 3.11 or newer: pip install 'cometbot[ai]'"
    ) from error

from cometbot.context import Context
from cometbot.context_access import get_steps
from cometbot.errors import BotError
from cometbot.event_loop import run_coroutine
from cometbot.lasting_calls import calling_code
from cometbot.models import ClientTool
from cometbot.pydantic_steps import DurableRun, RunStopped, StepCapability
from cometbot.tools import Approvers, check_approvers
from cometbot.turns import OPENING_TEXT, Turn, to_openai

DepsT = TypeVar("DepsT", default=object, contravariant=True)
OutputT = TypeVar("OutputT", default=str, covariant=True)

Prompt: TypeAlias = str | Sequence[UserContent]
"""What an agent is asked: a text, or texts and pictures."""


class PydanticAgent(Generic[DepsT, OutputT]):
    """An agent of Pydantic AI that answers in handlers.

    ::

        assistant = PydanticAgent(Agent("openai:gpt-5", instructions="You help the customers of a shop."))

        @bot.fallback
        def answer(ctx):
            assistant.run(ctx)

    ``approvers`` decide about calls that need an approval (``requires_approval``, ``ApprovalRequired``): True for the
    user who asked, a :class:`Group`, a :class:`User` or a :class:`Conversation`, or a mapping from the names of tools
    to one of these. One object may serve all handlers of a process at once.
    """

    def __init__(
        self, agent: AbstractAgent[DepsT, OutputT], *, approvers: Approvers | Mapping[str, Approvers] = True
    ) -> None:
        if not isinstance(agent, AbstractAgent):
            raise BotError(f"PydanticAgent: expected an Agent of pydantic_ai, got {agent!r}")
        check_approvers("PydanticAgent: approvers", approvers)
        self.agent = agent
        self._approvers = approvers

    def run(
        self,
        ctx: Context,
        prompt: Prompt | None = None,
        *,
        deps: DepsT | None = None,
        turns: Sequence[Turn] | None = None,
        message_history: Sequence[ModelMessage] | None = None,
        instructions: str | None = None,
        model_settings: ModelSettings | None = None,
        usage_limits: UsageLimits | None = None,
        client_tools: Sequence[ClientTool] = (),
        stream: bool = True,
        key: str = "",
    ) -> AgentRunResult[OutputT] | None:
        """Run the agent, and return its result; None if the user has stopped it (:attr:`Context.cancelled`).

        Each text of the model becomes a message, as with :meth:`Context.stream`, unless ``stream`` is false or the
        agent's output cannot be a text. What it costs is reported to :meth:`Context.usage`. Plain in plain and async
        handlers alike.

        The agent is asked ``prompt`` after ``message_history``; without it, the last turn of ``turns`` (default:
        :meth:`Context.turns`), after the ones before. ``deps`` defaults to the context if the agent's ``deps_type`` is
        :class:`Context`. ``client_tools`` are those of :attr:`Context.client_tools` that its model may call; each waits
        for its result as in :meth:`Context.call`. The others are those of ``Agent.run``.

        Each answer of the model and each result of a tool is stored durably before the agent goes on: a later run asks
        no model and calls no tool again. Inside a tool, the rules of :meth:`Context.once` hold. A call that needs an
        approval waits for it as in :meth:`Context.approve`. Raises what the agent raises, such as
        ``UsageLimitExceeded``.
        """
        if turns is not None and message_history is not None:
            raise BotError("PydanticAgent.run: turns and message_history are both given; pass one of them")
        if deps is None and issubclass(self.agent.deps_type, Context):
            deps = ctx  # type: ignore[assignment]
        options = {
            "instructions": instructions,
            "model_settings": model_settings,
            "usage_limits": usage_limits,
            "deps": deps,
        }
        steps = get_steps(ctx)
        run = DurableRun(
            ctx, steps, self._approvers, client_tools=client_tools, streams=stream, key=key, code=calling_code()
        )
        return steps.call("PydanticAgent.run", lambda: self._run(ctx, run, prompt, turns, message_history, options))

    def _run(
        self,
        ctx: Context,
        run: DurableRun,
        prompt: Prompt | None,
        turns: Sequence[Turn] | None,
        history: Sequence[ModelMessage] | None,
        options: Mapping[str, Any],
    ) -> AgentRunResult[OutputT] | None:
        """Run the agent's loop, in the thread that waits for the handler."""
        capabilities: list[Any] = [StepCapability(run)]
        if history is None:
            history, asked = _split(ctx.turns() if turns is None else turns, keep_last=prompt is not None)
            capabilities.append(ReinjectSystemPrompt())
        elif prompt is None:
            _, asked = _split(ctx.turns(), keep_last=False)
        else:
            asked = None
        # One call of a tool after the other: the steps of each run come in the same order. Traces leave out what a
        # later run repeats.
        with self.agent.parallel_tool_call_execution_mode("sequential"), replay_scope():
            try:
                result: AgentRunResult[OutputT] = run_coroutine(
                    self.agent.run(
                        prompt if prompt is not None else asked,
                        message_history=list(history) or None,
                        capabilities=capabilities,
                        infer_name=False,
                        **options,
                    )
                )
                return result
            except RunStopped:
                return None


def to_messages(turns: Iterable[Turn]) -> list[ModelMessage]:
    """Return turns as messages of Pydantic AI, for ``message_history``.

    Adjacent turns of a user become one message. If the assistant comes first, a short user's message stands before it.
    """
    messages: list[ModelMessage] = []
    names: dict[str, str] = {}
    for item in to_openai(turns):
        if item["role"] != "assistant":
            messages.append(ModelRequest([_request_part(item, names)]))
            continue
        if not messages:
            messages.append(ModelRequest([UserPromptPart(OPENING_TEXT)]))
        calls = [
            ToolCallPart(call["function"]["name"], call["function"]["arguments"], call["id"])
            for call in item.get("tool_calls", ())
        ]
        names.update((call.tool_call_id, call.tool_name) for call in calls)
        parts: list[ModelResponsePart] = [TextPart(item["content"])] if item["content"] else []
        messages.append(ModelResponse([*parts, *calls]))
    return messages


def _request_part(item: Mapping[str, Any], names: Mapping[str, str]) -> ModelRequestPart:
    if item["role"] == "system":
        return SystemPromptPart(item["content"])
    if item["role"] == "tool":
        call = item["tool_call_id"]
        return ToolReturnPart(names.get(call, "unknown"), item["content"], call)
    content = item["content"]
    return UserPromptPart(content if isinstance(content, str) else [_user_content(part) for part in content])


def _user_content(part: Mapping[str, Any]) -> UserContent:
    if part["type"] == "text":
        return str(part["text"])
    url = part["image_url"]["url"]
    return BinaryContent.from_data_uri(url) if url.startswith("data:") else ImageUrl(url)


def _split(turns: Sequence[Turn], *, keep_last: bool) -> tuple[list[ModelMessage], Any]:
    """Return the messages before the last one of the user, and what that asks; all and None with ``keep_last``."""
    messages = to_messages(turns)
    last = messages[-1].parts[-1] if messages else None
    if keep_last or not isinstance(last, UserPromptPart):
        return messages, None
    return messages[:-1], last.content
