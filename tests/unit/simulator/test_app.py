from __future__ import annotations

import logging
from typing import Any

import pytest

from cometbot.simulator import Simulator

HELLO = {
    "receiver": "maria", "receiverType": "user", "category": "message", "type": "text", "data": {"text": "hello"},
}  # fmt: skip
SEND = "/bots/helpdesk/messages"


def code_of(response: Any) -> tuple[int, str]:
    return response.status_code, response.get_json()["error"]["code"]


@pytest.mark.parametrize(
    ("key", "expected"),
    [("", (401, "AUTH_ERR_EMPTY_APIKEY")), ("wrong", (401, "AUTH_ERR_APIKEY_NOT_FOUND"))],
)
def test_a_missing_or_unknown_key_is_refused(rest: Any, key: str, expected: Any) -> None:
    assert code_of(rest("GET", "/bots", key=key)) == expected


def test_auth_only_key_creates_only_users_and_tokens(rest: Any, simulator: Simulator) -> None:
    key = simulator.auth_key
    assert rest("POST", "/users", {"uid": "anna", "name": "Anna"}, key=key).status_code == 200
    assert rest("POST", "/users/anna/auth_tokens", key=key).status_code == 200
    assert code_of(rest("GET", "/users/anna", key=key)) == (403, "AUTH_ERR_NO_ACCESS")
    assert code_of(rest("POST", SEND, HELLO, key=key)) == (403, "AUTH_ERR_NO_ACCESS")
    assert code_of(rest("GET", "/nothing", key=key)) == (403, "AUTH_ERR_NO_ACCESS")


def test_a_foreign_app_id_is_refused(rest: Any, simulator: Simulator) -> None:
    assert code_of(rest("GET", "/bots", headers={"appId": "other"})) == (401, "AUTH_ERR_INVALID_APPID")
    assert rest("GET", "/bots", headers={"appId": simulator.app_id}).status_code == 200


def test_unknown_paths_methods_and_versions_have_their_codes(rest: Any, simulator: Simulator) -> None:
    assert code_of(rest("GET", "/roles/x/y/z")) == (404, "ERR_API_NOT_FOUND")
    assert code_of(rest("PATCH", "/bots")) == (404, "ERR_API_NOT_FOUND")
    client = simulator.app.test_client()
    headers = {"apikey": simulator.api_key}
    assert code_of(client.get("/v2.0/bots", headers=headers)) == (404, "ERR_INVALID_API_VERSION")
    assert client.get("/v3.0/bots", headers=headers).status_code == 200
    assert client.get("/elsewhere").status_code == 404


