"""Talking: text, cards, choices, forms and commands, several people and bots, tabs, and what comes late."""

from __future__ import annotations

import re

import pytest

from tests.browser.engine import expect
from tests.browser.text_direction import check_text_direction
from tests.browser.webchat.conftest import Guest, Platform, Visit

_PLACE = "list => list.scrollLeft"
_RESTS = """list => new Promise(done => {
    const before = list.scrollLeft;
    setTimeout(() => done(list.scrollLeft === before), 100);
})"""


def test_two_users_and_two_bots_are_isolated(visit: Visit) -> None:
    maria, tom = visit().sign_up("Maria"), visit().sign_up("Tom")
    maria.open_chat("helpdesk").send_text("/track 4711")
    tom.open_chat("tea-house").send_text("Hello there")
    maria.expect_text("Order 4711 is on its way")
    tom.expect_text("Tea, Tom?")
    maria.open_chat("tea-house").send_text("And me")
    maria.expect_text("Tea, Maria?")
    expect(maria.own_messages).to_have_count(1)
    expect(tom.own_messages).to_have_count(1)
    expect(tom.bot_messages).to_have_count(1)
    assert tom.load_stored_texts() == ["Hello there", "Tea, Tom?"]


def test_markdown_is_shown_and_markup_is_not(guest: Guest) -> None:
    guest.send_text("hello")
    answer = guest.expect_text("What can I do for you?")
    expect(answer.locator("strong")).to_have_text("Hello!")
    expect(answer.locator("li")).to_have_count(2)
    link = answer.get_by_role("link", name="opening hours")
    expect(link).to_have_attribute("href", "https://example.com/hours")
    expect(link).to_have_attribute("rel", re.compile("noopener"))
    expect(answer).to_contain_text("<img src=x onerror=")
    expect(answer.locator("img")).to_have_count(0)
    assert "broken into" not in guest.page.title()


def test_what_one_writes_is_text_whatever_it_looks_like(guest: Guest) -> None:
    guest.send_text("<b onclick='x()'>bold</b> [a](javascript:alert(1))")
    guest.wait_until_sent()
    expect(guest.own_messages.locator(".bubble")).to_have_text("<b onclick='x()'>bold</b> [a](javascript:alert(1))")
    expect(guest.own_messages.locator(".bubble b, .bubble a")).to_have_count(0)


def test_tables_code_quotes_and_headings_look_like_what_they_are(guest: Guest) -> None:
    guest.send_text("table")
    answer = guest.expect_text("Assam")
    expect(answer.locator("th")).to_have_text(["Tea", "Price"])
    expect(answer.locator("pre")).to_have_text("x = 1")
    expect(answer.get_by_role("heading", name="Title")).to_be_visible()
    expect(answer.locator("blockquote")).to_have_text("quoted")


def test_blocks_begin_on_the_side_of_their_first_letter(guest: Guest) -> None:
    guest.send_text("arabic")
    check_text_direction(guest.expect_text("npm install").locator(".prose"))


def test_table_columns_keep_their_alignment(guest: Guest) -> None:
    guest.send_text("aligned")
    cells = guest.expect_text("1").locator("td")

    sides = cells.evaluate_all("cells => cells.map(cell => getComputedStyle(cell).textAlign)")
    assert sides == ["left", "center", "right", "start"]


def test_a_cards_buttons_act_and_lead(guest: Guest) -> None:
    guest.send_text("card")
    card = guest.page.locator(".card")
    expect(card.get_by_role("link", name="Plan")).to_have_attribute("href", "https://example.com/plan")
    card.get_by_role("button", name="Book them").click()
    guest.expect_text("You chose: seats")
    expect(guest.own_messages.last.locator(".bubble")).to_have_text("Book them")


def test_button_that_counts_once_says_so_the_second_time(guest: Guest) -> None:
    guest.send_text("refund")
    card = guest.page.locator(".card")
    card.get_by_role("button", name="Approve").click()
    guest.expect_text("Order 17: True")
    card.get_by_role("button", name="Decline").click()
    guest.expect_text("That has already been chosen.")


def test_a_card_in_a_row_of_cards_is_chosen(guest: Guest) -> None:
    guest.send_text("cards")
    guest.page.get_by_role("button", name="Take Nepal").click()
    guest.expect_text("You chose: Nepal")


