"""Several chats with a bot: begun, renamed, deleted, looked through; and leaving for good."""

from __future__ import annotations

import contextlib
import re

from playwright.sync_api import Error, Route

from tests.browser.engine import Need, expect, find_box, needs
from tests.browser.webchat.conftest import Guest, Visit

SENDING = "**/v1/page-api/chat/*/messages"


def test_a_chat_is_there_from_its_first_message_on(guest: Guest) -> None:
    assert guest.page.url.rpartition("/")[0].endswith("/bot")
    expect(guest.chats).to_have_count(0)
    guest.send_text("/track 1")
    guest.expect_text("Order 1 is on its way")
    expect(guest.page).to_have_url(re.compile("/conversation/"))
    expect(guest.chats).to_have_count(1)
    expect(guest.chats).to_contain_text("Order 1 is on its way.")


def test_chats_with_the_same_bot_are_apart(guest: Guest) -> None:
    guest.send_text("/track 1")
    guest.expect_text("Order 1 is on its way")
    guest.page.get_by_role("button", name="New chat").click()
    expect(guest.page.locator(".message")).to_have_count(0)
    guest.send_text("/track 2")
    guest.expect_text("Order 2 is on its way")
    expect(guest.own_messages).to_have_count(1)
    expect(guest.chats).to_have_count(2)
    guest.chats.filter(has_text="Chat 1").click()
    guest.expect_text("Order 1 is on its way")
    expect(guest.page.locator(".message", has_text="Order 2")).to_have_count(0)


def test_back_and_forward_go_through_what_was_open(guest: Guest) -> None:
    guest.send_text("/track 1")
    guest.expect_text("Order 1 is on its way")
    guest.open_chat("tea-house")
    expect(guest.page.get_by_role("heading", name="Say something to tea-house")).to_be_visible()
    guest.page.go_back()
    guest.expect_text("Order 1 is on its way")
    guest.page.go_forward()
    expect(guest.page.get_by_role("heading", name="Say something to tea-house")).to_be_visible()


def test_click_survives_a_list_change_during_the_press(guest: Guest) -> None:
    guest.send_text("/track 1")
    guest.expect_text("Order 1 is on its way")
    link = guest.page.locator(".people").get_by_role("link", name=re.compile("^tea-house")).first
    place = find_box(link)
    guest.page.mouse.move(place["x"] + 20, place["y"] + 10)
    guest.page.mouse.down()
    guest.send_text("/track 2")
    guest.expect_text("/track 2", ".message.own .bubble")
    guest.page.mouse.up()
    expect(guest.page.get_by_role("heading", name="Say something to tea-house")).to_be_visible()
    expect(guest.chats).to_contain_text("Order 2 is on its way")


def test_what_is_not_sent_yet_stays_with_its_chat(guest: Guest) -> None:
    guest.send_text("/track 1")
    guest.expect_text("Order 1 is on its way")
    guest.composer.fill("not yet")
    guest.open_chat("tea-house")
    expect(guest.composer).to_have_value("")
    guest.page.go_back()
    expect(guest.composer).to_have_value("not yet")


def test_a_chat_is_renamed_in_every_tab(guest: Guest, visit: Visit) -> None:
    guest.send_text("/track 1")
    guest.expect_text("Order 1 is on its way")
    other = visit("/", beside=guest)
    expect(other.chats).to_contain_text("Chat 1")
    guest.page.get_by_role("button", name="Rename").click()
    dialog = guest.page.get_by_role("dialog", name="Rename this chat")
    dialog.get_by_role("textbox").fill("<i>My order</i>")
    dialog.get_by_role("button", name="Save").click()
    expect(guest.chats).to_contain_text("<i>My order</i>")
    expect(other.chats).to_contain_text("<i>My order</i>")


def test_chat_deletion_is_confirmed_and_reaches_all_tabs(guest: Guest, visit: Visit) -> None:
    guest.send_text("/track 1")
    guest.expect_text("Order 1 is on its way")
    other = visit(f"/conversation/{guest.chat_id}", beside=guest)
    other.expect_text("Order 1 is on its way")
    guest.page.get_by_role("button", name="Delete").click()
    guest.page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(guest.chats).to_have_count(1)
    guest.page.get_by_role("button", name="Delete").click()
    guest.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    for one in (guest, other):
        expect(one.chats).to_have_count(0)
        expect(one.page.get_by_role("heading", name="Whom do you want to talk to?")).to_be_visible()
    other.expect_notice("This chat no longer exists.")


