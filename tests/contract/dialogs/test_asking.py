"""Handlers that ask: each answer, wrong answer and end, on the fake platform."""

from __future__ import annotations

import asyncio
import enum
import logging
import threading
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
import sqlalchemy as sa

from cometbot import (
    AskCancelled,
    AskEnded,
    AskReplaced,
    AskTimeout,
    Attachment,
    Bot,
    BotError,
    Choice,
    Context,
    Field,
    Form,
    MessageEvent,
    in_group,
)
from cometbot.delivery.dry_run import dry_run
from cometbot.messages import Capabilities
from cometbot.steps import Suspended
from cometbot.store.tables import dialogs, steps, timers
from cometbot.testing import BotClient
from cometbot.testing.fake_channel import FakeChannel


def texts(replies: Any) -> list[str]:
    return [reply.text.partition("\n")[0] for reply in replies]


def make_order(bot: Bot, calls: list[Any]) -> None:
    def create(size: str, count: int) -> str:
        calls.append((size, count))
        return f"o{len(calls)}"

    @bot.command("order")
    def order(ctx: Context) -> str:
        ctx.reply("Welcome!")
        size = ctx.ask("Which size?", choices=["S", "M", "L"])
        ctx.reply(f"{size} it is.")
        count = ctx.ask("How many?", type=int, invalid_text="1 to 9, please.", validate=lambda n: 1 <= n <= 9)
        order_id = ctx.once(create, size, count)
        return f"{count} × {size}, order {order_id}."


def test_handler_goes_on_with_each_answer(bot: Bot) -> None:
    calls: list[Any] = []
    make_order(bot, calls)
    client = BotClient(bot)
    assert texts(client.send("/order")) == ["Welcome!", "Which size?"]
    assert texts(client.send("M")) == ["M it is.", "How many?"]
    assert texts(client.send("3")) == ["3 × M, order o1."]
    assert calls == [("M", 3)]
    assert texts(client.send("3")) == []


@pytest.mark.parametrize("answer", ["m", " M ", "2", "2."])
def test_choice_is_taken_by_label_and_number(bot: Bot, answer: str) -> None:
    make_order(bot, [])
    client = BotClient(bot)
    client.send("/order")
    assert texts(client.send(answer))[0] == "M it is."


def test_choice_is_pressed(bot: Bot) -> None:
    make_order(bot, [])
    client = BotClient(bot)
    client.send("/order")
    assert texts(client.press("L"))[0] == "L it is."


def test_value_of_a_choice_is_the_answer(bot: Bot) -> None:
    bot.fallback(lambda ctx: ctx.ask("Which?", choices=[Choice("Small", "s"), Choice("Large", "l")]))
    client = BotClient(bot)
    client.send("hi")
    assert texts(client.send("large")) == ["l"]


def test_wrong_answers_repeat_the_question_until_the_limit(bot: Bot) -> None:
    make_order(bot, [])
    client = BotClient(bot)
    client.send("/order")
    wrong = client.send("XXL")
    assert texts(wrong) == ["Please choose one of: S, M, L."]
    assert "2. M" in wrong.text
    client.send("M")
    assert texts(client.send("ten")) == ["1 to 9, please."]
    assert texts(client.send("10")) == ["1 to 9, please."]
    assert texts(client.send("11")) == ["Let us leave it there. You can start again at any time."]
    assert texts(client.send("3")) == []
    assert client.dead_letters == []


def test_error_text_of_validate_is_shown(bot: Bot) -> None:
    def check(value: str) -> None:
        if "@" not in value:
            raise ValueError("That is no address.")

    bot.fallback(lambda ctx: ctx.ask("Your address?", validate=check, attempts=9))
    client = BotClient(bot)
    client.send("hi")
    assert texts(client.send("maria")) == ["That is no address."]
    assert texts(client.send("x" * 10_000)) == ["That is no address."]
    assert texts(client.send("maria@example.org")) == ["maria@example.org"]


