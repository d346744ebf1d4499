"""Calls of the tools of clients: how they end, what is no result, and that a crash makes none again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cometbot import (
    ActionEvent,
    AskTimeout,
    Bot,
    BotError,
    Button,
    Card,
    ClientTool,
    Context,
    Message,
    NotDelivered,
    Text,
)
from cometbot.client_calls import MAX_TOOL_RESULT_BYTES
from cometbot.delivery.dry_run import dry_run
from cometbot.errors import Rejected
from cometbot.messages import ClientCall
from cometbot.outgoing import Outgoing
from cometbot.testing import EVERYTHING, TEXT_ONLY, BotClient
from cometbot.testing.replies import SentMessage
from tests.contract.dialogs.conftest import check_nothing_left, delivery_of
from tests.contract.dialogs.crashing import Databases, PostgreSQLDatabases, Return, Say, Script, Wait, check_all_crashes
from tests.contract.dialogs.test_crashes import IS_FULL

SCHEMA = {
    "type": "object",
    "properties": {"near": {"type": "string"}, "timeout": {"type": "number"}},
    "required": ["near"],
    "additionalProperties": False,
}
PICK = ClientTool("pick_place", "Let the user pick a place.", SCHEMA)
ASK_BROWSER = ClientTool("browser", "Say which browser it is.")


@pytest.fixture
def client(bot: Bot) -> BotClient:
    return BotClient(bot, client_tools=[PICK, ASK_BROWSER])


def add_pick(bot: Bot) -> None:
    @bot.command
    def pick(ctx: Context) -> str:
        ctx.reply("Please pick one.")
        return f"You picked {ctx.call(PICK, near='Rome')!r}."


def call_of(said: SentMessage) -> ClientCall:
    assert isinstance(said.message, ClientCall)
    return said.message


def test_handler_gets_the_result(bot: Bot, client: BotClient) -> None:
    add_pick(bot)
    [text, asked] = client.send("/pick")
    assert text.text == "Please pick one."
    assert call_of(asked) == ClientCall("pick_place", {"near": "Rome"}, "m1.0.0")
    assert client.waiting is not None
    assert (client.waiting.kind, client.waiting.text) == ("call", '[pick_place {"near": "Rome"}]')
    assert client.answer_call({"name": "Ostia"}).text == "You picked {'name': 'Ostia'}."
    assert client.waiting is None
    check_nothing_left(client)


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ('{"a": [1, null]}', {"a": [1, None]}),
        ("42", 42),
        ('"Rome"', "Rome"),
        ("Rome", "Rome"),
        ("", ""),
        ("NaN", "NaN"),
        ("{", "{"),
        ("9" * 5000, "9" * 5000),
        ("[" * 300 + "]" * 300, "[" * 300 + "]" * 300),
        ("null", None),
        ("=1", "=1"),
    ],
)
def test_result_is_the_value_of_json_or_a_text(bot: Bot, client: BotClient, content: str, value: object) -> None:
    values: list[Any] = []

    @bot.command
    async def pick(ctx: Context) -> str:
        values.append(ctx.call("pick_place", near="Rome"))
        return "Thank you."

    client.send("/pick")
    assert client.answer_call(content).text == "Thank you."
    assert values[:1] == [value]


def test_other_message_is_no_result(bot: Bot, client: BotClient) -> None:
    add_pick(bot)

    @bot.fallback
    def other(ctx: Context) -> str:
        return f"Re: {ctx.text}"

    client.send("/pick")
    assert client.send("Ostia").text == "Re: Ostia"
    assert client.answer_call("Ostia").text == "You picked 'Ostia'."


def test_two_calls_of_one_user_wait_beside_each_other(bot: Bot, client: BotClient) -> None:
    add_pick(bot)
    [_, first] = client.send("/pick")
    client.send("/pick")
    assert client.answer_call("Ostia", call=first).text == "You picked 'Ostia'."
    assert client.answer_call("Tivoli").text == "You picked 'Tivoli'."
    check_nothing_left(client)


def test_open_question_stays_open_beside_a_call(bot: Bot, client: BotClient) -> None:
    add_pick(bot)

    @bot.command
    def order(ctx: Context) -> str:
        return f"Ordered {ctx.ask('How many?')}."

    client.send("/order")
    client.send("/pick")
    assert client.send("3").text == "Ordered 3."
    assert client.answer_call("Ostia").text == "You picked 'Ostia'."


def test_result_of_a_call_that_is_over_is_ignored(bot: Bot, client: BotClient) -> None:
    add_pick(bot)
    [_, asked] = client.send("/pick")
    client.answer_call("Ostia")
    assert client.answer_call("Tivoli", call=asked).texts == []
    with pytest.raises(BotError, match="waits for no call"):
        client.answer_call("Tivoli")
    assert client.dead_letters == []


def test_result_of_another_user_is_ignored(bot: Bot, client: BotClient) -> None:
    add_pick(bot)
    here = client.in_group("team")
    [_, asked] = here.send("/pick")
    assert client.as_user("tom", group="team").answer_call("Ostia", call=asked).texts == []
    assert here.answer_call("Tivoli").text == "You picked 'Tivoli'."


def test_mapping_of_arguments_leaves_keywords_to_the_options(bot: Bot, client: BotClient) -> None:
    @bot.command
    def pick(ctx: Context) -> str:
        return str(ctx.call(PICK, {"near": "Rome", "timeout": 3}, timeout="10m", default="nothing", key="pick"))

    [asked] = client.send("/pick")
    assert call_of(asked).arguments == {"near": "Rome", "timeout": 3}
    assert client.advance("11m").text == "nothing"


def test_keywords_alone_are_arguments(bot: Bot, client: BotClient) -> None:
    @bot.command
    def pick(ctx: Context) -> object:
        return ctx.call(PICK, near="Rome", timeout=3)

    assert call_of(client.send("/pick")[0]).arguments == {"near": "Rome", "timeout": 3}


def test_call_without_a_result_in_time_raises(bot: Bot, client: BotClient) -> None:
    ends: list[str] = []

    @bot.command
    def pick(ctx: Context) -> None:
        try:
            ctx.call("browser")
        except AskTimeout as end:
            ends.append(str(end))

    client.send("/pick")
    client.advance("25h")
    assert ends[:1] == ["the client has not returned the result of its tool browser in time"]
    check_nothing_left(client)


def test_cancel_ends_a_call(bot: Bot, client: BotClient) -> None:
    add_pick(bot)
    client.send("/pick")
    assert client.send("/cancel").texts == [bot.cancel_text]
    check_nothing_left(client)


def test_client_can_decline_a_call(bot: Bot, client: BotClient) -> None:
    add_pick(bot)
    [_, asked] = client.send("/pick")
    answer = client.event(ActionEvent, name=f"cometbot:ask:{call_of(asked).id}", cancels=True)
    assert answer.texts == [bot.cancel_text]
    check_nothing_left(client)


def test_text_that_selects_a_button_keeps_the_tools(bot: Bot) -> None:
    client = BotClient(bot, capabilities=replace(EVERYTHING, native=frozenset({Text, ClientCall})), client_tools=[PICK])
    bot.command("trip")(lambda ctx: Card("A trip?", buttons=[Button("Yes", "go")]))

    @bot.action("go")
    def go(ctx: Context) -> str:
        ctx.reply(str([tool.name for tool in ctx.client_tools]))
        return f"To {ctx.call('pick_place', near='Rome')}."

    client.send("/trip")
    assert client.send("1").texts[0] == "['pick_place']"
    assert client.answer_call("Ostia").text == "To Ostia."


def test_channel_without_tools_of_clients_says_which_have_some(bot: Bot) -> None:
    add_pick(bot)
    with pytest.raises(BotError, match="the channel fake have no tools; those of agui may"):
        BotClient(bot, capabilities=TEXT_ONLY).send("/pick")


@pytest.mark.parametrize(
    ("tool", "arguments", "problem"),
    [
        ("show_map", {}, "offers no tool 'show_map'; its tools are: pick_place, browser"),
        (5, {}, "expected a tool of ctx.client_tools or its name, got 5"),
        ("pick_place", {}, "arguments of pick_place do not fit: near: missing"),
        ("pick_place", {"near": "", "far": 1}, "do not fit: far: unknown"),
        ("browser", {"since": {1}}, "arguments of browser: expected JSON, got"),
        ("browser", {"since": float("nan")}, "arguments of browser: expected JSON, got"),
    ],
)
def test_call_that_does_not_fit_is_an_error_of_the_bot(
    bot: Bot, client: BotClient, tool: Any, arguments: Mapping[str, Any], problem: str
) -> None:
    bot.command("call")(lambda ctx: ctx.call(tool, **arguments))
    with pytest.raises(BotError, match=problem):
        client.send("/call")


def test_unknown_option_is_an_error_of_the_bot(bot: Bot, client: BotClient) -> None:
    bot.command("call")(lambda ctx: ctx.call("browser", {}, near="Rome"))
    with pytest.raises(BotError, match="the options timeout, default, key beside a mapping of arguments, got near"):
        client.send("/call")


def test_long_result_is_an_error_that_the_handler_can_catch(bot: Bot, client: BotClient) -> None:
    @bot.command
    def read(ctx: Context) -> str:
        try:
            return str(ctx.call("browser"))
        except BotError as error:
            return f"{error}; then {ctx.ask('Really?')}"

    client.send("/read")
    client.answer_call("x" * MAX_TOOL_RESULT_BYTES)
    answer = client.send("yes").text
    assert answer.startswith("call: browser: the result has ")
    assert answer.endswith("; then yes")


def test_refused_call_raises(bot: Bot) -> None:
    client = BotClient(bot, client_tools=[ASK_BROWSER], raise_errors=False)

    @bot.command
    def pick(ctx: Context) -> str:
        try:
            return str(ctx.call("browser"))
        except NotDelivered:
            return "not delivered"

    client.channel.faults.append(Rejected("no", code="ERR_REFUSED", status=403))  # type: ignore[attr-defined]
    assert client.send("/pick").text == "not delivered"


def test_middleware_may_change_the_arguments(bot: Bot, client: BotClient) -> None:
    add_pick(bot)

    @bot.outgoing
    def hide(message: Message, outgoing: Outgoing) -> Message:
        return ClientCall(message.name, {"near": "…"}, message.id) if isinstance(message, ClientCall) else message

    assert call_of(client.send("/pick")[1]).arguments == {"near": "…"}
    assert client.answer_call("Ostia").text == "You picked 'Ostia'."


@pytest.mark.parametrize("returned", [None, Text("no"), ClientCall("browser", {}, "m1.0.0")])
def test_middleware_must_leave_the_call(bot: Bot, client: BotClient, returned: Message | None) -> None:
    add_pick(bot)
    bot.outgoing(lambda message, outgoing: returned if isinstance(message, ClientCall) else message)
    with pytest.raises(BotError, match="dropped or replaced the call of the client's tool pick_place"):
        client.send("/pick")


def test_call_in_once_is_an_error(bot: Bot, client: BotClient) -> None:
    bot.command("call")(lambda ctx: ctx.once(ctx.call, "browser"))
    with pytest.raises(BotError, match=r"ctx\.call cannot be called inside ctx\.once"):
        client.send("/call")


def test_dry_run_plans_the_call(bot: Bot, client: BotClient) -> None:
    add_pick(bot)
    client.send("/pick")
    planned = dry_run(delivery_of(client), "m1").planned
    assert [type(item.operation.message) for item in planned] == [Text, ClientCall]


def test_clients_of_other_channels_offer_no_tools(bot: Bot) -> None:
    seen: list[Any] = []
    bot.fallback(lambda ctx: seen.append(ctx.client_tools))
    BotClient(bot).send("hi")
    BotClient(bot, client_tools=[PICK]).send("hi")
    assert seen == [(), (PICK,)]
    with pytest.raises(Exception, match="the channel fake have no tools"):
        BotClient(bot, capabilities=TEXT_ONLY, client_tools=[PICK])


CALLING = """
from cometbot import AskEnded

