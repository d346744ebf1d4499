"""The queries of alerts: dead letters, waiting replies, and the alerts that were sent, for all processes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot.models import ConversationKey
from cometbot.store.database import Database
from cometbot.store.tables import (
    ENDED_MESSAGE,
    HELD,
    IS_DEAD,
    PENDING_REPLY,
    UNKNOWN,
    facts,
    in_state,
    mailbox,
    outbox,
)

ALERT_EVENT_PREFIX = "walert:"
"""The beginning of the event of an alert that a bot sends: about these no alert is sent."""

MAX_ROWS = 1000
"""The rows of each kind that a check reads at most."""

_CLAIM_PREFIX = "alert:"
_LAST_CHECK = "alerts_checked_at"

_is_alert = outbox.c.event.startswith(ALERT_EVENT_PREFIX)
_message_columns = [mailbox.c[name] for name in ("seq", "bot", "channel", "account", "handler", "error", "ended_at")]
_dead_messages = (
    sa.select(*_message_columns)
    .where(in_state(mailbox, IS_DEAD), mailbox.c.ended_at > sa.bindparam("since"))
    .order_by(mailbox.c.seq.desc())
    .limit(MAX_ROWS)
)
_dead_replies = (
    sa.select(outbox.c.id, outbox.c.conversation_key, outbox.c.error, outbox.c.ended_at)
    .where(in_state(outbox, IS_DEAD), outbox.c.ended_at > sa.bindparam("since"), ~_is_alert)
    .order_by(outbox.c.id.desc())
    .limit(MAX_ROWS)
)
_waiting_replies = (
    sa.select(outbox.c.conversation_key, outbox.c.error, outbox.c.created_at)
    .where(
        in_state(outbox, PENDING_REPLY),
        outbox.c.state.in_((HELD, UNKNOWN)),
        outbox.c.created_at < sa.bindparam("before"),
        outbox.c.conversation_key > "",  # true for all: without it SQLite reads the whole table
        ~_is_alert,
    )
    .limit(MAX_ROWS)
)
_has_ended = (
    sa.select(mailbox.c.seq)
    .where(in_state(mailbox, ENDED_MESSAGE), mailbox.c.ended_at > sa.bindparam("since"))
    .where(mailbox.c.bot == sa.bindparam("b"))
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A dead letter, or a reply that waits. ``id`` is as in ``cometbot deadletters``, empty for one that waits.

    ``at`` is when it failed, or since when it waits.
    """

    bot: str
    channel: str
    account: str
    error: str
    at: float
    handler: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """The time when the alert about a cause was sent, and that of the newest failure that it counted."""

    sent_at: float
    seen_to: float


def list_dead_letters(connection: Connection, since: float) -> list[FailedRow]:
    """Return the newest dead letters that ended after ``since``, without those of alerts."""
    values = {"since": since}
    messages = [
        FailedRow(row.bot, row.channel, row.account, row.error or "", row.ended_at, row.handler or "", f"m{row.seq}")
        for row in connection.execute(_dead_messages, values)
    ]
    replies = [
        FailedRow(*_read_key(row.conversation_key), row.error or "", row.ended_at, id=f"r{row.id}")
        for row in connection.execute(_dead_replies, values)
    ]
    return messages + replies


def list_waiting_replies(connection: Connection, before: float) -> list[FailedRow]:
    """Return replies that were created before ``before`` and that no attempt could send yet."""
    rows = connection.execute(_waiting_replies, {"before": before})
    return [FailedRow(*_read_key(row.conversation_key), row.error or "", row.created_at) for row in rows]


def has_handled(connection: Connection, bot: str, since: float) -> bool:
    """Return True if a message of ``bot`` was handled after ``since``."""
    return connection.execute(_has_ended, {"since": since, "b": bot}).first() is not None


def begin_check(database: Database, bots: Iterable[str], interval: float) -> bool:
    """Return True if this process is the one that looks for problems of ``bots`` now, once in ``interval`` seconds."""
    now, name = database.clock(), f"{_LAST_CHECK}:{','.join(sorted(bots))}"
    with database.read() as connection:
        found = connection.execute(sa.select(facts.c.value).where(facts.c.name == name)).scalar()
    if found is not None and 0 <= now - float(found) < interval:
        return False
    return _replace(database, name, found, str(now))


def load_claims(connection: Connection) -> dict[str, Claim]:
    """Return the claims that are stored, by the cause's key."""
    rows = connection.execute(sa.select(facts.c.name, facts.c.value).where(facts.c.name.startswith(_CLAIM_PREFIX)))
    return {name.removeprefix(_CLAIM_PREFIX): Claim(*json.loads(value)) for name, value in rows}


def claim(database: Database, key: str, previous: Claim | None, new: Claim) -> bool:
    """Store that this process sends the alert about a cause now. Return False if another process has been faster."""
    return _replace(database, _CLAIM_PREFIX + key, _to_text(previous), _to_text(new) or "")


def release(database: Database, key: str, current: Claim, due: Claim) -> None:
    """Replace a claim whose alert could not be sent by one that is due, so that it is tried again."""
    _replace(database, _CLAIM_PREFIX + key, _to_text(current), _to_text(due) or "")


def delete_old_claims(database: Database, claims: Mapping[str, Claim], before: float) -> None:
    """Delete the claims of ``claims`` whose alerts were sent before ``before``, unless one was sent since."""
    old = [(_CLAIM_PREFIX + key, _to_text(found)) for key, found in claims.items() if found.sent_at < before]
    if old:
        unchanged = sa.and_(facts.c.name == sa.bindparam("key"), facts.c.value == sa.bindparam("stored"))
        with database.write(durable=False) as connection:
            connection.execute(sa.delete(facts).where(unchanged), [{"key": key, "stored": text} for key, text in old])


def _replace(database: Database, name: str, previous: str | None, value: str) -> bool:
    """Replace a stored value if it still is ``previous`` (None: there is none), and return True if that was so."""
    with database.write(durable=False) as connection:
        if previous is None:
            insert = database.insert(facts).values(name=name, value=value)
            only_new = insert.on_conflict_do_nothing(index_elements=["name"]).returning(facts.c.name)
            return connection.execute(only_new).first() is not None
        change = sa.update(facts).where(facts.c.name == name, facts.c.value == previous).values(value=value)
        return connection.execute(change).rowcount > 0


def _to_text(stored: Claim | None) -> str | None:
    return None if stored is None else json.dumps([stored.sent_at, stored.seen_to])


def _read_key(conversation_key: str) -> tuple[str, str, str]:
    """Return the bot, the channel and the account of a conversation."""
    key = ConversationKey.parse(conversation_key)
    return key.bot, key.channel, key.account
