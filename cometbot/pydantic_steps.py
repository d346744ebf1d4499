"""The steps of a run of an agent of Pydantic AI: requests to its model, calls of its tools, and approvals."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from types import CodeType
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_ai import RunContext, ToolReturn
from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
from pydantic_ai.durable_exec import record_durable_unit
from pydantic_ai.exceptions import ApprovalRequired, CallDeferred, ModelRetry, ToolFailed
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    ToolReturnContent,
)
from pydantic_ai.models import CompletedStreamedResponse, Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, ToolDefinition, ToolDenied
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool, WrapperToolset

from cometbot.agents import call_client, describe_value, get_approval
from cometbot.context import Context
from cometbot.context_access import make_stream_sender
from cometbot.errors import BotError
from cometbot.event_loop import run_coroutine, run_in_thread
from cometbot.models import ClientTool
from cometbot.questions import to_json_value
from cometbot.redaction import redact
from cometbot.sinks import StepCalls
from cometbot.steps import ToolUse
from cometbot.stream_sources import iterate_texts
from cometbot.tools import Approvers, Tool, choose_tools

_log = logging.getLogger(__name__)

_OUTPUT_TOOL = "final_result"
"""What the names of the tools begin with by which agents return their output."""

_anything: TypeAdapter[Any] = TypeAdapter(Any)
_any_arguments: Any = _anything.validator
_content: TypeAdapter[Any] = TypeAdapter(ToolReturnContent)
_return: TypeAdapter[ToolReturn[Any]] = TypeAdapter(ToolReturn)
_response: TypeAdapter[ModelResponse] = TypeAdapter(ModelResponse)


class RunStopped(BaseException):
    """The user has stopped the run. No hook of the agent goes on with it."""


class DurableRun:
    """One run of an agent. ``approvers`` decide about calls, ``code`` is that of the function that runs the agent.

    ``client_tools`` are those of the client that the model may call beside the agent's own.
    Its methods are called by the agent's loop. They suspend it, and make the step in the thread of the handler.
    """

    def __init__(
        self,
        ctx: Context,
        steps: StepCalls,
        approvers: Approvers | Mapping[str, Approvers],
        *,
        client_tools: Iterable[ClientTool] = (),
        streams: bool,
        key: str,
        code: CodeType,
    ) -> None:
        self._client_tools = choose_tools((), client_tools)
        self._ctx = ctx
        self._steps = steps
        self._approvers = approvers
        self._streams = streams
        self._key = key
        self._code = code

    def request(
        self,
        model: Model,
        messages: list[ModelMessage],
        settings: ModelSettings | None,
        parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Return the answer of a model, which is asked by one run only."""
        answer = Answer(self._ctx, model, messages, settings, parameters)
        response = run_in_thread(self._request, answer)
        record_durable_unit(executed=answer.response is not None)
        return response

    def _request(self, answer: Answer) -> ModelResponse:
        sender = make_stream_sender(self._ctx)
        is_shown = self._streams and answer.can_be_shown
        send = partial(sender.send, answer) if is_shown else answer.collect
        try:
            _, stored = self._steps.model(send, sender.restore, answer.to_json, self._key, self._code)
        finally:
            answer.report_usage()
        if self._steps.cancelled() or stored["is_stopped"]:
            raise RunStopped
        return _response.validate_python(stored["response"])

    def call_tool(self, name: str, arguments: Mapping[str, Any], call_id: str, call: Callable[[], Any]) -> Any:
        """Return the result of a tool, which is called by one run only; ``call`` returns a coroutine of it."""
        was_stored = self._steps.has_stored_tool
        use = ToolUse(name, _to_shown(arguments), f"{name}\n{call_id}", self._describe)
        stored = run_in_thread(self._call_tool, use, call)
        record_durable_unit(executed=not was_stored)
        return _load_result(stored)

    def _call_tool(self, use: ToolUse, call: Callable[[], Any]) -> Mapping[str, Any]:
        result = self._steps.tool(partial(_make_call, use.name, call), use, self._key, self._code)
        if self._steps.cancelled():
            raise RunStopped
        return result

    def _describe(self, result: Mapping[str, Any]) -> str:
        return redact(self._ctx.bot, _describe_result(result))

    def add_client_tools(self, toolset: AbstractToolset[Any], own: Mapping[str, ToolsetTool[Any]]) -> dict[str, Any]:
        """Return the agent's tools with those of the client, as tools of ``toolset``, whose names are free."""
        for name in list(self._client_tools):
            if name in own or name.startswith(_OUTPUT_TOOL):
                _log.warning("left out the client's tool %r, whose name is taken", name)
                del self._client_tools[name]
        offered = {name: _to_external(toolset, tool) for name, tool in self._client_tools.items()}
        return {**own, **offered}

    def resolve(self, requests: DeferredToolRequests) -> DeferredToolResults | None:
        """Wait until all calls are decided that need an approval, and for the results of the client's tools.

        Return None if there are none of these.
        """
        calls = [call for call in requests.calls if call.tool_name in self._client_tools]
        return run_in_thread(self._resolve, requests, calls) if calls or requests.approvals else None

    def _resolve(self, requests: DeferredToolRequests, calls: Sequence[ToolCallPart]) -> DeferredToolResults:
        approvals = self._approve(requests)
        results: dict[str, Any] = {call.tool_call_id: self._call_client(call) for call in calls}
        return requests.build_results(approvals=approvals, calls=results)

    def _call_client(self, call: ToolCallPart) -> str:
        """Return the client's result of a call for the model."""
        name = call.tool_name
        try:
            arguments = to_json_value(self._client_tools[name].convert(call.args_as_dict(raise_if_invalid=True)), name)
        except (ValueError, AssertionError, BotError) as problem:
            return f"error: the arguments do not fit: {problem}"
        return call_client(self._ctx, self._steps, name, arguments, self._key, self._code)

    def _approve(self, requests: DeferredToolRequests) -> dict[str, Any]:
        results: dict[str, Any] = {}
        for call in requests.approvals:
            arguments = call.args_as_dict()
            refusal = get_approval(
                self._ctx, self._steps, call.tool_name, arguments, self._find_approvers(call), self._key, self._code
            )
            results[call.tool_call_id] = ToolDenied(refusal) if refusal else True
        return results

    def _find_approvers(self, call: ToolCallPart) -> Approvers:
        if isinstance(self._approvers, Mapping):
            return self._approvers.get(call.tool_name, True)
        return self._approvers


