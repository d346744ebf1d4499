"""Text of both directions, and how a browser lays it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Locator

ARABIC = (Path(__file__).parent / "arabic.md").read_text()

_MEASURE_SIDES = """prose => [...prose.querySelectorAll("p, li, pre, blockquote, th")].map(one => {
    const range = document.createRange();
    range.selectNodeContents(one);
    const text = range.getBoundingClientRect(), box = one.getBoundingClientRect(), style = getComputedStyle(one);
    const list = one.closest("ul, ol"), left = text.left - box.left, right = box.right - text.right;
    return {
        tag: one.localName, text: one.textContent.trim(),
        side: Math.abs(left - right) < 1 ? "both" : right < left ? "right" : "left",
        direction: style.direction,
        list: list && getComputedStyle(list).direction,
        bar: parseFloat(style.borderRightWidth) > parseFloat(style.borderLeftWidth) ? "right" : "left",
    };
})"""


def check_text_direction(prose: Locator) -> None:
    """Fail unless each block of :data:`ARABIC` begins on the side of its first strong letter."""
    blocks: list[dict[str, Any]] = prose.evaluate(_MEASURE_SIDES)
    wrong = [block for block in blocks if _is_wrong(block)]
    assert len(blocks) == 12
    assert wrong == []


def _is_wrong(block: dict[str, Any]) -> bool:
    if block["tag"] == "pre":
        return block["direction"] != "ltr"
    expected = "left" if block["text"].startswith("Hello") else "right"
    if block["tag"] == "blockquote":
        return block["bar"] != expected
    if block["tag"] == "th":
        return False
    is_list_wrong = block["list"] not in (None, "rtl")
    return block["side"] not in (expected, "both") or is_list_wrong