def test_the_address_of_somebody_elses_chat_opens_nothing(guest: Guest, visit: Visit) -> None:
    guest.send_text("/track 1")
    guest.expect_text("Order 1 is on its way")
    stranger = visit().sign_up()
    stranger.goto(f"/conversation/{guest.chat_id}")
    stranger.expect_notice("This chat no longer exists.")
    expect(stranger.page.locator(".message")).to_have_count(0)


@needs(Need.ROUTES)
def test_older_messages_come_as_one_scrolls_and_nothing_jumps(guest: Guest) -> None:
    chat = guest.call_api("POST", "/v1/client-api/chat", {"botId": guest.chat_id})["id"]
    for number in range(90):
        guest.call_api("POST", "/v1/client-api/chat/message", {"chatId": chat, "body": f"/nothing {number}"})
    messages_of = f"/v1/client-api/chat/{chat}/messages?limit=1"
    guest.wait_until(lambda: guest.call_api("GET", messages_of)["total"] == 180)
    held: list[Route] = []
    guest.page.route("**/messages?*before=*", lambda route: held.append(route))
    guest.goto(f"/conversation/{chat}")
    messages, shown = guest.page.locator(".messages"), guest.page.locator(".message")
    expect(guest.own_messages.filter(has_text=re.compile("nothing 89$"))).to_be_visible()
    count = shown.count()
    assert 40 <= count < 180
    messages.evaluate("(list) => { list.scrollTop = 250; }")
    guest.wait_until(lambda: held)
    seen = shown.nth(5)
    name, place = seen.get_attribute("data-id"), find_box(seen)
    held.pop().continue_()
    guest.wait_until(lambda: shown.count() > count)
    moved = find_box(guest.page.locator(f"[data-id='{name}']"))
    assert abs(moved["y"] - place["y"]) < 2
    beginning = guest.page.get_by_text("This is where the chat begins.")

    def at_the_beginning() -> int:
        messages.evaluate("(list) => { list.scrollTop = 0; }")
        while held:
            held.pop().continue_()
        return beginning.count()

    guest.wait_until(at_the_beginning)
    expect(guest.own_messages.locator(".bubble")).to_have_text([f"/nothing {number}" for number in range(90)])


def test_whoever_leaves_is_asked_and_then_unknown(guest: Guest) -> None:
    guest.send_text("/track 1")
    guest.expect_text("Order 1 is on its way")
    guest.page.get_by_role("button", name="Leave").click()
    guest.page.get_by_role("dialog").get_by_role("button", name="Leave").click()
    expect(guest.page.get_by_label("Your name")).to_be_visible()
    assert [cookie for cookie in guest.page.context.cookies() if cookie["name"] == "token"] == []


def leave(guest: Guest) -> None:
    guest.page.get_by_role("button", name="Leave").click()
    guest.page.get_by_role("dialog").get_by_role("button", name="Leave").click()


def stored_texts(guest: Guest) -> list[str]:
    """What the browser holds of chats."""
    names: list[str] = guest.page.evaluate("Object.keys(localStorage)")
    return [name for name in names if name.startswith("webchat.")]


@needs(Need.ROUTES)
def test_whoever_leaves_leaves_no_text_behind(guest: Guest, visit: Visit) -> None:
    guest.send_text("/track 1")
    guest.expect_text("Order 1 is on its way")
    other = visit(guest.page.url.removeprefix(guest.platform.url), beside=guest)
    guest.page.context.route(
        SENDING, lambda route: route.abort() if route.request.method == "POST" else route.continue_()
    )
    guest.send_text("my secret")
    other.send_text("our secret")
    for tab in (guest, other):
        expect(tab.own_messages.locator(".fate").first).to_have_text("Waiting to be sent")
    assert any(".unsent." in name for name in stored_texts(guest))
    leave(guest)

    for tab in (guest, other):
        expect(tab.page.get_by_label("Your name")).to_be_visible()
    assert stored_texts(guest) == []


