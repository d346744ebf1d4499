"""Which error each answer is, and how long to wait."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from cometbot.channels.cometchat.responses import (
    RateLimitStatus,
    Record,
    error_from_response,
    find_secrets,
    parse_envelope,
    parse_plain,
)
from cometbot.errors import AuthenticationFailed, NotFound, OutcomeUnknown, RateLimited, Rejected
from cometbot.http.responses import HttpResponse


def refused(status: int, code: str = "", message: str = "", details: Any = None, **headers: str) -> HttpResponse:
    error = {"code": code, "message": message, "source": "chat-api", "details": details}
    body = {"error": {name: value for name, value in error.items() if value}}
    return HttpResponse(status, headers, orjson.dumps(body))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "AUTH_ERR_APIKEY_NOT_FOUND", AuthenticationFailed),
        (403, "AUTH_ERR_NO_ACCESS", AuthenticationFailed),
        (400, "ERR_APIKEY_NOT_FOUND", AuthenticationFailed),
        (401, "", AuthenticationFailed),
        (403, "", AuthenticationFailed),
        (404, "ERR_UID_NOT_FOUND", NotFound),
        (400, "ERR_BOT_NOT_FOUND", NotFound),
        (404, "ERR_MSG_NOT_FOUND", NotFound),
        (404, "", NotFound),
        (404, "ERR_NOT_A_MEMBER", Rejected),
        (404, "ERR_GROUP_NOT_JOINED", Rejected),
        (403, "ERR_GROUP_NO_CLEARANCE", Rejected),
        (400, "ERR_BAD_REQUEST", Rejected),
        (400, "ERR_NEVER_HEARD_OF", Rejected),
        (413, "", Rejected),
        (500, "ERR_EMPTY_MESSAGE_TEXT", Rejected),
        (302, "", Rejected),
        (429, "", RateLimited),
        (429, "ERR_TOO_MANY_REQUESTS", RateLimited),
        (400, "ERR_TOO_MANY_REQUESTS", RateLimited),
        (500, "", OutcomeUnknown),
        (500, "ERR_OPERATION_FAILED", OutcomeUnknown),
        (400, "ERR_MISSION_FAILED", OutcomeUnknown),
        (400, "ERR_WS_TIMEOUT", OutcomeUnknown),
        (500, "ERR_NEVER_HEARD_OF", OutcomeUnknown),
        (408, "", OutcomeUnknown),
    ],
)
def test_error_class_follows_code_then_status(status: int, code: str, kind: type[Exception]) -> None:
    assert type(error_from_response(refused(status, code), "POST /messages")) is kind


@pytest.mark.parametrize(("status", "down"), [(500, False), (502, True), (503, True), (504, True), (599, False)])
def test_only_a_gateways_error_speaks_of_the_whole_platform(status: int, down: bool) -> None:
    error = error_from_response(HttpResponse(status, {}, b"<html>Bad gateway</html>"), "POST /messages")
    assert isinstance(error, OutcomeUnknown)
    assert (error.down, error.status) == (down, status)


def test_a_rejection_carries_code_status_and_details() -> None:
    details = {"webhookURL": ["The webhook u r l format is invalid."], "uid": "too long"}
    error = error_from_response(refused(400, "ERR_BAD_REQUEST", "Validation failed.", details), "POST /bots")
    assert isinstance(error, Rejected)
    assert (error.code, error.status) == ("ERR_BAD_REQUEST", 400)
    assert error.details == {"webhookURL": ["The webhook u r l format is invalid."], "uid": ["too long"]}
    assert str(error) == "POST /bots: 400 ERR_BAD_REQUEST: Validation failed."


def test_secrets_are_redacted_from_error_texts() -> None:
    answer = refused(401, "AUTH_ERR_APIKEY_NOT_FOUND", "The key abc123 is unknown.", {"password": ["pw is too short"]})
    error = error_from_response(answer, "GET /bots", ["abc123", "pw", ""])
    assert isinstance(error, Rejected)
    assert "abc123" not in str(error)
    assert "The key *** is unknown." in str(error)
    assert error.details == {"password": ["*** is too short"]}


def test_a_long_error_text_is_cut() -> None:
    assert len(str(error_from_response(refused(400, "ERR_BAD_REQUEST", "x" * 100_000), "POST /messages"))) <= 500


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":"no"}', b'{"error":{"code":5,"message":[]}}'])
def test_error_without_envelope_follows_status(body: bytes) -> None:
    assert type(error_from_response(HttpResponse(404, {}, body), "GET /users/x")) is NotFound


def test_a_yes_gives_its_envelope() -> None:
    answer = HttpResponse(200, {}, b'{"data":[1],"meta":{"current":{"limit":1}}}')
    assert parse_envelope(answer, "GET /x") == {"data": [1], "meta": {"current": {"limit": 1}}}
    assert parse_envelope(HttpResponse(204, {}, b""), "DELETE /x") == {}
    assert parse_envelope(HttpResponse(200, {"Content-Length": "0"}, b""), "DELETE /x") == {}


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b"[]", b"{}", b""])
def test_a_yes_that_is_not_the_platforms_json_is_uncertain(body: bytes) -> None:
    with pytest.raises(OutcomeUnknown, match="COMETCHAT_API_URL"):
        parse_envelope(HttpResponse(200, {}, body), "POST /messages")


@pytest.mark.parametrize(
    ("body", "data"),
    [(b"[1]", [1]), (b'{"agent":{}}', {"agent": {}}), (b'{"data":[1]}', [1]), (b"{}", {}), (b"[]", [])],
)
def test_plain_answer_becomes_an_envelope(body: bytes, data: Any) -> None:
    assert parse_plain(HttpResponse(200, {}, body), "GET /x") == {"data": data}


def test_plain_answer_without_json_is_uncertain() -> None:
    assert parse_plain(HttpResponse(204, {}, b""), "DELETE /x") == {"data": None}
    with pytest.raises(OutcomeUnknown, match="COMETCHAT_API_URL"):
        parse_plain(HttpResponse(200, {}, b"<html>welcome</html>"), "GET /x")


def test_refused_plain_answer_is_an_error_like_any_other() -> None:
    with pytest.raises(NotFound, match="ERR_AGENT_NOT_FOUND"):
        parse_plain(refused(404, "ERR_AGENT_NOT_FOUND"), "PATCH /x")


def test_secrets_of_a_body_are_passwords_and_headers() -> None:
    assert find_secrets({"uid": "a", "password": "pw"}) == ["pw"]
    headers = {"Authorization": "Bearer t0ken", "X-API-Key": "k3y", "X-Number": 5}
    found = find_secrets({"integrationMeta": {"url": "https://x", "headers": headers}})
    assert set(filter(None, found)) == {"Bearer t0ken", "t0ken", "k3y"}
    assert find_secrets({"integrationMeta": "x", "password": 5}) == []


def test_rate_limited_response_has_retry_after() -> None:
    error = error_from_response(refused(429, "ERR_TOO_MANY_REQUESTS", **{"Retry-After": "3"}), "POST /messages")
    assert isinstance(error, RateLimited)
    assert error.retry_after == 3


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Rate-Limit": "20000", "X-Rate-Limit-Remaining": "19999"},
        {"x-rate-limit": "20000", "x-rate-limit-remaining": "19999"},
        {"X-RateLimit-Limit": "20000", "X-RateLimit-Remaining": "19999"},
        {"X-Rate-Limit-Limit": "20000", "X-Rate-Limit-Remaining": "19999"},
    ],
)
def test_the_rate_is_read_in_every_spelling(headers: dict[str, str]) -> None:
    assert RateLimitStatus.from_headers(headers, 5.0) == RateLimitStatus(20000, 19999, 5.0)


def test_response_without_rate_headers_has_no_status() -> None:
    assert RateLimitStatus.from_headers({"Content-Type": "application/json"}, 5.0) is None
    assert RateLimitStatus.from_headers({"X-Rate-Limit": "many"}, 5.0) is None
    assert RateLimitStatus.from_headers({"X-Rate-Limit-Remaining": "4"}, 5.0) == RateLimitStatus(None, 4, 5.0)


def test_a_record_masks_what_the_platform_returns_in_clear() -> None:
    record = Record(uid="helpdesk-bot", password="s3cr3t", authToken="t0ken", apiKey="k3y")
    assert record["password"] == "s3cr3t"
    assert repr(record) == "{'uid': 'helpdesk-bot', 'password': '***', 'authToken': '***', 'apiKey': '***'}"
    assert "s3cr3t" not in f"{record}"


def test_a_record_masks_the_headers_of_an_agent() -> None:
    record = Record(uid="a", integrationMeta={"url": "https://x", "headers": {"Authorization": "Bearer t0ken"}})
    assert repr(record) == "{'uid': 'a', 'integrationMeta': {'url': 'https://x', 'headers': '***'}}"


def test_half_an_emoji_in_an_answer_is_replaced() -> None:
    answer = HttpResponse(200, {}, b'{"data": [{"id": "1", "data": {"text": "ok \\ud83d"}}, {"id": "2"}]}')

    assert parse_envelope(answer, "history")["data"] == [{"id": "1", "data": {"text": "ok \ufffd"}}, {"id": "2"}]
