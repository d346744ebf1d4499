"""The message box of the web chat: input methods, clipboards and touch keyboards."""

from __future__ import annotations

import pytest
from playwright.sync_api import Route

from tests.browser.engine import Need, expect, needs
from tests.browser.input_events import confirm_candidate, paste
from tests.browser.webchat.conftest import Guest, Visit


@pytest.mark.parametrize("safari", [True, False])
def test_confirming_a_candidate_sends_nothing(guest: Guest, safari: bool) -> None:
    guest.composer.fill("nihao")
    confirm_candidate(guest.composer, safari=safari)

    expect(guest.composer).to_have_value("nihao")
    expect(guest.own_messages).to_have_count(0)


def test_confirming_a_candidate_takes_no_suggestion(guest: Guest) -> None:
    guest.composer.press_sequentially("/tr")
    expect(guest.page.get_by_role("option")).to_have_count(1)
    confirm_candidate(guest.composer)

    expect(guest.composer).to_have_value("/tr")


@needs(Need.ROUTES)
def test_commands_that_come_late_are_suggested(visit: Visit) -> None:
    guest = visit().sign_up()
    held: list[Route] = []
    guest.page.route("**/commands", lambda route: held.append(route))
    guest.open_chat()
    guest.composer.press_sequentially("/tr")
    expect(guest.page.get_by_role("option")).to_have_count(0)
    for route in held:
        route.continue_()

    expect(guest.page.get_by_role("option")).to_have_count(1)


def test_pasted_cells_are_text_and_not_a_picture(guest: Guest) -> None:
    assert paste(guest.composer, "A\tB\n1\t2", "<table></table>", ("image.png",))
    expect(guest.page.locator(".attached")).to_have_count(0)


def test_pasted_picture_is_attached(guest: Guest) -> None:
    assert not paste(guest.composer, names=("image.png",))
    expect(guest.page.locator(".attached")).to_have_count(1)


@needs(Need.TOUCH)
def test_enter_of_a_touch_keyboard_makes_a_new_line(visit: Visit) -> None:
    guest = visit(width=390, has_touch=True, is_mobile=True).sign_up().open_chat()
    guest.composer.press_sequentially("one")
    guest.composer.press("Enter")
    guest.composer.press_sequentially("two")
    expect(guest.composer).to_have_value("one\ntwo")
    guest.page.get_by_role("button", name="Send").tap()

    guest.expect_text("You said: one")
    expect(guest.own_messages).to_have_count(1)
