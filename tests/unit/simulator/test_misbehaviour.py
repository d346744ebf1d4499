from __future__ import annotations

import pytest

from cometbot.simulator.callback_queue import Callback
from cometbot.simulator.misbehaviour import Misbehaviour, Rule

SEND = ("POST", "/bots/helpdesk/messages")
CALLBACK = Callback("helpdesk", "http://127.0.0.1:1/", "after_message", "1", {})


def hit_numbers(misbehaviour: Misbehaviour, count: int) -> list[int]:
    return [number for number in range(count) if misbehaviour.select_rules(*SEND)]


def test_without_rules_nothing_happens() -> None:
    assert Misbehaviour().select_rules(*SEND) == []
    assert Misbehaviour().with_duplicates(CALLBACK) == [CALLBACK]
    assert Misbehaviour().get_shuffle() is None


def test_times_skip_and_every_choose_requests() -> None:
    misbehaviour = Misbehaviour()
    misbehaviour.fail(times=2, skip=3, every=2)
    assert hit_numbers(misbehaviour, 12) == [4, 6]


def test_probability_with_the_same_seed_hits_the_same_requests() -> None:
    rows = []
    for seed in (7, 7, 8):
        misbehaviour = Misbehaviour()
        misbehaviour.rate_limit(probability=0.3, seed=seed)
        rows.append(hit_numbers(misbehaviour, 100))
    assert rows[0] == rows[1] != rows[2]
    assert 10 < len(rows[0]) < 50


def test_first_matching_rule_and_all_slow_rules_apply() -> None:
    misbehaviour = Misbehaviour()
    misbehaviour.fail(times=1)
    misbehaviour.drop()
    misbehaviour.slow(1)
    assert [rule.kind for rule in misbehaviour.select_rules(*SEND)] == ["fail", "slow"]
    assert [rule.kind for rule in misbehaviour.select_rules(*SEND)] == ["drop", "slow"]
    assert [effect.hits for effect in misbehaviour.active_rules] == [1, 1, 2]


def test_duplicates_are_numbered_copies() -> None:
    misbehaviour = Misbehaviour()
    misbehaviour.duplicate_callbacks(2, every=2)
    assert [callback.copy for callback in misbehaviour.with_duplicates(CALLBACK)] == [0]
    assert [callback.copy for callback in misbehaviour.with_duplicates(CALLBACK)] == [0, 1, 2]


def test_rules_from_json_are_the_same_rules() -> None:
    misbehaviour = Misbehaviour()
    misbehaviour.add_json({"kind": "drop", "before": False, "routes": ["GET *"], "times": 3})
    misbehaviour.drop(before=False, routes=["GET *"], times=3)
    first, second = (effect.rule for effect in misbehaviour.active_rules)
    assert first == second == Rule(kind="drop", after=True, routes=("GET *",), times=3)


def test_clear_behaves_again() -> None:
    misbehaviour = Misbehaviour()
    misbehaviour.fail()
    misbehaviour.reorder_callbacks(3)
    misbehaviour.clear()
    assert misbehaviour.select_rules(*SEND) == []
    assert misbehaviour.get_shuffle() is None


def test_an_unknown_option_is_an_error() -> None:
    with pytest.raises(TypeError, match="often"):
        Misbehaviour().fail(often=3)