@dataclass
class Answer:
    """One request to a model. It is an async iterable of the answer's texts; ``response`` is complete at their end."""

    ctx: Context
    model: Model
    messages: list[ModelMessage]
    settings: ModelSettings | None
    parameters: ModelRequestParameters
    response: ModelResponse | None = None
    is_reported: bool = False
    stored: dict[str, Any] | None = None

    @property
    def can_be_shown(self) -> bool:
        """True if the agent's output may be a text: else texts are JSON, or nothing that the agent accepts."""
        return self.parameters.allow_text_output and self.parameters.output_mode in ("text", "tool")

    async def __aiter__(self) -> AsyncIterator[str]:
        if not _can_stream(self.model):
            self.response = await self.model.request(self.messages, self.settings, self.parameters)
            yield self.response.text or ""
            return
        async with self.model.request_stream(self.messages, self.settings, self.parameters) as stream:
            try:
                async for text in _iterate_texts(stream):
                    yield text
            finally:
                self.response = stream.get()
        self.response = stream.get()  # closing the stream may have added to it

    def collect(self, before_last: Callable[[str], None]) -> None:
        """Wait for the answer, and show nothing of it."""
        with closing(iterate_texts(self, None)) as texts:
            for _ in texts:
                if self.ctx.cancelled:
                    break

    def report_usage(self) -> None:
        """Report the tokens of the answer once, as far as it has come."""
        response = self.response
        if self.is_reported or response is None or not response.usage.has_values():
            return
        self.is_reported = True
        self.ctx.usage(
            model=response.model_name or self.model.model_name,
            input=response.usage.input_tokens,
            output=response.usage.output_tokens,
            cached=response.usage.cache_read_tokens,
        )

    def to_json(self) -> dict[str, Any]:
        """Return what the step stores, beside the text that users see: the same each time, once it is complete."""
        if self.stored is None:
            self.report_usage()  # before the commit that stores the answer
            parts = self.response.parts if self.response is not None else ()
            self.stored = {
                "response": _response.dump_python(self.response, mode="json") if self.response is not None else None,
                "calls": any(isinstance(part, ToolCallPart) for part in parts),
                "is_stopped": self.response is None or self.ctx.cancelled,
            }
        return self.stored


async def _iterate_texts(stream: StreamedResponse) -> AsyncIterator[str]:
    """Yield the texts of a response; two that something else stands between are two paragraphs."""
    last: int | None = None
    async for event in stream:
        index, text = _text_of(event)
        if text and last is not None and index > last + 1:
            yield "\n\n"
        if text:
            last = index
        yield text


def _text_of(event: ModelResponseStreamEvent) -> tuple[int, str]:
    """Return the number of the part that an event belongs to, and the text that it adds."""
    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
        return event.index, event.part.content
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        return event.index, event.delta.content_delta
    return 0, ""


def _can_stream(model: Model) -> bool:
    while isinstance(model, WrapperModel):
        model = model.wrapped
    if isinstance(model, FunctionModel):
        return model.stream_function is not None
    return type(model).request_stream is not Model.request_stream


