"""WebKit as a test gets it in place of Playwright's browser: one process for each context."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from cometbot.temporary_folders import TemporaryFolder
from tests.browser.webkit import driver
from tests.browser.webkit.page import Page


class Browser:
    """Opens browsers on one display."""

    def __init__(self, display_name: str, folder: Path, timeout: float) -> None:
        self._display = display_name
        self._locales = driver.Locales(folder)
        self._timeout = timeout

    def new_context(self, **options: Any) -> Context:
        language = self._locales.environment(options.get("locale", "en-GB"))
        return Context({"DISPLAY": self._display, **language}, self._timeout, options)


class Context:
    """A browser with a profile of its own, and its tabs."""

    def __init__(self, environ: dict[str, str], timeout: float, options: dict[str, Any]) -> None:
        self.timeout = timeout
        self.scripts: list[str] = []
        self.pages: list[Page] = []
        self._temporary = TemporaryFolder("webkit")
        self._numbers = itertools.count(1)
        self._is_open = True
        size = options.get("viewport") or {"width": 1280, "height": 800}
        self._driver = driver.start(
            environ,
            self._temporary.path,
            is_dark=options.get("color_scheme") == "dark",
            is_still=options.get("reduced_motion") == "reduce",
        )
        self._driver.set_script_timeout(timeout)
        self._driver.set_window_rect(0, 0, size["width"], size["height"])
        bars = size["height"] - int(self._driver.execute_script("return innerHeight"))
        self._driver.set_window_rect(0, 0, size["width"], size["height"] + bars)
        self._current = self._driver.current_window_handle

    def set_default_timeout(self, milliseconds: float) -> None:
        self.timeout = milliseconds / 1000

    def add_init_script(self, script: str) -> None:
        """Run ``script`` after each load: WebDriver cannot do it before."""
        self.scripts.append(script)

    def new_page(self) -> Page:
        if self.pages:
            self._driver.switch_to.new_window("tab")
            self._current = self._driver.current_window_handle
        page = Page(self, self._current)
        self.pages.append(page)
        return page

    def activate(self, handle: str) -> Any:
        """Return the driver, whose commands now go to the tab ``handle``."""
        if handle != self._current:
            self._driver.switch_to.window(handle)
            self._current = handle
        return self._driver

    def remove_page(self, page: Page) -> None:
        """Drop a tab that was closed."""
        self.pages.remove(page)
        self._current = ""

    def cookies(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.pages[0].driver.get_cookies()
        return found

    def clear_cookies(self) -> None:
        self.pages[0].driver.delete_all_cookies()

    def save_files(self, files: list[dict[str, Any]]) -> list[Path]:
        """Write files to where the browser can take them from."""
        folder = self._temporary.path / f"files-{next(self._numbers)}"
        folder.mkdir()
        for file in files:
            (folder / file["name"]).write_bytes(file["buffer"])
        return [folder / file["name"] for file in files]

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            try:
                for page in self.pages:
                    page.report()
            finally:
                self._driver.quit()
                self._temporary.close()
