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
from tests.integration.channels.chat_api.conftest import ENCRYPTION_KEY, Person, Site, make_bot

OPERATIONS: dict[str, Callable[[Person, str, str], TestResponse]] = {
    "getUser": lambda old, place, message: old.get("/users/me"),
    "getOrCreateUser": lambda old, place, message: old.post("/users/get-or-create", {}),
    "getOrCreateUser with a name": lambda old, place, message: old.post("/users/get-or-create", {"name": "Eve"}),
    "updateUser": lambda old, place, message: old.call_api("PUT", "/users/me", {"name": "Eve"}),
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
MAX_TRANSACTIONS = 6
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
        for name in ("group_commit", "snapshot", "read", "write"):
            monkeypatch.setattr(self._database, name, self._counted(getattr(self._database, name)))

    def _counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if self._left is not None and threading.get_ident() == self._thread:
                self._left -= 1
                if self._left < 0:
                    self._left = None
                    self._action()
            returned = method(*arguments, **options)
            self.has_written |= self._left is not None and method.__name__ == "group_commit"
            return returned

        return call

    def run(self, request: Callable[[], TestResponse], action: Callable[[], None], place: int) -> TestResponse | None:
        """Return the answer to ``request`` with ``action`` before its transaction ``place``; None if it made fewer."""
        self._left, self._action, self.has_written = place, action, False
        answer = request()
        has_run, self._left = self._left is None, None
        answer.close()
        return answer if has_run else None


class UserSuccession:
    """The owner of an id and the one who takes it next, with a conversation of the same name each."""

    def __init__(self, site: Site, sign: Callable[[str, int], str] | None) -> None:
        self.site = site
        self.name, self.place = new_id(), new_id()
        self._sign = sign
        self._signed_at = int(time.time())
        self._add()
        self.make_current_old()

    def _add(self) -> None:
        """Create the user for its next owner, who writes a message with the owner's name."""
        self._signed_at += 5
        self.new_name = f"Owner {self._signed_at}"
        if self._sign is None:
            self.new = self.site.sign_up(self.name, name=self.new_name)
        else:
            self.new = Person(self.site, self._sign(self.name, self._signed_at), self.name)
            assert self.new.post("/users/get-or-create", {"name": self.new_name}).status_code in (200, 201)
        self._new_message = self.new.send_text(
            self.new.create_conversation(self.place), f"a secret of {self.new_name}"
        )["id"]

    def make_current_old(self) -> None:
        """Make the owner of today the old one."""
        self.old, self.message = self.new, self._new_message
        self.stored_before: Any = None

    def recreate_user(self) -> None:
        """Delete the user, unless the request has done so, and create it again for the next one."""
        assert self.old.delete("/users/me").status_code in (200, 404)
        self._add()
        self.stored_before = self.load_stored()

    def load_stored(self) -> Any:
        """Return what is stored of the user and its conversation."""
        chat, scope = self.site.channel.chat, Scope("chat_api", "helper")
        with chat.database.read() as connection:
            messages = chat.messages.list_newest(connection, scope, self.place).items
            return (
                chat.users.get(connection, scope, self.name),
                [item.id for item in chat.conversations.list_owned(connection, scope, self.name).items],
                [item.id for item in messages if item.sender == self.name],
                [item.id for item in chat.conversations.list_participants(connection, scope, self.place).items],
            )


MakeSuccession = Callable[[], UserSuccession]


@pytest.fixture(scope="module")
def succession_site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site whose keys it issues itself, or whose keys a backend signs; nothing is handled there."""
    kind, mode = request.param.split()
    settings: dict[str, Any] = {"chat_api_encryption_key": Secret(ENCRYPTION_KEY)} if mode == "signed" else {}
    if kind == "postgresql":
        settings["database_url"] = request.getfixturevalue("make_postgres_database")()
    site = Site(tmp_path_factory.mktemp("site"), [make_bot()], handles=False, **settings)
    yield site
    site.close()


@pytest.fixture
def make_succession(succession_site: Site) -> MakeSuccession:
    def sign(user: str, at: int) -> str:
        return jwt.encode({"id": user, "iat": at}, ENCRYPTION_KEY.ljust(64, "\0"), algorithm="HS256")

    issues_keys = succession_site.channel.user_keys("helper").can_issue
    return lambda: UserSuccession(succession_site, None if issues_keys else sign)


@pytest.mark.parametrize(("succession_site", "operation"), SITES, indirect=["succession_site"])
def test_old_key_opens_nothing_of_a_recreated_user(
    make_succession: MakeSuccession, succession_site: Site, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    interleaving, people = Interleaving(succession_site, monkeypatch), make_succession()
    statuses = []

    def request() -> TestResponse:
        return OPERATIONS[operation](people.old, people.place, people.message)

    for place in range(MAX_TRANSACTIONS):
        answer = interleaving.run(request, people.recreate_user, place)
        if answer is None:
            break
        statuses += [] if interleaving.has_written else [answer.status_code]
        assert people.load_stored() == people.stored_before
        assert people.new_name not in answer.text
        people.make_current_old()
    assert statuses
    assert set(statuses) <= {401, 403, 404}


# SQLite has one writing transaction at a time.
@pytest.mark.parametrize("succession_site", ["postgresql issued"], indirect=True)
def test_old_key_changes_nothing_of_a_user_recreated_meanwhile(
    make_succession: MakeSuccession, succession_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = succession_site.channel.chat.users
    people, get_or_create = make_succession(), users.get_or_create

    def ensure_late(*arguments: Any) -> Any:
        monkeypatch.undo()
        people.recreate_user()
        return get_or_create(*arguments)

    monkeypatch.setattr(users, "get_or_create", ensure_late)
    answer = people.old.post("/users/get-or-create", {"name": "Eve"})
    assert answer.status_code == 401
    assert people.load_stored() == people.stored_before
