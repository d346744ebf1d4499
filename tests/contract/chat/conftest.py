"""The chat server over every database: the same promises everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cometbot.chat import Chat, ChatConversation, ChatMessage, ChatUser, Draft, Listener, Scope, Signal
from cometbot.store.database import Transaction
from cometbot.store.factory import database_from_url
from cometbot.store.tables import metadata

SCOPE = Scope("door", "helpdesk")

MakeChat = Callable[[], Chat]


class Room:
    """A conversation of Ann's, and short words for what is done in it."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        with chat.database.write() as connection:
            self.ann: ChatUser = chat.users.create(connection, SCOPE, {"name": "Ann"})
            self.bob: ChatUser = chat.users.create(connection, SCOPE, {"name": "Bob"})
            self.conversation: ChatConversation = chat.conversations.create(connection, SCOPE, self.ann.id)

    @property
    def id(self) -> str:
        return self.conversation.id

    def post(self, text: str, *, by: str = "", chat: Chat | None = None, **more: object) -> ChatMessage:
        """The message that is stored and told of."""
        at = chat or self.chat
        draft = Draft(by or self.ann.id, {"type": "text", "text": text}, **more)  # type: ignore[arg-type]
        # A busy machine may let a commit wait for longer than a client would.
        return at.commit(lambda connection: at.messages.post(connection, SCOPE, self.id, draft), timeout=60.0).message

    def texts(self) -> list[str]:
        """What was said, oldest first."""
        with self.chat.database.read() as connection:
            page = self.chat.messages.list_before(connection, SCOPE, self.id, limit=100)
        return [message.payload["text"] for message in page.items]


@contextmanager
def collecting(chat: Chat) -> Iterator[tuple[Transaction, list[Signal]]]:
    """A transaction, and the signals that are announced in it."""
    with chat.database.write() as connection, chat.feed_table.collect(connection) as signals:
        yield connection, signals


def next_signals(listener: Listener, count: int, timeout: float = 60.0) -> list[Signal]:
    """The next ``count`` signals."""
    signals = []
    for _ in range(count):
        signal = listener.get(timeout)
        assert signal is not None, f"only {len(signals)} of {count} signals came"
        signals.append(signal)
    return signals


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database that the tests of a module share; each finds it without any chat in it."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("make_postgres_database")())
    return f"sqlite:///{tmp_path_factory.mktemp('chat')}/cometbot.db"


@pytest.fixture
def make_chat(database_url: str, tmp_path: Path) -> Iterator[MakeChat]:
    """Makes chat servers as several processes would: each with connections of its own to one database."""
    made: list[Chat] = []

    def make() -> Chat:
        opened = database_from_url(database_url)
        opened.open()
        made.append(Chat(opened, tmp_path / "files"))
        return made[-1]

    yield make
    if made:
        with made[0].database.write() as connection:
            for table in metadata.sorted_tables:
                if table.name.startswith("chat_"):
                    connection.execute(table.delete())
    for chat in made:
        chat.close()
        chat.database.close()


@pytest.fixture
def chat(make_chat: MakeChat) -> Chat:
    return make_chat()


@pytest.fixture
def room(chat: Chat) -> Room:
    return Room(chat)
