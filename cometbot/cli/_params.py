"""Option types of the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from cometbot.cli import CommandError

GROUP_SETTINGS = ("none", "allMessages", "slashedMessages", "mentionedMessages")
"""The choices of CometChat's ``groupChatSetting``."""


Command = TypeVar("Command", bound=Callable[..., Any])


def shared_options(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return a decorator that adds these arguments and options of click to a command, in this order."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def app_option(command: Command) -> Command:
    """Add the option ``--app``, which chooses one of several CometChat apps."""
    help = "App, one of COMETCHAT_APPS; required if there are several."
    return click.option("--app", "app_name", default="", metavar="NAME", help=help)(command)


def list_options(command: Command) -> Command:
    """Add the options of commands that list rows of the database: ``--bot``, ``--app``, ``--json`` and ``--limit``."""
    limit = IntegerParam(example=100)
    decorate = shared_options(
        click.option("--bot", default="", metavar="NAME", help="Only of this bot."),
        click.option("--app", default="", metavar="NAME", help="Only of this app of COMETCHAT_APPS."),
        click.option("--json", "as_json", is_flag=True, help="Print a JSON array."),
        click.option("--limit", default=100, show_default=True, type=limit, help="Maximum number of rows."),
    )
    return decorate(command)


class IntegerParam(click.IntRange):
    """An integer from ``minimum`` to ``maximum`` (None: no limit). Error messages suggest ``example``."""

    def __init__(self, minimum: int = 1, maximum: int | None = None, *, example: int) -> None:
        super().__init__(minimum, maximum)
        self._range_text = f"from {minimum} {'up' if maximum is None else f'to {maximum}'}"
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the integer. Raises :class:`CommandError` if the value is invalid."""
        text = str(value).strip()
        try:
            if not re.fullmatch(r"-?[0-9]{1,9}", text):
                raise click.BadParameter(text)
            return super().convert(int(text), param, ctx)
        except click.BadParameter as error:
            option = param.opts[0] if param else "the number"
            raise CommandError(
                f"{option}: expected a whole number {self._range_text}, got {text!r}. Example: {option} {self._example}"
            ) from error
