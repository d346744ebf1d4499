from __future__ import annotations

import pytest

from cometbot.cli._output import sanitize


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Grüße, 你好 👍", "Grüße, 你好 👍"),
        ("one\ntwo", "one\ntwo"),
        ("a\tb\r\n", "a    b\n"),
        ("\x1b[31mred\x1b[0m", "\ufffd[31mred\ufffd[0m"),
        ("bell\x07 and \x9b2J", "bell\ufffd and \ufffd2J"),
        ("\u202eevil", "\ufffdevil"),
        ("👩\u200d🚀", "👩\u200d🚀"),
    ],
)
def test_sanitize_removes_control_characters(given: str, shown: str) -> None:
    assert sanitize(given) == shown
