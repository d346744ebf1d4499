"""A request is handled once, whatever the client repeats, and its answer is kept for a while."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from cometbot import Bot, Context, Field, Form
from cometbot.channels.agui import rows
from cometbot.channels.agui.ids import scope_of
from cometbot.channels.agui.run_source import RunSource, Stopped
from cometbot.channels.agui.runs import Run
from cometbot.channels.agui.schemas import read_input
from cometbot.channels.agui.thread_runs import KEPT_RUNS, REPEAT_INTERVAL, ThreadRuns
from cometbot.chat import ChatMessage
from cometbot.chat.storage_quota import StorageLimits, StorageQuota
from cometbot.store.tables import mailbox
from tests.integration.channels.agui.conftest import Answer, MakeSite, Site, make_request


@pytest.fixture
def handled() -> list[str]:
    """The texts that the handler got, once for each of its runs."""
    return []


@pytest.fixture
def bot(handled: list[str]) -> Bot:
    bot = Bot("shop")

    @bot.message("stream")
    def stream(ctx: Context) -> None:
        handled.append(ctx.text)
        ctx.stream(["one ", "two"])

    @bot.message("fail")
    def fail(ctx: Context) -> None:
        handled.append(ctx.text)
        raise LookupError("no such order")

    @bot.message("later")
    def later(ctx: Context) -> str:
        handled.append(ctx.text)
        ctx.reply("One moment.")
        ctx.sleep("10s")
        return "Here it is."

    @bot.message("ask")
    def ask(ctx: Context) -> str:
        handled.append(ctx.text)
        return f"Size {ctx.ask('Which size?', choices=['S', 'M'])}"

    @bot.fallback
    def echo(ctx: Context) -> str:
        handled.append(ctx.text)
        return f"echo {ctx.text}"

    return bot


@pytest.fixture
def site(make_site: MakeSite, bot: Bot) -> Site:
    return make_site(bot)


def test_repeated_request_that_is_not_handled_yet_attaches_to_it(site: Site, handled: list[str]) -> None:
    site.begin(make_request("hello"))
    site.begin(make_request("hello"))
    site.begin(make_request("hello", run="r2"))
    unfinished = site.read(make_request("hello", run="r3"))
    assert (unfinished.last["type"], unfinished.last["code"]) == ("RUN_ERROR", "INTERRUPTED")

    site.handle()

    assert handled == ["hello"]
    answers = [site.read(make_request("hello", run=run)) for run in ("r1", "r2", "r3")]
    assert [answer.texts for answer in answers] == [["echo hello"]] * 3
    assert [answer.last["runId"] for answer in answers] == ["r1", "r2", "r3"]


@pytest.mark.parametrize("seconds", [0.0, REPEAT_INTERVAL - 1, REPEAT_INTERVAL + 1, 86_400.0])
def test_equal_request_gets_the_stored_answer_for_a_minute(site: Site, handled: list[str], seconds: float) -> None:
    site.ask(make_request("stream"))
    site.bot_client.advance(seconds)

    again = site.ask(make_request("stream", run="r2"))

    assert again.texts == ["one two"]
    assert len(handled) == (1 if seconds < REPEAT_INTERVAL else 2)


def test_request_with_the_same_run_is_never_handled_again(site: Site, handled: list[str]) -> None:
    site.ask(make_request("stream"))
    site.bot_client.advance("7d")

    assert site.ask(make_request("stream")).texts == ["one two"]
    assert len(handled) == 1


def test_third_equal_request_is_handled_again_too(site: Site, handled: list[str]) -> None:
    for run in ("r1", "r2", "r3"):
        assert site.ask(make_request("hello", run=run)).texts == ["echo hello"]
        site.bot_client.advance("2m")
    assert handled == ["hello"] * 3


def test_stored_answer_of_a_stream_is_one_piece(site: Site) -> None:
    site.ask(make_request("stream"))
    pieces = [event["delta"] for event in site.read(make_request("stream", run="r2")).events if "delta" in event]
    assert pieces == ["one two"]


def test_failure_is_told_again_and_not_repeated(site: Site, bot: Bot, handled: list[str]) -> None:
    for _ in range(2):
        answer = site.ask(make_request("fail"))
        assert answer.texts == [bot.error_text]
        assert (answer.last["type"], answer.last["code"]) == ("RUN_ERROR", "HANDLER_FAILED")
    assert handled == ["fail"]


def test_other_texts_under_the_same_ids_are_another_request(site: Site, handled: list[str]) -> None:
    site.ask(make_request("one"))
    assert site.ask(make_request("two")).texts == ["echo two"]
    assert handled == ["one", "two"]


def test_same_text_later_in_the_thread_is_another_request(site: Site, handled: list[str]) -> None:
    site.ask(make_request("yes"))
    assert site.ask(make_request("yes", "echo yes", "yes", run="r2")).texts == ["echo yes"]
    assert handled == ["yes", "yes"]


def test_requests_at_once_each_get_their_own_answer(site: Site, handled: list[str]) -> None:
    bodies = [make_request(text, run=text) for text in ("one", "stream", "fail", "two")]
    for body in bodies:
        site.begin(body)
    site.handle()

    texts = [site.read(body).texts for body in bodies]
    assert [texts[0], texts[1], texts[3]] == [["echo one"], ["one two"], ["echo two"]]
    assert handled == ["one", "stream", "fail", "two"]


def test_what_is_said_while_no_request_is_open_comes_with_the_next_answer(site: Site) -> None:
    assert site.ask(make_request("later")).texts == ["One moment."]
    site.bot_client.advance("10s")

    second = make_request("later", "One moment.", "hello", run="r2")
    assert site.ask(second).texts == ["Here it is.", "echo hello"]
    assert site.read(second).texts == ["Here it is.", "echo hello"]
    third = make_request("later", "One moment.", "hello", "Here it is.\necho hello", "bye", run="r3")
    assert site.ask(third).texts == ["echo bye"]


def test_late_words_do_not_change_the_answer_before_them(site: Site) -> None:
    site.ask(make_request("later"))
    site.bot_client.advance("10s")
    assert site.read(make_request("later")).texts == ["One moment."]


def test_retry_by_hand_opens_the_next_answer(make_site: MakeSite) -> None:
    bot, orders = Bot("shop"), set[str]()

    @bot.fallback
    def answer(ctx: Context) -> str:
        if not orders:
            raise LookupError("no such order")
        return f"echo {ctx.text}"

    site = make_site(bot)
    assert site.ask(make_request("one")).last["code"] == "HANDLER_FAILED"
    orders.add("1")
    [letter] = site.bot_client.dead_letters
    site.delivery.retry(letter.id)
    site.handle()

    assert site.read(make_request("one")).last["code"] == "HANDLER_FAILED"
    assert site.ask(make_request("one", str(bot.error_text), "two", run="r2")).texts == ["echo one", "echo two"]


def test_bot_writes_first_to_the_newest_thread_of_a_user(make_site: MakeSite, bot: Bot) -> None:
    site = make_site(bot, user_header="X-User")
    maria = {"X-User": "maria"}
    for thread in ("old", "new"):
        site.ask(make_request("hello", thread=thread), headers=maria)
        site.bot_client.advance(1)
    bot.send(user="maria", channel="agui", text="Your order is out.")
    site.handle()

    later = {name: make_request("hello", "echo hello", "and?", thread=name, run="r2") for name in ("old", "new")}
    assert site.ask(later["old"], headers=maria).texts == ["echo and?"]
    assert site.ask(later["new"], headers=maria).texts == ["Your order is out.", "echo and?"]


def test_message_to_a_user_without_a_thread_is_a_dead_letter(site: Site, bot: Bot) -> None:
    bot.send(user="nobody", channel="agui", text="Hello?")
    site.handle()
    [letter] = site.bot_client.dead_letters
    assert "nobody has no thread with shop" in letter.error


def test_thread_of_another_user_is_forbidden(make_site: MakeSite, bot: Bot, handled: list[str]) -> None:
    site = make_site(bot, user_header="X-User")
    site.ask(make_request("secret"), headers={"X-User": "maria"})

    for body in (make_request("secret"), make_request("secret", run="r2"), make_request("other", run="r3")):
        assert site.read(body, headers={"X-User": "tom"}).error == (403, "ERR_FORBIDDEN")
    assert handled == ["secret"]


def test_threads_and_users_have_their_own_answers(make_site: MakeSite) -> None:
    bot = Bot("shop")
    bot.fallback(lambda ctx: f"{ctx.sender_id} in {ctx.conversation.id}: {ctx.text}")
    site = make_site(bot)
    assert site.ask(make_request("hi", thread="a")).texts == ["a in a: hi"]
    assert site.ask(make_request("hi", thread="b")).texts == ["b in b: hi"]


def test_interrupt_is_answered_by_resume_once(site: Site, handled: list[str]) -> None:
    asked = site.ask(make_request("ask"))
    [interrupt] = asked.last["outcome"]["interrupts"]
    assert interrupt["responseSchema"] == {"enum": ["S", "M"]}
    resume = [{"interruptId": interrupt["id"], "status": "resolved", "payload": "M"}]

    for run in ("r2", "r3"):
        answer = site.ask(make_request("ask", run=run, resume=resume))
        assert answer.texts == ["Size M"]
    site.bot_client.advance("2m")
    over = site.ask(make_request("ask", run="r4", resume=resume))
    assert (over.last["type"], over.last["code"]) == ("RUN_ERROR", "NOT_OPEN")
    assert handled == ["ask", "ask"]


def test_answer_that_does_not_fit_is_followed_by_another_at_once(site: Site) -> None:
    [interrupt] = site.ask(make_request("ask")).last["outcome"]["interrupts"]

    def resume(payload: str, run: str) -> Answer:
        entry = {"interruptId": interrupt["id"], "status": "resolved", "payload": payload}
        return site.ask(make_request("ask", run=run, resume=[entry]))

    assert resume("XXL", "r2").last["outcome"]["interrupts"] == [interrupt]
    assert resume("M", "r3").texts == ["Size M"]
    assert resume("S", "r4").last["code"] == "NOT_OPEN"


@pytest.mark.parametrize("payload", ["", "  ", None])
def test_nothing_is_no_answer_to_a_question_for_a_text(make_site: MakeSite, payload: object) -> None:
    bot = Bot("shop")
    bot.message("name")(lambda ctx: f"Hello, {ctx.ask('Your name?')}!")
    answer = resume_last(make_site(bot), "name", payload)
    assert answer.texts == ["Please answer with a text."]
    assert answer.last["outcome"]["interrupts"]


@pytest.mark.parametrize("payload", [4, "4"])
def test_number_is_an_answer_to_a_field_of_a_form(make_site: MakeSite, payload: object) -> None:
    bot = Bot("shop")
    form = Form("Order", [Field("number", "Number", kind="number")])
    bot.message("form")(lambda ctx: f"{ctx.ask(form)}")
    assert resume_last(make_site(bot), "form", payload).texts == ["{'number': 4}"]


def test_null_in_a_form_is_an_empty_field(make_site: MakeSite) -> None:
    bot = Bot("shop")
    form = Form("Order", [Field("name", "Name"), Field("note", "Note", optional=True)])
    bot.message("form")(lambda ctx: f"{ctx.ask(form)}")
    answer = resume_last(make_site(bot), "form", {"name": "Maria", "note": None})
    assert "null" not in answer.texts[0]


def resume_last(site: Site, text: str, payload: object) -> Answer:
    """Ask with a text, and return the answer to what is said to its interrupt."""
    [interrupt] = site.ask(make_request(text)).last["outcome"]["interrupts"]
    entry = {"interruptId": interrupt["id"], "status": "resolved", "payload": payload}
    return site.ask(make_request(text, run="r2", resume=[entry]))


def test_interrupt_is_answered_by_the_next_message_too(site: Site) -> None:
    asked = site.ask(make_request("ask"))
    assert site.ask(make_request("ask", asked.texts[0], "M", run="r2")).texts == ["Size M"]


def test_old_rows_are_deleted_with_their_requests(site: Site, handled: list[str]) -> None:
    thread: list[str] = []
    for number in range(3 * KEPT_RUNS):
        thread.append(f"message {number}")
        [text] = site.ask(make_request(*thread, run=f"r{number}")).texts
        thread.append(text)

    stored = [row.payload["kind"] for row in site.rows()]
    assert stored.count(rows.TEXT) <= KEPT_RUNS
    assert stored.count(rows.REQUEST) == 1
    assert len(handled) == 3 * KEPT_RUNS
    assert site.read(make_request(*thread[:-1], run="again")).texts == [thread[-1]]


def test_forgotten_request_is_handled_anew(site: Site, handled: list[str]) -> None:
    site.ask(make_request("first"))
    for number in range(KEPT_RUNS + 1):
        site.ask(make_request(f"message {number}", run=f"n{number}"))
    handled.clear()

    assert site.ask(make_request("first")).texts == ["echo first"]
    assert handled == ["first"]


def test_bots_do_not_share_threads(make_site: MakeSite) -> None:
    def make(name: str) -> Bot:
        bot = Bot(name)
        bot.fallback(lambda ctx: f"{name}: {ctx.text}")
        return bot

    sites = [make_site(make(name)) for name in ("shop", "help")]
    texts = [site.ask(make_request("hi"), bot=site.bot_client.bot.name).texts for site in sites]
    assert texts == [["shop: hi"], ["help: hi"]]


def test_history_is_what_the_client_sent(make_site: MakeSite) -> None:
    bot, seen = Bot("shop"), list[list[str]]()

    @bot.fallback
    def answer(ctx: Context) -> str:
        seen.append([f"{event.sender.uid}: {event.text}" for event in ctx.history(10)])
        return "Two."

    site = make_site(bot)
    site.ask(make_request("a", "edited by the client", "b"))
    assert seen == [["t: a", "shop: edited by the client", "t: b"]]


def test_what_a_retried_dead_letter_says_opens_the_next_answer(site: Site, bot: Bot) -> None:
    failing = [True]

    @bot.message("sometimes")
    def sometimes(ctx: Context) -> str:
        if failing:
            raise LookupError("no such order")
        return "found"

    assert site.ask(make_request("sometimes")).last["type"] == "RUN_ERROR"
    failing.clear()
    [letter] = site.delivery.dead_letters.list()
    site.delivery.retry(letter.id)
    site.handle()

    assert site.ask(make_request("hello", run="r2")).texts == ["found", "echo hello"]
    assert site.ask(make_request("bye", run="r3")).texts == ["echo bye"]


def test_earlier_messages_are_stored_with_the_newest_request_only(site: Site) -> None:
    first, second = make_request("one", "echo one", "two"), make_request("one", "echo one", "two", "echo two", "three")
    site.ask(first)
    site.ask(second)

    requests = [row for row in site.rows() if row.payload["kind"] == rows.REQUEST]
    assert [len(row.payload["messages"]) for row in requests] == [5]
    with site.delivery.database.read() as connection:
        bodies = connection.execute(sa.select(mailbox.c.body)).scalars().all()
    assert [[item["content"] for item in json.loads(body)["input"]["messages"]] for body in bodies] == [
        ["two"],
        ["three"],
    ]


def test_stored_answer_is_repeated_while_the_database_is_full(site: Site) -> None:
    site.ask(make_request("hello"))
    chat = site.channel.chat
    chat.quota = StorageQuota(chat.database, StorageLimits(database=1))

    assert site.read(make_request("hello")).texts == ["echo hello"]
    assert site.read(make_request("more", run="r2")).error == (507, "ERR_STORAGE_FULL")


def test_repeated_request_reads_no_later_answers(site: Site) -> None:
    thread = ["one", *site.ask(make_request("one")).texts, "two"]
    site.ask(make_request(*thread, run="r2"))
    chat = site.channel.chat
    with chat.database.read() as connection:
        stored = chat.conversations.get(connection, scope_of("shop"), "t")
        assert stored is not None
        found = ThreadRuns(connection, chat, stored).find_equal(read_input(make_request("one")))
    assert found is not None

    source = RunSource(chat, Run.from_stored(stored, found, is_new=False), lifetime=60)
    items = [source.get(0) for _ in range(3)]
    assert [item.payload["kind"] for item in items if isinstance(item, ChatMessage)] == [rows.TEXT, rows.END]
    assert items[2] is Stopped.CLOSED
