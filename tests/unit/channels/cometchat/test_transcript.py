"""The texts that interactive messages of CometChat show."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot.channels.cometchat.forms import render_form
from cometbot.channels.cometchat.parsing import find_shown_text
from cometbot.messages import Field, Form


def test_form_shows_its_title_and_fields() -> None:
    form = Form("Where to?", [Field("street", "Street"), Field("gift", kind="checkbox")], "address")
    assert find_shown_text(render_form(form, "https://example.com/press")) == "Where to?\n\nStreet:\n\ngift:"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"text": "Tea\n\n1. Buy"}, "Tea\n\n1. Buy"),
        ({}, ""),
        ({"text": 5, "title": None, "formFields": [5, {"label": 7}, {}]}, ""),
        ({"title": "Sign up", "formFields": 3}, "Sign up"),
    ],
)
def test_data_of_other_senders_is_read_as_far_as_it_fits(data: dict[str, Any], text: str) -> None:
    assert find_shown_text(data) == text
