"""The doctor's line about the limit of open files."""

from __future__ import annotations

from cometbot.cli.checks.files import check_open_files
from cometbot.settings import Settings


def test_low_limit_fails_with_the_remedy() -> None:
    found = check_open_files(Settings(), 1024)
    assert found.ok is False
    assert "got 1024, which allows" in found.cause
    assert "LimitNOFILE=" in found.remedy


def test_high_limit_passes() -> None:
    found = check_open_files(Settings(), 1_000_000)
    assert (found.ok, found.remedy) == (True, "")
