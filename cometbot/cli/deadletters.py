"""``cometbot deadletters``: lists, retries and discards dead letters."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from cometbot.cli import CommandError, CommandGroup, _output
from cometbot.cli._database import describe_selection, find_account, open_delivery
from cometbot.cli._output import sanitize
from cometbot.cli._params import list_options, shared_options

if TYPE_CHECKING:
    from rich.table import Table

    from cometbot.delivery import DeadLetter, Delivery

_ALL_LIMIT = 1_000_000

_selection = shared_options(
    click.argument("id", required=False, metavar="[ID]"),
    click.option("--all", "everything", is_flag=True, help="All dead letters."),
    click.option("--bot", default="", metavar="NAME", help="With --all: only of this bot."),
    click.option("--app", default="", metavar="NAME", help="With --all: only of this app of COMETCHAT_APPS."),
)


@click.group(cls=CommandGroup)
def deadletters() -> None:
    """List, retry or discard dead letters.

    m12 is a message that could not be handled, r7 a reply that could not be sent. They are in the database of
    COMETBOT_DATABASE_URL.
    """


@deadletters.command("list")
@list_options
def list_letters(bot: str, app: str, as_json: bool, limit: int) -> None:
    """Show the newest dead letters with their causes."""
    account = find_account(app)
    with open_delivery() as delivery:
        found = delivery.dead_letters.list(bot, limit + 1, account=account)
    none_text = f"No dead letters{describe_selection(bot, app)}."
    _output.print_rows(
        found, limit, as_json=as_json, to_json=_to_json, make_table=make_dead_letter_table, none_text=none_text
    )


@deadletters.command()
@click.argument("id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def show(id: str, as_json: bool) -> None:
    """Show a dead letter with its cause and its content."""
    with open_delivery() as delivery:
        letter = delivery.dead_letters.get(id)
    if letter is None:
        raise _not_found(id)
    if as_json:
        _output.print_json(_to_json(letter))
    else:
        _print_letter(letter)


@deadletters.command()
@_selection
def retry(id: str | None, everything: bool, bot: str, app: str) -> None:
    """Handle a message again, or send a reply again.

    Replies that the handler sent before it failed are not sent again. The running bot does the work, or the next one
    that starts.
    """
    with open_delivery() as delivery:
        count = _apply(delivery, id, everything, (bot, app), delivery.retry)
    click.echo(f"Requeued {_count_phrase(count)}.")


@deadletters.command()
@_selection
def discard(id: str | None, everything: bool, bot: str, app: str) -> None:
    """Discard dead letters. This cannot be undone."""
    with open_delivery() as delivery:
        count = _apply(delivery, id, everything, (bot, app), delivery.dead_letters.discard)
    click.echo(f"Discarded {_count_phrase(count)}.")


def _apply(
    delivery: Delivery, id: str | None, everything: bool, selection: tuple[str, str], action: Callable[[str], bool]
) -> int:
    """Apply ``action`` to the named dead letter or to all of a bot and an app, and return how often it succeeded."""
    bot, app = selection
    if everything == (id is not None):
        raise click.UsageError("Pass the ID of one dead letter, or --all.")
    if id is not None:
        if bot or app:
            raise click.UsageError(f"{'--bot' if bot else '--app'} works only with --all.")
        if not action(id):
            raise _not_found(id)
        return 1
    oldest_first = reversed(delivery.dead_letters.list(bot, _ALL_LIMIT, account=find_account(app)))
    return sum(action(letter.id) for letter in oldest_first)


def _not_found(id: str) -> CommandError:
    return CommandError(f"no dead letter {id!r}. List them with: cometbot deadletters list")


def _count_phrase(number: int) -> str:
    return f"{number} dead letter{'s' * (number != 1)}"


def make_dead_letter_table(letters: Sequence[DeadLetter]) -> Table:
    """Return a table for the terminal, with one row per dead letter and its cause.

    It has the accounts if a channel has several: the conversations of two apps may have the same id.
    """
    accounts = {(letter.channel, letter.account) for letter in letters}
    has_accounts = len(accounts) > len({channel for channel, _ in accounts})
    titles = ("ID", "Failed", "Bot", *(("Account",) if has_accounts else ()), "Conversation")
    table = _output.make_table(*titles, last_column="Cause")
    for letter in letters:
        place = (letter.bot, *((letter.account,) if has_accounts else ()), letter.conversation)
        row = (letter.id, _output.format_time(letter.ended_at), *place, _cause(letter))
        table.add_row(*map(_output.to_cell, row))
    return table


def _print_letter(letter: DeadLetter) -> None:
    kind = "reply that could not be sent" if letter.is_reply else "message that could not be handled"
    rows = [
        ("dead letter", f"{letter.id}, a {kind}"),
        ("bot", letter.bot),
        ("channel", letter.channel),
        ("account", letter.account),
        ("conversation", letter.conversation),
        ("event", letter.event),
        ("handler", letter.handler),
        ("created" if letter.is_reply else "received", _output.format_time(letter.at)),
        (
            "failed",
            f"{_output.format_time(letter.ended_at)}, after {letter.attempts} attempt{'s' * (letter.attempts != 1)}",
        ),
        ("cause", letter.error),
    ]
    for name, value in rows:
        if value:
            click.echo(f"{click.style(f'{name:<13}', bold=True)} {sanitize(value)}")
    click.echo()
    click.echo(_format_body(letter.body))


def _to_json(letter: DeadLetter) -> dict[str, Any]:
    return {**asdict(letter), "kind": "reply" if letter.is_reply else "message"}


def _cause(letter: DeadLetter) -> str:
    return f"{letter.handler}: {letter.error}" if letter.handler else letter.error


def _format_body(body: str) -> str:
    try:
        return json.dumps(json.loads(body), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):  # show a deeply nested body as stored
        return sanitize(body)
