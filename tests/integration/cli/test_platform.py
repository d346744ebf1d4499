"""``cometbot platform`` beside a platform with users, chats and files."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from cometbot import Context
from cometbot.cli import main
from cometbot.store.factory import database_from_url
from tests.integration.channels.platform.conftest import PNG, Person, Site, wait_until


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMETBOT_DATABASE_URL", site.running.settings.database_url)
    monkeypatch.setenv("COMETBOT_DATA", str(site.running.settings.data))
    yield site
    site.running.stop()


@pytest.fixture
def maria(site: Site) -> Person:
    return site.sign_up()


def call(*words: str) -> Result:
    return CliRunner().invoke(main, ["platform", *words])


def listed(what: str, *words: str) -> list[dict[str, Any]]:
    return list(json.loads(call(what, "list", "--json", *words).output))


def test_an_empty_platform_lists_nothing(site: Site) -> None:
    site.anonymous.get("client-api/bots")
    for what in ("users", "chats", "files"):
        assert call(what, "list").output == f"No {what}.\n"
        assert listed(what) == []


def test_users_are_listed_and_removed_with_their_data(site: Site, maria: Person) -> None:
    tom = site.sign_up("Tom")
    chat = maria.create_chat()
    [file] = maria.upload(("p.png", PNG)).json
    maria.send_message(chat, "look", attachmentIds=[file["id"]])

    assert [(row["id"], row["nickname"], row["chats"], row["bytes"]) for row in listed("users")] == [
        (maria.id, "Maria", 1, len(PNG)),
        (tom.id, "Tom", 0, 0),
    ]
    assert maria.id in call("users", "list").output
    assert [row["id"] for row in listed("users", "--limit", "1")] == [maria.id]
    assert call("users", "remove", maria.id).output == f"Removed the user {maria.id}.\n"
    assert [row["id"] for row in listed("users")] == [tom.id]
    assert (listed("chats"), listed("files")) == ([], [])
    assert maria.get("client-api/chats?bot_id=helpdesk").status_code == 401
    assert site.anonymous.client.get(f"/{file['path']}").status_code == 404


def test_chats_are_listed_by_user_and_bot_and_removed(site: Site, maria: Person) -> None:
    external_bot, _ = site.external_bot()
    tom = site.sign_up("Tom")
    first, second, third = maria.create_chat(), maria.create_chat(external_bot), tom.create_chat()
    maria.call_api("PATCH", f"page-api/chat/{first}", json={"title": "Tea"})

    assert [row["id"] for row in listed("chats")] == [first, second, third]
    assert [(row["id"], row["title"]) for row in listed("chats", "--user", maria.id)] == [(first, "Tea"), (second, "")]
    assert [row["id"] for row in listed("chats", "--bot", "helpdesk")] == [first, third]
    assert [row["id"] for row in listed("chats", "--bot", "helpdesk", "--user", tom.id)] == [third]
    assert call("chats", "remove", first).exit_code == 0
    assert maria.get(f"client-api/chat/{first}/messages").status_code == 404


def test_what_bots_remember_goes_with_its_user_and_its_chat(site: Site, maria: Person) -> None:
    tom = site.sign_up("Tom")
    chat, other, toms = maria.create_chat(), maria.create_chat(), tom.create_chat()
    for person, where in ((maria, chat), (maria, other), (tom, toms)):
        person.send_message(where, "remember")
        person.wait_message(where, "noted")
    maria.call_api("DELETE", f"client-api/chat/{chat}")
    conversation_key = "platform/platform/helpdesk"
    assert remembered(site) == sorted([f"{conversation_key}/{item}" for item in (maria.id, tom.id, other, toms)])

    call("users", "remove", maria.id)
    assert remembered(site) == sorted([f"{conversation_key}/{item}" for item in (tom.id, toms)])
    call("chats", "remove", toms)
    assert remembered(site) == [f"{conversation_key}/{tom.id}"]


@pytest.mark.parametrize("what", ["users", "chats"])
def test_state_of_a_removed_user_is_dropped(site: Site, maria: Person, what: str) -> None:
    has_begun, may_end, chat = threading.Event(), threading.Event(), maria.create_chat()

    @site.running.delivery.bots["helpdesk"].message("slowly")
    def slowly(ctx: Context) -> None:
        has_begun.set()
        assert may_end.wait(10)
        ctx.state["it"] = 1
        ctx.user_state["it"] = 2

    maria.send_message(chat, "slowly")
    assert has_begun.wait(10)
    call(what, "remove", maria.id if what == "users" else chat)
    may_end.set()
    wait_until(lambda: site.running.delivery.is_idle)
    assert remembered(site) == {"users": [], "chats": [f"platform/platform/helpdesk/{maria.id}"]}[what]


def remembered(site: Site) -> list[str]:
    """Whose memory is stored."""
    with site.running.delivery.database.read() as connection:
        return sorted(set(connection.execute(sa.text("SELECT owner FROM state")).scalars()))


def test_files_are_listed_by_owner_and_removed(site: Site, maria: Person) -> None:
    tom = site.sign_up("Tom")
    [file], [other] = maria.upload(("p.png", PNG)).json, tom.upload(("t.txt", b"x")).json

    assert [(row["id"], row["owner"], row["type"], row["name"]) for row in listed("files")] == [
        (file["id"], maria.id, "image/png", "p.png"),
        (other["id"], tom.id, "text/plain", "t.txt"),
    ]
    assert [row["id"] for row in listed("files", "--user", tom.id)] == [other["id"]]
    assert call("files", "remove", file["id"]).exit_code == 0
    assert [row["id"] for row in listed("files")] == [other["id"]]
    assert len([path for path in site.running.settings.data.rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize("what", ["user", "chat", "file"])
def test_what_does_not_exist_cannot_be_removed(site: Site, what: str) -> None:
    database_from_url(site.running.settings.database_url).open()
    result = call(f"{what}s", "remove", "nothing")

    assert result.exit_code == 1
    assert f"no {what} 'nothing'" in result.output
