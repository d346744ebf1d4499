"""``cometbot platform``: who and what is on the self-hosted platform, and what shall be there no longer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from cometbot.cli.text import plain

if TYPE_CHECKING:
    from cometbot.chat import Chat, Signal

_PAGE = 500


@click.group()
def platform() -> None:
    """List and remove users, chats and files of the self-hosted platform.

    They are in the database of COMETBOT_DATABASE_URL and the folder of COMETBOT_DATA; the platform may be running.
    """


@platform.group()
def users() -> None:
    """Those who have given themselves a name."""


@users.command("list")
@click.option("--json", "as_json", is_flag=True, help="As a JSON array.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="At most so many.")
def list_users(as_json: bool, limit: int) -> None:
    """Show users, the oldest first."""
    from cometbot.channels.botyard.platform import EVERYWHERE

    with _chat() as chat, chat.database.read() as connection:
        found = _pages(limit, lambda cursor, most: chat.users.list(connection, EVERYWHERE, cursor=cursor, limit=most))
        rows = [
            {
                "id": user.id,
                "nickname": user.data.get("nickname", ""),
                "created": _time(user.created_at),
                "chats": chat.conversations.count_owned(connection, EVERYWHERE, user.id),
                "bytes": chat.files.size_of(connection, EVERYWHERE, user.id),
            }
            for user in found
        ]
    _show(rows, as_json, "users")


@users.command("remove")
@click.argument("id", metavar="ID")
def remove_user(id: str) -> None:
    """Remove a user with all chats, messages and files; the cookie opens nothing any more."""
    from cometbot.channels.botyard.platform import EVERYWHERE

    with _chat() as chat:
        with chat.database.write() as connection:
            signals = chat.users.delete(connection, EVERYWHERE, id)
        _end(chat, signals, "user", id)


@platform.group()
def chats() -> None:
    """What users and bots say to each other."""


@chats.command("list")
@click.option("--user", default="", metavar="ID", help="Of this user alone.")
@click.option("--bot", default="", metavar="ID", help="With this bot alone.")
@click.option("--json", "as_json", is_flag=True, help="As a JSON array.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="At most so many.")
def list_chats(user: str, bot: str, as_json: bool, limit: int) -> None:
    """Show chats, the oldest first."""
    from cometbot.chat import ChatConversation, Page, Scope

    with _chat() as chat, chat.database.read() as connection:
        scope, conversations = Scope("botyard", bot), chat.conversations

        def page(cursor: str, most: int) -> Page[ChatConversation]:
            if user:
                return conversations.list_owned(connection, scope, user, cursor=cursor, limit=most, oldest_first=True)
            return conversations.list(connection, scope, cursor=cursor, limit=most)

        rows = [
            {
                "id": item.id,
                "user": item.owner,
                "bot": item.scope.bot,
                "created": _time(item.created_at),
                "last": _time(item.last_at),
                "title": item.data.get("title", ""),
            }
            for item in _pages(limit, page)
        ]
    _show(rows, as_json, "chats")


@chats.command("remove")
@click.argument("id", metavar="ID")
def remove_chat(id: str) -> None:
    """Remove a chat with all its messages."""
    from cometbot.channels.botyard.platform import EVERYWHERE

    with _chat() as chat:
        with chat.database.write() as connection:
            signals = chat.conversations.delete(connection, EVERYWHERE, id)
        _end(chat, signals, "chat", id)


@platform.group()
def files() -> None:
    """What users and bots have uploaded."""


@files.command("list")
@click.option("--user", default="", metavar="ID", help="Of this user or bot alone.")
@click.option("--json", "as_json", is_flag=True, help="As a JSON array.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="At most so many.")
def list_files(user: str, as_json: bool, limit: int) -> None:
    """Show files, the oldest first."""
    from cometbot.channels.botyard.platform import EVERYWHERE

    with _chat() as chat, chat.database.read() as connection:
        every = _pages(
            None if user else limit,
            lambda cursor, most: chat.files.list(connection, EVERYWHERE, cursor=cursor, limit=most),
        )
        found = [file for file in every if user in ("", file.owner)][:limit]
        rows = [
            {
                "id": file.id,
                "owner": file.owner,
                "type": file.mime_type,
                "bytes": file.size,
                "created": _time(file.created_at),
                "name": file.name,
            }
            for file in found
        ]
    _show(rows, as_json, "files")


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
    from cometbot.cli.opened import opened_delivery
    from cometbot.errors import ConfigurationError
    from cometbot.settings import Settings

    try:
        from cometbot.chat import Chat
    except ImportError as error:
        raise ConfigurationError(
            f"the platform needs {error.name}, which is not installed: pip install 'cometbot[chat]'"
        ) from error
    settings = Settings.from_environment()
    with opened_delivery(settings) as delivery:
        chat = Chat(delivery.database, settings.data / "files")
        try:
            yield chat
        finally:
            chat.close()


def _pages(limit: int | None, page: Any) -> list[Any]:
    """Up to ``limit`` items (None: all) of the pages that ``page(cursor, most)`` returns."""
    found: list[Any] = []
    cursor, is_over = "", False
    while not is_over and (limit is None or len(found) < limit):
        most = _PAGE if limit is None else min(_PAGE, limit - len(found))
        part = page(cursor, most)
        found += part.items
        cursor, is_over = part.next, not part.next
    return found


def _end(chat: Chat, signals: Sequence[Signal] | None, what: str, id: str) -> None:
    """Say that it is gone, also to who looks at it just now; or that there was none."""
    if signals is None:
        click.echo(f"cometbot: there is no {what} {id!r}; cometbot platform {what}s list shows what there is", err=True)
        raise SystemExit(1)
    chat.feed.publish(signals)
    chat.files.tidy()
    click.echo(f"The {what} {plain(id)} is removed.")


def _show(rows: Sequence[dict[str, Any]], as_json: bool, what: str) -> None:
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
