"""Tools: which functions can be one, and how they are called."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from cometbot import Bot, Context, Group, Router, Tool
from cometbot.errors import RegistrationError
from cometbot.tools import FunctionTool

if TYPE_CHECKING:
    from elsewhere import Missing


class Session:
    def __init__(self) -> None:
        self.is_open = True


@dataclass
class Account:
    name: str = "test"


@pytest.fixture
def bot() -> Bot:
    return Bot("shop")


def call(tool: Tool, ctx: Any = None, **arguments: Any) -> Any:
    return tool.call(ctx, tool.convert(arguments))


def test_decorated_function_stays_as_it_is(bot: Bot) -> None:
    @bot.tool
    def add(a: int, b: int = 1) -> int:
        """Add two numbers."""
        return a + b

    @bot.tool(name="double", description="Doubles.", requires_approval=Group("team"))
    def twice(a: int) -> int:
        return 2 * a

    assert (add(1, 2), twice(2)) == (3, 4)
    assert [tool.name for tool in bot.tools] == ["add", "double"]
    assert [tool.description for tool in bot.tools] == ["Add two numbers.", "Doubles."]
    assert [tool.requires_approval for tool in bot.tools] == [False, Group("team")]
    assert call(bot.tools[0], a="2") == 3


def test_tool_has_the_formats_of_two_apis(bot: Bot) -> None:
    @bot.tool
    def add(a: int) -> int:
        """Add.

        Args:
            a: What to add.
        """
        return a

    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer", "description": "What to add."}},
        "required": ["a"],
        "additionalProperties": False,
    }
    tool = bot.tools[0]
    assert tool.to_openai() == {
        "type": "function",
        "function": {"name": "add", "description": "Add.", "parameters": schema},
    }
    assert tool.to_anthropic() == {"name": "add", "description": "Add.", "input_schema": schema}


def test_context_is_no_argument(bot: Bot) -> None:
    @bot.tool
    def by_name(ctx, a: str) -> Any:  # type: ignore[no-untyped-def]
        return ctx, a

    @bot.tool
    def by_class(context: Context, a: str) -> Any:
        return context, a

    @bot.tool
    def not_importable(ctx: Missing, a: str) -> Any:
        return ctx, a

    for tool in bot.tools:
        assert list(tool.parameters["properties"]) == ["a"]
        assert call(tool, "the context", a="x") == ("the context", "x")


def test_provided_objects_are_no_arguments_and_are_closed(bot: Bot) -> None:
    made = []

    def make_session() -> Iterator[Session]:
        session = Session()
        made.append(session)
        yield session
        session.is_open = False

    @bot.tool
    def is_open(account: Account, session: Session, a: int = 1) -> Any:
        return session.is_open, account.name, a

    bot.provide(Session, make_session)
    bot.provide(Account, lambda: Account("shop"))
    [tool] = bot.tools
    assert list(tool.parameters["properties"]) == ["a"]
    assert call(tool) == (True, "shop", 1)
    assert [session.is_open for session in made] == [False]


def test_dataclass_that_is_not_provided_is_an_argument(bot: Bot) -> None:
    @bot.tool
    def get_name(account: Account) -> str:
        return account.name

    assert call(bot.tools[0], account={"name": "maria"}) == "maria"


def test_class_that_nothing_provides_fails_the_check(bot: Bot) -> None:
    @bot.tool
    def use(session: Session) -> None: ...

    with pytest.raises(RegistrationError, match=r"session: .*Session.* of the tool use is neither"):
        bot.check()


def test_async_tool_runs_with_async_providers(bot: Bot) -> None:
    async def make_session() -> AsyncIterator[Session]:
        yield Session()

    @bot.tool
    async def is_open(session: Session) -> bool:
        return session.is_open

    bot.provide(Session, make_session)
    assert call(bot.tools[0]) is True


def test_plain_function_may_return_a_coroutine(bot: Bot) -> None:
    async def wait(a: int) -> int:
        return a

    @bot.tool
    def add(a: int) -> Any:
        return wait(a)

    assert call(bot.tools[0], a=1) == 1


def test_methods_partials_and_wrapped_functions_can_be_tools() -> None:
    class Shop:
        def find(self, number: int) -> int:
            """Find."""
            return number

    def find(shop: str, number: int) -> tuple[str, int]:
        """Find."""
        return shop, number

    @functools.wraps(find)
    def wrapped(*args: Any, **named: Any) -> Any:
        return find(*args, **named)

    assert call(FunctionTool.from_function(Shop().find), number=1) == 1
    partial = FunctionTool.from_function(functools.partial(find, "here"))
    assert (partial.name, partial.description, call(partial, number=1)) == ("find", "Find.", ("here", 1))
    assert call(FunctionTool.from_function(wrapped), shop="a", number=1) == ("a", 1)


def test_tools_of_a_router_belong_to_the_bot_that_includes_it(bot: Bot) -> None:
    router = Router()
    router.provide(Session, Session)

    @router.tool
    def use(session: Session) -> bool:
        return session.is_open

    bot.include(router)
    bot.check()
    assert call(bot.tools[0]) is True
    with pytest.raises(RegistrationError, match="included already"):
        router.tool(name="other")(use)


def test_second_tool_of_a_name_is_refused(bot: Bot) -> None:
    router = Router()
    for group in (bot, router):
        group.tool(name="find")(lambda: None)
    with pytest.raises(RegistrationError, match="there is a tool find already"):
        bot.tool(name="find")(lambda: None)
    with pytest.raises(RegistrationError, match="there is a tool find already"):
        bot.include(router)


def positional(a: int, /) -> None: ...
def many(*a: int) -> None: ...
def named(**a: int) -> None: ...
def of_bytes(a: bytes) -> None: ...
def unresolved(a: Missing) -> None: ...
def generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (positional, "fills the parameters of the tool .*positional by their names"),
        (many, r"cannot have \*a: "),
        (named, r"cannot have \*\*a: "),
        (of_bytes, "a: <class 'bytes'> of the tool .* is not made from JSON"),
        (unresolved, "cannot be resolved"),
        (generator, "is a generator"),
        (Session, "is a class"),
        (3, "is not a function"),
        (lambda: None, "a tool's name is"),
    ],
)
def test_function_that_cannot_be_a_tool_is_refused(bot: Bot, function: Any, text: str) -> None:
    with pytest.raises(RegistrationError, match=text):
        bot.tool(function)


def test_name_that_is_no_text_is_refused(bot: Bot) -> None:
    with pytest.raises(RegistrationError, match="a tool's name is"):
        bot.tool(name=5)(lambda: None)  # type: ignore[call-overload]


def test_other_approvers_are_refused(bot: Bot) -> None:
    with pytest.raises(RegistrationError, match="requires_approval of the tool named: expected True"):
        bot.tool(requires_approval="team", name="named")(lambda: None)  # type: ignore[call-overload]
