"""The tables of the chat server: users, conversations, participants, messages, events, feed, files."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chat_conversations",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("bot", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "id", "bot"),
    )
    op.create_index("chat_conversations_created", "chat_conversations", ["channel", "created_at", "id"], unique=False)
    op.create_index(
        "chat_conversations_owner", "chat_conversations", ["channel", "owner", "created_at", "id"], unique=False
    )
    op.create_table(
        "chat_events",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("bot", sa.Text(), nullable=False),
        sa.Column("conversation", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "bot", "conversation", "at"),
    )
    op.create_index("chat_events_id", "chat_events", ["channel", "id", "bot"], unique=True)
    op.create_index("chat_events_sender", "chat_events", ["channel", "sender"], unique=False)
    op.create_table(
        "chat_feed",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("bot", sa.Text(), nullable=False),
        sa.Column("conversation", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "bot", "conversation", "position"),
    )
    op.create_index("chat_feed_at", "chat_feed", ["at"], unique=False)
    op.create_table(
        "chat_files",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("bot", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mime_type", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.Column("removed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "id", "bot"),
    )
    op.create_index("chat_files_created", "chat_files", ["channel", "created_at", "id"], unique=False)
    op.create_index("chat_files_owner", "chat_files", ["channel", "owner"], unique=False)
    op.create_index(
        "chat_files_untidy",
        "chat_files",
        ["created_at"],
        unique=False,
        sqlite_where=sa.text("removed OR used_at IS NULL"),
        postgresql_where=sa.text("removed OR used_at IS NULL"),
    )
    op.create_table(
        "chat_messages",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("bot", sa.Text(), nullable=False),
        sa.Column("conversation", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("is_bot", sa.Boolean(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=True),
        sa.Column("client_id", sa.Text(), nullable=True),
        sa.Column("edited_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("channel", "bot", "conversation", "at"),
    )
    op.create_index(
        "chat_messages_client",
        "chat_messages",
        ["channel", "bot", "conversation", "client_id"],
        unique=True,
        sqlite_where=sa.text("client_id IS NOT NULL"),
        postgresql_where=sa.text("client_id IS NOT NULL"),
    )
    op.create_index("chat_messages_id", "chat_messages", ["channel", "id", "bot"], unique=True)
    op.create_index(
        "chat_messages_sender",
        "chat_messages",
        ["channel", "sender"],
        unique=False,
        sqlite_where=sa.text("NOT is_bot"),
        postgresql_where=sa.text("NOT is_bot"),
    )
    op.create_table(
        "chat_participants",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("bot", sa.Text(), nullable=False),
        sa.Column("conversation", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("joined_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "bot", "conversation", "user_id"),
    )
    op.create_index("chat_participants_user", "chat_participants", ["channel", "user_id"], unique=False)
    op.create_table(
        "chat_users",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("bot", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "id", "bot"),
    )
    op.create_index("chat_users_created", "chat_users", ["channel", "created_at", "id"], unique=False)
