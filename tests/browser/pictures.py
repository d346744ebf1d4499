"""Take the pictures of the documentation: ``python -m tests.browser.pictures``.

It starts the servers that a reader starts, chats with a bot in Chromium, and writes ``docs/pictures``.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import requests
from playwright.sync_api import Browser, Page, expect

from cometbot.temporary_folders import TemporaryFolder
from tests.browser.engine import launch
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
BOT_FILE = Path(__file__).with_name("pictures_bot.py")
BOT = "bot.py:bot"
START_TIMEOUT = 120.0
MAX_SIZE = 200_000

SIMULATOR_ADDRESS = "#maria/user/helpdesk"


@contextmanager
def run(folder: Path, port: int, *arguments: str, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run ``cometbot`` with these arguments and the bot, wait until it answers at ``port``, and yield its URL."""
    shutil.copy(BOT_FILE, folder / "bot.py")
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("COMET", "CHAT_API_", "PLATFORM_", "SIMPLEX_", "PROMETHEUS"))
    }
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [Path(sys.executable).parent / "cometbot", *arguments],
            cwd=folder,
            env={**kept, **(settings or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until_ready(url, process, folder / "log")
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the server answers. Raises RuntimeError with its log if it ends or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(requests.RequestException):
            if requests.get(f"{url}/", timeout=10).ok and url in log.read_text():
                return
        time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer:\n{log.read_text()}")


def send(page: Page, text: str) -> None:
    """Write a message and send it."""
    page.locator("#composer-text").fill(text)
    page.locator("#composer-text").press("Enter")


def chat(page: Page) -> None:
    """Have the conversation that the pictures show."""
    expect(page.get_by_role("main").get_by_role("heading", name="helpdesk", level=2)).to_be_visible()
    messages = page.locator(".message.other .bubble")
    send(page, "/track 4711")
    expect(messages.filter(has_text="is on its way")).to_be_visible()
    send(page, "hello")
    expect(messages.filter(has_text="What can I do for you?")).to_be_visible()
    page.get_by_role("button", name="Buy tea").last.click()
    expect(messages.filter(has_text="Black tea, 100 g")).to_be_visible()


def take_simulator(page: Page, folder: Path) -> None:
    """Chat with the bot on the page of ``cometbot dev``."""
    port = free_port()
    with run(folder, port, "dev", BOT, "--port", str(port), "--no-chat") as url:
        page.goto(f"{url}/{SIMULATOR_ADDRESS}")
        page.wait_for_selector("html[data-ready]")
        chat(page)
        save(page, "simulator.png")


def take_web_chat(page: Page, folder: Path) -> None:
    """Chat with the bot in the platform's web chat."""
    port = free_port()
    settings = {
        "COMETBOT_CHANNELS": "platform",
        "COMETBOT_DATABASE_URL": f"sqlite:///{folder}/cometbot.db",
        "COMETBOT_DATA": f"{folder}/data",
        "PLATFORM_SERVICE_NAME": "Tea & Orders",
        "PLATFORM_SERVICE_DESCRIPTION": "Ask about your order, or about tea.",
    }
    with run(folder, port, "serve", BOT, "--bind", f"127.0.0.1:{port}", settings=settings) as url:
        page.goto(url)
        page.wait_for_selector("html[data-ready]")
        page.get_by_label("Your name").fill("Maria")
        page.get_by_role("button", name="Start chatting").click()
        page.locator(".people").get_by_role("link", name="helpdesk").first.click()
        chat(page)
        save(page, "web-chat.png")


def save(page: Page, name: str) -> None:
    """Write a picture. Raises RuntimeError if it is too large for the repository."""
    page.locator("#composer-text").focus()
    page.mouse.move(0, 0)  # messages under the mouse show buttons
    page.wait_for_timeout(500)  # animations end
    PICTURES.mkdir(exist_ok=True)
    content = page.screenshot(path=PICTURES / name)
    if len(content) > MAX_SIZE:
        raise RuntimeError(f"{name}: expected at most {MAX_SIZE} bytes, got {len(content)}")


def take(browser: Browser, take_one: Callable[[Page, Path], None]) -> None:
    """Take one picture in a fresh browser context and folder."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light", locale="en-GB")
    with TemporaryFolder("pictures") as folder:
        take_one(context.new_page(), folder)
    context.close()


def main() -> None:
    with TemporaryFolder("browser") as folder, launch(folder) as browser:
        take(browser, take_simulator)
        take(browser, take_web_chat)


if __name__ == "__main__":
    main()
