"""``cometbot dialogs``: lists, shows and cancels the dialogs of handlers that ask."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from cometbot.cli import CommandGroup, _output
from cometbot.cli._database import describe_selection, find_account, open_delivery
from cometbot.cli._output import sanitize
from cometbot.cli._params import list_options

if TYPE_CHECKING:
    from rich.table import Table

    from cometbot.inspection.dialog_list import DialogInfo
    from cometbot.steps import Step

_MAX_RESULT_LENGTH = 200


@click.group(cls=CommandGroup)
def dialogs() -> None:
    """List, show or cancel the dialogs of handlers that ask.

    m12 is the message that started a dialog. Dialogs are in the database of COMETBOT_DATABASE_URL.
    """


@dialogs.command("list")
@list_options
def list_dialogs(bot: str, app: str, as_json: bool, limit: int) -> None:
    """Show the open and failed dialogs, and what each waits for."""
    account = find_account(app)
    with open_delivery() as delivery:
        found = delivery.dialogs.list(bot, limit + 1, account=account)
    none_text = f"No dialogs{describe_selection(bot, app)}."
    _output.print_rows(found, limit, as_json=as_json, to_json=asdict, make_table=_make_table, none_text=none_text)


@dialogs.command()
@click.argument("id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def show(id: str, as_json: bool) -> None:
    """Show a dialog with its steps and their results."""
    with open_delivery() as delivery:
        dialog, steps = delivery.dialogs.get(id), delivery.dialogs.list_steps(id)
    if as_json:
        _output.print_json({**asdict(dialog), "steps": [_to_json(step) for step in steps]})
    else:
        _print_dialog(dialog, steps)


@dialogs.command()
@click.argument("id", metavar="ID")
def cancel(id: str) -> None:
    """End a dialog as its user's /cancel does.

    The handler runs once more and may reply. The running bot does the work, or the next one that starts.
    """
    with open_delivery() as delivery:
        delivery.cancel_dialog(id)
    click.echo(f"Cancelled the dialog {id}.")


def _make_table(dialogs: Sequence[DialogInfo]) -> Table:
    titles = ("ID", "Status", "Bot", "Conversation", "User", "Since", "Until")
    table = _output.make_table(*titles, last_column="Waits for")
    for dialog in dialogs:
        row = (
            dialog.id,
            dialog.status,
            dialog.bot,
            dialog.conversation,
            dialog.user,
            _output.format_time(dialog.since),
            _until(dialog),
            f"{dialog.handler}: {_waits_for(dialog)}",
        )
        table.add_row(*map(_output.to_cell, row))
    return table


def _print_dialog(dialog: DialogInfo, steps: Sequence[Step]) -> None:
    rows = [
        ("dialog", f"{dialog.id}, {dialog.status}"),
        ("bot", dialog.bot),
        ("channel", dialog.channel),
        ("account", dialog.account),
        ("conversation", dialog.conversation),
        ("thread", dialog.thread),
        ("user", dialog.user),
        ("handler", dialog.handler),
        ("call", _shorten(dialog.call)),
        ("started", _output.format_time(dialog.opened_at)),
        ("waits for", _waits_for(dialog)),
        ("since", _output.format_time(dialog.since)),
        ("until", _until(dialog)),
        ("decided by", _decided_by(dialog)),
        ("dead letter", dialog.dead_letter),
    ]
    for name, value in rows:
        if value:
            click.echo(f"{click.style(f'{name:<13}', bold=True)} {sanitize(value)}")
    click.echo()
    if not steps:
        click.echo("No steps have a result yet.")
        return
    table = _output.make_table("Step", "Kind", "Key", "Stored", "By", last_column="Result")
    for step in steps:
        at = _output.format_time(step.at)
        row = (str(step.number + 1), step.kind, step.key, at, step.trigger, _shorten(step.result))
        table.add_row(*map(_output.to_cell, row))
    _output.print_table(table)


def _waits_for(dialog: DialogInfo) -> str:
    kind = f"{dialog.kind} {dialog.number}" if dialog.number else dialog.kind
    text = f"{kind}: {dialog.question}" if dialog.question else kind
    if not dialog.attempts:
        return text
    return f"{text} ({dialog.attempts} wrong answer{'s' * (dialog.attempts != 1)})"


def _decided_by(dialog: DialogInfo) -> str:
    if not dialog.number:
        return ""
    return f"{', '.join(dialog.by) or 'all'} in {dialog.card_channel}: {dialog.card_in}"


def _until(dialog: DialogInfo) -> str:
    return _output.format_time(dialog.expires_at) if dialog.expires_at is not None else ""


def _to_json(step: Step) -> dict[str, Any]:
    return {
        "step": step.number + 1,
        "kind": step.kind,
        "key": step.key,
        "at": step.at,
        "message": step.trigger,
        "result": _shorten(step.result),
    }


def _shorten(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_RESULT_LENGTH else f"{text[:_MAX_RESULT_LENGTH]}…"
