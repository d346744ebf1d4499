"""Webhooks: bots that run elsewhere hear of messages, in order, with their secret, and again where they were away."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from cometbot.channels.base import OutgoingRequest
from cometbot.channels.platform.ids import WEBHOOK_CHANNEL, webhook_conversation
from cometbot.channels.platform.webhook import WEBHOOK_TIMEOUT
from tests.integration.channels.platform.conftest import PNG, ApiClient, Person, Site, wait_until


@pytest.fixture
def external_bot(site: Site, httpserver: HTTPServer) -> tuple[str, ApiClient]:
    """A bot that runs elsewhere and hears of messages at the server's /hook."""
    bot_id, bot = site.external_bot()
    bot.post("bot-api/bot/webhook", {"url": httpserver.url_for("/hook"), "secret": "SOME_SECRET"})
    return bot_id, bot


def bodies(httpserver: HTTPServer) -> list[dict[str, Any]]:
    return [json.loads(request.data) for request, _ in httpserver.log]


def test_a_message_reaches_the_webhook_as_the_protocol_has_it(
    site: Site, maria: Person, external_bot: tuple[str, ApiClient], httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/hook", method="POST").respond_with_data("ignored")
    [file] = maria.upload(("p.png", PNG)).json
    said = maria.send_message(maria.create_chat(external_bot[0]), "hi", attachmentIds=[file["id"]])
    [(request, _)] = wait_until(lambda: httpserver.log)

    assert json.loads(request.data) == {**said, "attachmentIds": [file["id"]]}
    assert request.headers["Authorization"] == "SOME_SECRET"
    assert request.headers["Content-Type"] == "application/json"
    httpserver.check()


def test_bot_api_message_triggers_no_webhook(
    maria: Person, external_bot: tuple[str, ApiClient], httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/hook").respond_with_data("")
    bot_id, bot = external_bot
    chat = maria.create_chat(bot_id)
    maria.send_message(chat, "hi")
    [heard] = wait_until(lambda: bodies(httpserver))
    bot.post("bot-api/chat/message", {"chatId": heard["chatId"], "body": f"echo {heard['body']}"})
    maria.send_message(chat, "and you?")
    wait_until(lambda: len(httpserver.log) == 2)

    assert maria.bodies(chat) == ["hi", "echo hi", "and you?"]
    assert [body["body"] for body in bodies(httpserver)] == ["hi", "and you?"]


def test_without_a_secret_no_authorization_is_sent(site: Site, maria: Person, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/hook").respond_with_data("")
    bot_id, bot = site.external_bot()
    bot.post("bot-api/bot/webhook", {"url": httpserver.url_for("/hook")})
    maria.send_message(maria.create_chat(bot_id), "hi")
    [(request, _)] = wait_until(lambda: httpserver.log)

    assert "Authorization" not in request.headers


def test_slow_webhook_delays_no_request_and_keeps_order(
    maria: Person, external_bot: tuple[str, ApiClient], httpserver: HTTPServer
) -> None:
    failures = [500, 500]

    def answer(request: Request) -> Response:
        return Response(status=failures.pop() if failures else 200)

    httpserver.expect_request("/hook").respond_with_handler(answer)
    chat = maria.create_chat(external_bot[0])
    for number in range(3):
        maria.send_message(chat, f"m{number}")
    wait_until(lambda: len(httpserver.log) == 5, seconds=30)

    assert [body["body"] for body in bodies(httpserver)] == ["m0", "m0", "m0", "m1", "m2"]
    assert len({body["id"] for body in bodies(httpserver)[:3]}) == 1, "one and the same message, tried again"


def test_rejected_webhook_is_a_dead_letter_without_the_secret(
    site: Site, maria: Person, external_bot: tuple[str, ApiClient], httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/hook").respond_with_data("", status=410)
    maria.send_message(maria.create_chat(external_bot[0]), "hi")
    [letter] = wait_until(site.running.delivery.dead_letters.list)

    assert letter.is_reply
    assert letter.channel == WEBHOOK_CHANNEL
    assert letter.conversation.startswith(external_bot[0])
    assert "SOME_SECRET" not in repr(letter)


def test_a_redirect_is_not_followed(
    site: Site, maria: Person, external_bot: tuple[str, ApiClient], httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/hook").respond_with_data("", 302, {"Location": httpserver.url_for("/inside")})
    maria.send_message(maria.create_chat(external_bot[0]), "hi")
    [letter] = wait_until(site.running.delivery.dead_letters.list)

    assert "redirect" in letter.error
    assert [request.path for request, _ in httpserver.log] == ["/hook"]


def test_pending_webhook_goes_to_the_bots_current_url(
    site: Site, maria: Person, external_bot: tuple[str, ApiClient], httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/new").respond_with_data("")
    bot_id, bot = external_bot
    sending = OutgoingRequest(webhook_conversation(bot_id, "chat"), "c1", {"message": {"id": "m1", "body": "x"}})
    webhooks = site.running.delivery.channels[WEBHOOK_CHANNEL]
    bot.post("bot-api/bot/webhook", {"url": httpserver.url_for("/new"), "secret": "NEW"})

    assert webhooks.send(sending, timeout=5) == "m1"
    bot.delete("bot-api/bot/webhook")
    assert webhooks.send(sending, timeout=5) == ""
    [(request, _)] = httpserver.log
    assert (request.path, request.headers["Authorization"]) == ("/new", "NEW")


def test_a_bot_gets_six_seconds(
    monkeypatch: pytest.MonkeyPatch, site: Site, external_bot: tuple[str, ApiClient]
) -> None:
    given: list[float] = []
    webhooks = site.running.delivery.channels[WEBHOOK_CHANNEL]
    monkeypatch.setattr(site.platform.webhooks, "post", lambda url, body, headers, timeout: given.append(timeout))
    sending = OutgoingRequest(webhook_conversation(external_bot[0], "c"), "c1", {"message": {"id": "m1"}})
    webhooks.send(sending, timeout=60)
    webhooks.send(sending, timeout=2)

    assert given == [WEBHOOK_TIMEOUT, 2]


def test_a_bot_without_a_webhook_reads_its_chats_itself(site: Site, maria: Person) -> None:
    bot_id, bot = site.external_bot()
    chat = maria.create_chat(bot_id)
    maria.send_message(chat, "hi")

    assert bot.get(f"bot-api/chat/{chat}/messages").json["total"] == 1
    assert site.running.delivery.is_idle


def test_a_webhook_that_is_down_holds_up_nobody_else(
    site: Site, maria: Person, httpserver: HTTPServer, make_site: Callable[..., Site]
) -> None:
    httpserver.expect_request("/hook").respond_with_data("")
    down_id, down = site.external_bot("Down")
    down.post("bot-api/bot/webhook", {"url": "http://127.0.0.1:9/"})
    up_id, up = site.external_bot("Up")
    up.post("bot-api/bot/webhook", {"url": httpserver.url_for("/hook")})
    maria.send_message(maria.create_chat(down_id), "lost?")
    maria.send_message(maria.create_chat(up_id), "hi")
    wait_until(lambda: httpserver.log)
    chat = maria.create_chat()
    maria.send_message(chat, "hi")

    assert maria.wait_message(chat, "echo hi")


def test_the_order_of_a_chat_stays_while_its_bot_moves(
    maria: Person, external_bot: tuple[str, ApiClient], httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/new").respond_with_data("")
    bot_id, bot = external_bot
    chat = maria.create_chat(bot_id)
    bot.post("bot-api/bot/webhook", {"url": "http://127.0.0.1:9/"})
    maria.send_message(chat, "one")
    maria.send_message(chat, "two")
    bot.post("bot-api/bot/webhook", {"url": httpserver.url_for("/new")})
    maria.send_message(chat, "three")
    wait_until(lambda: len(httpserver.log) == 3, seconds=30)

    assert [body["body"] for body in bodies(httpserver)] == ["one", "two", "three"]
