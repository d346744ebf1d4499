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
            "--concurrency is wrong: '-1' is no whole number from 1 up; give one, for example --concurrency 8",
        ),
        (
            ["dev", "--port", "65536"],
            "--port is wrong: '65536' is no whole number from 0 to 65535; give one, for example --port 8000",
        ),
        (
            ["deadletters", "list", "--limit", "0"],
            "--limit is wrong: '0' is no whole number from 1 up; give one, for example --limit 100",
        ),
        (
            ["platform", "users", "list", "--limit", "ten"],
            "--limit is wrong: 'ten' is no whole number from 1 up; give one, for example --limit 100",
        ),
    ],
)
def test_invalid_number_exits_with_2(words: list[str], sentence: str) -> None:
    result = call(*words)
    assert result.exit_code == 2
    assert result.stderr == f"cometbot: {sentence}\n"


def test_the_help_shows_what_counts_without_the_option() -> None:
    assert "default: 8000" in " ".join(call("dev", "--help").output.split())
