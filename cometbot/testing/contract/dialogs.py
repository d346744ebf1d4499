"""The part of the contract about dialogs: a handler that asks goes on with the answers that users of a channel give."""

from __future__ import annotations

from functools import partial

import pytest

from cometbot.bot import Bot
from cometbot.context import Context
from cometbot.errors import BotError
from cometbot.messages import Capabilities, Choice, Field, Form
from cometbot.models import Attachment
from cometbot.testing.client import BotClient
from cometbot.testing.contract.base import ContractBase
from cometbot.testing.fakes.base import Unsupported
from cometbot.testing.replies import Replies

_ADDRESS = Form(
    "Where to?", [Field("name", "Your name"), Field("day", "Day", "select", ["Monday", "Friday"])], "address"
)
_BOOKING = Form(
    "A table",
    [
        Field("name", "Your name", max=100),
        Field("wishes", "Wishes", "long_text", optional=True),
        Field("count", "How many", "number", min=1, max=9),
        Field("day", "Day", "date", min="2031-01-01"),
        Field("at", "At", "time", default="19:30"),
        Field("place", "Place", "select", ["Inside", Choice("Garden", "g")]),
        Field("menu", "Menus", "multi_select", ["Meat", "Fish", "None of both"], max=2),
        Field("terms", "Terms accepted", "checkbox"),
        Field("mail", "E-mail", "email"),
        Field("phone", "Phone", "phone", optional=True),
        Field("plate", "Number plate", pattern="[A-Z]{1,3}-[0-9]+", hint="a plate such as B-123", optional=True),
    ],
)
_PICK = Form("Which?", [Field("one", kind="select", options=[f"Option {number}" for number in range(1, 101)])])
_OPEN, _DONE = "Your order is open.", "Order 1 is done."
_SUMMARY = "3 x XL for Maria Keller on Friday: order 1."


def add_order_dialog(bot: Bot) -> None:
    """Add the commands ``order``, ``photo``, ``book`` and ``pick``, which ask, and others that do not."""
    orders: list[str] = []

    def create(what: str) -> int:
        orders.append(what)
        return len(orders)

    @bot.command
    def order(ctx: Context) -> str:
        opened = ctx.reply(_OPEN)
        size = ctx.ask("Which size?", choices=["Small", Choice("Large", "XL")], timeout="2h")
        count = ctx.ask("How many?", type=int, validate=lambda count: 1 <= count <= 9, invalid_text="1 to 9, please.")
        address = ctx.ask(_ADDRESS)
        what = f"{count} x {size} for {address['name']} on {address['day']}"
        number = ctx.once(create, what)
        opened.edit(f"Order {number} is done.")
        return f"{what}: order {number}."

    @bot.command
    def photo(ctx: Context) -> str:
        file = ctx.ask("A photo, please.", type=Attachment, timeout="2h", default=None)
        return f"Thank you for {file.name}." if file is not None else "No photo, then."

    @bot.command
    def book(ctx: Context) -> str:
        return " | ".join(map(str, ctx.ask(_BOOKING).values()))

    @bot.command
    def pick(ctx: Context) -> str:
        return str(ctx.ask(_PICK)["one"])

    @bot.command
    def ping(ctx: Context) -> str:
        return "pong"

    @bot.fallback
    def echo(ctx: Context) -> str:
        return f"echo {ctx.text}"


