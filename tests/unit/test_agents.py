"""``ctx.run_agent``: the loop of a model and its tools, and what the model and the user see of it."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from cometbot import AgentLimit, AskCancelled, Bot, BotError, Context, Group, Tool, ToolCall, Turn, User
from cometbot.agents import MAX_CALLS_AT_ONCE, MAX_ERROR_LENGTH, MAX_KNOWN_CALLS, _make_fields, get_approval
from cometbot.client_calls import MAX_TOOL_RESULT_BYTES
from cometbot.testing import BotClient, FakeModel
from cometbot.turns import to_anthropic, to_openai

ORDER = {"status": "sent"}


@pytest.fixture
def bot() -> Bot:
    return Bot("shop")


@pytest.fixture
def calls() -> list[Any]:
    return []


@pytest.fixture
def find_order(bot: Bot, calls: list[Any]) -> Callable[[int], Any]:
    @bot.tool
    def find_order(number: int) -> Any:
        """Find an order."""
        calls.append(number)
        return ORDER

    return find_order


def let_answer(bot: Bot, model: Any, **options: Any) -> None:
    """Let the bot answer every message with a model, which gets the text alone."""

    @bot.message()
    def answer(ctx: Context) -> None:
        ctx.run_agent(model, turns=[Turn("user", ctx.text)], **options)


def find(number: Any = 17) -> ToolCall:
    return ToolCall("find_order", {"number": number}, "c1")


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def results(model: FakeModel) -> list[str]:
    """Return the results of tools that the last request had."""
    return [turn.text for turn in model.requests[-1].turns if turn.role == "tool"]


def test_answer_without_calls_is_sent(bot: Bot) -> None:
    model = FakeModel(["Hello", ", ", "Maria!"])
    sent = []

    @bot.message()
    def answer(ctx: Context) -> None:
        sent.append(ctx.run_agent(model, turns=[Turn("user", "hi")], instructions="Be kind."))

    client = BotClient(bot)
    assert client.send("hi").text == "Hello, Maria!"
    assert sent[0].id == client.said()[0].id
    assert model.requests[0].turns == (Turn("system", "Be kind."), Turn("user", "hi"))


@pytest.mark.usefixtures("find_order")
def test_result_of_a_call_is_in_the_next_request(bot: Bot, calls: list[Any]) -> None:
    model = FakeModel(["One moment.", find()], "It is on its way.")
    let_answer(bot, model)
    assert BotClient(bot).send("Where is it?").texts == ["One moment.", "It is on its way."]
    assert calls == [17]
    assert model.requests[1].turns == (
        Turn("user", "Where is it?"),
        Turn("assistant", "One moment.", tool_calls=(find(),)),
        Turn("tool", '{"status": "sent"}', tool_call_id="c1"),
    )


def test_model_gets_the_tools_of_the_bot_or_those_given(bot: Bot, find_order: Any) -> None:
    def add(a: int, b: int) -> int:
        return a + b

    model = FakeModel("a", "b", "c")

    @bot.message()
    def answer(ctx: Context) -> None:
        for tools in (None, [add, find_order], []):
            ctx.run_agent(model, tools, turns=[])

    BotClient(bot).send("hi")
    assert [[tool.name for tool in request.tools] for request in model.requests] == [
        ["find_order"],
        ["add", "find_order"],
        [],
    ]


def test_handler_model_and_tool_may_be_async(bot: Bot, calls: list[Any]) -> None:
    @bot.tool
    async def find_order(ctx: Context, number: int) -> Any:
        await asyncio.sleep(0)
        ctx.state["number"] = number
        calls.append(number)
        return ORDER

    @bot.message()
    async def answer(ctx: Context) -> None:
        await asyncio.sleep(0)
        ctx.run_agent(FakeModel(find(), "Sent.") if not calls else FakeModel("again"), turns=[])

    client = BotClient(bot)
    assert client.send("hi").text == "Sent."
    assert calls == [client.state["number"]] == [17]


def test_calls_of_one_answer_are_answered_in_one_request(bot: Bot, calls: list[Any]) -> None:
    @bot.tool
    def add(a: int) -> int:
        calls.append(a)
        return a + 1

    model = FakeModel([ToolCall("add", {"a": 1}), ToolCall("add", {"a": 2}, "x"), ToolCall("add", {"a": 3})], "Done.")
    let_answer(bot, model)
    assert BotClient(bot).send("hi").text == "Done."
    assert calls == [1, 2, 3]
    assert results(model) == ["2", "3", "4"]
    ids = [turn.tool_call_id for turn in model.requests[-1].turns[2:]]
    assert ids == [call.id for call in model.requests[-1].turns[1].tool_calls]
    assert len(set(ids)) == 3
    assert ids[1] == "x"


@pytest.mark.usefixtures("find_order")
@pytest.mark.parametrize(
    ("call", "text"),
    [
        (ToolCall("delete_all", {}), "error: there is no tool 'delete_all'; the tools are: find_order"),
        (ToolCall("find_order", {}), "error: the arguments do not fit: number: missing"),
        (ToolCall("find_order", {"number": "x"}), "error: the arguments do not fit: number: expected a whole number"),
        (ToolCall("find_order", {"number": math.nan}), "error: the arguments do not fit: expected an object, got"),
        (ToolCall("find_order", "[1"), "error: the arguments do not fit: expected an object, got"),
        (ToolCall("find_order", "[" * 9999), "error: the arguments do not fit: expected an obj"),
        (ToolCall("find_order", {"number": nested(9)}), "error: the arguments do not fit: number: expected a whole"),
        (ToolCall("find_order", {"number": nested(300)}), "error: the arguments do not fit: expected an object, got"),
        (ToolCall("find_order", {"number": nested(9999)}), "error: the arguments do not fit: expected an object, got"),
        (ToolCall("find_order", {"number": 10**5000}), "error: the arguments do not fit: expected an object, got"),
        (ToolCall("find_order", {"number": "1" * 10**6}), "error: the arguments have 1000014 bytes, more than the"),
        (ToolCall("a" * 10**6, {}), f"error: there is no tool '{'a' * 100}'; the tools are: find_order"),
    ],
)
def test_call_that_does_not_fit_is_an_error_for_the_model(bot: Bot, calls: list[Any], call: Any, text: str) -> None:
    model = FakeModel(call, "Sorry.")
    let_answer(bot, model)
    assert BotClient(bot).send("hi").texts == ["Sorry."]
    assert results(model)[0].startswith(text)
    assert calls == []


@pytest.mark.usefixtures("find_order")
def test_arguments_as_json_text_are_accepted(bot: Bot, calls: list[Any]) -> None:
    model = FakeModel(ToolCall("find_order", '{"number": 5}'), "Done.")
    let_answer(bot, model)
    BotClient(bot).send("hi")
    assert calls == [5]


def test_tool_that_raises_is_an_error_for_the_model(bot: Bot, caplog: pytest.LogCaptureFixture) -> None:
    @bot.tool
    def find_order(number: int) -> None:
        raise LookupError(f"no order {number}" + "!" * 9999)

    model = FakeModel(find(), "There is no such order.")
    let_answer(bot, model)
    with caplog.at_level(logging.WARNING):
        assert BotClient(bot).send("hi").texts == ["There is no such order."]
    assert results(model) == [f"error: {'LookupError: no order 17':!<{MAX_ERROR_LENGTH}}"]
    assert "the tool find_order raised an error" in caplog.text
    assert "Traceback" in caplog.text


def test_mistake_in_a_tool_fails_the_handler(bot: Bot) -> None:
    @bot.tool
    def find_order(ctx: Context, number: int) -> None:
        ctx.reply("one moment")

    let_answer(bot, FakeModel(find()))
    with pytest.raises(BotError, match=r"ctx\.reply cannot be called inside a tool"):
        BotClient(bot).send("hi")


def test_result_that_is_no_json_fails_the_handler(bot: Bot) -> None:
    @bot.tool
    def find_order(number: int) -> Any:
        return object()

    let_answer(bot, FakeModel(find()))
    with pytest.raises(BotError, match="the tool find_order: expected a result that is JSON"):
        BotClient(bot).send("hi")


def test_result_that_is_too_long_is_an_error_for_the_model(bot: Bot) -> None:
    @bot.tool
    def find_order(number: int) -> str:
        return "x" * number

    model = FakeModel(find(MAX_TOOL_RESULT_BYTES), "Too long.")
    let_answer(bot, model)
    assert BotClient(bot).send("hi").text == "Too long."
    assert "ask for less" in results(model)[0]


def test_results_never_exceed_what_a_dialog_may_have(bot: Bot) -> None:
    @bot.tool
    def find_order(number: int) -> str:
        return "x" * 60_000

    model = FakeModel(*[find()] * 8, "Enough.")
    let_answer(bot, model)
    assert BotClient(bot).send("hi").text == "Enough."
    assert [text.startswith("error") for text in results(model)] == [False] * 4 + [True] * 4


def test_tool_may_change_the_state_and_has_an_idempotency_key(bot: Bot, calls: list[Any]) -> None:
    @bot.tool(requires_approval=True)
    def refund(ctx: Context) -> None:
        calls.append(ctx.idempotency_key())
        ctx.state["refunds"] = ctx.state.get("refunds", 0) + 1

    model = FakeModel(ToolCall("refund"), ToolCall("refund"), "Done.")
    let_answer(bot, model)
    client = BotClient(bot)
    client.send("hi")
    client.press("Approve")
    assert client.press("Approve").text == "Done."
    assert client.state["refunds"] == 2
    assert len(set(calls)) == 2
    assert results(model) == ["done", "done"]


@pytest.mark.usefixtures("find_order")
def test_results_are_redacted(bot: Bot) -> None:
    bot.redact(lambda text: text.replace("sent", "…"))
    model = FakeModel(find(), "Done.")
    let_answer(bot, model)
    BotClient(bot).send("hi")
    assert results(model) == ['{"status": "…"}']


def test_turns_of_the_conversation_are_the_default(bot: Bot) -> None:
    model = FakeModel("Hello!", "Fine.")

    @bot.message()
    def answer(ctx: Context) -> None:
        ctx.run_agent(model)

    client = BotClient(bot)
    client.send("hi")
    client.send("How are you?")
    assert model.requests[1].turns == (Turn("user", "hi"), Turn("assistant", "Hello!"), Turn("user", "How are you?"))


@pytest.mark.usefixtures("find_order")
def test_model_that_calls_tools_for_ever_is_ended(bot: Bot, calls: list[Any]) -> None:
    requests = []

    def model(turns: list[Turn], tools: Sequence[Tool]) -> Iterator[ToolCall]:
        requests.append(len(turns))
        yield find(len(requests))

    @bot.error(AgentLimit)
    def explain(ctx: Context, error: AgentLimit) -> str:
        return f"I give up: {error}"

    let_answer(bot, model, limit=100)
    client = BotClient(bot, raise_errors=False)
    assert client.send("hi").text.startswith("I give up: the model wanted to call tools in each of 100 answers")
    assert len(requests) == 100
    assert calls == list(range(1, 100))  # nobody would read the result of the last
    assert len(client.dead_letters) == 1


def test_limit_can_be_caught(bot: Bot, find_order: Any) -> None:
    @bot.message()
    def answer(ctx: Context) -> str:
        try:
            ctx.run_agent(FakeModel(find()), turns=[], limit=1)
        except AgentLimit:
            return "That is too much for me."
        return ""

    assert BotClient(bot).send("hi").text == "That is too much for me."


def test_answers_that_take_too_long_end_the_agent(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("cometbot.agents.time.monotonic", lambda: now[0])

    def model(turns: list[Turn], tools: Sequence[Tool]) -> Iterator[str]:
        for word in ("one ", "two ", "three "):
            yield word
            now[0] += 25

    let_answer(bot, model, timeout="1m")
    assert BotClient(bot).send("hi").text == "one two three "
    slow = Bot("slow")
    let_answer(slow, model, timeout=40)
    with pytest.raises(AgentLimit, match=r"within 40 \(run_agent: timeout\)"):
        BotClient(slow).send("hi")


def test_too_many_calls_at_once_are_refused(bot: Bot, find_order: Any, calls: list[Any]) -> None:
    model = FakeModel([find(number) for number in range(40)], "Done.")
    let_answer(bot, model)
    assert BotClient(bot).send("hi").text == "Done."
    assert calls == list(range(MAX_CALLS_AT_ONCE))
    assert (
        results(model)[MAX_CALLS_AT_ONCE:] == [f"error: not called; call at most {MAX_CALLS_AT_ONCE} tools at once"] * 8
    )


@pytest.mark.usefixtures("find_order")
def test_calls_without_number_fit_into_a_step(bot: Bot) -> None:
    model = FakeModel([find(number) for number in range(10_000)], "Done.")
    let_answer(bot, model)
    assert BotClient(bot).send("hi").text == "Done."
    assert len(results(model)) == MAX_KNOWN_CALLS


@pytest.mark.usefixtures("find_order")
def test_each_call_has_an_id_of_its_own(bot: Bot) -> None:
    model = FakeModel(
        [
            ToolCall("find_order", {"number": number}, id)
            for number, id in enumerate(["a", "a", "", "call-2", "b" * 500])
        ],
        ToolCall("find_order", {"number": 5}, "a"),
        "Done.",
    )
    let_answer(bot, model)
    BotClient(bot).send("hi")
    turns = model.requests[-1].turns
    ids = [turn.tool_call_id for turn in turns if turn.role == "tool"]
    assert ids == [call.id for turn in turns for call in turn.tool_calls]
    assert (len(set(ids)), ids[0], max(map(len, ids)) < 10) == (6, "a", True)


def test_request_can_be_encoded_whatever_a_model_and_a_tool_give(bot: Bot) -> None:
    @bot.tool
    def echo(text: str) -> str:
        return "\ud800"

    model = FakeModel(ToolCall("echo", {"text": "\ud800"}), ToolCall("\ud800", "\ud800"), "Done.")
    let_answer(bot, model)
    assert BotClient(bot).send("hi").text == "Done."
    for convert in (to_openai, to_anthropic):
        json.dumps(convert(model.requests[-1].turns), ensure_ascii=False).encode()


def test_error_without_a_text_is_an_error_for_the_model(bot: Bot) -> None:
    class Unreadable(Exception):
        def __str__(self) -> str:
            raise LookupError

    @bot.tool
    def find_order(number: int) -> None:
        raise Unreadable

    model = FakeModel(find(), "Sorry.")
    let_answer(bot, model)
    assert BotClient(bot).send("hi").text == "Sorry."
    assert results(model) == ["error: Unreadable: (its text is not available)"]


@pytest.mark.parametrize("piece", [3, b"text", ["text"]])
def test_other_pieces_of_a_model_are_a_mistake(bot: Bot, piece: Any) -> None:
    let_answer(bot, lambda turns, tools: [piece])
    with pytest.raises(BotError, match="expected texts and ToolCall objects"):
        BotClient(bot).send("hi")


def test_model_that_returns_nothing_is_a_mistake(bot: Bot) -> None:
    let_answer(bot, lambda turns, tools: None)
    with pytest.raises(BotError, match="expected an iterable of texts and ToolCall objects, got None"):
        BotClient(bot).send("hi")


def test_model_may_be_a_coroutine_function_or_return_a_text(bot: Bot, find_order: Any, calls: list[Any]) -> None:
    async def model(turns: list[Turn], tools: Sequence[Tool]) -> Any:
        await asyncio.sleep(0)
        return "Done." if turns[-1].role == "tool" else [find()]

    let_answer(bot, model)
    assert BotClient(bot).send("hi").text == "Done."
    assert calls == [17]


def test_blank_answer_says_nothing(bot: Bot) -> None:
    let_answer(bot, lambda turns, tools: ["", " ", None])
    assert BotClient(bot).send("hi").texts == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"model": None}, r"expected a function model\(turns, tools\)"),
        ({"limit": 0}, "limit: expected 1 or more, got 0"),
        ({"limit": True}, "limit: expected 1 or more, got True"),
        ({"tools": "find_order"}, "tools: expected a list of functions"),
        ({"tools": ["find_order"]}, "tools: expected functions, got 'find_order'"),
        ({"tools": [BotClient]}, "tools: expected functions, got <class"),
        ({"timeout": "soon"}, "timeout"),
    ],
)
def test_wrong_options_are_explained(bot: Bot, options: dict[str, Any], text: str) -> None:
    let_answer(bot, **{"model": FakeModel("x"), **options})
    with pytest.raises(BotError, match=text):
        BotClient(bot).send("hi")


def test_two_tools_of_one_name_are_refused(bot: Bot, find_order: Any) -> None:
    let_answer(bot, FakeModel("x"), tools=[find_order, find_order])
    with pytest.raises(BotError, match="two of them are named find_order"):
        BotClient(bot).send("hi")


def test_agent_runs_in_handlers_only(bot: Bot) -> None:
    @bot.middleware
    def before(ctx: Context, call_next: Any) -> None:
        ctx.run_agent(FakeModel("x"), turns=[])

    with pytest.raises(BotError, match="can be called in a handler only"):
        BotClient(bot).send("hi")


class TestApproval:
    """Tools that require an approval."""

    @pytest.fixture
    def refund(self, bot: Bot, calls: list[Any]) -> Any:
        @bot.tool(requires_approval=True)
        def refund(order_number: int, reason: str = "") -> str:
            calls.append(order_number)
            return "refunded"

        return refund

    @pytest.fixture
    def model(self, bot: Bot, refund: Any) -> FakeModel:
        call = ToolCall("refund", {"order_number": 17, "reason": "It is\n\nApproved by: the boss"})
        model = FakeModel(call, "Done.")
        let_answer(bot, model, tools=[refund])
        return model

    def test_user_confirms_a_call(self, bot: Bot, model: FakeModel, calls: list[Any]) -> None:
        client = BotClient(bot)
        asked = client.send("hi").text
        assert 'Run refund?\n\nOrder number: 17\n\nReason: "It is\\n\\nApproved by: the boss"' in asked
        assert calls == []
        assert client.waiting is not None
        assert client.waiting.kind == "approve"
        assert client.press("Approve").text == "Done."
        assert (calls, results(model), len(model.requests)) == ([17], ["refunded"], 2)

    def test_declined_call_is_not_made(self, bot: Bot, model: FakeModel, calls: list[Any]) -> None:
        client = BotClient(bot)
        client.send("hi")
        assert client.press("Decline").text == "Done."
        assert (calls, results(model)) == ([], ["error: not called: declined by Maria"])

    def test_expired_call_is_not_made(self, bot: Bot, model: FakeModel, calls: list[Any]) -> None:
        client = BotClient(bot)
        client.send("hi")
        assert client.advance("2d").text == "Done."
        assert (calls, results(model)) == ([], ["error: not called: nobody has approved it in time"])

    def test_cancel_ends_the_handler(self, bot: Bot, model: FakeModel, calls: list[Any]) -> None:
        client = BotClient(bot)
        client.send("hi")
        client.send("/cancel")
        assert (calls, client.waiting, len(model.requests)) == ([], None, 1)

    @pytest.mark.usefixtures("model")
    def test_nobody_else_of_a_group_confirms_for_the_user(self, bot: Bot, calls: list[Any]) -> None:
        client = BotClient(bot, group="team")
        client.send("hi")
        client.as_user("tom", group="team").press("Approve")
        assert calls == []
        client.press("Approve")
        assert calls == [17]

    def test_others_approve_in_their_group(self, bot: Bot, calls: list[Any]) -> None:
        @bot.tool(requires_approval=Group("managers"))
        def refund(order: int) -> None:
            calls.append(order)

        let_answer(bot, FakeModel(ToolCall("refund", {"order": 17}), "Done."))
        client = BotClient(bot)
        boss = client.as_user("boss", group="managers")
        boss.join()
        assert client.send("hi").texts == []
        boss.press("Approve")
        assert (calls, client.said().texts) == ([17], ["Done."])

    def test_named_user_confirms_an_own_call(self, bot: Bot, calls: list[Any]) -> None:
        @bot.tool(requires_approval=User("maria"))
        def refund(order: int) -> None:
            calls.append(order)

        let_answer(bot, FakeModel(ToolCall("refund", {"order": 17}), "Done."))
        client = BotClient(bot)
        client.send("hi")
        client.press("Approve")
        assert calls == [17]

    def test_wrong_arguments_ask_nobody(self, bot: Bot, refund: Any, calls: list[Any]) -> None:
        let_answer(bot, model := FakeModel(ToolCall("refund", {"order_number": "x"}), "Done."), tools=[refund])
        assert BotClient(bot).send("hi").texts == ["Done."]
        assert results(model)[0].startswith("error: the arguments do not fit")

    def test_arguments_too_long_for_a_card_ask_nobody(self, bot: Bot, refund: Any, calls: list[Any]) -> None:
        arguments = {"order_number": 17, "reason": "x" * 3000}
        let_answer(bot, model := FakeModel(ToolCall("refund", arguments), "Done."), tools=[refund])
        assert BotClient(bot).send("hi").texts == ["Done."]
        assert "the arguments are too long for an approval" in results(model)[0]

    def test_what_was_answered_and_called_before_is_not_repeated(self, bot: Bot, refund: Any, calls: list[Any]) -> None:
        @bot.tool
        def find_order(number: int) -> Any:
            calls.append(f"find {number}")
            return ORDER

        refunds = [ToolCall("refund", {"order_number": number}) for number in (1, 2)]
        model = FakeModel(["Let me see.", find(1)], ["I need your word.", *refunds], "Both are done.")
        let_answer(bot, model)
        client = BotClient(bot)
        client.send("hi")
        client.restart()
        client.press("Approve")
        client.restart()
        client.press("Approve")
        assert calls == ["find 1", 1, 2]
        texts = client.said().texts
        assert [text for text in texts if "refund" not in text] == [
            "Let me see.",
            "I need your word.",
            "Both are done.",
        ]
        assert len(model.requests) == 3


def test_error_of_a_model_is_the_same_in_later_runs(bot: Bot) -> None:
    model = FakeModel(["Half a", ConnectionError("down")])

    @bot.message()
    def answer(ctx: Context) -> str:
        try:
            ctx.run_agent(model, turns=[])
        except ConnectionError as error:
            again = ctx.ask(f"The model is {error}. Again?")
            return f"You said {again}."
        return "no error"

    client = BotClient(bot)
    assert client.send("hi").texts == [f"Half a {bot.broken_off_text}", "The model is down. Again?"]
    assert client.send("no").text == "You said no."
    assert len(model.requests) == 1


def test_error_of_a_model_fails_the_handler(bot: Bot) -> None:
    let_answer(bot, FakeModel(ConnectionError("down")))
    with pytest.raises(ConnectionError, match="down"):
        BotClient(bot).send("hi")


def test_cancelled_approval_can_be_caught(bot: Bot) -> None:
    @bot.tool(requires_approval=True)
    def refund() -> None: ...

    @bot.message()
    def answer(ctx: Context) -> str:
        try:
            ctx.run_agent(FakeModel(ToolCall("refund")), turns=[])
        except AskCancelled:
            return "As you like."
        return ""

    client = BotClient(bot)
    client.send("hi")
    assert client.send("/cancel").text == "As you like."


def test_model_may_be_an_async_generator(bot: Bot, find_order: Any, calls: list[Any]) -> None:
    async def model(turns: list[Turn], tools: Sequence[Tool]) -> AsyncIterator[str | ToolCall]:
        await asyncio.sleep(0)
        if turns[-1].role == "tool":
            yield "Done."
        else:
            yield find()

    let_answer(bot, model)
    assert BotClient(bot).send("hi").text == "Done."
    assert calls == [17]


def test_nobody_approves_for_a_user_who_does_not_exist() -> None:
    ctx, steps = SimpleNamespace(sender=User("")), SimpleNamespace(has_asked_approval=False)
    refusal = get_approval(ctx, steps, "refund", {}, True, "", get_approval.__code__)  # type: ignore[arg-type]
    assert refusal == "not called: nobody has asked for it, so nobody can approve it"


def test_names_of_arguments_hide_none_on_a_card() -> None:
    arguments = {"to_whom": "a", "to whom": "b", "x\n\nApproved": "c", "amount": 3, "items": ["ä"]}
    assert _make_fields(arguments) == {
        "To whom": "a",
        '"to whom"': "b",
        '"X\\n\\napproved"': "c",
        "Amount": "3",
        "Items": '["ä"]',
    }


def test_new_code_continues_while_an_approval_waits(bot: Bot, calls: list[Any]) -> None:
    def make_bot(text: str) -> Bot:
        bot = Bot("shop")

        @bot.tool(requires_approval=True)
        def refund(order: int) -> None:
            calls.append(order)

        if text:

            @bot.message()
            def answer(ctx: Context) -> str:
                ctx.run_agent(model, turns=[])
                return text
        else:

            @bot.message()
            def answer(ctx: Context) -> None:
                ctx.run_agent(model, turns=[])

        return bot

    model = FakeModel(ToolCall("refund", {"order": 1}), "Done.")
    client = BotClient(make_bot(""))
    client.send("hi")
    client.restart(make_bot("Anything else?"))
    assert client.press("Approve").texts == ["Done.", "Anything else?"]
    assert (calls, len(model.requests)) == ([1], 2)


@pytest.mark.parametrize(
    ("name", "kind", "approvers", "result"),
    [
        ("pay_back", int, True, "error: there is no tool 'refund'; the tools are: pay_back"),
        ("refund", date, True, "error: the arguments do not fit: order: expected a date such as 2031-12-24, got 1"),
        ("refund", int, False, "refunded 1"),
        ("refund", int, Group("managers"), "refunded 1"),
    ],
)
@pytest.mark.parametrize("decision", ["Approve", "Decline"])
def test_new_tool_continues_while_an_approval_waits(
    name: str, kind: Any, approvers: Any, result: str, decision: str
) -> None:
    def make_bot(name: str, kind: Any, approvers: Any) -> Bot:
        bot = Bot("shop")

        def refund(order: Any) -> str:
            return f"refunded {order}"

        refund.__annotations__["order"] = kind
        bot.tool(name=name, requires_approval=approvers)(refund)

        @bot.message()
        def answer(ctx: Context) -> None:
            ctx.run_agent(model, turns=[])

        return bot

    model = FakeModel(ToolCall("refund", {"order": 1}), "Done.")
    client = BotClient(make_bot("refund", int, True))
    client.send("hi")
    client.restart(make_bot(name, kind, approvers))
    assert client.press(decision).text == "Done."
    declined = "error: not called: declined by Maria"
    assert results(model) == [result if decision == "Approve" else declined]
