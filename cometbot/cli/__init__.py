"""The command line: ``cometbot COMMAND``."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import click

from cometbot.cli._output import sanitize
from cometbot.errors import CometbotError, StoreBusy

_COMMAND_MODULES = {
    "init": "cometbot.cli.init",
    "dev": "cometbot.cli.dev",
    "serve": "cometbot.cli.serve",
    "worker": "cometbot.cli.worker",
    "simplex": "cometbot.cli.simplex",
    "mcp": "cometbot.cli.mcp",
    "bots": "cometbot.cli.bots",
    "agents": "cometbot.cli.agents",
    "users": "cometbot.cli.users",
    "send": "cometbot.cli.send",
    "doctor": "cometbot.cli.doctor",
    "deadletters": "cometbot.cli.deadletters",
    "dialogs": "cometbot.cli.dialogs",
    "jobs": "cometbot.cli.jobs",
    "approvals": "cometbot.cli.approvals",
    "files": "cometbot.cli.files",
    "replay": "cometbot.cli.replay",
    "platform": "cometbot.cli.platform",
    "db": "cometbot.cli.db",
}
"""The module of each command, in the order of the help. A module is imported only when its command runs."""


_EXTRA_OF_PACKAGE = {
    **dict.fromkeys(("apispec", "jwt", "ulid"), "chat"),
    **dict.fromkeys(("anyio", "mcp", "uvicorn"), "mcp"),
    **dict.fromkeys(("procrastinate", "psycopg"), "postgres"),
    **dict.fromkeys(("PIL", "tinytag", "websockets"), "simplex"),
}
"""The extra that installs each optional package."""


class CommandError(click.ClickException):
    """Ends the command with a one-sentence message on standard error and exit code 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """Print the message."""
        click.echo(f"cometbot: {sanitize(self.message)}", err=True, file=file)


class TemporaryFailure(CommandError):
    """Ends the command with ``EX_TEMPFAIL`` of sysexits.h because the database is unavailable for now."""

    exit_code = 75


class CommandGroup(click.Group):
    """A group of commands whose help shows the whole first sentence of each command."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of the commands."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, _first_sentence(command)) for name, command in commands if command and not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _first_sentence(command: click.Command) -> str:
    return " ".join(inspect.cleandoc(command.help or "").partition("\n\n")[0].split())


class _RootGroup(CommandGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMAND_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMAND_MODULES:
            return None
        command: click.Command = getattr(importlib.import_module(_COMMAND_MODULES[cmd_name]), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CometbotError as error:
            if ctx.params["debug"]:
                raise
            is_temporary = isinstance(error, StoreBusy) or isinstance(error.__cause__, StoreBusy)
            raise (TemporaryFailure if is_temporary else CommandError)(str(error)) from error
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if ctx.params["debug"] or package not in _EXTRA_OF_PACKAGE:
                raise
            install = f"pip install 'cometbot[{_EXTRA_OF_PACKAGE[package]}]'"
            raise CommandError(f"the package {package} is not installed. Run: {install}") from error


@click.group(cls=_RootGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="cometbot", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
def main(debug: bool) -> None:
    """Chat bots in plain Python for CometChat.

    Options default to environment variables and to the file .env; .env.example lists the required ones.
    """
