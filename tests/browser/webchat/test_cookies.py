"""Browsers that keep no cookies, or not that of the platform."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Browser, Route

from tests.browser.engine import CHROMIUM_WITH_PROFILE, TIMEOUT_MS, Need, arguments, expect, needs
from tests.browser.webchat.conftest import Guest, Platform, Visit

BLOCKED = {"profile": {"default_content_setting_values": {"cookies": 2}}}


def click_twice(guest: Guest) -> None:
    """Ask to enter, and again once the page has said why that fails."""
    guest.page.get_by_label("Your name").fill("Maria")
    button = guest.page.get_by_role("button", name="Start chatting")
    for _ in range(2):
        button.click()
        expect(button).to_be_enabled()
        expect(guest.page.get_by_role("alert")).to_contain_text("blocks cookies")


def users_made(guest: Guest) -> int:
    return len([post for post in guest.post_requests if post.url.endswith("/page-api/user")])


@needs(Need.REQUESTS, Need.PREFERENCES)
def test_blocked_cookies_are_named_and_no_user_is_made(browser: Browser, platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "Default").mkdir()
    (tmp_path / "Default" / "Preferences").write_text(json.dumps(BLOCKED))
    context = browser.browser_type.launch_persistent_context(
        str(tmp_path), executable_path=CHROMIUM_WITH_PROFILE, args=arguments(), locale="en-GB"
    )
    context.set_default_timeout(TIMEOUT_MS)
    try:
        guest = Guest(context.new_page(), platform).goto()
        click_twice(guest)
        assert users_made(guest) == 0
    finally:
        context.close()


@needs(Need.ROUTES, Need.REQUESTS, Need.SENT_BODIES)
def test_a_cookie_that_is_not_kept_makes_one_user(visit: Visit) -> None:
    def drop_cookies(route: Route) -> None:
        answer = route.fetch(headers={**route.request.headers, "cookie": ""})
        headers = {name: value for name, value in answer.headers.items() if name != "set-cookie"}
        route.fulfill(response=answer, headers=headers)

    guest = visit()
    guest.page.route("**/v1/*-api/**", drop_cookies)
    click_twice(guest)
    assert users_made(guest) == 1


@needs(Need.ROUTES, Need.REQUESTS)
def test_a_lost_answer_after_entering_makes_no_second_user(visit: Visit) -> None:
    guest = visit()
    guest.page.route("**/v1/page-api/start", lambda route: route.abort(), times=1)
    guest.page.get_by_label("Your name").fill("Maria")
    button = guest.page.get_by_role("button", name="Start chatting")
    button.click()
    expect(guest.page.get_by_role("alert")).to_contain_text("no connection")
    button.click()
    expect(guest.page.locator(".webchat")).to_be_visible()
    assert users_made(guest) == 1
