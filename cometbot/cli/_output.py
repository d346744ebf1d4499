"""Output of commands: tables for people, JSON for programs, and sanitizing of untrusted text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

T = TypeVar("T")

_WIDTH_WITHOUT_TERMINAL = 200
_REPLACEMENTS = {"\t": "    ", "\r": "", "\N{ZERO WIDTH JOINER}": "\N{ZERO WIDTH JOINER}", "\N{NO-BREAK SPACE}": " "}


def make_table(*titles: str, last_column: str) -> Table:
    """Return an empty table. The column ``last_column`` comes last and fills the remaining width."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        table.add_column(title, no_wrap=True)
    table.add_column(last_column, overflow="fold", ratio=1)
    return table


def sanitize(text: str) -> str:
    """Replace the characters of ``text`` that could control a terminal. Line breaks stay."""
    return "".join(
        char if char.isprintable() or char == "\n" else _REPLACEMENTS.get(char, "\N{REPLACEMENT CHARACTER}")
        for char in text
    )


def to_cell(text: str) -> Text:
    """Sanitize untrusted ``text`` for a table cell."""
    from rich.text import Text

    return Text(sanitize(text))


def print_table(table: Table) -> None:
    """Print a table as wide as the terminal. Without a terminal nothing is cut off."""
    from rich.console import Console

    console = Console()
    console.width = console.width if console.is_terminal else _WIDTH_WITHOUT_TERMINAL
    console.print(table)


def print_rows(
    found: Sequence[T],
    limit: int,
    *,
    as_json: bool,
    to_json: Callable[[T], Any],
    make_table: Callable[[Sequence[T]], Table],
    none_text: str,
) -> None:
    """Print the first ``limit`` of the rows ``found``, and say if there are more."""
    shown = found[:limit]
    if as_json:
        print_json([to_json(row) for row in shown])
    elif not shown:
        click.echo(none_text)
    else:
        print_table(make_table(shown))
        if len(found) > limit:
            click.echo(f"There are more. Show them with --limit {limit * 10}.")


def format_time(at: float) -> str:
    """Return a Unix time in seconds as local time."""
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")


def print_json(value: Any) -> None:
    """Print ``value`` as JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
