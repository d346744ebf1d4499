"""The command line as a whole."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import cometbot.cli
from cometbot.cli import main
from cometbot.errors import ConfigurationError


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def db() -> None:
        raise ConfigurationError("the cellar is dark; switch on the light")

    monkeypatch.setattr("cometbot.cli.db.db", db)


def test_help_lists_every_command_with_what_it_does() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name in ("dev", "serve", "deadletters", "db"):
        assert f"  {name} " in result.output


def test_help_imports_nothing_that_a_command_needs_to_run() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from cometbot.cli import main; "
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0; "
        "print([name for name in ('flask', 'sqlalchemy', 'requests', 'gunicorn', 'rich', 'watchfiles') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version_is_the_one_of_the_package() -> None:
    result = CliRunner().invoke(main, ["--version"], prog_name="cometbot")
    assert result.output == f"cometbot {importlib.metadata.version('cometbot')}\n"


def test_an_unknown_command_ends_with_2_and_says_so() -> None:
    result = CliRunner().invoke(main, ["derv"])
    assert result.exit_code == 2
    assert "No such command 'derv'" in result.stderr


@pytest.mark.usefixtures("failing")
def test_an_error_of_ours_is_one_sentence_on_stderr_and_exit_code_2() -> None:
    result = CliRunner().invoke(main, ["db"])
    assert result.exit_code == 2
    assert result.stderr == "cometbot: the cellar is dark; switch on the light\n"
    assert result.stdout == ""


@pytest.mark.usefixtures("failing")
def test_an_error_with_debug_shows_where_it_came_from() -> None:
    result = CliRunner().invoke(main, ["--debug", "db"])
    assert isinstance(result.exception, ConfigurationError)


def test_every_command_in_the_table_exists() -> None:
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        assert command.name == name
    assert set(main.list_commands(context)) == set(cometbot.cli._COMMANDS)
