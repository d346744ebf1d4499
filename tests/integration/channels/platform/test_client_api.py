"""The Client API: bodies, status codes and messages as the protocol's page has them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path

import jwt
import pytest
from sqlalchemy.engine import Connection

from cometbot.chat import ChatConversation, Scope
from tests.integration.channels.platform.conftest import PNG, Person, Site, wait_until

ULID = re.compile(r"[0-9a-hjkmnp-tv-z]{26}")


def test_what_the_service_is_called_is_known_to_everybody(site: Site) -> None:
    answer = site.anonymous.get("client-api/service-info")

    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.json == {"name": "Service name", "description": "Some info about your service.", "socials": []}
    assert "Set-Cookie" not in answer.headers


def test_local_bot_is_listed(site: Site) -> None:
    described = {
        "id": "helpdesk",
        "name": "helpdesk",
        "description": "Answers questions.",
        "avatar": "https://example.com/helpdesk.png",
    }

    assert site.anonymous.get("client-api/bots").json == [described]
    assert site.anonymous.get("client-api/bot/helpdesk").json == described


def test_external_bots_are_listed_after_local_ones(site: Site) -> None:
    first, _ = site.external_bot("Zebra")
    second, _ = site.external_bot("Ant")

    assert [bot["id"] for bot in site.anonymous.get("client-api/bots").json] == ["helpdesk", first, second]
    assert site.anonymous.get(f"client-api/bot/{first}").json == {"id": first, "name": "Zebra"}


@pytest.mark.parametrize("path", ["/V1/Client-API/Bots", "/v1/client-api/bots/", "/v1/CLIENT-API/BOTS/"])
def test_a_path_matches_in_any_case_and_with_a_slash_at_its_end(site: Site, path: str) -> None:
    assert site.anonymous.client.get(path).status_code == 200


def test_every_get_answers_head_too(site: Site) -> None:
    answer = site.anonymous.call_api("HEAD", "client-api/bots")

    assert (answer.status_code, answer.data) == (200, b"")


def test_sign_up_sets_an_http_only_cookie(site: Site) -> None:
    answer = site.anonymous.post("client-api/user", {"nickname": "Rob Pike"})

    assert answer.status_code == 201
    assert ULID.fullmatch(answer.json["id"])
    assert answer.json == {"id": answer.json["id"], "nickname": "Rob Pike"}
    name, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert name.startswith("token=")
    assert {"HttpOnly", "Path=/", "SameSite=Lax"} <= set(attributes)
    assert "Secure" not in attributes


def test_cookie_lifetime_follows_the_config(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(platform_fields={"PLATFORM_LIMITS_USER_AUTH_TOKEN_LIFETIME": "30"})
    answer = site.anonymous.post("client-api/user", {"nickname": "Rob Pike"})
    token = answer.headers["Set-Cookie"].split(";")[0].removeprefix("token=")
    claims = jwt.decode(token, options={"verify_signature": False})
    expires = re.search(r"Expires=([^;]+)", answer.headers["Set-Cookie"])

    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert set(claims) == {"id", "nickname", "exp", "iat"}
    assert (claims["id"], claims["nickname"]) == (answer.json["id"], "Rob Pike")
    assert claims["exp"] - claims["iat"] == 30 * 60
    assert expires is not None
    assert parsedate_to_datetime(expires[1]) == datetime.fromtimestamp(claims["exp"], timezone.utc)


@pytest.mark.parametrize("way", ["a request", "the public URL"])
def test_over_https_the_cookie_is_for_https_alone(make_site: Callable[..., Site], way: str) -> None:
    site = make_site(public_url="https://chat.example.com") if way == "the public URL" else make_site()
    base = "https://localhost" if way == "a request" else None
    answer = site.anonymous.post("client-api/user", {"nickname": "Maria"}, base_url=base)

    assert "Secure" in answer.headers["Set-Cookie"].split("; ")


def test_a_second_login_with_a_cookie_makes_another_user(maria: Person) -> None:
    answer = maria.post("client-api/user", {"nickname": "Maria"})

    assert answer.status_code == 201
    assert answer.json["id"] != maria.id


def test_the_current_user_is_who_has_the_cookie(maria: Person) -> None:
    assert maria.get("client-api/user").json == {"id": maria.id, "nickname": "Maria"}


@pytest.mark.parametrize("path", ["client-api/user", "client-api/chats", "client-api/chat/nowhere/messages"])
def test_every_authenticated_request_renews_the_cookie(maria: Person, path: str) -> None:
    assert maria.get(path).headers["Set-Cookie"].startswith("token=")


def test_deleted_user_gets_404_and_is_unauthorized(site: Site, maria: Person) -> None:
    chat = maria.create_chat()
    with site.platform.database.write() as connection:
        from cometbot.channels.platform.ids import ALL_BOTS

        assert site.platform.chat.users.delete(connection, ALL_BOTS, maria.id)

    gone = maria.get("client-api/user")
    assert (gone.status_code, gone.json) == (404, {"message": "User not found."})
    refused = maria.post("client-api/chat/message", {"chatId": chat, "body": "hi"})
    assert (refused.status_code, refused.json) == (401, {"message": "User is unauthorized."})
    assert site.sign_up().id != maria.id
    assert maria.get("client-api/chats").status_code == 401


def test_commands_of_a_local_bot_come_from_its_decorators(maria: Person) -> None:
    assert maria.get("client-api/bot/helpdesk/commands").json == [
        {"id": "helpdesk.track", "alias": "track", "description": "Where is my order?", "usage": "/track number"},
        {"id": "helpdesk.twice", "alias": "twice", "usage": "/twice"},
    ]


def test_a_chat_is_made_listed_and_deleted_with_its_messages(maria: Person) -> None:
    made = maria.post("client-api/chat", {"botId": "helpdesk"})
    chat = made.json["id"]
    later = maria.create_chat()

    assert made.status_code == 201
    assert made.json == {"id": chat, "userId": maria.id, "botId": "helpdesk"}
    assert [item["id"] for item in maria.get("client-api/chats?bot_id=helpdesk").json] == [chat, later]
    maria.send_message(chat, "hi")
    gone = maria.delete(f"client-api/chat/{chat}")
    assert (gone.status_code, gone.json) == (200, {"message": "Chat deleted."})
    assert [item["id"] for item in maria.get("client-api/chats?bot_id=helpdesk").json] == [later]
    assert maria.get(f"client-api/chat/{chat}/messages").status_code == 404


def test_create_chat_is_idempotent_by_client_id(maria: Person, site: Site) -> None:
    first, again = (maria.post("client-api/chat", {"botId": "helpdesk", "clientId": "k1"}) for _ in range(2))
    other = site.sign_up("Tom").post("client-api/chat", {"botId": "helpdesk", "clientId": "k1"})
    elsewhere = maria.post("client-api/chat", {"botId": site.external_bot()[0], "clientId": "k1"})

    assert elsewhere.json["id"] != first.json["id"]
    assert (first.status_code, again.status_code, again.json) == (201, 201, first.json)
    assert other.json["id"] != first.json["id"]
    assert len(maria.get("client-api/chats?bot_id=helpdesk").json) == 1
    assert maria.post("client-api/chat", {"botId": "helpdesk", "clientId": "a b"}).status_code == 400


def test_chat_deleted_during_a_request_is_not_found(site: Site, maria: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    bot_id, bot = site.external_bot()
    chat_id = maria.create_chat(bot_id)
    conversations = site.platform.chat.conversations
    get = conversations.get

    def delete_once_found(connection: Connection, scope: Scope, id: str) -> ChatConversation | None:
        monkeypatch.setattr(conversations, "get", get)
        found = get(connection, scope, id)
        assert conversations.delete(connection, scope, id)
        return found

    for sender, path in ((maria, "client-api/chat/message"), (bot, "bot-api/chat/message")):
        monkeypatch.setattr(conversations, "get", delete_once_found)
        answer = sender.post(path, {"chatId": chat_id, "body": "hi"})
        assert (answer.status_code, answer.json) == (404, {"message": "Chat not found."})


def test_a_user_has_ten_chats_with_a_bot_at_most(maria: Person, site: Site) -> None:
    for _ in range(10):
        maria.create_chat()
    answer = maria.post("client-api/chat", {"botId": "helpdesk"})

    assert answer.status_code == 400
    assert answer.json == {"message": "Cannot create more than 10 chat rooms with the same bot."}
    assert len(maria.get("client-api/chats?bot_id=helpdesk").json) == 10
    assert site.sign_up("Tom").create_chat()


def test_a_message_is_stored_and_answered_with_a_later_time(maria: Person) -> None:
    chat = maria.create_chat()
    said = maria.send_message(chat, "/track 4711", senderId="somebody-else", id="x", timestamp=1)
    reply = maria.wait_message(chat, "Order 4711 is on its way, Maria.")

    assert set(said) == {"id", "chatId", "senderId", "body", "timestamp"}
    assert (said["chatId"], said["senderId"], said["body"]) == (chat, maria.id, "/track 4711")
    assert said["id"] != "x"
    assert reply["senderId"] == "helpdesk"
    assert reply["timestamp"] > said["timestamp"]
    assert maria.messages(chat, f"?since={said['timestamp']}&sender_id=helpdesk") == [reply]


def test_message_pages_are_newest_first(maria: Person, site: Site) -> None:
    bot_id, _ = site.external_bot()
    chat = maria.create_chat(bot_id)
    for number in range(10):
        maria.send_message(chat, f"m{number}")

    assert [message["body"] for message in maria.messages(chat, "?limit=2")] == ["m8", "m9"]
    assert [message["body"] for message in maria.messages(chat, "?limit=2&page=2")] == ["m6", "m7"]
    assert maria.messages(chat, "?page=99") == []
    page = maria.get(f"client-api/chat/{chat}/messages?limit=3").json
    assert {name: page[name] for name in ("chatId", "total", "page", "limit")} == {
        "chatId": chat,
        "total": 10,
        "page": 1,
        "limit": 3,
    }


@pytest.mark.parametrize(
    ("query", "page", "limit", "shown"),
    [
        ("", 1, 20, 3),
        ("?page=0", 0, 20, 3),
        ("?page=-5", -5, 20, 3),
        ("?limit=0", 1, 0, 0),
        ("?limit=-1", 1, 1000, 3),
        ("?limit=100000", 1, 1000, 3),
        ("?limit=abc&page=1.5&since=abc", 1, 20, 3),
        ("?limit=99999999999999999999&since=99999999999999999999", 1, 20, 3),
        ("?page=999999999999999999&limit=1000", 2**53, 1000, 0),
        ("?since=-1", 1, 20, 3),
        ("?since=999999999999999999", 1, 20, 0),
        ("?sender_id=nobody", 1, 20, 0),
        ("?sender_id=a%00b", 1, 20, 0),
        ("?sender_id=%ff%fe", 1, 20, 0),
    ],
)
def test_unusual_query_numbers_follow_the_protocol(
    site: Site, maria: Person, query: str, page: int, limit: int, shown: int
) -> None:
    chat = maria.create_chat(site.external_bot()[0])
    for number in range(3):
        maria.send_message(chat, f"m{number}")
    answer = maria.get(f"client-api/chat/{chat}/messages{query}")

    assert answer.status_code == 200
    assert (answer.json["page"], answer.json["limit"], len(answer.json["messages"])) == (page, limit, shown)


def test_attached_files_are_readable_by_the_bot(maria: Person, site: Site) -> None:
    [file] = maria.upload(("p.png", PNG)).json
    chat = maria.create_chat()
    said = maria.send_message(chat, "look", attachmentIds=[file["id"], file["id"], "unknown"])

    assert said["attachments"] == [file]
    assert maria.wait_message(chat, f"echo look image/png {len(PNG)}")
    assert maria.messages(chat)[0]["attachments"] == [file]


def test_message_may_be_empty(maria: Person, site: Site) -> None:
    chat = maria.create_chat(site.external_bot()[0])

    assert maria.send_message(chat)["body"] == ""
    assert maria.post("client-api/chat/message", {"chatId": chat, "body": None}).json["body"] == ""
    assert maria.post("client-api/chat/message", {"chatId": chat}).json["body"] == ""


def test_bodies_may_be_forms_and_names_of_fields_in_any_case(maria: Person, site: Site) -> None:
    bot_id, _ = site.external_bot()
    chat = maria.post("client-api/chat", data={"BOTID": bot_id}).json["id"]
    form = maria.post("client-api/chat/message", data={"chatid": chat, "Body": "grüße & more", "other": "x"})
    parts = maria.post(
        "client-api/chat/message", data={"chatId": chat, "body": "parts"}, content_type="multipart/form-data"
    )

    assert (form.status_code, form.json["body"]) == (201, "grüße & more")
    assert (parts.status_code, parts.json["body"]) == (201, "parts")


def test_letters_that_html_knows_are_escaped_in_answers(maria: Person, site: Site) -> None:
    chat = maria.create_chat(site.external_bot()[0])
    answer = maria.post("client-api/chat/message", {"chatId": chat, "body": "<b>&</b>"})

    assert answer.json["body"] == "<b>&</b>"
    assert b"<" not in answer.data
    assert b"\\u003cb\\u003e\\u0026" in answer.data


def test_message_is_idempotent_by_client_id(maria: Person, site: Site) -> None:
    chat = maria.create_chat()
    first = maria.send_message(chat, "hi", clientId="page-1")
    again = maria.send_message(chat, "hi", clientId="page-1")
    maria.wait_message(chat, "echo hi")

    assert again == first
    assert maria.bodies(chat) == ["hi", "echo hi"]


def test_replies_are_merged_only_if_set(make_site: Callable[..., Site], tmp_path: Path) -> None:
    for joins, expected in ((False, ["/twice", "one", "two"]), (True, ["/twice", "one\n\ntwo"])):
        maria = make_site(platform_join_replies=joins).sign_up()
        chat = maria.create_chat()
        maria.send_message(chat, "/twice")

        assert wait_until(lambda m=maria, c=chat, e=expected: m.bodies(c) == e)


def test_the_origins_of_the_protocol_may_read_and_no_other(site: Site) -> None:
    allowed = site.anonymous.get("client-api/bots", headers={"Origin": "http://localhost"})
    foreign = site.anonymous.get("client-api/bots", headers={"Origin": "https://evil.example"})
    preflight = site.anonymous.call_api(
        "OPTIONS",
        "client-api/chat",
        headers={"Origin": "http://127.0.0.1", "Access-Control-Request-Headers": "content-type"},
    )

    assert allowed.headers["Access-Control-Allow-Origin"] == "http://localhost"
    assert allowed.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in allowed.headers
    assert "Access-Control-Allow-Origin" not in foreign.headers
    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Methods"] == "GET,POST,HEAD,PUT,DELETE,PATCH"
    assert preflight.headers["Access-Control-Allow-Headers"] == "content-type"