class DialogContract(ContractBase):
    """Tests of one bot that asks: choices, a number, a form and a file."""

    @pytest.fixture
    def dialog_bot(self, bot: Bot) -> Bot:
        """Return the bot with the dialogs of :func:`add_order_dialog`."""
        add_order_dialog(bot)
        return bot

    @pytest.mark.parametrize("choice", ["Large", 2])
    def test_dialog_goes_on_with_each_answer(
        self, dialog_bot: Bot, client: BotClient, capabilities: Capabilities, choice: str | int
    ) -> None:
        asked = client.send("/order")
        assert asked[0].text == _OPEN
        assert asked.choices == ["Small", "Large"]

        assert client.choose(choice).texts == ["How many?"]
        assert "Your name" in client.send("3").text
        last = client.fill(name="Maria Keller", day="Friday")

        assert last.texts == ([_SUMMARY] if capabilities.edit else [_DONE, _SUMMARY])
        if capabilities.edit:
            assert client.said()[0].text == _DONE

    @pytest.mark.parametrize("text", ["Large", "large", "2", "2."])
    def test_choice_of_a_question_is_written(self, dialog_bot: Bot, client: BotClient, text: str) -> None:
        client.send("/order")

        assert client.send(text).texts == ["How many?"]

    def test_wrong_answer_repeats_the_question(self, dialog_bot: Bot, client: BotClient) -> None:
        client.send("/order")
        repeated = client.send("huge")
        assert "Please choose one of: Small, Large." in repeated.text
        assert repeated.choices == ["Small", "Large"]

        client.choose("Large")
        assert client.send("ten").texts == ["1 to 9, please."]
        assert "Your name" in client.send("9").text

    def test_press_of_an_old_button_is_ignored(self, dialog_bot: Bot, client: BotClient) -> None:
        [*_, asked] = client.send("/order")
        if not asked.offers:
            pytest.skip("this platform shows choices as text")
        client.choose("Large")
        try:
            pressed = client._act(partial(client.fake.press, client._actor, asked, asked.offers[0]))
        except BotError:
            pressed = Replies()  # the platform takes no second press

        # Where a press sends the label as a text, it answers the next question.
        assert pressed.texts in ([], ["1 to 9, please."])
        assert "Your name" in client.send("3").text

    def test_file_is_asked_for(self, dialog_bot: Bot, client: BotClient) -> None:
        client.send("/photo")

        assert client.send("no").texts == ["Please send a file."]
        picture = b"\x89PNG\r\n\x1a\n"
        assert client.send_image(picture, name="photo.png").texts == ["Thank you for photo.png."]

    def test_form_has_the_same_answer_everywhere(self, dialog_bot: Bot, client: BotClient) -> None:
        client.send("/book")
        last = client.fill(
            name="Maria Keller",
            count=3,
            day="2031-02-03",
            place="Garden",
            menu=["Fish", "Meat"],
            terms=True,
            mail="maria@example.org",
            plate="ZH-1",
        )

        assert last.texts == [
            "Maria Keller |  | 3 | 2031-02-03 | 19:30:00 | g | ['Meat', 'Fish'] | True | maria@example.org |  | ZH-1"
        ]

    def test_field_with_a_hundred_options_is_filled_in(self, dialog_bot: Bot, client: BotClient) -> None:
        client.send("/pick")

        assert client.fill(one="Option 100").texts == ["Option 100"]

    def test_wrong_field_of_a_form_is_named(
        self, dialog_bot: Bot, client: BotClient, capabilities: Capabilities
    ) -> None:
        client.send("/book")
        if Form in capabilities.native:
            wrong = client.send("How many: many\nDay: 2031-02-03")
        else:
            client.send("Maria Keller")
            client.send("skip")
            wrong = client.send("many")

        assert "How many: please write a number from 1 to 9, not “many”." in wrong.text
        assert client.waiting is not None
        assert client.waiting.handler.endswith("book")

    def test_cancel_ends_a_dialog(self, dialog_bot: Bot, client: BotClient) -> None:
        client.send("/order")

        assert client.send("/cancel").texts == ["All right, cancelled."]
        assert client.send("Large").texts == ["echo Large"]

    def test_question_times_out(self, dialog_bot: Bot, client: BotClient) -> None:
        client.send("/photo")

        assert not client.advance(7100)
        assert client.advance(200).texts == ["No photo, then."]
        assert client.send("hello").texts == ["echo hello"]

    def test_another_command_runs_beside_the_dialog(self, dialog_bot: Bot, client: BotClient) -> None:
        client.send("/order")

        assert client.send("/ping").texts == ["pong"]
        assert client.choose("Large").texts == ["How many?"]

    def test_text_before_the_question_is_no_answer(self, dialog_bot: Bot, client: BotClient) -> None:
        client.fake.say(client._actor, "/order")
        client.fake.say(client._actor, "Large")

        assert client.said()[-1].text == "echo Large"
        assert client.send("Large").texts == ["How many?"]

    def test_edit_of_an_answer_changes_nothing(self, dialog_bot: Bot, client: BotClient) -> None:
        client.send("/order")
        client.send("Large")
        client.send("3")
        try:
            assert not client.edit("4")
        except Unsupported:
            pytest.skip("on this platform users cannot edit")

        assert client.fill(name="Maria Keller", day="Friday").texts[-1] == _SUMMARY

    def test_dialog_in_a_group_belongs_to_its_user(self, dialog_bot: Bot, group_client: BotClient) -> None:
        other = group_client.as_user("tom").in_group("ops-room")
        group_client.send("/order")

        assert other.send("Large").texts == ["echo Large"]
        # A platform that relays only mentions to the bot lets the question say so.
        assert group_client.choose("Large").text.startswith("How many?")
        assert group_client.send("3").texts == ["echo 3"]
        assert "Your name" in group_client.send("3", mention=True).text
