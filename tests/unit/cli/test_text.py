from __future__ import annotations

import pytest

from cometbot.cli.text import plain


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
def test_text_keeps_what_can_be_read_and_loses_what_moves_the_cursor(given: str, shown: str) -> None:
    assert plain(given) == shown
