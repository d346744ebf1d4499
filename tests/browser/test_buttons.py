"""Which choices and forms can still be taken: the same that the bot would take."""

from __future__ import annotations

from playwright.sync_api import Locator

from tests.browser.conftest import Visit, Visitor
from tests.browser.engine import expect

OVER = "No longer asked: the bot has answered a later message"
_CARD = {"version": "1.0", "fallbackText": "Card", "style": {"background": {"light": "#FFFFFF", "dark": "#1C1C1E"}}}


def expect_over(element: Locator, count: int) -> None:
    """These many buttons and fields are shown, say why they do nothing, and do nothing."""
    controls = element.locator("button, input, select")
    expect(controls).to_have_count(count)
    for control in controls.all():
        expect(control).to_be_disabled()
        expect(control).to_have_attribute("title", OVER)
        expect(control).to_have_accessible_description(OVER)


def ask(visitor: Visitor) -> Locator:
    """What was asked now, with its choices."""
    before = visitor.page.locator("#chat .bubble", has_text="What can I do for you?").count()
    visitor.send_text("hello" if "/user/" in visitor.page.url else "<@uid:helpdesk> hello")
    asked = visitor.page.locator("#chat .bubble", has_text="What can I do for you?").nth(before)
    expect(asked.get_by_role("button")).to_have_count(2)
    return asked


def test_choices_expire_after_a_later_reply(visitor: Visitor) -> None:
    first = ask(visitor)
    visitor.send_text("card")
    offered = visitor.expect_text("Two seats")
    expect_over(first.get_by_role("group"), 2)
    expect(first.get_by_role("group")).to_have_accessible_name("Answers, no longer asked for")
    expect(offered.get_by_role("button")).to_be_enabled()
    visitor.reload()
    expect_over(first.get_by_role("group"), 2)
    offered.get_by_role("button", name="Book them").click()
    visitor.expect_text("You chose: Book them")
    expect_over(offered.get_by_role("group"), 1)
    expect(offered.get_by_role("link")).to_have_attribute("href", "https://example.org/")


def test_a_form_is_over_too_and_keeps_what_was_written(visitor: Visitor) -> None:
    visitor.send_text("form")
    form = visitor.expect_text("Your order").locator("form")
    form.get_by_label("Name").fill("Maria")
    expect(form.get_by_role("button", name="Send")).to_be_enabled()
    asked = ask(visitor)
    expect_over(form, 3)
    expect(form.get_by_label("Name")).to_have_value("Maria")
    expect(asked.get_by_role("button").first).to_be_enabled()


def test_who_writes_into_a_form_that_ends_stays_at_its_message(visitor: Visitor) -> None:
    visitor.send_text("form")
    form = visitor.expect_text("Your order").locator("form")
    form.get_by_label("Name").press_sequentially("Mar")
    visitor.dev.post(f"/users/{visitor.uid}/say", {"to": "helpdesk", "text": "from my phone"})
    visitor.expect_text("You said: from my phone")
    expect_over(form, 3)
    expect(visitor.page.locator("#chat .message.other").first).to_be_focused()
    expect(form.get_by_label("Name")).to_have_value("Mar")


def test_a_message_without_an_answer_leaves_what_was_asked(visitor: Visitor) -> None:
    asked = ask(visitor)
    visitor.send_text("no answer")
    expect(visitor.page.locator(".message.own").last).to_contain_text("be_still")
    asked.get_by_role("button", name="Talk to a human").click()
    visitor.expect_text("You chose: Talk to a human")


def test_what_the_bot_says_unasked_leaves_what_was_asked(visitor: Visitor) -> None:
    asked = ask(visitor)
    visitor.send_text("news")
    visitor.expect_text("This just in.")
    visitor.reload()
    asked.get_by_role("button", name="Talk to a human").click()
    visitor.expect_text("You chose: Talk to a human")


