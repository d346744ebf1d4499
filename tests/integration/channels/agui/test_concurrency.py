"""Requests that come at once, to several processes with one database of either kind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from werkzeug.test import Client

from cometbot import Bot, Context
from cometbot.channels.agui.channel import AguiChannel
from cometbot.channels.agui.settings import AguiSettings
from cometbot.chat import Chat
from cometbot.delivery import Delivery
from cometbot.settings import Secret
from cometbot.store.factory import database_from_url
from cometbot.testing.wsgi import make_channel_app
from tests.integration.channels.agui.conftest import TOKENS, Answer, JsonObject, make_request

Ask = Callable[[int, JsonObject], Answer]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("make_postgres_database")())
    return f"sqlite:///{tmp_path}/cometbot.db"


@pytest.fixture
def handled() -> list[str]:
    """The texts that the handler got, once for each of its runs."""
    return []


@pytest.fixture
def ask(url: str, tmp_path: Path, handled: list[str]) -> Iterator[Ask]:
    """Returns the answer to a request that one of two deliveries, numbered from 0, receives."""
    bot = Bot("shop")

    @bot.fallback
    def answer(ctx: Context) -> None:
        handled.append(ctx.text)
        ctx.stream([f"{ctx.text} ", "is ", "whole"])

    with ExitStack() as stack:
        clients = []
        for _ in range(2):
            database = database_from_url(url)
            channel = AguiChannel(Chat(database, tmp_path), AguiSettings(tokens=(Secret(TOKENS[0]),), lifetime=60.0))
            delivery = stack.enter_context(closing(Delivery([bot], [channel], database, threads=2)))
            delivery.start()
            clients.append(Client(make_channel_app(channel, delivery), use_cookies=False))

        def ask_one(number: int, body: JsonObject) -> Answer:
            headers = {"X-API-Key": TOKENS[0]}
            for _ in range(60):
                answer = Answer(clients[number].post("/agui/shop", json=body, headers=headers, buffered=True))
                if answer.status != 503:
                    break
                time.sleep(float(answer.headers["Retry-After"]))  # a busy machine asks any client for that
            return answer

        yield ask_one


def ask_at_once(ask: Ask, bodies: list[JsonObject]) -> list[Answer]:
    """Return the answers to requests that are sent at the same time, by turns to both deliveries."""
    answers: dict[int, Answer] = {}
    barrier = threading.Barrier(len(bodies))

    def run(number: int) -> None:
        barrier.wait(60)
        answers[number] = ask(number % 2, bodies[number])

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(answers) == len(bodies)
    return [answers[number] for number in range(len(bodies))]


def test_equal_requests_at_once_are_handled_once(ask: Ask, handled: list[str]) -> None:
    bodies = [make_request("hello", run=f"r{number // 2}") for number in range(6)]
    answers = ask_at_once(ask, bodies)

    assert [answer.status for answer in answers] == [200] * 6
    assert [answer.texts for answer in answers] == [["hello is whole"]] * 6
    assert [answer.last["type"] for answer in answers] == ["RUN_FINISHED"] * 6
    assert handled == ["hello"]


def test_different_requests_of_a_thread_at_once_get_their_own_answers(ask: Ask, handled: list[str]) -> None:
    bodies = [make_request(f"text{number}", run=f"r{number}") for number in range(6)]
    answers = ask_at_once(ask, bodies)

    assert [answer.texts for answer in answers] == [[f"text{number} is whole"] for number in range(6)]
    assert sorted(handled) == [f"text{number}" for number in range(6)]


def test_answer_that_another_process_has_is_read_here(ask: Ask, handled: list[str]) -> None:
    assert ask(0, make_request("hello")).texts == ["hello is whole"]
    assert ask(1, make_request("hello", run="r2")).texts == ["hello is whole"]
    assert handled == ["hello"]


@pytest.mark.parametrize("size", [5_000, 40_000])
def test_long_ids_fit_both_databases(ask: Ask, size: int) -> None:
    long = "é" * size
    answer = ask(0, make_request("hello", run=long, thread=long))
    assert answer.texts == ["hello is whole"]
    for more in ({"resume": [{"interruptId": long, "status": "resolved", "payload": 1}]}, {"messages": [call(long)]}):
        over = ask(0, make_request("hello", run="r2", **more))  # type: ignore[arg-type]
        assert (over.last["type"], over.last["code"]) == ("RUN_ERROR", "NOT_OPEN")


def call(id: str) -> JsonObject:
    """Return the result of a tool that was never called."""
    return {"id": "m", "role": "tool", "toolCallId": id, "content": "{}"}
