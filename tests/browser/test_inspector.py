"""The inspector: traffic, failures, dead letters, and what happens when the code changes."""

from __future__ import annotations

import json
import re

from playwright.sync_api import Route

from tests.browser.conftest import Visit, Visitor
from tests.browser.engine import Need, expect, needs


def test_callback_details_hide_secrets(visitor: Visitor) -> None:
    visitor.send_text("/track 31")
    visitor.expect_text("Order 31 is on its way")
    visitor.page.locator(".message.own .receipt").click()
    callback = visitor.page.locator(".entry", has_text="after_message")
    expect(callback).to_have_count(1)
    expect(callback.locator(".status")).to_have_text("200")
    expect(callback.locator("summary").first).to_contain_text("track")
    expect(callback).to_have_attribute("open", "")
    callback.locator("summary", has_text="Headers").click()
    headers = callback.locator(".headers")
    expect(headers).to_contain_text("content-type")
    expect(headers).to_contain_text(re.compile(r"authorization\s*\*{3}"))
    body = json.loads(callback.locator(".json").first.inner_text())
    assert body["data"]["data"]["text"] == "/track 31"
    expect(callback.locator("dl").first).to_contain_text(re.compile(r"Handler.*track · done after \d+ ms"))


@needs(Need.ROUTES)
def test_message_opens_a_callback_logged_after_the_reply(visitor: Visitor) -> None:
    def answered_first(route: Route) -> None:
        """As if the bot's call had ended before the callback did."""
        begun = route.fetch().json()
        entries = [entry for entry in begun["data"]["entries"] if entry["kind"] == "callback"]
        for entry in entries:
            entry["id"] += 1_000_000
        begun["data"]["entries"].sort(key=lambda entry: int(entry["id"]))
        route.fulfill(json=begun)

    visitor.send_text("/track 30")
    visitor.expect_text("Order 30 is on its way")
    expect(visitor.page.locator(".message.own .receipt")).to_contain_text("track")
    visitor.page.route("**/simulator/page", answered_first)
    visitor.reload()
    visitor.page.locator(".message.own .receipt").click()
    expect(visitor.page.locator(".entry", has_text="after_message")).to_have_attribute("open", "")


@needs(Need.EARLY_SCRIPTS)
def test_click_survives_a_change_during_the_press(visitor: Visitor) -> None:
    visitor.page.add_init_script("""
        window.EventSource = class extends EventSource {
            constructor(url) {
                super(url);
                this.addEventListener("entry", ({ data }) => {
                    // Webhooks are logged as well; only a change draws the message anew.
                    if (JSON.parse(data).kind === "change") document.documentElement.dataset.heard = data;
                });
            }
        };
    """)
    visitor.reload()
    message = visitor.dev.post(f"/users/{visitor.uid}/say", {"to": "helpdesk", "text": "/track 29"})
    visitor.expect_text("Order 29 is on its way")
    receipt = visitor.page.locator(".message.own .receipt")
    expect(receipt).to_contain_text("track")
    receipt.hover()
    visitor.page.mouse.down()
    visitor.dev.post("/users/helpdesk/act", {"act": "react", "message": message["id"], "reaction": "\N{PARTY POPPER}"})
    expect(visitor.page.locator("html")).to_have_attribute(
        "data-heard", re.compile('"reactedBy": ?{".+": ?\\["helpdesk"')
    )
    visitor.page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    visitor.page.mouse.up()
    callback = visitor.page.locator(".entry", has_text="/track 29")
    expect(callback).to_have_count(1)
    expect(callback).to_have_attribute("open", "")
    expect(visitor.page.locator(".message.own .reaction")).to_contain_text("\N{PARTY POPPER}")


def test_rest_call_details_mask_the_key(visitor: Visitor) -> None:
    visitor.send_text("/track 32")
    visitor.expect_text("Order 32 is on its way")
    call = visitor.page.locator(".entry", has_text="POST /bots/helpdesk/messages").first
    call.locator("summary").first.click()
    call.locator("summary", has_text="Headers").click()
    expect(call.locator(".headers")).to_contain_text(re.compile(r"apikey\s*\*{3}"))
    body = json.loads(call.get_by_label("Body", exact=True).inner_text())
    assert body["data"]["text"].startswith("Order **32**")
    answer = json.loads(call.get_by_label("Answer", exact=True).inner_text())
    assert answer["data"]["sender"] == "helpdesk"


