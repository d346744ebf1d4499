"""``POST /agui/<bot>``: who may call it, what is refused before the stream, and what the stream looks like."""

from __future__ import annotations

import hmac
import json
from typing import Any

import pytest

from cometbot import Bot, Button, Card, Choices, ClientTool, Context, Media, Text
from cometbot.channels.agui.settings import AguiSettings
from cometbot.errors import StoreBusy
from cometbot.http.sse import STREAMS
from tests.integration.channels.agui.conftest import TOKENS, MakeSite, Site, make_request


@pytest.fixture
def bot() -> Bot:
    bot = Bot("shop")

    @bot.message("user")
    def user(ctx: Context) -> str:
        return ctx.sender_id

    @bot.message("card")
    def card(ctx: Context) -> list[Any]:
        return [
            Card("Tea", "Green", buttons=[Button("Buy", "buy", {"id": 7})]),
            Choices("Size?", ["S", "M"]),
            Text("x"),
        ]

    @bot.message("map")
    def show(ctx: Context) -> str:
        return f"shown: {ctx.call('show_map', place='Rome')}"

    @bot.message("silent")
    def silent(ctx: Context) -> None:
        return None

    bot.fallback(lambda ctx: f"echo {ctx.text}")
    return bot


@pytest.fixture
def site(make_site: MakeSite, bot: Bot) -> Site:
    return make_site(bot)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {TOKENS[0]}"},
        {"Authorization": f"bearer  {TOKENS[1]} "},
        {"Authorization": "", "X-API-Key": TOKENS[1]},
        {"Authorization": "Basic dTpw", "X-API-Key": TOKENS[0]},
    ],
)
def test_each_token_is_accepted_in_both_headers(site: Site, headers: dict[str, str]) -> None:
    assert site.ask(make_request("hi"), headers=headers).texts == ["echo hi"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {TOKENS[0][:-1]}"},
        {"Authorization": f"Bearer {TOKENS[0]}0"},
        {"Authorization": f"Bearer {TOKENS[0].upper()}"},
        {"Authorization": f"Bearer {TOKENS[0]},{TOKENS[1]}"},
        {"Authorization": TOKENS[0]},
        {"Authorization": f"Basic {TOKENS[0]}"},
        {"Authorization": "", "X-API-Key": f"Bearer {TOKENS[0]}"},
        {"Authorization": "", "X-API-Key": "é" * 32},
    ],
)
def test_other_tokens_are_refused_before_anything_is_read(site: Site, headers: dict[str, str]) -> None:
    refused = site.read(b"no json", headers=headers)
    assert refused.error == (401, "ERR_UNAUTHORIZED")
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert site.read(b"no json", bot="nobody", headers=headers).error == (401, "ERR_UNAUTHORIZED")


def test_all_tokens_are_compared_in_constant_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def record(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", record)
    for token in (TOKENS[0], TOKENS[1], "wrong", "x" * 5000, ""):
        compared.clear()
        site.read(make_request("hi"), headers={"Authorization": f"Bearer {token}"})
        assert len(compared) == 2 * len(TOKENS)
        assert {len(item) for pair in compared for item in pair} == {32}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", (411, "ERR_LENGTH_REQUIRED")),
        (b"no json", (400, "ERR_BAD_REQUEST")),
        (b"[]", (400, "ERR_BAD_REQUEST")),
        (b'"text"', (400, "ERR_BAD_REQUEST")),
        (b"\xff\xfe", (400, "ERR_BAD_REQUEST")),
    ],
)
def test_body_that_is_no_object_is_refused(site: Site, body: bytes, error: tuple[int, str]) -> None:
    assert site.read(body).error == error


def test_body_over_the_limit_is_refused(make_site: MakeSite, bot: Bot) -> None:
    site = make_site(bot, max_body_size=1000)
    assert site.read(make_request("x" * 1000)).error == (413, "ERR_BODY_TOO_LARGE")
    assert site.ask(make_request("x")).texts == ["echo x"]


def test_limit_is_a_megabyte() -> None:
    assert AguiSettings(tokens=()).max_body_size == 1024 * 1024


def test_other_forms_of_bodies_are_refused(site: Site) -> None:
    headers = {"Authorization": f"Bearer {TOKENS[0]}"}
    for more in ({"content_type": "text/plain"}, {"content_type": "multipart/form-data; boundary=x"}):
        response = site.http.post("/agui/shop", data=b"{}", headers=headers, **more)
        assert (response.status_code, response.json["error"]["code"]) == (415, "ERR_UNSUPPORTED_MEDIA_TYPE")
    packed = {**headers, "Content-Encoding": "gzip"}
    response = site.http.post("/agui/shop", data=b"{}", headers=packed, content_type="application/json")
    assert (response.status_code, response.json["error"]["code"]) == (415, "ERR_UNSUPPORTED_ENCODING")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(site: Site, method: str) -> None:
    response = site.http.open("/agui/shop", method=method)
    assert response.status_code in (200, 405)
    assert "POST" in response.headers["Allow"]


