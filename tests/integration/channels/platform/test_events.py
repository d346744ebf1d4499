"""The stream of the web chat: replies, typing, pieces and changes the moment they are there."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cometbot import Bot, Context
from cometbot.channels.platform.ids import ALL_BOTS, conversation_of
from cometbot.channels.platform.views.events import MAX_STREAMS_PER_USER
from cometbot.messages import Text
from tests.integration.channels.platform.conftest import Person, Site, make_bot, wait_until

Frame = tuple[str, Any]


class Stream:
    """An open stream, read as far as it is asked for; ``sizes`` are the bytes that came, by event."""

    def __init__(self, person: Person) -> None:
        self.answer = person.get("page-api/events")
        self.sizes: Counter[str] = Counter()
        self._frames = self._read()

    def _read(self) -> Iterator[Frame]:
        for piece in self.answer.response:
            fields = dict(line.split(": ", 1) for line in piece.decode().splitlines() if ": " in line)
            if "event" in fields:
                self.sizes[fields["event"]] += len(piece)
                yield fields["event"], json.loads(fields["data"])

    def next(self, *kinds: str) -> Frame:
        """The next frame of one of these kinds."""
        return next(frame for frame in self._frames if not kinds or frame[0] in kinds)

    def close(self) -> None:
        self.answer.close()


@contextmanager
def open_stream(person: Person) -> Iterator[Stream]:
    stream = Stream(person)
    try:
        assert stream.next() == ("hello", {})
        yield stream
    finally:
        stream.close()


def test_a_reply_appears_with_its_html_and_so_do_ones_own_words(maria: Person) -> None:
    chat = maria.create_chat()
    with open_stream(maria) as stream:
        said = maria.send_message(chat, "**hi**", clientId="a1")
        own = stream.next("message")[1]
        reply = stream.next("message")[1]

    assert (own["id"], own["clientId"], own["senderId"]) == (said["id"], "a1", maria.id)
    assert (reply["chatId"], reply["senderId"], reply["body"]) == (chat, "helpdesk", "echo **hi**")
    assert "<strong>hi</strong>" in reply["html"]


def test_typing_is_shown_while_a_handler_works(maria: Person) -> None:
    chat = maria.create_chat()
    with open_stream(maria) as stream:
        maria.send_message(chat, "hi")
        seen = [stream.next("typing", "message") for _ in range(4)]

    # What is stored and what is only shown travel apart: neither waits for the other.
    assert [data["body"] for kind, data in seen if kind == "message"] == ["hi", "echo hi"]
    assert [data["on"] for kind, data in seen if kind == "typing"] == [True, False]
    assert all(data["chatId"] == chat for _, data in seen)


def test_status_is_shown_until_the_bot_says_something(make_site: Callable[..., Site]) -> None:
    bot = Bot("helpdesk")

    @bot.fallback
    def search(ctx: Context) -> None:
        ctx.status("searching…")
        ctx.reply("found")

    maria = make_site(bot).sign_up()
    chat = maria.create_chat()
    with open_stream(maria) as stream:
        maria.send_message(chat, "hi")
        seen = []
        while not seen or seen[-1]["on"]:
            seen.append(stream.next("typing")[1])

    assert [data["text"] for data in seen] == ["", "searching…", "", ""]


def test_chats_made_renamed_and_deleted_in_another_tab_show_here(maria: Person) -> None:
    with open_stream(maria) as stream:
        chat = maria.create_chat()
        made = stream.next("chat")[1]
        maria.call_api("PATCH", f"page-api/chat/{chat}", json={"title": "Tea"})
        renamed = stream.next("chat")[1]
        maria.send_message(chat, "hi")
        heard = stream.next("message")[1]
        maria.delete(f"client-api/chat/{chat}")
        gone = stream.next("chat-removed")[1]

    assert (made["id"], made["title"]) == (chat, "")
    assert renamed["title"] == "Tea"
    assert heard["chatId"] == chat
    assert gone == {"id": chat}


def test_what_a_bot_says_of_its_own_accord_appears_too(site: Site, maria: Person) -> None:
    chat = maria.create_chat()
    bot = site.running.delivery.bots["helpdesk"]
    with open_stream(maria) as stream:
        bot.send(user=maria.id, text="Your order is out.")
        heard = stream.next("message")[1]

    assert (heard["chatId"], heard["body"]) == (chat, "Your order is out.")


def test_a_bot_that_writes_first_opens_a_chat(site: Site, maria: Person) -> None:
    bot = site.running.delivery.bots["helpdesk"]
    bot.send(user=maria.id, text="Welcome!")
    [chat] = wait_until(lambda: maria.get("client-api/chats?bot_id=helpdesk").json)

    assert maria.wait_message(chat["id"], "Welcome!")


def test_edits_and_deletions_of_a_bot_show(make_site: Callable[..., Site]) -> None:
    bot = Bot("editor")
    seen = threading.Semaphore(0)  # who hears of a message late hears of it as it is by then

    @bot.message("edit")
    def edit(ctx: Context) -> None:
        sent = ctx.reply("working")
        assert seen.acquire(timeout=60)
        sent.edit("done")

    @bot.message("delete")
    def delete(ctx: Context) -> None:
        sent = ctx.reply("oops")
        assert seen.acquire(timeout=60)
        sent.delete()

    maria = make_site(bot).sign_up()
    chat = maria.create_chat("editor")
    with open_stream(maria) as stream:
        maria.send_message(chat, "edit")
        shown = [stream.next("message")[1] for _ in range(2)]
        seen.release()
        shown.append(stream.next("message")[1])
        maria.send_message(chat, "delete")
        oops = [stream.next("message")[1] for _ in range(2)][1]
        seen.release()
        removed = stream.next("removed")[1]

    assert [message["body"] for message in shown] == ["edit", "working", "done"]
    assert shown[1]["id"] == shown[2]["id"]
    assert removed == {"chatId": chat, "id": oops["id"]}
    assert maria.bodies(chat) == ["edit", "done", "delete"]


def test_a_stream_of_words_grows_and_ends_as_one_message(make_site: Callable[..., Site]) -> None:
    bot = Bot("talker")
    goes_on = threading.Event()

    @bot.fallback
    def tell(ctx: Context) -> None:
        def words() -> Iterator[str]:
            yield "one **two**"
            assert goes_on.wait(60)
            yield " three"

        ctx.stream(words())

    maria = make_site(bot).sign_up()
    chat = maria.create_chat("talker")
    with open_stream(maria) as stream:
        maria.send_message(chat, "go")
        first = stream.next("delta")[1]
        goes_on.set()
        second = stream.next("delta")[1]
        whole = next(data for _, data in iter(lambda: stream.next("message"), None) if data["senderId"] == "talker")

    assert (first["chatId"], first["sequence"], first["text"]) == (chat, 0, "one **two**")
    assert (second["sequence"], second["text"]) == (1, " three")
    assert whole["body"] == "one **two** three"
    assert first["id"] == second["id"] == whole["streamId"]


def test_a_long_piece_of_many_bytes_is_shown_too(make_site: Callable[..., Site]) -> None:
    bot, text = Bot("talker"), "\U0001f600" * 3000

    @bot.fallback
    def tell(ctx: Context) -> None:
        ctx.stream([text, " end"])

    maria = make_site(bot).sign_up()
    chat = maria.create_chat("talker")
    with open_stream(maria) as stream:
        maria.send_message(chat, "go")
        pieces = [stream.next("delta")[1] for _ in range(9)]

    assert "".join(piece["text"] for piece in pieces) == f"{text} end"
    assert [piece["sequence"] for piece in pieces] == list(range(9))


def test_the_updates_of_a_stream_cost_at_most_twice_its_text(make_site: Callable[..., Site]) -> None:
    bot, words = Bot("talker"), ["four "] * 2800

    @bot.fallback
    def tell(ctx: Context) -> None:
        ctx.stream(words)

    maria = make_site(bot).sign_up()
    chat = maria.create_chat("talker")
    with open_stream(maria) as stream:
        maria.send_message(chat, "go")
        while stream.next("delta", "message")[1].get("senderId") != "talker":
            pass

    assert stream.sizes["delta"] <= 2 * len("".join(words))
    assert stream.sizes["delta"] >= len("".join(words))


def test_a_stream_that_fails_is_given_up(make_site: Callable[..., Site]) -> None:
    bot = Bot("talker", error_text="Sorry.")

    @bot.fallback
    def tell(ctx: Context) -> None:
        def words() -> Iterator[str]:
            yield "one"
            raise ValueError("no more words")

        ctx.stream(words())

    maria = make_site(bot).sign_up()
    chat = maria.create_chat("talker")
    with open_stream(maria) as stream:
        maria.send_message(chat, "go")
        first, given_up = stream.next("delta")[1], stream.next("delta")[1]

    assert (first["text"], given_up["text"], given_up["id"]) == ("one", None, first["id"])


def test_stream_has_only_the_users_own_chats(site: Site, maria: Person) -> None:
    tom = site.sign_up("Tom")
    with open_stream(tom) as stream:
        maria.send_message(maria.create_chat(), "secret")
        tom.send_message(tom.create_chat(), "mine")
        heard = {}
        while "echo mine" not in heard.values():
            message = stream.next("message")[1]
            heard[message["id"]] = message["body"]

    assert list(heard.values()) == ["mine", "echo mine"]


def test_a_stream_needs_somebody_who_is_logged_in(site: Site) -> None:
    answer = site.anonymous.get("page-api/events")

    assert (answer.status_code, answer.json) == (401, {"message": "User is unauthorized."})


def test_one_user_has_not_endlessly_many_streams(maria: Person) -> None:
    streams = [Stream(maria) for _ in range(MAX_STREAMS_PER_USER)]
    try:
        refused = maria.get("page-api/events")
        assert (refused.status_code, list(refused.json)) == (429, ["message"])
        assert int(refused.headers["Retry-After"]) >= 1
    finally:
        for stream in streams:
            stream.close()
    with open_stream(maria):
        pass


def test_one_address_does_not_take_the_streams_of_all(make_site: Callable[..., Site]) -> None:
    site = make_site(make_bot(), address_streams=2)
    maria, tom = site.sign_up(), site.sign_up()
    with open_stream(maria), open_stream(tom):
        refused = tom.get("page-api/events")
        assert (refused.status_code, list(refused.json)) == (429, ["message"])
        assert int(refused.headers["Retry-After"]) >= 1
        elsewhere = tom.get("page-api/events", environ_base={"REMOTE_ADDR": "192.0.2.7"})
        assert elsewhere.status_code == 200
        elsewhere.close()
    with open_stream(maria):
        pass


def test_stream_limit_response_has_retry_after(make_site: Callable[..., Site]) -> None:
    maria = make_site(make_bot(), streams=0).sign_up()
    refused = maria.get("page-api/events")

    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 1


def test_a_message_in_another_process_appears_here(make_site: Callable[..., Site], tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    here, there = make_site(database_url=url), make_site(database_url=url)
    maria = here.sign_up()
    chat = maria.create_chat()
    with open_stream(maria) as stream:
        where = conversation_of("helpdesk", chat, maria.id)
        bot = there.running.delivery.bots["helpdesk"]
        bot.send(conversation=where, message=Text("from there"))
        heard = stream.next("message")[1]

    assert heard["body"] == "from there"


@pytest.mark.parametrize("way", ["user", "bot"])
def test_when_user_or_bot_is_removed_the_chats_go_from_the_page(site: Site, maria: Person, way: str) -> None:
    bot_id, _ = site.external_bot()
    chat = maria.create_chat(bot_id)
    with open_stream(maria) as stream:
        if way == "bot":
            site.admin.delete(f"admin-api/bot/{bot_id}")
        else:
            chat_server = site.platform.chat
            chat_server.commit(lambda connection: chat_server.users.delete(connection, ALL_BOTS, maria.id))
        gone = stream.next("chat-removed")[1]

    assert gone == {"id": chat}
