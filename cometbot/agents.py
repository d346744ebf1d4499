"""Agents: a model that answers, calls tools, and answers again, as steps of a handler.

Each answer of the model is a step, and each call of a tool is one: a later run gets what is stored.
"""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from types import CodeType
from typing import Any, TypeAlias

from cometbot import error_text
from cometbot.approvals import EXPIRED, Approval, ApprovalRequest
from cometbot.client_tools import describe_client_result
from cometbot.durations import Duration, to_seconds
from cometbot.errors import AgentLimit, BotError, DeliveryError, NotDelivered
from cometbot.event_loop import run_in_thread
from cometbot.json_depth import MAX_DEPTH, limit_depth
from cometbot.models import User
from cometbot.questions import to_json_value
from cometbot.redaction import redact
from cometbot.sent import Sent
from cometbot.sinks import StepCalls
from cometbot.steps import CallOptions, ToolUse
from cometbot.stream_sending import StreamSender
from cometbot.text import replace_surrogates
from cometbot.tool_schemas import InvalidArgument
from cometbot.tools import Approvers, ClientSideTool, Tool, ToolFailure, choose_tools
from cometbot.turns import ToolCall, Turn

Model: TypeAlias = Callable[[list[Turn], Sequence[Tool]], Any]
"""What answers: gets the turns so far and the tools, and returns an iterable of texts and :class:`ToolCall` objects."""

MAX_CALLS_AT_ONCE = 32
"""The calls of one answer that are made; the model is asked to repeat the others."""

MAX_KNOWN_CALLS = 200
"""The calls of one answer that are kept at all, so that they fit into a step."""

MAX_ARGUMENTS_BYTES = 64 * 1024
"""The bytes of JSON that the arguments of all calls of one answer may have; a call beyond gets an error."""

_MAX_NAME_LENGTH = 100
"""The characters of a tool's name, and of a call's id, that are kept. Those of all providers are shorter."""

MAX_ERROR_LENGTH = 500
"""The characters of an error that the model gets."""

MAX_APPROVAL_LENGTH = 3000
"""The characters of all arguments on the card of an approval."""


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """The arguments of one call of ``ctx.run_agent``."""

    model: Model
    tools: Iterable[Any] | None = None
    turns: Sequence[Turn] | None = None
    instructions: str = ""
    limit: int = 10
    timeout: Duration | None = None
    key: str = ""

    def __post_init__(self) -> None:
        if not callable(self.model):
            raise BotError(f"run_agent: expected a function model(turns, tools), got {self.model!r}")
        if isinstance(self.limit, bool) or not isinstance(self.limit, int) or self.limit < 1:
            raise BotError(f"run_agent: limit: expected 1 or more, got {self.limit!r}")


class ModelAnswer:
    """The answer of a model while it arrives: ``open`` asks the model, ``read`` returns the text of a piece.

    ``is_stopped`` says if the user has stopped the run, so that the calls of the answer are not made.
    """

    def __init__(self, open: Callable[[], Any], check_time: Callable[[], None], is_stopped: Callable[[], bool]) -> None:
        self._text = ""
        self._calls: list[dict[str, Any]] = []
        self._free_bytes = MAX_ARGUMENTS_BYTES
        self._open = open
        self._check_time = check_time
        self._is_stopped = is_stopped
        self._stored: dict[str, Any] | None = None

    def open(self) -> Any:
        """Ask the model, and return the pieces of its answer."""
        self._check_time()
        pieces = self._open()
        if not (isinstance(pieces, Iterable | AsyncIterable) or inspect.isawaitable(pieces)):
            raise BotError(f"run_agent: the model: expected an iterable of texts and ToolCall objects, got {pieces!r}")
        return pieces

    def read(self, piece: Any) -> str:
        """Return the text of a piece, empty for a call."""
        self._check_time()
        if isinstance(piece, ToolCall):
            self._add_call(piece)
        elif isinstance(piece, str):
            self._text += piece
            return piece
        elif piece is not None:
            raise BotError(f"run_agent: the model: expected texts and ToolCall objects, got {piece!r}")
        return ""

    def _add_call(self, piece: ToolCall) -> None:
        if len(self._calls) >= MAX_KNOWN_CALLS:
            return
        call = _call_to_json(piece)
        size = len(json.dumps(call["arguments"]))
        if size > self._free_bytes:
            allowed = f"more than the {MAX_ARGUMENTS_BYTES} allowed for all calls of one answer"
            call.update(arguments={}, problem=f"the arguments have {size} bytes, {allowed}")
        else:
            self._free_bytes -= size
        self._calls.append(call)

    def to_json(self) -> dict[str, Any]:
        """Return what its step stores, beside the text that users see: the same each time, once it is complete."""
        if self._stored is None:
            self._stored = {"answer": self._text, "calls": [] if self._is_stopped() else self._calls}
        return self._stored