def test_the_wire_is_filtered_by_kind_and_text(visitor: Visitor) -> None:
    visitor.send_text("needle-haystack")
    visitor.expect_text("You said: needle-haystack")
    visitor.page.get_by_label(re.compile("^Filter by")).fill("needle-haystack")
    expect(visitor.page.locator(".entry")).to_have_count(2)
    visitor.page.get_by_label("Which entries").select_option("Callbacks")
    expect(visitor.page.locator(".entry")).to_have_count(1)


def test_background_calls_are_shown_on_request(visitor: Visitor) -> None:
    visitor.send_text("/track 34")
    visitor.expect_text("Order 34 is on its way")
    upkeep = visitor.page.locator(".entry", has_text=re.compile(r"GET /bots(?!/)"))
    expect(visitor.page.locator(".entry").first).to_be_visible()
    expect(upkeep).to_have_count(0)
    visitor.page.get_by_label("Which entries").select_option("REST calls")
    expect(upkeep.first).to_be_visible()


def test_a_429_is_survived_and_seen(visitor: Visitor) -> None:
    visitor.open_tab("Failures")
    switch = visitor.page.get_by_role("switch", name="Too many requests")
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "true")
    visitor.send_text("/track 33")
    visitor.open_tab("Traffic")
    refused = visitor.page.locator(".entry", has=visitor.page.locator(".status", has_text="429"))
    expect(refused.first).to_contain_text("rate_limit")
    visitor.expect_text("Order 33 is on its way")
    visitor.open_tab("Failures")
    expect(switch).to_have_attribute("aria-checked", "false")
    expect(visitor.page.locator(".message.other")).to_have_count(1)


def test_duplicated_callback_is_answered_once(visitor: Visitor) -> None:
    visitor.open_tab("Failures")
    visitor.page.get_by_role("switch", name="Callbacks twice").click()
    expect(visitor.page.get_by_role("tab", name="Failures")).to_contain_text("1")
    visitor.send_text("/track 34")
    visitor.expect_text("Order 34 is on its way")
    expect(visitor.page.locator(".receipt")).to_contain_text("sent 2 times")
    expect(visitor.page.locator(".message.other")).to_have_count(1)


def test_a_switch_that_is_switched_off_ends_the_trouble(visitor: Visitor) -> None:
    visitor.open_tab("Failures")
    visitor.page.get_by_label("How often").select_option("until switched off")
    switch = visitor.page.get_by_role("switch", name="Server error")
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "true")
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "false")
    visitor.send_text("/track 35")
    visitor.expect_text("Order 35 is on its way")


def test_dead_letter_is_retried_after_a_code_change(visitor: Visitor) -> None:
    visitor.send_text("fail")
    expect(visitor.page.locator(".receipt.bad")).to_contain_text("fail failed")
    visitor.open_tab("Dead letters")
    letter = visitor.page.locator(".letter", has_text=f"{visitor.uid}_user_")
    expect(letter.locator(".cause")).to_have_text("ValueError: the warehouse does not answer")
    visitor.dev.save_code(
        visitor.dev.code.replace('raise ValueError("the warehouse does not answer")', 'return "The warehouse answers."')
    )
    visitor.expect_notice("bot.py changed: the bot runs with the new code.", "notice good")
    letter.get_by_role("button", name="Retry").click()
    visitor.expect_text("The warehouse answers.")
    expect(letter).to_have_count(0)


def test_dialog_shows_whom_it_waits_for_and_expires(visitor: Visitor) -> None:
    visitor.send_text("tea")
    visitor.expect_text("Which tea?")
    visitor.open_tab("Dialogs")
    dialog = visitor.page.locator(".letter", has_text=f"{visitor.uid}_user_")
    expect(dialog.locator(".question")).to_have_text("Which tea?")
    expect(dialog.locator("dl")).to_contain_text(re.compile(r"Handler.*tea.*Until\s*\d\d:\d\d, "))
    dialog.get_by_role("button", name=re.compile("^Expire m")).click()
    visitor.expect_text("No tea, then.")
    expect(dialog).to_have_count(0)


def test_job_shows_when_it_runs_and_runs_now(visitor: Visitor) -> None:
    visitor.send_text("later")
    visitor.expect_text("Planned.")
    visitor.open_tab("Jobs")
    job = visitor.page.locator("#panel-jobs .letter").last
    expect(job.locator("header")).to_contain_text("Once")
    expect(job.locator("dl")).to_contain_text(re.compile(r"Next\s*\d\d:\d\d, .*Function.*ring.*Arguments.*tea"))
    job.get_by_role("button", name=re.compile("^Run j")).click()
    visitor.expect_text("Time for tea.")


