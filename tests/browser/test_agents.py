"""Talking to the bot as an agent: its answer streams over AG-UI."""

from __future__ import annotations

import re

import pytest
import requests

from tests.browser.conftest import Dev, Visit, Visitor
from tests.browser.engine import expect
from tests.browser.test_chatting import KEEP_TEXTS


@pytest.fixture
def agent(dev: Dev) -> str:
    """The place of the agent that ``cometbot dev`` has registered."""
    data = requests.get(f"{dev.url}/simulator/page", timeout=60).json()["data"]
    (found,) = data["directory"]["agents"]
    return f"user/{found['uid']}"


@pytest.fixture
def visitor(visit: Visit, agent: str) -> Visitor:
    return visit(agent)


def test_agent_is_in_the_sidebar_and_can_be_chosen(visit: Visit) -> None:
    visitor = visit()
    section = visitor.page.locator("#people section", has=visitor.page.get_by_role("heading", name="Agents"))
    section.get_by_role("button", name="Helpdesk").click()
    expect(visitor.page.locator(".chat-head")).to_contain_text("Agent, called over AG-UI at http://127.0.0.1:")
    expect(visitor.page.locator("#chat")).to_contain_text("over AG-UI, as CometChat calls an agent")
    visitor.composer.press_sequentially("/tr")
    expect(visitor.page.get_by_role("listbox").get_by_role("option", name="/track")).to_be_visible()


def test_answer_streams_into_one_message(visitor: Visitor) -> None:
    visitor.page.evaluate(KEEP_TEXTS)
    visitor.send_text("stream")
    message = visitor.page.locator(".message.other").last
    expect(message.locator(".bubble")).to_have_text("one two three")
    expect(message).not_to_have_attribute("aria-busy", "true")
    expect(message.locator(".toolbar")).to_have_count(1)
    expect(visitor.page.locator(".message.other")).to_have_count(1)
    # A slow machine may show two words at once.
    assert visitor.page.evaluate("() => window.texts[0]") in ("one true", "one two true")


def test_commands_and_questions_are_answered(visitor: Visitor) -> None:
    visitor.send_text("/track 4711")
    answer = visitor.expect_text("Order 4711 is on its way")
    expect(answer.locator("strong")).to_have_text("4711")
    expect(visitor.page.locator(".message.own .receipt")).to_have_text("Helpdesk ✓")


def test_run_that_fails_says_so_below_the_message(visitor: Visitor) -> None:
    visitor.send_text("fail")
    receipt = visitor.page.locator(".message.own .receipt.bad")
    expect(receipt).to_have_text("Helpdesk failed")
    expect(receipt).to_have_attribute("title", re.compile("RUN_ERROR HANDLER_FAILED"))
    receipt.click()
    entry = visitor.page.locator(".entries .entry").first
    expect(entry).to_contain_text("to Helpdesk")
    expect(entry.locator(".status.bad")).to_have_text("200")


def test_conversation_is_still_there_after_a_reload(visitor: Visitor) -> None:
    visitor.send_text("/track 1")
    visitor.expect_text("Order 1 is on its way")
    visitor.reload()
    visitor.expect_text("Order 1 is on its way")


def test_each_person_has_a_conversation_of_their_own(visit: Visit, agent: str) -> None:
    first = visit(agent)
    first.send_text("/track 1")
    first.expect_text("Order 1 is on its way")
    second = visit(agent, uid="tom")
    expect(second.page.locator("#chat .message", has_text="Order 1")).to_have_count(0)


def test_agents_are_no_members_of_groups_and_no_mentions(visit: Visit) -> None:
    visitor = visit("group/ops-room")
    visitor.composer.press_sequentially("@help")
    expect(visitor.page.get_by_role("listbox").get_by_role("option")).to_have_count(1)
