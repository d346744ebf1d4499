"""How each kind of message looks, and what its buttons do."""

from __future__ import annotations

import re

import pytest
from pytest_httpserver import HTTPServer

from tests.browser.conftest import Visitor
from tests.browser.engine import expect, find_box
from tests.browser.media_files import RECORD_FILM, WAV
from tests.browser.text_direction import ARABIC, check_text_direction


def test_markdown_becomes_elements_and_markup_stays_text(visitor: Visitor) -> None:
    text = (
        "# Title\n\n**bold** _soft_ `code` ~~gone~~\n\n- one\n  - inner\n\n1. first\n2. second\n\n> wise\n\n"
        "```\n<b>raw</b>\n```\n\n| A | B |\n|---|---|\n| 1 | 2 |\n\n"
        "[good](https://example.org/) [bad](javascript:alert(1)) "
        "<img src=x onerror=alert(1)><script>alert(1)</script> https://example.org/path."
    )
    visitor.bot_sends("message", "text", {"text": text})
    bubble = visitor.expect_text("Title")
    expect(bubble.locator("strong")).to_have_text("bold")
    expect(bubble.locator("ul ul li")).to_have_text("inner")
    expect(bubble.locator("ol li")).to_have_count(2)
    expect(bubble.locator("blockquote")).to_have_text("wise")
    expect(bubble.locator("pre")).to_have_text("<b>raw</b>")
    expect(bubble.locator("td")).to_have_text(["1", "2"])
    links = [link.get_attribute("href") for link in bubble.locator("a").all()]
    assert links == ["https://example.org/", "https://example.org/path"]
    expect(bubble.locator("script, img, b")).to_have_count(0)
    expect(bubble).to_contain_text("<script>alert(1)</script>")


@pytest.mark.parametrize(
    "url",
    [
        "https://docs.python.org/3/library/__main__.html",
        "https://en.wikipedia.org/wiki/Python_(programming_language)",
        "https://x.example/a*b*c",
        "https://shop.example/p/_new_/a",
        "https://pkg.example/a/__init__",
    ],
)
def test_bare_url_is_one_link(visitor: Visitor, url: str) -> None:
    visitor.bot_sends("message", "text", {"text": f"See {url} now, or ({url}). **{url}** 请看{url}。"})

    links = visitor.expect_text("See").locator("a")
    expect(links).to_have_count(4)
    assert [link.get_attribute("href") for link in links.all()] == [url] * 4


def test_blocks_begin_on_the_side_of_their_first_letter(visitor: Visitor) -> None:
    visitor.bot_sends("message", "text", {"text": ARABIC})
    check_text_direction(visitor.expect_text("npm install").locator(".prose"))


def test_table_columns_keep_their_alignment(visitor: Visitor) -> None:
    visitor.bot_sends("message", "text", {"text": "|a|b|c|d|\n|:--|:-:|--:|---|\n|1|2|3|4|"})
    cells = visitor.expect_text("1").locator("td")

    sides = cells.evaluate_all("cells => cells.map(cell => getComputedStyle(cell).textAlign)")
    assert sides == ["left", "center", "right", "start"]


def test_numbered_choices_are_buttons_that_answer(visitor: Visitor) -> None:
    visitor.send_text("hello")
    visitor.expect_text("What can I do for you?").get_by_role("button", name="Talk to a human").click()
    visitor.expect_text("You chose: Talk to a human")


def test_one_line_preview_separates_lines(visitor: Visitor) -> None:
    visitor.bot_sends(
        "message", "text", {"text": "**Tea**\nFrom Assam\n\n- one\n- two\n\n| A | B |\n|---|---|\n| 1 | 2 |"}
    )
    message = visitor.page.locator("#chat .message.other")
    expect(message).to_have_attribute("aria-label", re.compile(r": Tea From Assam one two A B 1 2$"))
    expect(visitor.page.locator("#people")).to_contain_text("Tea From Assam one two")


def test_an_ordinary_numbered_list_is_no_choice(visitor: Visitor) -> None:
    visitor.bot_sends("message", "text", {"text": "Do this:\n1. Breathe in\n2. Breathe out"})
    expect(visitor.expect_text("Breathe in").locator("button")).to_have_count(0)


def test_a_card_as_text_has_a_button_and_a_link(visitor: Visitor) -> None:
    visitor.send_text("card")
    bubble = visitor.expect_text("Two seats")
    expect(bubble.get_by_role("link")).to_have_attribute("href", "https://example.org/")
    bubble.get_by_role("button", name="Book them").click()
    visitor.expect_text("You chose: Book them")