def test_a_file_is_asked_for(bot: Bot) -> None:
    @bot.fallback
    def ask(ctx: Context) -> str:
        photo = ctx.ask("A photo?", type=Attachment)
        return f"got {photo.name}"

    client = BotClient(bot)
    client.send("hi")
    assert texts(client.send("no")) == ["Please send a file."]
    assert texts(client.send_image("https://example.org/cat.png")) == ["got cat.png"]


def test_a_picture_is_no_text(bot: Bot) -> None:
    bot.fallback(lambda ctx: ctx.ask("Your name?"))
    client = BotClient(bot)
    client.send("hi")
    assert texts(client.send_image("https://example.org/cat.png")) == ["Please answer with a text."]
    assert texts(client.send("Maria")) == ["Maria"]


def test_a_sticker_is_no_text(bot: Bot) -> None:
    bot.fallback(lambda ctx: ctx.ask("Your name?"))
    client = BotClient(bot)
    client.send("hi")
    sticker = client.event(MessageEvent, id="9", type="sticker", category="custom", data={"sticker_name": "wave"})
    assert texts(sticker) == ["Please answer with a text."]
    assert texts(client.send("Maria")) == ["Maria"]


def test_a_form_is_one_question(bot: Bot) -> None:
    form = Form("Order", [Field("name"), Field("size", kind="select", options=["S", "M"])], action="x")
    bot.fallback(lambda ctx: str(ctx.ask(form)))
    client = BotClient(bot)
    client.send("hi")
    assert texts(client.send("what?")) == ["Please fill in the form."]
    assert texts(client.fill(name="Maria", size="M")) == ["{'name': 'Maria', 'size': 'M'}"]


@dataclass
class Order:
    name: str
    count: int
    size: Literal["S", "M"] = "S"
    note: str = ""


def test_a_dataclass_is_a_form(bot: Bot) -> None:
    bot.fallback(lambda ctx: repr(ctx.ask(Order)))
    client = BotClient(bot)
    client.send("hi")
    assert texts(client.fill(name="Maria", count="many")) == ["Count: please write a number, not “many”."]
    assert texts(client.fill(name="Maria", count="3", size="M"))[0].endswith(
        "Order(name='Maria', count=3, size='M', note='')"
    )


@pytest.mark.parametrize("word", ["/cancel", "stop", "STOP "])
def test_cancel_ends_the_dialog(bot: Bot, word: str) -> None:
    bot = Bot("helpdesk", cancel_words=["Stop"])
    make_order(bot, [])
    client = BotClient(bot)
    client.send("/order")
    assert texts(client.send(word)) == ["All right, cancelled."]
    assert texts(client.send("M")) == []


def test_cancel_is_caught(bot: Bot) -> None:
    @bot.command
    def order(ctx: Context) -> str:
        try:
            return ctx.ask("Which?")
        except AskCancelled:
            ctx.once(lambda: None)
            return "what a pity"

    client = BotClient(bot)
    client.send("/order")
    assert texts(client.send("/cancel")) == ["what a pity"]


def test_own_cancel_command_and_choice_precede(bot: Bot) -> None:
    bot = Bot("helpdesk", cancel_words=["none"])
    bot.command("cancel")(lambda ctx: "mine")

    @bot.fallback
    def ask(ctx: Context) -> str:
        return ctx.ask("Which?", choices=["Some", "None"])

    client = BotClient(bot)
    client.send("hi")
    assert texts(client.send("/cancel")) == ["mine"]
    assert texts(client.send("none")) == ["None"]


def test_question_times_out(bot: Bot) -> None:
    raised: list[type] = []

    @bot.command
    def order(ctx: Context) -> str:
        try:
            return ctx.ask("Which?", timeout="1h")
        except AskTimeout as error:
            raised.append(type(error))
            return ctx.ask("Still there?", timeout="1h", default="no")

    client = BotClient(bot, check_paths=False)
    client.send("/order")
    assert texts(client.advance(3599)) == []
    assert texts(client.advance(1)) == ["Still there?"]
    assert texts(client.advance(3600)) == ["no"]
    assert raised == [AskTimeout, AskTimeout]
    assert client.dead_letters == []


