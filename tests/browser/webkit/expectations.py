"""Expectations of a page or of elements, tried again until they hold, as Playwright does."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from selenium.common.exceptions import StaleElementReferenceException

from tests.browser.webkit.locator import Locator
from tests.browser.webkit.page import Page

_STATES = {
    "to_be_visible": "isShown(element)",
    "to_be_focused": "element === document.activeElement",
    "to_be_enabled": "!element.matches(':disabled')",
    "to_be_disabled": "element.matches(':disabled')",
    "to_be_checked": "element.checked",
    "to_be_in_viewport": """(() => {
        const box = element.getBoundingClientRect(), clip = element.closest(".carousel")?.getBoundingClientRect();
        return box.right > (clip?.left ?? 0) && box.left < (clip?.right ?? innerWidth);
    })()""",
}
_VALUES = {
    "to_have_attribute": "element.getAttribute(argument)",
    "to_have_css": "getComputedStyle(element).getPropertyValue(argument)",
    "to_have_js_property": "element[argument]",
}


def _is_like(actual: Any, wanted: Any) -> bool:
    if isinstance(wanted, re.Pattern):
        return actual is not None and bool(wanted.search(actual))
    return bool(actual == wanted)


def _normal(text: str) -> str:
    return " ".join(text.replace("\u200b", "").split())


def _try(read: Callable[[], Any], holds: Callable[[Any], bool], what: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    actual: Any = None
    while time.monotonic() < end:
        try:
            actual = read()
            if holds(actual):
                return
        except StaleElementReferenceException:
            pass
        time.sleep(0.02)
    raise AssertionError(f"{what}, got {actual!r}")


class PageExpectation:
    """Expectations of a page."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def to_have_title(self, title: str | re.Pattern[str]) -> None:
        _try(self._page.title, lambda actual: _is_like(actual, title), f"title: expected {title}", self._page.timeout)

    def to_have_url(self, url: str | re.Pattern[str]) -> None:
        _try(lambda: self._page.url, lambda actual: _is_like(actual, url), f"url: expected {url}", self._page.timeout)


class LocatorExpectation:
    """Expectations of elements. One element is meant where nothing else is said."""

    def __init__(self, locator: Locator) -> None:
        self._locator = locator

    def __getattr__(self, name: str) -> Callable[..., None]:
        negated = name.startswith("not_")
        plain = name.removeprefix("not_")
        if plain in _STATES:
            return lambda: self._state(_STATES[plain], name, not negated)
        if plain in _VALUES:
            return lambda key, value: self._value(_VALUES[plain], name, key, value, not negated)
        raise AttributeError(name)

    def to_be_hidden(self) -> None:
        self._try(lambda: self._locator.is_hidden(), bool, "to be hidden")

    def to_have_count(self, count: int) -> None:
        self._try(self._locator.count, lambda actual: bool(actual == count), f"{count} elements")

    def to_have_text(self, wanted: Any, *, use_inner_text: bool = False) -> None:
        if isinstance(wanted, list):
            self._try(lambda: self._texts(False), lambda texts: texts == [*map(_normal, wanted)], f"texts {wanted}")
        elif isinstance(wanted, str):
            self._one_text(use_inner_text, lambda text: text == _normal(wanted), wanted)
        else:
            self._one_text(use_inner_text, lambda text: bool(wanted.search(text)), wanted)

    def to_contain_text(self, wanted: str | re.Pattern[str]) -> None:
        if isinstance(wanted, str):
            self._one_text(False, lambda text: _normal(wanted) in text, wanted)
        else:
            self._one_text(False, lambda text: bool(wanted.search(text)), wanted)

    def to_have_value(self, value: str) -> None:
        self._value("element.value", "to_have_value", "", value, True)

    def to_have_id(self, value: str) -> None:
        self._value("element.id", "to_have_id", "", value, True)

    def to_have_role(self, role: str) -> None:
        self._try(lambda: self._locator.element().aria_role, lambda actual: bool(actual == role), f"role {role}")

    def to_have_accessible_name(self, name: str) -> None:
        self._try(lambda: self._locator.element().accessible_name, lambda actual: bool(actual == name), f"name {name}")

    def to_have_accessible_description(self, text: str) -> None:
        self._value("referred(element, 'aria-describedby') || element.title", "description", "", text, True)

    def _try(self, read: Callable[[], Any], holds: Callable[[Any], bool], wanted: str) -> None:
        _try(read, holds, f"{self._locator}: expected {wanted}", self._locator.page.timeout)

    def _state(self, expression: str, name: str, wanted: bool) -> None:
        read = f"(found) => found.map((element) => !!({expression}))"
        self._try(lambda: self._locator.run(read), lambda states: bool(states == [wanted]), name)

    def _value(self, expression: str, name: str, key: str, wanted: Any, positive: bool) -> None:
        read = f"(found, argument) => found.map((element) => {expression})"
        self._try(
            lambda: self._locator.run(read, key),
            lambda values: len(values) == 1 and _is_like(values[0], wanted) is positive,
            f"{name} {key} {wanted}",
        )

    def _texts(self, inner: bool) -> list[str]:
        read = f"(found) => found.map((element) => element.{'innerText' if inner else 'textContent'})"
        return [_normal(text) for text in self._locator.run(read)]

    def _one_text(self, inner: bool, holds: Callable[[str], bool], wanted: Any) -> None:
        self._try(lambda: self._texts(inner), lambda texts: len(texts) == 1 and holds(texts[0]), f"text {wanted!r}")


def expect_in_webkit(what: Page | Locator) -> PageExpectation | LocatorExpectation:
    """Return the expectations of ``what``."""
    return PageExpectation(what) if isinstance(what, Page) else LocatorExpectation(what)
