"""Without a connection, and with a bad one: nothing is lost, and nothing is there twice."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import APIResponse, Route

from tests.browser.engine import Need, expect, needs
from tests.browser.webchat.conftest import Guest, Platform, Visit

SENDING = "**/v1/page-api/chat/*/messages"
OPENING = "**/v1/client-api/chat"


def open_guest(guest: Guest) -> Guest:
    guest.send_text("/track 1")
    guest.expect_text("Order 1 is on its way")
    return guest


@needs(Need.OFFLINE)
def test_offline_message_is_sent_once_after_reconnecting(guest: Guest) -> None:
    open_guest(guest)
    guest.page.context.set_offline(True)
    guest.expect_text("You are offline", ".notice")
    guest.send_text("first")
    guest.send_text("second")
    expect(guest.own_messages.locator(".fate")).to_have_text(["Waiting to be sent"] * 2)
    guest.page.context.set_offline(False)
    guest.expect_text("You said: second")
    guest.wait_until_sent()
    guest.expect_notice("Connected again", "notice")
    expect(guest.own_messages.locator(".bubble")).to_have_text(["/track 1", "first", "second"])
    said = guest.load_stored_texts()
    assert [text for text in said if text in ("first", "second")] == ["first", "second"]
    assert len(said) == 6


@needs(Need.ROUTES, Need.REQUESTS, Need.SENT_BODIES)
def test_a_message_whose_answer_got_lost_is_not_there_twice(guest: Guest) -> None:
    open_guest(guest)

    def lose_answer(route: Route) -> None:
        if route.request.method == "POST":
            route.fetch()
            route.abort("connectionreset")
        else:
            route.continue_()

    guest.page.route(SENDING, lose_answer, times=1)
    guest.send_text("only once")
    guest.expect_text("You said: only once")
    guest.wait_until(lambda: len([post for post in guest.post_requests if "only once" in (post.post_data or "")]) == 2)
    guest.wait_until_sent()
    expect(guest.own_messages).to_have_count(2)
    sent = [json.loads(post.post_data or "") for post in guest.post_requests if "only once" in (post.post_data or "")]
    assert sent[0]["clientId"] == sent[1]["clientId"]
    assert guest.load_stored_texts().count("only once") == 1
    assert guest.load_stored_texts().count("You said: only once") == 1


@needs(Need.ROUTES)
def test_a_message_that_is_on_its_way_survives_a_reload(guest: Guest) -> None:
    open_guest(guest)
    block = lambda route: route.abort() if route.request.method == "POST" else route.continue_()  # noqa: E731
    guest.page.route(SENDING, block)
    guest.send_text("still here")
    expect(guest.own_messages.locator(".fate")).to_have_text("Waiting to be sent")
    guest.reload()
    expect(guest.own_messages.last.locator(".bubble")).to_have_text("still here")
    guest.page.unroute(SENDING)
    guest.reload()
    guest.expect_text("You said: still here")
    guest.wait_until_sent()
    assert guest.load_stored_texts().count("still here") == 1


@needs(Need.ROUTES)
def test_what_waits_for_a_new_chat_is_sent_once_by_two_tabs(guest: Guest, visit: Visit) -> None:
    guest.page.context.route(OPENING, lambda route: route.abort())
    guest.send_text("hello once")
    expect(guest.own_messages.locator(".fate")).to_have_text("Waiting to be sent")
    other = visit(guest.page.url.removeprefix(guest.platform.url), beside=guest)
    expect(other.own_messages.locator(".fate")).to_have_text("Waiting to be sent")
    guest.page.context.unroute(OPENING)
    for tab in (guest, other):
        tab.expect_text("You said: hello once")
        tab.wait_until_sent()
    assert guest.chat_id == other.chat_id
    assert len(guest.call_api("GET", "/v1/client-api/chats?bot_id=helpdesk")) == 1
    assert guest.load_stored_texts() == ["hello once", "You said: hello once"]
    expect(other.page.locator(".message")).to_have_count(2)


@needs(Need.ROUTES, Need.SENT_BODIES)
def test_a_new_chat_whose_answer_got_lost_is_not_there_twice(guest: Guest) -> None:
    def lose_answer(route: Route) -> None:
        route.fetch()
        route.abort("connectionreset")

    guest.page.route(OPENING, lose_answer, times=1)
    guest.send_text("only once")
    guest.expect_text("You said: only once")
    guest.wait_until_sent()
    assert len(guest.call_api("GET", "/v1/client-api/chats?bot_id=helpdesk")) == 1


@needs(Need.ROUTES)
def test_rejected_message_can_be_resent_or_discarded(guest: Guest) -> None:
    open_guest(guest)
    refusal = {"status": 400, "json": {"message": "not in these words"}}
    guest.page.route(
        SENDING, lambda route: route.fulfill(**refusal) if route.request.method == "POST" else route.continue_()
    )
    guest.send_text("one")
    guest.send_text("two")
    expect(guest.own_messages.locator(".fate.bad")).to_have_count(2)
    expect(guest.own_messages.last.get_by_role("alert")).to_contain_text("Not sent: not in these words")
    guest.own_messages.last.get_by_role("button", name="Discard").click()
    expect(guest.own_messages.locator(".fate.bad")).to_have_count(1)
    guest.page.unroute(SENDING)
    guest.own_messages.last.get_by_role("button", name="Send again").click()
    guest.expect_text("You said: one")
    expect(guest.own_messages.locator(".bubble")).to_have_text(["/track 1", "one"])


def test_a_text_that_is_too_long_stays_in_the_box(guest: Guest) -> None:
    guest.send_text("ä" * 2049)
    guest.expect_notice("too long by 2")
    expect(guest.composer).to_have_value("ä" * 2049)
    expect(guest.own_messages).to_have_count(0)


@needs(Need.ROUTES)
def test_without_a_stream_messages_come_all_the_same(guest: Guest, platform: Platform) -> None:
    guest.page.route("**/v1/page-api/events", lambda route: route.fulfill(status=503, headers={"Retry-After": "1"}))
    guest.reload()
    guest.send_text("later")
    guest.expect_text("I will tell you.")
    guest.expect_text("a few seconds late", ".notice")
    platform.mark("later")
    guest.expect_text("Your order is out.")
    guest.page.unroute("**/v1/page-api/events")
    expect(guest.page.locator(".notice")).to_be_hidden()


def test_the_page_outlives_a_restart_of_the_platform(guest: Guest, platform: Platform) -> None:
    open_guest(guest)
    platform.stop()
    guest.send_text("while you were away")
    guest.expect_text("Trying again", ".notice")
    expect(guest.own_messages.last.locator(".fate")).to_have_text("Waiting to be sent")
    platform.start()
    guest.expect_text("You said: while you were away")
    assert guest.load_stored_texts().count("while you were away") == 1


@needs(Need.CLOCK, Need.REQUESTS, Need.FAILED_REQUESTS)
def test_hidden_page_closes_its_stream_and_catches_up(guest: Guest, platform: Platform) -> None:
    streams: list[str] = []
    guest.page.on("request", lambda request: request.url.endswith("/events") and streams.append(request.url))
    guest.page.clock.install()
    guest.reload()
    guest.send_text("later")
    guest.expect_text("I will tell you.")
    guest.wait_until(lambda: len(streams) == 1)
    turn = """(hidden) => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with guest.page.expect_event("requestfailed", lambda request: request.url.endswith("/events")):
        guest.page.evaluate(turn, True)
        guest.page.clock.fast_forward(31_000)
    platform.mark("later")
    guest.wait_until(lambda: "Your order is out." in guest.load_stored_texts())
    guest.page.clock.fast_forward(21_000)
    expect(guest.page).to_have_title("(1) helpdesk – Tea & Orders")
    assert len(streams) == 1
    guest.page.evaluate(turn, False)
    guest.expect_text("Your order is out.")
    expect(guest.page).to_have_title("helpdesk – Tea & Orders")
    guest.wait_until(lambda: len(streams) == 2)


