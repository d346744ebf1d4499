"""The browser that the tests run in: Chromium, or with COMETBOT_TEST_BROWSER Firefox or WebKit."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import pytest
from playwright.sync_api import Browser, BrowserContext, FloatRect, Locator, Page, sync_playwright
from playwright.sync_api import expect as expect_in_playwright

T = TypeVar("T")

ENGINE = os.environ.get("COMETBOT_TEST_BROWSER", "chromium")
_HEADLESS_SHELL = "/usr/bin/chromium-headless-shell"
"""A page costs it a fifth of the processor time, but it reads no profile."""
CHROMIUM_WITH_PROFILE = os.environ.get("COMETBOT_TEST_CHROMIUM", "/usr/bin/chromium")
CHROMIUM = (
    _HEADLESS_SHELL
    if "COMETBOT_TEST_CHROMIUM" not in os.environ and os.path.exists(_HEADLESS_SHELL)
    else CHROMIUM_WITH_PROFILE
)
ARGUMENTS = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
FIREFOX = "/usr/bin/firefox-esr"
_PREFERENCES: dict[str, str | float | bool] = {"focusmanager.testmode": True}
"""Each window counts as the one that has the focus, as in Chromium that is driven."""
TIMEOUT_MS = int(os.environ.get("COMETBOT_TEST_PATIENCE", "60000"))
"""Milliseconds after which a test gives up what takes a moment; the machine may do ten other things as well."""


class Need(Enum):
    """Abilities that a test needs of an engine. The value is the reason why some engine lacks it."""

    ROUTES = "WebDriver does not intercept requests"
    SENT_BODIES = "Firefox ESR's BiDi gives no bodies of intercepted requests, so the test cannot pass them on"
    CLOCK = "WebDriver does not replace the page's clock"
    EARLY_SCRIPTS = "WebDriver runs no script before those of the page"
    REQUESTS = "WebDriver does not report requests"
    FAILED_REQUESTS = "neither WebDriver nor BiDi reports that a page gave up a request"
    OFFLINE = "WebDriver does not take the network away"
    TOUCH = "neither WebKitWebDriver nor Firefox's BiDi has a touch screen"
    DOWNLOADS = "WebDriver does not report downloads"
    POPUPS = "WebDriver does not report windows that a page opens"
    WHEEL = "WebKitWebDriver has no wheel"
    PREFERENCES = "the test writes a profile of Chromium"
    MOTION = "Firefox ESR's BiDi does not emulate prefers-reduced-motion"
    WAVE_TABS = "Firefox opens no WAV file in a tab, whatever its headers: it leaves the format to other programs"
    DARK = "Firefox ESR's BiDi does not emulate prefers-color-scheme"


_ONLY_FIREFOX = {Need.MOTION, Need.DARK, Need.SENT_BODIES, Need.WAVE_TABS}
LACKING: dict[str, set[Need]] = {
    "chromium": set(),
    "firefox": {*_ONLY_FIREFOX, Need.FAILED_REQUESTS, Need.TOUCH, Need.PREFERENCES},
    "webkit": set(Need) - _ONLY_FIREFOX,
}
"""Abilities that an engine lacks. tests/unit/test_browser_needs.py counts the tests that this leaves out."""


_CSP_LOG_SCRIPT = """addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI, sourceFile }) => {
    if (blockedURI.endsWith("/favicon.ico")) return; // Chromium without a window does not ask for it
    console.error(`Content Security Policy: ${effectiveDirective} ${blockedURI} ${sourceFile}`);
})"""


def report_csp_violations(pages: BrowserContext | Page) -> None:
    """Have all breaches of the content policy on the console: Firefox's BiDi leaves out those in the page's source."""
    if ENGINE == "firefox":
        pages.add_init_script(_CSP_LOG_SCRIPT)


def needs(*what: Need) -> pytest.MarkDecorator:
    """Leave a test out, with the reason, where the engine lacks something that it needs."""
    lacking = [one.value for one in what if one in LACKING[ENGINE]]
    return pytest.mark.skipif(bool(lacking), reason="; ".join(lacking))


def expect(what: Any) -> Any:
    """Return the expectations of a page or of a locator of this engine."""
    if ENGINE != "webkit":
        return expect_in_playwright(what)
    from tests.browser.webkit.expectations import expect_in_webkit

    return expect_in_webkit(what)


def wait_for(
    condition: Callable[[], T], seconds: float = TIMEOUT_MS / 1000, *, or_show: Callable[[], object] = str
) -> T:
    """Return the first true value of ``condition()``."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds:g} s in vain\n{or_show()}")
        time.sleep(0.02)
    return value


def find_box(element: Locator) -> FloatRect:
    """Return where an element is drawn. A page that lists anew may replace it between being found and measured."""
    return wait_for(element.bounding_box)  # type: ignore[return-value]


def arguments() -> list[str]:
    """Return the command line of Chromium."""
    return [*ARGUMENTS, "--no-sandbox"] if os.geteuid() == 0 else ARGUMENTS


@contextmanager
def launch(folder: Path) -> Iterator[Browser]:
    """Run the browser; ``folder`` is for what it needs on disk."""
    expect_in_playwright.set_options(timeout=TIMEOUT_MS)
    launchers = {"chromium": _launch_chromium, "firefox": _launch_firefox, "webkit": _launch_webkit}
    with launchers[ENGINE](folder) as browser:
        yield browser


@contextmanager
def _launch_chromium(folder: Path) -> Iterator[Browser]:
    _check_installed(CHROMIUM, "chromium, or name one in COMETBOT_TEST_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments())
        yield browser
        browser.close()


@contextmanager
def _launch_firefox(folder: Path) -> Iterator[Browser]:
    _check_installed(FIREFOX, "firefox-esr")
    relay = folder / "firefox"
    relay.write_text(
        f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("firefox_relay.py")} {FIREFOX} "$@"\n'
    )
    relay.chmod(0o700)
    with sync_playwright() as playwright:
        browser = playwright.firefox.launch(
            channel="moz-firefox", executable_path=relay, firefox_user_prefs=_PREFERENCES
        )
        yield browser
        browser.close()


@contextmanager
def _launch_webkit(folder: Path) -> Iterator[Any]:
    from tests.browser.webkit.browser import Browser as WebKit
    from tests.browser.webkit.driver import display

    with display() as display_name:
        yield WebKit(display_name, folder, TIMEOUT_MS / 1000)


def _check_installed(program: str, package: str) -> None:
    if not Path(program).exists():
        pytest.fail(f"{program} is missing: apt-get install {package}")
