"""The web chat and the page of ``cometbot dev`` in Chromium."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time

from playwright.sync_api import BrowserContext, Error, Page, sync_playwright

from tests.cases.case import Case, Finding, check
from tests.cases.server import ROOT, Server, wait_for
from tests.ports import HOST, free_port

CHROMIUM = os.environ.get("COMETBOT_TEST_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
MESSAGE_BOX = "#composer-text"
STATUS = "[role=status], [role=alert], .notice, .toast, .connection"


def open_browser(case: Case, **options: object) -> BrowserContext:
    """A browser of its own, that ends with the case; cookies are refused with ``cookies=False``."""
    playwright = case.stack.enter_context(sync_playwright())
    profile = case.work / "profile"
    (profile / "Default").mkdir(parents=True)
    if options.pop("cookies", True) is False:
        settings = {"profile": {"default_content_setting_values": {"cookies": 2}}}
        (profile / "Default" / "Preferences").write_text(json.dumps(settings))
    context = playwright.chromium.launch_persistent_context(
        str(profile),
        executable_path=CHROMIUM,
        args=ARGUMENTS,
        **options,  # type: ignore[arg-type]
    )
    case.stack.callback(context.close)
    context.set_default_timeout(60_000)
    return context


def serve_page(case: Case, name: str = "server", **variables: str) -> Server:
    limits = {"PLATFORM_MESSAGES": "0", "PLATFORM_REQUESTS": "0", "PLATFORM_SIGNUPS": "0"}
    return Server(case, name=name, COMETBOT_CHANNELS="platform", **limits, **variables).start()


def open_chat(page: Page, url: str, name: str = "Maria") -> Page:
    """Open the chat with the bot, as somebody who is new here."""
    page.goto(f"{url}/bot/demo_bot")
    page.wait_for_selector("html[data-ready]")
    page.fill("#nickname", name)
    page.click("button.primary")
    page.wait_for_selector(MESSAGE_BOX)
    return page


def serve_dev(case: Case) -> str:
    """The address of the page of ``cometbot dev``."""
    log = case.work / "dev.log"
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "COMETBOT_TEST_HEARD": str(case.work / "heard")}
    command = [sys.executable, "-m", "cometbot.cli", "dev", f"{ROOT}/tests/cases/bot.py:bot"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--port", "0", "--no-chat", "--traffic", "off"],
            cwd=case.work,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    case.stack.callback(process.wait, 60)
    case.stack.callback(process.terminate)
    found = wait_for(lambda: re.search(r"In a browser: (http://\S+?)/?\s", log.read_text()), 120)
    if found is None:
        raise RuntimeError(f"cometbot dev did not start: {log.read_text()[-1000:]}")
    return found[1]


def both_pages(case: Case) -> dict[str, Page]:
    """The web chat and the page of ``cometbot dev``, each with a box to write into."""
    context = open_browser(case)
    webchat = open_chat(context.new_page(), serve_page(case).url)
    dev = context.new_page()
    dev.goto(f"{serve_dev(case)}/#maria/user/demo_bot")
    dev.wait_for_selector(MESSAGE_BOX)
    return {"web chat": webchat, "dev": dev}


def run_script(page: Page, case: Case) -> None:
    """Run the case's script in the page."""
    page.evaluate(f"() => {{ {case.read('event.js').decode()} }}")
    page.wait_for_timeout(500)


@check("chat/02-sse-buffering-proxy")
def buffering_proxy(case: Case) -> Finding:
    server, port = serve_page(case), free_port()
    command = [sys.executable, str(case.folder / "proxy.py"), "buf", str(port), str(server.port)]
    process = subprocess.Popen(command, cwd=case.work)
    case.stack.callback(process.wait, 30)
    case.stack.callback(process.kill)
    time.sleep(1)
    page = open_chat(open_browser(case).new_page(), f"http://{HOST}:{port}")
    page.fill(MESSAGE_BOX, "ping pong")
    page.press(MESSAGE_BOX, "Enter")
    began = time.monotonic()
    seen = "neither a reply nor a word"
    while time.monotonic() - began < 60:
        page.wait_for_timeout(500)
        if page.get_by_text("pong ping").count():
            seen = "the reply"
            break
        told = " ".join(page.locator(STATUS).all_inner_texts()).strip()
        if re.search(r"(?i)live|connection|polling", told):
            seen = f"told: {told[:100]}"
            break
    seconds = time.monotonic() - began
    return Finding("within 45 s the reply, or a word", f"{seen} after {seconds:.0f} s", seconds <= 50)


@check("chat/04-ime-safari")
def composition(case: Case) -> Finding:
    texts = {}
    for name, page in both_pages(case).items():
        page.fill(MESSAGE_BOX, "nihao")
        run_script(page, case)
        texts[name] = page.input_value(MESSAGE_BOX)
    return Finding("the text stays in both boxes", str(texts), set(texts.values()) == {"nihao"})


