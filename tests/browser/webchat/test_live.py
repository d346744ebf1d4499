"""The event stream: shared by all tabs, and replaced by polling where it is silent."""

from __future__ import annotations

import re

import pytest

from tests.browser.engine import Need, expect, needs
from tests.browser.webchat.conftest import Guest, Platform, Visit

EVENTS = "**/v1/page-api/events"
MUTE_STREAM = """(() => {
    const add = EventSource.prototype.addEventListener;
    EventSource.prototype.addEventListener = function (name, listener) {
        add.call(this, name, (event) => window.isMuted || listener(event));
    };
})()"""
"""Silences streams as a link does that has died without a word."""


def streams_of(guest: Guest) -> list[str]:
    """The requests for streams by all tabs of this guest's browser, from now on."""
    found: list[str] = []
    guest.page.context.on(
        "request", lambda request: found.append(request.url) if request.url.endswith("/events") else None
    )
    return found


def remind(guest: Guest, platform: Platform) -> None:
    """Have the bot say something unasked."""
    platform.mark("later")
    guest.expect_text("Your order is out.")


@needs(Need.ROUTES, Need.CLOCK)
def test_a_held_back_stream_is_replaced_by_polling(guest: Guest, platform: Platform) -> None:
    guest.page.clock.install()
    guest.page.route(EVENTS, lambda route: None)
    guest.reload()
    guest.send_text("later")
    guest.page.clock.fast_forward(11_000)
    guest.expect_text("no live connection", ".notice")
    guest.expect_text("I will tell you.")
    remind(guest, platform)
    guest.page.unroute(EVENTS)
    guest.page.clock.fast_forward(21_000)
    guest.expect_notice("Connected again", "notice")


@needs(Need.CLOCK, Need.EARLY_SCRIPTS, Need.REQUESTS)
def test_a_silent_link_is_replaced_by_polling_within_45_s(guest: Guest, platform: Platform) -> None:
    guest.page.add_init_script(MUTE_STREAM)
    guest.page.clock.install()
    with guest.page.expect_request(EVENTS):
        guest.reload()
    guest.send_text("later")
    guest.expect_text("I will tell you.")
    guest.page.evaluate("window.isMuted = true")
    guest.page.clock.fast_forward(41_000)
    guest.expect_text("no live connection", ".notice")
    remind(guest, platform)
    guest.page.evaluate("window.isMuted = false")
    guest.page.clock.fast_forward(21_000)
    guest.expect_notice("Connected again", "notice")


@needs(Need.REQUESTS)
def test_eight_tabs_share_one_stream(guest: Guest, visit: Visit) -> None:
    streams = streams_of(guest)
    guest.send_text("/track 1")
    guest.expect_text("Order 1 is on its way")
    tabs = [visit(f"/conversation/{guest.chat_id}", beside=guest) for _ in range(7)]
    guest.send_text("/track 2")
    for tab in tabs:
        tab.expect_text("Order 2 is on its way")
    assert streams == []


@needs(Need.REQUESTS)
def test_another_tab_takes_the_stream_over(guest: Guest, visit: Visit) -> None:
    streams = streams_of(guest)
    guest.send_text("/track 1")
    guest.expect_text("Order 1 is on its way")
    tabs = [visit(f"/conversation/{guest.chat_id}", beside=guest) for _ in range(2)]
    guest.page.close()
    tabs[0].wait_until(lambda: len(streams) == 1)
    tabs[0].send_text("/track 2")
    for tab in tabs:
        tab.expect_text("Order 2 is on its way")
    assert len(streams) == 1


@needs(Need.CLOCK, Need.REQUESTS)
def test_a_tab_that_passes_nothing_on_loses_the_stream(guest: Guest, visit: Visit) -> None:
    guest.send_text("/track 1")
    guest.expect_text("Order 1 is on its way")
    other = visit(beside=guest)
    other.page.clock.install()
    other.goto(f"/conversation/{guest.chat_id}")
    guest.page.evaluate("BroadcastChannel.prototype.postMessage = () => {}")
    streams = streams_of(guest)
    other.page.clock.fast_forward(41_000)
    other.wait_until(lambda: bool(streams))
    guest.send_text("/track 2")
    other.expect_text("Order 2 is on its way")
    guest.expect_text("Order 2 is on its way")


@needs(Need.EARLY_SCRIPTS, Need.REQUESTS)
@pytest.mark.parametrize(
    "script",
    [
        "delete Navigator.prototype.locks",
        "if (window.LockManager)"
        " LockManager.prototype.request = async () => { throw new DOMException('no', 'SecurityError'); }",
    ],
    ids=["missing", "refused"],
)
def test_without_locks_each_tab_has_its_own_stream(guest: Guest, visit: Visit, script: str) -> None:
    guest.page.context.add_init_script(script)
    streams = streams_of(guest)
    guest.reload()
    guest.send_text("/track 1")
    guest.expect_text(re.compile("Order 1 is on its way"))
    other = visit(f"/conversation/{guest.chat_id}", beside=guest)
    guest.send_text("/track 2")
    other.expect_text("Order 2 is on its way")
    expect(other.page.locator(".notice")).to_be_hidden()
    assert len(streams) == 2


@needs(Need.CLOCK, Need.EARLY_SCRIPTS, Need.REQUESTS, Need.FAILED_REQUESTS)
def test_without_locks_a_tab_that_nobody_sees_leaves_its_stream(guest: Guest, platform: Platform) -> None:
    guest.page.add_init_script("delete Navigator.prototype.locks")
    guest.page.clock.install()
    with guest.page.expect_request(EVENTS):
        guest.reload()
    guest.send_text("later")
    guest.expect_text("I will tell you.")
    turn = """(hidden) => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with guest.page.expect_event("requestfailed", lambda request: request.url.endswith("/events")):
        guest.page.evaluate(turn, True)
        guest.page.clock.fast_forward(3000)
    guest.page.evaluate(turn, False)
    remind(guest, platform)
