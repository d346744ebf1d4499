"""The arguments of ``ctx.call``, and the conversion of the client's result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cometbot.action_values import decode_value
from cometbot.errors import AskTimeout, BotError
from cometbot.json_depth import limit_depth
from cometbot.messages import ClientCall
from cometbot.models import ClientTool
from cometbot.steps import NO_DEFAULT, TIMEOUT, CallOptions
from cometbot.text import replace_surrogates
from cometbot.tool_schemas import InvalidArgument
from cometbot.tools import ClientSideTool

if TYPE_CHECKING:
    from cometbot.reading import ConversationReader

_OPTIONS = ("timeout", "default", "key")
_CHANNELS = "agui"
"""The channels whose clients have tools, as errors name them."""


def check_has_clients(ctx: ConversationReader) -> None:
    """Raise :class:`BotError` unless the clients of the event's channel can have tools."""
    if ClientCall not in ctx._sink.capabilities.native:
        raise BotError(
            f"call: the clients of the channel {ctx.conversation.channel} have no tools; those of {_CHANNELS} may have "
            "some. Look into ctx.client_tools first"
        )


def read_options(given: Mapping[str, Any]) -> CallOptions:
    """Return the options of a call whose arguments are a mapping. Raises :class:`BotError` for unknown ones."""
    unknown = [name for name in given if name not in _OPTIONS]
    if unknown:
        raise BotError(
            f"call: expected only the options {', '.join(_OPTIONS)} beside a mapping of arguments, got "
            f"{', '.join(unknown)}; put all arguments into the mapping"
        )
    return CallOptions(**given)


def find_client_tool(ctx: ConversationReader, given: ClientTool | str) -> ClientTool:
    """Return the tool of this name that the client offers. Raises :class:`BotError` if it offers none."""
    if not isinstance(given, ClientTool | str):
        raise BotError(f"call: expected a tool of ctx.client_tools or its name, got {given!r}")
    check_has_clients(ctx)
    name = given if isinstance(given, str) else given.name
    for tool in ctx.client_tools:
        if tool.name == name:
            return tool
    known = ", ".join(tool.name for tool in ctx.client_tools) or "none"
    raise BotError(
        f"call: the client offers no tool {name!r}; its tools are: {known}. Look into ctx.client_tools first"
    )


def check_call(tool: ClientTool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call as JSON. Raises :class:`BotError` if the tool does not take them."""
    try:
        fitting = ClientSideTool.from_client(tool).convert(arguments)
        written: dict[str, Any] = json.loads(json.dumps(dict(fitting), allow_nan=False))
    except InvalidArgument as error:
        raise BotError(f"call: the arguments of {tool.name} do not fit: {error}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise BotError(f"call: the arguments of {tool.name}: expected JSON, got {arguments!r}: {error}") from error
    return written


def read_result(name: str, result: Mapping[str, Any], options: CallOptions) -> Any:
    """Return what a handler gets from a stored result: JSON, or a text that is none.

    Raises :class:`AskTimeout` if there is none in time, without a default, and :class:`BotError` for a long one.
    """
    if result.get("ended") == TIMEOUT:
        if options.default is not NO_DEFAULT:
            return options.default
        raise AskTimeout(f"the client has not returned the result of its tool {name} in time")
    if "error" in result:
        raise BotError(f"call: {name}: {result['error']}")
    return dict(result["values"]) if "values" in result else _parse(_get_text(result))


def describe_client_result(result: Mapping[str, Any]) -> str:
    """Return a stored result as a text for a model."""
    if result.get("ended") == TIMEOUT:
        return "error: the client has returned no result in time"
    if "error" in result:
        return f"error: {result['error']}"
    text = json.dumps(result["values"], ensure_ascii=False) if "values" in result else _get_text(result)
    return str(replace_surrogates(text)) or "done"


def _get_text(result: Mapping[str, Any]) -> str:
    value = str(result["value"])
    text = decode_value(value)  # the value of an action, which marks a text that begins with "="
    return text if isinstance(text, str) else value


def _parse(text: str) -> Any:
    if limit_depth(text) != text:
        return text
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