def test_a_form_as_text_is_filled_in_and_sent(visitor: Visitor) -> None:
    visitor.send_text("form")
    bubble = visitor.expect_text("Your order")
    bubble.get_by_label("Name").fill("Maria")
    bubble.get_by_label("Colour").select_option("Blue")
    bubble.get_by_role("button", name="Send").click()
    visitor.expect_text("Maria wants Blue")


def test_form_as_text_shows_the_kinds_of_its_fields(visitor: Visitor) -> None:
    visitor.send_text("table")
    bubble = visitor.expect_text("Your table")
    kinds = {"Guests": "number", "Day": "date", "Time": "time", "Gift": "checkbox", "E-mail": "email", "Phone": "tel"}
    for label, kind in kinds.items():
        expect(bubble.get_by_label(label)).to_have_attribute("type", kind)
    expect(bubble.get_by_label("Plate")).to_have_attribute("placeholder", "a plate such as B-1")
    for label, text in {
        "Guests": "3",
        "Day": "2031-02-03",
        "Time": "18:30",
        "E-mail": "m@example.org",
        "Plate": "b",
    }.items():
        bubble.get_by_label(label).fill(text)
    bubble.get_by_label("Gift").check()
    bubble.get_by_role("button", name="Send").click()
    visitor.expect_text("Plate: please write a plate such as B-1, not “b”.")
    bubble.get_by_label("Plate").fill("B-1")
    bubble.get_by_role("button", name="Send").click()
    visitor.expect_text("3 | 2031-02-03 | 18:30 | yes | m@example.org | | B-1")


def test_question_asks_for_one_field_after_the_other(visitor: Visitor) -> None:
    visitor.send_text("/visit")
    visitor.expect_text("Your visit").get_by_role("button", name="Garden").click()
    visitor.expect_text("day (a date such as 2031-12-24)")
    visitor.send_text("3.2.2031")
    visitor.expect_text("Garden on 2031-02-03")


def test_a_place_and_a_file_lead_to_where_they_are(visitor: Visitor) -> None:
    visitor.send_text("file")
    expect(visitor.expect_text("terms.pdf").get_by_role("link")).to_have_attribute(
        "href", "https://example.org/terms.pdf"
    )
    visitor.bot_sends("custom", "location", {"customData": {"lat": 48.137, "lng": 11.575, "label": "Pickup"}})
    link = visitor.expect_text("Pickup").get_by_role("link")
    expect(link).to_have_attribute("href", re.compile("openstreetmap.*48.137"))


@pytest.mark.parametrize("kind", ["audio", "video"])
def test_sound_and_film_have_a_player(visitor: Visitor, kind: str) -> None:
    mime_type = {"audio": "audio/wav", "video": "video/webm"}[kind]
    content = WAV if kind == "audio" else bytes(visitor.page.evaluate(RECORD_FILM))
    url = visitor.dev.file_url(f"clip.{kind}", content, mime_type)
    file = {"url": url, "name": f"clip.{kind}", "mimeType": mime_type, "extension": kind}
    visitor.bot_sends("message", kind, {"attachments": [file], "text": "Listen"})
    player = visitor.expect_text("Listen").locator(kind)
    expect(player).to_have_attribute("src", url)
    expect(player).to_have_attribute("aria-label", f"clip.{kind}")


def test_a_picture_is_shown(visitor: Visitor, picture: bytes) -> None:
    url = visitor.dev.file_url("chart.png", picture, "image/png")
    file = {"url": url, "name": "chart.png", "mimeType": "image/png", "extension": "png"}
    visitor.bot_sends("message", "image", {"attachments": [file]})
    image = visitor.page.get_by_role("img", name="chart.png")
    expect(image).to_have_js_property("naturalWidth", 2)


def test_a_custom_message_is_readable_json(visitor: Visitor) -> None:
    visitor.bot_sends("custom", "invoice", {"customData": {"total": 12.5, "paid": False}})
    block = visitor.expect_text("invoice").locator(".json")
    expect(block).to_have_text('{\n  "total": 12.5,\n  "paid": false\n}', use_inner_text=True)