class StepModel(WrapperModel):
    """A model whose answers are steps of the handler."""

    def __init__(self, wrapped: Model, run: DurableRun) -> None:
        super().__init__(wrapped)
        self._run = run

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Return the answer, which one run asks the model for."""
        return self._run.request(self.wrapped, messages, model_settings, model_request_parameters)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """Stream the whole answer again, for the agent's own ``event_stream_handler``."""
        response = await self.request(messages, model_settings, model_request_parameters)
        yield CompletedStreamedResponse(response, model_request_parameters=model_request_parameters, replay_events=True)


@dataclass
class StepToolset(WrapperToolset[Any]):
    """The tools of an agent, whose calls are steps of the handler."""

    run: DurableRun

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """Return the agent's tools, and those of the client."""
        return self.run.add_client_tools(self, await self.wrapped.get_tools(ctx))

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """Return the result of a call, which one run makes."""
        call = partial(self.wrapped.call_tool, name, tool_args, ctx, tool)
        return self.run.call_tool(name, tool_args, ctx.tool_call_id or "", call)


class StepCapability(AbstractCapability[Any]):
    """Makes steps of what an agent does in one run."""

    def __init__(self, run: DurableRun) -> None:
        self._run = run

    def get_ordering(self) -> CapabilityOrdering:
        """Return that no other capability comes between this one and the model."""
        return CapabilityOrdering(position="innermost")

    def get_wrapper_model(self, model: Model) -> Model:
        """Return a model whose answers are steps."""
        return StepModel(model, self._run)

    def get_wrapper_toolset(self, toolset: AbstractToolset[Any]) -> AbstractToolset[Any]:
        """Return tools whose calls are steps."""
        return StepToolset(toolset, self._run)

    async def handle_deferred_tool_calls(
        self, ctx: RunContext[Any], *, requests: DeferredToolRequests
    ) -> DeferredToolResults | None:
        """Return the decisions about calls that need an approval, and the client's results, once all have come."""
        return self._run.resolve(requests)


def _to_shown(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments of a call, which the agent may have converted to objects of any class, as JSON."""
    try:
        return dict(_anything.dump_python(arguments, mode="json", fallback=str))
    except ValueError:  # it refers to itself
        return {}


def _to_external(toolset: AbstractToolset[Any], tool: Tool) -> ToolsetTool[Any]:
    """Return a tool whose result comes from elsewhere."""
    definition = ToolDefinition(
        name=tool.name,
        description=tool.description,
        parameters_json_schema=dict(tool.parameters),
        kind="external",
    )
    return ToolsetTool(toolset=toolset, tool_def=definition, max_retries=1, args_validator=_any_arguments)


def _make_call(name: str, call: Callable[[], Any]) -> Mapping[str, Any]:
    """Return the result of a call as JSON, also if the tool raises one of the exceptions that agents understand."""
    try:
        value = run_coroutine(call())
    except (ModelRetry, ToolFailed) as error:
        return {"raised": type(error).__name__, "message": error.message}
    except ValidationError as error:  # which agents treat like ModelRetry
        return {"raised": "ModelRetry", "message": str(error)}
    except ApprovalRequired as error:
        return {"raised": "ApprovalRequired", "metadata": _to_json(name, _content, error.metadata)}
    except CallDeferred as error:
        return {"raised": "CallDeferred", "metadata": _to_json(name, _content, error.metadata), "kind": error.kind}
    if isinstance(value, ToolReturn):
        return {"return": _to_json(name, _return, value)}
    return {"value": _to_json(name, _content, value)}


def _to_json(name: str, adapter: TypeAdapter[Any], value: Any) -> Any:
    try:
        return adapter.dump_python(value, mode="json")
    except ValueError as error:
        raise BotError(f"the tool {name}: expected a result that can be stored as JSON, got {value!r}") from error


def _describe_result(stored: Mapping[str, Any]) -> str:
    """Return a stored result as a text like that which the model gets."""
    match stored.get("raised"):
        case "ModelRetry" | "ToolFailed":
            return f"error: {stored['message']}"
        case "ApprovalRequired":
            return "needs an approval"
        case "CallDeferred":
            return "goes on elsewhere"
    if "error" in stored:
        return f"error: {stored['error']}"
    return describe_value(stored["return"].get("return_value") if "return" in stored else stored["value"])


def _load_result(stored: Mapping[str, Any]) -> Any:
    """Return the stored result of a call, or raise what the tool has raised."""
    match stored.get("raised"):
        case "ModelRetry":
            raise ModelRetry(stored["message"])
        case "ToolFailed":
            raise ToolFailed(stored["message"])
        case "ApprovalRequired":
            raise ApprovalRequired(metadata=stored["metadata"])
        case "CallDeferred":
            raise CallDeferred(metadata=stored["metadata"], kind=stored["kind"])
    if "error" in stored:  # it was too long
        raise ToolFailed(stored["error"])
    if "return" in stored:
        return _return.validate_python(stored["return"])
    return _content.validate_python(stored["value"])
