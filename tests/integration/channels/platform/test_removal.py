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
from cometbot.channels.base import IncomingEvent
from cometbot.channels.platform.chat_service import delete_user
from cometbot.channels.platform.ids import ALL_BOTS, conversation_of
from cometbot.presses import PRESS_SCOPE
from cometbot.state import StateChange
from cometbot.store.tables import dialogs, steps, timers
from tests.integration.channels.platform.conftest import Person, Site, make_bot, wait_until
from tests.table_rows import find_rows

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
        wait_until(lambda: site.running.delivery.is_idle)

    return Gate(has_begun, open_gate)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def test_deleted_chat_leaves_nothing(site: Site) -> None:
    maria, tom = site.sign_up(), site.sign_up("Tom")
    chat, toms = maria.create_chat(), tom.create_chat()
    said = maria.send_message(chat, SECRET)
    maria.wait_message(chat, f"echo {SECRET}")
    tom.send_message(toms, "tomsword")
    tom.wait_message(toms, "echo tomsword")
    wait_until(lambda: site.running.delivery.is_idle)
    kept = find_rows(site.platform.database, "tomsword", toms)
    assert find_rows(site.platform.database, SECRET)

    assert maria.delete(f"client-api/chat/{chat}").status_code == 200
    assert find_rows(site.platform.database, SECRET) == []
    assert find_rows(site.platform.database, "tomsword", toms) == kept
    again = IncomingEvent(conversation_of("helpdesk", chat, maria.id), f"message:{said['id']}", b"{}", maria.id)
    assert not site.running.delivery.enqueue(again)


def test_nothing_of_a_removed_user_is_left_not_even_the_id(site: Site) -> None:
    maria = site.sign_up()
    bot = site.running.delivery.bots["helpdesk"]
    bot.send(user=maria.id, text=f"{SECRET} first")
    wait_until(lambda: find_rows(site.platform.database, "'sent'"))
    chat = maria.create_chat()
    maria.send_message(chat, SECRET)
    maria.wait_message(chat, f"echo {SECRET}")
    wait_until(lambda: site.running.delivery.is_idle)

    with site.platform.database.write() as connection:
        assert delete_user(connection, site.platform.chat, maria.id)
    assert find_rows(site.platform.database, SECRET, maria.id) == []
    with site.platform.database.write() as connection:
        assert not delete_user(connection, site.platform.chat, maria.id)


def test_marks_of_buttons_go_with_the_chat(site: Site) -> None:
    maria = site.sign_up()
    chats = [maria.create_chat() for _ in range(2)]
    marks = [
        StateChange(PRESS_SCOPE, conversation_of("helpdesk", chat, maria.id).key_text, {"m1.0.0": '"message:1"'})
        for chat in chats
    ]
    with site.platform.database.write() as connection:
        site.running.delivery.store.state.apply(connection, marks)

    maria.delete(f"client-api/chat/{chats[0]}")
    [left] = find_rows(site.platform.database, "message:1")
    assert chats[1] in left
    with site.platform.database.write() as connection:
        assert delete_user(connection, site.platform.chat, maria.id)
    assert find_rows(site.platform.database, "message:1") == []


def test_messages_sent_before_the_chat_existed_are_deleted(site: Site) -> None:
    maria = site.sign_up()
    site.running.delivery.bots["helpdesk"].send(user=maria.id, text=f"{SECRET} first")
    wait_until(lambda: find_rows(site.platform.database, "'sent'"))
    [chat] = maria.get("client-api/chats?bot_id=helpdesk").json

    maria.delete(f"client-api/chat/{chat['id']}")
    assert find_rows(site.platform.database, SECRET) == []


def test_dead_letters_of_a_removed_chat_go_with_it(site: Site) -> None:
    @site.running.delivery.bots["helpdesk"].message("break")
    def fail(ctx: Context) -> None:
        raise ValueError(f"{SECRET} in an error")

    maria, tom = site.sign_up(), site.sign_up("Tom")
    for person in (maria, tom):
        person.send_message(person.create_chat(), "break")
    wait_until(lambda: len(site.running.delivery.dead_letters.list()) == 2)
    wait_until(lambda: site.running.delivery.is_idle)
    [chat] = maria.get("client-api/chats?bot_id=helpdesk").json
    maria.delete(f"client-api/chat/{chat['id']}")

    [left] = site.running.delivery.dead_letters.list()
    assert left.conversation == tom.get("client-api/chats?bot_id=helpdesk").json[0]["id"]


