"""Every statement finds its rows by an index, however many others there are."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from cometbot.chat import Chat, Draft, Scope
from cometbot.store.database import Database, Transaction
from tests.contract.chat.conftest import SCOPE, Room

Operation = Callable[[Chat, Transaction, Room], Any]

PLATFORM = Scope(SCOPE.channel)
CURSOR = "WzEsImEiXQ"
PAGE_CURSOR = "WzFd"

OPERATIONS: dict[str, Operation] = {
    "make a user": lambda chat, c, room: chat.users.get_or_create(c, SCOPE, "ann", {"name": "x"}),
    "find a user": lambda chat, c, room: chat.users.get(c, SCOPE, room.ann.id),
    "find a user of a channel": lambda chat, c, room: chat.users.get(c, PLATFORM, room.ann.id),
    "change a user": lambda chat, c, room: chat.users.update(c, SCOPE, room.ann.id, {"x": 1}),
    "list users": lambda chat, c, room: chat.users.list(c, SCOPE, cursor=CURSOR),
    "delete a user": lambda chat, c, room: chat.users.delete(c, SCOPE, room.ann.id),
    "delete a user with places elsewhere": lambda chat, c, room: [
        chat.conversations.add_participant(c, SCOPE, room.id, room.bob.id),
        chat.messages.post(c, SCOPE, room.id, Draft(room.bob.id, {})),
        chat.users.delete(c, PLATFORM, room.bob.id),
    ],
    "go on with deleting a user": lambda chat, c, room: [
        chat.messages.post(c, SCOPE, room.id, Draft(room.bob.id, {})),
        chat.users.continue_delete(c, chat.users.start_delete(c, SCOPE, room.bob.id)),  # type: ignore[arg-type]
    ],
    "make a conversation": lambda chat, c, room: chat.conversations.create(c, SCOPE, room.ann.id, id="x"),
    "find a conversation": lambda chat, c, room: chat.conversations.get(c, PLATFORM, room.id),
    "change a conversation": lambda chat, c, room: chat.conversations.update(c, SCOPE, room.id, {"x": 1}),
    "list one's conversations": lambda chat, c, room: chat.conversations.list_owned(
        c, SCOPE, room.ann.id, cursor=CURSOR
    ),
    "list one's conversations with all bots": lambda chat, c, room: chat.conversations.list_owned(
        c, PLATFORM, room.ann.id, oldest_first=True
    ),
    "list all conversations": lambda chat, c, room: chat.conversations.list(c, SCOPE, cursor=CURSOR),
    "count one's conversations": lambda chat, c, room: chat.conversations.count_owned(c, SCOPE, room.ann.id),
    "delete a conversation": lambda chat, c, room: chat.conversations.delete(c, SCOPE, room.id),
    "find a participant": lambda chat, c, room: chat.conversations.get_participant(c, SCOPE, room.id, room.ann.id),
    "list participants": lambda chat, c, room: chat.conversations.list_participants(c, SCOPE, room.id, cursor=CURSOR),
    "remove a participant": lambda chat, c, room: chat.conversations.remove_participant(c, SCOPE, room.id, room.ann.id),
    "post a message": lambda chat, c, room: chat.messages.post(
        c, SCOPE, room.id, Draft("a", {}, client_id="c", files=["f"])
    ),
    "find what was said to somebody": lambda chat, c, room: chat.messages.find_by_owner(c, SCOPE, "a", "c"),
    "find a message": lambda chat, c, room: chat.messages.get(c, PLATFORM, "m"),
    "change a message": lambda chat, c, room: chat.messages.update(c, SCOPE, room.post("x").id, {}),
    "list messages": lambda chat, c, room: chat.messages.list_newest(c, SCOPE, room.id, cursor=PAGE_CURSOR),
    "list newer messages": lambda chat, c, room: chat.messages.list_after(c, SCOPE, room.id, 1),
    "number messages": lambda chat, c, room: chat.messages.list_numbered(
        c, SCOPE, room.id, sender="a", since=1, page=2
    ),
    "make an event": lambda chat, c, room: chat.events.create(c, SCOPE, room.id, "a", {}),
    "find an event": lambda chat, c, room: chat.events.get(c, SCOPE, "e"),
    "read the feed": lambda chat, c, room: chat.feed_table.read(c, room.conversation.topic, 0, 100),
    "compare positions": lambda chat, c, room: chat.feed_table.get_positions(c, [room.conversation.topic] * 3),
    "purge the feed": lambda chat, c, room: chat.feed_table.purge(c, 1),
    "find files": lambda chat, c, room: chat.files.find(c, PLATFORM, ["a", "b"]),
    "list files": lambda chat, c, room: chat.files.list(c, SCOPE, cursor=CURSOR),
    "list somebody's files": lambda chat, c, room: chat.files.list(c, SCOPE, owner="a", cursor=CURSOR),
    "delete a file": lambda chat, c, room: chat.files.delete(c, SCOPE, "f"),
}


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "change a message"])
def test_rows_are_found_by_an_index(room: Room, name: str) -> None:
    assert find_full_scans(room.chat.database, lambda connection: OPERATIONS[name](room.chat, connection, room)) == []


def test_a_message_is_changed_by_an_index(room: Room) -> None:
    message = room.post("x")
    for change in (
        lambda connection: room.chat.messages.update(connection, SCOPE, message.id, {}),
        lambda connection: room.chat.messages.delete(connection, SCOPE, message.id),
    ):
        assert find_full_scans(room.chat.database, change) == []


def test_files_to_tidy_are_found_by_an_index(room: Room) -> None:
    """The whole of an index, but of one that has only what is to be tidied or may be soon."""
    found = find_full_scans(room.chat.database, lambda connection: room.chat.files.find_removable(connection))
    assert found in ([], ["SCAN chat_files USING INDEX chat_files_untidy"])
    assert (
        find_full_scans(room.chat.database, lambda connection: room.chat.files.mark_removed(connection, "c", ["f"]))
        == []
    )
    assert (
        find_full_scans(room.chat.database, lambda connection: room.chat.files.find_used(connection, "c", ["f"])) == []
    )


def find_full_scans(database: Database, work: Callable[[Transaction], Any]) -> list[str]:
    """What reads a whole table of the chat server in ``work``: steps of plans, or names of tables."""
    if database.server_url:
        return _find_postgresql_scans(database, work)
    with database.write() as connection:
        driver = connection.connection.dbapi_connection
        assert isinstance(driver, sqlite3.Connection)
        statements: list[str] = []
        driver.set_trace_callback(statements.append)
        work(connection)
        driver.set_trace_callback(None)
        found = []
        for statement in statements:
            if statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE", "INSERT", "WITH")):
                steps = [row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}")]
                found += [step for step in steps if step.startswith("SCAN chat_")]
    return found


def _find_postgresql_scans(database: Database, work: Callable[[Transaction], Any]) -> list[str]:
    with database.write() as connection:
        # What has no index at all is read whole in spite of this; what has one is not, though there are few rows.
        connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        before = _get_scan_counts(connection)
        work(connection)
        return sorted(name for name, count in _get_scan_counts(connection).items() if count > before.get(name, 0))


def _get_scan_counts(connection: Transaction) -> dict[str, int]:
    """How often each table was read whole, by this transaction or by others of its connection a moment before it."""
    query = "SELECT relname, seq_scan FROM pg_stat_xact_user_tables WHERE relname LIKE 'chat_%'"
    return {str(name): int(count) for name, count in connection.execute(sa.text(query))}


def test_a_search_without_an_index_is_noticed(room: Room) -> None:
    query = sa.text("SELECT id FROM chat_messages WHERE edited_at = 7")
    assert find_full_scans(room.chat.database, lambda connection: connection.execute(query).all())