def test_unknown_bot_is_not_found(site: Site) -> None:
    assert site.read(make_request("hi"), bot="nobody").error == (404, "ERR_BOT_NOT_FOUND")


def test_stream_has_the_headers_that_proxies_need(site: Site) -> None:
    answer = site.ask(make_request("hi"))
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-cache, no-transform"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.received.startswith(b'data: {"type":"RUN_STARTED"')


def test_handler_that_says_nothing_ends_the_run(site: Site) -> None:
    kinds = [event["type"] for event in site.ask(make_request("silent")).events]
    assert kinds == ["RUN_STARTED", "RUN_FINISHED"]


@pytest.mark.parametrize("messages", [[], [{"role": "assistant", "content": "Hi!"}], "text", None])
def test_request_for_nothing_is_an_error_and_stores_nothing(site: Site, messages: Any) -> None:
    answer = site.read({"threadId": "t", "runId": "r", "messages": messages})
    assert (answer.last["type"], answer.last["code"]) == ("RUN_ERROR", "NO_MESSAGE")
    assert site.rows() == []


def test_request_without_ids_gets_new_ones(site: Site) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}]}
    first, second = site.read(body).events[0], site.read(body).events[0]
    assert first["threadId"] != second["threadId"]
    assert first["runId"] != second["runId"]


def test_odd_ids_come_back_as_they_were(site: Site) -> None:
    body = make_request("hi", run="r / ü\n", thread="a thread / with 😀")
    answer = site.ask(body)
    assert answer.texts == ["echo hi"]
    assert answer.events[0]["threadId"] == body["threadId"]
    assert (answer.last["threadId"], answer.last["runId"]) == (body["threadId"], body["runId"])


def test_user_is_the_thread_or_that_of_the_trusted_header(make_site: MakeSite, site: Site, bot: Bot) -> None:
    spoof = {"X-User": "admin"}
    assert site.ask(make_request("user", thread="t-1"), headers=spoof).texts == ["t-1"]

    trusting = make_site(bot, user_header="X-User")
    assert trusting.ask(make_request("user"), headers={"X-User": " maria "}).texts == ["maria"]


@pytest.mark.parametrize("coding", ["utf-8", "latin-1"])
def test_user_may_have_any_letters(make_site: MakeSite, bot: Bot, coding: str) -> None:
    trusting = make_site(bot, user_header="X-User")
    sent = "Öznur".encode(coding).decode("latin-1")  # as WSGI has it
    assert trusting.ask(make_request("user"), headers={"X-User": sent}).texts == ["Öznur"]


@pytest.mark.parametrize("user", [None, "", " ", "x" * 201, "a\x7fb"])
def test_trusted_header_without_a_user_is_refused(make_site: MakeSite, bot: Bot, user: str | None) -> None:
    site = make_site(bot, user_header="X-User")
    refused = site.read(make_request("user"), headers={} if user is None else {"X-User": user})
    assert refused.error == (400, "ERR_BAD_REQUEST")
    assert "the header X-User" in json.loads(refused.received)["error"]["message"]


def test_cards_and_choices_are_text_and_custom_events_by_setting(make_site: MakeSite, bot: Bot, site: Site) -> None:
    plain = site.ask(make_request("card"))
    assert [text.splitlines()[0] for text in plain.texts] == ["Tea", "Size?", "x"]
    assert not [event for event in plain.events if event["type"] == "CUSTOM"]

    events = make_site(bot, shows_custom=True).ask(make_request("card")).events
    card, choices = [event for event in events if event["type"] == "CUSTOM"]
    assert card["name"] == "cometbot.card"
    assert (card["value"]["title"], card["value"]["buttons"][0]["label"]) == ("Tea", "Buy")
    assert choices["name"] == "cometbot.choices"