def test_wrong_answer_does_not_move_the_deadline(bot: Bot) -> None:
    bot.fallback(lambda ctx: str(ctx.ask("How many?", type=int, timeout="1h", default=0)))
    client = BotClient(bot)
    client.send("hi")
    client.advance(3000)
    assert texts(client.send("many"))[0].startswith("Please answer with a whole number")
    assert texts(client.advance(600)) == ["0"]


def test_another_command_runs_beside_the_dialog(bot: Bot) -> None:
    make_order(bot, [])
    bot.command("ping")(lambda ctx: "pong")
    client = BotClient(bot)
    client.send("/order")
    assert texts(client.send("/ping")) == ["pong"]
    assert texts(client.send("M"))[0] == "M it is."


def test_same_command_starts_over(bot: Bot) -> None:
    ended: list[BaseException] = []

    @bot.command
    def order(ctx: Context) -> str:
        try:
            return ctx.ask("Which?")
        except AskEnded as error:
            ended.append(error)
            raise

    client = BotClient(bot)
    client.send("/order")
    assert texts(client.send("/order")) == ["Which?"]
    assert [type(error) for error in ended] == [AskReplaced]
    assert texts(client.send("tea")) == ["tea"]
    assert texts(client.send("tea")) == []


def test_a_dialog_is_refused_while_another_is_open() -> None:
    bot = Bot("helpdesk", dialogs="refuse")

    @bot.command
    def one(ctx: Context) -> str:
        return ctx.ask("One?")

    @bot.command
    def two(ctx: Context) -> str:
        return ctx.ask("Two?")

    client = BotClient(bot)
    client.send("/one")
    assert texts(client.send("/two")) == ["Please answer my open question first, or write /cancel."]
    assert texts(client.send("yes")) == ["yes"]


def test_state_of_a_suspended_run_is_made_by_the_last(bot: Bot) -> None:
    @bot.command
    def count(ctx: Context) -> str:
        ctx.state["runs"] = ctx.state.get("runs", 0) + 1
        name = ctx.ask("Name?")
        ctx.user_state["name"] = name
        return f"{name} {ctx.state['runs']}"

    client = BotClient(bot)
    client.send("/count")
    assert dict(client.state) == {}
    assert texts(client.send("Maria")) == ["Maria 1"]
    assert (dict(client.state), dict(client.user_state)) == ({"runs": 1}, {"name": "Maria"})


def test_state_inside_once_is_stored_with_it(bot: Bot) -> None:
    @bot.command
    def order(ctx: Context) -> str:
        def save() -> None:
            ctx.state["orders"] = ctx.state.get("orders", 0) + 1

        ctx.once(save)
        return f"{ctx.ask('Name?')} {ctx.state['orders']}"

    client = BotClient(bot)
    client.send("/order")
    assert dict(client.state) == {"orders": 1}
    assert texts(client.send("Maria")) == ["Maria 1"]
    assert dict(client.state) == {"orders": 1}


def test_exception_of_once_is_a_result(bot: Bot) -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise LookupError("sold out", 3)

    @bot.command
    def order(ctx: Context) -> str:
        try:
            ctx.once(fail)
        except LookupError as error:
            return f"{ctx.ask('Anything else?')} {error.args}"
        return "never"

    client = BotClient(bot)
    client.send("/order")
    assert texts(client.send("tea")) == ["tea ('sold out', 3)"]
    assert calls == [1]


def test_async_handler_asks_and_calls_once(bot: Bot) -> None:
    calls: list[str] = []

    async def create(name: str) -> str:
        await asyncio.sleep(0)
        calls.append(name)
        return f"id of {name}"

    @bot.command
    async def order(ctx: Context) -> str:
        name = ctx.ask("Name?")
        made = await ctx.once(create, name)
        return f"{ctx.ask('Sure?')} {made}"

    client = BotClient(bot)
    client.send("/order")
    assert texts(client.send("Maria")) == ["Sure?"]
    assert texts(client.send("yes")) == ["yes id of Maria"]
    assert calls == ["Maria"]


def test_sleep_goes_on_later(bot: Bot) -> None:
    @bot.command
    def remind(ctx: Context) -> str:
        ctx.reply("I will.")
        ctx.sleep("2h")
        return "Now!"

    client = BotClient(bot)
    assert texts(client.send("/remind")) == ["I will."]
    assert texts(client.advance(7199)) == []
    assert texts(client.advance(1)) == ["Now!"]


