"""``cometbot dev`` with a bot, and a browser that looks at its page."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page

from tests.browser.engine import TIMEOUT_MS, expect, launch, report_csp_violations
from tests.browser.notices import record_notices, wait_for_notice

BOT = Path(__file__).parent / "sample_bot.py"
START_TIMEOUT = 120.0
_RELOADED = "the bot runs with the new code"

_people = itertools.count(1)


class Dev:
    """``cometbot dev`` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "bot.py"
        self.code = BOT.read_text()
        self.file.write_text(self.code)
        command = [
            Path(sys.executable).parent / "cometbot",
            "dev",
            "bot.py:bot",
            "--port",
            "0",
            "--no-chat",
            "--traffic",
            "off",
        ]
        self._process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._said = ""
        self._found = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._found.wait(START_TIMEOUT), self._said
        self.url = re.search(r"In a browser: (http://\S+)/", self._said)[1]  # type: ignore[index]

    def save_code(self, code: str) -> None:
        """Save other code as the bot."""
        self.file.write_text(code)

    def restore_code(self) -> None:
        """Save the first code again, and wait until it runs."""
        before = self._said.count(_RELOADED)
        self.save_code(self.code)
        end = time.monotonic() + START_TIMEOUT
        while self._said.count(_RELOADED) == before:
            assert time.monotonic() < end, self._said
            time.sleep(0.02)

    def post(self, path: str, body: Any) -> Any:
        """What the control API answers."""
        response = requests.post(f"{self.url}/simulator{path}", json=body, timeout=60)
        assert response.ok, response.text
        return response.json()["data"]

    def file_url(self, name: str, content: bytes, mime_type: str) -> str:
        """The address of a file in the simulator's store."""
        headers = {"Content-Type": mime_type}
        response = requests.post(f"{self.url}/simulator/files/{name}", data=content, headers=headers, timeout=60)
        return str(response.json()["data"]["url"])

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)
        self._reader.join(60)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._said += line
                if "In a browser: " in line and "Ctrl-C quits." in self._said:
                    self._found.set()


class Visitor:
    """A page on which somebody talks to the bot."""

    def __init__(self, page: Page, dev: Dev, uid: str) -> None:
        self.page = page
        self.dev = dev
        self.uid = uid
        self.console_errors: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.console_errors.append(str(error)))

    def goto(self, place: str = "user/helpdesk") -> Visitor:
        """Open the page as this person, at a conversation."""
        self.page.goto(f"{self.dev.url}/#{self.uid}/{place}")
        self.page.wait_for_selector("html[data-ready]")
        return self

    @property
    def composer(self) -> Locator:
        return self.page.locator("#composer-text")

    @property
    def messages(self) -> Locator:
        return self.page.locator("#chat .message")

    def send_text(self, text: str) -> None:
        self.composer.fill(text)
        self.composer.press("Control+Enter")  # the same with a touch keyboard, whose Enter makes a new line

    def expect_text(self, text: str | re.Pattern[str], where: str = "#chat .message.other .bubble") -> Locator:
        """The element with this text, once it is there."""
        found = self.page.locator(where, has_text=text).last
        expect(found).to_be_visible()
        return found

    def expect_notice(self, text: str, kind: str = "toast") -> None:
        """Nothing, once the page has told this, though it may not show it any more."""
        wait_for_notice(self.page, text, kind)

    def reload(self) -> None:
        self.page.reload()
        self.page.wait_for_selector("html[data-ready]")

    def bot_sends(self, category: str, type_: str, data: dict[str, Any]) -> dict[str, Any]:
        """Let the bot's user send a message of any kind to this person."""
        body = {"receiver": self.uid, "receiverType": "user", "category": category, "type": type_, "data": data}
        sent: dict[str, Any] = self.dev.post("/users/helpdesk/write", body)
        return sent

    def open_tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def _on_console(self, message: ConsoleMessage) -> None:
        # The browser complains of every answer that is no 200; a refusal by the simulator is the page's business.
        is_refusal = "Failed to load resource" in message.text and "/simulator/" in str(message.location)
        if message.type in ("error", "warning") and not is_refusal:
            self.console_errors.append(f"{message.text} {message.location}")


Visit = Callable[..., Visitor]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with launch(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="session")
def shared_dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    dev = Dev(tmp_path_factory.mktemp("dev"))
    try:
        yield dev
    finally:
        dev.stop()


@pytest.fixture
def dev(shared_dev: Dev) -> Iterator[Dev]:
    """The one that all tests share: a test that changes its code or misbehaves is undone."""
    yield shared_dev
    if shared_dev.file.read_text() != shared_dev.code:
        shared_dev.restore_code()
    requests.delete(f"{shared_dev.url}/simulator/misbehave", timeout=60)


@pytest.fixture
def visit(browser: Browser, dev: Dev) -> Iterator[Visit]:
    """Opens the page as a person who was never here: ``visit(width=390, scheme="dark")``.

    Whatever the browser complains of fails the test, a breach of the page's own content policy among it.
    """
    opened: list[Visitor] = []

    def visit(
        place: str = "user/helpdesk", *, width: int = 1280, scheme: str = "light", uid: str = "", **more: Any
    ) -> Visitor:
        uid = uid or f"guest-{next(_people)}"
        if uid.startswith("guest-") and not opened:
            dev.post("/users", {"uid": uid, "name": f"Guest {uid.removeprefix('guest-')}"})
        height = 844 if width < 600 else 800
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **more)  # type: ignore[arg-type]
        context.set_default_timeout(TIMEOUT_MS)
        record_notices(context)
        report_csp_violations(context)
        visitor = Visitor(context.new_page(), dev, uid)
        opened.append(visitor)
        return visitor.goto(place)

    yield visit
    for visitor in opened:
        visitor.page.context.close()
    assert [visitor.console_errors for visitor in opened if visitor.console_errors] == []


@pytest.fixture
def visitor(visit: Visit) -> Visitor:
    return visit()


@pytest.fixture
def picture() -> bytes:
    """A PNG of 2 x 2 pixels."""
    return bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000002000000020802000000fdd49a73"
        "0000001349444154789c63f8cfc0f09f81818101880100120402fe4b8a9b710000000049454e44ae426082"
    )
