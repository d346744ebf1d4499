CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY);
CREATE TABLE chat_conversations (
    channel TEXT NOT NULL,
    id TEXT NOT NULL,
    bot TEXT NOT NULL,
    owner TEXT NOT NULL,
    data TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (channel, id, bot)
);
CREATE TABLE chat_events (
    channel TEXT NOT NULL,
    bot TEXT NOT NULL,
    conversation TEXT NOT NULL,
    at BIGINT NOT NULL,
    id TEXT NOT NULL,
    sender TEXT NOT NULL,
    payload TEXT NOT NULL,
    PRIMARY KEY (channel, bot, conversation, at)
);
CREATE TABLE chat_feed (
    channel TEXT NOT NULL,
    bot TEXT NOT NULL,
    conversation TEXT NOT NULL,
    position BIGINT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    data TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (channel, bot, conversation, position)
);
CREATE TABLE chat_files (
    channel TEXT NOT NULL,
    id TEXT NOT NULL,
    bot TEXT NOT NULL,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    size BIGINT NOT NULL,
    mime_type TEXT NOT NULL,
    kind TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    used_at BIGINT,
    removed BOOLEAN DEFAULT 0 NOT NULL,
    PRIMARY KEY (channel, id, bot)
);
CREATE TABLE chat_messages (
    channel TEXT NOT NULL,
    bot TEXT NOT NULL,
    conversation TEXT NOT NULL,
    at BIGINT NOT NULL,
    id TEXT NOT NULL,
    sender TEXT NOT NULL,
    is_bot BOOLEAN NOT NULL,
    payload TEXT NOT NULL,
    metadata TEXT,
    client_id TEXT,
    edited_at BIGINT,
    PRIMARY KEY (channel, bot, conversation, at)
);
CREATE TABLE chat_participants (
    channel TEXT NOT NULL,
    bot TEXT NOT NULL,
    conversation TEXT NOT NULL,
    user_id TEXT NOT NULL,
    joined_at BIGINT NOT NULL,
    PRIMARY KEY (channel, bot, conversation, user_id)
);
CREATE TABLE chat_users (
    channel TEXT NOT NULL,
    id TEXT NOT NULL,
    bot TEXT NOT NULL,
    data TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (channel, id, bot)
);
CREATE TABLE conversations (
    conversation_key TEXT NOT NULL,
    channel TEXT NOT NULL,
    account TEXT NOT NULL,
    bot TEXT NOT NULL,
    conversation TEXT NOT NULL,
    target TEXT NOT NULL,
    is_group BOOLEAN NOT NULL,
    mail BOOLEAN DEFAULT 0 NOT NULL,
    token TEXT,
    process TEXT,
    due_at DOUBLE,
    PRIMARY KEY (conversation_key)
);
CREATE TABLE dialogs (
    event TEXT NOT NULL,
    generation INTEGER NOT NULL,
    conversation_key TEXT NOT NULL,
    handler TEXT NOT NULL,
    call TEXT NOT NULL,
    code TEXT NOT NULL,
    waiting TEXT NOT NULL,
    status TEXT NOT NULL,
    asked_seq BIGINT NOT NULL,
    failed_seq BIGINT NOT NULL,
    opened_at DOUBLE NOT NULL,
    updated_at DOUBLE NOT NULL,
    format INTEGER NOT NULL,
    PRIMARY KEY (event, generation)
);
CREATE TABLE facts (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE jobs (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    bot TEXT NOT NULL,
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    "key" TEXT NOT NULL,
    handler TEXT NOT NULL,
    spec TEXT NOT NULL,
    missed TEXT NOT NULL,
    conversation_key TEXT NOT NULL,
    conversation TEXT NOT NULL,
    content TEXT NOT NULL,
    due_at DOUBLE NOT NULL,
    on_wall_clock BOOLEAN NOT NULL,
    created_at DOUBLE NOT NULL,
    last_at DOUBLE,
    CONSTRAINT jobs_name UNIQUE (bot, scope, name)
);
CREATE TABLE mailbox (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL,
    account TEXT NOT NULL,
    bot TEXT NOT NULL,
    event_key TEXT NOT NULL,
    conversation_key TEXT NOT NULL,
    sender TEXT NOT NULL,
    body BLOB NOT NULL,
    received_at DOUBLE NOT NULL,
    state TEXT DEFAULT 'waiting' NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    failures INTEGER DEFAULT '0' NOT NULL,
    generation INTEGER DEFAULT '0' NOT NULL,
    due_at DOUBLE,
    ended_at DOUBLE,
    handler TEXT,
    error TEXT,
    CONSTRAINT mailbox_event UNIQUE (channel, account, bot, event_key)
);
CREATE TABLE outbox (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL,
    generation INTEGER DEFAULT '0' NOT NULL,
    ordinal INTEGER NOT NULL,
    part INTEGER NOT NULL,
    conversation_key TEXT NOT NULL,
    payload TEXT NOT NULL,
    client_id TEXT NOT NULL,
    target INTEGER,
    target_event TEXT,
    state TEXT NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    created_at DOUBLE NOT NULL,
    began_at DOUBLE,
    due_at DOUBLE,
    ended_at DOUBLE,
    platform_id TEXT,
    error TEXT,
    CONSTRAINT outbox_ordinal UNIQUE (event, generation, ordinal, part)
);
CREATE TABLE pauses (
    account TEXT NOT NULL,
    until DOUBLE NOT NULL,
    failures INTEGER DEFAULT '0' NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (account)
);
CREATE TABLE platform_bots (
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    avatar TEXT NOT NULL,
    key_salt TEXT NOT NULL,
    key_hash TEXT NOT NULL,
    webhook_url TEXT DEFAULT '' NOT NULL,
    webhook_secret TEXT DEFAULT '' NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (seq),
    UNIQUE (id)
);
CREATE TABLE platform_commands (
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    bot TEXT NOT NULL,
    alias TEXT NOT NULL,
    description TEXT NOT NULL,
    PRIMARY KEY (seq),
    CONSTRAINT platform_commands_alias UNIQUE (bot, alias),
    UNIQUE (id)
);
CREATE TABLE processes (
    token TEXT NOT NULL,
    lease_until DOUBLE NOT NULL,
    handles BOOLEAN NOT NULL,
    address TEXT NOT NULL,
    PRIMARY KEY (token)
);
CREATE TABLE state (
    scope TEXT NOT NULL,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    expires_at DOUBLE,
    PRIMARY KEY (scope, owner, name)
);
CREATE TABLE steps (
    event TEXT NOT NULL,
    generation INTEGER NOT NULL,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    "key" TEXT NOT NULL,
    code TEXT NOT NULL,
    text TEXT NOT NULL,
    "trigger" TEXT NOT NULL,
    result TEXT NOT NULL,
    at DOUBLE NOT NULL,
    PRIMARY KEY (event, generation, number)
);
CREATE TABLE timers (
    event TEXT NOT NULL,
    generation INTEGER NOT NULL,
    due_at DOUBLE NOT NULL,
    conversation_key TEXT NOT NULL,
    result TEXT NOT NULL,
    step INTEGER NOT NULL,
    PRIMARY KEY (event, generation)
);
CREATE INDEX chat_conversations_created ON chat_conversations (channel, created_at, id);
CREATE INDEX chat_conversations_owner ON chat_conversations (channel, owner, created_at, id);
CREATE UNIQUE INDEX chat_events_id ON chat_events (channel, id, bot);
CREATE INDEX chat_events_sender ON chat_events (channel, sender);
CREATE INDEX chat_feed_at ON chat_feed (at);
CREATE INDEX chat_files_created ON chat_files (channel, created_at, id);
CREATE INDEX chat_files_owner ON chat_files (channel, owner);
CREATE INDEX chat_files_untidy ON chat_files (created_at) WHERE removed OR used_at IS NULL;
CREATE UNIQUE INDEX chat_messages_client ON chat_messages (channel, bot, conversation, client_id) WHERE client_id IS NOT NULL;
CREATE UNIQUE INDEX chat_messages_id ON chat_messages (channel, id, bot);
CREATE INDEX chat_messages_sender ON chat_messages (channel, sender) WHERE NOT is_bot;
CREATE INDEX chat_participants_user ON chat_participants (channel, user_id);
CREATE INDEX chat_users_created ON chat_users (channel, created_at, id);
CREATE INDEX conversations_target ON conversations (bot, target);
CREATE INDEX conversations_undone ON conversations (conversation_key) WHERE mail OR token IS NOT NULL OR due_at IS NOT NULL;
CREATE INDEX dialogs_conversation ON dialogs (conversation_key);
CREATE INDEX dialogs_failed ON dialogs (failed_seq) WHERE failed_seq > 0;
CREATE INDEX jobs_conversation ON jobs (conversation_key);
CREATE INDEX jobs_due ON jobs (due_at);
CREATE INDEX jobs_last ON jobs (last_at) WHERE last_at IS NOT NULL;
CREATE INDEX steps_trigger ON steps ("trigger");
CREATE INDEX mailbox_dead ON mailbox (seq) WHERE state = 'dead';
CREATE INDEX mailbox_ended ON mailbox (ended_at) WHERE state IN ('done', 'discarded');
CREATE INDEX mailbox_kept ON mailbox (conversation_key) WHERE state IN ('done', 'discarded', 'dead');
CREATE INDEX mailbox_undone ON mailbox (conversation_key, seq) WHERE state IN ('waiting', 'running');
CREATE INDEX outbox_dead ON outbox (id) WHERE state = 'dead';
CREATE INDEX outbox_ended ON outbox (ended_at) WHERE state IN ('sent', 'discarded');
CREATE INDEX outbox_kept ON outbox (conversation_key) WHERE state IN ('sent', 'discarded', 'dead');
CREATE INDEX outbox_platform_id ON outbox (platform_id) WHERE platform_id IS NOT NULL;
CREATE INDEX outbox_undone ON outbox (conversation_key, id) WHERE state IN ('ready', 'sending', 'held', 'unknown');
CREATE INDEX state_expires ON state (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX timers_due ON timers (due_at);
INSERT INTO alembic_version VALUES ('0008');
