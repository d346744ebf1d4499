"""``cometbot files``: lists the files that bots have sent, and ends their addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from cometbot.cli import CommandError, CommandGroup, _output
from cometbot.cli._database import describe_selection, find_account, open_delivery
from cometbot.cli._params import list_options

if TYPE_CHECKING:
    from rich.table import Table

    from cometbot.store.sent_files import ListedFile


@click.group(cls=CommandGroup)
def files() -> None:
    """List the files that bots have sent, or revoke one.

    They are what bots sent from bytes and paths; uploads of users are not among them.
    """


@files.command("list")
@list_options
def list_files(bot: str, app: str, as_json: bool, limit: int) -> None:
    """Show the files that bots have sent, newest first."""
    account = find_account(app)
    with open_delivery() as delivery:
        found = delivery.store.files.list(bot, limit + 1, account=account)
    none_text = f"No files{describe_selection(bot, app)}."
    _output.print_rows(found, limit, as_json=as_json, to_json=_to_json, make_table=_make_table, none_text=none_text)


@files.command()
@click.argument("address", metavar="ADDRESS")
def revoke(address: str) -> None:
    """Delete a file, so that its address answers nobody any more.

    ADDRESS is the file's address, or its id from cometbot files list. The message stays, without the file.
    """
    with open_delivery() as delivery:
        is_revoked = delivery.store.files.revoke(address)
        if not is_revoked:
            raise CommandError(f"no file at {address}. See cometbot files list.")
        delivery.store.files.clean_up()
    click.echo("Revoked the file.")


def _make_table(found: Sequence[ListedFile]) -> Table:
    table = _output.make_table("Id", "Sent", "Conversation", "Type", "Bytes", last_column="Name")
    for listed in found:
        file = listed.file
        sent = _output.format_time(listed.created_at)
        row = (file.id, sent, listed.conversation, file.mime_type, str(file.size), file.name)
        table.add_row(*map(_output.to_cell, row))
    return table


def _to_json(listed: ListedFile) -> dict[str, Any]:
    described = asdict(listed)
    return {**described.pop("file"), **described}
