"""A user who is deleted and created again by another person while a request of the old key is under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from werkzeug.test import TestResponse

from cometbot.chat import Scope, new_id
from cometbot.settings import Secret
from tests.integration.channels.botpress.conftest import ENCRYPTION_KEY, Person, Site, make_bot

OPERATIONS: dict[str, Callable[[Person, str, str], TestResponse]] = {
    "getUser": lambda old, place, message: old.get("/users/me"),
    "getOrCreateUser": lambda old, place, message: old.post("/users/get-or-create", {}),
    "getOrCreateUser with a name": lambda old, place, message: old.post("/users/get-or-create", {"name": "Eve"}),
    "updateUser": lambda old, place, message: old.ask("PUT", "/users/me", {"name": "Eve"}),
    "deleteUser": lambda old, place, message: old.delete("/users/me"),
    "createConversation": lambda old, place, message: old.post("/conversations", {}),
    "getOrCreateConversation": lambda old, place, message: old.post("/conversations/get-or-create", {"id": place}),
    "getConversation": lambda old, place, message: old.get(f"/conversations/{place}"),
    "deleteConversation": lambda old, place, message: old.delete(f"/conversations/{place}"),
    "listConversations": lambda old, place, message: old.get("/conversations"),
    "listMessages": lambda old, place, message: old.get(f"/conversations/{place}/messages"),
    "listen": lambda old, place, message: old.get(f"/conversations/{place}/listen"),
    "addParticipant": lambda old, place, message: old.post(f"/conversations/{place}/participants", {"userId": old.id}),
    "getParticipant": lambda old, place, message: old.get(f"/conversations/{place}/participants/{old.id}"),
    "listParticipants": lambda old, place, message: old.get(f"/conversations/{place}/participants"),
    "createMessage": lambda old, place, message: old.post(
        "/messages", {"conversationId": place, "payload": {"type": "text", "text": "from the old key"}}
    ),
    "getMessage": lambda old, place, message: old.get(f"/messages/{message}"),
    "deleteMessage": lambda old, place, message: old.delete(f"/messages/{message}"),
    "createEvent": lambda old, place, message: old.post("/events", {"conversationId": place, "payload": {"a": 1}}),
}
MOST_TRANSACTIONS = 6
KEY_OPERATIONS = ("getUser", "getOrCreateUser", "getOrCreateUser with a name", "deleteUser", "createMessage")
"""Operations that read, create and delete what decides whether a key is valid, and one that sends."""
SITES = [
    *(("sqlite issued", operation) for operation in OPERATIONS),
    *(("sqlite signed", operation) for operation in KEY_OPERATIONS),
    *(("postgresql issued", operation) for operation in KEY_OPERATIONS),
]
"""Every operation calls the same check of a key, so that each kind of key and database has a few of them."""


class Interleaving:
    """Runs an action before one of the transactions that a request makes.

    ``has_written`` says that the request had committed its change before the action.
    """

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        self._database = site.channel.chat.database
        self._left: int | None = None
        self._thread = threading.get_ident()
        self.has_written = False
        self._action: Callable[[], None] = lambda: None
        for name in ("together", "snapshot", "read", "write"):
            monkeypatch.setattr(self._database, name, self._counted(getattr(self._database, name)))

    def _counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if self._left is not None and threading.get_ident() == self._thread:
                self._left -= 1
                if self._left < 0:
                    self._left = None
                    self._action()
            returned = method(*arguments, **options)
            self.has_written |= self._left is not None and method.__name__ == "together"
            return returned

        return call

    def run(self, request: Callable[[], TestResponse], action: Callable[[], None], place: int) -> TestResponse | None:
        """Return the answer to ``request`` with ``action`` before its transaction ``place``; None if it made fewer."""
        self._left, self._action, self.has_written = place, action, False
        answer = request()
        has_run, self._left = self._left is None, None
        answer.close()
        return answer if has_run else None


class People:
    """The owner of an id and the one who takes it next, with a conversation of the same name each."""

    def __init__(self, site: Site, sign: Callable[[str, int], str] | None) -> None:
        self.site = site
        self.name, self.place = new_id(), new_id()
        self._sign = sign
        self._signed_at = int(time.time())
        self._add()
        self.advance()

    def _add(self) -> None:
        """Create the user for its next owner, who writes a message with the owner's name."""
        self._signed_at += 5
        self.new_name = f"Owner {self._signed_at}"
        if self._sign is None:
            self.new = self.site.person(self.name, name=self.new_name)
        else:
            self.new = Person(self.site, self._sign(self.name, self._signed_at), self.name)
            assert self.new.post("/users/get-or-create", {"name": self.new_name}).status_code in (200, 201)
        self._new_message = self.new.say(self.new.converse(self.place), f"a secret of {self.new_name}")["id"]

    def advance(self) -> None:
        """Make the owner of today the old one."""
        self.old, self.message = self.new, self._new_message
        self.before: Any = None

    def replace(self) -> None:
        """Delete the user, unless the request has done so, and create it again for the next one."""
        assert self.old.delete("/users/me").status_code in (200, 404)
        self._add()
        self.before = self.view()

    def view(self) -> Any:
        """Return what is stored of the user and its conversation."""
        chat, scope = self.site.channel.chat, Scope("botpress", "helper")
        with chat.database.read() as connection:
            messages = chat.messages.page(connection, scope, self.place).items
            return (
                chat.users.get(connection, scope, self.name),
                [item.id for item in chat.conversations.list_owned(connection, scope, self.name).items],
                [item.id for item in messages if item.sender == self.name],
                [item.id for item in chat.conversations.participants(connection, scope, self.place).items],
            )