def test_now_and_random_are_the_same_in_every_run(bot: Bot) -> None:
    seen: list[Any] = []

    @bot.command
    def lottery(ctx: Context) -> str:
        before = ctx.now(), ctx.random.random()
        ctx.ask("Ready?")
        seen.append((before, ctx.now(), ctx.random.random()))
        ctx.ask("Sure?")
        return "done"

    client = BotClient(bot, now=1_000_000)
    client.send("/lottery")
    client.advance(10)
    client.send("yes")
    client.advance(10)
    client.send("yes")
    assert seen[0] == seen[1]
    assert seen[0][0][0].timestamp() == 1_000_000
    assert seen[0][1].timestamp() == 1_000_010


def test_edit_reaches_what_an_earlier_run_said(bot: Bot) -> None:
    @bot.command
    def order(ctx: Context) -> None:
        sent = ctx.reply("open")
        ctx.ask("Close?")
        sent.edit("closed")

    client = BotClient(bot)
    client.send("/order")
    client.send("yes")
    assert texts(client.said()) == ["closed", "Close?"]


def test_stream_is_sent_once(bot: Bot) -> None:
    asked: list[int] = []

    @bot.command
    def story(ctx: Context) -> str:
        def parts() -> Any:
            asked.append(1)
            yield "Once "
            yield "upon"

        ctx.stream(parts())
        return ctx.ask("More?")

    client = BotClient(bot)
    assert texts(client.send("/story")) == ["Once upon", "More?"]
    assert texts(client.send("no")) == ["no"]
    assert asked == [1]


def test_stream_of_a_handler_that_is_retried_is_sent_once(bot: Bot) -> None:
    opened: list[int] = []

    def open_stream() -> list[str]:
        opened.append(1)
        return [f"Once {len(opened)} ", "upon"]

    @bot.command(retries=1)
    def story(ctx: Context) -> str:
        ctx.stream(open_stream)
        if opened.append(0) or opened.count(0) == 1:
            raise RuntimeError("broken")
        return "The end."

    client = BotClient(bot)
    client.send("/story")
    client.advance(10)
    assert texts(client.said()) == ["Once 1 upon", "The end."]
    assert opened.count(1) == 1
    assert count_rows(client) == (0, 0, 0)


def count_rows(client: BotClient) -> tuple[int, ...]:
    """Return the numbers of dialogs, steps and timers that are stored."""
    with client._harness.database.read() as connection:
        counts = [sa.select(sa.func.count()).select_from(table) for table in (dialogs, steps, timers)]
        return tuple(connection.execute(count).scalar_one() for count in counts)


def test_nothing_is_stored_of_a_dialog_that_is_over(bot: Bot) -> None:
    make_order(bot, [])
    client = BotClient(bot)
    for answer in ("/order", "M", "3", "/order", "L", "/cancel", "/order", "S"):
        client.send(answer)
    assert count_rows(client) == (1, 1, 1)
    client.advance(90_000)
    assert count_rows(client) == (0, 0, 0)


def test_dry_run_calls_nothing_once(bot: Bot) -> None:
    calls: list[int] = []

    @bot.command
    def order(ctx: Context) -> str:
        ctx.reply("Welcome!")
        return f"made {ctx.once(make)}"

    def make() -> int:
        calls.append(1)
        return len(calls)

    client = BotClient(bot)
    client.send("/order")
    result = dry_run(client._harness.delivery, "m1")
    assert [planned.text for planned in result.planned] == ["Welcome!"]
    assert result.blocked_calls[0].startswith("ctx.once(")
    assert calls == [1]


def test_middleware_runs_around_each_run(bot: Bot) -> None:
    seen: list[tuple[str, str]] = []

    @bot.middleware
    def watch(ctx: Context, call_next: Any) -> Any:
        seen.append((ctx.event.key, ctx.incoming.key))
        return call_next()

    bot.command("order")(lambda ctx: ctx.ask("Which?"))
    client = BotClient(bot, check_paths=False)
    client.send("/order")
    client.send("tea")
    (first, same), (opening, answer) = seen
    assert first == same == opening != answer


