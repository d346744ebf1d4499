"""The tables; the migrations create them. ``docs/architecture.md`` explains each state and its transitions."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData()

_Serial = BigInteger().with_variant(Integer, "sqlite")

WAITING, RUNNING, DONE, DEAD, DISCARDED = "waiting", "running", "done", "dead", "discarded"
READY, SENDING, SENT, HELD, UNKNOWN = "ready", "sending", "sent", "held", "unknown"

mailbox = Table(
    "mailbox",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("channel", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("bot", Text, nullable=False),
    Column("event_key", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("sender", Text, nullable=False),
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
_unfinished_message = text("state IN ('waiting', 'running')")
Index(
    "mailbox_undone",
    mailbox.c.lane,
    mailbox.c.seq,
    sqlite_where=_unfinished_message,
    postgresql_where=_unfinished_message,
)
_dead_message = text("state = 'dead'")
Index("mailbox_dead", mailbox.c.seq, sqlite_where=_dead_message, postgresql_where=_dead_message)
_ended_message = text("state IN ('done', 'discarded')")
Index("mailbox_ended", mailbox.c.ended_at, sqlite_where=_ended_message, postgresql_where=_ended_message)
_finished_message = text("state IN ('done', 'discarded', 'dead')")
Index("mailbox_kept", mailbox.c.lane, sqlite_where=_finished_message, postgresql_where=_finished_message)

conversations = Table(
    "conversations",
    metadata,
    Column("lane", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("bot", Text, nullable=False),
    Column("conversation", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("is_group", Boolean, nullable=False),
    Column("mail", Boolean, nullable=False, server_default=false()),
    Column("token", Text),
    Column("process", Text),
    Column("due_at", Double),
)
_unfinished_conversation = text("mail OR token IS NOT NULL OR due_at IS NOT NULL")
Index(
    "conversations_undone",
    conversations.c.lane,
    sqlite_where=_unfinished_conversation,
    postgresql_where=_unfinished_conversation,
)
Index("conversations_target", conversations.c.bot, conversations.c.target)

outbox = Table(
    "outbox",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("event", Text, nullable=False),
    Column("generation", Integer, nullable=False, server_default="0"),
    Column("ordinal", Integer, nullable=False),
    Column("part", Integer, nullable=False),
    Column("lane", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("target", Integer),
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
_unfinished_reply = text("state IN ('ready', 'sending', 'held', 'unknown')")
Index("outbox_undone", outbox.c.lane, outbox.c.id, sqlite_where=_unfinished_reply, postgresql_where=_unfinished_reply)
_dead_reply = text("state = 'dead'")
Index("outbox_dead", outbox.c.id, sqlite_where=_dead_reply, postgresql_where=_dead_reply)
_ended_reply = text("state IN ('sent', 'discarded')")
Index("outbox_ended", outbox.c.ended_at, sqlite_where=_ended_reply, postgresql_where=_ended_reply)
_finished_reply = text("state IN ('sent', 'discarded', 'dead')")
Index("outbox_kept", outbox.c.lane, sqlite_where=_finished_reply, postgresql_where=_finished_reply)
_has_platform_id = text("platform_id IS NOT NULL")
Index("outbox_platform_id", outbox.c.platform_id, sqlite_where=_has_platform_id, postgresql_where=_has_platform_id)

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
)

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

_Milliseconds = BigInteger
"""Whole milliseconds since 1970 UTC."""

chat_users = Table(
    "chat_users",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("bot", Text, primary_key=True),
    Column("data", Text, nullable=False),
    Column("created_at", _Milliseconds, nullable=False),
    Column("updated_at", _Milliseconds, nullable=False),
    Column("seen_at", _Milliseconds, nullable=False),
)
Index("chat_users_created", chat_users.c.channel, chat_users.c.created_at, chat_users.c.id)

chat_conversations = Table(
    "chat_conversations",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("bot", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("created_at", _Milliseconds, nullable=False),
    Column("updated_at", _Milliseconds, nullable=False),
    Column("last_at", _Milliseconds, nullable=False),
    Column("position", BigInteger, nullable=False),
)
Index(
    "chat_conversations_owner",
    chat_conversations.c.channel,
    chat_conversations.c.owner,
    chat_conversations.c.created_at,
    chat_conversations.c.id,
)
Index(
    "chat_conversations_created",
    chat_conversations.c.channel,
    chat_conversations.c.created_at,
    chat_conversations.c.id,
)

chat_participants = Table(
    "chat_participants",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("bot", Text, primary_key=True),
    Column("conversation", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("joined_at", _Milliseconds, nullable=False),
)
Index("chat_participants_user", chat_participants.c.channel, chat_participants.c.user_id)

chat_messages = Table(
    "chat_messages",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("bot", Text, primary_key=True),
    Column("conversation", Text, primary_key=True),
    Column("at", _Milliseconds, primary_key=True),
    Column("id", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("is_bot", Boolean, nullable=False),
    Column("payload", Text, nullable=False),
    Column("metadata", Text),
    Column("client_id", Text),
    Column("edited_at", _Milliseconds),
)
Index("chat_messages_id", chat_messages.c.channel, chat_messages.c.id, chat_messages.c.bot, unique=True)
_has_client_id = text("client_id IS NOT NULL")
Index(
    "chat_messages_client",
    chat_messages.c.channel,
    chat_messages.c.bot,
    chat_messages.c.conversation,
    chat_messages.c.client_id,
    unique=True,
    sqlite_where=_has_client_id,
    postgresql_where=_has_client_id,
)
_from_user = text("NOT is_bot")
Index(
    "chat_messages_sender",
    chat_messages.c.channel,
    chat_messages.c.sender,
    sqlite_where=_from_user,
    postgresql_where=_from_user,
)

chat_events = Table(
    "chat_events",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("bot", Text, primary_key=True),
    Column("conversation", Text, primary_key=True),
    Column("at", _Milliseconds, primary_key=True),
    Column("id", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("payload", Text, nullable=False),
)
Index("chat_events_id", chat_events.c.channel, chat_events.c.id, chat_events.c.bot, unique=True)
Index("chat_events_sender", chat_events.c.channel, chat_events.c.sender)

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
    Column("channel", Text, primary_key=True),
    Column("bot", Text, primary_key=True),
    Column("conversation", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("at", _Milliseconds, nullable=False),
)
Index("chat_feed_at", chat_feed.c.at)

chat_files = Table(
    "chat_files",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("bot", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mime_type", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("created_at", _Milliseconds, nullable=False),
    Column("used_at", _Milliseconds),
    Column("removed", Boolean, nullable=False, server_default=false()),
)
Index("chat_files_owner", chat_files.c.channel, chat_files.c.owner)
Index("chat_files_created", chat_files.c.channel, chat_files.c.created_at, chat_files.c.id)
_removable_file = text("removed OR used_at IS NULL")
Index("chat_files_untidy", chat_files.c.created_at, sqlite_where=_removable_file, postgresql_where=_removable_file)

platform_bots = Table(
    "platform_bots",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("avatar", Text, nullable=False),
    Column("key_salt", Text, nullable=False),
    Column("key_hash", Text, nullable=False),
    Column("webhook_url", Text, nullable=False, server_default=""),
    Column("webhook_secret", Text, nullable=False, server_default=""),
    Column("created_at", _Milliseconds, nullable=False),
)

platform_commands = Table(
    "platform_commands",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("bot", Text, nullable=False),
    Column("alias", Text, nullable=False),
    Column("description", Text, nullable=False),
    UniqueConstraint("bot", "alias", name="platform_commands_alias"),
)
