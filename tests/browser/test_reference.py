"""The page that shows the Chat API to people, under its own content policy."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Route

from cometbot import Bot
from cometbot.settings import Settings
from cometbot.web.app import create_app
from tests.browser.engine import Need, expect, needs, report_csp_violations

URL = "http://chat.example/chat/shop/redoc"


@pytest.fixture
def answer(tmp_path: Path) -> tuple[str, dict[str, str]]:
    """The page as it is served, with its headers."""
    settings = Settings(channels=("chat_api",), database_url=f"sqlite:///{tmp_path}/chat.db", data=tmp_path)
    app = create_app([Bot("shop")], settings, handles=False)
    try:
        page = app.test_client().get("/chat/shop/redoc")
        return page.text, dict(page.headers)
    finally:
        app.extensions["cometbot"].stop()


def open_page(browser: Browser, answer: tuple[str, dict[str, str]], console_errors: list[str]) -> Page:
    text, headers = answer
    page = browser.new_page()
    report_csp_violations(page)

    def serve(route: Route) -> None:
        if route.request.url.startswith(URL):
            route.fulfill(body=text, headers=headers)
        else:
            route.fulfill(status=204)

    def on_console(message: ConsoleMessage) -> None:
        console_errors.append(message.text)

    page.on("console", on_console)
    page.route("**/*", serve)
    page.goto(URL)
    return page


@needs(Need.ROUTES)
def test_reference_page_works_without_console_errors(browser: Browser, answer: tuple[str, dict[str, str]]) -> None:
    console_errors: list[str] = []
    page = open_page(browser, answer, console_errors)
    try:
        expect(page.locator("details").first).to_have_css("border-radius", "8px")
        page.get_by_text("/conversations", exact=True).first.click()
        page.locator("details[open] a").first.click()
        expect(page.locator("details[open] table").first).to_have_css("border-collapse", "collapse")
    finally:
        page.close()
    assert console_errors == []


@needs(Need.ROUTES)
def test_another_style_than_the_pages_own_has_no_effect(browser: Browser, answer: tuple[str, dict[str, str]]) -> None:
    console_errors: list[str] = []
    text, headers = answer
    page = open_page(
        browser, (text.replace("<main>", "<style>main { color: red }</style><main>"), headers), console_errors
    )
    try:
        expect(page.locator("details").first).to_have_css("border-radius", "8px")
        expect(page.locator("main")).not_to_have_css("color", "rgb(255, 0, 0)")
    finally:
        page.close()
    assert any("Content Security Policy" in console_error for console_error in console_errors)
