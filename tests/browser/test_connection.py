"""The page over restarts of the simulator, and when it forgets everything."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import APIResponse, Browser, Page, Route

from cometbot.simulator import Simulator
from cometbot.simulator.workbench import Workbench
from tests.browser.engine import TIMEOUT_MS, Need, expect, needs
from tests.browser.notices import record_notices, wait_for_notice
from tests.ports import free_port


class StartingBot(Workbench):
    def __init__(self) -> None:
        self.starts = 0

    def status(self) -> dict[str, object]:
        return {"state": "running", "bot": f"start {self.starts}", "starts": self.starts}


STREAM = re.compile(r"/simulator/events\?after=\d+$")


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(port=free_port()).seed_demo() as running:
        running.user("tom").say("Before", to="maria")
        yield running


@pytest.fixture
def page(browser: Browser, simulator: Simulator) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(TIMEOUT_MS)
    record_notices(context)
    page = context.new_page()
    page.goto(f"{simulator.url}/#maria/user/tom")
    page.wait_for_selector("html[data-ready]")
    yield page
    context.close()


def test_page_shows_disconnection_and_catches_up(page: Page, simulator: Simulator) -> None:
    expect(page.locator("#chat .bubble")).to_have_text(["Before"])
    simulator.stop()
    expect(page.locator(".notice.bad")).to_contain_text("Not connected.")
    simulator.user("tom").say("Meanwhile", to="maria")
    simulator.start()
    expect(page.locator("#chat .bubble")).to_have_text(["Before", "Meanwhile"])
    expect(page.locator(".notice")).to_be_hidden()


def test_message_to_a_stopped_simulator_stays_in_the_composer(page: Page, simulator: Simulator) -> None:
    simulator.stop()
    expect(page.locator(".notice.bad")).to_be_visible()
    box = page.locator("#composer-text")
    box.fill("Do not lose me")
    box.press("Enter")
    wait_for_notice(page, "does not answer", "toast bad")
    expect(box).to_have_value("Do not lose me")


def test_reset_simulator_empties_the_page(page: Page, simulator: Simulator) -> None:
    expect(page.locator("#chat .bubble")).to_have_count(1)
    simulator.reset()
    simulator.seed_demo()
    expect(page.locator("#chat .bubble")).to_have_count(0)
    expect(page.locator("#chat .empty")).to_be_visible()
    simulator.user("tom").say("After", to="maria")
    expect(page.locator("#chat .bubble", has_text="After")).to_be_visible()


def test_unread_message_is_counted_until_opened(page: Page, simulator: Simulator) -> None:
    simulator.user("tom").say("In the group", group="ops-room")
    room = page.locator(".conversation", has_text="Ops room")
    expect(room.locator(".count")).to_have_text("1")
    room.click()
    expect(room.locator(".count")).to_have_count(0)
    expect(page.locator("#chat .bubble", has_text="In the group")).to_be_visible()


@needs(Need.ROUTES, Need.CLOCK)
def test_a_held_back_stream_is_replaced_by_polling(page: Page, simulator: Simulator) -> None:
    page.clock.install()
    page.route(STREAM, lambda route: None)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    page.clock.fast_forward(11_000)
    expect(page.locator(".notice.warn")).to_contain_text("No live connection.")
    simulator.user("tom").say("Meanwhile", to="maria")
    expect(page.locator("#chat .bubble")).to_have_text(["Before", "Meanwhile"])
    page.unroute(STREAM)
    page.clock.fast_forward(21_000)
    expect(page.locator(".notice")).to_be_hidden()
    simulator.user("tom").say("After", to="maria")
    expect(page.locator("#chat .bubble")).to_have_text(["Before", "Meanwhile", "After"])


@needs(Need.ROUTES)
def test_a_page_that_was_never_connected_says_so(page: Page) -> None:
    page.route(re.compile(r"/simulator/events\?"), lambda route: route.abort())
    page.reload()
    expect(page.locator(".notice.bad")).to_contain_text("Not connected.")
    expect(page.locator("#people .state")).to_have_text("Not connected")


@needs(Need.REQUESTS)
def test_eight_tabs_share_one_stream(page: Page, simulator: Simulator) -> None:
    streams: list[str] = []
    page.context.on("request", lambda request: streams.append(request.url) if STREAM.search(request.url) else None)
    tabs = [page.context.new_page() for _ in range(7)]
    for number, tab in enumerate(tabs):
        simulator.user("tom").say(f"Tab {number}", to="maria")
        tab.goto(f"{simulator.url}/#maria/user/tom")
        tab.wait_for_selector("html[data-ready]")
    said = ["Before", *(f"Tab {number}" for number in range(7))]
    for tab in tabs:
        expect(tab.locator("#chat .bubble")).to_have_text(said)
    assert streams == []
    with page.context.expect_event("requestfinished", lambda request: "once=1" in request.url):
        page.close()
    simulator.user("tom").say("After", to="maria")
    for tab in tabs:
        expect(tab.locator("#chat .bubble")).to_have_text([*said, "After"])
    assert len(streams) == 1


def test_first_start_of_the_bot_is_no_restart(page: Page, simulator: Simulator) -> None:
    simulator.workbench = bot = StartingBot()
    page.reload()
    for bot.starts in (0, 1):
        expect(page.locator("#people .state")).to_have_text(f"start {bot.starts} is running")
    assert page.evaluate("window.told") == []
    bot.starts = 2
    wait_for_notice(page, "The bot runs again.", "notice good")


@needs(Need.ROUTES)
def test_event_of_the_stream_outlasts_a_late_answer(page: Page, simulator: Simulator) -> None:
    simulator.workbench = bot = StartingBot()
    late: list[tuple[Route, APIResponse]] = []
    page.route("**/simulator/events?*once=1", lambda route: late.append((route, route.fetch())), times=1)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    while not late:
        page.wait_for_timeout(50)
    bot.starts = 1
    page.wait_for_timeout(1500)  # for the stream, which the page reads and keeps back
    [(route, answer)] = late
    assert '"start 0"' in answer.text()
    route.fulfill(response=answer)
    expect(page.locator("#people .state")).to_have_text("start 1 is running")
