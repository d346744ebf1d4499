"""What a function may call, by the names in its code."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from cometbot.called_names import may_call
from tests.unit import helpers_that_ask


def ask_directly(ctx: Any) -> Any:
    return ctx.ask("Which?")


def ask_below(ctx: Any) -> Any:
    return [ask_directly(one) for one in (ctx,)]


def ask_in_another_module(ctx: Any) -> Any:
    return helpers_that_ask.ask_for_size(ctx)


def ask_in_an_inner_function(ctx: Any) -> Any:
    def inner() -> Any:
        return ctx.ask("Which?")

    return inner()


async def ask_as_coroutine(ctx: Any) -> Any:
    return ask_directly(ctx)


def make_closure(function: Callable[..., Any]) -> Callable[..., Any]:
    def closure(ctx: Any) -> Any:
        return function(ctx)

    return closure


def make_decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def decorated(ctx: Any) -> Any:
        return function(ctx)

    return decorated


class Asker:
    def __call__(self, ctx: Any) -> Any:
        return ctx.ask("Which?")

    def method(self, ctx: Any) -> Any:
        return ctx.ask("Which?")


def answer(ctx: Any) -> str:
    return f"You did not ask me, {ctx.sender.name}."


def call_each_other(ctx: Any, depth: int = 0) -> Any:
    return call_back(ctx, depth) if depth < 3 else None


def call_back(ctx: Any, depth: int) -> Any:
    return call_each_other(ctx, depth + 1)


@pytest.mark.parametrize(
    "function",
    [
        ask_directly,
        ask_below,
        ask_in_another_module,
        ask_in_an_inner_function,
        ask_as_coroutine,
        make_closure(ask_directly),
        make_decorated(ask_directly),
        functools.partial(ask_directly),
        Asker(),
        Asker().method,
    ],
)
def test_name_is_found_in_what_is_called(function: Callable[..., Any]) -> None:
    assert may_call(function, "ask")


@pytest.mark.parametrize("function", [answer, call_each_other, make_closure(answer), len, str, dict])
def test_name_is_not_found_elsewhere(function: Callable[..., Any]) -> None:
    assert not may_call(function, "ask")
