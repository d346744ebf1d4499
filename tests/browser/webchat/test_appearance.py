"""At both widths and in both appearances: nothing is cut off, nobody is kept out, and pictures to look at are kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.engine import Need, expect, needs
from tests.browser.webchat.conftest import Guest, Visit

SHOTS = os.environ.get("COMETBOT_TEST_SCREENSHOTS", "")
BOTH = pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=needs(Need.DARK))])
WIDTHS = pytest.mark.parametrize("width", [1280, 390])


_REST = """() => Promise.all(document.getAnimations()
    .filter((one) => one.effect.getTiming().iterations !== Infinity)
    .map((one) => one.finished.catch(() => {})))"""


def overflow(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def accessibility_errors(page: Page) -> list[str]:
    """What axe finds that is serious."""
    found: list[Any] = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:120]} {node['failureSummary'][:300]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def check_appearance(guest: Guest, name: str) -> None:
    """Keep a picture, and check what no eye is needed for; what moves comes to rest first."""
    guest.page.evaluate(_REST)
    if SHOTS:
        guest.page.screenshot(path=Path(SHOTS) / f"webchat-{name}.png")
    assert overflow(guest.page) == 0
    assert accessibility_errors(guest.page) == []


@BOTH
@WIDTHS
def test_every_part_is_accessible(visit: Visit, width: int, scheme: str) -> None:
    name = f"{width}-{scheme}"
    guest = visit(width=width, scheme=scheme, has_touch=width < 600)
    check_appearance(guest, f"{name}-welcome")
    guest.sign_up("Maria Lopez")
    expect(guest.page.locator(".people" if width < 600 else ".tiles")).to_be_visible()
    check_appearance(guest, f"{name}-home")
    guest.open_chat()
    check_appearance(guest, f"{name}-empty")
    for text, answer in [("hello", "What can I do"), ("card", "Two seats"), ("choices", "Which"), ("table", "Assam")]:
        guest.send_text(text)
        guest.expect_text(answer)
    check_appearance(guest, f"{name}-talk")
    for text, answer in [("form", "Your order"), ("cards", "Nepal"), ("place", "Pickup"), ("picture", "A picture")]:
        guest.send_text(text)
        guest.expect_text(answer)
    check_appearance(guest, f"{name}-kinds")
    guest.composer.press_sequentially("/")
    expect(guest.page.get_by_role("listbox")).to_be_visible()
    check_appearance(guest, f"{name}-menu")


@needs(Need.ROUTES, Need.OFFLINE)
@BOTH
def test_dialogs_and_notices_are_accessible(visit: Visit, scheme: str) -> None:
    guest = visit(width=390, scheme=scheme, has_touch=True).sign_up().open_chat()
    guest.send_text("hello")
    guest.expect_text("What can I do")
    guest.page.get_by_role("button", name="Rename").click()
    check_appearance(guest, f"390-{scheme}-rename")
    guest.page.keyboard.press("Escape")
    guest.page.get_by_role("button", name="Delete").click()
    check_appearance(guest, f"390-{scheme}-delete")
    guest.page.keyboard.press("Escape")
    refusal = {"status": 400, "json": {"message": "not in these words"}}
    guest.page.route("**/chat/*/messages", lambda route: route.fulfill(**refusal))
    guest.send_text("refused")
    expect(guest.page.locator(".fate.bad")).to_be_visible()
    file = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"x" * 2000}
    guest.page.locator("input[type=file]").set_input_files(file)  # type: ignore[arg-type]
    expect(guest.page.locator(".attached")).to_be_visible()
    guest.page.context.set_offline(True)
    guest.expect_text("You are offline", ".notice")
    check_appearance(guest, f"390-{scheme}-trouble")


@needs(Need.TOUCH)
def test_on_a_phone_the_list_and_a_chat_take_turns(visit: Visit) -> None:
    guest = visit(width=390, has_touch=True).sign_up()
    expect(guest.page.locator(".people")).to_be_visible()
    expect(guest.page.locator("main.chat")).to_be_hidden()
    guest.page.get_by_role("link", name="helpdesk").tap()
    expect(guest.page.locator(".people")).to_be_hidden()
    guest.send_text("/track 1")
    guest.expect_text("Order 1 is on its way")
    guest.page.get_by_role("button", name="Back to the chats").tap()
    expect(guest.page.locator("main.chat")).to_be_hidden()
    guest.chats.tap()
    guest.expect_text("Order 1 is on its way")


def test_the_appearance_is_switched_and_remembered(guest: Guest) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = guest.page.evaluate(ground)
    button = guest.page.get_by_role("button", name="Appearance")
    button.click()
    button.click()
    expect(button).to_have_accessible_name("Appearance: dark")
    guest.page.evaluate(_REST)
    dark = guest.page.evaluate(ground)
    assert dark != light
    guest.reload()
    guest.page.evaluate(_REST)
    assert guest.page.evaluate(ground) == dark


@needs(Need.MOTION)
def test_nothing_moves_for_whoever_asks_for_that(visit: Visit) -> None:
    guest = visit(reduced_motion="reduce").sign_up().open_chat()
    guest.send_text("hello")
    guest.expect_text("What can I do")
    moving = (
        "[...document.querySelectorAll('*')].filter((one) => getComputedStyle(one).animationName !== 'none').length"
    )
    assert guest.page.evaluate(moving) == 0