def test_carousel_is_moved_by_its_arrows(guest: Guest) -> None:
    guest.send_text("many cards")
    guest.expect_text("Tea 8")
    on = guest.page.get_by_role("button", name="Next cards")
    back = guest.page.get_by_role("button", name="Previous cards")
    expect(back).to_be_hidden()
    expect(guest.page.get_by_text("Tea 8", exact=True)).not_to_be_in_viewport()
    for _ in range(8):
        if on.is_hidden():
            break
        before = guest.page.locator(".carousel").evaluate(_PLACE)
        on.click()
        guest.wait_until(lambda before=before: guest.page.locator(".carousel").evaluate(_PLACE) > before)
        guest.wait_until(lambda: guest.page.locator(".carousel").evaluate(_RESTS))
    expect(on).to_be_hidden()
    expect(back).to_be_visible()
    expect(guest.page.get_by_text("Tea 8", exact=True)).to_be_in_viewport()


def test_carousel_that_fits_has_no_arrows(guest: Guest) -> None:
    guest.send_text("cards")
    guest.expect_text("Nepal")
    expect(guest.page.get_by_role("button", name="Next cards")).to_be_hidden()


def test_a_choice_is_taken_by_a_click(guest: Guest) -> None:
    guest.send_text("choices")
    guest.page.get_by_role("group", name="Answers").get_by_role("button", name="Green").click()
    guest.expect_text("You chose: Green")


def test_a_choice_is_taken_by_writing_it_as_well(guest: Guest) -> None:
    guest.send_text("choices")
    guest.expect_text("Which colour?")
    guest.send_text("blue")
    guest.expect_text("You chose: Blue")


def test_questions_of_a_dialog_are_answered_by_clicks(guest: Guest) -> None:
    guest.send_text("/tea")
    guest.expect_text("Which tea?")
    guest.page.get_by_role("button", name="Nepal").click()
    guest.expect_text("Which size?")
    guest.page.get_by_role("button", name="Assam").click()
    guest.page.get_by_role("button", name="Large").click()
    guest.expect_text("A large Nepal, order 1.")


def test_a_form_is_filled_in_and_sent(guest: Guest) -> None:
    guest.send_text("form")
    form = guest.page.get_by_role("form", name="Your order")
    form.get_by_label("Name").fill("Maria")
    form.get_by_role("button", name="Send").click()
    expect(guest.own_messages).to_have_count(1)  # the size is still missing
    form.get_by_label("Size").select_option("Large")
    form.get_by_label("Milk").check()
    form.get_by_label("Lemon").check()
    form.get_by_role("button", name="Send").click()
    guest.expect_text("Maria: Large with Milk, Lemon")
    expect(guest.own_messages.last).to_contain_text("Size: Large")


def test_form_of_a_question_shows_every_kind_of_field(guest: Guest) -> None:
    guest.send_text("/book")
    form = guest.page.get_by_role("form", name="Your table")
    kinds = {"Guests": "number", "Day": "date", "Time": "time", "E-mail": "email", "Phone": "tel"}
    for label, kind in kinds.items():
        expect(form.get_by_label(label)).to_have_attribute("type", kind)
    assert form.get_by_label("Wishes").evaluate("field => field.tagName") == "TEXTAREA"
    looks = "field => [getComputedStyle(field).borderRadius, getComputedStyle(field).minHeight]"
    assert {tuple(form.get_by_label(label).evaluate(looks)) for label in kinds} == {
        tuple(form.get_by_label("Name").evaluate(looks))
    }
    expect(form.get_by_label("Time")).to_have_value("19:30")
    form.get_by_label("Name").fill("Maria")
    form.get_by_label("Wishes").fill("A quiet\ntable")
    form.get_by_label("Guests").fill("10")
    form.get_by_label("Day").fill("2031-02-03")
    form.get_by_label("Place").select_option("Garden")
    form.get_by_label("Meat").check()
    form.get_by_label("Fish").check()
    form.get_by_label("E-mail").fill("maria@example.org")
    form.get_by_role("button", name="Send").click()
    expect(guest.own_messages).to_have_count(1)  # ten are too many, and the terms are not accepted
    form.get_by_label("Guests").fill("9")
    form.get_by_label("Terms accepted").check()
    form.get_by_role("button", name="Send").click()

    again = guest.page.get_by_role("form", name="Guests: only 8 are left.")
    expect(again.get_by_label("Guests")).to_have_value("")
    expect(again.get_by_label("Name")).to_have_value("Maria")
    expect(again.get_by_label("Wishes")).to_have_value("A quiet\ntable")
    expect(again.get_by_label("Day")).to_have_value("2031-02-03")
    expect(again.get_by_label("Fish")).to_be_checked()
    expect(again.get_by_label("None of both")).not_to_be_checked()
    expect(again.get_by_label("Terms accepted")).to_be_checked()
    again.get_by_label("Guests").fill("2")
    again.get_by_role("button", name="Send").click()
    guest.expect_text("Booked: Maria | A quiet table | 2 | 2031-02-03 | 19:30:00 | Garden | ['Meat', 'Fish'] | True")


