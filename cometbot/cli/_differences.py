"""Shows what a synchronisation would change on CometChat, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from cometbot.cli._output import make_table, print_table, to_cell

if TYPE_CHECKING:
    from cometbot.channels.cometchat.provision import Difference


def print_differences(name: str, differences: Iterable[Difference]) -> None:
    """Print a table of what is on CometChat now, and what it will be."""
    click.echo(f"{name} on CometChat:")
    table = make_table("", "Now", last_column="Then")
    for item in differences:
        table.add_row(*map(to_cell, (item.field, item.current, item.wanted)))
    print_table(table)


def differences_to_json(differences: Iterable[Difference]) -> list[dict[str, str]]:
    """Return the differences as they appear in JSON output."""
    return [{"what": item.field, "now": item.current, "then": item.wanted} for item in differences]
