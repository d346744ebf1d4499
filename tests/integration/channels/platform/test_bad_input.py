"""Nothing that anybody sends ends in a 5xx, is stored, or tells what is none of their business."""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest

from cometbot.channels.platform.ids import ALL_BOTS
from cometbot.settings import Secret
from tests.integration.channels.platform.conftest import ADMIN, Person, Site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all: what is refused leaves nothing that others could see."""
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.running.stop()


SECRET = "a-secret-that-is-long-enough-for-hs256"


def count_users(site: Site) -> int:
    with site.platform.database.read() as connection:
        return len(site.platform.chat.users.list(connection, ALL_BOTS, limit=1000).items)


@pytest.mark.parametrize(
    ("nickname", "message"),
    [
        ("", "Nickname must be at least 3 characters long."),
        ("ab", "Nickname must be at least 3 characters long."),
        ("x" * 33, "Nickname should not be longer than 32 characters."),
        ("ééééééééééééééééé", "Nickname should not be longer than 32 characters."),
        *(
            (name, "Nickname should contain only upper/lower case English letters, spaces, dashes and numbers.")
            for name in ("<b>Rob</b>", "Rob\n", "Rob\x00", "Jörg", "a_b", "\u202eRob", "Rob\t")
        ),
        (None, "Nickname must be at least 3 characters long."),
        (5, "nickname must be a text"),
        (["Rob"], "nickname must be a text"),
    ],
)
def test_a_nickname_that_may_not_be_is_refused_and_makes_nobody(site: Site, nickname: Any, message: str) -> None:
    before = count_users(site)
    answer = site.anonymous.post("client-api/user", {"nickname": nickname})

    assert (answer.status_code, answer.json) == (400, {"message": message})
    assert "Set-Cookie" not in answer.headers
    assert count_users(site) == before


def test_three_spaces_are_a_nickname_as_in_the_protocol(site: Site) -> None:
    assert site.anonymous.post("client-api/user", {"nickname": "   "}).status_code == 201


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b"{bad}", "application/json", "Invalid JSON in the body"),
        (b"[1]", "application/json", "the body must be an object"),
        (b'"text"', "application/json", "the body must be an object"),
        (b'{"nickname": NaN}', "application/json", "Invalid JSON in the body"),
        (b'{"nickname": "\\ud800"}', "application/json", "Invalid JSON in the body"),
        (b"[" * 50_000, "application/json", "Invalid JSON in the body"),
        (b"{}", "", "Unprocessable Entity"),
        (b"{}", "text/plain", "Unprocessable Entity"),
        (b"<user/>", "application/xml", "Unprocessable Entity"),
        (b"nickname=%ff%fe", "application/x-www-form-urlencoded", "Invalid form in the body"),
        (b"a=1&" * 2000, "application/x-www-form-urlencoded", "Invalid form in the body"),
        (b"--X\r\nbroken", "multipart/form-data; boundary=X", "Invalid multipart form in the body"),
        (b"x", "multipart/form-data", "Invalid multipart form in the body"),
    ],
)
def test_unreadable_body_is_refused_with_its_cause(site: Site, body: bytes, kind: str, message: str) -> None:
    answer = site.anonymous.call_api("POST", "client-api/user", data=body, content_type=kind)

    assert answer.status_code == 400
    assert answer.json["message"].startswith(message)


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
def test_body_with_a_byte_order_mark_is_read(site: Site, kind: str) -> None:
    body = b'\xef\xbb\xbf{"nickname": "Maria"}'
    answer = site.anonymous.call_api("POST", "client-api/user", data=body, content_type=kind)

    assert answer.status_code == 201


def test_request_without_a_body_is_refused(site: Site) -> None:
    empty = site.anonymous.call_api(
        "POST", "client-api/user", content_type="application/json", environ_overrides={"CONTENT_LENGTH": "0"}
    )
    unsaid = site.anonymous.call_api("POST", "client-api/user", content_type="application/json")

    assert (empty.status_code, unsaid.status_code) == (400, 411)
    assert empty.json == {"message": "the request has no body; send the JSON as body"}


def test_a_body_that_is_too_long_or_compressed_is_refused(site: Site) -> None:
    long = site.anonymous.call_api("POST", "client-api/user", data=b" " * 200_000, content_type="application/json")
    packed = site.anonymous.call_api(
        "POST", "client-api/user", data=b"{}", content_type="application/json", headers={"Content-Encoding": "gzip"}
    )

    assert (long.status_code, packed.status_code) == (413, 415)
    assert "longer than" in long.json["message"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"body": "x"}, 404, "Chat not found."),
        ({"chatId": "nothing", "body": "x"}, 404, "Chat not found."),
        ({"chatId": "a\x00b"}, 404, "Chat not found."),
        ({"chatId": "CHAT", "body": "é" * 2049}, 400, "maximum allowed body length is 4096 characters"),
        (
            {"chatId": "CHAT", "attachmentIds": [str(n) for n in range(11)]},
            400,
            "maximum number of files allowed is 10",
        ),
        ({"chatId": "CHAT", "body": 5}, 400, "body must be a text"),
        ({"chatId": "CHAT", "attachmentIds": {"a": 1}}, 400, "attachmentIds must be a list of texts"),
        ({"chatId": "CHAT", "attachmentIds": [1]}, 400, "attachmentIds must be a list of texts"),
        ({"chatId": ["CHAT"]}, 400, "chatId must be a text"),
    ],
)
def test_a_message_that_may_not_be_is_refused_and_not_stored(
    maria: Person, body: dict[str, Any], status: int, message: str
) -> None:
    chat = maria.create_chat()
    given_body = {name: chat if value == "CHAT" else value for name, value in body.items()}
    answer = maria.post("client-api/chat/message", given_body)

    assert (answer.status_code, answer.json) == (status, {"message": message})
    assert maria.messages(chat) == []


def test_a_text_of_exactly_the_limit_and_with_a_nul_is_taken(maria: Person, site: Site) -> None:
    chat = maria.create_chat(site.external_bot()[0])

    assert maria.send_message(chat, "é" * 2048)["body"] == "é" * 2048
    assert maria.send_message(chat, "a\x00b")["body"] == "a\ufffdb"


@pytest.mark.parametrize("bot_id", ["", None, "nothing", "a\x00b", "x" * 5000])
def test_a_chat_with_no_bot_is_not_made(maria: Person, bot_id: str | None) -> None:
    answer = maria.post("client-api/chat", {"botId": bot_id})

    assert answer.status_code == (404 if bot_id else 400)
    assert answer.json["message"] == ("Bot not found." if bot_id else "bot id must not be empty")


def test_another_users_chat_is_nobody_elses(site: Site, maria: Person) -> None:
    chat, tom = maria.create_chat(), site.sign_up("Tom")
    maria.send_message(chat, "secret")

    for answer in (
        tom.get(f"client-api/chat/{chat}/messages"),
        tom.delete(f"client-api/chat/{chat}"),
        tom.post("client-api/chat/message", {"chatId": chat, "body": "x"}),
    ):
        assert (answer.status_code, answer.json) == (403, {"message": "Chat is not related to current user."})
    assert tom.get("client-api/chats?bot_id=helpdesk").json == []
    assert "secret" in maria.bodies(chat)


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [("", 400, "Bot ID is required."), ("?bot_id=nothing", 404, "Bot not found."), ("?bot_id=%00", 404, None)],
)
def test_chats_are_asked_for_by_their_bot(maria: Person, query: str, status: int, message: str | None) -> None:
    answer = maria.get(f"client-api/chats{query}")

    assert answer.status_code == status
    assert message in (None, answer.json["message"])


def forged(kind: str, user_id: str) -> str:
    now = int(time.time())
    claims: dict[str, Any] = {"id": user_id, "nickname": "Maria", "exp": now + 600, "iat": now}
    if kind == "unsigned":
        return jwt.encode(claims, None, algorithm="none")
    if kind == "foreign key":
        return jwt.encode(claims, "another-secret-that-is-long-enough-too", algorithm="HS256")
    if kind == "empty key":
        head, body = (base64.urlsafe_b64encode(json.dumps(x).encode()).rstrip(b"=") for x in ({"alg": "HS256"}, claims))
        return b".".join((head, body, b"")).decode()
    changes = {
        "expired": {"exp": now - 1},
        "without end": {"exp": None},
        "end as text": {"exp": "tomorrow"},
        "id as number": {"id": 5},
        "id as list": {"id": [user_id]},
        "without id": {"id": None},
        "stranger": {"id": "01m7xweg9t4sk3k4vgj3d84x5c"},
    }
    changed = {name: value for name, value in {**claims, **changes.get(kind, {})}.items() if value is not None}
    algorithm = "HS512" if kind == "other algorithm" else "HS256"
    key = SECRET * 2 if kind == "other algorithm" else SECRET
    return jwt.encode(changed, key, algorithm=algorithm)


@pytest.mark.parametrize(
    "kind",
    [
        "unsigned",
        "foreign key",
        "empty key",
        "expired",
        "without end",
        "end as text",
        "id as number",
        "id as list",
        "without id",
        "stranger",
        "other algorithm",
    ],
)
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_forged_cookie_is_nobodys(make_site: Callable[..., Site], kind: str) -> None:
    site = make_site(platform_jwt_secret_key=Secret(SECRET))
    maria = site.sign_up()
    good = site.anonymous.get(
        "client-api/chats?bot_id=helpdesk", headers={"Cookie": f"token={forged('good', maria.id)}"}
    )
    answer = site.anonymous.get(
        "client-api/chats?bot_id=helpdesk", headers={"Cookie": f"token={forged(kind, maria.id)}"}
    )

    assert good.status_code == 200
    assert (answer.status_code, answer.json) == (401, {"message": "User is unauthorized."})
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "....", "\xff", "x" * 7000, "null", '"'])
def test_a_cookie_that_is_no_token_is_nobodys(site: Site, token: str) -> None:
    assert site.anonymous.get("client-api/user", headers={"Cookie": f"token={token}"}).status_code == 401


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", "Bot key is required."),
        ("nonsense", "Invalid bot key."),
        ("ghost:any", "Invalid bot key."),
        ("helpdesk:", "Invalid bot key."),
        ("helpdesk:any", "Invalid bot key."),
        (":", "Invalid bot key."),
        ("BOT:", "Invalid bot key."),
        ("BOT:wrong", "Invalid bot key."),
        ("Bearer BOT:TOKEN", "Invalid bot key."),
        ("BOT:TOKENx", "Invalid bot key."),
        ("BOT: TOKEN", "Invalid bot key."),
        ("\xff:\xff", "Invalid bot key."),
        ("BOT:" + "x" * 5000, "Invalid bot key."),
    ],
)
def test_a_wrong_bot_key_in_any_form_opens_nothing(site: Site, key: str, message: str) -> None:
    made = site.external_bot()[1].key
    bot_id, token = made.split(":")
    headers = {"Authorization": key.replace("BOT", bot_id).replace("TOKEN", token)} if key else {}
    answer = site.anonymous.get("bot-api/bot", headers=headers)

    assert (answer.status_code, answer.json) == (403, {"message": message})


def test_key_after_a_second_colon_is_ignored(site: Site) -> None:
    made = site.external_bot()[1].key

    assert site.anonymous.get("bot-api/bot", headers={"Authorization": f"{made}:more"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "client-api/nothing", 404),
        ("POST", "nothing", 404),
        ("POST", "client-api/bots", 405),
        ("DELETE", "client-api/user", 405),
        ("TRACE", "client-api/user", 405),
        ("GET", "client-api/bot/", 404),
        ("GET", "client-api/bot/%00", 404),
        ("GET", "client-api/bot/%ff%fe", 404),
        ("GET", "client-api/bot/" + "x" * 3000, 404),
        ("GET", "client-api/bot/..%2f..%2fetc", 404),
        ("GET", "client-api//bots", 404),
    ],
)
def test_unknown_path_or_method_has_the_protocols_error_body(site: Site, method: str, path: str, status: int) -> None:
    answer = site.anonymous.call_api(method, path)

    assert answer.status_code == status
    assert list(answer.json) == ["message"]
    assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1", 404),
        ("PROPFIND", "/v1/client-api/bots", 405),
        ("POST", "/static/images/x.png", 405),
        ("GET", "/static/x", 404),
        ("POST", "/nope", 404),
        ("GET", "/nope", 404),
        ("POST", "/", 405),
    ],
)
def test_what_is_nowhere_is_refused_with_a_message_too(site: Site, method: str, path: str, status: int) -> None:
    answer = site.anonymous.client.open(path, method=method)

    assert answer.status_code == status
    assert answer.json["message"] == (f"Cannot {method} {path}" if status == 404 else "Method Not Allowed")
    assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", ["client-api/user", "client-api/chat", "page-api/leave"])
def test_pages_of_other_sites_cannot_act_for_a_user(maria: Person, headers: dict[str, str], path: str) -> None:
    answer = maria.post(path, {"botId": "helpdesk", "nickname": "Mallory"}, headers=headers)

    assert (answer.status_code, answer.json) == (403, {"message": "Pages of other sites may not do this."})
    assert maria.get("client-api/chats?bot_id=helpdesk").json == []


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {}]
)
def test_the_platforms_own_page_and_programs_can(maria: Person, headers: dict[str, str]) -> None:
    assert maria.post("client-api/chat", {"botId": "helpdesk"}, headers=headers).status_code == 201


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://chat.example.com"}, 201),
        ({"Origin": "https://CHAT.example.com"}, 201),
        ({"Origin": "https://chat.example.com.evil.example"}, 403),
        ({"Origin": "https://chat.example.com", "Sec-Fetch-Site": "same-origin"}, 201),
        ({"Host": "bots.example.com:443", "Origin": "https://bots.example.com"}, 201),
        ({"Host": "bots.example.com:443", "Origin": "http://bots.example.com"}, 403),
    ],
)
def test_public_url_is_an_own_origin_behind_a_proxy(
    make_site: Callable[..., Site], headers: dict[str, str], status: int
) -> None:
    site = make_site(public_url="https://chat.example.com")
    answer = site.anonymous.post(
        "client-api/user", {"nickname": "Maria"}, headers={"Host": "127.0.0.1:8000", **headers}
    )

    assert answer.status_code == status


@pytest.mark.parametrize("host", ["a b", "[::1", "evil.example/..", "\xff", ""])
def test_an_odd_host_crashes_nothing(site: Site, host: str) -> None:
    answer = site.anonymous.post(
        "client-api/user", {"nickname": "Maria"}, headers={"Origin": "http://x"}, environ_overrides={"HTTP_HOST": host}
    )

    assert answer.status_code == 403


def test_addresses_of_one_household_count_as_one(make_site: Callable[..., Site]) -> None:
    site = make_site(platform_signups=1)

    def sign_up(address: str) -> int:
        there = {"REMOTE_ADDR": address}
        return site.anonymous.post("client-api/user", {"nickname": "Maria"}, environ_overrides=there).status_code

    assert [sign_up(f"2001:db8::{number}") for number in (1, 2)] == [201, 429]
    assert sign_up("2001:db8:0:1::1") == 201
    assert [sign_up(item) for item in ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2")] == [201, 429, 201]


def test_who_sends_or_asks_too_much_has_to_wait(make_site: Callable[..., Site]) -> None:
    site = make_site(platform_messages=3, platform_requests=30, platform_signups=2)
    maria, tom = site.sign_up(), site.sign_up("Tom")
    third = site.anonymous.post("client-api/user", {"nickname": "Third"})
    chat = maria.create_chat()
    sent = [maria.post("client-api/chat/message", {"chatId": chat, "body": "x"}) for _ in range(5)]
    others = tom.post("client-api/chat/message", {"chatId": tom.create_chat(), "body": "x"})
    asked = [site.anonymous.get("client-api/bots").status_code for _ in range(40)]

    assert (third.status_code, third.json["message"][:14]) == (429, "Too many new u")
    assert [answer.status_code for answer in sent] == [201, 201, 201, 429, 429]
    assert int(sent[-1].headers["Retry-After"]) >= 1
    assert others.status_code == 201
    assert asked[0] == 200
    assert asked[-1] == 429


FIELDS = ["nickname", "botId", "chatId", "body", "attachmentIds", "clientId", "action", "name", "url", "title", "alias"]
PLAIN = [None, True, 0, -1, 2**70, 1.5, -0.0, "", "x", "\0", "\ud800", "\U0001f600", "<b>", "a" * 5000, "../..", "null"]


def random_json(rng: random.Random, depth: int = 3) -> Any:
    """Some JSON value."""
    kind = rng.random()
    if depth == 0 or kind < 0.5:
        return rng.choice(PLAIN)
    if kind < 0.7:
        return [random_json(rng, depth - 1) for _ in range(rng.randrange(4))]
    names = rng.choices([*FIELDS, "value", "values", "messageId", "", "\0"], k=rng.randrange(5))
    return {name: random_json(rng, depth - 1) for name in names}


ROUTES = [
    ("POST", "client-api/user"),
    ("POST", "client-api/chat"),
    ("POST", "client-api/chat/message"),
    ("POST", "page-api/chat/CHAT/messages"),
    ("PATCH", "page-api/chat/CHAT"),
    ("PUT", "bot-api/bot"),
    ("POST", "bot-api/bot/commands"),
    ("POST", "bot-api/bot/webhook"),
    ("POST", "bot-api/chat/message"),
    ("POST", "admin-api/bot"),
]


def test_no_json_at_all_ends_in_a_crash(make_site: Callable[..., Site]) -> None:
    site = make_site(handles=False)
    maria, (_, bot) = site.sign_up(), site.external_bot()
    chat, rng = maria.create_chat(), random.Random(4711)
    askers = {"client-api": maria, "page-api": maria, "bot-api": bot, "admin-api": site.admin}
    for method, path in ROUTES * 30:
        body = random_json(rng)
        if isinstance(body, dict) and rng.random() < 0.5:
            body["chatId"] = chat
        asker = askers[path.partition("/")[0]]
        answer = asker.call_api(
            method, path.replace("CHAT", chat), data=json.dumps(body), content_type="application/json"
        )

        assert answer.status_code < 500, (body, answer.text)
        assert answer.status_code < 300 or list(answer.json) == ["message"]


def test_secrets_show_in_no_repr(site: Site) -> None:
    bot_id, external_bot = site.external_bot()
    with site.platform.database.read() as connection:
        bot = site.platform.directory.find(connection, bot_id)

    shown = repr((site.platform.settings, bot, site.running.settings))
    assert ADMIN not in shown
    assert external_bot.key.partition(":")[2] not in shown