def test_middleware_of_the_handler_runs_around_each_run(bot: Bot) -> None:
    seen: list[str] = []

    def watch(ctx: Context, call_next: Any) -> Any:
        seen.append(ctx.incoming.text if isinstance(ctx.incoming, MessageEvent) else "")
        answer = call_next()
        seen.append("answered")
        return f"{answer}!"

    bot.command("order", middleware=[watch])(lambda ctx: ctx.ask("Which?"))
    client = BotClient(bot, check_paths=False)
    client.send("/order")
    assert client.send("tea").text == "tea!"
    assert seen == ["/order", "tea", "answered"]


def test_middleware_that_stops_a_run_consumes_nothing(bot: Bot) -> None:
    @bot.middleware
    def stop(ctx: Context, call_next: Any) -> Any:
        return None if getattr(ctx.incoming, "text", "") == "tea" else call_next()

    bot.command("order")(lambda ctx: ctx.ask("Which?"))
    client = BotClient(bot)
    client.send("/order")
    assert texts(client.send("tea")) == []
    assert texts(client.send("milk")) == ["milk"]


def test_error_handler_sees_no_suspension(bot: Bot) -> None:
    errors: list[BaseException] = []
    bot.error(lambda ctx, error: errors.append(error))
    bot.command("order")(lambda ctx: ctx.ask("Which?"))
    client = BotClient(bot)
    client.send("/order")
    client.send("tea")
    assert errors == []


def test_caught_suspension_is_dropped_with_a_warning(bot: Bot, caplog: pytest.LogCaptureFixture) -> None:
    @bot.command
    def order(ctx: Context) -> str:
        try:
            return ctx.ask("Which?")
        except BaseException:
            ctx.log.info("caught")
        return "never said"

    client = BotClient(bot, check_paths=False)
    with caplog.at_level(logging.WARNING):
        assert texts(client.send("/order")) == ["Which?"]
    assert len([record for record in caplog.records if "waits for an answer" in record.getMessage()]) == 1
    assert texts(client.send("tea")) == ["tea"]


def test_nothing_is_said_after_a_suspension(bot: Bot) -> None:
    @bot.command
    def order(ctx: Context) -> str:
        try:
            return ctx.ask("Which?")
        except BaseException:
            ctx.reply("after")
            raise

    client = BotClient(bot)
    assert texts(client.send("/order")) == ["Which?"]


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.update(seen=1),
        lambda state: state.pop("kept"),
        lambda state: state.increment("kept"),
    ],
)
def test_nothing_is_stored_after_a_suspension(bot: Bot, change: Any) -> None:
    raised: list[BaseException] = []

    @bot.command
    def order(ctx: Context) -> str:
        try:
            return ctx.ask("Which?")
        except BaseException:
            try:
                change(ctx.state)
            except BaseException as error:
                raised.append(error)
            raise

    client = BotClient(bot, check_paths=False)
    client.state["kept"] = 1
    client.send("/order")
    assert [type(error) for error in raised] == [Suspended]
    assert dict(client.state) == {"kept": 1}


class Group(Exception):
    """What the groups of tasks raise that Python and its libraries have."""

    def __init__(self, *exceptions: Exception) -> None:
        super().__init__("in a group")
        self.exceptions = exceptions


def test_end_of_a_question_inside_a_group_of_tasks_is_no_failure(bot: Bot) -> None:
    @bot.command
    def order(ctx: Context) -> str:
        try:
            return ctx.ask("Which?")
        except AskCancelled as error:
            raise Group(error) from error

    client = BotClient(bot)
    client.send("/order")
    assert texts(client.send("/cancel")) == ["All right, cancelled."]
    assert client.dead_letters == []


def misuse_in_thread(ctx: Context) -> None:
    caught: list[BaseException] = []

    def ask() -> None:
        try:
            ctx.ask("Which?")
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    raise caught[0]


async def misuse_in_task(ctx: Context) -> None:
    async def ask() -> str:
        return ctx.ask("Which?")

    await asyncio.create_task(ask())


