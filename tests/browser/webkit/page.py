"""A page in WebKit, with as much of the interface of Playwright's pages as WebDriver can do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import requests
from selenium.common.exceptions import JavascriptException
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.remote.webelement import WebElement

from tests.browser.webkit.locator import Finder

if TYPE_CHECKING:
    from tests.browser.webkit.browser import Context

_EVALUATE = """
    const done = arguments[arguments.length - 1];
    (async () => { const value = (%s); return typeof value === "function" ? value(arguments[0]) : value; })()
        .then((value) => done({ value }), (error) => done({ error: `${error}` }));
"""
_COLLECT_ERRORS = (Path(__file__).parent / "complaints.js").read_text()
_KEYS = {
    "Control": Keys.CONTROL, "Shift": Keys.SHIFT, "Meta": Keys.META, "Enter": Keys.ENTER, "Tab": Keys.TAB,
    "Escape": Keys.ESCAPE, "Home": Keys.HOME, "End": Keys.END, "ArrowUp": Keys.ARROW_UP,
    "ArrowDown": Keys.ARROW_DOWN, "ArrowLeft": Keys.ARROW_LEFT, "ArrowRight": Keys.ARROW_RIGHT,
}  # fmt: skip


class Page(Finder):
    """A tab. Each command goes to it, whichever tab the one before went to."""

    def __init__(self, context: Context, handle: str) -> None:
        self.context = context
        self.page = self
        self._steps: list[dict[str, Any]] = []
        self._handle = handle
        self._listeners: list[Callable[[Any], Any]] = []
        self.keyboard = Keyboard(self)
        self.mouse = Mouse(self)
        self.request = Requests(self)

    @property
    def timeout(self) -> float:
        """The seconds after which what is waited for counts as missing."""
        return self.context.timeout

    @property
    def driver(self) -> Any:
        """The browser, turned to this tab."""
        return self.context.activate(self._handle)

    @property
    def url(self) -> str:
        return str(self.driver.current_url)

    def title(self) -> str:
        return str(self.driver.title)

    def goto(self, url: str) -> None:
        self.report()
        if url.partition("#")[0] == self.url.partition("#")[0]:
            self.driver.get("about:blank")
        self.driver.get(url)
        self._prepare()

    def reload(self) -> None:
        self.report()
        self.driver.refresh()
        self._prepare()

    def go_back(self) -> None:
        self.report()
        self.driver.back()

    def go_forward(self) -> None:
        self.report()
        self.driver.forward()

    def bring_to_front(self) -> None:
        self.context.turn_to(self._handle)

    def close(self) -> None:
        self.report()
        self.driver.close()
        self.context.remove_page(self)

    def screenshot(self, *, path: Path) -> None:
        self.driver.save_screenshot(str(path))

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what the asynchronous ``script`` calls its last argument with."""
        answer = self.driver.execute_async_script(script, *arguments)
        if "error" in answer:
            raise JavascriptException(answer["error"])
        return answer.get("value")

    def evaluate(self, expression: str, argument: Any = None) -> Any:
        return self.run(_EVALUATE.replace("%s", expression.strip().removesuffix(";")), argument)

    def wait_for_function(self, expression: str, *, arg: Any = None, polling: float = 50) -> None:
        end = time.monotonic() + self.timeout
        while not self.evaluate(expression, arg):
            if time.monotonic() > end:
                raise AssertionError(f"waited {self.timeout:g} s for {expression}")
            time.sleep(polling / 1000)

    def wait_for_selector(self, selector: str) -> None:
        self.wait_for_function("(selector) => !!document.querySelector(selector)", arg=selector)

    def wait_for_timeout(self, milliseconds: float) -> None:
        time.sleep(milliseconds / 1000)
        self.report()

    def on(self, event: str, listener: Callable[[Any], Any]) -> None:
        """Register a listener for errors; WebDriver reports no other events."""
        if event == "console":
            self._listeners.append(listener)

    def report(self) -> None:
        """Pass on the errors since the last report. WebDriver does not report them; the page collects them itself."""
        for found in self.evaluate("() => (window.complaints || []).splice(0)"):
            for listener in self._listeners:
                listener(SimpleNamespace(**found))

    def _prepare(self) -> None:
        self.evaluate(_COLLECT_ERRORS)
        for script in self.context.scripts:
            self.evaluate(script)


class Keyboard:
    """Keys that are pressed where the focus is."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def press(self, keys: str) -> None:
        """Press one key, or several at once as ``Control+Enter``."""
        chain = ActionChains(self._page.driver, duration=0)
        names = [_KEYS.get(name, name) for name in keys.split("+")]
        for name in names:
            chain.key_down(name)
        for name in reversed(names):
            chain.key_up(name)
        chain.perform()

    def type(self, text: str) -> None:
        ActionChains(self._page.driver, duration=0).send_keys(text).perform()


class Mouse:
    """A mouse, at a place of the page."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def to(self, element: WebElement) -> None:
        """Scroll ``element`` into sight and move onto it."""
        self._page.driver.execute_script("arguments[0].scrollIntoView({block: 'nearest'})", element)
        self._act(lambda pointer: pointer.move_to(element))

    def move(self, x: float, y: float) -> None:
        self._act(lambda pointer: pointer.move_to_location(int(x), int(y)))

    def down(self) -> None:
        self._act(lambda pointer: pointer.pointer_down())

    def up(self) -> None:
        self._act(lambda pointer: pointer.pointer_up())

    def _act(self, act: Callable[[Any], Any]) -> None:
        builder = ActionBuilder(self._page.driver, duration=0)
        act(builder.pointer_action)
        builder.perform()


class Requests:
    """Requests beside the page, with its cookies."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def fetch(self, url: str, *, method: str, data: Any = None) -> Answer:
        cookies = {cookie["name"]: cookie["value"] for cookie in self._page.context.cookies()}
        return Answer(requests.request(method, url, json=data, cookies=cookies, timeout=60))


class Answer:
    """A response as Playwright has it."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self.ok = response.ok
        self.json = response.json

    def text(self) -> str:
        return self._response.text
