"""What the handler of a button gets, and which texts are presses."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest

from cometbot import (
    ActionEvent,
    Bot,
    BotError,
    Button,
    Card,
    Choice,
    Choices,
    Context,
    Field,
    Form,
    Message,
    Outgoing,
    UsageError,
)
from cometbot.delivery.dry_run import dry_run
from cometbot.errors import RegistrationError
from cometbot.presses import REFUSAL_TEXTS
from cometbot.testing import TEXT_ONLY, BotClient

USED, FORBIDDEN = REFUSAL_TEXTS["used"], REFUSAL_TEXTS["forbidden"]


class Size(enum.Enum):
    SMALL = "s"


@dataclass
class Item:
    id: int
    price: Decimal


def press_value(value: Any, handler: Callable[..., Any]) -> Any:
    bot = Bot("shop")
    bot.fallback(lambda ctx: Card("?", buttons=[Button("Press", "pressed", value)]))
    received: list[Any] = []
    bot.action("pressed")(handler)

    @bot.middleware
    def collect(ctx: Context, call_next: Callable[[], Any]) -> Any:
        if not isinstance(ctx.event, ActionEvent):
            return call_next()
        received.append(call_next())
        return "done"

    client = BotClient(bot)
    client.send("hi")
    client.press("Press")
    return received[-1]


@pytest.mark.parametrize(
    ("value", "handler", "expected"),
    [
        (5, lambda ctx, value: value, 5),
        ([1, "a"], lambda ctx, value: value, [1, "a"]),
        ({"id": 5}, lambda ctx, value: value, {"id": 5}),
        (False, lambda ctx, *, value: value, False),
        ("a b", lambda ctx, value: value, "a b"),
    ],
)
def test_parameter_gets_the_value_with_its_type(value: Any, handler: Callable[..., Any], expected: Any) -> None:
    received = press_value(value, handler)
    assert (type(received), received) == (type(expected), expected)


def take_int(ctx: Context, value: int) -> int:
    return value


def take_text(ctx: Context, value: str) -> str:
    return value


def take_float(ctx: Context, value: float) -> float:
    return value


def take_decimal(ctx: Context, value: Decimal) -> Decimal:
    return value


def take_bool(ctx: Context, value: bool) -> bool:
    return value


def take_size(ctx: Context, value: Size) -> Size:
    return value


def take_object(ctx: Context, value: dict[str, Any]) -> dict[str, Any]:
    return value


def take_list(ctx: Context, value: list[int] | None = None) -> Any:
    return value


@pytest.mark.parametrize(
    ("value", "handler", "expected"),
    [
        (5, take_int, 5),
        ("5", take_int, 5),
        (5, take_text, "5"),
        (5, take_float, 5.0),
        (Decimal("12.50"), take_decimal, Decimal("12.50")),
        ("12.50", take_decimal, Decimal("12.50")),
        (12.5, take_decimal, Decimal("12.5")),
        (True, take_bool, True),
        (Size.SMALL, take_size, Size.SMALL),
        (Item(7, Decimal("1.5")), take_object, {"id": 7, "price": "1.5"}),
        ([1, 2], take_list, [1, 2]),
    ],
)
def test_parameter_gets_the_value_of_its_annotation(value: Any, handler: Callable[..., Any], expected: Any) -> None:
    received = press_value(value, handler)
    assert (type(received), received) == (type(expected), expected)


def test_members_of_an_object_fill_the_parameters_of_their_names() -> None:
    def decide(ctx: Context, id: int, ok: bool = False, *, note: str = "none") -> Any:
        return id, ok, note

    assert press_value({"id": 17, "ok": True, "other": 1}, decide) == (17, True, "none")
    assert press_value({"id": "17", "note": "x y"}, decide) == (17, False, "x y")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "it fills one parameter, or an object with the members id, ok fills them"),
        ({"other": 1}, "it fills one parameter"),
        ({"id": "soon", "ok": True}, "id must be a whole number"),
        ({"id": None, "ok": True}, "id must be a whole number"),
        ({"ok": True}, "id is missing"),
        ({"id": [1], "ok": True}, "id must be a whole number"),
    ],
)
def test_value_that_does_not_fit_is_the_error_of_the_bot(value: Any, text: str) -> None:
    def decide(ctx: Context, id: int, ok: bool) -> None: ...

    with pytest.raises(BotError, match=text):
        press_value(value, decide)


def test_words_of_a_user_fill_no_object() -> None:
    def handle(ctx: Context, item: dict[str, Any]) -> None: ...

    for register in (Bot("shop").command, Bot("shop").message("x")):
        with pytest.raises(RegistrationError, match="item"):
            register(handle)
    with pytest.raises(BotError, match="item must be an object or a list"):
        press_value("text", handle)


def make_bot(**limits: Any) -> Bot:
    bot = Bot("shop", refusal_texts={"expired": None, "withdrawn": "Gone."})

    @bot.command("ask")
    def ask(ctx: Context) -> Choices:
        return Choices("Tea?", ["Yes", Choice("No", "no")], "decide", **limits)

    @bot.action("decide")
    def decide(ctx: Context, answer: str) -> str:
        return f"decided {answer}"

    @bot.message("yes")
    def agree(ctx: Context) -> str:
        return "agreed"

    bot.fallback(lambda ctx: f"echo {ctx.text}")
    return bot


def test_text_that_is_a_refused_press_goes_to_its_handler_first() -> None:
    client = BotClient(make_bot(once=True))
    client.send("/ask")
    assert client.send("no").text == "decided no"
    assert client.send("yes").text == "agreed"
    assert client.send("no").text == USED
    assert client.send("No!").text == "echo No!"


def test_text_of_another_user_is_no_press() -> None:
    client = BotClient(make_bot(by=["tom"]), group="ops")
    client.send("/ask")
    assert client.send("yes").text == "agreed"
    assert client.send("no").text == FORBIDDEN
    assert client.send("no", user="tom").text == "decided no"


def test_refusal_without_a_text_says_nothing_and_keeps_the_offers() -> None:
    client = BotClient(make_bot(expires="1m"))
    client.send("/ask")
    client.advance("2m")
    assert not client.press("Yes")
    assert client.state["cometbot:offers"]


def test_number_selects_among_the_newest_only() -> None:
    client = BotClient(make_bot(expires="1h"))
    client.send("/ask")
    client.send("hello")
    assert client.send("2").text == "echo 2"
    assert client.send("no").text == "decided no"


def test_edited_message_has_no_button_any_more() -> None:
    bot = make_bot()

    @bot.command("change")
    def change(ctx: Context) -> None:
        sent = ctx.reply(Card("Cake?", buttons=[Button("Eat", "eat")], once=True))
        sent.edit(Card("Cake!", buttons=[Button("Eat it", "eat")], once=True))

    bot.action("eat")(lambda ctx: "eaten")
    client = BotClient(bot)
    client.send("/change")
    [said] = client.said()
    assert client.press("Eat it").text == "eaten"
    assert client.press("Eat it").text == USED
    assert said.buttons == ["Eat it"]


def test_message_that_an_earlier_run_said_is_withdrawn_by_a_later_one() -> None:
    bot = make_bot()

    @bot.command("order")
    def order(ctx: Context) -> str:
        sent = ctx.reply(Card("Cake?", buttons=[Button("Eat", "eat")], once=True))
        answer = ctx.ask("Which?")
        sent.edit("Cake.")
        return answer

    bot.action("eat")(lambda ctx: "eaten")
    client = BotClient(bot)
    [card, _] = client.send("/order")
    client.send("tea")
    client.fake.press(client._actor, card, card.offers[0])
    assert client.said()[-1].text == "Gone."


def test_form_that_counts_once_stays_open_after_a_wrong_answer() -> None:
    bot = Bot("shop")
    bot.command("ask")(lambda ctx: Form("Sign up", [Field("age", "Age")], "signed", once=True))

    @bot.action("signed")
    def signed(ctx: Context, *, age: int) -> str:
        return f"age {age}"

    client = BotClient(bot)
    client.send("/ask")
    assert "age must be a whole number" in client.fill(age="old").text
    assert client.fill(age="7").text == "age 7"
    assert client.fill(age="8").text == USED


def test_middleware_that_stops_a_press_does_not_use_it_up() -> None:
    bot = make_bot(once=True)
    is_closed = True

    @bot.middleware
    def close(ctx: Context, call_next: Callable[[], Any]) -> Any:
        return "closed" if is_closed and ctx.value else call_next()

    client = BotClient(bot)
    client.send("/ask")
    assert client.press("Yes").text == "closed"
    is_closed = False
    assert client.press("Yes").text == "decided Yes"


def test_choices_without_an_action_are_named_by_their_values() -> None:
    bot = Bot("shop")
    bot.command("ask")(lambda ctx: Choices("?", ["tea", Choice("Cake", "eat")], once=True))
    bot.action("tea")(lambda ctx: "tea it is")
    bot.action("eat")(lambda ctx: f"{ctx.value}: eaten")
    client = BotClient(bot)
    client.send("/ask")
    assert client.press("Cake").text == "eat: eaten"
    assert client.press("tea").text == USED


def test_message_of_bot_send_has_limits_too() -> None:
    bot = make_bot()
    client = BotClient(bot)
    for _ in range(2):
        bot.send(user="maria", message=Choices("Tea?", ["Yes"], "decide", once=True))
    client.said()
    assert [client.press("Yes").text for _ in range(2)] == ["decided Yes", USED]
    [first, *_] = client.said()
    client.fake.press(client._actor, first, first.offers[0])
    assert client.said()[-1].text == "decided Yes"


def test_question_has_no_limits() -> None:
    bot = Bot("shop")
    bot.fallback(lambda ctx: ctx.ask(Choices("?", ["a"], "b", once=True)))
    with pytest.raises(BotError, match="by, expires and once are for messages that are sent"):
        BotClient(bot).send("hi")


def test_button_of_another_version_is_withdrawn() -> None:
    bot = make_bot()
    client = BotClient(bot)
    client.send("/ask")
    incoming = client.channel.incoming(bot, user="maria", action="cometbot:press:[]", value="")  # type: ignore[attr-defined]
    client._harness.delivery.enqueue(incoming)
    assert client.said()[-1].text == "Gone."


def test_usage_error_of_a_wrong_option_names_the_action_as_written() -> None:
    bot = Bot("shop")
    names: list[str] = []

    @bot.command("ask")
    def ask(ctx: Context) -> Form:
        return Form("Order", [Field("size", "Size", "select", ["S", "L"])], "order", once=True)

    bot.action("order")(lambda ctx: "ordered")

    @bot.error(UsageError)
    def explain(ctx: Context, error: UsageError) -> str:
        names.append(str(error))
        return "wrong"

    client = BotClient(bot, channel="cometchat")
    client.send("/ask")
    assert client.send("Size: XL").text == "wrong"
    assert "XL" in names[0]
    assert client.send("Size: L").text == "ordered"


def test_outgoing_middleware_gets_limits_as_they_were_written() -> None:
    bot = make_bot()
    seen: list[Any] = []

    @bot.command("change")
    def change(ctx: Context) -> Card:
        ctx.reply(Card("Cake?", buttons=[Button("Eat", "eat", 5)], by=["maria"], once=True))
        return Card("Pie?", buttons=[Button("Taste", "eat", 6)], by=["tom"])

    @bot.outgoing
    def redact(message: Message, outgoing: Outgoing) -> Message:
        if isinstance(message, Card):
            seen.append((message.by, message.once, message.buttons[0].action))
            return replace(message, by=["maria"])
        return message

    bot.action("eat")(lambda ctx: f"eaten {ctx.value}")
    client = BotClient(bot)
    client.send("/change")
    assert seen == [(["maria"], True, "eat"), (["tom"], False, "eat")]
    assert client.press("Eat").text == "eaten 5"
    assert client.press("Eat").text == USED
    assert client.press("Taste").text == "eaten 6"


def test_async_handler_of_a_press_uses_it_up() -> None:
    bot = Bot("shop")
    bot.command("ask")(lambda ctx: Choices("Tea?", ["Yes", "No"], "decide", once=True))

    @bot.action("decide")
    async def decide(ctx: Context, answer: str) -> str:
        reason = ctx.ask("Why?")
        return f"{answer}, {reason}"

    client = BotClient(bot)
    client.send("/ask")
    assert client.press("Yes").text == "Why?"
    assert client.press("No").text == USED
    assert client.send("thirsty").text == "Yes, thirsty"


def test_dry_run_of_a_press_shows_no_mark() -> None:
    client = BotClient(make_bot(once=True))
    client.send("/ask")
    client.press("Yes")
    run = dry_run(client._harness.delivery, "m2")
    assert (run.handler.rpartition(".")[2], [item.text for item in run.planned]) == ("decide", ["decided Yes"])
    assert run.changes == ()
    client.press("No")
    assert dry_run(client._harness.delivery, "m3").stopped_by == "press"


@pytest.mark.parametrize("sends_outside", [False, True])
def test_messages_sent_from_elsewhere_keep_each_others_buttons(sends_outside: bool) -> None:
    bot = Bot("shop")

    @bot.command("ask")
    def ask(ctx: Context, order: int) -> None:
        ctx.send(make_card(order), to=ctx.conversation_with(group="team"))

    def make_card(order: int) -> Card:
        return Card(f"Refund {order}?", buttons=[Button(f"Approve {order}", "decide", order)], once=True)

    bot.action("decide")(lambda ctx: f"approved {ctx.value}")
    client = BotClient(bot, capabilities=TEXT_ONLY)
    team = client.in_group("team")
    team.send("hello")
    for order in (1, 2, 3):
        if sends_outside:
            bot.send(group="team", message=make_card(order))
        else:
            client.send(f"/ask {order}")
    assert [team.send(f"Approve {order}").text for order in (2, 1, 3, 2)] == [
        "approved 2",
        "approved 1",
        "approved 3",
        USED,
    ]