def misuse_in_stream(ctx: Context) -> None:
    ctx.stream(ctx.ask("Which?") for _ in range(1))


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (misuse_in_thread, "not in another thread or task"),
        (misuse_in_task, "not in another thread or task"),
        (misuse_in_stream, "inside ctx.stream"),
        (lambda ctx: ctx.once(lambda: ctx.ask("Which?")), "inside ctx.once"),
        (lambda ctx: ctx.once(lambda: ctx.reply("hi")), "inside ctx.once"),
        (lambda ctx: ctx.once(object), "JSON"),
        (lambda ctx: ctx.ask("Which?", attempts=0), "attempts"),
        (lambda ctx: ctx.ask("Which?", timeout="soon"), "duration"),
        (lambda ctx: ctx.ask("Which?", timeout=0), "duration"),
        (lambda ctx: ctx.ask(3), "expected a str"),
        (lambda ctx: ctx.ask("Which?", type=3), "type is a function"),
        (lambda ctx: [ctx.once(int, key=str(number)) for number in range(501)], "at most 500 steps"),
        (lambda ctx: ctx.once(lambda: "x" * 300_000), "at most 262144 bytes"),
    ],
)
def test_misuse_is_a_bot_error(bot: Bot, handler: Any, words: str) -> None:
    bot.command("order")(handler)
    with pytest.raises(BotError, match=words):
        BotClient(bot).send("/order")


def test_ask_in_middleware_is_a_bot_error(bot: Bot) -> None:
    @bot.middleware
    def ask(ctx: Context, call_next: Any) -> Any:
        ctx.ask("Which?")

    bot.command("order")(lambda ctx: "never")
    with pytest.raises(BotError, match="not in middleware"):
        BotClient(bot).send("/order")


def test_handler_that_differs_from_run_to_run_is_named(bot: Bot) -> None:
    runs: list[int] = []

    @bot.command
    def order(ctx: Context) -> str:
        runs.append(1)
        if len(runs) == 2:
            ctx.once(list)
        return ctx.ask("Which?")

    client = BotClient(bot, check_paths=False)
    client.send("/order")
    with pytest.raises(BotError, match="not deterministic"):
        client.send("tea")


def test_handler_that_raises_on_a_resume_is_retried_as_a_dead_letter(bot: Bot) -> None:
    broken = [True]

    @bot.command
    def order(ctx: Context) -> str:
        name = ctx.ask("Name?")
        if broken:
            raise RuntimeError("broken")
        return f"hello {name}"

    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    assert texts(client.send("Maria")) == ["Sorry, something went wrong here. Please try again later."]
    [letter] = client.dead_letters
    assert texts(client.send("again")) == []
    broken.clear()
    assert client._harness.delivery.retry(letter.id)
    assert texts(client.said())[-1] == "hello Maria"


def take_other_buttons(ctx: Context) -> str:
    return f"not the button of a question: {ctx.value}"


def test_group_answers_are_addressed_to_the_bot(bot: Bot) -> None:
    bot.command("order")(lambda ctx: ctx.ask("Which?"))
    maria = BotClient(bot, group="team")
    tom = maria.as_user("tom", group="team")
    maria.send("/order")
    assert texts(maria.send("just chatting")) == []
    assert texts(tom.send("tea", mention=True)) == []
    assert texts(maria.send("tea", mention=True)) == ["tea"]


def test_text_that_quotes_the_question_is_an_answer(bot: Bot) -> None:
    bot.command("order")(lambda ctx: ctx.ask("Which?"))
    bot.command("ping")(take_other_buttons)
    maria = BotClient(bot, group="team")
    [question] = maria.send("/order")
    [other] = maria.send("/ping")
    assert texts(maria.send("tea", quote=other.id)) == []
    assert texts(maria.send("tea", quote=question.id)) == ["tea"]


def test_group_choice_is_an_answer_of_the_asked_user_only(bot: Bot) -> None:
    bot.command("order")(lambda ctx: ctx.ask("Which?", choices=["Tea", "Milk"]))
    bot.action()(take_other_buttons)
    maria = BotClient(bot, group="team")
    tom = maria.as_user("tom", group="team")
    maria.send("/order")
    assert texts(tom.send("tea")) == []
    assert texts(tom.press("Tea")) == []
    assert texts(maria.send("coffee")) == []
    assert texts(maria.send("tea")) == ["Tea"]


