"""Tools: functions of the author's that a language model may call."""

from __future__ import annotations

import inspect
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from cometbot.commands import (
    ProvidedParameter,
    can_be_provided,
    get_python_signature,
    resolve_annotation,
)
from cometbot.errors import BotError, RegistrationError
from cometbot.event_loop import run_coroutine
from cometbot.handlers import check_callable, function_name, is_coroutine_function
from cometbot.models import ClientTool, Conversation, Group, User
from cometbot.providers import ProvidedCall, Provider, Providers, find_provider
from cometbot.tool_schemas import (
    InvalidArgument,
    Member,
    ObjectType,
    describe_function,
    describe_parameters,
    make_member,
)

logger = logging.getLogger(__name__)

Approvers: TypeAlias = bool | Group | User | Conversation
"""Who must approve a call: nobody (False), the user who asked (True), or others."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, kw_only=True)
class Tool(ABC):
    """A tool as a model sees it: a name, a description, and the JSON schema of its arguments.

    ``requires_approval`` is who must approve each call: True for the user who asked, or a :class:`Group`, a
    :class:`User` or a :class:`Conversation`.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    requires_approval: Approvers = False

    def to_openai(self) -> Any:
        """Return the tool in the format of OpenAI's Chat Completions API."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}

    def to_anthropic(self) -> Any:
        """Return the tool in the format of Anthropic's Messages API."""
        return {"name": self.name, "description": self.description, "input_schema": dict(self.parameters)}

    @abstractmethod
    def convert(self, arguments: Any) -> Mapping[str, Any]:
        """Return the arguments of a call, converted. Raises :class:`~cometbot.tool_schemas.InvalidArgument`."""

    @abstractmethod
    def call(self, ctx: Any, arguments: Mapping[str, Any]) -> Any:
        """Return the result of a call with converted arguments. The calling thread waits for an async function."""


class ToolFailure(Exception):
    """A call has failed for a reason that the model gets as it is."""


class ToolSource(ABC):
    """What has tools that are known only when a model is asked, such as a server."""

    @abstractmethod
    def list_tools(self) -> Sequence[Tool]:
        """Return the tools as they are now."""


