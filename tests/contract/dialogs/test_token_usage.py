"""The tokens that handlers report count once, whatever happens to their runs."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cometbot import Bot, Context, TokenBudgetExceeded
from cometbot.context import check_token_budget
from cometbot.observer import Observer
from cometbot.testing import BotClient, ModelUsage
from cometbot.testing.client import ChannelName
from cometbot.token_budget import TokenBudget
from cometbot.turns import ToolCall
from tests.contract.delivery.conftest import wait_until
from tests.contract.dialogs.conftest import check_nothing_left
from tests.contract.dialogs.crashing import Databases, PostgreSQLDatabases, Say, Script, check_all_crashes
from tests.contract.dialogs.processes import CALLS, Processes, at_once

EXCEEDED = "You have reached your limit for now. Please try again in 16 hours."
START = 1_800_000_000.0
"""Eight in the morning, UTC."""


@pytest.fixture
def bot() -> Bot:
    return Bot("helpdesk", token_budget="1000/day")


@pytest.fixture
def client(bot: Bot) -> Iterator[BotClient]:
    with BotClient(bot, now=START, raise_errors=False) as made:
        yield made


def stored_tokens(client: BotClient) -> list[int]:
    return [value for name, value in client.user_state._load().items() if name.startswith("cometbot:tokens:day:")]


ASSISTANT = """
from cometbot.token_budget import TokenBudget

bot.token_budget = TokenBudget.parse("1M/month")

@bot.command("order")
def order(ctx):
    ctx.usage(model="m", input=1)
    ctx.once(call, "first")
    ctx.usage(model="m", input=10)

    def think():
        ctx.usage(model="m", input=100)
        return call("second")

    ctx.once(think)

    def speak():
        yield "Hello "
        ctx.usage(model="m", input=1000)
        yield "there."

    ctx.stream(speak)
    answer = ctx.ask("Which?", listen=True)
    ctx.usage(model="m", output=10000)
    ctx.once(call, "third")
    ctx.reply("One moment.")
    ctx.usage(model="m", output=100000)
    return f"{answer}, {ctx.tokens_left} left"
"""


def test_crash_at_any_commit_counts_each_call_once(databases: Databases, tmp_path: Path) -> None:
    outcome = check_all_crashes(Script([ASSISTANT], [Say("/order"), Say("tea")]), databases, tmp_path)
    assert [row for row in outcome.state if row[2].startswith("cometbot:tokens")] == [
        ("user", "fake/test/helpdesk/maria", "cometbot:tokens:month:2027-01-01T00", "111111")
    ]
    assert outcome.texts[-1] == "tea, 888889 left"


AGENT = """
from cometbot import Context
from cometbot.token_budget import TokenBudget
from cometbot.turns import ToolCall

bot.token_budget = TokenBudget.parse("1M/month")

@bot.tool
def look_up(ctx: Context, item: str) -> str:
    ctx.usage(model="embedding", input=10)
    return call(item)

@bot.command("order")
def order(ctx):
    def make_model(item):
        def model(turns, tools):
            if any(turn.role == "tool" for turn in turns):
                yield "It is there."
                ctx.usage(model="m", input=100)
            else:
                yield "One moment."
                yield ToolCall("look_up", {"item": item})
                ctx.usage(model="m", input=1)
        return model

    ctx.run_agent(make_model("tea"))
    ctx.ask("More?", listen=True)
    ctx.run_agent(make_model("milk"))
    return f"{ctx.tokens_left} left"
