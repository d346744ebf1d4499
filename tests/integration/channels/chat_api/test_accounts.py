"""The key of a deleted user, and the account of the next user with the same id."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from cometbot.chat import new_id
from tests.integration.channels.chat_api.conftest import ENCRYPTION_KEY, Person, Site
from tests.integration.channels.chat_api.test_operations import check_error

Signed = Callable[..., Person]


@pytest.fixture
def name() -> str:
    """An id that no other test uses."""
    return new_id()


@pytest.fixture
def signed(manual_site: Site, name: str) -> Signed:
    def sign(**claims: Any) -> Person:
        key = jwt.encode({"id": name, **claims}, ENCRYPTION_KEY.ljust(64, "\0"), algorithm="HS256")
        return Person(manual_site, key, name)

    return sign


def call_all(person: Person, place: str) -> list[Any]:
    """Return the answers to requests of every kind."""
    message = {"conversationId": place, "payload": {"type": "text", "text": "hi"}}
    return [
        person.get("/users/me"),
        person.call_api("PUT", "/users/me", {"name": "Eve"}),
        person.post("/users/get-or-create", {"name": "Eve"}),
        person.get("/conversations"),
        person.get(f"/conversations/{place}/messages"),
        person.get(f"/conversations/{place}/listen"),
        person.post("/messages", message),
        person.delete(f"/conversations/{place}"),
        person.delete("/users/me"),
    ]


def test_key_of_a_deleted_user_does_not_open_the_next_account(site: Site, name: str) -> None:
    old = site.sign_up(name, name="Old")
    old.delete("/users/me")
    new = site.sign_up(name, name="New")
    place = new.create_conversation()
    new.send_text(place, "hello")

    for answer in call_all(old, place):
        check_error(answer, 401, "Unauthorized")
    assert new.get("/users/me").json["user"]["name"] == "New"
    assert new.messages(place)


def test_account_recreated_by_its_old_key_rejects_later_keys(site: Site, name: str) -> None:
    first = site.sign_up(name)
    first.delete("/users/me")
    between = site.sign_up(name)
    between.delete("/users/me")

    assert first.post("/users/get-or-create", {}).status_code == 201
    assert first.get("/users/me").status_code == 200
    check_error(between.get("/users/me"), 401, "Unauthorized")
    check_error(between.post("/users/get-or-create", {}), 401, "Unauthorized")


def test_account_name_is_shown_to_nobody(site: Site, name: str) -> None:
    ann = site.sign_up(name)
    place = ann.create_conversation()
    shown = [
        ann.get("/users/me"),
        ann.post("/users/get-or-create", {}),
        ann.get(f"/conversations/{place}/participants"),
    ]
    assert all("account" not in answer.text for answer in shown)


def test_signed_key_older_than_the_deletion_is_refused(signed: Signed) -> None:
    now = int(time.time())
    old = signed(iat=now)
    old.post("/users/get-or-create", {"name": "Old"})
    old.delete("/users/me")
    new = signed(iat=now + 5)
    new.post("/users/get-or-create", {"name": "New"})
    place = new.create_conversation()

    for person in (old, signed(iat=now - 1000)):
        for answer in call_all(person, place):
            check_error(answer, 401, "Unauthorized")
    assert new.get("/users/me").json["user"]["name"] == "New"


def test_signed_key_of_a_deleted_user_does_not_wait_for_the_next(signed: Signed) -> None:
    old = signed(iat=int(time.time()))
    old.post("/users/get-or-create", {})
    old.delete("/users/me")
    check_error(old.post("/users/get-or-create", {}), 401, "Unauthorized")


def test_signed_key_of_the_second_of_the_deletion_is_refused(signed: Signed) -> None:
    signed(iat=1).post("/users/get-or-create", {})
    before = int(time.time())
    signed(iat=1).delete("/users/me")
    check_error(signed(iat=before).post("/users/get-or-create", {}), 401, "Unauthorized")
    assert signed(iat=int(time.time()) + 1).post("/users/get-or-create", {}).status_code == 201


def test_signed_key_of_a_backend_whose_clock_is_ahead_is_refused(signed: Signed) -> None:
    ahead = int(time.time()) + 3600
    old = signed(iat=ahead)
    old.post("/users/get-or-create", {})
    old.delete("/users/me")
    check_error(old.post("/users/get-or-create", {}), 401, "Unauthorized")
    assert signed(iat=ahead + 1).post("/users/get-or-create", {}).status_code == 201


@pytest.mark.parametrize("claims", [{}, {"iat": "nonsense"}])
def test_signed_key_without_a_time_is_the_backends_word(signed: Signed, claims: dict[str, Any]) -> None:
    person = signed(**claims)
    person.post("/users/get-or-create", {})
    person.delete("/users/me")
    assert person.post("/users/get-or-create", {}).status_code == 201


def test_signed_keys_of_any_age_open_an_undeleted_account(signed: Signed) -> None:
    assert signed(iat=1000).post("/users/get-or-create", {}).status_code == 201
    assert signed(iat=1).get("/users/me").status_code == 200


def test_signed_key_of_a_deleted_user_finds_no_user(signed: Signed) -> None:
    person = signed(iat=int(time.time()))
    person.post("/users/get-or-create", {})
    person.delete("/users/me")

    check_error(person.get("/users/me"), 404, "ResourceNotFound")
    check_error(person.post("/users/get-or-create", {}), 401, "Unauthorized")
