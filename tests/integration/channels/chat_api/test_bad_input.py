"""What is no good request is refused with what is wrong with it, never with a 5xx, and loses nothing."""

from __future__ import annotations

import threading
from typing import Any

import orjson
import pytest

from cometbot.settings import Secret
from tests.integration.channels.chat_api.conftest import MakeSite, Person, Site
from tests.integration.channels.chat_api.test_operations import check_error

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def ann(site: Site) -> Person:
    return site.sign_up(name="Ann")


@pytest.fixture(scope="module")
def here(ann: Person) -> str:
    return ann.create_conversation()


def post(person: Person, path: str, body: bytes, **headers: str) -> Any:
    return person.site.client.post(
        f"/chat/helper{path}", data=body, headers={**JSON, "x-user-key": person.key, **headers}
    )


def message(place: str, payload: object, **more: object) -> dict[str, object]:
    return {"conversationId": place, "payload": payload, **more}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/"),
        ("GET", "/nothing"),
        ("GET", "/users"),
        ("DELETE", "/users"),
        ("PATCH", "/users/me"),
        ("TRACE", "/hello"),
        ("PROPFIND", "/users/me"),
        ("FOO", ""),
        ("POST", "/hello"),
        ("POST", "/users/me/more"),
        ("GET", "/conversations/a/b/c"),
        ("GET", "/messages"),
        ("HEAD", "/conversations/x/listen"),
        ("GET", "/..%2f..%2fetc%2fpasswd"),
        ("GET", "/%00"),
        ("GET", "/%ff%fe"),
    ],
)
def test_unknown_routes_and_methods_have_the_full_body_too(ann: Person, method: str, path: str) -> None:
    answer = ann.call_api(method, path)
    if method == "HEAD":
        assert answer.status_code == 404
    else:
        check_error(answer, 404, "ResourceNotFound")


def test_an_unknown_bot_is_refused(site: Site) -> None:
    check_error(site.call_api("GET", "/hello", bot="nobody"), 404, "ResourceNotFound")
    check_error(site.call_api("OPTIONS", "/users", bot="nobody"), 404, "ResourceNotFound")


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"a": NaN}', b"nul", b'{"a": "\\ud800"}', b"\x00", b"[" * 5000])
def test_what_is_no_json_is_refused(ann: Person, body: bytes) -> None:
    text = check_error(post(ann, "/messages", body), 400, "InvalidPayload")
    assert text.startswith("Invalid JSON body")


def test_body_with_a_byte_order_mark_is_read(ann: Person) -> None:
    answer = post(ann, "/users", b'\xef\xbb\xbf{"name": "Maria"}')

    assert (answer.status_code, answer.json["user"]["name"]) == (201, "Maria")


@pytest.mark.parametrize("body", [b"[]", b"1", b'"text"', b"null", b"true"])
def test_json_that_is_no_object_is_refused(ann: Person, body: bytes) -> None:
    check_error(post(ann, "/messages", body), 400, "InvalidPayload")


def test_broken_json_is_refused_where_the_body_does_not_count(ann: Person, here: str) -> None:
    answer = ann.site.client.delete("/chat/helper/messages/x", data=b"{", headers={"x-user-key": ann.key})
    check_error(answer, 400, "InvalidPayload")


def test_a_missing_body_is_refused(ann: Person) -> None:
    for method, path in (("POST", "/users"), ("PUT", "/users/me"), ("POST", "/messages")):
        check_error(ann.call_api(method, path), 400, "InvalidPayload")
        check_error(ann.call_api(method, path, data=b"", headers=JSON), 400, "InvalidPayload")


def test_json_that_is_nested_a_thousand_levels_deep_is_refused(ann: Person, here: str) -> None:
    for levels in (101, 500, 1000):
        deep = b'{"a":' * levels + b"1" + b"}" * levels
        body = b'{"conversationId":"%s","payload":{"type":"text","text":"x"},"metadata":%s}' % (here.encode(), deep)
        check_error(post(ann, "/messages", body), 400, "InvalidPayload")