def test_a_card_message_shows_its_elements_and_its_buttons_work(visitor: Visitor) -> None:
    body = [
        {"id": "1", "type": "text", "content": "Order 88 shipped"},
        {"id": "2", "type": "markdown", "content": "**Tomorrow** at noon"},
        {"id": "3", "type": "badge", "text": "express"},
        {"id": "4", "type": "progressBar", "value": 60},
        {"id": "5", "type": "table", "columns": ["Item", "Count"], "rows": [["Tea", "2"]]},
        {"id": "6", "type": "row", "items": [{"id": "7", "type": "chip", "text": "fragile"}]},
        {"id": "8", "type": "button", "label": "Track", "action": {"type": "sendMessage", "text": "/track 88"}},
        {"id": "9", "type": "button", "label": "Colleague", "action": {"type": "chatWithUser", "uid": "tom"}},
        {"id": "10", "type": "surprise"},
    ]
    style = {"background": {"light": "#FFFFFF", "dark": "#1C1C1E"}}
    shown = {"version": "1.0", "fallbackText": "Order 88", "style": style, "body": body}
    visitor.bot_sends("card", "text", {"text": "Order 88", "card": shown})
    card = visitor.page.locator(".card")
    expect(card.locator(".prose strong")).to_have_text("Tomorrow")
    expect(card.locator("progress")).to_have_js_property("value", 60)
    expect(card.locator("td")).to_have_text(["Tea", "2"])
    expect(card.locator(".json")).to_contain_text("surprise")
    track = card.get_by_role("button", name="Track")
    assert find_box(track)["height"] >= 36
    track.click()
    visitor.expect_text("Order 88 is on its way")
    card.get_by_role("button", name="Colleague").click()
    expect(visitor.page.locator("#chat h2")).to_have_text("Tom Berger")


def test_interactive_form_calls_its_url_with_the_values(visitor: Visitor, httpserver: HTTPServer) -> None:
    expected = {"table": 4, "form": {"who": "Maria", "day": "mo", "extras": ["w"]}}
    httpserver.expect_ordered_request("/book", method="PUT", json=expected, headers={"X-Token": "t"}).respond_with_data(
        ""
    )
    action = {
        "actionType": "apiAction", "method": "PUT", "url": httpserver.url_for("/book"), "headers": {"X-Token": "t"},
        "payload": {"table": 4}, "dataKey": "form",
    }  # fmt: skip
    days = [{"value": "mo", "label": "Monday"}]
    fields = [
        {"elementType": "textInput", "elementId": "who", "label": "Who"},
        {"elementType": "dropdown", "elementId": "day", "label": "Day", "options": days},
        {"elementType": "checkbox", "elementId": "extras", "label": "Extras", "optional": True,
         "options": [{"value": "w", "label": "Window"}]},
    ]  # fmt: skip
    submit = {"elementType": "button", "elementId": "go", "buttonText": "Book", "disableAfterInteracted": True}
    shown = {"title": "A table", "formFields": fields, "submitElement": {**submit, "action": action}}
    visitor.bot_sends("interactive", "form", {"interactiveData": {**shown, "goalCompletionText": "Booked!"}})
    card = visitor.page.locator(".card")
    card.get_by_label("Who").fill("Maria")
    card.get_by_label("Day").select_option("mo")
    card.get_by_label("Window").check()
    card.get_by_role("button", name="Book").click()
    visitor.expect_notice("Booked!")
    expect(card.get_by_role("button", name="Book")).to_be_disabled()
    httpserver.check_assertions()


def test_an_interactive_card_whose_address_fails_says_so(visitor: Visitor, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/leave").respond_with_data("no", status=500)
    action = {"actionType": "apiAction", "url": httpserver.url_for("/leave"), "method": "POST"}
    button = {"elementType": "button", "elementId": "ok", "buttonText": "Approve", "action": action}
    visitor.bot_sends("interactive", "card", {"interactiveData": {"text": "Leave?", "cardActions": [button]}})
    visitor.page.get_by_role("button", name="Approve").click()
    visitor.expect_notice("status 500", "toast bad")


def test_form_input_survives_a_message_change(visitor: Visitor) -> None:
    fields = [
        {"elementType": "textInput", "elementId": "name", "label": "Name"},
        {
            "elementType": "dropdown",
            "elementId": "colour",
            "label": "Colour",
            "options": [{"value": "red", "label": "Red"}],
        },
        {
            "elementType": "checkbox",
            "elementId": "extras",
            "label": "Extras",
            "options": [{"value": "gift", "label": "Gift"}],
        },
    ]
    data = {"interactiveData": {"title": "Your order", "formFields": fields}}
    sent = visitor.bot_sends("interactive", "form", data)
    form = visitor.page.locator("#chat form.fields")
    form.get_by_label("Name").fill("Maria Keller")
    form.get_by_label("Colour").select_option("red")
    form.get_by_label("Gift").check()
    form.get_by_label("Name").focus()
    visitor.page.keyboard.press("Home")
    visitor.dev.post("/users/helpdesk/act", {"act": "react", "message": sent["id"], "reaction": "👍"})
    expect(visitor.page.locator("#chat .message.other", has_text="👍")).to_be_visible()
    expect(form.get_by_label("Colour")).to_have_value("red")
    expect(form.get_by_label("Gift")).to_be_checked()
    visitor.page.keyboard.type("Ms ")
    expect(form.get_by_label("Name")).to_have_value("Ms Maria Keller")
