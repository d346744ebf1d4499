"""``cometbot deadletters``: lists, retries and discards what failed for good."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from cometbot.cli import CommandError, CommandGroup, _output
from cometbot.cli._params import IntegerParam
from cometbot.cli._sanitize import sanitize

if TYPE_CHECKING:
    from rich.table import Table

    from cometbot.delivery import DeadLetter, Delivery

_ALL_LIMIT = 1_000_000


@click.group(cls=CommandGroup)
def deadletters() -> None:
    """Look at what failed for good; try it again, or give it up.

    m12 is a message that a handler could not handle, r7 a reply that could not be sent. They are in the database of
    COMETBOT_DATABASE_URL.
    """


@deadletters.command("list")
@click.option("--bot", default="", metavar="NAME", help="Of this bot alone.")
@click.option("--json", "as_json", is_flag=True, help="As a JSON array.")
@click.option("--limit", default=100, show_default=True, type=IntegerParam(example=100), help="At most so many.")
def list_letters(bot: str, as_json: bool, limit: int) -> None:
    """Show the newest dead letters with their causes."""
    with _open_delivery() as delivery:
        letters = delivery.dead_letters.list(bot, limit + 1)
    shown = letters[:limit]
    if as_json:
        _output.print_json([_to_json(letter) for letter in shown])
        return
    if not shown:
        click.echo(f"There are no dead letters{f' of the bot {bot}' if bot else ''}.")
        return
    _output.print_table(make_dead_letter_table(shown))
    if len(letters) > limit:
        click.echo(f"There are more; --limit {limit * 10} shows more of them.")


@deadletters.command()
@click.argument("id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
def show(id: str, as_json: bool) -> None:
    """Show all of one dead letter: its cause, and what came in or was to go out."""
    with _open_delivery() as delivery:
        letter = delivery.dead_letters.get(id)
    if letter is None:
        raise _not_found(id)
    if as_json:
        _output.print_json(_to_json(letter))
    else:
        _print_letter(letter)


@deadletters.command()
@click.argument("id", required=False, metavar="[ID]")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--bot", default="", metavar="NAME", help="With --all: of this bot alone.")
def retry(id: str | None, everything: bool, bot: str) -> None:
    """Handle a message again, or send a reply again.

    What a message's handler had said before it failed is not said again. The running bot does it; if none runs, the
    next one that is started does.
    """
    with _open_delivery() as delivery:
        count = _apply(delivery, id, everything, bot, delivery.retry)
    click.echo(f"{_count_phrase(count)} tried again now.")


@deadletters.command()
@click.argument("id", required=False, metavar="[ID]")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--bot", default="", metavar="NAME", help="With --all: of this bot alone.")
def discard(id: str | None, everything: bool, bot: str) -> None:
    """Give a message or a reply up; it cannot be brought back."""
    with _open_delivery() as delivery:
        count = _apply(delivery, id, everything, bot, delivery.dead_letters.discard)
    click.echo(f"{_count_phrase(count)} given up.")


def _open_delivery() -> AbstractContextManager[Delivery]:
    """Open a :class:`Delivery` on the existing database of the settings, without starting any workers."""
    from cometbot.cli._database import open_delivery
    from cometbot.settings import Settings

    return open_delivery(Settings.from_environment())


def _apply(delivery: Delivery, id: str | None, everything: bool, bot: str, action: Callable[[str], bool]) -> int:
    """Apply ``action`` to the named dead letter or to all, and return how many it succeeded for."""
    if everything == (id is not None):
        raise click.UsageError("Name one dead letter, or say --all.")
    if id is not None:
        if bot:
            raise click.UsageError("--bot goes with --all; an ID names one dead letter of any bot.")
        if not action(id):
            raise _not_found(id)
        return 1
    oldest_first = reversed(delivery.dead_letters.list(bot, _ALL_LIMIT))
    return sum(action(letter.id) for letter in oldest_first)


def _not_found(id: str) -> CommandError:
    return CommandError(f"there is no dead letter {id!r}; cometbot deadletters list shows what there is")


def _count_phrase(number: int) -> str:
    return "1 dead letter is" if number == 1 else f"{number} dead letters are"


def make_dead_letter_table(letters: Sequence[DeadLetter]) -> Table:
    """Return a table for the terminal, with one row per dead letter and its cause."""
    table = _output.make_table("ID", "Failed", "Bot", "Conversation", last_column="Cause")
    for letter in letters:
        row = (letter.id, _format_time(letter.ended_at), letter.bot, letter.conversation, _cause(letter))
        table.add_row(*map(_output.to_cell, row))
    return table


def _print_letter(letter: DeadLetter) -> None:
    kind = "reply that could not be sent" if letter.is_reply else "message that could not be handled"
    rows = [
        ("dead letter", f"{letter.id}, a {kind}"),
        ("bot", letter.bot),
        ("channel", letter.channel),
        ("conversation", letter.conversation),
        ("event", letter.event),
        ("handler", letter.handler),
        ("made" if letter.is_reply else "came in", _format_time(letter.at)),
        ("failed", f"{_format_time(letter.ended_at)}, after {letter.attempts} attempt{'s' * (letter.attempts != 1)}"),
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


def _format_time(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")
