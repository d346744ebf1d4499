"""The page that shows the Chat API to people, under its own content policy."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Route

from cometbot import Bot
from cometbot.settings import Settings
from cometbot.web.app import create_app
from tests.browser.engine import Need, expect, needs, report_breaches

URL = "http://chat.example/botpress/shop/redoc"


@pytest.fixture
def answer(tmp_path: Path) -> tuple[str, dict[str, str]]:
    """The page as it is served, with its headers."""
    settings = Settings(channels=("botpress",), database_url=f"sqlite:///{tmp_path}/chat.db", data=tmp_path)
    app = create_app([Bot("shop")], settings, handles=False)
    try:
        page = app.test_client().get("/botpress/shop/redoc")
        return page.text, dict(page.headers)
    finally:
        app.extensions["cometbot"].stop()


def open_page(browser: Browser, answer: tuple[str, dict[str, str]], complaints: list[str]) -> Page:
    text, headers = answer
    page = browser.new_page()
    report_breaches(page)

    def serve(route: Route) -> None:
        if route.request.url.startswith(URL):
            route.fulfill(body=text, headers=headers)
        else:
            route.fulfill(status=204)

    def hear(message: ConsoleMessage) -> None:
        complaints.append(message.text)

    page.on("console", hear)
    page.route("**/*", serve)
    page.goto(URL)
    return page


@needs(Need.ROUTES)
def test_the_reference_has_its_style_and_opens_its_parts_without_a_complaint(
    browser: Browser, answer: tuple[str, dict[str, str]]
) -> None:
    complaints: list[str] = []
    page = open_page(browser, answer, complaints)
    try:
        expect(page.locator("details").first).to_have_css("border-radius", "8px")
        page.get_by_text("/conversations", exact=True).first.click()
        page.locator("details[open] a").first.click()
        expect(page.locator("details[open] table").first).to_have_css("border-collapse", "collapse")
    finally:
        page.close()
    assert complaints == []


@needs(Need.ROUTES)
def test_another_style_than_the_pages_own_has_no_effect(browser: Browser, answer: tuple[str, dict[str, str]]) -> None:
    complaints: list[str] = []
    text, headers = answer
    page = open_page(browser, (text.replace("<main>", "<style>main { color: red }</style><main>"), headers), complaints)
    try:
        expect(page.locator("details").first).to_have_css("border-radius", "8px")
        expect(page.locator("main")).not_to_have_css("color", "rgb(255, 0, 0)")
    finally:
        page.close()
    assert any("Content Security Policy" in complaint for complaint in complaints)