def test_tool_of_the_client_is_called_and_its_result_goes_on(site: Site) -> None:
    tools = [{"name": "show_map", "description": "Shows a map.", "parameters": {"type": "object"}}]
    asked = site.ask(make_request("map", tools=tools))
    [begin] = [event for event in asked.events if event["type"] == "TOOL_CALL_START"]
    [arguments] = [event for event in asked.events if event["type"] == "TOOL_CALL_ARGS"]
    call = begin["toolCallId"]
    assert (begin["toolCallName"], json.loads(arguments["delta"])) == ("show_map", {"place": "Rome"})
    assert asked.last["outcome"] == {"type": "success", "pendingToolCallIds": [call]}

    body = make_request("map", run="r2", tools=tools)
    function = {"name": "show_map", "arguments": '{"place":"Rome"}'}
    body["messages"] += [
        {"id": "a", "role": "assistant", "toolCalls": [{"id": call, "type": "function", "function": function}]},
        {"id": "b", "role": "tool", "toolCallId": call, "content": '{"zoom": 3}'},
    ]
    assert site.ask(body).texts == ["shown: {'zoom': 3}"]
    assert site.ask({**body, "runId": "r3"}).texts == ["shown: {'zoom': 3}"]


def test_client_tools_are_those_of_the_request(make_site: MakeSite) -> None:
    bot, seen = Bot("shop"), list[tuple[ClientTool, ...]]()

    @bot.fallback
    def answer(ctx: Context) -> None:
        seen.append(ctx.client_tools)

    site = make_site(bot)
    site.ask(make_request("a", tools=[{"name": "show_map", "parameters": {"type": "object"}}, {"name": ""}, 7]))
    site.ask(make_request("b"))
    assert seen == [(ClientTool("show_map", "", {"type": "object"}),), ()]


def test_pictures_of_a_message_are_attachments(make_site: MakeSite) -> None:
    bot = Bot("shop")
    bot.fallback(lambda ctx: f"{ctx.message.type} {ctx.attachments[0].url} {ctx.text}")
    site = make_site(bot)
    image = {"type": "image", "source": {"type": "data", "value": "iVBORw0KGgo=", "mimeType": "image/png"}}
    content = [{"type": "text", "text": "look"}, image]
    answer = site.ask({"threadId": "t", "runId": "r", "messages": [{"role": "user", "content": content}]})
    assert answer.texts == ["image data:image/png;base64,iVBORw0KGgo= look"]


def test_database_that_is_busy_is_503(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def commit(*args: Any, **options: Any) -> Any:
        raise StoreBusy("locked")

    monkeypatch.setattr(site.channel.chat, "commit", commit)
    assert site.read(make_request("hi")).status == 503


def test_streams_are_given_back(site: Site) -> None:
    open_before = len(STREAMS)
    for number in range(20):
        site.ask(make_request(f"hi {number}"))
    assert len(STREAMS) == open_before


def test_no_free_stream_is_503_and_the_message_is_not_stored(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(STREAMS, "limit", 0)
    refused = site.read(make_request("hi"))
    assert refused.status == 503
    assert refused.headers["Retry-After"]
    monkeypatch.undo()
    site.handle()

    assert site.rows() == []
    assert site.ask(make_request("hi")).texts == ["echo hi"]


def test_image_of_the_bot_is_its_address(make_site: MakeSite) -> None:
    bot = Bot("shop")
    bot.fallback(lambda ctx: Media("https://example.com/tea.png", caption="Our tea"))
    assert "https://example.com/tea.png" in make_site(bot).ask(make_request("hi")).texts[0]


def test_full_database_refuses_requests_and_keeps_answers(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full: list[str] = []
    site.ask(make_request("hi"))
    monkeypatch.setattr(site.channel, "on_database_full", lambda: full.append("full"))
    monkeypatch.setattr(site.channel.chat.quota, "_max_size", 1)
    monkeypatch.setattr(site.channel.chat.quota, "_measured_at", float("-inf"))

    assert site.read(make_request("more", run="r2")).status == 507
    assert full == ["full"]


def test_requests_are_observed_by_their_outcome(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []
    monkeypatch.setattr(site.channel, "observe", lambda bot, outcome: seen.append((bot, outcome)))
    site.begin(make_request("hi"))
    site.begin(make_request("hi", run="r2"))
    site.read(make_request("hi"), headers={"Authorization": ""})
    site.read(make_request("hi"), bot="nobody")
    assert seen == [("shop", "received"), ("shop", "duplicate"), ("shop", "refused"), ("", "refused")]


def test_streams_of_one_user_are_limited(make_site: MakeSite, bot: Bot) -> None:
    site = make_site(bot, max_streams=1)
    held = site.call(make_request("hello"))
    assert site.read(make_request("hello", run="r2")).error == (429, "ERR_TOO_MANY_STREAMS")
    assert site.read(make_request("hello", thread="other")).status == 200
    held.close()
    assert site.read(make_request("hello")).status == 200
