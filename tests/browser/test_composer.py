"""The message box of the simulator's page: input methods, clipboards and touch keyboards."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Open, Visitor
from tests.browser.engine import Need, expect, needs
from tests.browser.writing import confirm_candidate, paste


@pytest.mark.parametrize("safari", [True, False])
def test_confirming_a_candidate_sends_nothing(visitor: Visitor, safari: bool) -> None:
    visitor.box.fill("nihao")
    confirm_candidate(visitor.box, safari=safari)

    expect(visitor.box).to_have_value("nihao")
    expect(visitor.messages).to_have_count(0)
    visitor.box.press("Enter")
    expect(visitor.box).to_have_value("")


@pytest.mark.parametrize("safari", [True, False])
def test_confirming_a_candidate_takes_no_suggestion(visitor: Visitor, safari: bool) -> None:
    visitor.box.press_sequentially("/tr")
    expect(visitor.page.locator(".completion li")).to_have_count(1)
    confirm_candidate(visitor.box, safari=safari)

    expect(visitor.box).to_have_value("/tr")


def test_pasted_cells_are_text_and_not_a_picture(visitor: Visitor) -> None:
    is_left_to_the_browser = paste(visitor.box, "A\tB\n1\t2", "<table></table>", ("image.png",))

    assert is_left_to_the_browser
    expect(visitor.page.locator(".attached")).to_have_count(0)


def test_pasted_picture_is_attached(visitor: Visitor) -> None:
    assert not paste(visitor.box, html="<img src=x>", names=("image.png",))
    expect(visitor.page.locator(".attached")).to_have_count(1)


@pytest.mark.parametrize(
    "text", ["a.png\nb c.png", "/home/maria/a.png\n/home/maria/b c.png", "file:///x/a.png\r\nfile:///x/b%20c.png"]
)
def test_pasted_files_are_attached_beside_their_names(visitor: Visitor, text: str) -> None:
    assert not paste(visitor.box, text, names=("a.png", "b c.png"))
    expect(visitor.page.locator(".attached")).to_have_count(2)


@needs(Need.TOUCH)
def test_enter_of_a_touch_keyboard_makes_a_new_line(visit: Open) -> None:
    visitor = visit(width=390, has_touch=True, is_mobile=True)
    expect(visitor.box).to_have_attribute("enterkeyhint", "enter")
    visitor.box.press_sequentially("one")
    visitor.box.press("Enter")
    visitor.box.press_sequentially("two")
    expect(visitor.box).to_have_value("one\ntwo")
    visitor.page.get_by_role("button", name="Send").tap()

    visitor.sees("You said: one")
    expect(visitor.box).to_be_focused()


@pytest.mark.parametrize("keys", ["Control+Enter", "Meta+Enter"])
def test_enter_with_a_modifier_sends_from_a_touch_device(visit: Open, keys: str) -> None:
    visitor = visit(width=390, has_touch=True, is_mobile=True)
    visitor.box.fill("one")
    visitor.box.press(keys)

    visitor.sees("You said: one")