def test_server_refuses_what_the_browser_let_through(guest: Guest) -> None:
    guest.send_text("/book")
    form = guest.page.get_by_role("form", name="Your table")
    form.get_by_label("Name").fill("Maria")
    form.evaluate("form => { form.noValidate = true; }")
    form.get_by_role("button", name="Send").click()
    expect(guest.page.get_by_text("Please fill in: Guests, Day, Place, Menus, E-mail.")).to_be_visible()
    expect(form.get_by_label("Name")).to_have_value("Maria")


def test_a_place_and_a_picture_are_shown(guest: Guest) -> None:
    guest.send_text("place")
    expect(guest.bot_messages.get_by_role("link", name="Pickup point")).to_have_attribute(
        "href", re.compile("openstreetmap")
    )
    guest.send_text("picture")
    expect(guest.expect_text("A picture").get_by_role("img", name="sun.svg")).to_be_visible()


def test_the_command_menu_is_a_combobox(guest: Guest) -> None:
    box = guest.page.get_by_role("combobox", name="Message helpdesk")
    expect(box).to_have_attribute("aria-expanded", "false")
    box.press_sequentially("/")
    expect(box).to_have_attribute("aria-expanded", "true")
    menu = guest.page.locator(f"#{box.get_attribute('aria-controls')}")
    expect(menu).to_have_role("listbox")
    box.press("ArrowDown")
    chosen = menu.get_by_role("option", selected=True)
    expect(chosen).to_have_id(box.get_attribute("aria-activedescendant") or "")
    box.press("Escape")
    expect(box).to_have_attribute("aria-expanded", "false")
    assert box.get_attribute("aria-activedescendant") is None


def test_commands_are_offered_with_their_arguments(guest: Guest) -> None:
    guest.composer.press_sequentially("/")
    options = guest.page.get_by_role("listbox").get_by_role("option")
    expect(options.filter(has_text="/remind")).to_contain_text("Says something later.")
    guest.composer.press_sequentially("tr")
    expect(options).to_have_count(1)
    expect(options).to_contain_text(re.compile(r"/track.*number.*Where is my order\?"))
    guest.composer.press("Enter")
    expect(guest.composer).to_have_value("/track ")
    expect(guest.page.locator(".usage")).to_contain_text(re.compile(r"/track.*number"))
    guest.composer.press_sequentially("17")
    guest.composer.press("Enter")
    guest.expect_text("Order 17 is on its way")
    expect(guest.page.locator(".usage")).to_be_hidden()


def test_several_answers_are_all_there_in_their_order(guest: Guest) -> None:
    guest.send_text("several")
    expect(guest.bot_messages.locator(".bubble")).to_have_text(["The first", "The second", "The third"])


def test_one_sees_that_the_bot_is_at_work_for_as_long_as_it_is(guest: Guest, platform: Platform) -> None:
    guest.send_text("think")
    expect(guest.page.locator(".working")).to_have_text("helpdesk is typing")
    platform.mark("thought")
    guest.expect_text("That took a while.")
    expect(guest.page.locator(".working")).to_have_count(0)


def test_one_sees_what_the_bot_is_working_on(guest: Guest, platform: Platform) -> None:
    guest.send_text("search")
    expect(guest.page.locator(".working")).to_have_text("looking it up…")
    platform.mark("found")
    guest.expect_text("It was in the attic.")
    expect(guest.page.locator(".working")).to_have_count(0)


def test_what_a_bot_says_unasked_appears_by_itself(guest: Guest, platform: Platform) -> None:
    guest.send_text("later")
    guest.expect_text("I will tell you.")
    expect(guest.page.locator(".working")).to_have_count(0)
    platform.mark("later")
    guest.expect_text("Your order is out.")


def test_a_streamed_answer_grows_and_stays_one_message(guest: Guest, platform: Platform) -> None:
    guest.send_text("stream")
    expect(guest.bot_messages.locator(".bubble")).to_have_text("One")
    expect(guest.bot_messages).to_have_attribute("aria-busy", "true")
    platform.mark("go-on")
    expect(guest.bot_messages.locator(".bubble")).to_have_text("One two")
    expect(guest.bot_messages).not_to_have_attribute("aria-busy", "true")
    expect(guest.bot_messages.locator(".bubble strong")).to_have_text("two")
    expect(guest.bot_messages).to_have_count(1)


