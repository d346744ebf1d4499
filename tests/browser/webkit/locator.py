"""Locators of Playwright's kind: they look for their elements anew each time that they are used."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
)
from selenium.webdriver.remote.webelement import WebElement

if TYPE_CHECKING:
    from tests.browser.webkit.page import Page

_QUERIES = (Path(__file__).parent / "queries.js").read_text()
_RUN = """
    const done = arguments[arguments.length - 1], [steps, argument] = arguments;
    (async () => (%s)(find(steps), argument))()
        .then((value) => done({ value }), (error) => done({ error: `${error}` }));
"""
_FILL = """([element], text) => {
    element.focus();
    if (element.value === text) return;
    element.select();
    document.execCommand(text ? "insertText" : "delete", false, text);
}"""
_SELECT = """([element], wanted) => {
    const option = [...element.options].find((one) => one.value === wanted || one.label === wanted);
    option.selected = true;
    for (const name of ["input", "change"]) element.dispatchEvent(new Event(name, { bubbles: true }));
}"""
_BOX = "([element]) => { const {x, y, width, height} = element.getBoundingClientRect(); return {x, y, width, height}; }"
_READY = "(found) => found.map((one) => isShown(one) && !one.matches(':disabled'))"
_RETRIED = (ElementClickInterceptedException, ElementNotInteractableException, StaleElementReferenceException)

Text = str | re.Pattern[str]


def pattern(text: Text, *, exact: bool = False) -> dict[str, Any]:
    """Return ``text`` as the queries take it."""
    if isinstance(text, str):
        return {"text": text, "exact": exact}
    return {"text": text.pattern, "flags": "i" if text.flags & re.IGNORECASE else ""}


class Finder:
    """The ways to get from a page, or from an element, to elements."""

    page: Page
    _steps: list[dict[str, Any]]

    def _then(self, **step: Any) -> Locator:
        return Locator(self.page, [*self._steps, {key: value for key, value in step.items() if value is not None}])

    def locator(self, selector: str, *, has_text: Text | None = None, has: Locator | None = None) -> Locator:
        return self._then(kind="css", selector=selector, hasText=has_text and pattern(has_text), has=has and has._steps)

    def get_by_role(self, role: str, *, name: Text | None = None, **state: bool) -> Locator:
        return self._then(kind="role", role=role, name=name and pattern(name), **state)

    def get_by_label(self, text: Text, *, exact: bool = False) -> Locator:
        return self._then(kind="label", **pattern(text, exact=exact))

    def get_by_text(self, text: Text, *, exact: bool = False) -> Locator:
        return self._then(kind="text", **pattern(text, exact=exact))


class Locator(Finder):
    """The elements that ``steps`` lead to in ``page``."""

    def __init__(self, page: Page, steps: list[dict[str, Any]]) -> None:
        self.page = page
        self._steps = steps

    def __repr__(self) -> str:
        return json.dumps(self._steps, ensure_ascii=False)

    def run(self, function: str, argument: Any = None) -> Any:
        """Return what the JavaScript ``function`` returns for all elements that there are now."""
        return self.page.run(_QUERIES + _RUN.replace("%s", function), self._steps, argument)

    def element(self, *, ready: bool = False) -> WebElement:
        """Return the one element, once it is there and, if asked for, can be used."""
        end = time.monotonic() + self.page.timeout
        while True:
            states = self.run(_READY)
            if len(states) == 1 and (states[0] or not ready):
                # The page may replace the element before the driver has made a handle of it.
                with suppress(StaleElementReferenceException):
                    found: list[WebElement] = self.run("(found) => found")
                    if len(found) == 1:
                        return found[0]
            if time.monotonic() > end:
                raise AssertionError(f"{self}: expected one element, got {states} (usable or not)")
            time.sleep(0.02)

    def filter(self, *, has_text: Text) -> Locator:
        return self._then(hasText=pattern(has_text))

    def nth(self, index: int) -> Locator:
        return self._then(nth=index)

    @property
    def first(self) -> Locator:
        return self.nth(0)

    @property
    def last(self) -> Locator:
        return self.nth(-1)

    def count(self) -> int:
        return int(self.run("(found) => found.length"))

    def all(self) -> list[Locator]:
        return [self.nth(index) for index in range(self.count())]

    def click(self) -> None:
        end = time.monotonic() + self.page.timeout
        while True:
            try:
                return self.element(ready=True).click()
            except _RETRIED:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def check(self) -> None:
        if not self.element().is_selected():
            self.click()

    def hover(self) -> None:
        self.page.mouse.to(self.element(ready=True))

    def focus(self) -> None:
        self.element()
        self.run("([element]) => element.focus()")

    def fill(self, text: str) -> None:
        self.element(ready=True)
        self.run(_FILL, text)

    def press(self, keys: str) -> None:
        self.focus()
        self.page.keyboard.press(keys)

    def press_sequentially(self, text: str) -> None:
        self.focus()
        self.page.keyboard.type(text)

    def select_option(self, wanted: str) -> None:
        self.element(ready=True)
        self.run(_SELECT, wanted)

    def set_input_files(self, files: dict[str, Any] | list[dict[str, Any]]) -> None:
        paths = self.page.context.save_files(files if isinstance(files, list) else [files])
        self.element().send_keys("\n".join(map(str, paths)))

    def get_attribute(self, name: str) -> str | None:
        self.element()
        value: str | None = self.run("([element], name) => element.getAttribute(name)", name)
        return value

    def inner_text(self) -> str:
        self.element()
        return str(self.run("([element]) => element.innerText"))

    def evaluate(self, function: str, argument: Any = None) -> Any:
        self.element()
        return self.run(f"([element], argument) => ({function})(element, argument)", argument)

    def evaluate_all(self, function: str) -> Any:
        return self.run(function)

    def bounding_box(self) -> dict[str, float] | None:
        self.element()
        box: dict[str, float] = self.run(_BOX)
        return box

    def is_visible(self) -> bool:
        return bool(self.run("(found) => found.some(isShown)"))

    def is_hidden(self) -> bool:
        return not self.is_visible()

    def wait_for(self) -> None:
        self.element(ready=True)
