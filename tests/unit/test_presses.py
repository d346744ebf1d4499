"""Which presses count."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot.errors import RegistrationError
from cometbot.models import User
from cometbot.presses import (
    REFUSAL_TEXTS,
    WITHDRAWN_MARK,
    PressRules,
    check_refusal_texts,
    find_refusal,
    may_press,
)

TOM = User("Tom")
RULES = PressRules(by=("tom",), expires_at=100.0, once=True)


@pytest.mark.parametrize(
    ("user", "now", "mark", "refusal"),
    [
        ("tom", 99.9, "", None),
        ("maria", 99.9, "", "forbidden"),
        ("tom", 100.0, "", "expired"),
        ("tom", 99.9, "message:1", "used"),
        ("tom", 100.0, "message:1", "used"),
        ("tom", 100.0, WITHDRAWN_MARK, "withdrawn"),
        ("maria", 100.0, WITHDRAWN_MARK, "forbidden"),
    ],
)
def test_press_is_refused_for_its_reason(user: str, now: float, mark: str, refusal: str | None) -> None:
    assert find_refusal(RULES, User(user), now, event="message:2", mark=mark) == refusal


def test_press_that_runs_again_finds_its_own_mark() -> None:
    assert find_refusal(RULES, TOM, 500.0, event="message:2", mark="message:2") is None


def test_without_rules_every_press_counts() -> None:
    assert find_refusal(PressRules(), TOM, 1e12, event="message:2", mark="message:1") is None


@pytest.mark.parametrize(
    ("by", "user", "expected"),
    [
        (["TOM"], User("tom"), True),
        (["tom"], User("tommy"), False),
        (["tom:17"], User("tom", lasting_id="tom:17"), True),
        (["tom:16"], User("tom", lasting_id="tom:17"), False),
        ([""], User(""), False),
    ],
)
def test_user_is_known_by_each_of_its_ids(by: list[str], user: User, expected: bool) -> None:
    assert may_press(by, user) is expected


def test_text_of_a_refusal_is_replaced_or_left_out() -> None:
    assert check_refusal_texts({"used": "Taken.", "expired": None}) == {
        **REFUSAL_TEXTS,
        "used": "Taken.",
        "expired": None,
    }


@pytest.mark.parametrize("texts", [["used"], {"used": 1}, {"late": "Too late."}, None])
def test_wrong_refusal_texts_are_refused(texts: Any) -> None:
    with pytest.raises(RegistrationError, match="refusal_texts: expected"):
        check_refusal_texts(texts)