@bot.command("pick")
def pick(ctx):
    ctx.reply("Please pick one.")
    ctx.once(call, "before")
    try:
        place = ctx.call("pick_place", {"near": "Rome"}, timeout=2100)
    except AskEnded as end:
        place = type(end).__name__
    ctx.once(call, "after")
    ctx.reply(f"You picked {place}.")
    return f"Beyond: {ctx.call('pick_place', {'near': 'Ostia'}, timeout=2100, default='nothing')}"
"""


@pytest.mark.parametrize(
    ("events", "end"),
    [
        ([Return("Ostia"), Return("Tivoli")], "Beyond: Tivoli"),
        ([Return("Ostia"), Return("Tivoli", is_oldest=True), Wait(5000)], "Beyond: nothing"),
        ([Wait(1500), Return("Tivoli")], "Beyond: Tivoli"),
    ],
    ids=["results", "late", "timeout"],
)
def test_crash_around_calls_changes_nothing(events: list[Any], end: str, databases: Databases, tmp_path: Path) -> None:
    if isinstance(databases, PostgreSQLDatabases) and end != "Beyond: Tivoli" and not IS_FULL:
        pytest.skip("takes a minute")
    said = Say("/pick", client_tools=("pick_place",))
    outcome = check_all_crashes(Script([CALLING], [said, *events]), databases, tmp_path)
    assert outcome.letters == []
    assert outcome.texts[-1] == end
    assert len([text for text in outcome.texts if text.startswith("[pick_place")]) == 2


AGENT = """
from cometbot import ToolCall, Turn

PLAN = [
    ["Let me see.", ToolCall("find", {}), ToolCall("pick_place", {"near": "Rome"})],
    [ToolCall("pick_place", {"near": "Pisa"})],
]

@bot.tool
def find():
    return call("find")

def model(turns, tools):
    number = sum(turn.role == "assistant" for turn in turns)
    yield from PLAN[number] if number < len(PLAN) else [" ".join(turn.text for turn in turns if turn.role == "tool")]

@bot.command("pick")
def pick(ctx):
    ctx.run_agent(model, [find, *ctx.client_tools], turns=[Turn("user", ctx.text)])
    ctx.reply("The end.")
"""


def test_crash_around_a_call_of_an_agent_changes_nothing(databases: Databases, tmp_path: Path) -> None:
    if isinstance(databases, PostgreSQLDatabases) and not IS_FULL:
        pytest.skip("takes a minute")
    events = [Say("/pick", client_tools=("pick_place",)), Return("Ostia"), Return("Lucca")]
    outcome = check_all_crashes(Script([AGENT], events), databases, tmp_path)
    assert outcome.letters == []
    assert outcome.texts[-2:] == ["result of find Ostia Lucca", "The end."]