def test_json_that_is_nested_a_little_comes_back_as_it_was(ann: Person, here: str) -> None:
    value: Any = 1
    for _ in range(95):
        value = [value]
    answer = ann.post("/messages", message(here, {"type": "text", "text": "deep"}, metadata={"a": value}))
    assert answer.json["message"]["metadata"] == {"a": value}


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 10 * 1024 * 1024, 17 * 1024 * 1024])
def test_a_body_that_is_too_large_is_refused(ann: Person, here: str, size: int) -> None:
    check_error(post(ann, "/messages", b" " * size), 413, "PayloadTooLarge")


def test_the_longest_text_there_can_be_is_taken(ann: Person) -> None:
    place = ann.create_conversation()
    text = "x" * (1024 * 1024 - 300)
    assert ann.send_text(place, text)["payload"]["text"] == text


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_is_not_called_json_is_refused(ann: Person, content_type: str) -> None:
    check_error(post(ann, "/users/get-or-create", b"{}", **{"content-type": content_type}), 415, "UnsupportedMediaType")


def test_a_packed_body_is_refused(ann: Person) -> None:
    answer = post(ann, "/users/get-or-create", b"{}", **{"content-encoding": "gzip"})
    check_error(answer, 415, "UnsupportedMediaType")


def test_missing_key_is_refused_after_body_validation(site: Site) -> None:
    text = check_error(site.call_api("GET", "/users/me"), 400, "InvalidPayload")
    assert "x-user-key" in text
    assert "type" in check_error(
        site.call_api("POST", "/messages", message("x", {"type": "no"})), 400, "InvalidPayload"
    )
    check_error(site.call_api("GET", "/conversations/x/listen"), 400, "InvalidPayload")


@pytest.mark.parametrize("key", ["x", "a.b.c", "e30.e30.e30", "eyJhbGciOiJub25lIn0.eyJpZCI6ImFubiJ9.", "ä", "." * 4000])
def test_a_key_that_is_none_is_refused(site: Site, key: str) -> None:
    for method, path, body in (("GET", "/users/me", None), ("GET", "/conversations/x/listen", None)):
        answer = site.call_api(method, path, body, headers={"x-user-key": key.encode().decode("latin-1")})
        assert check_error(answer, 401, "Unauthorized") == "Invalid user key"


def test_body_is_validated_before_the_key(site: Site) -> None:
    answer = site.call_api("POST", "/messages", {}, headers={"x-user-key": "nonsense"})
    check_error(answer, 400, "InvalidPayload")


@pytest.mark.parametrize(
    "own_id",
    ["", "a b", "a.b", "../x", "x" * 71, "é", "a\nb", "a\0b", "a'; DROP TABLE chat_users; --", "a:b", "\r\nX: y"],
)
def test_an_own_id_of_bad_form_is_refused(site: Site, ann: Person, own_id: str) -> None:
    for answer in (
        site.call_api("POST", "/users", {"id": own_id}),
        ann.post("/conversations", {"id": own_id}),
        ann.post("/conversations/get-or-create", {"id": own_id}),
    ):
        check_error(answer, 400, "InvalidPayload")
        assert "\n" not in str(answer.headers).replace("\r\n", "")


@pytest.mark.parametrize(
    "odd", ["..%2F..", "%00", "a%20b", "%27%20OR%201%3D1%20--", "x" * 500, "%E2%82%AC", "%0d%0aX:y"]
)
def test_an_odd_id_in_a_path_is_nobodys(ann: Person, odd: str) -> None:
    check_error(ann.get(f"/conversations/{odd}"), 404, "ResourceNotFound")
    check_error(ann.delete(f"/conversations/{odd}"), 404, "ResourceNotFound")
    check_error(ann.get(f"/messages/{odd}"), 404, "ResourceNotFound")
    check_error(ann.delete(f"/messages/{odd}"), 404, "ResourceNotFound")
    check_error(ann.get(f"/events/{odd}"), 404, "ResourceNotFound")
    check_error(ann.get(f"/conversations/{odd}/messages"), 403, "Forbidden")
    check_error(ann.get(f"/conversations/{odd}/participants"), 403, "Forbidden")
    check_error(ann.get(f"/conversations/{odd}/listen"), 403, "Forbidden")
    check_error(ann.get(f"/conversations/{odd}/participants/{odd}"), 404, "ResourceNotFound")


