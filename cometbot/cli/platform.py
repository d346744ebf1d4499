"""``cometbot platform``: who and what is on the self-hosted platform, and what shall be there no longer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cometbot.cli.numbers import Count
from cometbot.cli.text import plain

if TYPE_CHECKING:
    from cometbot.chat import Chat, ChatConversation, ChatFile, ChatUser, Page, Scope, Signal

_PAGE = 500

Place = tuple[Any, "Scope"]
"""A connection, and where to look."""

Row = dict[str, Any]
F = TypeVar("F", bound=Callable[..., Any])


def _listing(command: F) -> F:
    """``command`` with the options that all lists have."""
    command = click.option("--limit", default=100, show_default=True, type=Count(example=100), help="At most so many.")(
        command
    )
    return click.option("--json", "as_json", is_flag=True, help="As a JSON array.")(command)


@click.group()
def platform() -> None:
    """List and remove users, chats and files of the self-hosted platform.

    They are in the database of COMETBOT_DATABASE_URL and the folder of COMETBOT_DATA; the platform may be running.
    """


@platform.group()
def users() -> None:
    """Those who have given themselves a name."""


@users.command("list")
@_listing
def list_users(as_json: bool, limit: int) -> None:
    """Show users, the oldest first."""
    from cometbot.channels.botyard.names import name_of

    def row(chat: Chat, place: Place, user: ChatUser) -> Row:
        return {
            "id": user.id,
            "nickname": user.data.get("nickname", ""),
            "name": name_of(user),
            "created": _time(user.created_at),
            "chats": chat.conversations.count_owned(*place, user.id),
            "bytes": chat.files.size_of(*place, user.id),
        }

    _show("users", as_json, limit, lambda chat, place, **part: chat.users.list(*place, **part), row)


@users.command("remove")
@click.argument("id", metavar="ID")
def remove_user(id: str) -> None:
    """Remove a user with all chats, messages and files; the cookie opens nothing any more."""
    from cometbot.channels.botyard.removal import remove_user

    with _chat() as chat:
        with chat.database.write() as connection:
            signals = remove_user(connection, chat, id)
        _end(chat, signals, "user", id)


@platform.group()
def chats() -> None:
    """What users and bots say to each other."""


@chats.command("list")
@click.option("--user", default="", metavar="ID", help="Of this user alone.")
@click.option("--bot", default="", metavar="ID", help="With this bot alone.")
@_listing
def list_chats(user: str, bot: str, as_json: bool, limit: int) -> None:
    """Show chats, the oldest first."""

    def page(chat: Chat, place: Place, **part: Any) -> Page[ChatConversation]:
        if user:
            return chat.conversations.list_owned(*place, user, oldest_first=True, **part)
        return chat.conversations.list(*place, **part)

    def row(chat: Chat, place: Place, item: ChatConversation) -> Row:
        return {
            "id": item.id,
            "user": item.owner,
            "bot": item.scope.bot,
            "created": _time(item.created_at),
            "last": _time(item.last_at),
            "title": item.data.get("title", ""),
        }

    _show("chats", as_json, limit, page, row, bot)


@chats.command("remove")
@click.argument("id", metavar="ID")
def remove_chat(id: str) -> None:
    """Remove a chat with all its messages."""
    from cometbot.channels.botyard.platform import EVERYWHERE
    from cometbot.channels.botyard.removal import remove_chat

    with _chat() as chat:
        with chat.database.write() as connection:
            signals = remove_chat(connection, chat, EVERYWHERE, id)
        _end(chat, signals, "chat", id)


@platform.group()
def files() -> None:
    """What users and bots have uploaded."""


@files.command("list")
@click.option("--user", default="", metavar="ID", help="Of this user or bot alone.")
@_listing
def list_files(user: str, as_json: bool, limit: int) -> None:
    """Show files, the oldest first."""

    def row(chat: Chat, place: Place, file: ChatFile) -> Row:
        return {
            "id": file.id,
            "owner": file.owner,
            "type": file.mime_type,
            "bytes": file.size,
            "created": _time(file.created_at),
            "name": file.name,
        }

    _show("files", as_json, limit, lambda chat, place, **part: chat.files.list(*place, owner=user, **part), row)


@files.command("remove")
@click.argument("id", metavar="ID")
def remove_file(id: str) -> None:
    """Remove a file; messages that it was attached to still name it."""
    from cometbot.channels.botyard.platform import EVERYWHERE

    with _chat() as chat:
        with chat.database.write() as connection:
            is_gone = chat.files.delete(connection, EVERYWHERE, id)
        _end(chat, [] if is_gone else None, "file", id)


@contextmanager
def _chat() -> Iterator[Chat]:
    """The chat server over what is stored already."""
    from cometbot.chat import Chat
    from cometbot.cli.opened import opened_delivery
    from cometbot.settings import Settings

    settings = Settings.from_environment()
    with opened_delivery(settings) as delivery:
        chat = Chat(delivery.database, settings.data / "files")
        try:
            yield chat
        finally:
            chat.close()


def _end(chat: Chat, signals: Sequence[Signal] | None, what: str, id: str) -> None:
    """Say that it is gone, also to who looks at it just now; or that there was none."""
    if signals is None:
        click.echo(f"cometbot: there is no {what} {id!r}; cometbot platform {what}s list shows what there is", err=True)
        raise SystemExit(1)
    chat.feed.publish(signals)
    chat.files.tidy()
    click.echo(f"The {what} {plain(id)} is removed.")


def _show(
    what: str,
    as_json: bool,
    limit: int,
    page: Callable[..., Page[Any]],
    to_row: Callable[[Chat, Place, Any], Row],
    bot: str = "",
) -> None:
    """Print up to ``limit`` items of the pages that ``page(chat, place, cursor=…, limit=…)`` returns."""
    from cometbot.channels.botyard.platform import scope_of

    rows: list[Row] = []
    with _chat() as chat, chat.database.read() as connection:
        place, cursor, is_over = (connection, scope_of(bot)), "", False
        while not is_over and len(rows) < limit:
            part = page(chat, place, cursor=cursor, limit=min(_PAGE, limit - len(rows)))
            rows += [to_row(chat, place, item) for item in part.items]
            cursor, is_over = part.next, not part.next
    _print(rows, as_json, what)


def _print(rows: Sequence[Row], as_json: bool, what: str) -> None:
    from cometbot.cli.tables import make_table, print_json, print_table, to_cell

    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo(f"There are no {what}.")
        return
    *titles, last = rows[0]
    table = make_table(*(title.capitalize() for title in titles), fold=last.capitalize())
    for row in rows:
        table.add_row(*(to_cell(str(value)) for value in row.values()))
    print_table(table)


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000).strftime("%Y-%m-%d %H:%M:%S")
