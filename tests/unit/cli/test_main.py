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
def test_cometbot_error_is_printed_and_exits_with_2() -> None:
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
    assert set(main.list_commands(context)) == set(cometbot.cli._COMMAND_MODULES)


def test_help_describes_every_command() -> None:
    for words in ([], ["bots"], ["users"], ["deadletters"], ["dialogs"], ["db"]):
        result = CliRunner().invoke(main, [*words, "--help"])
        assert result.exit_code == 0
        listed = result.output.partition("Commands:")[2]
        assert listed.strip()
        assert "..." not in listed


def test_every_command_and_option_has_a_help_text() -> None:
    def silent(command: click.Command, name: str) -> list[str]:
        found = [] if command.help else [name]
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.help:
                found.append(f"{name} {parameter.opts[0]}")
        if isinstance(command, click.Group):
            context = click.Context(command)
            for inner in command.list_commands(context):
                one = command.get_command(context, inner)
                assert one is not None
                found += silent(one, f"{name} {inner}")
        return found

    assert silent(main, "cometbot") == []


def test_an_error_of_ours_moves_no_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def db() -> None:
        raise ConfigurationError("bad\x1b[2J bot")

    monkeypatch.setattr("cometbot.cli.db.db", db)
    assert "\x1b" not in CliRunner().invoke(main, ["db"]).stderr


@pytest.mark.parametrize(
    ("package", "install"),
    [("jwt", "pip install 'cometbot[chat]'"), ("psycopg.rows", "pip install 'cometbot[postgres]'")],
)
def test_a_missing_package_of_an_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, package: str, install: str
) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr("cometbot.cli.importlib.import_module", fail)
    result = CliRunner().invoke(main, ["doctor"])
    assert (result.exit_code, install in result.stderr) == (2, True)


def test_a_missing_package_of_the_authors_own_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError("No module named 'shop'", name="shop")

    monkeypatch.setattr("cometbot.cli.importlib.import_module", fail)
    assert isinstance(CliRunner().invoke(main, ["doctor"]).exception, ModuleNotFoundError)