@pytest.mark.parametrize(
    ("path", "body", "fault"),
    [
        ("/users", {"name": None}, "name"),
        ("/users", {"id": 1}, "id"),
        ("/users", {"profile": "x" * 1001}, "profile"),
        ("/users/get-or-create", {"pictureUrl": []}, "pictureUrl"),
        ("/conversations", {"id": None}, "id"),
        ("/conversations/get-or-create", {}, "id"),
        ("/messages", {}, "conversationId"),
        ("/messages", {"conversationId": "x"}, "payload"),
        ("/messages", {"conversationId": "x", "payload": None}, "payload"),
        ("/messages", {"conversationId": "x", "payload": "text"}, "payload"),
        ("/messages", {"conversationId": "x", "payload": {"type": "text", "text": "x"}, "metadata": []}, "metadata"),
        ("/events", {"conversationId": "x"}, "payload"),
        ("/events", {"conversationId": "x", "payload": []}, "payload"),
        ("/events", {"conversationId": 7, "payload": {}}, "conversationId"),
    ],
)
def test_a_wrong_field_is_named(ann: Person, path: str, body: object, fault: str) -> None:
    assert fault in check_error(ann.post(path, body), 400, "InvalidPayload")


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        ({"type": "text"}, "payload.text"),
        ({"type": "text", "text": ""}, "payload.text"),
        ({"type": "text", "text": 1}, "payload.text"),
        ({"type": "nothing"}, "payload.type"),
        ({"type": ["text"]}, "payload.type"),
        ({"text": "x"}, "payload.type"),
        ({"type": "image"}, "payload.imageUrl"),
        ({"type": "file", "fileUrl": "x", "title": ""}, "payload.title"),
        ({"type": "location", "latitude": "1", "longitude": 2}, "payload.latitude"),
        ({"type": "location", "latitude": True, "longitude": 2}, "payload.latitude"),
        ({"type": "card", "title": "x"}, "payload.actions"),
        (
            {"type": "card", "title": "x", "actions": [{"action": "buy", "label": "x", "value": "x"}]},
            "payload.actions.0.action",
        ),
        ({"type": "carousel", "items": [{"title": "x", "actions": []}]}, "payload.items.0.type"),
        ({"type": "choice", "text": "x", "options": [{"label": "x"}]}, "payload.options.0.value"),
        ({"type": "dropdown", "text": "x", "options": {}}, "payload.options"),
        ({"type": "bloc", "items": [{"type": "card", "title": "x", "actions": []}]}, "payload.items.0.type"),
        ({"type": "bloc", "items": [{"type": "bloc", "items": []}]}, "payload.items.0.type"),
    ],
)
def test_a_wrong_payload_is_refused_with_its_place(ann: Person, here: str, payload: object, fault: str) -> None:
    assert fault in check_error(ann.post("/messages", message(here, payload)), 400, "InvalidPayload")


def test_a_number_that_is_none_is_refused(ann: Person, here: str) -> None:
    body = b'{"conversationId":"%s","payload":{"type":"location","latitude":1e999,"longitude":2}}' % here.encode()
    check_error(post(ann, "/messages", body), 400, "InvalidPayload")


def test_texts_that_harm_others_are_only_texts_here(site: Site) -> None:
    person = site.sign_up(name="'; DROP TABLE chat_messages; --", profile="a\0b\r\nX-Evil: 1")
    place = person.create_conversation()
    text = "a\0b '); DELETE FROM chat_users; -- \r\nSet-Cookie: x=1 <script>"

    assert person.get("/users/me").json["user"]["profile"] == "a\0b\r\nX-Evil: 1"
    assert person.send_text(place, text)["payload"]["text"] == text
    assert person.wait_messages(place, 2)[1]["payload"]["text"].endswith(text)


def test_a_flood_from_one_user_is_refused_and_others_go_on(make_site: MakeSite) -> None:
    site = make_site(chat_api_requests=5)
    ann, bob = site.sign_up(), site.sign_up()
    answers = [ann.get("/users/me") for _ in range(7)]

    assert [answer.status_code for answer in answers[:5]] == [200] * 5
    check_error(answers[5], 429, "RateLimited")
    assert int(answers[5].headers["Retry-After"]) >= 1
    assert answers[5].headers["RateLimit-Limit"] == "5"
    assert answers[5].headers["RateLimit-Remaining"] == "0"
    assert bob.get("/users/me").status_code == 200