@dataclass(frozen=True, kw_only=True)
class FunctionTool(Tool):
    """A function of the author's.

    ``arguments`` are the parameters that the model fills, ``provided`` those that the bot provides by ``providers``.
    ``kinds`` are the annotations of the former by name.
    """

    function: Callable[..., Any]
    arguments: ObjectType = field(repr=False)
    kinds: Mapping[str, Any] = field(repr=False)
    takes_context: bool = False
    provided: tuple[ProvidedParameter, ...] = ()
    providers: Providers = field(default_factory=dict, repr=False)

    @classmethod
    def from_function(
        cls, function: Any, *, name: str = "", description: str = "", requires_approval: Approvers = False
    ) -> FunctionTool:
        """Return the tool for a function. Raises :class:`RegistrationError` if it cannot be one."""
        full_name = function_name(function)
        check_callable(function, full_name)
        name = name or str(getattr(getattr(function, "func", function), "__name__", ""))
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise RegistrationError(f"a tool's name is 1 to 64 of A-Z a-z 0-9 _ -, for all models; not {name!r}")
        if not isinstance(requires_approval, bool | Group | User | Conversation):
            raise RegistrationError(
                f"requires_approval of the tool {name}: expected True (the user), a Group, a User or a Conversation, "
                f"got {requires_approval!r}"
            )
        parameters = list(get_python_signature(function, full_name).parameters.values())
        takes_context = bool(parameters) and _is_context(parameters[0])
        members, kinds, provided = _read_parameters(function, full_name, parameters[takes_context:])
        arguments = ObjectType(tuple(members))
        return cls(
            name=name,
            description=description or describe_function(_get_docstring(function)),
            parameters=arguments.schema,
            requires_approval=requires_approval,
            function=function,
            arguments=arguments,
            kinds=kinds,
            takes_context=takes_context,
            provided=tuple(provided),
        )

    def with_providers(self, providers: Providers) -> FunctionTool:
        """Return this tool with ``providers`` behind those that it has, and without arguments that they provide."""
        providers = {**providers, **self.providers}
        taken = {name for name, kind in self.kinds.items() if isinstance(kind, type) and kind in providers}
        arguments = ObjectType(tuple(item for item in self.arguments.members if item.name not in taken))
        return replace(
            self,
            parameters=arguments.schema,
            arguments=arguments,
            kinds={name: kind for name, kind in self.kinds.items() if name not in taken},
            provided=(*self.provided, *(ProvidedParameter(name, self.kinds[name], None) for name in sorted(taken))),
            providers=providers,
        )

    def find_providers(self) -> list[tuple[ProvidedParameter, Provider]]:
        """Return what provides each parameter that is provided. Raises :class:`RegistrationError` if nothing does."""
        is_async = is_coroutine_function(self.function)
        name = f"the tool {self.name}"
        return [
            (item, find_provider(item, name, is_async=is_async, scopes=(self.providers,))) for item in self.provided
        ]

    def convert(self, arguments: Any) -> Mapping[str, Any]:
        """Return the arguments of a call, converted. Raises :class:`~cometbot.tool_schemas.InvalidArgument`."""
        return self.arguments.convert(arguments)

    def call(self, ctx: Any, arguments: Mapping[str, Any]) -> Any:
        """Return the result of a call with converted arguments. The calling thread waits for an async function."""
        call = ProvidedCall(self._call_function, self.find_providers(), _accept)
        if is_coroutine_function(self.function):
            return run_coroutine(call.call_async(ctx, ([], dict(arguments))))
        value = call.call(ctx, ([], dict(arguments)))
        return run_coroutine(value) if inspect.iscoroutine(value) else value

    def _call_function(self, ctx: Any, **named: Any) -> Any:
        return self.function(ctx, **named) if self.takes_context else self.function(**named)


@dataclass(frozen=True, kw_only=True)
class ClientSideTool(Tool):
    """A tool of the client's. A model may call it like the others; then the handler waits for the client's result."""

    @classmethod
    def from_client(cls, tool: ClientTool) -> ClientSideTool:
        """Return the tool for what a client offers."""
        parameters = {"type": "object", "properties": {}, **tool.parameters}
        return cls(name=tool.name, description=tool.description, parameters=parameters)

    def convert(self, arguments: Any) -> Mapping[str, Any]:
        """Return the arguments, whose names alone are checked: the client checks their values.

        Raises :class:`~cometbot.tool_schemas.InvalidArgument` for missing ones, and for others than the schema allows.
        """
        if not isinstance(arguments, Mapping):
            raise InvalidArgument(("", f"expected an object, got {arguments!r}"))
        required, known = self.parameters.get("required"), self.parameters.get("properties")
        names = required if isinstance(required, list | tuple) else ()
        problems = [(str(name), "missing") for name in names if name not in arguments]
        if self.parameters.get("additionalProperties") is False and isinstance(known, Mapping):
            problems += [(str(name), "unknown") for name in arguments if name not in known]
        if problems:
            raise InvalidArgument(*problems)
        return arguments

    def call(self, ctx: Any, arguments: Mapping[str, Any]) -> Any:
        """Raise :class:`BotError`: no function here is called, the client is."""
        raise BotError(f"the tool {self.name} is one of the client: call it with ctx.call")


def _get_docstring(function: Any) -> str | None:
    return inspect.getdoc(getattr(function, "func", function))  # a partial has that of its class


def _accept(value: Any) -> None:
    """Accept what a tool returned, whatever it is."""


