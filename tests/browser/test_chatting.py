"""Talking on the page: one-to-one, in groups, in threads, as the bot, and by keyboard alone."""

from __future__ import annotations

import re

from playwright.sync_api import Route

from tests.browser.conftest import Visit, Visitor
from tests.browser.engine import Need, expect, find_box, needs

KEEP_TEXTS = """() => {
    const texts = (window.texts = []);
    const keep = () => {
        const message = [...document.querySelectorAll(".message.other")].at(-1);
        if (message) texts.push(`${message.querySelector(".bubble").textContent.trim()} ${message.ariaBusy}`);
    };
    const all = { attributes: true, characterData: true, childList: true, subtree: true };
    new MutationObserver(keep).observe(document, all);
}"""
"""Keep each state of the last answer: a driver may look too rarely to see one that lasts a second."""


def test_a_message_is_answered_and_says_which_handler_took_it(visitor: Visitor) -> None:
    visitor.send_text("/track 4711")
    answer = visitor.expect_text("Order 4711 is on its way")
    expect(answer.locator("strong")).to_have_text("4711")
    expect(visitor.page.locator(".message.own .receipt")).to_have_text(re.compile(r"Helpdesk · .*track"))


def test_another_page_of_the_same_person_shows_it_at_once(visit: Visit) -> None:
    first = visit()
    second = visit(uid=first.uid)
    first.send_text("/track 1")
    second.expect_text("Order 1 is on its way")
    expect(second.page.locator(".message.own .bubble")).to_have_text("/track 1")


def test_a_mention_in_a_group_is_completed_and_reaches_the_bot(visit: Visit) -> None:
    visitor = visit("group/ops-room")
    visitor.composer.press_sequentially("Hey @help")
    option = visitor.page.get_by_role("listbox").get_by_role("option", name="Helpdesk")
    expect(option).to_have_attribute("aria-selected", "true")
    visitor.composer.press("Tab")
    expect(visitor.composer).to_have_value("Hey @Helpdesk ")
    visitor.composer.press_sequentially("please")
    visitor.composer.press("Enter")
    expect(visitor.page.locator(".message.own .mention").last).to_have_text("@Helpdesk")
    visitor.expect_text("You said: Hey")
    visitor.expect_notice("joined the group first")


def test_a_mention_typed_by_hand_reaches_the_bot(visit: Visit) -> None:
    visitor = visit("group/ops-room")
    visitor.send_text("@helpdesk are you there")
    expect(visitor.page.locator(".message.own .mention").last).to_have_text("@Helpdesk")
    visitor.expect_text("You said: are you there")


def test_commands_are_offered_with_arguments_and_descriptions(visitor: Visitor) -> None:
    visitor.composer.press_sequentially("/tra")
    expect(visitor.page.get_by_role("combobox", expanded=True)).to_have_attribute(
        "aria-activedescendant", "composer-text-list-0"
    )
    option = visitor.page.get_by_role("listbox").get_by_role("option")
    expect(option).to_contain_text(re.compile(r"/track.*number.*Where is my order\?"))
    visitor.composer.press("Enter")
    expect(visitor.page.locator(".usage").first).to_contain_text(re.compile(r"/track.*number"))


def test_a_command_is_completed_at_the_beginning_only(visitor: Visitor) -> None:
    visitor.composer.press_sequentially("/tr")
    visitor.composer.press("Enter")
    expect(visitor.composer).to_have_value("/track ")
    visitor.composer.press_sequentially("7")
    visitor.composer.press("Enter")
    visitor.expect_text("Order 7 is on its way")
    visitor.composer.press_sequentially("no /tr")
    expect(visitor.page.get_by_role("listbox")).to_be_hidden()


def test_a_stream_grows_while_one_looks(visitor: Visitor) -> None:
    visitor.page.evaluate(KEEP_TEXTS)
    visitor.send_text("stream")
    message = visitor.page.locator(".message.other").last
    expect(message.locator(".bubble")).to_have_text("one two three")
    expect(message.locator(".edited")).to_be_visible()
    expect(message).not_to_have_attribute("aria-busy", "true")
    expect(visitor.page.locator(".message.other")).to_have_count(1)
    # A slow machine may show two words at once.
    assert visitor.page.evaluate("() => window.texts[0]") in ("one true", "one two true")


def test_own_messages_are_edited_and_deleted(visitor: Visitor) -> None:
    visitor.send_text("a typo")
    visitor.expect_text("You said: a typo")
    visitor.composer.press("ArrowUp")
    expect(visitor.composer).to_have_value("a typo")
    visitor.composer.fill("no typo")
    visitor.composer.press("Enter")
    own = visitor.page.locator(".message.own")
    expect(own.locator(".bubble")).to_have_text("no typo")
    own.hover()
    own.get_by_role("button", name="Delete").click()
    expect(own.locator(".bubble")).to_have_text("This message was deleted.")