def test_dialog_shows_who_can_approve(visitor: Visitor) -> None:
    visitor.send_text("refund")
    visitor.open_tab("Dialogs")
    dialog = visitor.page.locator(".letter", has_text=f"{visitor.uid}_user_")
    expect(dialog.locator("header")).to_contain_text("Waits for an approval")
    expect(dialog.locator(".question")).to_have_text("Refund 30 €?")
    expect(dialog.locator("dl")).to_contain_text(re.compile(r"Approval\s*\d+.*Card in\s*cometchat: group_.*Decided by"))
    dialog.get_by_role("button", name=re.compile("^Expire m")).click()
    visitor.expect_text("The refund was expired.")
    expect(dialog).to_have_count(0)


def test_answered_dialog_leaves_the_list(visitor: Visitor) -> None:
    visitor.open_tab("Dialogs")
    visitor.send_text("tea")
    dialog = visitor.page.locator(".letter", has_text=f"{visitor.uid}_user_")
    expect(dialog).to_have_count(1)
    visitor.send_text("Green")
    visitor.expect_text("Green tea, then.")
    expect(dialog).to_have_count(0)


def test_broken_code_is_explained_and_the_old_bot_runs_on(visitor: Visitor) -> None:
    visitor.dev.save_code(visitor.dev.code + "\ndef broken(:\n")
    notice = visitor.page.locator(".notice.bad")
    line = len(visitor.dev.code.splitlines()) + 2
    expect(notice).to_contain_text(f"bot.py, line {line}")
    expect(notice).to_contain_text("SyntaxError")
    expect(notice).to_contain_text("The old bot goes on.")
    expect(notice.locator("pre.code")).to_have_text("def broken(:")
    visitor.send_text("/track 36")
    visitor.expect_text("Order 36 is on its way")
    visitor.dev.save_code(visitor.dev.code.replace("is on its way", "has arrived"))
    visitor.expect_notice("the bot runs with the new code", "notice good")
    visitor.send_text("/track 37")
    visitor.expect_text("Order 37 has arrived")


def test_what_the_bot_logs_is_in_the_output(visit: Visit) -> None:
    visitor = visit()
    visitor.send_text("fail")
    expect(visitor.page.locator(".receipt.bad")).to_be_visible()
    visitor.open_tab("Output")
    row = visitor.page.locator(".output li.error", has_text="the warehouse does not answer").last
    row.locator("summary").click()
    expect(row.locator("pre")).to_contain_text("Traceback")


MODERATE = """

@bot.moderate
def check(item):
    return "casino" in item.text
"""


def test_blocked_message_and_its_rule_are_shown(visitor: Visitor) -> None:
    visitor.dev.save_code(visitor.dev.code + MODERATE)
    visitor.expect_notice("the bot runs with the new code", "notice good")
    visitor.send_text("our casino opens")
    visitor.expect_text("Blocked by moderation", "#chat .message.own .receipt")
    visitor.dev.post("/users/tom/say", {"to": visitor.uid, "text": "a casino for you"})
    visitor.dev.post("/users/tom/say", {"to": visitor.uid, "text": "good morning"})
    visitor.expect_text("good morning", "#people")
    expect(visitor.page.locator("#people")).not_to_contain_text("a casino")
    visitor.open_tab("Moderation")
    panel = visitor.page.locator("#panel-moderation")
    decision = panel.locator(".letter", has_text="our casino opens")
    expect(decision.locator("header")).to_have_text("Blocked")
    expect(decision.locator("dl")).to_contain_text(re.compile(r"Rule\s*Judged by helpdesk\s*Confidence\s*100 %"))
    rule = panel.locator("li", has_text="Judged by helpdesk").first
    expect(rule).to_contain_text("text, image, video, audio, file")
    rule.get_by_role("switch").click()
    expect(rule.get_by_role("switch")).to_have_attribute("aria-checked", "false")
    visitor.send_text("/track 38 casino")
    visitor.expect_text(re.compile("Unexpected argument|Order 38"))


def test_error_setting_of_moderation_is_kept(visitor: Visitor) -> None:
    visitor.open_tab("Moderation")
    choice = visitor.page.get_by_label("On Custom API Error")
    choice.select_option("drop-message")
    visitor.reload()
    visitor.open_tab("Moderation")
    expect(choice).to_have_value("drop-message")
    choice.select_option("approve-message")