"""


def test_crash_at_any_commit_counts_each_answer_of_an_agent_once(databases: Databases, tmp_path: Path) -> None:
    if isinstance(databases, PostgreSQLDatabases) and os.environ.get("COMETBOT_TEST_FAULTS") != "full":
        pytest.skip("takes half a minute")
    outcome = check_all_crashes(Script([AGENT], [Say("/order"), Say("yes")]), databases, tmp_path)
    assert [row[3] for row in outcome.state if row[2].startswith("cometbot:tokens")] == ["222"]
    assert outcome.texts[-1] == "999778 left"


def test_agent_ends_between_two_answers_without_tokens(bot: Bot, client: BotClient) -> None:
    called = list[str]()

    def look_up(item: str) -> str:
        """Look an item up."""
        called.append(item)
        return "there"

    @bot.command("order")
    def order(ctx: Context) -> None:
        def model(turns: object, tools: object) -> Iterator[str | ToolCall]:
            yield "One moment."
            yield ToolCall("look_up", {"item": "tea"})
            ctx.usage(model="gpt-5", input=1000)

        ctx.run_agent(model)

    bot.tool(look_up)
    assert client.send("/order").texts == ["One moment.", EXCEEDED]
    assert client.send("/order").texts == [EXCEEDED]
    assert (called, client.dead_letters, stored_tokens(client)) == (["tea"], [], [1000])
    check_nothing_left(client)


def test_calls_before_and_after_a_question_count_once(bot: Bot, client: BotClient) -> None:
    @bot.command("order")
    def order(ctx: Context) -> str:
        ctx.usage(model="gpt-5", input=100, output=10, cached=60)
        answer = ctx.ask("Which?", validate=str.isalpha)
        ctx.usage(model="gpt-5", input=200)
        return f"{answer}, {ctx.ask('Sure?')}"

    client.send("/order")
    assert client.usage == [ModelUsage("gpt-5", 100, 10, 60)]
    for answer in ("1", "tea", "yes"):
        client.send(answer)
    assert client.usage == [ModelUsage("gpt-5", 100, 10, 60), ModelUsage("gpt-5", 200)]
    assert stored_tokens(client) == [310]
    check_nothing_left(client)


def test_async_handler_counts_its_calls(bot: Bot, client: BotClient) -> None:
    async def think(ctx: Context) -> int | None:
        await asyncio.sleep(0)
        ctx.usage(model="gpt-5", input=100)
        return ctx.tokens_left

    @bot.command("order")
    async def order(ctx: Context) -> str:
        return f"{await ctx.once(think, ctx)} {ctx.ask('Which?')} {ctx.tokens_left}"

    client.send("/order")
    assert client.send("tea").texts == ["900 tea 900"]
    assert stored_tokens(client) == [100]


def test_model_that_checks_an_answer_counts_once_for_each(bot: Bot, client: BotClient) -> None:
    @bot.command("order")
    def order(ctx: Context) -> str:
        def check(text: str) -> bool:
            ctx.usage(model="gpt-5", input=100)
            return text == "tea"

        return f"{ctx.ask('Which?', validate=check)}, {ctx.ask('Sure?')}"

    client.send("/order")
    for answer in ("rubbish", "tea", "yes"):
        client.send(answer)
    assert stored_tokens(client) == [200]
    check_nothing_left(client)


def test_middleware_counts_its_calls_in_each_run(bot: Bot, client: BotClient) -> None:
    @bot.middleware
    def moderate(ctx: Context, call_next: object) -> object:
        ctx.usage(model="moderation", input=1)
        return call_next()  # type: ignore[operator]

    @bot.command("order")
    def order(ctx: Context) -> str:
        return ctx.ask("Which?")

    client.send("/order")
    client.send("tea")
    assert stored_tokens(client) == [2]


def test_failing_handler_counts_each_run_and_loses_its_own_state(bot: Bot, client: BotClient) -> None:
    @bot.command("order", retries=1)
    def order(ctx: Context) -> str:
        ctx.user_state["count"] = 1
        ctx.usage(model="gpt-5", input=100)
        raise ValueError("broken")

    client.send("/order")
    assert stored_tokens(client) == [100]
    client.advance(60)
    assert stored_tokens(client) == [200]
    assert len(client.usage) == 2
    assert "count" not in client.user_state
    assert len(client.dead_letters) == 1


def test_handler_whose_reply_no_platform_takes_counts(bot: Bot, client: BotClient) -> None:
    @bot.command("order")
    def order(ctx: Context) -> object:
        ctx.usage(model="gpt-5", input=100)
        return object()

    client.send("/order")
    assert (len(client.dead_letters), stored_tokens(client)) == (1, [100])


def test_author_s_changes_of_the_state_do_not_touch_the_tokens(bot: Bot, client: BotClient) -> None:
    @bot.command("clear")
    def clear(ctx: Context) -> str:
        ctx.user_state["mine"] = 1
        ctx.usage(model="gpt-5", input=100)
        ctx.user_state.clear()
        return f"{dict(ctx.user_state)} {ctx.tokens_left}"

    assert [client.send("/clear").text for _ in range(2)] == ["{} 900", "{} 800"]
    assert stored_tokens(client) == [200]


def test_erased_state_of_a_user_has_no_tokens(bot: Bot, client: BotClient) -> None:
    bot.fallback(lambda ctx: ctx.usage(model="gpt-5", input=100))
    client.send("hi")
    with client._harness.database.write() as connection:
        client._harness.delivery.store.state.delete(connection, "user", client.user_state._owner)
    assert stored_tokens(client) == []


def test_exceeded_budget_is_said_once_for_each_message(bot: Bot, client: BotClient) -> None:
    @bot.command("order")
    def order(ctx: Context) -> str:
        check_token_budget(ctx)
        ctx.usage(model="gpt-5", input=600)
        return f"{ctx.tokens_left} left"

    assert [client.send("/order").texts for _ in range(2)] == [["400 left"], ["0 left"]]
    assert [client.send("/order").texts for _ in range(2)] == [[EXCEEDED], [EXCEEDED]]
    assert client.as_user("tom").send("/order").texts == ["400 left"]
    assert client.in_group("ops").send("/order").texts == [EXCEEDED]
    assert (client.dead_letters, stored_tokens(client)) == ([], [1200])


def test_turns_are_refused_to_a_user_without_tokens(bot: Bot, client: BotClient) -> None:
    @bot.command("order")
    def order(ctx: Context) -> str:
        turns = ctx.turns()
        ctx.usage(model="gpt-5", input=1000)
        answer = ctx.ask("Which?")
        assert [turn.text for turn in ctx.turns()] == []
        return f"{answer}, {len(turns)}"

    client.send("/order")
    assert client.send("tea").texts == [EXCEEDED]
    assert client.dead_letters == []


def test_stream_of_a_user_without_tokens_says_only_that(bot: Bot, client: BotClient) -> None:
    def speak(ctx: Context) -> Iterator[str]:
        ctx.turns()
        yield "Hello "
        ctx.usage(model="gpt-5", input=1000)
        yield "there."

    bot.fallback(lambda ctx: (ctx.stream(lambda: speak(ctx)), None)[1])
    assert [client.send("hi").texts for _ in range(2)] == [["Hello there."], [EXCEEDED]]
    assert (client.dead_letters, stored_tokens(client)) == ([], [1000])


def test_broken_stream_counts_what_it_has_reported(bot: Bot, client: BotClient) -> None:
    def speak(ctx: Context) -> Iterator[str]:
        yield "Hello "
        ctx.usage(model="gpt-5", input=1000)
        raise ConnectionError("gone")

    bot.fallback(lambda ctx: (ctx.stream(lambda: speak(ctx)), None)[1])
    client.send("hi")
    assert (len(client.dead_letters), stored_tokens(client)) == (1, [1000])


def test_budget_is_renewed_in_the_next_period(bot: Bot, client: BotClient) -> None:
    @bot.command("order")
    def order(ctx: Context) -> str:
        check_token_budget(ctx)
        ctx.usage(model="gpt-5", input=1000)
        return "done"

    assert client.send("/order").text == "done"
    client.advance(16 * 3600 - 61)
    assert client.send("/order").text == EXCEEDED.replace("16 hours", "2 minutes")
    client.advance(61)
    assert client.send("/order").text == "done"
    assert stored_tokens(client) == [1000]


def test_budget_is_not_checked_in_past_runs(bot: Bot, client: BotClient) -> None:
    @bot.command("order")
    def order(ctx: Context) -> str:
        check_token_budget(ctx)
        ctx.usage(model="gpt-5", input=1000)
        answer = ctx.ask("Which?")
        ctx.reply(f"{answer}, then.")
        check_token_budget(ctx)
        return "never"

    client.send("/order")
    assert client.send("tea").texts == ["tea, then.", EXCEEDED]
    assert client.waiting is None
    assert client.dead_letters == []
    check_nothing_left(client)


def test_exceeded_budget_inside_once_ends_the_handler(bot: Bot, client: BotClient) -> None:
    @bot.command("order")
    def order(ctx: Context) -> str:
        ctx.usage(model="gpt-5", input=1000)
        return str(ctx.once(check_token_budget, ctx))

    @bot.command("caught")
    def caught(ctx: Context) -> str:
        try:
            ctx.once(check_token_budget, ctx)
        except TokenBudgetExceeded:
            ctx.ask("Go on?")
        return "never"

    assert client.send("/order").texts == [EXCEEDED]
    client.send("/caught")
    assert client.send("yes").texts == ["never"]
    assert client.dead_letters == []


def test_concurrent_tasks_without_tokens_end_the_handler(bot: Bot, client: BotClient) -> None:
    @bot.command("order")
    async def order(ctx: Context) -> str:
        ctx.usage(model="gpt-5", input=1000)

        async def ask_model() -> None:
            check_token_budget(ctx)

        await asyncio.gather(ask_model(), ask_model())
        return "never"

    assert client.send("/order").texts == [EXCEEDED]
    assert client.dead_letters == []


def test_two_conversations_of_a_user_in_two_processes_both_count(processes: Processes) -> None:
    meeting = threading.Barrier(2)
    processes.bot.token_budget = TokenBudget.parse("1M/month")

    @processes.bot.fallback
    def answer(ctx: Context) -> str:
        meeting.wait(60)
        assert ctx.tokens_left is not None
        ctx.usage(model="gpt-5", input=1)
        meeting.wait(60)
        return "done"

    processes.start()
    conversations = [processes.channel.conversation(processes.bot, group="ops").id, "helpdesk_user_maria"]
    for number in range(1, CALLS + 1):
        at_once(
            lambda: processes.write("hi", process=0),
            lambda: processes.write("hi", process=1, group="ops"),
        )
        for name in conversations:
            wait_until(lambda name=name, number=number: len(processes.channel.texts(name)) == number)  # type: ignore[misc]
    wait_until(lambda: processes.delivery.is_idle)
    with processes.database.read() as connection:
        found = processes.delivery.store.state.load(connection, "user", "fake/test/helpdesk/maria")
    assert list(map(json.loads, found.values())) == [2 * CALLS]


def test_handler_past_its_deadline_counts(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, counted = threading.Event(), list[tuple[str, int]]()
    processes.bot.token_budget = TokenBudget.parse("1M/month")

    @processes.bot.command("order", timeout=0.2)
    def order(ctx: Context) -> str:
        ctx.usage(model="gpt-5", input=7)
        go_on.wait(60)
        return "late"

    def record(self: Observer, bot: str, model: str, **tokens: int) -> None:
        counted.append((model, tokens["input"]))

    monkeypatch.setattr(Observer, "model_called", record)
    processes.start()
    processes.write("/order")
    wait_until(lambda: counted)
    go_on.set()
    wait_until(lambda: processes.delivery.is_idle)
    with processes.database.read() as connection:
        found = processes.delivery.store.state.load(connection, "user", "fake/test/helpdesk/maria")
    assert (list(found.values()), counted) == (["7"], [("gpt-5", 7)])


@pytest.mark.parametrize("channel", ["cometchat", "chat_api", "platform", "simplex", "agui"])
def test_budget_bounds_users_of_every_channel(bot: Bot, channel: ChannelName) -> None:
    @bot.fallback
    def answer(ctx: Context) -> str:
        check_token_budget(ctx)
        ctx.usage(model="gpt-5", input=600)
        return f"{ctx.tokens_left} left"

    with BotClient(bot, channel=channel, now=START) as client:
        assert [client.send("hi").text for _ in range(3)] == ["400 left", "0 left", EXCEEDED]
        assert client.as_user("tom").send("hi").text == "400 left"
        assert stored_tokens(client) == [1200]
