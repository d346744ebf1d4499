"""The tables; the migrations create them. ``docs/architecture.md`` explains each state and its transitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Double,
    Exists,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TextClause,
    UniqueConstraint,
    exists,
    false,
    text,
)

metadata = MetaData()

_Serial = BigInteger().with_variant(Integer, "sqlite")
_Milliseconds = BigInteger
"""Whole milliseconds since 1970 UTC."""

WAITING, RUNNING, DONE, DEAD, DISCARDED = "waiting", "running", "done", "dead", "discarded"
READY, SENDING, SENT, HELD, UNKNOWN = "ready", "sending", "sent", "held", "unknown"

# The conditions of the indexes. Queries repeat them literally, with the table's name, or SQLite does not use the index.
PENDING_MESSAGE = f"state IN ('{WAITING}', '{RUNNING}')"
ENDED_MESSAGE = f"state IN ('{DONE}', '{DISCARDED}')"
KEPT_MESSAGE = f"state IN ('{DONE}', '{DISCARDED}', '{DEAD}')"
PENDING_REPLY = f"state IN ('{READY}', '{SENDING}', '{HELD}', '{UNKNOWN}')"
ENDED_REPLY = f"state IN ('{SENT}', '{DISCARDED}')"
KEPT_REPLY = f"state IN ('{SENT}', '{DISCARDED}', '{DEAD}')"
IS_DEAD = f"state = '{DEAD}'"
IS_PREPARED = f"state = '{DISCARDED}' AND outbox.ended_at IS NULL"
"""The condition of a mark of a stream that is sent only if nothing completes the stream."""

IS_NEW_FILE = "NOT is_said"

QUEUED = "queued"
IS_WAITING = f"state = '{WAITING}'"
IS_QUEUED = f"state = '{QUEUED}'"


def _key(*names: str) -> Iterator[Column[str]]:
    """Return the columns of a primary key."""
    return (Column(name, Text, primary_key=True) for name in names)


def _texts(*names: str) -> Iterator[Column[str]]:
    return (Column(name, Text, nullable=False) for name in names)


def _times(*names: str) -> Iterator[Column[int]]:
    return (Column(name, _Milliseconds, nullable=False) for name in names)


def _index(name: str, table: Table, *columns: str, where: str = "", unique: bool = False) -> None:
    """Add an index to ``table``, of the rows for which ``where`` is true."""
    options: dict[str, Any] = {f"{dialect}_where": text(where) for dialect in ("sqlite", "postgresql") if where}
    Index(name, *(table.c[column] for column in columns), unique=unique, **options)


def of_account(conversation_key: ColumnElement[str], account: str) -> ColumnElement[bool]:
    """Return the condition that a conversation belongs to this CometChat account."""
    return conversation_key.startswith(f"cometchat/{account}/", autoescape=True)


def in_state(table: Table, condition: str) -> TextClause:
    """Return one of the conditions above for the rows of ``table``."""
    return text(f"{table.name}.{condition}")


mailbox = Table(
    "mailbox",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    *_texts("channel", "account", "bot", "event_key", "conversation_key", "sender"),
    Column("body", LargeBinary, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("state", Text, nullable=False, server_default=WAITING),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("generation", Integer, nullable=False, server_default="0"),
    Column("due_at", Double),
    Column("ended_at", Double),
    Column("handler", Text),
    Column("error", Text),
    UniqueConstraint("channel", "account", "bot", "event_key", name="mailbox_event"),
    sqlite_autoincrement=True,
)
_index("mailbox_undone", mailbox, "conversation_key", "seq", where=PENDING_MESSAGE)
_index("mailbox_dead", mailbox, "seq", where=IS_DEAD)
_index("mailbox_ended", mailbox, "ended_at", where=ENDED_MESSAGE)
_index("mailbox_kept", mailbox, "conversation_key", where=KEPT_MESSAGE)

conversations = Table(
    "conversations",
    metadata,
    Column("conversation_key", Text, primary_key=True),
    *_texts("channel", "account", "bot", "conversation", "target"),
    Column("is_group", Boolean, nullable=False),
    Column("mail", Boolean, nullable=False, server_default=false()),
    Column("token", Text),
    Column("process", Text),
    Column("due_at", Double),
)
_index(
    "conversations_undone", conversations, "conversation_key", where="mail OR token IS NOT NULL OR due_at IS NOT NULL"
)
_index("conversations_target", conversations, "bot", "target")

CONVERSATION_COLUMNS = ("channel", "account", "bot", "conversation", "target", "is_group")
"""The columns that hold a :class:`cometbot.models.Conversation`, in the order of its fields."""

conversation_columns = [conversations.c[name] for name in CONVERSATION_COLUMNS]

outbox = Table(
    "outbox",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("event", Text, nullable=False),
    Column("generation", Integer, nullable=False, server_default="0"),
    Column("ordinal", Integer, nullable=False),
    Column("part", Integer, nullable=False),
    *_texts("conversation_key", "payload", "client_id"),
    Column("target", Integer),
    Column("target_event", Text),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("created_at", Double, nullable=False),
    Column("began_at", Double),
    Column("due_at", Double),
    Column("ended_at", Double),
    Column("platform_id", Text),
    Column("error", Text),
    UniqueConstraint("event", "generation", "ordinal", "part", name="outbox_ordinal"),
    sqlite_autoincrement=True,
)
_index("outbox_undone", outbox, "conversation_key", "id", where=PENDING_REPLY)
_index("outbox_dead", outbox, "id", where=IS_DEAD)
_index("outbox_ended", outbox, "ended_at", where=ENDED_REPLY)
_index("outbox_kept", outbox, "conversation_key", where=KEPT_REPLY)
_index("outbox_platform_id", outbox, "platform_id", where="platform_id IS NOT NULL")


def has_pending(table: Table, key: Any, *conditions: ColumnElement[bool]) -> Exists:
    """Return the condition that the conversation ``key`` has a pending row in ``mailbox`` or ``outbox``."""
    state = PENDING_MESSAGE if table is mailbox else PENDING_REPLY
    return exists().where(table.c.conversation_key == key, in_state(table, state), *conditions)


dialogs = Table(
    "dialogs",
    metadata,
    Column("event", Text, primary_key=True),
    Column("generation", Integer, primary_key=True),
    *_texts("conversation_key", "handler", "call", "code", "waiting", "status"),
    Column("asked_seq", BigInteger, nullable=False),
    Column("failed_seq", BigInteger, nullable=False),
    Column("opened_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("format", Integer, nullable=False),
)
_index("dialogs_conversation", dialogs, "conversation_key")
_index("dialogs_failed", dialogs, "failed_seq", where="failed_seq > 0")

steps = Table(
    "steps",
    metadata,
    Column("event", Text, primary_key=True),
    Column("generation", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    *_texts("kind", "key", "code", "text", "trigger", "result"),
    Column("at", Double, nullable=False),
)

_index("steps_trigger", steps, "trigger")

timers = Table(
    "timers",
    metadata,
    Column("event", Text, primary_key=True),
    Column("generation", Integer, primary_key=True),
    Column("due_at", Double, nullable=False),
    *_texts("conversation_key", "result"),
    Column("step", Integer, nullable=False),
)
_index("timers_due", timers, "due_at")

jobs = Table(
    "jobs",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    *_texts("bot", "scope", "name", "key", "handler", "spec", "missed", "conversation_key", "conversation", "content"),
    Column("due_at", Double, nullable=False),
    Column("on_wall_clock", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("last_at", Double),
    UniqueConstraint("bot", "scope", "name", name="jobs_name"),
    sqlite_autoincrement=True,
)
_index("jobs_due", jobs, "due_at")
_index("jobs_conversation", jobs, "conversation_key")
_index("jobs_last", jobs, "last_at", where="last_at IS NOT NULL")

broadcasts = Table(
    "broadcasts",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    *_texts("bot", "name", "channel", "account", "digest", "content", "pace", "state"),
    Column("starts", Integer, nullable=False, server_default="0"),
    Column("next_at", Double, nullable=False, server_default="0"),
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),
    UniqueConstraint("bot", "name", name="broadcasts_name"),
    sqlite_autoincrement=True,
)

broadcast_recipients = Table(
    "broadcast_recipients",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("broadcast", BigInteger, nullable=False),
    *_texts("uid", "state"),
    Column("at", Double),
    Column("error", Text),
    UniqueConstraint("broadcast", "uid", name="broadcast_recipients_uid"),
    sqlite_autoincrement=True,
)
"""The recipients of broadcasts. ``state`` is queued once the outbox has the message, from the time ``at`` on."""

_index("broadcast_recipients_waiting", broadcast_recipients, "broadcast", "id", where=IS_WAITING)
_index("broadcast_recipients_queued", broadcast_recipients, "at", where=IS_QUEUED)
_index("broadcast_recipients_user", broadcast_recipients, "uid")

pauses = Table(
    "pauses",
    metadata,
    Column("account", Text, primary_key=True),
    Column("until", Double, nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("reason", Text, nullable=False),
)

state = Table(
    "state",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("expires_at", Double),
)
_index("state_expires", state, "expires_at", where="expires_at IS NOT NULL")

processes = Table(
    "processes",
    metadata,
    Column("token", Text, primary_key=True),
    Column("lease_until", Double, nullable=False),
    Column("handles", Boolean, nullable=False),
    Column("address", Text, nullable=False),
)

facts = Table(
    "facts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)


chat_users = Table(
    "chat_users",
    metadata,
    *_key("channel", "id", "bot"),
    *_texts("data"),
    *_times("created_at", "updated_at", "seen_at"),
)
_index("chat_users_created", chat_users, "channel", "created_at", "id")

chat_conversations = Table(
    "chat_conversations",
    metadata,
    *_key("channel", "id", "bot"),
    *_texts("owner", "data"),
    *_times("created_at", "updated_at", "last_at"),
    Column("position", BigInteger, nullable=False),
)
_index("chat_conversations_owner", chat_conversations, "channel", "owner", "created_at", "id")
_index("chat_conversations_created", chat_conversations, "channel", "created_at", "id")

chat_participants = Table(
    "chat_participants",
    metadata,
    *_key("channel", "bot", "conversation", "user_id"),
    *_times("joined_at"),
)
_index("chat_participants_user", chat_participants, "channel", "user_id")

chat_messages = Table(
    "chat_messages",
    metadata,
    *_key("channel", "bot", "conversation"),
    Column("at", _Milliseconds, primary_key=True),
    *_texts("id", "sender"),
    Column("is_bot", Boolean, nullable=False),
    *_texts("payload"),
    Column("metadata", Text),
    Column("client_id", Text),
    Column("edited_at", _Milliseconds),
)
_index("chat_messages_id", chat_messages, "channel", "id", "bot", unique=True)
_index(
    "chat_messages_client",
    chat_messages,
    *("channel", "bot", "conversation", "client_id"),
    where="client_id IS NOT NULL",
    unique=True,
)
_index("chat_messages_sender", chat_messages, "channel", "sender", where="NOT is_bot")

chat_events = Table(
    "chat_events",
    metadata,
    *_key("channel", "bot", "conversation"),
    Column("at", _Milliseconds, primary_key=True),
    *_texts("id", "sender", "payload"),
)
_index("chat_events_id", chat_events, "channel", "id", "bot", unique=True)
_index("chat_events_sender", chat_events, "channel", "sender")

MESSAGE_CREATED = "message_created"
MESSAGE_UPDATED = "message_updated"
MESSAGE_DELETED = "message_deleted"
EVENT_CREATED = "event_created"
PARTICIPANT_ADDED = "participant_added"
PARTICIPANT_REMOVED = "participant_removed"
CONVERSATION_UPDATED = "conversation_updated"
CONVERSATION_DELETED = "conversation_deleted"
"""The kinds of changes in the feed. The deletion of a conversation is not stored."""

chat_feed = Table(
    "chat_feed",
    metadata,
    *_key("channel", "bot", "conversation"),
    Column("position", BigInteger, primary_key=True),
    *_texts("kind", "subject", "data"),
    *_times("at"),
)
_index("chat_feed_at", chat_feed, "at")

chat_files = Table(
    "chat_files",
    metadata,
    *_key("channel", "id", "bot"),
    *_texts("owner", "name"),
    Column("size", BigInteger, nullable=False),
    *_texts("mime_type", "kind"),
    *_times("created_at"),
    Column("used_at", _Milliseconds),
    Column("removed", Boolean, nullable=False, server_default=false()),
)
_index("chat_files_owner", chat_files, "channel", "owner")
_index("chat_files_created", chat_files, "channel", "created_at", "id")
_index("chat_files_untidy", chat_files, "created_at", where="removed OR used_at IS NULL")

sent_files = Table(
    "sent_files",
    metadata,
    Column("id", Text, primary_key=True),
    *_texts("event"),
    *(Column(name, Integer, nullable=False) for name in ("generation", "ordinal")),
    *_texts("conversation_key", "digest", "name", "mime_type", "kind"),
    Column("size", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("is_said", Boolean, nullable=False, server_default=false()),
)
"""The files that bots have sent. ``is_said`` is true once it is known that the outbox has the message."""

_index("sent_files_said", sent_files, "event", "generation", "ordinal")
_index("sent_files_conversation", sent_files, "conversation_key")
_index("sent_files_digest", sent_files, "digest")
_index("sent_files_new", sent_files, "created_at", where=IS_NEW_FILE)

sent_contents = Table(
    "sent_contents",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("is_released", Boolean, nullable=False, server_default=false()),
)
"""The contents of these files, each once. ``is_released`` is true if a file that had it was deleted."""

_index("sent_contents_released", sent_contents, "digest", where="is_released")

sent_chunks = Table(
    "sent_chunks",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

platform_bots = Table(
    "platform_bots",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    *_texts("name", "description", "avatar", "key_salt", "key_hash"),
    Column("webhook_url", Text, nullable=False, server_default=""),
    Column("webhook_secret", Text, nullable=False, server_default=""),
    *_times("created_at"),
)

platform_commands = Table(
    "platform_commands",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    *_texts("bot", "alias", "description"),
    UniqueConstraint("bot", "alias", name="platform_commands_alias"),
)