@check("chat/05-paste-spreadsheet")
def paste(case: Case) -> Finding:
    seen = {}
    script = case.read("event.js").decode().replace("t.dispatchEvent(", "return t.dispatchEvent(")
    for name, page in both_pages(case).items():
        is_left_to_the_browser = page.evaluate(f"() => {{ {script} }}")
        page.wait_for_timeout(500)
        attached = page.locator(".attached").count()
        is_text = is_left_to_the_browser or "A\tB" in page.input_value(MESSAGE_BOX)
        seen[name] = f"text pasted: {is_text}, {attached} attached"
    return Finding("text pasted, nothing attached", str(seen), set(seen.values()) == {"text pasted: True, 0 attached"})


@check("chat/10-rtl-prose")
def right_to_left(case: Case) -> Finding:
    server = serve_page(case, COMETBOT_TEST_MESSAGE=str(case.folder / "message.md"))
    page = open_chat(open_browser(case).new_page(), server.url)
    page.fill(MESSAGE_BOX, "rtl")
    page.press(MESSAGE_BOX, "Enter")
    bubble = page.locator(".message.other .bubble").last
    bubble.locator("pre").wait_for()
    look = """element => [...element.querySelectorAll("p, li, blockquote, pre")].map(one => {
        const style = getComputedStyle(one);
        const range = document.createRange();
        range.selectNodeContents(one);
        const box = range.getBoundingClientRect(), own = one.getBoundingClientRect();
        return {
            tag: one.tagName, text: one.innerText.slice(0, 12), direction: style.direction,
            bidi: style.unicodeBidi, right: parseFloat(style.borderRightWidth), left: parseFloat(style.borderLeftWidth),
            list: one.parentElement && getComputedStyle(one.parentElement).direction,
        };
    })"""
    wrong = []
    for one in bubble.evaluate(look):
        is_arabic = bool(re.search(r"[\u0600-\u06ff]", one["text"]))
        tag, is_right = one["tag"], one["direction"] == "rtl"
        if tag == "PRE":
            wrong += ["the code block runs right to left"] if is_right else []
        elif tag == "LI" and is_arabic and one["list"] != "rtl":
            wrong.append(f"a bullet is on the left: {one['text']}")
        elif tag == "BLOCKQUOTE" and is_arabic and one["right"] <= one["left"]:
            wrong.append("the quote's bar is on the left")
        elif tag == "P" and is_right != is_arabic and one["bidi"] != "plaintext":
            wrong.append(f"{one['text']!r} is {one['direction']}")
    return Finding(
        "paragraphs, bullets and the quote's bar by their own direction", "; ".join(wrong) or "the same", not wrong
    )


@check("chat/14-six-tabs")
def seventh_tab(case: Case) -> Finding:
    server, context = serve_page(case), open_browser(case)
    open_chat(context.new_page(), server.url)
    times = []
    for _ in range(7):
        page = context.new_page()
        began = time.monotonic()
        try:
            page.goto(f"{server.url}/bot/demo_bot", timeout=30_000)
            page.wait_for_selector(MESSAGE_BOX, timeout=30_000)
        except Error:
            pass
        times.append(round(time.monotonic() - began, 1))
    return Finding("each of eight tabs within 10 s", f"{times} s", max(times) < 10)


@check("chat/15-cookies-blocked")
def cookies_blocked(case: Case) -> Finding:
    server, context = serve_page(case), open_browser(case, cookies=False)
    page, made = context.new_page(), []
    page.on("request", lambda request: request.method == "POST" and request.url.endswith("/user") and made.append(1))
    page.goto(f"{server.url}/bot/demo_bot")
    page.wait_for_selector("html[data-ready]", timeout=30_000)
    page.fill("#nickname", "Maria")
    for _ in range(2):
        if page.locator("button.primary").count():
            page.click("button.primary")
        elif page.locator(MESSAGE_BOX).count():
            page.fill(MESSAGE_BOX, "hello")
            page.press(MESSAGE_BOX, "Enter")
        page.wait_for_timeout(2000)
    text = page.inner_text("body")
    is_told = bool(re.search(r"(?i)cookie", text))
    return Finding("the page speaks of cookies", f"told: {is_told}, {len(made)} users made", is_told)


@check("chat/18-phone-enter")
def phone(case: Case) -> Finding:
    server = serve_page(case)
    context = open_browser(case, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = open_chat(context.new_page(), server.url)
    page.fill(MESSAGE_BOX, "one")
    page.press(MESSAGE_BOX, "Enter")
    page.wait_for_timeout(500)
    value, sent = page.input_value(MESSAGE_BOX), page.locator(".message.own").count()
    return Finding("a new line in the box", f"{value!r} in the box, {sent} sent", value == "one\n" and sent == 0)


@check("chat/21-two-servers-one-host")
def two_servers(case: Case) -> Finding:
    first, second = serve_page(case, "first"), serve_page(case, "second")
    context = open_browser(case)
    urls = [f"http://localhost:{server.port}" for server in (first, second)]
    open_chat(context.new_page(), urls[0], "Maria")
    open_chat(context.new_page(), urls[1], "Tom")
    page = context.new_page()
    page.goto(f"{urls[0]}/bot/demo_bot")
    page.wait_for_selector("html[data-ready]")
    page.wait_for_timeout(1000)
    is_known = page.locator("#nickname").count() == 0
    return Finding("Maria is still known at the first", "she is" if is_known else "she is asked for her name", is_known)