@needs(Need.ROUTES, Need.REQUESTS)
def test_request_during_logout_does_not_log_in_again(guest: Guest, visit: Visit) -> None:
    guest.send_text("/track 1")
    guest.expect_text("Order 1 is on its way")
    other = visit(guest.page.url.removeprefix(guest.platform.url), beside=guest)
    held: list[Route] = []
    guest.page.context.route("**/v1/page-api/start", lambda route: held.append(route))
    for tab in (guest, other):
        tab.page.evaluate("window.dispatchEvent(new Event('online'))")
    guest.wait_until(lambda: len(held) == 2)
    late = [route.fetch() for route in held]
    assert all("token=" in answer.headers.get("set-cookie", "") for answer in late)
    guest.page.context.unroute("**/v1/page-api/start")
    with guest.page.expect_response("**/v1/page-api/leave"):
        leave(guest)
    for route, answer in zip(held, late, strict=True):
        with contextlib.suppress(Error):  # it was broken off
            route.fulfill(response=answer)

    for tab in (guest, other):
        expect(tab.page.get_by_label("Your name")).to_be_visible()
    assert [cookie for cookie in guest.page.context.cookies() if cookie["name"] == "token"] == []


@needs(Need.ROUTES)
def test_whoever_cannot_leave_now_stays(guest: Guest, visit: Visit) -> None:
    guest.send_text("/track 1")
    guest.expect_text("Order 1 is on its way")
    other = visit(guest.page.url.removeprefix(guest.platform.url), beside=guest)
    refusal = {"status": 503, "json": {"message": "busy"}}
    guest.page.route("**/v1/page-api/leave", lambda route: route.fulfill(**refusal), times=1)
    leave(guest)
    guest.expect_notice("503")

    guest.send_text("/track 2")
    for tab in (guest, other):
        tab.expect_text("Order 2 is on its way")


def test_deleted_user_is_notified_and_can_sign_up(guest: Guest) -> None:
    guest.wait_until_answered()  # each answer brings the cookies again
    guest.page.context.clear_cookies()
    guest.send_text("/track 1")
    expect(guest.page.get_by_text("have been signed out")).to_be_visible()
    guest.sign_up().open_chat().send_text("/track 2")
    guest.expect_text("Order 2 is on its way")


@needs(Need.ROUTES, Need.OFFLINE)
def test_chat_created_during_a_refresh_stays(guest: Guest) -> None:
    held: list[Route] = []
    guest.page.route("**/v1/page-api/start", lambda route: held.append(route))
    guest.page.context.set_offline(True)
    guest.page.context.set_offline(False)
    guest.wait_until(lambda: held)
    old = held[0].fetch()
    guest.send_text("/track 1")
    guest.expect_text("Order 1 is on its way")
    for route in held:
        route.fulfill(response=old)
    guest.page.unroute("**/v1/page-api/start")
    guest.send_text("/track 2")
    guest.expect_text("Order 2 is on its way")
    expect(guest.chats).to_have_count(1)
    expect(guest.own_messages).to_have_count(2)


@needs(Need.ROUTES)
def test_quick_replies_work_until_the_bot_is_gone(guest: Guest) -> None:
    guest.send_text("choices")
    guest.expect_text("Which colour?")
    guest.send_text("form")
    guest.expect_text("Your order")
    guest.page.get_by_role("button", name="Green").click()
    guest.expect_text("You chose: Green")

    def without_the_bot(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        body["bots"] = [bot for bot in body["bots"] if bot["name"] != "helpdesk"]
        route.fulfill(response=answer, json=body)

    guest.page.route("**/start", without_the_bot)
    guest.reload()
    expect(guest.composer).to_be_hidden()
    offers = guest.page.locator(".bubble").locator("button, input, select")
    expect(offers).to_have_count(9)
    for offer in offers.all():
        expect(offer).to_be_disabled()
        expect(offer).to_have_accessible_description("This bot is no longer available.")
    guest.page.unroute("**/start")
    guest.reload()
    guest.page.get_by_role("button", name="Blue").click()
    guest.expect_text("You chose: Blue")