@needs(Need.ROUTES)
@pytest.mark.parametrize("overlaps", [False, True])
def test_answer_that_comes_late_undoes_nothing(guest: Guest, overlaps: bool) -> None:
    """What has changed since a page asked came by the stream, or with the answer to a later question."""
    open_guest(guest)
    start, reconnect = "**/v1/page-api/start", "dispatchEvent(new Event('online'))"
    late: list[tuple[Route, APIResponse]] = []
    title = guest.page.locator(".chat-head p")
    guest.page.route(start, lambda route: late.append((route, route.fetch())), times=1)
    guest.page.evaluate(reconnect)
    guest.wait_until(lambda: bool(late))
    address = f"{guest.platform.url}/v1/page-api/chat/{guest.chat_id}"
    guest.page.request.patch(address, data={"title": "Renamed"})
    expect(title).to_have_text("Renamed")
    if overlaps:
        with guest.page.expect_response(start):
            guest.page.evaluate(reconnect)
    [(route, answer)] = late
    with guest.page.expect_response(start):
        route.fulfill(response=answer)
    guest.page.wait_for_timeout(300)
    expect(title).to_have_text("Renamed")


@needs(Need.ROUTES)
def test_failed_chat_load_is_retried(guest: Guest) -> None:
    open_guest(guest)
    address = guest.page.url
    guest.open_chat("tea-house")
    guest.reload()
    guest.page.route("**/messages?*", lambda route: route.fulfill(status=503, json={"message": "busy"}), times=1)
    guest.page.locator(".conversation.small").click()
    expect(guest.page).to_have_url(address)
    guest.expect_text("Order 1 is on its way")
    expect(guest.page.locator(".toast")).to_have_count(0)
