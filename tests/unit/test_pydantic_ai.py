"""``PydanticAgent``: what users and models see of an agent of Pydantic AI, and what is repeated of it."""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import date
from typing import Any

import pytest

pytest.importorskip("pydantic_ai", reason="needs Python 3.11")

from pydantic import BaseModel
from pydantic_ai import Agent, ApprovalRequired, ModelRetry, NativeOutput, RunContext, ToolReturn, UsageLimits
from pydantic_ai.capabilities import ProcessEventStream
from pydantic_ai.exceptions import ModelHTTPError, ToolFailed, UnexpectedModelBehavior, UsageLimitExceeded
from pydantic_ai.messages import (
    BinaryContent,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel as CallingModel

from cometbot import Attachment, Bot, BotError, Context, Group, ToolCall, Turn
from cometbot.client_calls import MAX_TOOL_RESULT_BYTES
from cometbot.pydantic_ai import PydanticAgent, to_messages
from cometbot.testing import BotClient

Piece = str | tuple[str, str] | Exception


class Script:
    """A model that answers by a script: each answer is a list of texts, calls (name, arguments) and exceptions."""

    def __init__(self, *answers: Sequence[Piece]) -> None:
        self.requests: list[list[ModelMessage]] = []
        self.model = FunctionModel(stream_function=self._stream, model_name="scripted")
        self._answers = answers

    async def _stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        self.requests.append(list(messages))
        for number, piece in enumerate(self._answers[len(self.requests) - 1]):
            await asyncio.sleep(0)
            if isinstance(piece, Exception):
                raise piece
            elif isinstance(piece, tuple):
                yield {number: DeltaToolCall(*piece, tool_call_id=f"c{len(self.requests)}-{number}")}
            else:
                yield piece

    @property
    def results(self) -> list[Any]:
        """The results of tools in the last request."""
        return [part.content for part in self.requests[-1][-1].parts if isinstance(part, ToolReturnPart)]


@pytest.fixture
def bot() -> Bot:
    return Bot("shop")


@pytest.fixture
def calls() -> list[Any]:
    return []


@pytest.fixture(params=["plain", "async"])
def let_answer(request: pytest.FixtureRequest, bot: Bot) -> Callable[..., list[Any]]:
    """Let the bot answer each message with an agent, in a plain or an async handler; returns the list of results."""

    def register(agent: Any, *, approvers: Any = True, **options: Any) -> list[Any]:
        assistant, results = PydanticAgent(agent, approvers=approvers), list[Any]()

        def answer(ctx: Context) -> None:
            results.append(assistant.run(ctx, turns=[Turn("user", ctx.text)], **options))

        async def answer_async(ctx: Context) -> None:
            await asyncio.sleep(0)
            answer(ctx)

        bot.message()(answer if request.param == "plain" else answer_async)
        return results

    return register


FIND = ("find", '{"number": 17}')


def make_shop(script: Script, calls: list[Any], **options: Any) -> Agent[Context, str]:
    """Return an agent with a tool to find orders, and one to refund them, which needs an approval."""
    agent = Agent(script.model, deps_type=Context, **options)

    @agent.tool
    async def find(run: RunContext[Context], number: int) -> str:
        run.deps.state["found"] = run.deps.state.get("found", 0) + 1
        calls.append(("find", number, threading.current_thread().name))
        return "sent"

    @agent.tool_plain(requires_approval=True)
    def refund(number: int, reason: str = "") -> dict[str, int]:
        calls.append(("refund", number))
        return {"refunded": number}

    return agent


def test_texts_of_each_answer_are_a_message(bot: Bot, let_answer: Any, calls: list[Any]) -> None:
    script = Script(["Let me ", "see.", FIND], ["It is ", "sent."])
    results = let_answer(make_shop(script, calls, instructions="You help."))
    client = BotClient(bot)
    assert client.send("Where is it?").texts == ["Let me see.", "It is sent."]
    assert results[0].output == "It is sent."
    assert script.results == ["sent"]
    [request] = script.requests[0]
    assert [part.content for part in request.parts] == ["Where is it?"]
    assert request.instructions == "You help."
    assert client.said()[0].id


def test_tool_gets_the_context_and_changes_state(bot: Bot, let_answer: Any, calls: list[Any]) -> None:
    let_answer(make_shop(Script([FIND, FIND], ["Done."], [FIND], ["Again."]), calls))
    client = BotClient(bot)
    assert client.send("hi").text == "Done."
    assert client.send("hi").text == "Again."
    assert client.state["found"] == 3
    assert {name for _, _, name in calls} == {"cometbot-loop"}


def test_tokens_are_reported(bot: Bot, let_answer: Any, calls: list[Any]) -> None:
    let_answer(make_shop(Script(["One ", "moment.", FIND], ["Done."]), calls))
    client = BotClient(bot)
    client.send("hi")
    assert [(item.model, item.output > 0) for item in client.usage] == [("scripted", True)] * 2


def test_model_that_cannot_stream_is_asked_for_all(bot: Bot, let_answer: Any) -> None:
    let_answer(Agent(FunctionModel(lambda messages, info: ModelResponse([TextPart("Hello.")]))))
    assert BotClient(bot).send("hi").text == "Hello."


def test_test_model_calls_all_tools(bot: Bot, let_answer: Any, calls: list[Any]) -> None:
    agent = make_shop(Script(), calls)
    with agent.override(model=CallingModel()):
        results = let_answer(agent)
        client = BotClient(bot)
        client.send("hi")
        assert client.press("Approve").text == '{"find":"sent","refund":{"refunded":0}}'
    assert [name for name, *_ in calls] == ["find", "refund"]
    assert results[0].usage.requests == 2


def test_nothing_is_shown_with_stream_false(bot: Bot, let_answer: Any, calls: list[Any]) -> None:
    results = let_answer(make_shop(Script(["One moment.", FIND], ["Done."]), calls), stream=False)
    client = BotClient(bot)
    assert client.send("hi").texts == []
    assert results[0].output == "Done."
    assert len(client.usage) == 2


class Ticket(BaseModel):
    title: str
    due: date


@pytest.mark.parametrize("is_native", [False, True])
def test_output_that_is_no_text_is_not_shown(bot: Bot, let_answer: Any, is_native: bool) -> None:
    written = '{"title": "Broken", "due": "2031-12-24"}'
    answer: list[Piece] = [written] if is_native else ["I write it down.", ("final_result", written)]
    kind: Any = NativeOutput(Ticket) if is_native else Ticket
    results = let_answer(Agent(Script(answer).model, output_type=kind))
    assert BotClient(bot).send("It is broken").texts == []
    assert results[0].output == Ticket(title="Broken", due=date(2031, 12, 24))


class TestApproval:
    """Tools that require an approval."""

    SCRIPT: tuple[list[Piece], ...] = (["A moment.", FIND, ("refund", '{"number": 17, "reason": "broken"}')], ["Done."])

    def test_user_confirms_a_call(self, bot: Bot, let_answer: Any, calls: list[Any]) -> None:
        script = Script(*self.SCRIPT)
        let_answer(make_shop(script, calls))
        client = BotClient(bot)
        said = client.send("hi").texts
        assert said[0] == "A moment."
        assert "Run refund?\n\nNumber: 17\n\nReason: broken" in said[1]
        assert [name for name, *_ in calls] == ["find"]
        assert client.press("Approve").text == "Done."
        assert [name for name, *_ in calls] == ["find", "refund"]
        assert script.results == ["sent", {"refunded": 17}]
        assert len(script.requests) == 2

    def test_declined_call_is_not_made(self, bot: Bot, let_answer: Any, calls: list[Any]) -> None:
        script = Script(*self.SCRIPT)
        let_answer(make_shop(script, calls))
        client = BotClient(bot)
        client.send("hi")
        assert client.press("Decline").text == "Done."
        assert script.results == ["sent", "not called: declined by Maria"]
        assert [name for name, *_ in calls] == ["find"]

    @pytest.mark.parametrize("is_mapping", [False, True])
    def test_others_approve(self, bot: Bot, let_answer: Any, calls: list[Any], is_mapping: bool) -> None:
        team = Group("team")
        let_answer(make_shop(Script(*self.SCRIPT), calls), approvers={"refund": team} if is_mapping else team)
        client = BotClient(bot)
        client.send("hi")
        client.as_user("tom", group="team").press("Approve")
        assert [name for name, *_ in calls] == ["find", "refund"]
        assert client.said()[-1].text == "Done."

    def test_tool_may_ask_for_an_approval_itself(self, bot: Bot, let_answer: Any, calls: list[Any]) -> None:
        script = Script([("pay", '{"amount": 5}'), ("pay", '{"amount": 50}')], ["Paid."])
        agent = Agent(script.model)

        @agent.tool
        def pay(run: RunContext[None], amount: int) -> str:
            calls.append(amount)
            if amount > 10 and not run.tool_call_approved:
                raise ApprovalRequired(metadata={"why": "much"})
            return f"paid {amount}"

        let_answer(agent)
        client = BotClient(bot)
        assert "Amount: 50" in client.send("hi").text
        assert client.press("Approve").text == "Paid."
        assert (calls, script.results) == ([5, 50, 50], ["paid 5", "paid 50"])

    def test_cancel_ends_the_handler(self, bot: Bot, let_answer: Any, calls: list[Any]) -> None:
        script = Script(*self.SCRIPT)
        results = let_answer(make_shop(script, calls))
        client = BotClient(bot)
        client.send("hi")
        client.send("/cancel")
        assert (client.waiting, len(script.requests), results) == (None, 1, [])

    def test_restarted_bot_goes_on(self, let_answer: Any, bot: Bot, calls: list[Any]) -> None:
        script = Script(*self.SCRIPT)
        let_answer(make_shop(script, calls))
        client = BotClient(bot)
        client.send("hi")
        client.restart(bot)
        assert client.press("Approve").text == "Done."
        assert len(script.requests) == 2


class TestResults:
    """What the model gets of tools."""

    @pytest.fixture
    def run(self, bot: Bot, let_answer: Any) -> Callable[..., list[Any]]:
        """Let an agent call a tool, ask the user something, and return what the model got, in the last run."""

        def call(tool: Callable[..., Any]) -> list[Any]:
            script = Script([("tool", "{}")], ["Done."], ["Second."])
            agent = Agent(script.model, tools=[tool])
            assistant = PydanticAgent(agent)

            @bot.command("go")
            def go(ctx: Context) -> None:
                result = assistant.run(ctx, turns=[Turn("user", "go")])
                ctx.ask("Well?")
                assert result is not None
                parts = [part for message in result.all_messages() for part in message.parts]
                found.append([part for part in parts if isinstance(part, ToolReturnPart)])

            found: list[Any] = []
            client = BotClient(bot)
            client.send("/go")
            client.send("well")
            assert len(script.requests) == 2
            [parts] = found
            [sent] = [part for part in script.requests[-1][-1].parts if isinstance(part, ToolReturnPart)]
            assert [part.content for part in parts] == [sent.content]
            return [sent.content, sent.outcome]

        return call

    @pytest.mark.parametrize(
        ("value", "content"),
        [
            (None, None),
            ({"due": date(2031, 12, 24)}, {"due": "2031-12-24"}),
            (Ticket(title="x", due=date(2031, 12, 24)), {"title": "x", "due": "2031-12-24"}),
            (ToolReturn("ok", metadata={"cost": 3}), "ok"),
        ],
    )
    def test_result_is_what_json_gives_back(self, run: Any, value: Any, content: Any) -> None:
        def tool() -> Any:
            return value

        assert run(tool) == [content, "success"]

    def test_picture_stays_a_picture(self, run: Any) -> None:
        def tool() -> Any:
            return BinaryContent(b"GIF89a", media_type="image/gif")

        [content, _] = run(tool)
        assert isinstance(content, BinaryContent)
        assert content.data == b"GIF89a"

    @pytest.mark.parametrize(
        ("error", "text"),
        [(ModelRetry("Which order?"), "Which order?"), (ToolFailed("No such order"), "No such order")],
    )
    def test_exceptions_for_the_agent_are_results(self, run: Any, error: Exception, text: str) -> None:
        def tool() -> str:
            raise error

        [content, outcome] = run(tool)
        assert text in str(content)
        assert outcome in ("retry", "failed", "retried")

    def test_long_result_is_an_error_for_the_model(self, run: Any) -> None:
        def tool() -> str:
            return "x" * MAX_TOOL_RESULT_BYTES

        [content, outcome] = run(tool)
        assert "ask for less" in content
        assert outcome == "failed"


def test_result_that_is_no_json_is_a_mistake(bot: Bot, let_answer: Any) -> None:
    def tool() -> Any:
        return object()

    let_answer(Agent(Script([("tool", "{}")]).model, tools=[tool]))
    with pytest.raises(BotError, match="the tool tool: expected a result that can be stored as JSON, got <object"):
        BotClient(bot).send("hi")


def test_tool_must_not_reply(bot: Bot, let_answer: Any) -> None:
    agent = Agent(Script([("tool", "{}")]).model, deps_type=Context)

    @agent.tool
    def tool(run: RunContext[Context]) -> None:
        run.deps.reply("Hello")

    let_answer(agent)
    with pytest.raises(BotError, match=r"ctx\.reply cannot be called inside a tool"):
        BotClient(bot).send("hi")


def test_agent_runs_in_handlers_only(bot: Bot) -> None:
    assistant = PydanticAgent(Agent(Script(["Hello"]).model))

    @bot.middleware
    def before(ctx: Context, call_next: Any) -> None:
        assistant.run(ctx, turns=[])

    with pytest.raises(BotError, match=r"PydanticAgent\.run can be called in a handler only"):
        BotClient(bot).send("hi")


def test_only_agents_are_taken() -> None:
    with pytest.raises(BotError, match="PydanticAgent: expected an Agent of pydantic_ai, got 'openai:gpt-5'"):
        PydanticAgent("openai:gpt-5")  # type: ignore[arg-type]


@pytest.mark.parametrize("approvers", ["managers", None, {"refund": "managers"}])
def test_wrong_approvers_are_explained(approvers: Any) -> None:
    with pytest.raises(BotError, match="PydanticAgent: approvers: expected True"):
        PydanticAgent(Agent(Script().model), approvers=approvers)


def test_agent_may_follow_its_own_events(bot: Bot, let_answer: Any, calls: list[Any]) -> None:
    async def follow(run: RunContext[Context], events: Any) -> None:
        async for event in events:
            kinds.append(event.event_kind)

    kinds: list[str] = []
    capability = ProcessEventStream(follow)
    let_answer(make_shop(Script(["A ", "moment.", FIND], ["Done."]), calls, capabilities=[capability]))
    assert BotClient(bot).send("hi").texts == ["A moment.", "Done."]
    assert {"part_start", "function_tool_call", "function_tool_result"} <= set(kinds)


def test_hundred_calls_at_once_are_made_in_order(bot: Bot, let_answer: Any, calls: list[Any]) -> None:
    answer: list[Piece] = [("find", f'{{"number": {number}}}') for number in range(100)]
    let_answer(make_shop(Script(answer, ["Done."]), calls))
    assert BotClient(bot).send("hi").text == "Done."
    assert [number for _, number, _ in calls] == list(range(100))


def test_user_without_tokens_gets_no_answer() -> None:
    small = Bot("small", token_budget="10/day")
    script = Script(["A long answer. " * 20], ["Never."])
    assistant = PydanticAgent(Agent(script.model))

    @small.message()
    def answer(ctx: Context) -> None:
        assistant.run(ctx)

    client = BotClient(small)
    client.send("hi")
    assert "reached your limit" in client.send("hi").text
    assert (len(script.requests), client.dead_letters) == (1, [])


@pytest.mark.parametrize("has_history", [False, True])
def test_agent_is_asked_the_message_after_the_turns_before(bot: Bot, calls: list[Any], has_history: bool) -> None:
    script = Script(["Hello."], ["Yes."])
    assistant = PydanticAgent(Agent(script.model, system_prompt="You help."))

    @bot.message()
    def answer(ctx: Context) -> None:
        assistant.run(ctx, message_history=to_messages(ctx.turns()[:-1]) if has_history else None)

    client = BotClient(bot)
    client.send("Hi")
    client.send("Is it open?")
    assert [describe(message) for message in script.requests[1]][-3:] == [
        ["user-prompt: Hi"] if has_history else ["system-prompt: You help.", "user-prompt: Hi"],
        ["text: Hello."],
        ["user-prompt: Is it open?"],
    ]


def describe(message: ModelMessage) -> list[str]:
    return [f"{part.part_kind}: {getattr(part, 'content', None)}" for part in message.parts]


def test_prompt_is_asked_after_all_turns(bot: Bot, let_answer: Any) -> None:
    script = Script(["A summary."])
    let_answer(Agent(script.model), prompt="Summarise that.")
    BotClient(bot).send("Hello")
    assert [describe(message) for message in script.requests[0]] == [
        ["user-prompt: Hello", "user-prompt: Summarise that."],
    ]


def test_turns_and_history_are_not_both_given(bot: Bot, let_answer: Any) -> None:
    let_answer(Agent(Script(["x"]).model), message_history=[])
    with pytest.raises(BotError, match="turns and message_history are both given"):
        BotClient(bot).send("hi")


class TestFailures:
    """Agents and models that raise."""

    def test_model_that_fails_ends_the_handler(self, bot: Bot, let_answer: Any, calls: list[Any]) -> None:
        let_answer(make_shop(Script([FIND], [ConnectionError("down")]), calls))
        client = BotClient(bot, raise_errors=False)
        client.send("hi")
        [letter] = client.dead_letters
        assert "ConnectionError: down" in str(letter)

    def test_error_that_the_handler_survives_is_raised_again(self, bot: Bot) -> None:
        error = ModelHTTPError(529, "scripted", {"type": "overloaded_error"})
        script, found = Script([error], ["Second."]), list[Any]()
        assistant = PydanticAgent(Agent(script.model))

        @bot.message()
        def answer(ctx: Context) -> None:
            try:
                assistant.run(ctx, turns=[Turn("user", "hi")])
            except ModelHTTPError as raised:
                found.append((raised.status_code, raised.model_name, raised.body, str(raised)))
            ctx.ask("It does not work. Again?")
            assistant.run(ctx, turns=[Turn("user", "again")])

        client = BotClient(bot)
        client.send("hi")
        assert client.send("yes").text == "Second."
        assert len(set(map(str, found))) == 1
        assert found[-1][:3] == (529, "scripted", {"type": "overloaded_error"})
        assert len(script.requests) == 2

    def test_error_of_a_tool_that_the_handler_survives_is_raised_again(self, bot: Bot, calls: list[Any]) -> None:
        def tool() -> None:
            calls.append("tool")
            raise LookupError("no such order")

        script = Script([("tool", "{}")])
        assistant = PydanticAgent(Agent(script.model, tools=[tool]))

        @bot.message()
        def answer(ctx: Context) -> str:
            try:
                assistant.run(ctx, turns=[Turn("user", "hi")])
            except LookupError as error:
                ctx.ask(f"{error}. Go on?")
            return "Good."

        client = BotClient(bot)
        assert client.send("hi").text == "no such order. Go on?"
        assert client.send("yes").text == "Good."
        assert (calls, len(script.requests)) == (["tool"], 1)

    def test_other_model_takes_over(self, bot: Bot, let_answer: Any, calls: list[Any]) -> None:
        broken, script = Script([ModelHTTPError(503, "x")]), Script(["Here I am."])
        let_answer(Agent(FallbackModel(broken.model, script.model)))
        assert BotClient(bot).send("hi").text == "Here I am."

    def test_limits_of_the_agent_are_raised(self, bot: Bot, let_answer: Any, calls: list[Any]) -> None:
        let_answer(make_shop(Script([FIND], [FIND]), calls), usage_limits=UsageLimits(request_limit=2))
        with pytest.raises(UsageLimitExceeded, match="request_limit"):
            BotClient(bot).send("hi")
        assert len(calls) == 2

    def test_unknown_tool_is_an_error_for_the_model(self, bot: Bot, let_answer: Any, calls: list[Any]) -> None:
        script = Script([("delete_all", "{}"), ("find", '{"number": "x"}')], ["I cannot."])
        let_answer(make_shop(script, calls))
        assert BotClient(bot).send("hi").text == "I cannot."
        assert "Unknown tool name: 'delete_all'" in str(script.requests[-1][-1])
        assert calls == []

    def test_model_that_repeats_mistakes_ends_the_run(self, bot: Bot, let_answer: Any, calls: list[Any]) -> None:
        let_answer(make_shop(Script(*[[("delete_all", "{}")]] * 9), calls))
        with pytest.raises(UnexpectedModelBehavior):
            BotClient(bot).send("hi")


def test_turns_become_messages() -> None:
    gif = Attachment("data:image/gif;base64,R0lGODlh", "a.gif", "image/gif")
    web = Attachment("https://example.com/a.png", "a.png", "image/png")
    turns = [
        Turn("assistant", "Welcome."),
        Turn("user", "Look.", "Maria", (gif, web)),
        Turn("user", "Well?", "Tom"),
        Turn("assistant", "", tool_calls=(ToolCall("find", {"number": 17}, "c1"),)),
        Turn("tool", "sent", tool_call_id="c1"),
        Turn("system", "Be kind."),
    ]
    messages = to_messages(turns)
    assert [type(message) for message in messages[:2]] == [ModelRequest, ModelResponse]
    opening, welcome, looked, call, result, rule = [message.parts[0] for message in messages]
    assert isinstance(opening, UserPromptPart)
    assert welcome == TextPart("Welcome.")
    assert isinstance(looked, UserPromptPart)
    text, first, second, later = looked.content
    assert (text, later) == ("Maria: Look.", "Tom: Well?")
    assert isinstance(first, BinaryContent)
    assert first.media_type == "image/gif"
    assert second == ImageUrl("https://example.com/a.png")
    assert call == ToolCallPart("find", '{"number": 17}', "c1")
    assert isinstance(result, ToolReturnPart)
    assert (result.tool_name, result.content, result.tool_call_id) == ("find", "sent", "c1")
    assert isinstance(rule, SystemPromptPart)


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_ai", None)
    monkeypatch.delitem(sys.modules, "cometbot.pydantic_ai")
    with pytest.raises(ImportError, match=r"pip install 'cometbot\[ai\]'"):
        importlib.import_module("cometbot.pydantic_ai")
