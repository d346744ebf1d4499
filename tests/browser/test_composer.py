"""The message box of the simulator's page: input methods, clipboards and touch keyboards."""

from __future__ import annotations

import pytest
from playwright.sync_api import Route

from tests.browser.conftest import Visit, Visitor
from tests.browser.engine import Need, expect, needs
from tests.browser.input_events import confirm_candidate, paste


@pytest.mark.parametrize("safari", [True, False])
def test_confirming_a_candidate_sends_nothing(visitor: Visitor, safari: bool) -> None:
    visitor.composer.fill("nihao")
    confirm_candidate(visitor.composer, safari=safari)

    expect(visitor.composer).to_have_value("nihao")
    expect(visitor.messages).to_have_count(0)
    visitor.composer.press("Enter")
    expect(visitor.composer).to_have_value("")


@pytest.mark.parametrize("safari", [True, False])
def test_confirming_a_candidate_takes_no_suggestion(visitor: Visitor, safari: bool) -> None:
    visitor.composer.press_sequentially("/tr")
    expect(visitor.page.locator(".completion li")).to_have_count(1)
    confirm_candidate(visitor.composer, safari=safari)

    expect(visitor.composer).to_have_value("/tr")


@needs(Need.ROUTES)
def test_commands_that_come_late_are_suggested(visitor: Visitor) -> None:
    held: list[Route] = []
    visitor.page.route("**/events?*", lambda route: held.append(route))
    with visitor.page.expect_request("**/events?*"):
        visitor.page.reload()
    visitor.composer.press_sequentially("/tr")
    expect(visitor.page.locator(".completion li")).to_have_count(0)
    for route in held:
        route.continue_()

    expect(visitor.page.locator(".completion li")).to_have_count(1)


def test_pasted_cells_are_text_and_not_a_picture(visitor: Visitor) -> None:
    is_left_to_the_browser = paste(visitor.composer, "A\tB\n1\t2", "<table></table>", ("image.png",))

    assert is_left_to_the_browser
    expect(visitor.page.locator(".attached")).to_have_count(0)


def test_pasted_picture_is_attached(visitor: Visitor) -> None:
    assert not paste(visitor.composer, html="<img src=x>", names=("image.png",))
    expect(visitor.page.locator(".attached")).to_have_count(1)


@pytest.mark.parametrize(
    "text", ["a.png\nb c.png", "/home/maria/a.png\n/home/maria/b c.png", "file:///x/a.png\r\nfile:///x/b%20c.png"]
)
def test_pasted_files_are_attached_beside_their_names(visitor: Visitor, text: str) -> None:
    assert not paste(visitor.composer, text, names=("a.png", "b c.png"))
    expect(visitor.page.locator(".attached")).to_have_count(2)


@needs(Need.TOUCH)
def test_enter_of_a_touch_keyboard_makes_a_new_line(visit: Visit) -> None:
    visitor = visit(width=390, has_touch=True, is_mobile=True)
    expect(visitor.composer).to_have_attribute("enterkeyhint", "enter")
    visitor.composer.press_sequentially("one")
    visitor.composer.press("Enter")
    visitor.composer.press_sequentially("two")
    expect(visitor.composer).to_have_value("one\ntwo")
    visitor.page.get_by_role("button", name="Send").tap()

    visitor.expect_text("You said: one")
    expect(visitor.composer).to_be_focused()


@pytest.mark.parametrize("keys", ["Control+Enter", "Meta+Enter"])
def test_enter_with_a_modifier_sends_from_a_touch_device(visit: Visit, keys: str) -> None:
    visitor = visit(width=390, has_touch=True, is_mobile=True)
    visitor.composer.fill("one")
    visitor.composer.press(keys)

    visitor.expect_text("You said: one")
