"""A bot that clients of AG-UI talk to: its texts name what it does. It leaves a mark for each run of a handler.

Handlers that wait go on when the gate is open.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cometbot import Bot, Button, Card, Context, Field, Form, Tool, ToolCall, Turn
from tests.acceptance.bots import short_leases  # noqa: F401 - tests set how short

MARKS = Path(os.environ["COMETBOT_TEST_MARKS"])
WORDS = [f"word{number} " for number in range(10)]

bot = Bot("trial", handler_timeout=120)


def mark(name: str) -> None:
    with (MARKS / name).open("a") as file:
        file.write("x")


def wait_at_gate() -> None:
    while not (MARKS / "open").exists():
        time.sleep(0.01)


@bot.message("stream")
def stream(ctx: Context) -> None:
    def words() -> Iterator[str]:
        for word in WORDS:
            yield word
            time.sleep(0.05)

    ctx.stream(words)


@bot.message("gate")
def stream_to_the_gate(ctx: Context) -> None:
    mark("gate")

    def words() -> Iterator[str]:
        yield from WORDS[:5]
        mark("at-gate")
        wait_at_gate()
        yield from WORDS[5:]

    ctx.stream(words)


@bot.message("wait")
def wait(ctx: Context) -> str:
    mark("wait")
    wait_at_gate()
    return "came through"


@bot.message("silence")
def be_silent(ctx: Context) -> str:
    time.sleep(20)
    return "I am back."


@bot.message("nothing")
def say_nothing(ctx: Context) -> None:
    mark("nothing")


@bot.message("twice")
def say_two_things(ctx: Context) -> str:
    ctx.reply("one")
    return "two"


@bot.message("ask")
def ask(ctx: Context) -> str:
    size = ctx.ask("Which size?", choices=["S", "M"])
    name = ctx.ask("Your name?")
    return f"{size} for {name}"


@bot.message("raise")
def fail(ctx: Context) -> None:
    ctx.reply("I try.")
    raise ValueError("the handler does not like this")


@bot.message("hang", timeout=1.0)
def hang(ctx: Context) -> str:
    ctx.reply("I try.")
    time.sleep(3600)
    return "never said"


@bot.message("history")
def repeat_history(ctx: Context) -> str:
    return " | ".join(f"{turn.role}: {turn.text}" for turn in ctx.turns())


@bot.tool
def find_order(number: int) -> dict[str, int]:
    mark("find")
    return {"number": number, "euros": 30}


@bot.tool(requires_approval=True)
def refund(number: int, euros: int) -> str:
    mark("refund")
    return "refunded"


def find(turns: list[Turn], tools: Sequence[Tool]) -> Iterator[str | ToolCall]:
    """Stand in for a model that calls a tool."""
    results = [turn.text for turn in turns if turn.role == "tool"]
    if results:
        yield f"It is {results[-1]}."
    else:
        yield "Let me see."
        yield ToolCall("find_order", {"number": 17})


def pay_back(turns: list[Turn], tools: Sequence[Tool]) -> Iterator[str | ToolCall]:
    """Stand in for a model that calls a tool which needs an approval."""
    results = [turn.text for turn in turns if turn.role == "tool"]
    if results:
        yield f"It is {results[-1]}."
    else:
        yield ToolCall("refund", {"number": 17, "euros": 30})


@bot.message("tool")
def use_tool(ctx: Context) -> None:
    ctx.run_agent(find)


@bot.message("refund")
def use_approved_tool(ctx: Context) -> None:
    ctx.run_agent(pay_back)


@bot.message("call")
def call_client(ctx: Context) -> str:
    mark("call")
    rating = ctx.call("rate", question="How was it?")
    return f"The rating is {rating}."


@bot.message("agent")
def use_tools_of_both(ctx: Context) -> None:
    """Let a model call a tool of the client, and then one of the bot, and report what that has cost."""

    def model(turns: list[Turn], tools: Sequence[Tool]) -> Iterator[str | ToolCall]:
        ctx.usage(model="stand-in", input=40, output=20)
        results = [turn.text for turn in turns if turn.role == "tool"]
        if not results:
            yield ToolCall("rate", {"question": "How was it?"})
        elif len(results) == 1:
            yield ToolCall("find_order", {"number": int(results[0])})
        else:
            yield f"You gave {results[0]} to {results[1]}."

    ctx.run_agent(model, [*ctx.client_tools, find_order])


@bot.message("card")
def show_card(ctx: Context) -> Card:
    return Card("Earl Grey", "12.50 €", buttons=[Button("Buy", action="buy", value=17)])


@bot.message("form")
def ask_form(ctx: Context) -> str:
    values = ctx.ask(Form("Your table", [Field("name"), Field("guests", kind="number")]))
    return f"{values['guests']} guests for {values['name']}"


@bot.message("who")
def name_user(ctx: Context) -> str:
    return ctx.sender_id


@bot.fallback
def echo(ctx: Context) -> str:
    mark("echo")
    return f"re: {ctx.text}"
