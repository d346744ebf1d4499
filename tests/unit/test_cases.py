"""The runner of cases: each folder has a check, each check a folder, and a failure is the exit status."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases.__main__ import main, run_all
from tests.cases.case import Case, Check, Finding, check


def make_case(folder: Path, name: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "README").write_text("What must happen.")


def make_check(ok: bool) -> Check:
    return lambda case: Finding("200", "200" if ok else "500", ok)


def fail(case: Case) -> Finding:
    raise KeyError("input.json")


def test_a_case_as_expected_is_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_case(tmp_path, "callback/one")
    assert run_all(tmp_path, {"callback/one": make_check(True)}) == 0
    shown = capsys.readouterr().out
    assert "ok   callback/one" in shown
    assert "1 cases, 0 failed" in shown


@pytest.mark.parametrize("broken", [make_check(False), fail])
def test_a_case_that_fails_or_raises_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: Check
) -> None:
    make_case(tmp_path, "one")
    make_case(tmp_path, "two")
    assert run_all(tmp_path, {"one": broken, "two": make_check(True)}) == 1
    assert "FAIL one" in capsys.readouterr().out


def test_a_folder_without_a_check_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_case(tmp_path, "callback/unknown")
    assert main([str(tmp_path), "--only", "callback/unknown"]) == 1
    assert "no check" in capsys.readouterr().out


def test_a_check_without_a_folder_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_all(tmp_path, {"callback/gone": make_check(True)}) == 1
    assert "no folder" in capsys.readouterr().out


def test_a_missing_folder_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "none")])


def test_two_checks_of_one_case_are_refused() -> None:
    with pytest.raises(AssertionError, match="two checks"):
        check("callback/text-null")(make_check(True))
