"""What is removed is gone: from the chat, from what bots remember, and from what delivery keeps."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import sqlalchemy as sa
from pytest_httpserver import HTTPServer

from cometbot import Context
from cometbot.channels.base import Incoming
from cometbot.channels.botyard.platform import EVERYWHERE, conversation_of
from cometbot.channels.botyard.removal import remove_user
from tests.integration.channels.botyard.conftest import Person, Site, make_bot, until
from tests.residue import rows_with

SECRET = "secretword"


@dataclass
class Gate:
    """A handler that has begun, and goes on when the gate is opened; after that nothing is left to be done."""

    has_begun: threading.Event
    open: Callable[[], None]


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, make_site: Callable[..., Site]) -> Iterator[Site]:
    """A platform whose process handles, over either database."""
    url = {"database_url": request.getfixturevalue("postgres_url")} if request.param == "postgresql" else {}
    site = make_site(make_bot(), **url)
    site.running.delivery.start()
    yield site
    site.running.delivery.stop()


@pytest.fixture
def gate(site: Site) -> Gate:
    """A bot that begins, and goes on when it is told to; what it does then is in its message."""
    has_begun, may_end = threading.Event(), threading.Event()
    bot = site.running.delivery.bots["helpdesk"]

    @bot.command("again", retries=1)
    def again(ctx: Context, *, how: str) -> None:
        has_begun.set()
        assert may_end.wait(60)
        raise ValueError(f"{SECRET} in an error")

    @bot.command("slow")
    def slow(ctx: Context, *, how: str) -> str:
        has_begun.set()
        assert may_end.wait(60)
        ctx.state["it"] = f"{SECRET} state"
        if how.startswith("raise"):
            raise ValueError(f"{SECRET} in an error")
        sent = ctx.reply(f"{SECRET} reply")
        sent.edit(f"{SECRET} edited")
        return f"{SECRET} answer"

    def open_gate() -> None:
        may_end.set()
        until(lambda: site.running.delivery.is_idle)

    return Gate(has_begun, open_gate)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def test_nothing_of_a_removed_chat_is_left_and_others_keep_theirs(site: Site) -> None:
    maria, tom = site.person(), site.person("Tom")
    chat, toms = maria.chat(), tom.chat()
    said = maria.say(chat, SECRET)
    maria.hears(chat, f"echo {SECRET}")
    tom.say(toms, "tomsword")
    tom.hears(toms, "echo tomsword")
    until(lambda: site.running.delivery.is_idle)
    kept = rows_with(site.platform.database, "tomsword", toms)
    assert rows_with(site.platform.database, SECRET)

    assert maria.delete(f"client-api/chat/{chat}").status_code == 200
    assert rows_with(site.platform.database, SECRET) == []
    assert rows_with(site.platform.database, "tomsword", toms) == kept
    again = Incoming(conversation_of("helpdesk", chat, maria.id), f"message:{said['id']}", b"{}", maria.id)
    assert not site.running.delivery.put(again)


def test_nothing_of_a_removed_user_is_left_not_even_the_id(site: Site) -> None:
    maria = site.person()
    bot = site.running.delivery.bots["helpdesk"]
    bot.send(user=maria.id, text=f"{SECRET} first")
    until(lambda: rows_with(site.platform.database, "'sent'"))
    chat = maria.chat()
    maria.say(chat, SECRET)
    maria.hears(chat, f"echo {SECRET}")
    until(lambda: site.running.delivery.is_idle)

    with site.platform.database.write() as connection:
        assert remove_user(connection, site.platform.chat, maria.id)
    assert rows_with(site.platform.database, SECRET, maria.id) == []
    with site.platform.database.write() as connection:
        assert remove_user(connection, site.platform.chat, maria.id) is None


def test_what_was_said_before_there_was_a_chat_goes_with_the_chat(site: Site) -> None:
    maria = site.person()
    site.running.delivery.bots["helpdesk"].send(user=maria.id, text=f"{SECRET} first")
    until(lambda: rows_with(site.platform.database, "'sent'"))
    [chat] = maria.get("client-api/chats?bot_id=helpdesk").json

    maria.delete(f"client-api/chat/{chat['id']}")
    assert rows_with(site.platform.database, SECRET) == []


def test_dead_letters_of_a_removed_chat_go_with_it(site: Site) -> None:
    @site.running.delivery.bots["helpdesk"].message("break")
    def fail(ctx: Context) -> None:
        raise ValueError(f"{SECRET} in an error")

    maria, tom = site.person(), site.person("Tom")
    for person in (maria, tom):
        person.say(person.chat(), "break")
    until(lambda: len(site.running.delivery.dead_letters.list()) == 2)
    until(lambda: site.running.delivery.is_idle)
    [chat] = maria.get("client-api/chats?bot_id=helpdesk").json
    maria.delete(f"client-api/chat/{chat['id']}")

    [left] = site.running.delivery.dead_letters.list()
    assert left.conversation == tom.get("client-api/chats?bot_id=helpdesk").json[0]["id"]


@pytest.mark.parametrize("how", ["/slow", "/again"])
def test_what_a_handler_says_of_a_chat_that_is_removed_meanwhile_is_dropped_and_nobody_is_troubled(
    site: Site, gate: Gate, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    maria, tom = site.person(), site.person("Tom")
    chat, toms = maria.chat(), tom.chat()
    maria.say(chat, f"{how} {SECRET}")
    assert gate.has_begun.wait(60)
    maria.say(chat, f"remember {SECRET}")
    maria.say(chat, "remember")
    assert maria.delete(f"client-api/chat/{chat}").status_code == 200
    assert rows_with(site.platform.database, SECRET) == []
    gate.open()

    assert rows_with(site.platform.database, SECRET, "scope", chat + "', 'it'") == []
    assert site.running.delivery.dead_letters.list() == []
    assert errors(caplog) == []
    with site.platform.database.read() as connection:
        assert connection.execute(sa.text("SELECT owner FROM state")).all() == []
    tom.say(toms, "hi")
    tom.hears(toms, "echo hi")


def test_a_handler_that_raises_when_its_chat_is_gone_keeps_nothing_that_was_said(site: Site, gate: Gate) -> None:
    maria = site.person()
    chat = maria.chat()
    maria.say(chat, "/slow raise theirword")
    assert gate.has_begun.wait(60)
    maria.delete(f"client-api/chat/{chat}")
    gate.open()
    assert rows_with(site.platform.database, "theirword", SECRET) == []
    assert site.running.delivery.dead_letters.list() == []


def test_a_process_that_died_on_a_message_of_a_removed_chat_leaves_nothing_to_be_handled(
    make_site: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    site = make_site(make_bot(), handles=False)
    maria = site.person()
    chat = maria.chat()
    maria.say(chat, SECRET)
    maria.say(chat, "second")
    store, lane = site.running.delivery.store, str(conversation_of("helpdesk", chat, maria.id).key)
    with store.database.write() as connection:
        store.leases.claim(connection, lane, "a process that died")
        assert store.mailbox.take(connection, lane)
    maria.delete(f"client-api/chat/{chat}")

    other = make_site(make_bot(), database_url=f"sqlite:///{store.database.path}")  # type: ignore[attr-defined]
    other.running.delivery.start()
    until(lambda: other.running.delivery.is_idle)
    assert rows_with(store.database, SECRET, "second", "'running'", "'waiting'") == []
    assert other.running.delivery.dead_letters.list() == []
    assert errors(caplog) == []


def test_what_the_webhook_of_a_bot_was_or_is_to_be_told_goes_with_the_chat(site: Site, httpserver: HTTPServer) -> None:
    httpserver.expect_ordered_request("/hook").respond_with_data("")
    httpserver.expect_ordered_request("/hook").respond_with_data("", 503)
    bot_id, bot = site.outside()
    bot.post("bot-api/bot/webhook", {"url": httpserver.url_for("/hook"), "secret": "s"})
    maria = site.person()
    chat = maria.chat(bot_id)
    maria.say(chat, f"{SECRET} told")
    until(lambda: len(httpserver.log) == 1)
    maria.say(chat, f"{SECRET} refused")
    until(lambda: len(httpserver.log) >= 2)
    maria.say(chat, f"{SECRET} waiting")

    maria.delete(f"client-api/chat/{chat}")
    assert rows_with(site.platform.database, SECRET) == []
    until(lambda: site.running.delivery.is_idle)
    assert rows_with(site.platform.database, SECRET) == []
    assert site.running.delivery.dead_letters.list() == []


def test_what_is_said_to_a_removed_chat_later_is_done_and_not_kept(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    maria = site.person()
    chat = maria.chat()
    place = conversation_of("helpdesk", chat, maria.id)
    maria.delete(f"client-api/chat/{chat}")
    site.running.delivery.bots["helpdesk"].send(conversation=place, text=SECRET)
    until(lambda: rows_with(site.platform.database, "'sent'", "'discarded'"))
    until(lambda: site.running.delivery.is_idle)

    assert rows_with(site.platform.database, SECRET) == []
    assert site.running.delivery.dead_letters.list() == []
    assert errors(caplog) == []


def test_a_bot_writes_in_vain_to_a_user_who_never_was(site: Site) -> None:
    site.running.delivery.bots["helpdesk"].send(user="nobody", text="hi")
    [letter] = until(lambda: site.running.delivery.dead_letters.list())
    assert "chat_not_found" in letter.error


def test_a_deleted_bots_chats_leave_nothing(site: Site, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/hook").respond_with_data("")
    bot_id, bot = site.outside()
    bot.post("bot-api/bot/webhook", {"url": httpserver.url_for("/hook"), "secret": "s"})
    maria: Person = site.person()
    maria.say(maria.chat(bot_id), SECRET)
    until(lambda: site.running.delivery.is_idle)
    assert site.admin.delete(f"admin-api/bot/{bot_id}").status_code == 200
    assert rows_with(site.platform.database, SECRET) == []
    with site.platform.database.read() as connection:
        assert site.platform.chat.conversations.list(connection, EVERYWHERE).items == []
