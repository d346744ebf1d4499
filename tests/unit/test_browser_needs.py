"""The tests of the pages that an engine leaves out are counted, and each has its reason."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from tests.browser.engine import LACKING, Need

FOLDER = Path(__file__).parents[1] / "browser"


def marked() -> list[set[Need]]:
    """Return the needs of each test, or of one set of its arguments."""
    texts = [file.read_text() for file in sorted(FOLDER.rglob("test_*.py"))]
    marks = [mark for text in texts for mark in re.findall(r"\bneeds\(([^)]+)\)", text)]
    return [{Need[name] for name in re.findall(r"Need\.(\w+)", mark)} for mark in marks]


def test_what_engines_cannot_be_driven_to_do_is_counted() -> None:
    counts = Counter(need for needs in marked() for need in needs)
    assert {need.name: count for need, count in counts.items()} == {
        "CLOCK": 6,
        "DARK": 3,
        "DOWNLOADS": 1,
        "EARLY_SCRIPTS": 4,
        "FAILED_REQUESTS": 2,
        "MOTION": 2,
        "OFFLINE": 3,
        "POPUPS": 1,
        "PREFERENCES": 1,
        "REQUESTS": 13,
        "ROUTES": 29,
        "SENT_BODIES": 3,
        "TOUCH": 5,
        "WAVE_TABS": 1,
        "WHEEL": 1,
    }


def test_marks_that_leave_out_a_test_are_counted_per_engine() -> None:
    left_out = {engine: sum(bool(needs & lacking) for needs in marked()) for engine, lacking in LACKING.items()}
    assert left_out == {"chromium": 0, "firefox": 17, "webkit": 48}