def test_another_tab_shows_the_same_at_once(guest: Guest, visit: Visit) -> None:
    guest.send_text("/track 1")
    guest.expect_text("Order 1 is on its way")
    other = visit(f"/conversation/{guest.chat_id}", beside=guest)
    other.expect_text("Order 1 is on its way")
    guest.send_text("/track 2")
    other.expect_text("Order 2 is on its way")
    expect(other.own_messages.locator(".bubble")).to_have_text(["/track 1", "/track 2"])
    other.send_text("/track 3")
    guest.expect_text("Order 3 is on its way")
    expect(guest.own_messages).to_have_count(3)


def test_all_is_there_again_after_a_reload(guest: Guest) -> None:
    guest.send_text("card")
    guest.page.locator(".card").get_by_role("button", name="Book them").click()
    guest.expect_text("You chose: seats")
    guest.reload()
    guest.expect_text("You chose: seats")
    expect(guest.page.locator(".card")).to_be_visible()
    expect(guest.own_messages.locator(".bubble")).to_have_text(["card", "Book them"])


def test_message_for_a_closed_chat_is_counted_and_announced(guest: Guest, platform: Platform) -> None:
    guest.send_text("think")
    expect(guest.page.locator(".working")).to_be_visible()
    guest.open_chat("tea-house")
    platform.mark("thought")
    badge = guest.page.get_by_role("link", name=re.compile("Chat 1.*One new message"))
    expect(badge).to_be_visible()
    expect(guest.page).to_have_title("(1) tea-house – Tea & Orders")
    badge.click()
    guest.expect_text("That took a while.")
    expect(guest.page).to_have_title("helpdesk – Tea & Orders")


@pytest.mark.parametrize("name", ["Zoë", "李雷", "محمد"])
def test_name_of_any_language_signs_up(visit: Visit, name: str) -> None:
    guest = visit().sign_up(name).open_chat("tea-house")
    guest.send_text("Hello")
    guest.expect_text(f"Tea, {name}?")
    guest.reload()
    expect(guest.page.locator(".identity")).to_contain_text(name)


@pytest.mark.parametrize("name", ["x" * 33, "<script>", "-", "a\u202eb"])
def test_rejected_name_shows_its_cause(visit: Visit, name: str) -> None:
    guest = visit()
    guest.page.get_by_label("Your name").evaluate("(input) => input.closest('form').noValidate = true")
    guest.page.get_by_label("Your name").fill(name)
    guest.page.get_by_role("button", name="Start chatting").click()
    expect(guest.page.get_by_role("alert")).to_contain_text("The name should")
    expect(guest.page.locator(".webchat")).to_have_count(0)


def test_the_page_speaks_the_readers_language(visit: Visit) -> None:
    guest = visit(locale="de-AT")
    guest.page.get_by_label("Dein Name").fill("Maria")
    guest.page.get_by_role("button", name="Loslegen").click()
    expect(guest.page.get_by_role("heading", name="Mit wem möchtest du sprechen?")).to_be_visible()
    expect(guest.page.locator("html")).to_have_attribute("lang", "de")


def test_a_conversation_is_held_with_the_keyboard_alone(visit: Visit) -> None:
    guest = visit()
    keys = guest.page.keyboard
    expect(guest.page.get_by_label("Your name")).to_be_focused()
    keys.type("Maria")
    keys.press("Enter")
    expect(guest.page.get_by_role("heading", name="Whom do you want to talk to?")).to_be_visible()
    guest.page.locator(".tile").first.focus()
    keys.press("Enter")
    expect(guest.composer).to_be_focused()
    keys.type("choices")
    keys.press("Enter")
    guest.expect_text("Which colour?")
    keys.press("Shift+Tab")  # from the box to the paper clip, and on to the answers
    for _ in range(6):
        if guest.page.evaluate("document.activeElement.textContent") == "Blue":
            break
        keys.press("Shift+Tab")
    keys.press("Enter")
    guest.expect_text("You chose: Blue")
    guest.composer.focus()
    guest.bot_messages.last.focus()
    keys.press("ArrowUp")
    expect(guest.own_messages.last).to_be_focused()


def test_what_has_the_focus_keeps_it_while_things_change(visit: Visit) -> None:
    guest = visit().sign_up()
    tile = guest.page.locator(".tile").last
    tile.focus()
    other = visit("/", beside=guest).open_chat()
    other.send_text("/track 1")
    other.expect_text("Order 1 is on its way")
    expect(guest.chats).to_contain_text("Order 1 is on its way")
    guest.page.bring_to_front()  # in Firefox only the tab in front has the focus
    expect(tile).to_be_focused()
    guest.chats.click()
    rename = guest.page.get_by_role("button", name="Rename")
    rename.focus()
    other.page.get_by_role("button", name="New chat").click()
    other.send_text("/track 2")
    expect(guest.chats).to_have_count(2)
    guest.page.bring_to_front()
    expect(rename).to_be_focused()
