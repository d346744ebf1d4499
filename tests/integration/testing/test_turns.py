"""A language model gets the same of a conversation on each channel as when it was recorded.

``python -m tests.snapshot --only turns`` records.
"""

from __future__ import annotations

import json

import pytest

from tests.snapshot.__main__ import FOLDER
from tests.snapshot.turns import CHANNELS, requests


@pytest.mark.parametrize("channel", CHANNELS)
def test_requests_are_as_recorded(channel: str) -> None:
    assert requests(channel) == json.loads((FOLDER / "turns.json").read_text(encoding="utf-8"))[channel]