@pytest.fixture
def hears_only_mentions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeChannel, "hears_only_mentions", lambda channel, bot: True)


@pytest.mark.usefixtures("hears_only_mentions")
def test_question_says_that_an_answer_needs_a_mention(bot: Bot) -> None:
    bot.command("order")(lambda ctx: str(ctx.ask("Which?", type=int, invalid_text="A number, please.")))
    maria = BotClient(bot, group="team")
    assert maria.send("/order").text == "Which?\nMention me in your answer."
    assert maria.send("tea", mention=True).text == "A number, please.\nMention me in your answer."
    assert maria.send("3", mention=True).text == "3"


@pytest.mark.usefixtures("hears_only_mentions")
def test_choices_as_text_say_that_an_answer_needs_a_mention(bot: Bot) -> None:
    bot.command("order")(lambda ctx: ctx.ask("Which?", choices=["Tea", "Milk"]))
    maria = BotClient(bot, group="team", capabilities=Capabilities())
    assert maria.send("/order").text.startswith("Which?\nMention me in your answer.\n")
    assert maria.send("2", mention=True).text == "Milk"


@pytest.mark.usefixtures("hears_only_mentions")
@pytest.mark.parametrize(
    ("group", "options"), [("", {}), ("team", {"listen": True}), ("team", {"choices": ["Tea", "Milk"]})]
)
def test_question_that_needs_no_mention_does_not_say_so(bot: Bot, group: str, options: dict[str, Any]) -> None:
    bot.command("order")(lambda ctx: ctx.ask("Which?", **options))
    assert "Mention me" not in BotClient(bot, group=group).send("/order").text


@pytest.mark.usefixtures("hears_only_mentions")
@pytest.mark.parametrize(("words", "said"), [(None, "Which?"), ("Nenne mich.", "Which?\nNenne mich.")])
def test_words_about_mentions_are_the_bots_own(words: str | None, said: str) -> None:
    bot = Bot("helpdesk", mention_text=words)
    bot.command("order")(lambda ctx: ctx.ask("Which?"))
    assert BotClient(bot, group="team").send("/order").text == said


def test_question_on_a_channel_that_relays_all_says_nothing_of_mentions(bot: Bot) -> None:
    bot.command("order")(lambda ctx: ctx.ask("Which?"))
    assert BotClient(bot, group="team").send("/order").text == "Which?"


@pytest.mark.parametrize(("is_relayed", "said"), [(False, "Which?\nMention me in your answer."), (True, "Which?")])
def test_question_on_cometchat_says_that_an_answer_needs_a_mention(bot: Bot, is_relayed: bool, said: str) -> None:
    bot.command("order")(lambda ctx: ctx.ask("Which?"))
    if is_relayed:
        bot.message(in_group)(take_other_buttons)
    maria = BotClient(bot, group="team", channel="cometchat")
    assert maria.send("/order").text == said
    assert maria.send("tea", mention=True).text == "tea"


def test_listen_takes_every_text(bot: Bot) -> None:
    bot.command("order")(lambda ctx: ctx.ask("Which?", listen=True))
    maria = BotClient(bot, group="team")
    maria.send("/order")
    assert texts(maria.send("tea")) == ["tea"]


def test_edits_and_deletions_change_nothing(bot: Bot) -> None:
    make_order(bot, [])
    client = BotClient(bot)
    client.send("/order")
    client.send("S")
    client.edit("L")
    client.delete()
    assert texts(client.send("2")) == ["2 × S, order o1."]


def test_old_button_is_ignored(bot: Bot) -> None:
    bot.command("order")(lambda ctx: ctx.ask("Which?", choices=["Tea", "Milk"]))
    bot.action()(take_other_buttons)
    client = BotClient(bot)
    client.send("/order")
    client.press("Tea")
    assert texts(client.press("Milk")) == []


