"""The recorder of what is visible: differences, and placeholders for what is new in each run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.snapshot.__main__ import main
from tests.snapshot.answers import RequestRunner
from tests.snapshot.code import describe
from tests.snapshot.statements import normalise, transactions, typical_round


def test_check_of_what_was_recorded_succeeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = {"a.txt": lambda: "one\ntwo\n"}
    assert main([str(tmp_path)], parts) == 0
    assert main([str(tmp_path), "--check"], parts) == 0
    assert capsys.readouterr().out == ""


def test_check_of_a_change_prints_a_diff_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(tmp_path)], {"a.txt": lambda: "one\ntwo\n"})
    assert main([str(tmp_path), "--check"], {"a.txt": lambda: "one\nthree\n"}) == 1
    assert capsys.readouterr().out == "--- recorded/a.txt\n+++ now/a.txt\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n"
    assert (tmp_path / "a.txt").read_text() == "one\ntwo\n"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT a1\n  FROM t WHERE b = 'it''s' AND c = -1.5", "SELECT a1 FROM t WHERE b = ? AND c = ?"),
        ("UPDATE t SET a = $1, b = %(b)s, c = x'00ff'", "UPDATE t SET a = ?, b = ?, c = ?"),
    ],
)
def test_values_of_statements_are_replaced(statement: str, expected: str) -> None:
    assert normalise(statement) == expected


def test_statements_are_grouped_by_the_transactions_of_connections() -> None:
    runs = [("1", "BEGIN"), ("2", "SELECT 1"), ("1", "UPDATE t SET a = 1"), ("2", "BEGIN"), ("1", "COMMIT")]
    assert transactions(runs) == ["SELECT ?", "BEGIN\n    UPDATE t SET a = ?\n    COMMIT"]


def test_a_statement_of_a_few_rounds_is_left_out() -> None:
    assert typical_round([["a", "b", "b"], ["b", "b"], ["b", "b", "c"]]) == ["2 x b"]


def test_ids_and_times_of_answers_are_replaced(tmp_path: Path) -> None:
    runner = RequestRunner({}, tmp_path, {"given": "abc"})
    now = int(time.time())
    text = f"{tmp_path}/x abc 01ARZ3NDEKTSV4RRFFQ69G5FAV 2026-01-02T03:04:05.678Z {now} {now}123 1600000000"
    assert runner.normalise(text) == "<folder>/x abc <ulid> <time> <seconds> <seconds> 1600000000"


def test_sets_are_described_in_one_order() -> None:
    assert describe(frozenset({"b", "a", "c"})) == "{'a', 'b', 'c'}"
