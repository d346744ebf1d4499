"""At both widths and in both appearances: nothing is cut off, and text can be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Visit, Visitor
from tests.browser.engine import Need, expect, needs

SHOTS = os.environ.get("COMETBOT_TEST_SCREENSHOTS", "")

_CONTRAST = """() => {
    const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
    const share = (value) => ((value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    const light = ([r, g, b]) => 0.2126 * share(r) + 0.7152 * share(g) + 0.0722 * share(b);
    const behind = (node) => {
        for (let at = node; at; at = at.parentElement) {
            const colour = rgb(getComputedStyle(at).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
            if (colour[3] > 0) return null;
        }
        return [255, 255, 255];
    };
    const faint = [];
    for (const node of document.querySelectorAll("#app *")) {
        const own = [...node.childNodes].filter((child) => child.nodeType === 3);
        const text = own.map((child) => child.data).join("").trim();
        const isSeen = node.checkVisibility({ opacityProperty: true, visibilityProperty: true });
        if (!text || !isSeen || node.closest(":disabled")) continue;
        const ground = behind(node);
        const colour = getComputedStyle(node).color;
        if (!ground || !colour.startsWith("rgb")) continue;
        const [one, other] = [light(rgb(colour)), light(ground)].sort((a, b) => b - a);
        const ratio = (one + 0.05) / (other + 0.05);
        if (ratio < 4.5) faint.push(`${text.slice(0, 30)}: ${ratio.toFixed(2)} in ${node.className}`);
    }
    return faint;
}"""


REST = """() => Promise.all(document.getAnimations()
    .filter((one) => one.effect.getTiming().iterations !== Infinity)
    .map((one) => one.finished.catch(() => {})))"""
"""What moves comes to rest."""


def save_screenshot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png")


def fill_conversation(visitor: Visitor) -> None:
    visitor.send_text("hello")
    visitor.expect_text("What can I do for you?").get_by_role("button", name="Track an order").click()
    visitor.expect_text("You chose: Track an order")
    expect(visitor.page.locator(".receipt")).to_have_count(2)
    expect(visitor.page.locator(".working")).to_have_count(0)


def overflow(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=needs(Need.DARK))])
def test_at_1280_pixels_all_panes_are_there_and_legible(visit: Visit, scheme: str) -> None:
    visitor = visit(scheme=scheme)
    fill_conversation(visitor)
    for pane in ("#people", "#chat", "#tools"):
        expect(visitor.page.locator(pane)).to_be_visible()
    assert overflow(visitor.page) == 0
    for tab in ("Traffic", "Dead letters", "Moderation", "Failures", "Output"):
        visitor.open_tab(tab)
        visitor.page.evaluate(REST)
        assert visitor.page.evaluate(_CONTRAST) == []
        save_screenshot(visitor.page, f"wide-{scheme}-{tab.split()[0].lower()}")


@needs(Need.TOUCH)
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=needs(Need.DARK))])
def test_at_390_pixels_there_is_one_pane_at_a_time(visit: Visit, scheme: str) -> None:
    visitor = visit(width=390, scheme=scheme, has_touch=True)
    fill_conversation(visitor)
    page = visitor.page
    for name, pane in (("Chats", "#people"), ("Inspector", "#tools"), ("Talk", "#chat")):
        page.get_by_role("navigation", name="Panes").get_by_role("button", name=name).tap()
        expect(page.locator(pane)).to_be_visible()
        assert [one for one in ("#people", "#chat", "#tools") if page.locator(one).is_visible()] == [pane]
        page.evaluate(REST)
        assert overflow(page) == 0
        assert page.evaluate(_CONTRAST) == []
        save_screenshot(page, f"phone-{scheme}-{name.lower()}")


@needs(Need.TOUCH)
def test_a_thread_on_a_phone_takes_the_screen_and_gives_it_back(visit: Visit) -> None:
    visitor = visit(width=390, has_touch=True)
    visitor.send_text("A question")
    answer = visitor.page.locator(".message.other").last
    visitor.expect_text("You said: A question")
    answer.tap()
    answer.get_by_role("button", name="Reply in a thread").tap()
    visitor.page.get_by_label("Reply in the thread").fill("More")
    save_screenshot(visitor.page, "phone-thread")
    visitor.page.get_by_role("button", name="Close the thread").tap()
    expect(visitor.composer).to_be_visible()


def test_the_appearance_is_switched_and_remembered(visit: Visit) -> None:
    visitor = visit(scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = visitor.page.evaluate(ground)
    button = visitor.page.get_by_role("button", name="Appearance")
    button.click()
    button.click()
    expect(button).to_have_accessible_name("Appearance: dark")
    visitor.page.evaluate(REST)
    dark = visitor.page.evaluate(ground)
    assert dark != light
    visitor.reload()
    visitor.page.evaluate(REST)
    assert visitor.page.evaluate(ground) == dark


@needs(Need.MOTION)
def test_nothing_moves_for_whoever_asks_for_that(visit: Visit) -> None:
    visitor = visit(reduced_motion="reduce")
    fill_conversation(visitor)
    moving = (
        "[...document.querySelectorAll('*')].filter((one) => getComputedStyle(one).animationName !== 'none').length"
    )
    assert visitor.page.evaluate(moving) == 0