@pytest.mark.parametrize("how", ["/slow", "/again"])
def test_reply_to_a_chat_deleted_meanwhile_is_dropped(
    site: Site, gate: Gate, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    maria, tom = site.sign_up(), site.sign_up("Tom")
    chat, toms = maria.create_chat(), tom.create_chat()
    maria.send_message(chat, f"{how} {SECRET}")
    assert gate.has_begun.wait(60)
    maria.send_message(chat, f"remember {SECRET}")
    maria.send_message(chat, "remember")
    assert maria.delete(f"client-api/chat/{chat}").status_code == 200
    assert find_rows(site.platform.database, SECRET) == []
    gate.open()

    assert find_rows(site.platform.database, SECRET, "scope", chat + "', 'it'") == []
    assert site.running.delivery.dead_letters.list() == []
    assert errors(caplog) == []
    with site.platform.database.read() as connection:
        assert connection.execute(sa.text("SELECT owner FROM state")).all() == []
    tom.send_message(toms, "hi")
    tom.wait_message(toms, "echo hi")


def test_failed_handler_of_a_deleted_chat_stores_nothing(site: Site, gate: Gate) -> None:
    maria = site.sign_up()
    chat = maria.create_chat()
    maria.send_message(chat, "/slow raise theirword")
    assert gate.has_begun.wait(60)
    maria.delete(f"client-api/chat/{chat}")
    gate.open()
    assert find_rows(site.platform.database, "theirword", SECRET) == []
    assert site.running.delivery.dead_letters.list() == []


def test_crash_on_a_message_of_a_deleted_chat_leaves_nothing(
    make_site: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    site = make_site(make_bot(), handles=False)
    maria = site.sign_up()
    chat = maria.create_chat()
    maria.send_message(chat, SECRET)
    maria.send_message(chat, "second")
    store, conversation_key = site.running.delivery.store, str(conversation_of("helpdesk", chat, maria.id).key)
    with store.database.write() as connection:
        store.leases.claim(connection, conversation_key, "a process that died")
        assert store.mailbox.start_oldest(connection, conversation_key)
    maria.delete(f"client-api/chat/{chat}")

    other = make_site(make_bot(), database_url=f"sqlite:///{store.database.path}")  # type: ignore[attr-defined]
    other.running.delivery.start()
    wait_until(lambda: other.running.delivery.is_idle)
    assert find_rows(store.database, SECRET, "second", "'running'", "'waiting'") == []
    assert other.running.delivery.dead_letters.list() == []
    assert errors(caplog) == []


def test_webhook_messages_are_deleted_with_the_chat(site: Site, httpserver: HTTPServer) -> None:
    httpserver.expect_ordered_request("/hook").respond_with_data("")
    httpserver.expect_ordered_request("/hook").respond_with_data("", 503)
    bot_id, bot = site.external_bot()
    bot.post("bot-api/bot/webhook", {"url": httpserver.url_for("/hook"), "secret": "s"})
    maria = site.sign_up()
    chat = maria.create_chat(bot_id)
    maria.send_message(chat, f"{SECRET} told")
    wait_until(lambda: len(httpserver.log) == 1)
    maria.send_message(chat, f"{SECRET} refused")
    wait_until(lambda: len(httpserver.log) >= 2)
    maria.send_message(chat, f"{SECRET} waiting")

    maria.delete(f"client-api/chat/{chat}")
    assert find_rows(site.platform.database, SECRET) == []
    wait_until(lambda: site.running.delivery.is_idle)
    assert find_rows(site.platform.database, SECRET) == []
    assert site.running.delivery.dead_letters.list() == []


def test_message_to_a_deleted_chat_is_not_stored(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    maria = site.sign_up()
    chat = maria.create_chat()
    place = conversation_of("helpdesk", chat, maria.id)
    maria.delete(f"client-api/chat/{chat}")
    site.running.delivery.bots["helpdesk"].send(conversation=place, text=SECRET)
    wait_until(lambda: find_rows(site.platform.database, "'sent'", "'discarded'"))
    wait_until(lambda: site.running.delivery.is_idle)

    assert find_rows(site.platform.database, SECRET) == []
    assert site.running.delivery.dead_letters.list() == []
    assert errors(caplog) == []


def test_a_bot_writes_in_vain_to_a_user_who_never_was(site: Site) -> None:
    site.running.delivery.bots["helpdesk"].send(user="nobody", text="hi")
    [letter] = wait_until(lambda: site.running.delivery.dead_letters.list())
    assert "chat_not_found" in letter.error


def test_a_deleted_bots_chats_leave_nothing(site: Site, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/hook").respond_with_data("")
    bot_id, bot = site.external_bot()
    bot.post("bot-api/bot/webhook", {"url": httpserver.url_for("/hook"), "secret": "s"})
    maria: Person = site.sign_up()
    maria.send_message(maria.create_chat(bot_id), SECRET)
    wait_until(lambda: site.running.delivery.is_idle)
    assert site.admin.delete(f"admin-api/bot/{bot_id}").status_code == 200
    assert find_rows(site.platform.database, SECRET) == []
    with site.platform.database.read() as connection:
        assert site.platform.chat.conversations.list(connection, ALL_BOTS).items == []


@pytest.fixture
def dialog(site: Site) -> None:
    """A bot that asks, and keeps what it was told."""

    @site.running.delivery.bots["helpdesk"].command("ask")
    def ask(ctx: Context, *, what: str) -> str:
        kept = ctx.once(lambda: f"{SECRET} in a step")
        name = ctx.ask(f"{SECRET} question: {what}?", timeout="1h")
        return f"{kept} {name} {ctx.ask(f'{SECRET} second question?')}"


@pytest.mark.usefixtures("dialog")
@pytest.mark.parametrize("removes_user", [False, True])
def test_open_dialog_of_a_removed_chat_leaves_nothing(site: Site, removes_user: bool) -> None:
    maria = site.sign_up()
    chat = maria.create_chat()
    maria.send_message(chat, f"/ask {SECRET}")
    maria.wait_message(chat, f"{SECRET} question: {SECRET}?")
    maria.send_message(chat, f"{SECRET} answer")
    maria.wait_message(chat, f"{SECRET} second question?")
    wait_until(lambda: site.running.delivery.is_idle)
    assert find_rows(site.platform.database, f"{SECRET} in a step")

    if removes_user:
        with site.platform.database.write() as connection:
            assert delete_user(connection, site.platform.chat, maria.id)
    else:
        assert maria.delete(f"client-api/chat/{chat}").status_code == 200
    assert find_rows(site.platform.database, SECRET, "cometbot:dialogs") == []
    with site.platform.database.read() as connection:
        for table in (dialogs, steps, timers):
            assert connection.execute(sa.select(table)).all() == []


def test_handler_that_asks_in_a_chat_deleted_meanwhile_opens_no_dialog(site: Site) -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    @site.running.delivery.bots["helpdesk"].command("wait")
    def wait(ctx: Context) -> str:
        has_begun.set()
        assert may_end.wait(60)
        ctx.once(lambda: f"{SECRET} in a step")
        return ctx.ask(f"{SECRET} question?")

    maria = site.sign_up()
    chat = maria.create_chat()
    maria.send_message(chat, "/wait")
    assert has_begun.wait(60)
    assert maria.delete(f"client-api/chat/{chat}").status_code == 200
    may_end.set()
    wait_until(lambda: site.running.delivery.is_idle)
    assert find_rows(site.platform.database, SECRET, "cometbot:dialogs") == []
    with site.platform.database.read() as connection:
        for table in (dialogs, steps, timers):
            assert connection.execute(sa.select(table)).all() == []