class Agent:
    """One call of ``ctx.run_agent``. ``code`` is that of the function that made it."""

    def __init__(
        self, ctx: Any, steps: StepCalls, make_sender: Callable[[], StreamSender], options: AgentOptions, code: CodeType
    ) -> None:
        self._ctx = ctx
        self._steps = steps
        self._make_sender = make_sender
        self._options = options
        self._code = code
        self._added: list[Turn] = []
        self._ids: set[str] = set()
        self._first_turns: list[Turn] | None = None
        timeout = options.timeout
        self._end = None if timeout is None else time.monotonic() + to_seconds(timeout, "run_agent: timeout")

    @cached_property
    def _tools(self) -> dict[str, Tool]:
        """The tools by name. A run that repeats what is stored asks no server for its tools."""
        return run_in_thread(choose_tools, self._ctx.bot.tools, self._options.tools)

    def run(self) -> Sent | None:
        """Return the message of the last answer. Raises :class:`AgentLimit` if it does not come within the limits."""
        for number in range(1, self._options.limit + 1):
            sent, result = self._request()
            if not result["calls"] or self._steps.cancelled():
                return sent
            if number < self._options.limit and not self._make_calls(result):
                return sent
        raise AgentLimit(f"the model wanted to call tools in each of {self._options.limit} answers (run_agent: limit)")

    def _request(self) -> tuple[Sent | None, Mapping[str, Any]]:
        """Return the next answer of the model: its message, if it has a text, and what is stored of it."""
        sender = self._make_sender()
        answer = ModelAnswer(self._call_model, self._check_time, lambda: self._ctx.cancelled)
        return self._steps.model(
            partial(sender.send, answer.open, text=answer.read),
            sender.restore,
            answer.to_json,
            self._options.key,
            self._code,
        )

    def _call_model(self) -> Any:
        if self._first_turns is None:
            instructions = self._options.instructions
            turns = self._ctx.turns() if self._options.turns is None else self._options.turns
            self._first_turns = [*([Turn("system", instructions)] if instructions else ()), *turns]
        return self._options.model([*self._first_turns, *self._added], tuple(self._tools.values()))

    def _check_time(self) -> None:
        if self._end is not None and time.monotonic() >= self._end:
            raise AgentLimit(f"the model did not come to an end within {self._options.timeout} (run_agent: timeout)")

    def _make_calls(self, result: Mapping[str, Any]) -> bool:
        """Make the calls of an answer, one after the other, and add both to the turns of the next request.

        Return False if the user has stopped the run meanwhile.
        """
        stored = result["calls"]
        calls = [ToolCall(item["name"], _to_mapping(item["arguments"]), self._make_id(item["id"])) for item in stored]
        self._added.append(Turn("assistant", result["answer"], tool_calls=tuple(calls)))
        for index, call in enumerate(calls):
            if index < MAX_CALLS_AT_ONCE:
                text = self._make_call(call.name, stored[index]["arguments"], stored[index].get("problem", ""))
            else:
                text = f"error: not called; call at most {MAX_CALLS_AT_ONCE} tools at once"
            self._added.append(Turn("tool", redact(self._ctx.bot, text), tool_call_id=call.id))
            if self._steps.cancelled():
                return False
        return True

    def _make_id(self, given: str) -> str:
        """Return the id of a call: that of the model, if no call before has it, since providers refuse a second one."""
        found, number = given, len(self._ids)
        while not found or found in self._ids:
            found, number = f"call-{number}", number + 1
        self._ids.add(found)
        return found

    def _make_call(self, name: str, arguments: Any, problem: str) -> str:
        """Return the result of a call for the model. ``problem`` is what is wrong with its arguments already."""
        identity = f"{name}\n{json.dumps(arguments, sort_keys=True)}"
        use = ToolUse(name, _to_mapping(arguments), identity, self._describe_for_model)
        if self._steps.has_stored_tool:
            return _describe_result(self._steps.tool(dict, use, self._options.key, self._code))
        if self._steps.has_begun_client_call:
            return self._call_client(name, _to_mapping(arguments))
        tool = self._tools.get(name)
        converted, error = self._convert(tool, name, arguments) if not problem else ({}, problem)
        if isinstance(tool, ClientSideTool) and not error:
            return self._call_client(name, converted)
        must_ask = tool is not None and not error and tool.requires_approval is not False
        if must_ask or self._steps.has_asked_approval:  # a deploy may have changed the tool while it waited
            error = self._get_approval(name, tool.requires_approval if tool else True, _to_mapping(arguments)) or error
        call = partial(_refuse, error) if error or tool is None else partial(self._call_tool, tool, converted)
        result = self._steps.tool(call, use, self._options.key, self._code)
        return _describe_result(result)

    def _describe_for_model(self, result: Mapping[str, Any]) -> str:
        return redact(self._ctx.bot, _describe_result(result))

    def _call_client(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Return the client's result of a call for the model."""
        return call_client(self._ctx, self._steps, name, arguments, self._options.key, self._code)

    def _convert(self, tool: Tool | None, name: str, arguments: Any) -> tuple[Mapping[str, Any], str]:
        """Return the converted arguments of a call, and why it cannot be made, empty if it can."""
        if tool is None:
            return {}, f"there is no tool {name!r}; the tools are: {', '.join(self._tools) or 'none'}"
        try:
            return tool.convert(arguments), ""
        except InvalidArgument as problem:
            return {}, f"the arguments do not fit: {problem}"

    def _call_tool(self, tool: Tool, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the result of a call, or the error that the author's function raised, as JSON."""
        try:
            value = tool.call(self._ctx, arguments)
        except (BotError, DeliveryError):
            raise
        except ToolFailure as failure:
            return {"error": str(failure)[:MAX_ERROR_LENGTH]}
        except Exception as error:
            self._ctx.log.warning("the tool %s raised an error, which its model gets", tool.name, exc_info=True)
            return {"error": describe_error(error)}
        return {"value": to_json_value(value, f"the tool {tool.name}")}

    def _get_approval(self, name: str, to: Approvers, arguments: Mapping[str, Any]) -> str:
        """Wait until a call is approved. Return why it is not, empty if it is."""
        return get_approval(self._ctx, self._steps, name, arguments, to, self._options.key, self._code)


def get_approval(
    ctx: Any, steps: StepCalls, name: str, arguments: Mapping[str, Any], to: Approvers, key: str, code: CodeType
) -> str:
    """Wait until the call of a tool is approved. Return why it is not, empty if it is."""
    fields = _make_fields(arguments)
    if sum(len(name) + len(value) for name, value in fields.items()) > MAX_APPROVAL_LENGTH:
        return f"the arguments are too long for an approval; use at most {MAX_APPROVAL_LENGTH} characters"
    asker = ctx.sender
    if to is True and not asker.uid and not steps.has_asked_approval:
        return "not called: nobody has asked for it, so nobody can approve it"
    own = to is True or (isinstance(to, User) and to.uid.casefold() == asker.uid.casefold())
    request = ApprovalRequest(
        f"Run {name}?",
        fields,
        None if isinstance(to, bool) else to,
        [asker] if to is True else None,
        own=own,
        key=key,
    )
    try:
        return _describe_refusal(steps.approve(request, code))
    except NotDelivered:
        ctx.log.warning("the card that asks to approve the tool %s was not delivered", name)
        return "not called: nobody could be asked to approve it"


def call_client(ctx: Any, steps: StepCalls, name: str, arguments: Mapping[str, Any], key: str, code: CodeType) -> str:
    """Wait for the result of a client's tool. Return it as a text for a model."""
    try:
        return describe_client_result(steps.call_client(name, arguments, CallOptions(key=key), code))
    except NotDelivered:
        ctx.log.warning("the call of the client's tool %s was not delivered", name)
        return "error: not called: the call did not reach the client"


def _call_to_json(call: ToolCall) -> dict[str, Any]:
    arguments: Any = call.arguments
    if isinstance(arguments, str):  # as providers send them
        with suppress(ValueError, RecursionError):
            arguments = json.loads(arguments) if arguments.strip() else {}
    try:
        arguments = to_json_value(dict(arguments) if isinstance(arguments, Mapping) else arguments, "")
        if limit_depth(written := json.dumps(arguments)) != written:
            arguments = f"JSON of more than {MAX_DEPTH} levels"
    except BotError:  # NaN, and the like
        arguments = _describe_no_json(arguments)
    name, id = str(call.name)[:_MAX_NAME_LENGTH], str(call.id or "")
    return replace_surrogates({"name": name, "arguments": arguments, "id": id if len(id) <= _MAX_NAME_LENGTH else ""})


def _describe_no_json(value: Any) -> str:
    try:
        return str(value)[:MAX_ERROR_LENGTH]
    except (ValueError, RecursionError):  # too many digits or levels
        return type(value).__name__


def _to_mapping(arguments: Any) -> Mapping[str, Any]:
    return arguments if isinstance(arguments, Mapping) else {}


def _refuse(error: str) -> Mapping[str, Any]:
    return {"error": error}


def _describe_result(result: Mapping[str, Any]) -> str:
    """Return a stored result for the model."""
    if "error" in result:
        return f"error: {result['error']}"
    return describe_value(result["value"])


def describe_value(value: Any) -> str:
    """Return what a tool returned, JSON, as a text for a model."""
    if value is None:
        return "done"
    value = replace_surrogates(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def describe_error(error: Exception) -> str:
    """Return an exception of a tool as a text for a model."""
    return error_text.describe_error(error)[:MAX_ERROR_LENGTH]


def _describe_refusal(approval: Approval) -> str:
    if approval:
        return ""
    if approval.status == EXPIRED:
        return "not called: nobody has approved it in time"
    return f"not called: declined by {approval.by}"


def _make_fields(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return all arguments as the fields of a card: none hides or imitates another."""
    fields: dict[str, str] = {}
    for name, value in arguments.items():
        label = _show(name.replace("_", " ").strip().capitalize())
        fields[_show(json.dumps(name)) if label in fields else label] = _show(value)
    return fields


def _show(value: Any) -> str:
    """Return an argument in one line, so that its text cannot look like another argument."""
    if isinstance(value, str) and value.isprintable() and value.strip():
        return value
    return json.dumps(value, ensure_ascii=not isinstance(value, dict | list))
