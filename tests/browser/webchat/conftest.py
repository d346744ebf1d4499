"""The platform as an operator would run it, and browsers in which people talk to its bots."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request

from tests.browser.engine import TIMEOUT_MS, expect, report_csp_violations, wait_for
from tests.browser.notices import record_notices, wait_for_notice
from tests.ports import free_port

BOTS = Path(__file__).parent / "bots.py"
START_TIMEOUT = 120.0
IGNORED_ERRORS = re.compile(
    r"Failed to load resource|net::ERR_|example\.com|/favicon\.ico|Firefox can’t establish a connection"
)

_names = itertools.count(1)


class Platform:
    """``cometbot serve`` with the platform, in a folder of its own."""

    spec = f"{BOTS}:helpdesk,{BOTS}:teahouse"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin, and wait until it answers."""
        kept = {
            name: text
            for name, text in os.environ.items()
            if not name.startswith(("COMET", "CHAT_API_", "PLATFORM_", "SIMPLEX_", "PROMETHEUS"))
        }
        environ = kept | {
            "COMETBOT_CHANNELS": "platform",
            "COMETBOT_BIND": f"127.0.0.1:{self.port}",
            "COMETBOT_DATABASE_URL": f"sqlite:///{self.folder}/bot.db",
            "COMETBOT_DATA": str(self.folder / "data"),
            "COMETBOT_PUBLIC_URL": self.url,
            "COMETBOT_STOP_TIMEOUT": "1",
            "COMETBOT_TEST_MARKS": str(self.folder),
            "COMETBOT_TEST_PICTURE": f"{self.url}/page/icon.svg",
            "PLATFORM_MESSAGES": "0",
            "PLATFORM_REQUESTS": "0",
            "PLATFORM_SIGNUPS": "0",
            "PLATFORM_SERVICE_NAME": "Tea & Orders",
            "PLATFORM_SERVICE_DESCRIPTION": "Ask about your order, or about tea.",
            "PLATFORM_LIMITS_FILE_MAX_IMAGE_SIZE": "100000",
        }
        command = [Path(sys.executable).parent / "cometbot", "serve", self.spec]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=environ, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(self._is_ready, START_TIMEOUT, or_show=lambda: (self.folder / "log").read_text())

    def stop(self) -> None:
        """End it, as an operator would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(60)

    def mark(self, name: str) -> None:
        """Let a handler that waits for this go on."""
        (self.folder / name).touch()

    def clear_marks(self) -> None:
        """Let handlers wait again."""
        for name in ("thought", "go-on", "later"):
            (self.folder / name).unlink(missing_ok=True)

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            pytest.fail(f"the platform ended by itself\n{(self.folder / 'log').read_text()}")
        try:
            return requests.get(f"{self.url}/readyz", timeout=60).ok
        except requests.RequestException:
            return False


class Guest:
    """Somebody in front of a browser."""

    def __init__(self, page: Page, platform: Platform) -> None:
        self.page = page
        self.platform = platform
        self.console_errors: list[str] = []
        self.post_requests: list[Request] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self._add(str(error)))
        page.on("request", lambda request: request.method == "POST" and self.post_requests.append(request))
        self._open_requests: set[Request] = set()
        page.on("request", lambda request: self._open_requests.add(request))
        page.on("requestfinished", lambda request: self._open_requests.discard(request))
        page.on("requestfailed", lambda request: self._open_requests.discard(request))

    def goto(self, path: str = "/") -> Guest:
        self.page.goto(self.platform.url + path)
        self.page.wait_for_selector("html[data-ready]")
        return self

    def sign_up(self, name: str = "") -> Guest:
        """Say who one is."""
        self.page.get_by_label("Your name").fill(name or f"Guest {next(_names)}")
        self.page.get_by_role("button", name="Start chatting").click()
        expect(self.page.locator(".webchat")).to_be_visible()
        return self

    def open_chat(self, bot: str = "helpdesk") -> Guest:
        """Begin a chat, as a click on the bot would."""
        self.page.locator(".people").get_by_role("link", name=re.compile(rf"^{bot}")).first.click()
        expect(self.composer).to_be_visible()
        return self

    @property
    def composer(self) -> Locator:
        return self.page.locator("#composer-text")

    @property
    def own_messages(self) -> Locator:
        return self.page.locator(".message.own")

    @property
    def bot_messages(self) -> Locator:
        return self.page.locator(".message.other")

    @property
    def chats(self) -> Locator:
        return self.page.locator(".conversation.small")

    @property
    def chat_id(self) -> str:
        return self.page.url.rpartition("/")[2]

    def send_text(self, text: str) -> None:
        self.composer.fill(text)
        self.composer.press("Control+Enter")  # the same with a touch keyboard, whose Enter makes a new line

    def expect_text(self, text: str | re.Pattern[str], where: str = ".message.other .bubble") -> Locator:
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

    def wait_until_sent(self) -> None:
        """Wait until all that was said has arrived."""
        expect(self.page.locator(".fate")).to_have_count(0)

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Go on when this is true; what happens on the page meanwhile is heard."""
        wait_for(lambda: condition() or self.page.wait_for_timeout(20))

    def wait_until_answered(self) -> None:
        """Wait until the page has the answers to all its requests but the stream of events."""
        self.wait_until(lambda: all(request.resource_type == "eventsource" for request in self._open_requests))

    def call_api(self, method: str, path: str, body: Any = None) -> Any:
        """What the platform answers to this person, beside the page."""
        options = {"method": method, **({"data": body} if body is not None else {})}
        response = self.page.request.fetch(self.platform.url + path, **options)
        assert response.ok, response.text()
        return response.json()

    def load_stored_texts(self) -> list[str]:
        """The texts in the chat as the platform has them."""
        found = self.call_api("GET", f"/v1/client-api/chat/{self.chat_id}/messages?limit=200")
        return [message["body"] for message in found["messages"]]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._add(f"{message.text} {message.location}")

    def _add(self, console_error: str) -> None:
        if not IGNORED_ERRORS.search(console_error):
            self.console_errors.append(console_error)


Visit = Callable[..., Guest]


@pytest.fixture(scope="session")
def shared_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("platform"))
    platform.start()
    yield platform
    platform.stop()


@pytest.fixture
def platform(shared_platform: Platform) -> Platform:
    shared_platform.clear_marks()
    return shared_platform


@pytest.fixture
def visit(browser: Browser, platform: Platform) -> Iterator[Visit]:
    """Opens the web chat for somebody who was never here: ``visit(width=390, scheme="dark")``.

    With ``beside`` it is another tab of that guest's browser. Whatever the browser complains of fails the test, a
    breach of the page's content policy among it.
    """
    opened: list[Guest] = []

    def visit(
        path: str = "/", *, width: int = 1280, scheme: str = "light", beside: Guest | None = None, **more: Any
    ) -> Guest:
        height = 844 if width < 600 else 800
        viewport = {"width": width, "height": height}
        more = {"locale": "en-GB", "color_scheme": scheme, **more}
        context = beside.page.context if beside else browser.new_context(viewport=viewport, **more)  # type: ignore[arg-type]
        context.set_default_timeout(TIMEOUT_MS)
        if beside is None:
            record_notices(context)
            report_csp_violations(context)
        guest = Guest(context.new_page(), platform)
        opened.append(guest)
        return guest.goto(path)

    yield visit
    for guest in opened:
        guest.page.context.close()
    assert [guest.console_errors for guest in opened if guest.console_errors] == []


@pytest.fixture
def guest(visit: Visit) -> Guest:
    """Somebody who is about to write to the helpdesk."""
    return visit().sign_up().open_chat()
