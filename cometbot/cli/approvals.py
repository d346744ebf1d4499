"""``cometbot approvals``: lists what waits for an approval, and of whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from cometbot.cli import CommandGroup, _output
from cometbot.cli._database import describe_selection, find_account, open_delivery
from cometbot.cli._params import list_options

if TYPE_CHECKING:
    from rich.table import Table

    from cometbot.inspection.dialog_list import DialogInfo


@click.group(cls=CommandGroup)
def approvals() -> None:
    """List the approvals that handlers wait for.

    A handler that waits is a dialog: cometbot dialogs cancel withdraws its card.
    """


@approvals.command("list")
@list_options
def list_approvals(bot: str, app: str, as_json: bool, limit: int) -> None:
    """Show the open approvals, and who can decide about each."""
    account = find_account(app)
    with open_delivery() as delivery:
        found = delivery.dialogs.list_approvals(bot, limit + 1, account=account)
    none_text = f"No approvals{describe_selection(bot, app)}."
    _output.print_rows(found, limit, as_json=as_json, to_json=_to_json, make_table=_make_table, none_text=none_text)


def _make_table(approvals: Sequence[DialogInfo]) -> Table:
    titles = ("Number", "Dialog", "Bot", "Asked by", "Card in", "Decided by", "Since", "Until")
    table = _output.make_table(*titles, last_column="Text")
    for approval in approvals:
        until = _output.format_time(approval.expires_at) if approval.expires_at is not None else ""
        row = (
            str(approval.number),
            approval.id,
            approval.bot,
            approval.user,
            f"{approval.card_channel}: {approval.card_in}",
            ", ".join(approval.by) or "all there",
            _output.format_time(approval.since),
            until,
            approval.question,
        )
        table.add_row(*map(_output.to_cell, row))
    return table


def _to_json(approval: DialogInfo) -> dict[str, Any]:
    names = ("number", "bot", "channel", "conversation", "user", "card_channel", "card_in", "since", "expires_at")
    described = asdict(approval)
    return {
        **{name: described[name] for name in names},
        "by": list(approval.by),
        "dialog": approval.id,
        "text": approval.question,
    }
