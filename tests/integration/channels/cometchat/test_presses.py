"""Buttons of cards that call a signed address of the bot's server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from cometbot import Bot, Button, Card, Choices, Context
from cometbot.channels.cometchat.press_urls import PressSigner
from cometbot.errors import StoreBusy
from cometbot.messages import Operation, QuickReply
from cometbot.presses import REFUSAL_TEXTS
from cometbot.testing import BotClient
from cometbot.testing.fakes.cometchat import PUBLIC_URL, CometChatFake

JSON_HEADERS = {"Content_Type": "application/json"}


@pytest.fixture
def bot() -> Bot:
    bot = Bot("shop")

    @bot.command("tea")
    def tea(ctx: Context) -> Card:
        return Card("Tea", buttons=[Button("Buy", "buy", 5), Button("More", url="https://example.com")])

    @bot.command("refund")
    def refund(ctx: Context) -> Card:
        return Card("Refund?", buttons=[Button("Yes", "decide", True), Button("No", "decide", False)], once=True)

    @bot.command("order")
    def order(ctx: Context) -> str:
        return f"size {ctx.ask('Which size?', choices=['S', 'M'])}"

    @bot.action("buy")
    def buy(ctx: Context, count: int) -> str:
        return f"{ctx.sender.uid} bought {count!r}"

    @bot.action("decide")
    def decide(ctx: Context, approved: bool) -> str:
        return f"decided {approved}"

    return bot


@pytest.fixture
def client(bot: Bot) -> Iterator[BotClient]:
    with BotClient(bot, channel=lambda bot: CometChatFake(bot, rich="card", card_buttons="url")) as client:
        yield client


@pytest.fixture
def fake(client: BotClient) -> CometChatFake:
    assert isinstance(client.fake, CometChatFake)
    return client.fake


def actions(client: BotClient) -> dict[str, dict[str, Any]]:
    """Return the actions of the newest card's buttons by label."""
    assert isinstance(client.fake, CometChatFake)
    card = client.fake.simulator.message(client.said()[-1].id).data["card"]
    return {item["label"]: item["action"] for item in card["body"] if item["type"] == "button"}


def url(client: BotClient, label: str) -> str:
    return str(actions(client)[label]["url"])


def press(client: BotClient, address: str) -> tuple[int, str, list[str]]:
    """Call an address; return the status, the code of an error, and what the bot says."""
    before = len(client.said())
    assert isinstance(client.fake, CometChatFake)
    answer = client.fake.call(address)
    code = answer.get_json().get("error", {}).get("code", "")
    return answer.status_code, code, client.said().texts[before:]


def test_press_is_stored_and_handled(client: BotClient) -> None:
    client.send("/tea")
    assert actions(client)["More"] == {"type": "openUrl", "url": "https://example.com"}
    assert actions(client)["Buy"] == {"type": "apiCall", "url": url(client, "Buy"), "method": "POST"}
    assert url(client, "Buy").startswith("https://bots.test/cometchat/shop/press/")
    assert press(client, url(client, "Buy")) == (200, "", ["maria bought 5"])


def test_replay_is_refused(client: BotClient) -> None:
    client.send("/tea")
    address = url(client, "Buy")
    press(client, address)
    assert press(client, address) == (409, "ERR_BUTTON_USED", [])


def test_press_before_it_is_handled_is_stored_once(client: BotClient, fake: CometChatFake) -> None:
    client.send("/tea")
    address = url(client, "Buy")
    assert [fake.call(address).status_code for _ in range(3)] == [200, 409, 409]
    assert client.said().texts[-1] == "maria bought 5"


def test_card_that_counts_once_refuses_its_other_button_in_the_chat(client: BotClient) -> None:
    client.send("/refund")
    yes, no = url(client, "Yes"), url(client, "No")
    assert press(client, no) == (200, "", ["decided False"])
    assert press(client, yes) == (200, "", [REFUSAL_TEXTS["used"]])
    assert client.send("Yes").texts == [REFUSAL_TEXTS["used"]]


def test_question_is_answered_by_its_button(client: BotClient) -> None:
    client.send("/order")
    small, medium = url(client, "S"), url(client, "M")
    assert press(client, medium) == (200, "", ["size M"])
    assert press(client, small) == (200, "", [])


def test_old_address_is_refused(client: BotClient) -> None:
    client.send("/tea")
    address = url(client, "Buy")
    client.advance("8d")
    assert press(client, address) == (410, "ERR_BUTTON_EXPIRED", [])


