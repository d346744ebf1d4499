"""``cometbot platform``: lists and removes users, chats and files of the self-hosted platform."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from cometbot.cli._database import open_delivery
from cometbot.cli._output import format_time, make_table, print_json, print_table, sanitize, to_cell
from cometbot.cli._params import IntegerParam, shared_options

if TYPE_CHECKING:
    from cometbot.chat import Chat, ChatConversation, ChatFile, ChatUser, Page, Scope
    from cometbot.store.database import Transaction

_PAGE_SIZE = 500

ConnectionAndScope = tuple[Any, "Scope"]
"""A database connection, and the scope of a query."""

Row = dict[str, Any]


_list_options = shared_options(
    click.option("--json", "as_json", is_flag=True, help="Print a JSON array."),
    click.option(
        "--limit", default=100, show_default=True, type=IntegerParam(example=100), help="Maximum number of rows."
    ),
)


@click.group()
def platform() -> None:
    """List and remove users, chats and files of the self-hosted platform.

    They are in the database of COMETBOT_DATABASE_URL and the folder of COMETBOT_DATA. The platform may be running.
    """


@platform.group()
def users() -> None:
    """List and remove users."""


@users.command("list")
@_list_options
def list_users(as_json: bool, limit: int) -> None:
    """List users, oldest first."""
    from cometbot.channels.platform.display_names import display_name

    def row(chat: Chat, place: ConnectionAndScope, user: ChatUser) -> Row:
        return {
            "id": user.id,
            "nickname": user.data.get("nickname", ""),
            "name": display_name(user),
            "created": format_time(user.created_at / 1000),
            "chats": chat.conversations.count_owned(*place, user.id),
            "bytes": chat.files.get_total_size(*place, user.id),
        }

    _print_items("users", as_json, limit, lambda chat, place, **part: chat.users.list(*place, **part), row)


@users.command("remove")
@click.argument("id", metavar="ID")
def remove_user(id: str) -> None:
    """Remove a user with all chats, messages and files. The user's cookie becomes invalid."""
    from cometbot.channels.platform.chat_service import delete_user

    with _open_chat() as chat:
        is_removed = chat.commit(lambda connection: delete_user(connection, chat, id), timeout=None)
        _finish_removal(chat, is_removed, "user", id)


@platform.group()
def chats() -> None:
    """List and remove chats."""


@chats.command("list")
@click.option("--user", default="", metavar="ID", help="Only of this user.")
@click.option("--bot", default="", metavar="ID", help="Only with this bot.")
@_list_options
def list_chats(user: str, bot: str, as_json: bool, limit: int) -> None:
    """List chats, oldest first."""

    def page(chat: Chat, place: ConnectionAndScope, **part: Any) -> Page[ChatConversation]:
        if user:
            return chat.conversations.list_owned(*place, user, oldest_first=True, **part)
        return chat.conversations.list(*place, **part)

    def row(chat: Chat, place: ConnectionAndScope, item: ChatConversation) -> Row:
        return {
            "id": item.id,
            "user": item.owner,
            "bot": item.scope.bot,
            "created": format_time(item.created_at / 1000),
            "last": format_time(item.last_at / 1000),
            "title": item.data.get("title", ""),
        }

    _print_items("chats", as_json, limit, page, row, bot)


@chats.command("remove")
@click.argument("id", metavar="ID")
def remove_chat(id: str) -> None:
    """Remove a chat with all its messages."""
    from cometbot.channels.platform.ids import ALL_BOTS, delivery_records

    with _open_chat() as chat:

        def work(connection: Transaction) -> bool:
            found = chat.conversations.get(connection, ALL_BOTS, id)
            return found is not None and chat.delete_conversations(connection, [found], delivery_records) > 0

        _finish_removal(chat, chat.commit(work, timeout=None), "chat", id)


@platform.group()
def files() -> None:
    """List and remove uploaded files."""


@files.command("list")
@click.option("--user", default="", metavar="ID", help="Only of this user or bot.")
@_list_options
def list_files(user: str, as_json: bool, limit: int) -> None:
    """List files, oldest first."""

    def row(chat: Chat, place: ConnectionAndScope, file: ChatFile) -> Row:
        return {
            "id": file.id,
            "owner": file.owner,
            "type": file.mime_type,
            "bytes": file.size,
            "created": format_time(file.created_at / 1000),
            "name": file.name,
        }

    _print_items("files", as_json, limit, lambda chat, place, **part: chat.files.list(*place, owner=user, **part), row)


@files.command("remove")
@click.argument("id", metavar="ID")
def remove_file(id: str) -> None:
    """Remove a file. Messages still show its name."""
    from cometbot.channels.platform.ids import ALL_BOTS

    with _open_chat() as chat:
        with chat.database.write() as connection:
            is_gone = chat.files.delete(connection, ALL_BOTS, id)
        _finish_removal(chat, is_gone, "file", id)


@contextmanager
def _open_chat() -> Iterator[Chat]:
    """Open the chat service on the existing database."""
    from cometbot.chat import Chat
    from cometbot.settings import Settings

    settings = Settings.from_environment()
    with open_delivery(settings) as delivery:
        chat = Chat(delivery.database, settings.data / "files")
        try:
            yield chat
        finally:
            chat.close()


def _finish_removal(chat: Chat, is_removed: bool, kind: str, id: str) -> None:
    """Report a removal. Exit with status 1 if there was nothing to remove."""
    if not is_removed:
        click.echo(f"cometbot: no {kind} {id!r}. List them with: cometbot platform {kind}s list", err=True)
        raise SystemExit(1)
    chat.files.clean_up()
    click.echo(f"Removed the {kind} {sanitize(id)}.")


def _print_items(
    kind: str,
    as_json: bool,
    limit: int,
    load_page: Callable[..., Page[Any]],
    to_row: Callable[[Chat, ConnectionAndScope, Any], Row],
    bot: str = "",
) -> None:
    """Print up to ``limit`` items of the pages that ``load_page(chat, source, cursor=…, limit=…)`` returns."""
    from cometbot.channels.platform.ids import bot_scope

    rows: list[Row] = []
    with _open_chat() as chat, chat.database.read() as connection:
        source, cursor = (connection, bot_scope(bot)), ""
        while len(rows) < limit:
            loaded = load_page(chat, source, cursor=cursor, limit=min(_PAGE_SIZE, limit - len(rows)))
            rows += [to_row(chat, source, item) for item in loaded.items]
            cursor = loaded.next
            if not cursor:
                break
    _print_rows(rows, as_json, kind)


def _print_rows(rows: Sequence[Row], as_json: bool, kind: str) -> None:
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo(f"No {kind}.")
        return
    *titles, last = rows[0]
    table = make_table(*(title.capitalize() for title in titles), last_column=last.capitalize())
    for row in rows:
        table.add_row(*(to_cell(str(value)) for value in row.values()))
    print_table(table)
