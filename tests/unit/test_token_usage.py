from __future__ import annotations

from typing import Any

import pytest

from cometbot.errors import BotError
from cometbot.state import StateChange
from cometbot.token_usage import MAX_MODEL_LENGTH, ModelUsage, ReportedUsage, make_usage, merge_changes


def make(model: Any = "gpt-5", **tokens: Any) -> ModelUsage:
    return make_usage(model, **{"input": 1, "output": 0, "cached": 0, **tokens})


def test_none_counts_as_nothing() -> None:
    assert make(input=None, output=None, cached=None) == ModelUsage("gpt-5", 0, 0, 0)


@pytest.mark.parametrize("kind", ["input", "output", "cached"])
@pytest.mark.parametrize("value", [-1, 1.0, True, "12", {"tokens": 12}, 10**12 + 1, float("nan"), b"1"])
def test_anything_but_a_whole_number_is_refused_with_what_came(kind: str, value: Any) -> None:
    with pytest.raises(BotError, match=rf"usage: {kind}: expected a number of tokens.*; got ") as raised:
        make(**{kind: value})
    assert str(raised.value).endswith(repr(value))


def test_refused_value_is_shortened() -> None:
    with pytest.raises(BotError) as raised:
        make(input={"prompt": "x" * 100_000})
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("model", ["", " \n", None, 5, b"gpt", ["gpt"]])
def test_model_without_a_name_is_refused(model: Any) -> None:
    with pytest.raises(BotError, match="usage: model: expected a name"):
        make(model)


def test_name_of_a_model_is_one_short_line() -> None:
    assert make(" gpt\n5 ").model == "gpt 5"
    name = make("x" * 10_000).model
    assert (len(name), name[-1]) == (MAX_MODEL_LENGTH, "…")


def test_name_of_a_model_can_be_encoded() -> None:
    assert make("gpt\ud800").model == "gpt\ufffd"  # as the label of a metric


def test_cached_tokens_are_part_of_the_input() -> None:
    assert ModelUsage("m", 100, 20, 80).total == 120


def test_changes_are_merged_by_user_and_period() -> None:
    def reported(owner: str, **increments: int) -> ReportedUsage:
        lifetimes = dict.fromkeys(increments, 60.0)
        return ReportedUsage(
            ModelUsage("m"), StateChange("user", owner, increments=dict(increments), lifetimes=lifetimes)
        )

    found = merge_changes(
        [reported("a", x=1), reported("b", x=5), ReportedUsage(ModelUsage("m")), reported("a", x=2, y=3)]
    )
    assert [(change.owner, change.increments) for change in found] == [("a", {"x": 3, "y": 3}), ("b", {"x": 5})]
    assert found[0].lifetimes == {"x": 60.0, "y": 60.0}
    assert merge_changes([]) == ()
