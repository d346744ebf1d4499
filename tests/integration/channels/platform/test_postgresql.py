"""The platform on PostgreSQL: the same, with web processes that only take in and a worker that answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from cometbot import Context
from cometbot.channels.platform.chat_service import delete_user
from cometbot.channels.platform.ids import ALL_BOTS, delivery_records
from tests.integration.channels.platform.conftest import PNG, Site, make_bot, wait_until
from tests.integration.channels.platform.test_events import open_stream


@pytest.fixture
def site(make_site: Callable[..., Site], postgres_url: str) -> Site:
    return make_site(database_url=postgres_url)


@pytest.fixture
def worker(make_site: Callable[..., Site], postgres_url: str) -> Iterator[Site]:
    """Another process' view of the same database, which handles."""
    worker = make_site(make_bot(), database_url=postgres_url)
    worker.running.delivery.start()
    yield worker
    worker.running.delivery.stop()


def test_reply_of_a_worker_process_appears_at_once(site: Site, worker: Site) -> None:
    maria = site.sign_up()
    chat = maria.create_chat()
    with open_stream(maria) as stream:
        said = maria.send_message(chat, "/track 4711")
        frames = [stream.next("typing", "message") for _ in range(4)]

    typing = [data["on"] for kind, data in frames if kind == "typing"]
    own, reply = (data for kind, data in frames if kind == "message")
    assert typing == [True, False]
    assert own["id"] == said["id"]
    assert reply["body"] == "Order 4711 is on its way, Maria."
    assert reply["timestamp"] > said["timestamp"]


def test_bots_files_and_the_config_work_on_it_too(site: Site) -> None:
    maria = site.sign_up()
    bot_id, bot = site.external_bot()
    chat = maria.create_chat(bot_id)
    [file] = maria.upload(("p.png", PNG)).json
    bot.post("bot-api/bot/commands", [{"alias": "help"}])
    bot.post("bot-api/bot/commands", [{"alias": "help", "description": "new"}])
    maria.send_message(chat, "a\0b", attachmentIds=[file["id"]], clientId="c1")
    maria.send_message(chat, "a\0b", clientId="c1")
    bot.post("bot-api/chat/message", {"chatId": chat, "body": "reply"})

    assert maria.bodies(chat) == ["a\ufffdb", "reply"]
    assert [command["description"] for command in bot.get("bot-api/bot/commands").json] == ["new"]
    assert site.admin.put("admin-api/config").status_code == 200
    assert maria.call_api("PATCH", f"page-api/chat/{chat}", json={"title": "Tea"}).json["title"] == "Tea"
    assert site.admin.delete(f"admin-api/bot/{bot_id}").status_code == 200
    assert maria.get("page-api/start").json["chats"] == []


@pytest.mark.parametrize(
    "path",
    [
        "client-api/bot/%00",
        "client-api/chats?bot_id=%00",
        "client-api/chat/%00/messages",
        "page-api/chat/%ED%A0%80/messages",
        "client-api/chat/x/messages?since=999999999999999999&page=999999999999999999",
    ],
)
def test_what_postgresql_would_choke_on_is_unknown(site: Site, path: str) -> None:
    assert site.sign_up().get(path).status_code in (400, 404)


def test_concurrent_requests_respect_the_chat_limit(site: Site) -> None:
    from concurrent.futures import ThreadPoolExecutor

    maria = site.sign_up()
    cookie = {"Cookie": f"token={maria.client.get_cookie('token').value}"}  # type: ignore[union-attr]

    def make(_: int) -> int:
        client = site.app.test_client(use_cookies=False)
        return client.post("/v1/client-api/chat", json={"botId": "helpdesk"}, headers=cookie).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(make, range(16)))

    assert sorted(statuses) == [201] * 10 + [400] * 6


@pytest.mark.parametrize("what", ["user", "chat"])
def test_state_of_what_is_deleted_during_a_handler_is_dropped(site: Site, worker: Site, what: str) -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    @worker.running.delivery.bots["helpdesk"].message("slowly")
    def slowly(ctx: Context) -> None:
        has_begun.set()
        assert may_end.wait(10)
        ctx.state["it"] = ctx.user_state["it"] = 1

    maria = site.sign_up()
    chat = maria.create_chat()
    maria.send_message(chat, "remember")
    maria.wait_message(chat, "noted")
    maria.send_message(chat, "slowly")
    assert has_begun.wait(10)
    server = site.platform.chat
    with server.database.write() as connection:
        if what == "user":
            assert delete_user(connection, server, maria.id)
        else:
            found = server.conversations.get(connection, ALL_BOTS, chat)
            assert found is not None
            assert server.delete_conversations(connection, [found], delivery_records)
    may_end.set()

    wait_until(lambda: worker.running.delivery.is_idle)
    with server.database.read() as connection:
        left = set(connection.execute(sa.text("SELECT owner FROM state")).scalars())
    assert left == (set() if what == "user" else {f"platform/platform/helpdesk/{maria.id}"})
