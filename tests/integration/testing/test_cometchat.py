"""A bot can be tested on CometChat itself, as far as the simulator is it, without sockets."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
import requests

from cometbot import Bot, Button, Card, Carousel, ContactEvent, Context, Custom, Field, Form, Media, Rejected
from cometbot.errors import DeliveryError
from cometbot.testing import Actor, BotClient, Unsupported
from cometbot.testing.fakes.cometchat import CometChatFake
from cometbot.testing.wsgi import make_wsgi_session


@pytest.fixture
def bot() -> Bot:
    made = Bot("helpdesk")

    @made.fallback
    def echo(ctx: Context) -> str:
        return f"{ctx.sender}: {ctx.text}"

    return made


@pytest.fixture
def client(bot: Bot) -> BotClient:
    return BotClient(bot, channel="cometchat")


def fake(client: BotClient) -> CometChatFake:
    assert isinstance(client.fake, CometChatFake)
    return client.fake


def test_no_socket_and_no_thread_is_needed(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)
    before = threading.active_count()

    assert BotClient(bot, channel="cometchat").send("hello").texts == ["Maria: hello"]
    assert threading.active_count() <= before + 1, "only the client's watch over its time-outs"


def test_what_goes_over_the_wire_is_in_the_simulators_log(client: BotClient) -> None:
    client.send("hello")
    simulator = fake(client).simulator

    assert [(entry.target, entry.status) for entry in simulator.callbacks] == [("helpdesk", 200)]
    assert [(entry.method, entry.path) for entry in simulator.requests] == [("POST", "/v3/bots/helpdesk/messages")]


def test_cards_arrive_as_text_with_numbers_that_are_answers(bot: Bot, client: BotClient) -> None:
    @bot.message("sign up")
    def sign_up(ctx: Context) -> Form:
        return Form("Sign up", [Field("name"), Field("town", "Town", default="Berlin")], "signed")

    @bot.action("signed")
    def signed(ctx: Context) -> str:
        return f"{ctx.values['name']} of {ctx.values['town']}"

    assert "name:" in client.send("sign up").text
    assert client.fill(name="Tom").texts == ["Tom of Berlin"]


def test_cards_can_be_sent_as_cards(bot: Bot) -> None:
    @bot.message("card")
    def card(ctx: Context) -> Card:
        return Card("Tea", "Green")

    client = BotClient(bot, channel=lambda bot: CometChatFake(bot, rich="card"))
    [said] = client.send("card")

    assert said.message == Card("Tea", "Green")
    stored = fake(client).simulator.message(said.id)
    assert stored.category == "card"
    assert "Tea" in stored.text


def test_cards_are_shown_with_their_buttons(bot: Bot) -> None:
    @bot.message("cards")
    def cards(ctx: Context) -> Carousel:
        see = Button("See", url="https://example.com/tea")
        tea = Card("Tea", "Green", "https://example.com/tea.png", [see, Button("Buy tea", "buy", "tea")])
        return Carousel([tea, Card("Cocoa", buttons=[Button("Buy cocoa", "buy", "cocoa")])])

    @bot.action("buy")
    def buy(ctx: Context, what: str) -> str:
        return f"bought {what}"

    client = BotClient(bot, channel=lambda bot: CometChatFake(bot, rich="card", card_buttons="url"))
    [said] = client.send("cards")

    assert isinstance(said.message, Carousel)
    assert [(card.title, card.text, card.image) for card in said.message.cards] == [
        ("Tea", "Green", "https://example.com/tea.png"),
        ("Cocoa", "", ""),
    ]
    assert said.buttons == ["See", "Buy tea", "Buy cocoa"]
    assert said.links == {"See": "https://example.com/tea"}
    assert client.press("Buy cocoa").texts == ["bought cocoa"]
    assert client.press(1).texts == ["bought tea"]


def test_button_without_an_address_sends_its_text(bot: Bot) -> None:
    bot.message("card")(lambda ctx: Card("Tea", buttons=[Button("Buy", "buy", "tea")]))
    received: list[str] = []

    @bot.action("buy")
    def buy(ctx: Context, what: str) -> None:
        received.append(what)

    client = BotClient(bot, channel=lambda bot: CometChatFake(bot, rich="card", card_buttons="url"))
    group = client.in_group("ops")
    group.send("card")
    group.press(1)

    assert received == ["tea"]
    assert [message.text for message in fake(client).simulator.messages() if message.sender == "maria"] == [
        "card",
        "Buy",
    ]


def test_card_of_another_shape_is_shown_as_it_is(client: BotClient) -> None:
    client.send("hello")
    elements = [{"id": "text", "type": "markdown", "content": "x"}, {"type": "spacer"}]
    card = {"version": "1.0", "body": elements, "style": {"background": "#FFFFFF"}, "fallbackText": "x"}
    body = {"receiver": "maria", "receiverType": "user", "category": "card", "type": "text"}
    fake(client).simulator.user("helpdesk").write({**body, "data": {"text": "preview", "card": card}})

    message = client.said()[-1].message
    assert isinstance(message, Custom)
    assert (message.type, message.text, message.data["card"]) == ("card", "preview", card)


def test_media_arrive_as_media(bot: Bot, client: BotClient) -> None:
    @bot.message("photo")
    def photo(ctx: Context) -> Media:
        return Media("https://example.com/a.png", caption="look")

    message = client.send("photo")[0].message

    assert isinstance(message, Media)
    assert (message.url, message.kind, message.caption) == ("https://example.com/a.png", "image", "look")


def test_a_users_file_can_be_loaded(bot: Bot, client: BotClient) -> None:
    @bot.message()
    def load(ctx: Context) -> str:
        return f"{ctx.attachments[0].name} {ctx.attachments[0].size}"

    assert client.send_file(b"12345", name="five.txt").texts == ["five.txt 5"]


def test_an_edit_shows_both_versions(bot: Bot, client: BotClient) -> None:
    @bot.message("work")
    def work(ctx: Context) -> None:
        ctx.reply("working").edit("done")

    assert client.send("work")[0].versions == ("working", "done")


def test_an_event_that_cometchat_does_not_send_cannot_be_made(client: BotClient) -> None:
    with pytest.raises(Unsupported, match="use a user's action that causes the event"):
        client.event(ContactEvent, action="request")


def test_a_callback_that_is_refused_fails_the_test(client: BotClient) -> None:
    bots = fake(client).simulator.world.directory.bots
    bots["helpdesk"].password = "wrong"

    with pytest.raises(AssertionError, match="refused with 401"):
        client.send("hello")


def test_repeat_without_messages_sends_nothing(client: BotClient) -> None:
    fake(client).repeat()

    assert not client.said()


def test_a_refusal_names_its_code(client: BotClient) -> None:
    fake(client).misbehave("refused")

    with pytest.raises(DeliveryError, match="ERR_PERMISSION_DENIED"):
        client.send("hello")


def test_user_names_are_stable(client: BotClient) -> None:
    assert client.as_user("tom").send("hi").texts == ["Tom: hi"]
    assert client.as_user("tom").send("hi", group="ops").texts == ["Tom: hi"]
    assert client.as_user("eva").send("hi", group="ops").texts == ["Eva: hi"]


def test_over_sockets_everything_is_given_back(bot: Bot) -> None:
    before = threading.active_count()
    with BotClient(bot, channel=lambda bot: CometChatFake(bot, sockets=True)) as client:
        assert client.send("hello").texts == ["Maria: hello"]
        url = fake(client).simulator.url
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=1)
    assert threading.active_count() <= before + 2


def test_wsgi_session_passes_request_and_response() -> None:
    seen: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ, body=environ["wsgi.input"].read())
        start_response("201 Created", [("Content-Type", "text/plain"), ("X-Answer", "42")])
        return [b"made ", b"it"]

    with make_wsgi_session(app) as session:
        answer = session.post("https://host.example/a/b?c=d", data=b"body", headers={"X-Ask": "1"}, stream=True)

    assert (answer.status_code, answer.headers["x-answer"], answer.content) == (201, "42", b"made it")
    asked = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "HTTP_HOST", "HTTP_X_ASK", "body")
    assert [seen[name] for name in asked] == ["POST", "/a/b", "c=d", "host.example", "1", b"body"]


def test_wsgi_session_raises_when_the_app_disconnects() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise ConnectionResetError

    with pytest.raises(requests.ConnectionError):
        make_wsgi_session(app).get("http://host.example/")


def test_a_file_that_is_not_there_is_refused(client: BotClient) -> None:
    simulator = fake(client).simulator

    with pytest.raises(Rejected):
        client.channel.client("helpdesk").download(f"{simulator.url}/files/none")


def test_a_platform_can_be_talked_to_directly(client: BotClient) -> None:
    message_id = client.fake.say(Actor(client.user), "hello")

    assert client.said().texts == ["Maria: hello"]
    assert fake(client).simulator.message(message_id).text == "hello"
