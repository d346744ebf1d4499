"""Two people in two browsers: one asks for an approval, the other decides, and both see the outcome at once."""

from __future__ import annotations

import re

import pytest

from tests.browser.engine import expect
from tests.browser.webchat.conftest import Guest, Visit


@pytest.mark.parametrize(("button", "outcome"), [("Approve", "approved"), ("Decline", "declined")])
def test_outcome_is_seen_in_both_browsers_without_a_reload(
    guest: Guest, visit: Visit, button: str, outcome: str
) -> None:
    manager = visit().sign_up("Tom").open_chat()
    manager.send_text("/whoami")
    uid = manager.expect_text("You are ").inner_text().removeprefix("You are ").strip()
    for page in (guest.page, manager.page):
        page.evaluate("window.isFirstVisit = true")
    guest.send_text(f"/seat {uid}")

    card = manager.page.locator(".card", has_text="A free seat?")
    expect(card).to_contain_text("Row: 7")
    card.get_by_role("button", name=button).click()

    guest.expect_text(f"Your seat was {outcome} by Tom.")
    manager.expect_text(f"{outcome.capitalize()} by Tom.")
    expect(manager.page.get_by_role("button", name="Approve")).to_have_count(0)
    for page in (guest.page, manager.page):
        assert page.evaluate("window.isFirstVisit") is True


def test_decision_is_typed_with_the_number_of_the_card(guest: Guest, visit: Visit) -> None:
    manager = visit().sign_up("Ann").open_chat()
    manager.send_text("/whoami")
    uid = manager.expect_text("You are ").inner_text().removeprefix("You are ").strip()
    guest.send_text(f"/seat {uid}")
    expect(manager.page.locator(".card", has_text="A free seat?")).to_be_visible()
    found = re.search(r"decline (\d+)", manager.load_stored_texts()[-1])
    assert found is not None

    manager.send_text(f"Decline {found[1]}")

    guest.expect_text("Your seat was declined by Ann.")
    manager.expect_text("Declined by Ann.")
    manager.send_text(f"approve {found[1]}")
    manager.expect_text(f"{found[1]} is closed. Declined by Ann.")