@pytest.mark.parametrize("name", ["", "nonsense", "m1", "m1.0.x", "m1.0.0.0.0", "\0", "x" * 5000])
def test_made_up_press_of_a_question_runs_no_handler(bot: Bot, name: str) -> None:
    bot.command("order")(lambda ctx: ctx.ask("Which?", choices=["Tea", "Milk"]))
    bot.fallback(take_other_buttons)
    client = BotClient(bot)
    [asked] = client.send("/order")
    client.fake.press(client._actor, asked, replace(asked.offers[0], name=f"cometbot:ask:{name}"))
    assert client.said().texts == [asked.text]
    assert texts(client.press("Tea")) == ["Tea"]


def test_changed_code_restarts(bot: Bot) -> None:
    def first(ctx: Context) -> str:
        return ctx.ask("Which?")

    def second(ctx: Context) -> str:
        ctx.ask("Where?", key="where")
        return ctx.ask("Which?", choices=["Tea"])

    second.__qualname__, second.__module__ = first.__qualname__, first.__module__
    bot.command("order")(first)
    client = BotClient(bot)
    client.send("/order")
    client._harness.bot._handlers.clear()
    client._harness.bot._names_in_use.clear()
    bot.command("order")(second)
    assert texts(client.send("tea")) == ["I have changed in the meantime, so please start again."]
    assert texts(client.send("tea")) == []


class Size(enum.Enum):
    SMALL = "s"
    LARGE = 2


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (3, "=3"),
        (2.5, "=2.5"),
        (True, "=true"),
        (None, "One"),
        ([1, "ä"], '=[1,"ä"]'),
        ({"b": 1, "a": 2}, '={"a":2,"b":1}'),
        (Size.LARGE, "LARGE"),
    ],
)
def test_value_of_a_choice_comes_back_as_given(bot: Bot, value: Any, sent: str) -> None:
    answers: list[Any] = []

    @bot.fallback
    def ask(ctx: Context) -> str:
        answers.append(ctx.ask("Which?", choices=[Choice("One", value), Choice("Two", "two"), "Three"]))
        answers.append(ctx.ask("Sure?", choices=["Yes", Choice("No", 0)]))
        return "done"

    client = BotClient(bot, check_paths=False)
    client.send("hi")
    [asked] = client.said()
    assert [offer.value for offer in asked.offers] == [sent, "two", "Three"]
    client.press("One")
    assert client.press("Yes").text == "done"
    assert answers[-2:] == [value, "Yes"]
    assert type(answers[-2]) is type(value)
    client.send("hi")
    client.send("3")
    assert client.send("no").text == "done"
    assert answers[-2:] == ["Three", 0]


@pytest.mark.parametrize(
    ("choices", "text"),
    [
        ([Choice("One", object())], "the choice 'One': expected JSON .* or a dataclass, got object"),
        ([Choice("One", 1), Choice("Two", 1)], "expected choices with different values, got 1 twice"),
        ([Choice("One", Size.LARGE), "LARGE"], "expected choices with different values, got <Size.LARGE: 2> twice"),
    ],
)
def test_choices_that_cannot_be_told_apart_are_refused(bot: Bot, choices: Any, text: str) -> None:
    bot.fallback(lambda ctx: ctx.ask("Which?", choices=choices))
    with pytest.raises(BotError, match=text):
        BotClient(bot).send("hi")


def test_type_does_not_convert_the_values_of_choices(bot: Bot) -> None:
    bot.fallback(lambda ctx: ctx.ask("Which?", type=int, choices=[Choice("One", 1)]))
    with pytest.raises(BotError, match="choices have other values; leave out type="):
        BotClient(bot).send("hi")


def test_choice_that_is_gone_in_a_later_run_is_named(bot: Bot) -> None:
    numbers = [1, 2]

    @bot.fallback
    def ask(ctx: Context) -> str:
        ctx.ask("Which?", choices=[Choice(f"No. {number}", number) for number in numbers])
        return ctx.ask("Sure?")

    client = BotClient(bot)
    client.send("hi")
    client.press("No. 2")
    numbers.remove(2)
    with pytest.raises(BotError, match="the stored answer '2' is none of the choices of this run"):
        client.send("yes")
