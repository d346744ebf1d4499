"""Interactive forms whose button calls a signed address of the bot's server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from werkzeug.test import TestResponse

from cometbot import Bot, Context, Field, FieldError, Form
from cometbot.testing import BotClient
from cometbot.testing.fakes.cometchat import CometChatFake
from cometbot.testing.replies import SentMessage

FORM = Form(
    "Your table",
    [
        Field("name", "Name"),
        Field("guests", "Guests", "number"),
        Field("menus", "Menus", "multi_select", ["Meat", "Fish, fresh"]),
        Field("terms", "Terms", "checkbox"),
    ],
)


@pytest.fixture
def bot() -> Bot:
    bot = Bot("shop")

    def check(booking: dict[str, Any]) -> None:
        if booking["guests"] == 9:
            raise FieldError("guests", "only 8 are left.")

    @bot.command("book")
    def book(ctx: Context) -> str:
        return f"booked {ctx.ask(FORM, validate=check)}"

    @bot.command("big")
    def big(ctx: Context) -> str:
        options = [f"{number} {'x' * 100}" for number in range(100)]
        return str(ctx.ask(Form("Big", [Field("one", "One", "select", options), Field("two", "Two")])))

    @bot.command("sign")
    def sign(ctx: Context) -> Form:
        return Form("Sign up", [Field("name")], action="signed")

    @bot.action("signed")
    def signed(ctx: Context, *, name: str) -> str:
        return f"{ctx.sender.uid} signed as {name}"

    return bot


@pytest.fixture
def client(bot: Bot) -> Iterator[BotClient]:
    def make_fake(bot: Bot) -> CometChatFake:
        return CometChatFake(bot, rich="interactive", card_buttons="url")

    with BotClient(bot, channel=make_fake) as client:
        yield client


@pytest.fixture
def fake(client: BotClient) -> CometChatFake:
    assert isinstance(client.fake, CometChatFake)
    return client.fake


def find_url(fake: CometChatFake, said: SentMessage) -> str:
    data = fake.simulator.message(said.id).data
    return str(data["interactiveData"]["submitElement"]["action"]["url"])


def test_form_is_interactive_and_submitted(client: BotClient, fake: CometChatFake) -> None:
    [said] = client.send("/book")
    stored = fake.simulator.message(said.id)
    assert (stored.category, stored.type) == ("interactive", "form")
    replies = client.fill(name="Maria", guests="3", menus=["Fish, fresh"], terms=True)
    assert replies.texts == ["booked {'name': 'Maria', 'guests': 3, 'menus': ['Fish, fresh'], 'terms': True}"]


@pytest.mark.parametrize(
    ("menus", "terms", "submitted"),
    [
        (["Meat", "Fish, fresh"], True, {"menus": ["Meat", "Fish, fresh"], "terms": ["yes"]}),
        ([], False, {"menus": [], "terms": []}),
    ],
    ids=["ticked", "unticked"],
)
def test_fake_submits_the_ticked_options(
    bot: Bot,
    client: BotClient,
    fake: CometChatFake,
    monkeypatch: pytest.MonkeyPatch,
    menus: list[str],
    terms: bool,
    submitted: dict[str, list[str]],
) -> None:
    @bot.command
    def order(ctx: Context) -> str:
        menu = Field("menus", "Menus", "multi_select", ["Meat", "Fish, fresh"], optional=True)
        return str(ctx.ask(Form("Order", [menu, Field("terms", "Terms", "checkbox", optional=True)])))

    bodies: list[Any] = []
    call = fake.call

    def record(url: str, method: str = "POST", body: bytes = b"", **headers: str) -> TestResponse:
        bodies.append(orjson.loads(body))
        return call(url, method, body, **headers)

    monkeypatch.setattr(fake, "call", record)
    client.send("/order")

    assert client.fill(menus=menus, terms=terms).texts == [str({"menus": menus, "terms": terms})]
    assert bodies == [{"form": submitted}]


def test_wrong_form_is_sent_again_with_what_was_right(client: BotClient) -> None:
    client.send("/book")
    [again] = client.fill(name="Maria", guests="9", menus=["Meat", "Fish, fresh"], terms=True)
    assert isinstance(again.message, Form)
    assert again.message.title == "Guests: only 8 are left."
    defaults = {item.name: item.default for item in again.message.fields}
    assert defaults == {"name": "Maria", "guests": "", "menus": "Meat, Fish, fresh", "terms": "yes"}
    assert client.fill(guests="2").text.startswith("booked {'name': 'Maria', 'guests': 2,")


def test_form_of_an_action_is_submitted(client: BotClient) -> None:
    client.send("/sign")
    assert client.fill(name="Maria").texts == ["maria signed as Maria"]


def test_form_is_submitted_once(client: BotClient, fake: CometChatFake) -> None:
    [said] = client.send("/sign")
    body = orjson.dumps({"form": {"name": "Maria"}})
    assert fake.call(find_url(fake, said), body=body).status_code == 200
    again = fake.call(find_url(fake, said), body=body)
    assert (again.status_code, again.get_json()["error"]["code"]) == (409, "ERR_BUTTON_USED")
    assert [reply.text for reply in client.said()][1:] == ["maria signed as Maria"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 411),
        (b"{", 400),
        (b"[]", 400),
        (b'{"form": "x"}', 400),
        (b'{"other": {"name": "x"}}', 400),
        (b'{"form": {"name": "' + b"x" * 600_000 + b'"}}', 413),
        (b'{"form": ' + b"[" * 5000 + b"]" * 5000 + b"}", 400),
    ],
)
def test_other_body_is_refused_and_uses_nothing_up(
    client: BotClient, fake: CometChatFake, body: bytes, status: int
) -> None:
    [said] = client.send("/sign")
    assert fake.call(find_url(fake, said), body=body).status_code == status
    assert len(client.said()) == 1
    assert client.fill(name="Maria").texts == ["maria signed as Maria"]


def test_values_of_any_type_are_texts(client: BotClient, fake: CometChatFake) -> None:
    [said] = client.send("/book")
    values = {"name": 5, "guests": 3, "menus": ["Meat", ["deep"], None], "terms": True, "stranger": {"a": 1}}
    assert fake.call(find_url(fake, said), body=orjson.dumps({"form": values})).status_code == 200
    expected = "booked {'name': '5', 'guests': 3, 'menus': ['Meat'], 'terms': True}"
    assert client.said()[-1].text == expected


def test_form_of_a_question_may_be_answered_in_lines(client: BotClient) -> None:
    client.send("/book")
    assert client.send("name: Maria\nguests: 3\nmenus: meat\nterms: yes").text.startswith("booked {'name': 'Maria'")


def test_form_in_a_group_is_asked_field_by_field(client: BotClient) -> None:
    group = client.in_group("team")
    assert group.send("/book").text.startswith("Your table\n\nName")
    assert group.fill(name="Maria", guests=3, menus=["Meat"], terms=True).text.startswith("booked {'name': 'Maria'")


def test_form_that_is_too_large_is_answered_in_lines(client: BotClient) -> None:
    replies = client.send("/big")
    assert "Answer with these lines filled in." in replies[-1].text
    chosen = f"7 {'x' * 100}"
    assert client.send(f"One: {chosen}\nTwo: y").texts == [str({"one": chosen, "two": "y"})]


def test_old_form_of_a_question_is_ignored(client: BotClient, fake: CometChatFake) -> None:
    [said] = client.send("/book")
    client.send("/cancel")
    values = {"name": "Maria", "guests": 3, "menus": ["Meat"], "terms": True}
    assert fake.call(find_url(fake, said), body=orjson.dumps({"form": values})).status_code == 200
    assert client.said()[-1].text == "All right, cancelled."