def test_group_choices_expire_after_any_reply(visit: Visit) -> None:
    one = visit("group/ops-room")
    asked = ask(one)
    asked.get_by_role("button", name="Talk to a human").click()
    one.expect_text("You chose: Talk to a human")
    again = ask(one)
    other = visit("group/ops-room", uid="tom")
    expect(
        other.page.locator("#chat .bubble", has_text="What can I do").last.get_by_role("button").first
    ).to_be_enabled()
    other.send_text("<@uid:helpdesk> what is this?")
    other.expect_text("You said: what is this?")
    for seen in (again, other.page.locator("#chat .bubble", has_text="What can I do").last):
        expect_over(seen.get_by_role("group"), 2)


def test_reply_from_another_conversation_expires_nothing(visit: Visit) -> None:
    asked = ask(visit("group/ops-room"))
    caller = visit("user/helpdesk", uid="tom")
    caller.send_text("alarm")
    caller.expect_text("Somebody will come.")
    expect(asked.page.locator("#chat .bubble", has_text="needs help").last).to_be_visible()
    expect(asked.get_by_role("button").first).to_be_enabled()
    asked.page.reload()
    expect(asked.get_by_role("button").first).to_be_enabled()
    asked.get_by_role("button", name="Track an order").click()
    expect(asked.page.locator("#chat .bubble", has_text="You chose: Track an order").last).to_be_visible()


def test_an_answer_in_a_thread_counts_for_the_whole_conversation(visitor: Visitor) -> None:
    asked = ask(visitor)
    message = visitor.page.locator("#chat .message.other").last
    message.hover()
    message.get_by_role("button", name="Reply in a thread").click()
    reply = visitor.page.get_by_label("Reply in the thread")
    reply.fill("/track 12")
    reply.press("Enter")
    visitor.expect_text("Order 12 is on its way", ".thread .message.other .bubble")
    expect_over(asked.get_by_role("group"), 2)
    root = visitor.page.locator(".thread .bubble", has_text="What can I do for you?")
    expect_over(root.get_by_role("group"), 2)


def test_card_buttons_expire_only_where_offered(visitor: Visitor) -> None:
    def send_card(label: str, muid: str) -> Locator:
        say = {"id": "b", "type": "button", "label": label, "action": {"type": "sendMessage", "text": label}}
        lead = {
            "id": "u",
            "type": "button",
            "label": "Plan",
            "action": {"type": "openUrl", "url": "https://example.org"},
        }
        data = {"text": label, "card": {**_CARD, "body": [say, lead]}}
        body = {"receiver": visitor.uid, "receiverType": "user", "category": "card", "type": "text", "data": data}
        visitor.dev.post("/users/helpdesk/write", {**body, "muid": muid})
        return visitor.page.locator("#chat .card", has_text=label)

    made, written = send_card("Take it", "cb-m900001-0-0-0-5f5f5f5f5f5f"), send_card("/track 5", "")
    expect(made.get_by_role("button", name="Take it")).to_be_enabled()
    visitor.send_text("no offers")
    visitor.expect_text("You said: no offers")
    expect(made.get_by_role("button", name="Take it")).to_be_disabled()
    expect(made.get_by_role("button", name="Take it")).to_have_attribute("title", OVER)
    expect(made.get_by_role("button", name="Plan")).to_be_enabled()
    written.get_by_role("button", name="/track 5").click()
    visitor.expect_text("Order 5 is on its way")


def test_a_field_for_any_of_its_options_has_check_boxes(visitor: Visitor) -> None:
    visitor.send_text("drinks")
    form = visitor.expect_text("Your tea").locator("form")
    extras = form.get_by_role("group", name="Extras")
    expect(extras.get_by_role("checkbox")).to_have_count(3)
    form.get_by_role("button", name="Send").click()
    assert extras.get_by_label("Milk").evaluate("box => box.validationMessage") == "Choose at least one."
    expect(visitor.page.locator(".message.own")).to_have_count(1)
    extras.get_by_label("Sugar").check()
    extras.get_by_label("Milk").check()
    form.get_by_role("button", name="Send").click()
    visitor.expect_text("Tea with Milk, Sugar, on it nothing")