def test_reactions_are_put_and_taken_back_and_the_bots_are_shown(visitor: Visitor) -> None:
    visitor.send_text("Nice")
    visitor.expect_text("You said: Nice")
    message = visitor.page.locator(".message.own")
    identifier = message.get_attribute("data-id")
    visitor.dev.post("/users/helpdesk/act", {"act": "react", "message": identifier, "reaction": "🎉"})
    expect(message.get_by_role("button", name="🎉 Helpdesk")).to_have_attribute("aria-pressed", "false")
    message.hover()
    message.locator("summary[aria-label=React]").click()
    message.get_by_role("button", name="React with 👍").click()
    mine = message.get_by_role("button", name=re.compile("^👍"))
    expect(mine).to_have_attribute("aria-pressed", "true")
    mine.click()
    expect(mine).to_have_count(0)


def test_a_thread_opens_beside_and_answers_come_into_it(visitor: Visitor) -> None:
    visitor.send_text("Let us talk")
    answer = visitor.page.locator(".message.other").last
    visitor.expect_text("You said: Let us talk")
    answer.hover()
    answer.get_by_role("button", name="Reply in a thread").click()
    reply = visitor.page.get_by_label("Reply in the thread")
    expect(reply).to_be_focused()
    reply.fill("/track 12")
    reply.press("Enter")
    visitor.expect_text("Order 12 is on its way", ".thread .message.other .bubble")
    expect(visitor.page.locator("#chat .bubble", has_text="Order 12")).to_have_count(0)
    reply.press("Escape")
    expect(visitor.page.get_by_role("tab", name="Thread")).to_be_hidden()
    expect(answer.locator(".replies")).to_have_text("2 replies")


def test_whoever_logs_in_as_the_bot_answers_for_it(visitor: Visitor) -> None:
    visitor.send_text("Is anybody there?")
    visitor.expect_text("You said: Is anybody there?")
    visitor.page.get_by_label("You are").select_option("helpdesk")
    expect(visitor.page.locator("#chat h2")).to_have_text(re.compile("Guest"))
    visitor.send_text("A human, for once.")
    visitor.page.get_by_label("You are").select_option(visitor.uid)
    visitor.expect_text("A human, for once.")


def test_a_new_person_is_made_and_becomes_the_one_who_writes(visitor: Visitor) -> None:
    visitor.page.get_by_label("You are").select_option("+")
    dialog = visitor.page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill(f"Zoë of {visitor.uid}")
    dialog.get_by_role("button", name="Create").click()
    expect(visitor.page.locator("#who")).to_have_value(f"zoe-of-{visitor.uid}")
    visitor.send_text("/track 3")
    visitor.expect_text("is on its way, Zoë of")


def test_a_name_that_is_taken_is_refused_in_the_form(visitor: Visitor) -> None:
    visitor.page.get_by_role("button", name="New person").click()
    dialog = visitor.page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("Maria")
    dialog.get_by_role("button", name="Create").click()
    expect(dialog.get_by_role("alert")).to_contain_text("already exists")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)


def test_everything_is_reached_by_keyboard(visitor: Visitor) -> None:
    page = visitor.page
    expect(visitor.composer).to_be_focused()
    page.keyboard.type("/track 5")
    page.keyboard.press("Enter")
    visitor.expect_text("Order 5 is on its way")
    expect(page.locator(".message.own .receipt")).to_contain_text("track")
    for _ in range(30):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.classList.contains('message')"):
            break
    page.keyboard.press("End")
    expect(page.locator(".message.other").last).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.locator(".message.own").last).to_be_focused()
    page.keyboard.press("ArrowDown")
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
        if reached[-1] == "Reply in a thread":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_label("Reply in the thread")).to_be_focused()


@needs(Need.ROUTES)
def test_scrolling_up_loads_older_messages_in_place(visit: Visit) -> None:
    visitor = visit("user/tom")
    for number in range(130):
        visitor.dev.post(f"/users/{visitor.uid}/say", {"to": "tom", "text": f"Line {number}"})

    def begin_with_the_newest(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        body["data"]["messages"] = body["data"]["messages"][-40:]
        body["data"]["hasEarlier"] = True
        route.fulfill(response=answer, json=body)

    visitor.page.route("**/simulator/page", begin_with_the_newest)
    visitor.reload()
    expect(visitor.messages).to_have_count(40)
    reading = visitor.page.locator("#chat .message", has_text="Line 92")
    reading.focus()
    reading.evaluate("element => element.scrollIntoView({block: 'start'})")
    before = find_box(reading)
    expect(visitor.messages).to_have_count(130)
    expect(visitor.page.get_by_role("button", name="Earlier messages")).to_have_count(0)
    after = find_box(reading)
    assert abs(after["y"] - before["y"]) < 2
    expect(visitor.messages.first).to_contain_text("Line 0")


def test_a_blocked_user_cannot_write_until_unblocked(visitor: Visitor) -> None:
    button = visitor.page.locator(".chat-head").get_by_role("button")
    expect(button).to_have_text("Block")
    button.click()
    expect(button).to_have_text("Unblock")
    visitor.send_text("/track 1")
    visitor.expect_notice("has blocked")
    button.click()
    expect(button).to_have_text("Block")
    visitor.send_text("/track 2")
    visitor.expect_text("Order 2 is on its way")