def test_forged_and_cut_addresses_are_refused(
    client: BotClient, fake: CometChatFake, caplog: pytest.LogCaptureFixture
) -> None:
    client.send("/tea")
    address = url(client, "Buy")
    caplog.set_level(logging.DEBUG)
    signer = PressSigner(PUBLIC_URL, fake.simulator.app_id, lambda: "another secret", lifetime=1e6)
    forged = signer.make_url(Operation(conversation=client.conversation), QuickReply("Buy", "buy", "=5"))
    other_bot = address.replace("/shop/", "/other/")
    for wrong in (forged, other_bot, address[:-1], address[:-40], f"{address}A", f"{address}.A"):
        assert press(client, wrong) == (403, "AUTH_ERR_NO_ACCESS", [])
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "COMETBOT_SECRET_KEY" in warnings[0].getMessage()
    assert address.rpartition("/")[2] not in caplog.text
    assert press(client, address)[0] == 200


def test_pages_of_any_origin_may_call_this_route_alone(client: BotClient, fake: CometChatFake) -> None:
    client.send("/tea")
    address = url(client, "Buy")
    asked = {"Origin": "https://app.example", "Access_Control_Request_Method": "POST"}
    preflight = fake.call(address, "OPTIONS", **asked)
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert preflight.headers["Access-Control-Allow-Methods"] == "POST"
    assert "Access-Control-Allow-Credentials" not in preflight.headers
    answers = [fake.call(address, Origin="https://app.example") for _ in range(2)]
    assert [(item.status_code, item.headers["Access-Control-Allow-Origin"]) for item in answers] == [
        (200, "*"),
        (409, "*"),
    ]
    for path in ("/cometchat/shop", "/cometchat", "/cometchat/shop/webhook"):
        answer = fake.call(path, "OPTIONS", **asked)
        assert not [name for name, _ in answer.headers.items() if name.startswith("Access-Control")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_other_methods_press_nothing(client: BotClient, fake: CometChatFake, method: str) -> None:
    client.send("/tea")
    answer = fake.call(url(client, "Buy"), method)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "OPTIONS, POST")
    assert press(client, url(client, "Buy"))[0] == 200


@pytest.mark.parametrize("body", [b"", b"{}", b"not JSON", b"x" * 16384])
def test_body_does_not_matter(client: BotClient, fake: CometChatFake, body: bytes) -> None:
    client.send("/tea")
    assert fake.call(url(client, "Buy"), body=body, **JSON_HEADERS).status_code == 200


def test_body_that_is_too_long_is_refused_and_presses_nothing(client: BotClient, fake: CometChatFake) -> None:
    client.send("/tea")
    answer = fake.call(url(client, "Buy"), body=b"x" * 16385)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (413, "ERR_BODY_TOO_LARGE")
    assert press(client, url(client, "Buy"))[0] == 200


def test_press_that_cannot_be_stored_may_be_sent_again(
    client: BotClient, fake: CometChatFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.send("/tea")
    address = url(client, "Buy")

    def refuse(incoming: Any) -> bool:
        raise StoreBusy

    with monkeypatch.context() as patch:
        patch.setattr(fake._delivery, "enqueue", refuse)
        answer = fake.call(address)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert press(client, address) == (200, "", ["maria bought 5"])


def test_buttons_in_groups_and_by_default_send_a_message(bot: Bot, client: BotClient) -> None:
    group = client.in_group("ops")
    group.send("/tea")
    assert actions(group)["Buy"] == {"type": "sendMessage", "text": "Buy"}
    with BotClient(bot, channel=lambda bot: CometChatFake(bot, rich="card")) as plain:
        plain.send("/tea")
        assert actions(plain)["Buy"] == {"type": "sendMessage", "text": "Buy"}
        assert isinstance(plain.fake, CometChatFake)
        assert plain.fake.call("/cometchat/shop/press/x").status_code == 404


def test_choices_are_buttons_too(bot: Bot, client: BotClient) -> None:
    received: list[object] = []
    bot.command("colour")(lambda ctx: Choices("Which?", ["Red", "Blue"], "colour"))

    @bot.action("colour")
    def add(ctx: Context, colour: str) -> None:
        received.append(colour)

    client.send("/colour")
    press(client, url(client, "Blue"))
    assert received == ["Blue"]
