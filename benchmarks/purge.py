"""Callbacks while old messages are purged: their p99 beside that of the same servers with nothing to purge."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

from benchmarks.load import Load, press
from benchmarks.payloads import BOT, callbacks
from benchmarks.servers import Server, serve_cometbot
from benchmarks.tables import table
from cometbot.delivery import Delivery

CONNECTIONS = 4
BODY = "x" * 900
_OLD_DAYS = 30


def run(rounds: int = 3, old: int = 200_000, seconds: float = 8.0) -> str:
    """Return the table: per round, callbacks without and with a purge of ``old`` messages and as many replies."""
    rows = []
    for number in range(1, rounds + 1):
        with (
            tempfile.TemporaryDirectory(prefix="cometbot-bench-") as folder,
            serve_cometbot("benchmarks.bots:storing()", Path(folder)) as server,
        ):
            rows.append(_row(f"{number}, no purge", _load(server, seconds), 0, 0.0))
            size = _add_old_messages(server.database, old)
            load, removed, took = _purge_under_load(server)
            rows.append(_row(f"{number}, purge", load, removed, took))
    print(f"{size / old:.0f} bytes a message with one reply", flush=True)
    return table(("round", "callbacks", "p50 ms", "p99 ms", "slowest ms", "failed", "rows purged", "in s"), rows)


def _row(name: str, load: Load, removed: int, took: float) -> list[object]:
    parts = [load.percentile(part) for part in (0.5, 0.99, 1.0)]
    return [name, len(load.seconds), *parts, load.failed, removed, took]


def _load(server: Server, seconds: float) -> Load:
    return press(server.port, callbacks(f"/cometchat/{BOT}"), CONNECTIONS, seconds)


def _purge_under_load(server: Server) -> tuple[Load, int, float]:
    """Purge in this process as a worker would; return the callbacks' load, the rows removed, and the seconds."""
    done: list[tuple[int, float]] = []

    def purge() -> None:
        with closing(Delivery([], [], f"sqlite:///{server.database}")) as delivery:
            began = time.perf_counter()
            removed = delivery.purge()
            done.append((removed, time.perf_counter() - began))

    thread = threading.Thread(target=purge)
    thread.start()
    load = Load()
    while thread.is_alive():
        part = _load(server, 1.0)
        load.seconds += part.seconds
        load.failed += part.failed
    thread.join()
    return load, *done[0]


def _add_old_messages(database: Path, count: int) -> int:
    """Add messages that were answered long ago; return by how many bytes the file grew."""
    at = time.time() - _OLD_DAYS * 86400
    numbers = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < ?) "
    conversation_key = f"'cometchat/app/{BOT}/old-' || (n % 20000)"
    mail = (
        "INSERT INTO mailbox "
        "(channel, account, bot, event_key, conversation_key, sender, body, received_at, state, ended_at) "
        f"{numbers} SELECT 'cometchat', 'app', '{BOT}', 'message:' || n, {conversation_key}, 'user-' || (n % 20000), "
        "?, ?, 'done', ? FROM s"
    )
    replies = (
        "INSERT INTO outbox "
        "(event, generation, ordinal, part, conversation_key, payload, client_id, state, created_at, ended_at) "
        f"{numbers} SELECT 'm' || (1000000 + n), 0, 0, 0, {conversation_key}, ?, 'cb-m' || n || '-0-0-0-0123456789ab', "
        "'sent', ?, ? FROM s"
    )
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        before = _size(connection)
        for statement, body in ((mail, BODY), (replies, BODY[:300])):
            connection.execute(statement, (count, body, at, at))
            connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return _size(connection) - before


def _size(connection: sqlite3.Connection) -> int:
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages) * int(size)


if __name__ == "__main__":
    print(f"load average {os.getloadavg()[0]:.1f}")
    print(run())
