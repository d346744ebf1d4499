"""Errors of a page reach the test in each engine; otherwise no test would notice them."""

from __future__ import annotations

import re

import pytest

from tests.browser.conftest import Visitor

REJECTED = "() => void Promise.reject(new Error('the promise broke'))"
STYLED = "() => document.body.append(Object.assign(document.createElement('style'), { textContent: 'b {}' }))"
THROWN = "() => void setTimeout(() => { throw new Error('the page broke') })"


@pytest.mark.parametrize(
    ("script", "text"),
    [
        pytest.param(THROWN, "the page broke", id="error"),
        pytest.param(REJECTED, "the promise broke", id="rejection"),
        pytest.param("() => console.error('it said so')", "it said so", id="console"),
        pytest.param(STYLED, "Content.Security.Policy", id="policy"),
    ],
)
def test_error_of_a_page_is_a_complaint(visitor: Visitor, script: str, text: str) -> None:
    visitor.page.evaluate(script)
    for _ in range(500):
        visitor.page.wait_for_timeout(20)
        if visitor.console_errors:
            break
    assert re.search(text, " ".join(visitor.console_errors))
    visitor.console_errors.clear()