def test_users_are_not_made_without_end_from_one_address(make_site: MakeSite) -> None:
    site = make_site(chat_api_requests=5)
    answers = [site.call_api("POST", "/users", {}) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [201] * 5 + [429]


def test_new_users_of_an_address_are_limited_for_all_bots(make_site: MakeSite) -> None:
    site = make_site(chat_api_signups=2)
    ann = site.sign_up()
    site.sign_up()
    refused_one = site.call_api("POST", "/users", {})
    elsewhere = site.call_api("POST", "/users", {}, environ_overrides={"REMOTE_ADDR": "192.0.2.1"})

    assert "new users" in check_error(refused_one, 429, "RateLimited")
    assert int(refused_one.headers["Retry-After"]) > 60
    assert elsewhere.status_code == 201
    assert ann.get("/users/me").status_code == 200


def test_manual_mode_refuses_sign_ups_without_counting_them(make_site: MakeSite) -> None:
    site = make_site(chat_api_signups=1, chat_api_encryption_key=Secret("k" * 16))
    for _ in range(3):
        check_error(site.call_api("POST", "/users", {}), 401, "Unauthorized")


def test_a_user_has_only_so_many_conversations(make_site: MakeSite) -> None:
    site = make_site(chat_api_conversations=3)
    ann = site.sign_up()
    first = ann.create_conversation()
    for _ in range(2):
        ann.create_conversation()

    check_error(ann.post("/conversations", {}), 403, "QuotaExceeded")
    check_error(ann.post("/conversations/get-or-create", {"id": "one-more"}), 403, "QuotaExceeded")
    assert ann.post("/conversations/get-or-create", {"id": first}).status_code == 201
    ann.delete(f"/conversations/{first}")
    assert ann.post("/conversations", {}).status_code == 201


def test_a_database_that_is_busy_is_a_503_with_the_full_body(
    site: Site, ann: Person, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cometbot.errors import StoreBusy

    def busy(*arguments: object, **options: object) -> None:
        raise StoreBusy

    monkeypatch.setattr(site.running.delivery.database, "group_commit", busy)
    answer = ann.post("/messages", message(here, {"type": "text", "text": "x"}))
    check_error(answer, 503, "Internal")
    assert answer.headers["Retry-After"] == "1"


def test_unexpected_error_has_the_full_body_and_is_logged(
    site: Site, ann: Person, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ValueError("a fault of ours")

    monkeypatch.setattr(site.channel.chat.users, "get", fail)
    answer = ann.get("/users/me")
    check_error(answer, 500, "Internal")
    assert "a fault of ours" not in answer.text
    assert "a fault of ours" in caplog.text


def test_every_ordinary_answer_ends_its_connection(site: Site, ann: Person) -> None:
    for answer in (
        ann.get("/users/me"),
        ann.get("/nothing"),
        site.call_api("GET", "/hello/"),
        site.call_api("OPTIONS", "/users"),
    ):
        assert answer.headers["Connection"] == "close"


def test_keys_show_in_no_refusal(ann: Person, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    spoiled = ann.key[:-2]
    for answer in (ann.get("/nothing"), ann.site.call_api("GET", "/users/me", headers={"x-user-key": spoiled})):
        assert ann.key not in answer.text
        assert spoiled not in answer.text
    assert spoiled not in caplog.text


def test_the_largest_whole_numbers_come_back(ann: Person, here: str) -> None:
    body = b'{"conversationId":"%s","payload":{"n":18446744073709551615,"m":-9223372036854775808}}' % here.encode()
    answer = post(ann, "/events", body)
    assert orjson.loads(answer.data)["event"]["payload"] == {"n": 18446744073709551615, "m": -9223372036854775808}


def test_concurrent_requests_respect_the_conversation_limit(make_site: MakeSite) -> None:
    site = make_site(chat_api_conversations=3)
    ann = site.sign_up()
    gate = threading.Barrier(8)
    statuses: list[int] = []

    def make() -> None:
        gate.wait()
        statuses.append(ann.post("/conversations", {}).status_code)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201] * 3 + [403] * 5