@pytest.mark.parametrize(
    ("data", "content_type", "field"),
    [
        (b"{", "application/json", "body"),
        (b"[]", "application/json", "body"),
        (b"{}", "text/plain", "Content-Type"),
        (b'{"a": NaN}', "application/json", "body"),
        (b"\xff", "application/json", "body"),
        (b'{"a":' + b"[" * 250 + b"]" * 250 + b"}", "application/json", "body"),
        (b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}", "application/json", "body"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(rest: Any, data: bytes, content_type: str, field: str) -> None:
    answer = rest("POST", SEND, data=data, headers={"Content-Type": content_type})
    assert code_of(answer) == (400, "ERR_BAD_REQUEST")
    assert list(answer.get_json()["error"]["details"]) == [field]


def test_a_bug_in_the_simulator_is_answered_and_logged(
    rest: Any, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.world.serializer = None  # type: ignore[assignment]
    with caplog.at_level(logging.ERROR):
        assert code_of(rest("POST", SEND, HELLO)) == (500, "ERR_EXCEPTION")
    assert "failed to answer a request" in caplog.text


def test_every_answer_tells_what_is_left_of_the_limit(rest: Any) -> None:
    first = rest("POST", SEND, HELLO)
    assert (first.headers["X-Rate-Limit"], first.headers["X-Rate-Limit-Remaining"]) == ("20000", "19999")
    for answer in (rest("GET", "/nothing"), rest("POST", SEND, {}), rest("GET", "/bots", key="wrong")):
        assert answer.headers["X-Rate-Limit"] == "20000"
    core = rest("POST", "/users", {"uid": "x", "name": "x"})
    assert (core.headers["X-Rate-Limit"], core.headers["X-Rate-Limit-Remaining"]) == ("10000", "9999")


def test_over_the_limit_is_429_until_the_minute_is_over(rest: Any, simulator: Simulator, clock: Any) -> None:
    clock.time = 1_767_225_620.5
    simulator.configure(standard_limit=2)
    assert [rest("POST", SEND, HELLO).status_code for _ in range(3)] == [200, 200, 429]
    refused = rest("POST", SEND, HELLO)
    assert code_of(refused) == (429, "ERR_TOO_MANY_REQUESTS")
    assert refused.headers["Retry-After"] == "40"
    assert refused.headers["X-Rate-Limit-Reset"] == "1767225660"
    assert refused.headers["X-Rate-Limit-Remaining"] == "0"
    assert len(simulator.messages()) == 2
    assert rest("POST", "/users", {"uid": "x", "name": "x"}).status_code == 200
    clock.time += 40
    assert rest("POST", SEND, HELLO).status_code == 200


def test_each_call_is_in_the_log_with_its_answer(rest: Any, simulator: Simulator) -> None:
    rest("POST", SEND, HELLO)
    rest("GET", "/users?perPage=1&page=2", acting="maria")
    rest("POST", SEND, {"receiver": "maria"})
    sent, listed, refused = simulator.requests
    assert (sent.method, sent.path, sent.status, sent.body) == ("POST", f"/v3{SEND}", 200, HELLO)
    assert sent.answer["data"]["data"]["text"] == "hello"
    assert sent.seconds > 0
    assert listed.query == {"perPage": "1", "page": "2"}
    assert listed.headers["onbehalfof"] == "maria"
    assert (refused.status, refused.answer["error"]["code"]) == (400, "ERR_INVALID_RECEIVER_TYPE")
    assert sent.id < listed.id < refused.id


def test_a_refused_call_is_in_the_log_with_its_body(rest: Any, simulator: Simulator) -> None:
    rest("POST", SEND, HELLO, key="wrong")
    assert (simulator.requests[0].status, simulator.requests[0].body) == (401, HELLO)


def test_secrets_are_masked_in_the_log_and_only_there(rest: Any, simulator: Simulator) -> None:
    shown = rest("PUT", "/bots/helpdesk", {"password": "hush-hush"}).get_json()
    assert shown["data"]["password"] == "hush-hush"
    rest("GET", "/bots")
    rest("GET", "/bots/helpdesk")
    rest("POST", "/users", {"uid": "anna", "name": "Anna", "withAuthToken": True})
    rest("POST", "/users/anna/auth_tokens")
    token = next(iter(simulator.world.directory.users["anna"].auth_tokens))
    log = repr(list(simulator.requests))
    assert not [secret for secret in ("hush-hush", token, simulator.api_key) if secret in log]
    assert simulator.requests[0].body == {"password": "***"}


def test_message_content_is_not_masked(rest: Any, simulator: Simulator) -> None:
    data = {"customData": {"password": "shown"}}
    rest("POST", SEND, {**HELLO, "category": "custom", "data": data})
    assert simulator.requests[0].body["data"] == data


def test_rate_limit_answers_before_it_acts(rest: Any, simulator: Simulator) -> None:
    simulator.misbehave.rate_limit(times=2, retry_after=3)
    answers = [rest("POST", SEND, HELLO) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "3"
    assert answers[0].headers["X-Rate-Limit-Reset"] == "1767225603"
    assert answers[0].headers["X-Rate-Limit"] == "20000"
    assert len(simulator.messages()) == 1
    assert [entry.misbehaviour for entry in simulator.requests] == [("rate_limit",), ("rate_limit",), ()]


@pytest.mark.parametrize(
    ("reset", "headers"),
    [
        ("milliseconds", {"X-Rate-Limit-Reset": "1767225602000"}),
        ("relative", {"X-Rate-Limit-Reset": "2"}),
        ("date", {"Retry-After": "Thu, 01 Jan 2026 00:00:02 GMT"}),
        ("past", {"Retry-After": "Wed, 31 Dec 2025 23:59:00 GMT"}),
        ("none", {}),
    ],
)
def test_rate_limit_names_the_reset_in_the_form_asked_for(
    rest: Any, simulator: Simulator, reset: str, headers: dict[str, str]
) -> None:
    simulator.misbehave.rate_limit(times=1, retry_after=2, reset=reset)
    answer = rest("POST", SEND, HELLO)
    names = ("Retry-After", "X-Rate-Limit-Reset")
    assert {name: answer.headers[name] for name in names if name in answer.headers} == headers


def test_fail_acts_only_where_it_is_to_fail_after(rest: Any, simulator: Simulator) -> None:
    simulator.misbehave.fail(503, times=1)
    simulator.misbehave.fail(500, code="ERR_MISSION_FAILED", after=True, times=1)
    assert code_of(rest("POST", SEND, HELLO)) == (503, "ERR_EXCEPTION")
    assert len(simulator.messages()) == 0
    assert code_of(rest("POST", SEND, HELLO)) == (500, "ERR_MISSION_FAILED")
    assert len(simulator.messages()) == 1
    assert simulator.requests[1].answer["error"]["code"] == "ERR_MISSION_FAILED"
    assert rest("POST", SEND, HELLO).status_code == 200


def test_drop_closes_before_or_after_it_acts(rest: Any, simulator: Simulator) -> None:
    simulator.misbehave.drop(times=1)
    simulator.misbehave.drop(before=False, times=1)
    with pytest.raises(ConnectionResetError):
        rest("POST", SEND, HELLO)
    assert len(simulator.messages()) == 0
    with pytest.raises(ConnectionResetError):
        rest("POST", SEND, HELLO)
    assert len(simulator.messages()) == 1
    assert [(entry.status, entry.body) for entry in simulator.requests] == [(0, HELLO), (0, HELLO)]


def test_slow_waits_and_then_acts(rest: Any, simulator: Simulator) -> None:
    simulator.misbehave.slow(0.02)
    assert rest("POST", SEND, HELLO).status_code == 200
    assert simulator.requests[0].seconds >= 0.02


def test_misbehaviour_is_for_sending_unless_routes_are_named(rest: Any, simulator: Simulator) -> None:
    simulator.misbehave.fail(500)
    assert rest("GET", "/bots").status_code == 200
    assert rest("POST", "/messages", HELLO).status_code == 500
    simulator.misbehave.clear()
    simulator.misbehave.fail(502, routes="GET /users/*")
    assert rest("POST", SEND, HELLO).status_code == 200
    assert rest("GET", "/users/maria").status_code == 502
    assert rest("GET", "/users").status_code == 200
