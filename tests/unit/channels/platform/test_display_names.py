"""Names that people choose in the web chat, and the nicknames that Botyard's clients get for them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot.channels.platform.config import UserLimits
from cometbot.channels.platform.display_names import normalize_name, to_nickname
from cometbot.channels.platform.errors import ApiError
from cometbot.channels.platform.validators import check_nickname

LIMITS = UserLimits()


@pytest.mark.parametrize(
    "name",
    [
        "Zoë",
        "李雷",
        "李",
        "Bo",
        "Jürgen",
        "محمد",
        "می\u200cخواهم",
        "हिन्दी",
        "O'Neil",
        "Anne-Marie",
        "Dr. Who",
        "Tom 🎈",
        "Siân Õ",
    ],
)
def test_name_of_any_language_is_taken_as_it_is(name: str) -> None:
    assert normalize_name(name, LIMITS) == name


@pytest.mark.parametrize(
    ("given", "name"),
    [("  Zoë \u3000 Ann ", "Zoë Ann"), ("Zoe\u0308", "Zoë"), ("a\u00a0b", "a b"), ("x" * 32,) * 2],
)
def test_name_is_normalised(given: str, name: str) -> None:
    assert normalize_name(given, LIMITS) == name


@pytest.mark.parametrize(
    "name", ["", "  ", "\u200d", "-", "🎈", "<script>", "a\u202eb", "a\nb", "a\x00b", "a\u2028b", "\ue000x", "李" * 33]
)
def test_name_that_misleads_or_is_too_long_is_refused(name: str) -> None:
    with pytest.raises(ApiError) as caught:
        normalize_name(name, LIMITS)

    assert caught.value.status == 400
    assert "32" in caught.value.message or "letter" in caught.value.message


@pytest.mark.parametrize(
    ("name", "nickname"), [("Maria", "Maria"), ("Zoë", "Zoe"), ("Jürgen Õ", "Jurgen O"), ("O'Neil", "ONeil")]
)
def test_nickname_is_the_name_in_english_letters(name: str, nickname: str) -> None:
    assert to_nickname(name, LIMITS) == nickname


def test_nickname_of_a_name_in_another_script_is_a_number() -> None:
    assert re.fullmatch(r"Guest \d{6}", to_nickname("李雷", LIMITS))


@given(st.text(max_size=40), st.integers(1, 60), st.integers(0, 60))
def test_nickname_is_what_the_protocol_allows(name: str, least: int, more: int) -> None:
    limits = UserLimits(least, least + more)
    check_nickname(to_nickname(name, limits), limits)
