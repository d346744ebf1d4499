"""Numbers that commands are given."""

from __future__ import annotations

import pytest
from click.testing import CliRunner, Result

from cometbot.cli import main


def call(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["worker", "--concurrency", "-1"],
            "--concurrency: expected a whole number from 1 up, got '-1'. Example: --concurrency 8",
        ),
        (
            ["dev", "--port", "65536"],
            "--port: expected a whole number from 0 to 65535, got '65536'. Example: --port 8000",
        ),
        (
            ["deadletters", "list", "--limit", "0"],
            "--limit: expected a whole number from 1 up, got '0'. Example: --limit 100",
        ),
        (
            ["platform", "users", "list", "--limit", "ten"],
            "--limit: expected a whole number from 1 up, got 'ten'. Example: --limit 100",
        ),
    ],
)
def test_invalid_number_exits_with_2(words: list[str], sentence: str) -> None:
    result = call(*words)
    assert result.exit_code == 2
    assert result.stderr == f"cometbot: {sentence}\n"


def test_the_help_shows_what_counts_without_the_option() -> None:
    assert "default: 8000" in " ".join(call("dev", "--help").output.split())
