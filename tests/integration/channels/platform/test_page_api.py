"""What the web chat asks for beyond the protocol."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from cometbot import Bot, Button, Card, Context
from cometbot.channels.base import OutgoingRequest
from cometbot.channels.platform.ids import conversation_of
from cometbot.messages import Operation
from tests.integration.channels.platform.conftest import ApiClient, Person, Site, wait_until


def send(person: Person, chat: str, **message: Any) -> Any:
    return person.post(f"page-api/chat/{chat}/messages", message)


def test_the_page_begins_without_a_cookie_and_with_a_bad_one(site: Site) -> None:
    for headers in ({}, {"Cookie": "token=nonsense"}):
        answer = site.anonymous.get("page-api/start", headers=headers)

        assert answer.status_code == 200
        assert (answer.json["user"], answer.json["chats"]) == (None, [])
        assert answer.json["service"]["name"] == "helpdesk"
        assert answer.json["limits"]["maxChats"] == 10


def test_page_starts_with_user_chats_and_last_messages(site: Site, maria: Person) -> None:
    external_bot, _ = site.external_bot()
    quiet, chat = maria.create_chat(external_bot), maria.create_chat()
    maria.send_message(chat, "hi")
    maria.wait_message(chat, "echo hi")
    start = maria.get("page-api/start").json

    assert start["user"] == {"id": maria.id, "nickname": "Maria", "name": "Maria"}
    assert [(item["id"], item["last"] and item["last"]["body"]) for item in start["chats"]] == [
        (chat, "echo hi"),
        (quiet, None),
    ]
    assert [bot.get("external", False) for bot in start["bots"]] == [False, True]
    assert start["limits"]["maxBodyLength"] == 4096


def test_messages_have_safe_html_and_rich_content(site: Site, maria: Person) -> None:
    chat = maria.create_chat()
    send(maria, chat, body="card")
    wait_until(lambda: len(maria.bodies(chat)) == 2)
    [own, card] = maria.get(f"page-api/chat/{chat}/messages").json["messages"]
    html = send(maria, chat, body="**bold** <script>alert(1)</script>").json["html"]

    assert (own["content"], own["attachments"], own["clientId"]) == (None, [], "")
    assert card["content"]["kind"] == "card"
    assert "<strong>Green</strong>" in card["content"]["html"]
    assert "<strong>bold</strong>" in html
    assert "<script" not in html


def test_pressed_button_is_an_action_and_shown_as_its_label(maria: Person) -> None:
    chat = maria.create_chat()
    send(maria, chat, body="card")
    wait_until(lambda: len(maria.bodies(chat)) == 2)
    card = maria.get(f"page-api/chat/{chat}/messages").json["messages"][1]
    pressed = send(maria, chat, body="Buy tea", action={"name": "buy", "value": "tea", "messageId": card["id"]})

    assert (pressed.status_code, pressed.json["body"]) == (201, "Buy tea")
    assert maria.wait_message(chat, "bought tea")


@pytest.mark.parametrize(
    "action",
    [
        {"name": "buy", "value": "cake"},
        {"name": "sell", "value": "tea"},
        {"name": "buy", "value": "tea", "messageId": "nothing"},
        {"name": "buy", "value": "tea", "messageId": ""},
        {},
    ],
)
def test_what_no_message_offers_cannot_be_pressed(maria: Person, action: dict[str, str]) -> None:
    chat = maria.create_chat()
    send(maria, chat, body="card")
    wait_until(lambda: len(maria.bodies(chat)) == 2)
    card = maria.get(f"page-api/chat/{chat}/messages").json["messages"][1]
    answer = send(maria, chat, body="x", action={"messageId": card["id"], **action})

    assert (answer.status_code, answer.json) == (400, {"message": "There is no such button in that message."})
    assert len(maria.bodies(chat)) == 2


def test_a_button_of_another_chat_cannot_be_pressed(maria: Person) -> None:
    chat, other = maria.create_chat(), maria.create_chat()
    send(maria, chat, body="card")
    wait_until(lambda: len(maria.bodies(chat)) == 2)
    card = maria.get(f"page-api/chat/{chat}/messages").json["messages"][1]
    answer = send(maria, other, body="x", action={"name": "buy", "value": "tea", "messageId": card["id"]})

    assert answer.status_code == 400


def test_what_is_sent_again_under_its_client_id_happens_once(maria: Person) -> None:
    chat = maria.create_chat()
    first = send(maria, chat, body="hi", clientId="a-1")
    again = send(maria, chat, body="hi", clientId="a-1")
    maria.wait_message(chat, "echo hi")

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json == first.json
    assert first.json["clientId"] == "a-1"
    assert maria.bodies(chat) == ["hi", "echo hi"]


def test_repeated_press_is_idempotent_after_its_card_changed(
    make_site: Callable[..., Site],
) -> None:
    bot = Bot("till")

    @bot.message("card")
    def card(ctx: Context) -> None:
        ctx.state["card"] = ctx.reply(Card("Tea", buttons=[Button("Buy", "buy", "tea")])).id

    @bot.action("buy")
    def buy(ctx: Context) -> str:
        return "bought"

    site = make_site(bot)
    maria = site.sign_up()
    chat = maria.create_chat("till")
    send(maria, chat, body="card")
    wait_until(lambda: len(maria.bodies(chat)) == 2)
    shown = maria.get(f"page-api/chat/{chat}/messages").json["messages"][1]
    press = {"body": "Buy", "clientId": "k1", "action": {"name": "buy", "value": "tea", "messageId": shown["id"]}}
    first = send(maria, chat, **press)
    where = conversation_of("till", chat, maria.id)
    [delete] = site.channel.render(Operation(conversation=where, kind="delete", message_id=shown["id"]))
    site.channel.send(OutgoingRequest(where, "cb-x", delete), timeout=5)

    again = send(maria, chat, **press)
    assert (first.status_code, again.status_code, again.json) == (201, 200, first.json)
    assert send(maria, chat, **{**press, "clientId": "k2"}).status_code == 400


@pytest.mark.parametrize("client_id", ["x" * 65, "a b", "ä", "a\nb"])
def test_a_client_id_is_short_and_plain(maria: Person, client_id: str) -> None:
    chat = maria.create_chat()

    assert send(maria, chat, body="hi", clientId=client_id).status_code == 400
    assert maria.bodies(chat) == []


def test_one_scrolls_back_and_catches_up(site: Site, maria: Person) -> None:
    chat = maria.create_chat(site.external_bot()[0])
    times = [maria.send_message(chat, f"m{number}")["timestamp"] for number in range(7)]

    def page(query: str) -> tuple[list[str], bool]:
        found = maria.get(f"page-api/chat/{chat}/messages?{query}").json
        return [message["body"] for message in found["messages"]], found["more"]

    assert page("limit=3") == (["m4", "m5", "m6"], True)
    assert page(f"limit=3&before={times[4]}") == (["m1", "m2", "m3"], True)
    assert page(f"limit=3&before={times[1]}") == (["m0"], False)
    assert page(f"limit=3&after={times[1]}") == (["m2", "m3", "m4"], True)
    assert page(f"after={times[5]}") == (["m6"], False)
    assert page(f"after={times[6]}") == ([], False)
    assert page("limit=-1&before=abc&after=xyz")[0] == ["m6"]


def test_a_chat_gets_a_title_and_loses_it(maria: Person) -> None:
    chat = maria.create_chat()
    named = maria.call_api("PATCH", f"page-api/chat/{chat}", json={"title": "  Tea & <b>  "})

    assert (named.status_code, named.json["title"]) == (200, "Tea & <b>")
    assert maria.get("page-api/start").json["chats"][0]["title"] == "Tea & <b>"
    assert maria.call_api("PATCH", f"page-api/chat/{chat}", json={"title": ""}).json["title"] == ""
    assert maria.call_api("PATCH", f"page-api/chat/{chat}", json={"title": "x" * 65}).status_code == 400
    assert maria.call_api("PATCH", f"page-api/chat/{chat}", json={"title": "a\x07b"}).status_code == 400


def test_another_users_chat_cannot_be_read_renamed_or_written_to(site: Site, maria: Person) -> None:
    chat, tom = maria.create_chat(), site.sign_up("Tom")

    for answer in (
        tom.get(f"page-api/chat/{chat}/messages"),
        tom.call_api("PATCH", f"page-api/chat/{chat}", json={"title": "mine"}),
        send(tom, chat, body="x"),
    ):
        assert (answer.status_code, answer.json) == (403, {"message": "Chat is not related to current user."})


def test_who_leaves_is_nobody_in_this_browser(maria: Person) -> None:
    left = maria.post("page-api/leave")

    assert (left.status_code, left.json) == (200, {"message": "Logged out."})
    assert maria.get("client-api/user").status_code == 401


def test_service_without_a_name_is_shown_as_its_only_bot(site: Site) -> None:
    service = site.anonymous.get("page-api/start").json["service"]

    assert (service["name"], service["description"]) == ("helpdesk", "Answers questions.")
    assert service["avatar"] == "https://example.com/helpdesk.png"
    assert site.anonymous.get("client-api/service-info").json["name"] == "Service name"


def test_service_without_a_name_is_shown_as_its_bots(site: Site) -> None:
    for _ in range(3):
        site.external_bot()
    service = site.anonymous.get("page-api/start").json["service"]

    assert service == {"name": "helpdesk, Outside bot 1, Outside bot 2…", "description": "", "socials": []}


@pytest.mark.parametrize(("name", "nickname"), [("Zoë", r"Zoe"), ("李雷", r"Guest \d{6}"), ("Bo", r"Guest \d{6}")])
def test_name_of_any_language_signs_up(site: Site, name: str, nickname: str) -> None:
    person = ApiClient(site.app.test_client())
    answer = person.post("page-api/user", {"name": f" {name} "})

    assert (answer.status_code, answer.json["name"]) == (201, name)
    assert person.get("page-api/start").json["user"]["name"] == name
    assert re.fullmatch(nickname, person.get("client-api/user").json["nickname"])


def test_name_that_is_refused_makes_nobody(site: Site) -> None:
    answer = site.anonymous.post("page-api/user", {"name": "<b>"})

    assert answer.status_code == 400
    assert "Set-Cookie" not in answer.headers


def test_bot_gets_the_whole_name(site: Site) -> None:
    person = ApiClient(site.app.test_client())
    person.post("page-api/user", {"name": "李雷"})
    chat = person.post("client-api/chat", {"botId": "helpdesk"}).json["id"]
    for body in ("hello", "who am I"):
        person.post("client-api/chat/message", {"chatId": chat, "body": body})

    def bodies() -> list[str]:
        return [one["body"] for one in person.get(f"client-api/chat/{chat}/messages").json["messages"]]

    assert wait_until(lambda: "you are 李雷, and were 李雷" in bodies())
