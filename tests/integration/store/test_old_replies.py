"""The purge of replies beside those of dead letters, which stay."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from cometbot.delivery import Delivery
from cometbot.store.database import Transaction
from cometbot.store.outbox import OldReplyPurge
from cometbot.store.tables import mailbox, outbox

KEPT, BATCH = 500, 10


def fill(connection: Transaction) -> None:
    """Old replies of a dead letter, and then some of events that are gone."""
    message = {
        "channel": "fake",
        "account": "a",
        "bot": "b",
        "conversation_key": "x",
        "sender": "u",
        "body": b"{}",
        "received_at": 0.0,
    }
    connection.execute(mailbox.insert(), {**message, "event_key": "dead", "state": "dead"})
    dead = connection.execute(sa.select(mailbox.c.seq)).scalar_one()
    row = {"part": 0, "conversation_key": "x", "payload": "{}", "client_id": "", "state": "sent", "created_at": 0.0}
    kept = [{**row, "event": f"m{dead}", "ordinal": number, "ended_at": 1.0} for number in range(KEPT)]
    gone = [{**row, "event": "m0", "ordinal": number, "ended_at": 2.0} for number in range(3 * BATCH)]
    connection.execute(outbox.insert(), [*kept, *gone])


def count_steps(connection: Transaction, old: OldReplyPurge) -> int:
    """The steps of SQLite's virtual machine that the next batch takes."""
    steps: list[None] = []
    driver = connection.connection.dbapi_connection
    assert driver is not None
    driver.set_progress_handler(lambda: steps.append(None), 1)
    try:
        assert old.delete_batch(connection, BATCH) == BATCH
    finally:
        driver.set_progress_handler(None, 1)
    return len(steps)


def test_kept_replies_are_read_once_in_a_run(tmp_path: Path) -> None:
    with closing(Delivery([], [], f"sqlite:///{tmp_path}/bot.db")) as delivery:
        delivery.database.open()
        old = OldReplyPurge(before=3.0)
        with delivery.database.write() as connection:
            fill(connection)
            steps = [count_steps(connection, old) for _ in range(3)]
            assert old.delete_batch(connection, BATCH) == 0
            assert connection.execute(sa.select(sa.func.count()).select_from(outbox)).scalar_one() == KEPT
        assert max(steps[1:]) < steps[0] / 3