MakePeople = Callable[[], People]


@pytest.fixture(scope="module")
def people_site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site whose keys it issues itself, or whose keys a backend signs; nothing is handled there."""
    kind, mode = request.param.split()
    settings: dict[str, Any] = {"botpress_encryption_key": Secret(ENCRYPTION_KEY)} if mode == "signed" else {}
    if kind == "postgresql":
        settings["database_url"] = request.getfixturevalue("make_postgres_database")()
    site = Site(tmp_path_factory.mktemp("site"), [make_bot()], handles=False, **settings)
    yield site
    site.close()


@pytest.fixture
def make_people(people_site: Site) -> MakePeople:
    def sign(user: str, at: int) -> str:
        return jwt.encode({"id": user, "iat": at}, ENCRYPTION_KEY.ljust(64, "\0"), algorithm="HS256")

    issues_keys = people_site.channel.keys("helper").issues
    return lambda: People(people_site, None if issues_keys else sign)


@pytest.mark.parametrize(("people_site", "operation"), SITES, indirect=["people_site"])
def test_old_key_opens_nothing_of_a_recreated_user(
    make_people: MakePeople, people_site: Site, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    interleaving, people = Interleaving(people_site, monkeypatch), make_people()
    statuses = []

    def request() -> TestResponse:
        return OPERATIONS[operation](people.old, people.place, people.message)

    for place in range(MOST_TRANSACTIONS):
        answer = interleaving.run(request, people.replace, place)
        if answer is None:
            break
        statuses += [] if interleaving.has_written else [answer.status_code]
        assert people.view() == people.before
        assert people.new_name not in answer.text
        people.advance()
    assert statuses
    assert set(statuses) <= {401, 403, 404}


# SQLite has one writing transaction at a time.
@pytest.mark.parametrize("people_site", ["postgresql issued"], indirect=True)
def test_old_key_changes_nothing_of_a_user_recreated_within_its_transaction(
    make_people: MakePeople, people_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = people_site.channel.chat.users
    people, ensure = make_people(), users.ensure

    def ensure_late(*arguments: Any) -> Any:
        monkeypatch.undo()
        people.replace()
        return ensure(*arguments)

    monkeypatch.setattr(users, "ensure", ensure_late)
    answer = people.old.post("/users/get-or-create", {"name": "Eve"})
    assert answer.status_code == 401
    assert people.view() == people.before