def _read_parameters(
    function: Any, name: str, parameters: Sequence[inspect.Parameter]
) -> tuple[list[Member], dict[str, Any], list[ProvidedParameter]]:
    described = describe_parameters(_get_docstring(function))
    members: list[Member] = []
    kinds: dict[str, Any] = {}
    provided: list[ProvidedParameter] = []
    for item in parameters:
        if item.kind not in _NAMED:
            raise RegistrationError(
                f"a model fills the parameters of the tool {name} by their names, so it cannot have {item}"
            )
        annotation = resolve_annotation(function, name, item, include_extras=True)
        member = _make_member(name, item, annotation, described.get(item.name, ""))
        if member is None:
            provided.append(ProvidedParameter(item.name, annotation, None))
        else:
            members.append(member)
            kinds[item.name] = annotation
    return members, kinds, provided


def _make_member(name: str, item: inspect.Parameter, annotation: Any, description: str) -> Member | None:
    """Return a parameter that the model fills, or None for a class that can only be provided."""
    try:
        return make_member(item.name, annotation, item.default, description)
    except (TypeError, NameError) as error:
        if can_be_provided(annotation):
            return None
        raise RegistrationError(
            f"{item.name}: {annotation!r} of the tool {name} is not made from JSON ({error}); use str, int, float, "
            "bool, Decimal, date, time, datetime, an Enum, Literal[…], a dataclass, list[…], dict[str, …] or one of "
            "these with | None, or a class that bot.provide() provides"
        ) from None


def _is_context(item: inspect.Parameter) -> bool:
    """Return True for a first parameter that gets the context: named ``ctx``, or annotated with its class."""
    if item.kind not in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD):
        return False
    annotation = item.annotation
    written = annotation if isinstance(annotation, str) else getattr(annotation, "__qualname__", "")
    return item.name == "ctx" or written.rpartition(".")[2] == "Context"


def check_approvers(option: str, approvers: Approvers | Mapping[str, Approvers]) -> None:
    """Raise :class:`BotError` unless ``approvers`` are those of all tools, or of each by its name."""
    for item in approvers.values() if isinstance(approvers, Mapping) else [approvers]:
        if not isinstance(item, bool | Group | User | Conversation):
            raise BotError(
                f"{option}: expected True (the user), a Group, a User or a Conversation, or a dict of these by the "
                f"names of tools, got {approvers!r}"
            )


def choose_tools(registered: Sequence[FunctionTool], given: Iterable[Any] | None) -> dict[str, Tool]:
    """Return the tools for ``tools=[…]`` by name: those of the bot for None.

    A function that is registered is the tool of the bot, with its approval. A tool of the client is left out if its
    name is that of another one, or none that all models take: clients choose these names. Raises :class:`BotError` for
    anything that is no tool, and for two other tools of one name.
    """
    if given is None:
        return {tool.name: tool for tool in registered}
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise BotError(f"run_agent: tools: expected a list of functions, got {given!r}")
    chosen: dict[str, Tool] = {}
    offered: list[ClientTool] = []
    for item in given:
        if isinstance(item, ClientTool):
            offered.append(item)  # after all others, whose names go first
            continue
        for tool in item.list_tools() if isinstance(item, ToolSource) else [_to_tool(registered, item)]:
            if tool.name in chosen:
                raise BotError(f"run_agent: tools: two of them are named {tool.name}")
            chosen[tool.name] = tool
    for client_tool in offered:
        if client_tool.name in chosen or not _NAME.fullmatch(client_tool.name):
            logger.warning("left out the client's tool %r, whose name is taken or not valid", client_tool.name)
            continue
        chosen[client_tool.name] = ClientSideTool.from_client(client_tool)
    return chosen


def _to_tool(registered: Sequence[FunctionTool], given: Any) -> Tool:
    if isinstance(given, Tool):
        return given
    own = next((tool for tool in registered if tool.function == given), None)
    if own is not None:
        return own
    if not callable(given) or isinstance(given, type):
        raise BotError(f"run_agent: tools: expected functions, got {given!r}")
    return FunctionTool.from_function(given)
