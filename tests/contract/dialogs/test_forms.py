"""Forms as questions: shown whole, or asked field by field, with the same answer."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal

import pytest

from cometbot import ActionEvent, AskCancelled, Bot, Choice, Context, Field, FieldError, Form, NotDelivered
from cometbot.errors import BotError, MessageError
from cometbot.messages import Choices
from cometbot.testing import TEXT_ONLY, BotClient
from cometbot.testing.fake_channel import EVERYTHING

EVERY_KIND = Form(
    "All kinds",
    [
        Field("name", "Your name"),
        Field("about", "About you", "long_text", optional=True),
        Field("count", "How many", "number", min=1, max=9),
        Field("day", "Day", "date", min="2031-01-01"),
        Field("at", "At", "time", default="12:00"),
        Field("size", "Size", "select", ["Small", Choice("Large", "l")]),
        Field("extras", "Extras", "multi_select", ["Milk", "Sugar"], optional=True),
        Field("terms", "Terms accepted", "checkbox"),
        Field("mail", "E-mail", "email"),
        Field("phone", "Phone", "phone", optional=True),
    ],
)
PLATFORMS = pytest.mark.parametrize("capabilities", [EVERYTHING, TEXT_ONLY], ids=["native", "text"])


def ask_always(bot: Bot, asked: Any, **options: Any) -> list[Any]:
    """Add the command ``ask``, and return the list of its answers."""
    answers: list[Any] = []

    @bot.command
    def ask(ctx: Context) -> str:
        answer = ctx.ask(asked, **options)
        answers[:] = [answer]
        return f"done {answer}"

    return answers


def open_form(bot: Bot, asked: Any, capabilities: Any = TEXT_ONLY, **options: Any) -> tuple[BotClient, list[Any]]:
    answers = ask_always(bot, asked, **options)
    client = BotClient(bot, capabilities=capabilities)
    client.send("/ask")
    return client, answers


@PLATFORMS
def test_every_kind_has_the_same_value_everywhere(bot: Bot, capabilities: Any) -> None:
    client, answers = open_form(bot, EVERY_KIND, capabilities)
    client.fill(
        name="Maria",
        count=3,
        day=date(2031, 2, 3),
        size="Large",
        extras=["Milk", "Sugar"],
        terms=True,
        mail="maria@example.org",
    )
    assert answers == [
        {
            "name": "Maria",
            "about": "",
            "count": 3,
            "day": date(2031, 2, 3),
            "at": time(12),
            "size": "l",
            "extras": ["Milk", "Sugar"],
            "terms": True,
            "mail": "maria@example.org",
            "phone": "",
        }
    ]


def test_fields_are_asked_one_after_the_other(bot: Bot) -> None:
    client, answers = open_form(bot, Form("Where to?", [Field("name", "Your name"), Field("day", kind="date")]))
    assert client.said()[-1].text == "Where to?\n\nYour name"
    assert client.send("Maria").texts == ["day (a date such as 2031-12-24)"]
    assert client.send("soon").texts == ["day: please write a date such as 2031-12-24, not “soon”."]
    client.send("2031-12-24")
    assert answers == [{"name": "Maria", "day": date(2031, 12, 24)}]


def test_whole_form_is_one_step(bot: Bot) -> None:
    calls: list[str] = []

    @bot.command
    def order(ctx: Context) -> str:
        ctx.once(calls.append, "before")
        where = ctx.ask(Form("Where to?", [Field("street"), Field("town")]))
        return f"{where} {ctx.ask('Sure?')}"

    client = BotClient(bot, capabilities=TEXT_ONLY)
    client.send("/order")
    client.send("Main Street")
    client.restart()
    with client._harness.database.read() as connection:
        [row] = client._harness.delivery.store.dialogs.list(connection)
    assert (row.waiting.step, row.waiting.filled) == (1, {"street": "Main Street"})
    assert client.send("Bern").texts == ["Sure?"]
    assert client.send("yes").texts == ["{'street': 'Main Street', 'town': 'Bern'} yes"]
    assert calls == ["before"]


def test_field_is_skipped_with_its_word(bot: Bot) -> None:
    fields = [
        Field("note", "Note", optional=True),
        Field("town", "Town", default="Bern"),
        Field("size", "Size", "select", ["S", "M"], optional=True),
        Field("age", "Age", "number", optional=True),
    ]
    client, answers = open_form(bot, Form("More", fields, skip="leer"))
    assert client.said()[-1].text == "More\n\nNote (“leer” to leave it out)"
    assert client.send("LEER").texts == ["Town (“leer” for Bern)"]
    assert client.send("leer").choices == ["S", "M", "leer"]
    client.choose("leer")
    client.send("leer")
    assert answers == [{"note": "", "town": "Bern", "size": "", "age": None}]


def test_word_to_skip_is_an_answer_where_one_is_needed(bot: Bot) -> None:
    client, answers = open_form(bot, Form("More", [Field("name")]))
    client.send("Skip")
    assert answers == [{"name": "Skip"}]


@pytest.mark.parametrize("written", ["2, 1", "Milk; sugar", "1 2"])
def test_several_options_are_written_as_numbers_or_labels(bot: Bot, written: str) -> None:
    client, answers = open_form(bot, Form("Tea", [Field("with", "With", "multi_select", ["Milk", "Sugar"])]))
    assert (
        client.said()[-1].text
        == "Tea\n\nWith\n\n1. Milk\n\n2. Sugar\n\nAnswer with the numbers or names, such as 1, 2."
    )
    client.send(written)
    assert answers == [{"with": ["Milk", "Sugar"]}]


def test_checkbox_is_a_question_with_two_choices(bot: Bot) -> None:
    fields = [Field("terms", "Terms accepted", "checkbox"), Field("news", "News", "checkbox", optional=True)]
    client, answers = open_form(bot, Form("Sign up", fields))
    assert client.said()[-1].text.startswith("Sign up\n\nTerms accepted\n\n1. Yes\n\n2. No")
    assert client.choose("No").texts[0].startswith("Terms accepted: this needs a yes.")
    client.choose("Yes")
    client.send("n")
    assert answers == [{"terms": True, "news": False}]


def test_hundred_options_are_numbered(bot: Bot) -> None:
    options = [f"Option {number}" for number in range(1, 101)]
    client, answers = open_form(bot, Form("Which?", [Field("one", kind="select", options=options)]))
    assert "100. Option 100" in client.said()[-1].text
    client.send("100")
    assert answers == [{"one": "Option 100"}]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Form("T", [Field("a"), Field("a")]), "different names"),
        (lambda: Field("a", kind="select"), "needs options"),
        (lambda: Field("a", kind="checkbox", options=["x"]), "has no options"),
        (lambda: Form("T", [Field("a")], skip=" "), "a word that leaves out a field"),
        (lambda: Form("T", [Field("a", kind="select", options=["S", "Skip"], optional=True)]), "skip="),
        (lambda: Field("a", validate="x"), "validate is a function"),  # type: ignore[arg-type]
    ],
)
def test_form_that_cannot_be_asked_is_refused(make: Any, message: str) -> None:
    with pytest.raises(MessageError, match=message):
        make()


def test_form_that_is_sent_needs_an_action(bot: Bot) -> None:
    bot.fallback(lambda ctx: Form("T", [Field("a")]))
    with pytest.raises(MessageError, match=r"needs an action.*ctx\.ask"):
        BotClient(bot).send("hi")


def test_form_that_is_sent_has_no_validate(bot: Bot) -> None:
    bot.fallback(lambda ctx: Form("T", [Field("a", validate=bool)], "x"))
    with pytest.raises(MessageError, match=r"works in ctx\.ask\(form\) only, so \['a'\]"):
        BotClient(bot).send("hi")


@pytest.mark.parametrize("options", [{"choices": ["a"]}, {"type": int}])
def test_form_takes_no_choices_and_no_type(bot: Bot, options: dict[str, Any]) -> None:
    ask_always(bot, Form("T", [Field("a")]), **options)
    with pytest.raises(BotError, match="a form has no choices= and no type="):
        BotClient(bot).send("/ask")


def test_wrong_field_of_a_shown_form_is_named_and_the_rest_stays(bot: Bot) -> None:
    form = Form("Order", [Field("name"), Field("count", "Count", "number", max=9), Field("note", optional=True)])
    client, answers = open_form(bot, form, EVERYTHING)
    [again] = client.fill(name="Maria", count="10", note="x")
    assert isinstance(again.message, Form)
    assert again.message.title == "Count: please write a number of at most 9, not “10”."
    assert [item.default for item in again.message.fields] == ["Maria", "", "x"]
    client.fill(count=9)
    assert answers == [{"name": "Maria", "count": 9, "note": "x"}]


def test_shown_form_is_answered_in_lines(bot: Bot) -> None:
    client, answers = open_form(bot, Form("Order", [Field("name"), Field("count", "Count", "number")]), EVERYTHING)
    assert client.send("hello").texts[0].startswith("Please fill in the form.")
    [again] = client.send("name: Maria\nCount: many")
    assert again.text.startswith("Count: please write a number, not “many”.")
    client.send("count: 3")
    assert answers == [{"name": "Maria", "count": 3}]


def refuse_too_many(order: Any) -> bool:
    count = order["count"] if isinstance(order, dict) else order.count
    if count > 3:
        raise FieldError("count", "only 3 are left.")
    return count > 0


@PLATFORMS
def test_validate_of_the_form_names_a_field(bot: Bot, capabilities: Any) -> None:
    form = Form("Order", [Field("count", "Count", "number"), Field("name")])
    client, answers = open_form(bot, form, capabilities, validate=refuse_too_many)
    assert client.fill(count=4, name="Maria").texts[0].startswith("Count: only 3 are left.")
    client.fill(count=3) if capabilities is EVERYTHING else client.send("3")
    assert answers == [{"count": 3, "name": "Maria"}]


def test_validate_of_the_form_asks_everything_again(bot: Bot) -> None:
    form = Form("Order", [Field("count", "Count", "number"), Field("name")])
    client, answers = open_form(bot, form, validate=refuse_too_many, invalid_text="At least one, please.")
    assert client.fill(count=0, name="Maria").texts == ["At least one, please.\n\nCount (a number)"]
    client.fill(count=1, name="Tom")
    assert answers == [{"count": 1, "name": "Tom"}]


@PLATFORMS
def test_validate_of_a_field_gets_its_value(bot: Bot, capabilities: Any) -> None:
    def check_day(day: date) -> bool:
        if day.weekday() > 4:
            raise ValueError("we are closed on weekends.")
        return day.month != 8

    form = Form("When?", [Field("day", "Day", "date", validate=check_day), Field("name", default="x")])
    client, answers = open_form(bot, form, capabilities)
    assert client.fill(day="2031-01-04").texts[0].startswith("Day: we are closed on weekends.")
    assert client.fill(day="2031-08-04").texts[0].startswith("Day: That does not fit.")
    client.fill(day="2031-01-06")
    assert answers == [{"day": date(2031, 1, 6), "name": "x"}]


def test_three_wrong_answers_to_one_field_end_the_dialog(bot: Bot) -> None:
    form = Form("Order", [Field("count", kind="number"), Field("day", kind="date")])
    client, _ = open_form(bot, form, give_up_text="Enough.")
    for text in ("x", "y", "3", "x", "y"):
        client.send(text)
    assert client.waiting is not None
    assert client.send("z").texts == ["Enough."]
    assert client.waiting is None


def test_form_is_cancelled_between_two_fields(bot: Bot) -> None:
    @bot.command
    def order(ctx: Context) -> str:
        try:
            return str(ctx.ask(Form("Order", [Field("a"), Field("b")])))
        except AskCancelled:
            return "Then not."

    client = BotClient(bot, capabilities=TEXT_ONLY)
    client.send("/order")
    client.send("x")
    assert client.send("/cancel").texts == ["Then not."]


def test_deadline_counts_from_the_first_field(bot: Bot) -> None:
    client, answers = open_form(bot, Form("Order", [Field("a"), Field("b")]), timeout="1h", default=None)
    client.advance(3500)
    client.send("x")
    client.advance(100)
    assert answers == [None]


def test_another_command_runs_between_two_fields(bot: Bot) -> None:
    bot.command("ping")(lambda ctx: "pong")
    client, answers = open_form(bot, Form("Order", [Field("a"), Field("b")]))
    client.send("x")
    assert client.send("/ping").texts == ["pong"]
    client.send("y")
    assert answers == [{"a": "x", "b": "y"}]


def test_file_is_no_answer_to_a_field(bot: Bot) -> None:
    client, _ = open_form(bot, Form("Order", [Field("name", "Your name")]))
    assert client.send_image(b"\x89PNG").texts == ["Your name: Please answer with a text."]


def test_waiting_shows_the_field(bot: Bot) -> None:
    form = Form("Order", [Field("size", "Size", "select", ["S", "M"]), Field("name")])
    client, _ = open_form(bot, form)
    waiting = client.waiting
    assert waiting is not None
    assert (waiting.text, waiting.fields, waiting.field) == ("Order: Size", ("size", "name"), "size")
    assert waiting.choices == ("S", "M")
    client.send("S")
    waiting = client.waiting
    assert waiting is not None
    assert (waiting.text, waiting.fields, waiting.field, waiting.choices) == ("Order: name", ("name",), "name", ())


def test_waiting_shows_a_whole_form(bot: Bot) -> None:
    client, _ = open_form(bot, Form("Order", [Field("a"), Field("b")]), EVERYTHING)
    waiting = client.waiting
    assert waiting is not None
    assert (waiting.text, waiting.fields, waiting.field) == ("Order", ("a", "b"), "")


def test_refused_field_question_is_not_delivered(bot: Bot) -> None:
    @bot.command
    def order(ctx: Context) -> str:
        try:
            return str(ctx.ask(Form("Order", [Field("a"), Field("b")])))
        except NotDelivered:
            return "Sorry."

    client = BotClient(bot, capabilities=TEXT_ONLY, raise_errors=False)
    client.send("/order")
    client.fake.misbehave("refused")
    assert client.send("x").texts == ["Sorry."]


def test_field_error_of_a_field_is_its_problem(bot: Bot) -> None:
    def refuse(value: str) -> None:
        raise FieldError("anything", "no.")

    client, _ = open_form(bot, Form("T", [Field("a", validate=refuse)]))
    assert client.send("x").texts == ["a: no."]


def test_test_client_names_missing_and_unknown_fields(bot: Bot) -> None:
    client, _ = open_form(bot, Form("Order", [Field("a"), Field("b")]))
    with pytest.raises(BotError, match="no field c; it has: a, b"):
        client.fill(c="x")
    with pytest.raises(BotError, match="missing form fields: b"):
        client.fill(a="x")


class TestSubmissions:
    """Values that a platform submits for a form, of any kind and shape."""

    FORM = Form("Order", [Field("name"), Field("count", "Count", "number")])
    ACTION = "cometbot:ask:m1.0.0"

    @pytest.mark.parametrize(
        ("values", "problem"),
        [
            ({}, "Please fill in: name, Count."),
            ({"name": "Maria"}, "Please fill in: Count."),
            ({"name": "Maria", "count": ["x"]}, "Count: please write a number, not “['x']”."),
            ({"name": "Maria", "count": None}, "Count: please write a number, not “None”."),
            ({"name": "a" * 10_000, "count": "1"}, "name: please write at most 1000 characters, not 10000."),
            ({"count": "1", "stranger": "x"}, "Please fill in: name."),
        ],
    )
    def test_what_does_not_fit_is_named(self, bot: Bot, values: dict[str, Any], problem: str) -> None:
        client, answers = open_form(bot, self.FORM, EVERYTHING)
        replies = client.event(ActionEvent, name=self.ACTION, values=values)
        assert replies[0].text.partition("\n")[0] == problem
        assert answers == []

    def test_unknown_fields_are_ignored(self, bot: Bot) -> None:
        client, answers = open_form(bot, self.FORM, EVERYTHING)
        client.event(ActionEvent, name=self.ACTION, values={"name": "Maria", "count": 3, "stranger": "x"})
        assert answers == [{"name": "Maria", "count": 3}]

    def test_form_is_submitted_once(self, bot: Bot) -> None:
        client, answers = open_form(bot, self.FORM, EVERYTHING)
        values = {"name": "Maria", "count": "3"}
        client.event(ActionEvent, name=self.ACTION, values=values)
        assert not client.event(ActionEvent, name=self.ACTION, values={**values, "count": "4"})
        assert answers == [{"name": "Maria", "count": 3}]

    def test_form_belongs_to_its_user(self, bot: Bot) -> None:
        answers = ask_always(bot, self.FORM)
        maria = BotClient(bot, group="team")
        maria.send("/ask")
        tom = maria.as_user("tom", group="team")
        values = {"name": "Tom", "count": "3"}
        assert not tom.event(ActionEvent, name=self.ACTION, values=values)
        assert answers == []
        maria.event(ActionEvent, name=self.ACTION, values=values)
        assert answers == [{"name": "Tom", "count": 3}]

    def test_late_form_is_ignored(self, bot: Bot) -> None:
        client, answers = open_form(bot, self.FORM, EVERYTHING, timeout="1h", default=None)
        client.advance("2h")
        assert not client.event(ActionEvent, name=self.ACTION, values={"name": "Maria", "count": "3"})
        assert answers == [None]

    def test_answers_that_are_too_long_together_are_refused(self, bot: Bot) -> None:
        form = Form("Long", [Field(f"f{number}", kind="long_text") for number in range(6)])
        client, answers = open_form(bot, form, EVERYTHING)
        values = {item.name: "a" * 10_000 for item in form.fields}
        replies = client.event(ActionEvent, name=self.ACTION, values=values)
        assert replies[0].text.startswith("The answers have more than 50000 characters together.")
        client.event(ActionEvent, name=self.ACTION, values={**values, "f0": "a", "f1": "a" * 9_999})
        assert len(answers) == 1


def test_field_that_makes_the_answers_too_long_is_asked_again(bot: Bot) -> None:
    form = Form("Long", [Field(f"f{number}", kind="long_text") for number in range(6)])
    client, answers = open_form(bot, form)
    for _ in range(5):
        client.send("a" * 10_000)
    [again] = client.send("a")
    assert again.text == "f5: all answers have at most 50000 characters together. Please be brief."
    assert answers == []


def test_old_button_of_another_field_is_ignored(bot: Bot) -> None:
    form = Form("Order", [Field("a", kind="select", options=["S", "M"]), Field("b", kind="select", options=["S", "M"])])
    answers = ask_always(bot, form)
    capabilities = replace(EVERYTHING, native=EVERYTHING.native - {Form})
    client = BotClient(bot, capabilities=capabilities)
    [asked] = client.send("/ask")
    assert isinstance(asked.message, Choices)
    client.fake.press(client._actor, asked, asked.offers[0])
    client.fake.press(client._actor, asked, asked.offers[1])
    assert client.send("M").texts == ["done {'a': 'S', 'b': 'M'}"]
    assert answers == [{"a": "S", "b": "M"}]


def make_version(form: Form) -> Bot:
    bot = Bot("helpdesk")

    @bot.command
    def ask(ctx: Context) -> str:
        return f"done {ctx.ask(form)} {ctx.ask('Sure?')}"

    return bot


def test_filled_in_fields_survive_a_deploy_as_far_as_they_fit() -> None:
    client = BotClient(make_version(Form("T", [Field("a"), Field("b"), Field("c")])), capabilities=TEXT_ONLY)
    client.send("/ask")
    client.send("x")
    client.send("y")
    changed = Form("T", [Field("b"), Field("a", max=5), Field("d", "New"), Field("e", default="z")])
    client.restart(make_version(changed))
    # The field that was asked is gone, so its answer is not taken.
    assert client.send("for c").texts == ["New"]
    client.send("n")
    client.send("skip")
    assert client.send("yes").texts == ["done {'b': 'y', 'a': 'x', 'd': 'n', 'e': 'z'} yes"]


def test_form_that_is_submitted_after_a_deploy_is_asked_again_for_what_is_new() -> None:
    client = BotClient(make_version(Form("T", [Field("a")])))
    [shown] = client.send("/ask")
    client.restart(make_version(Form("T", [Field("a"), Field("b")])))
    client.fake.submit(client._actor, shown, {"a": "x"})
    again = client.said()[-1]
    assert again.text.startswith("Please fill in: b.")
    assert client.fill(b="y").texts == ["Sure?"]


def test_stored_answer_that_fits_no_more_restarts_the_dialog() -> None:
    client = BotClient(make_version(Form("T", [Field("a")])))
    client.send("/ask")
    assert client.fill(a="x").texts == ["Sure?"]
    bot = make_version(Form("T", [Field("a", kind="number")]))
    client.restart(bot)
    assert client.send("yes").texts == [bot.restart_text]


@dataclass
class Address:
    street: str
    town: str = "Bern"


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


@dataclass
class Order:
    """Your order"""

    name: str
    count: int = field(metadata={"label": "How many", "min": 1, "max": 9})
    price: Decimal
    size: Size
    mail: str = field(metadata={"kind": "email"})
    terms: bool = field(metadata={"optional": False})
    speed: Literal[1, 2] = 1
    extras: list[Literal["Milk", "Sugar"]] = field(default_factory=list)
    colours: tuple[Size, ...] = (Size.SMALL,)
    gift: bool = False
    day: date | None = None
    at: time | None = None
    sent: datetime | None = None
    note: str | None = None


@PLATFORMS
def test_dataclass_is_filled_in(bot: Bot, capabilities: Any) -> None:
    client, answers = open_form(bot, Order, capabilities)
    assert client.said()[-1].text.startswith("Your order\n\nName")
    client.fill(
        name="Maria",
        count=3,
        price="2,50",
        size="large",
        mail="m@example.org",
        terms=True,
        speed="2",
        extras=["Sugar"],
        at=time(9),
        sent="2031-01-02T10:00",
    )
    assert answers == [
        Order(
            "Maria",
            3,
            Decimal("2.5"),
            Size.LARGE,
            "m@example.org",
            terms=True,
            speed=2,
            extras=["Sugar"],
            at=time(9),
            sent=datetime(2031, 1, 2, 10),
        )
    ]


@PLATFORMS
def test_whole_number_is_required_for_an_int(bot: Bot, capabilities: Any) -> None:
    @dataclass
    class Count:
        count: int

    client, answers = open_form(bot, Count, capabilities)
    assert client.fill(count="2.5").texts[0].startswith("Count: please write a whole number, not “2.5”.")
    client.fill(count="2")
    assert answers == [Count(2)]


def test_dataclass_without_docstring_is_called_by_its_name(bot: Bot) -> None:
    client, _ = open_form(bot, Address)
    assert client.said()[-1].text == "Address\n\nStreet"


@dataclass
class Period:
    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise FieldError("last", "this is before the first day.")
        if self.first.year < 2031:
            raise ValueError("That is over.")


@PLATFORMS
def test_dataclass_checks_itself(bot: Bot, capabilities: Any) -> None:
    client, answers = open_form(bot, Period, capabilities)
    assert client.fill(first="2031-02-01", last="2031-01-01").text.startswith("Last: this is before the first day.")
    client.fill(last="2031-02-03") if capabilities is EVERYTHING else client.send("2031-02-03")
    assert answers == [Period(date(2031, 2, 1), date(2031, 2, 3))]


def test_dataclass_that_refuses_all_asks_from_the_beginning(bot: Bot) -> None:
    client, _ = open_form(bot, Period)
    replies = client.fill(first="2030-02-01", last="2030-02-02")
    assert replies.texts == ["That is over.\n\nFirst (a date such as 2031-12-24)"]


@dataclass
class Nested:
    address: Address


@dataclass
class FreeList:
    names: list[str]


@dataclass
class WrongKind:
    count: int = field(metadata={"kind": "email"})


@dataclass
class Empty:
    pass


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Nested, "the field address: expected str, int"),
        (FreeList, r"a list needs Literal\[…\] or an Enum"),
        (WrongKind, "expected the kind number for its type, got 'email'"),
        (Empty, "at least one field"),
    ],
)
def test_dataclass_that_makes_no_form_is_refused(bot: Bot, asked: Any, message: str) -> None:
    ask_always(bot, asked)
    with pytest.raises(BotError, match=message):
        BotClient(bot).send("/ask")


def test_dataclass_whose_annotations_are_local_is_refused(bot: Bot) -> None:
    class Colour(enum.Enum):
        RED = 1

    @dataclass
    class Paint:
        colour: Colour

    ask_always(bot, Paint)
    with pytest.raises(BotError, match=r"annotations of Paint cannot be resolved .*'Colour'.* top of the module"):
        BotClient(bot).send("/ask")


def test_text_of_a_field_in_a_group_needs_a_mention(bot: Bot) -> None:
    answers = ask_always(bot, Form("Order", [Field("size", kind="select", options=["S", "M"]), Field("name")]))
    client = BotClient(bot, group="team", capabilities=TEXT_ONLY)
    client.send("/ask")
    client.send("M")
    assert not client.send("just chatting")
    client.send("Maria", mention=True)
    assert answers == [{"size": "M", "name": "Maria"}]


async def ask_async(ctx: Context) -> str:
    return str(ctx.ask(Form("Order", [Field("a"), Field("b")])))


def test_async_handler_asks_field_by_field(bot: Bot) -> None:
    bot.command("ask")(ask_async)
    client = BotClient(bot, capabilities=TEXT_ONLY)
    client.send("/ask")
    assert client.fill(a="x", b="y").texts == ["{'a': 'x', 'b': 'y'}"]
