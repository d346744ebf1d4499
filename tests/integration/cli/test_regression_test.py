"""Stored conversations as tests: what is written runs against the same bot, and fails against another."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cometbot import (
    Bot,
    Button,
    Card,
    ClientTool,
    ContactEvent,
    Context,
    DeleteEvent,
    EditEvent,
    Field,
    Form,
    Media,
    MembershipEvent,
    ReactionEvent,
    Tool,
    ToolCall,
    Turn,
    User,
)
from cometbot.cli.regression_test import Subject, write_test
from cometbot.errors import DeliveryError
from cometbot.inspection.stored_conversations import load_conversation
from cometbot.testing import BotClient
from cometbot.testing.fakes.agui import AguiFake
from cometbot.testing.fakes.cometchat import CometChatFake

CHANNELS = ["fake", "cometchat", "chat_api", "platform", "simplex", "agui"]


def make_bot(**texts: str) -> Bot:
    """Return a bot that uses most of what a conversation can have; ``texts`` replace its own."""
    bot = Bot("shop")

    @bot.event(ContactEvent)
    def welcome(ctx: Context) -> str:
        return "Welcome!"

    @bot.message("hi")
    def greet(ctx: Context) -> str:
        ctx.reply("One moment.")
        return texts.get("greet", f"Hello {ctx.sender.name}!")

    @bot.command("tea")
    def tea(ctx: Context) -> Card:
        return Card("Earl Grey", "A **bold** tea.", buttons=[Button("Buy", "buy", "earl-grey")])

    @bot.action("buy")
    def buy(ctx: Context, what: str) -> str:
        return f"{what} is yours."

    @bot.command("order")
    def order(ctx: Context) -> str:
        kind = ctx.ask("Which tea?", choices=["green", "black"])
        count = ctx.ask("How many?", type=int)
        ctx.sleep("3m")
        return texts.get("order", f'Your {count} "{kind}" teas are ready.\nIt\'s hot: \\o/')

    @bot.command("form")
    def form(ctx: Context) -> str:
        several = Field("extras", kind="multi_select", options=["milk", "sugar"])
        return str(ctx.ask(Form("Order", [Field("size"), several, Field("note", optional=True)])))

    @bot.command("count")
    def count(ctx: Context) -> None:
        ctx.stream(f"{number} " for number in range(5))

    @bot.command("edit")
    def edit(ctx: Context) -> None:
        if ctx.capabilities.edit:
            ctx.reply("Working").edit(f"Done {'x' * 100}")

    @bot.command("picture")
    def picture(ctx: Context) -> Media:
        return Media("https://example.com/cup.png", caption="A cup")

    @bot.fallback
    def look(ctx: Context) -> str | None:
        return f"A file: {ctx.attachments[0].name}" if ctx.attachments else None

    return bot


def talk(client: BotClient) -> None:
    """Do what the bot understands. The answers are sent so that every channel's own form of questions is used."""
    for text in ("hi", "/tea"):
        client.send(text)
    client.press("Buy")
    client.send("/order")
    client.press("black")
    client.send("many")
    client.send("4")
    client.advance("3m")
    for text in ("/count", "/edit", "/picture", "nothing"):
        client.send(text)
    client.send_image(b"pixels", caption="Look")
    client.send("/form")
    client.fill(size="L", extras=["milk", "sugar"])


def write(client: BotClient, last: int | None = None, *, keeps_users: bool = False, **settings: str) -> str:
    """Return the test of the client's conversation."""
    store = client._harness.delivery.store
    conversation = load_conversation(store, client.conversation.id, last)
    subject = Subject(client.bot, "shop_bot", "bot", client.channel, **settings)
    return write_test(conversation, subject, keeps_users=keeps_users)


def run(source: str, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test in this process."""
    module: Any = type(sys)("shop_bot")
    module.bot = bot
    monkeypatch.setitem(sys.modules, "shop_bot", module)
    found: dict[str, Any] = {}
    exec(compile(source, "test_stored.py", "exec"), found)
    [function] = [value for name, value in found.items() if name.startswith("test_")]
    function()


@pytest.fixture
def open_client() -> Iterator[Callable[..., BotClient]]:
    clients: list[BotClient] = []

    def open_(bot: Bot, **options: Any) -> BotClient:
        clients.append(BotClient(bot, **options))
        return clients[-1]

    yield open_
    for client in clients:
        client.close()


Open = Callable[..., BotClient]


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_conversation_passes_and_fails_with_another_reply(
    open_client: Open, monkeypatch: pytest.MonkeyPatch, channel: str
) -> None:
    client = open_client(make_bot(), channel=channel)
    talk(client)
    source = write(client)
    run(source, make_bot(), monkeypatch)
    for changed in ("greet", "order"):
        with pytest.raises(AssertionError):
            run(source, make_bot(**{changed: "Else."}), monkeypatch)


@pytest.mark.parametrize("rich", [{"rich": "interactive"}, {"rich": "card"}, {"rich": "card", "card_buttons": "url"}])
def test_rich_messages_of_cometchat_are_pressed(
    open_client: Open, monkeypatch: pytest.MonkeyPatch, rich: dict[str, Any]
) -> None:
    client = open_client(make_bot(), channel=partial(CometChatFake, **rich))
    talk(client)
    source = write(client, **rich)
    run(source, make_bot(), monkeypatch)
    assert ('client.press("Buy")' in source) == ("card_buttons" in rich)


@pytest.mark.parametrize("channel", ["fake", "cometchat", "chat_api", "simplex"])
def test_the_users_of_a_group_are_kept_apart(open_client: Open, monkeypatch: pytest.MonkeyPatch, channel: str) -> None:
    def make() -> Bot:
        bot = Bot("shop")

        @bot.message()
        def count(ctx: Context) -> str:
            ctx.user_state["count"] = ctx.user_state.get("count", 0) + 1
            return f"{ctx.sender.name}: {ctx.user_state['count']}"

        return bot

    maria = open_client(make(), channel=channel, user="maria", group="ops")
    for client in (maria, maria.as_user("ben", group="ops"), maria):
        client.send("tea", mention=True)
    source = write(maria)
    run(source, make(), monkeypatch)
    assert 'user_2.send("tea", mention=True)' in source
    assert "Maria" not in source
    assert "ops" not in source


def test_threads_quotes_and_reactions_refer_to_the_messages_of_the_test(
    open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make() -> Bot:
        bot = Bot("shop")

        @bot.message()
        def repeat(ctx: Context) -> str:
            ctx.react("👍")
            quoted = ctx.event.quote.text if ctx.event.quote else "nothing"
            return f"quoted {quoted}, thread {bool(ctx.event.thread_id)}"

        return bot

    client = open_client(make(), channel="cometchat")
    [reply] = client.send("a")
    client.send("b", quote=reply.id)
    client.send("c", thread=client.message_id)
    source = write(client)
    run(source, make(), monkeypatch)
    assert "quote=reply_1_0" in source
    assert "thread=message_2" in source
    assert 'client.fake.reactions(client.message_id) == ["👍"]' in source
    assert "began earlier" in write(client, last=1)


def test_other_events_are_repeated(open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> Bot:
        bot = Bot("shop")
        bot.message()(lambda ctx: "A message")
        bot.event(EditEvent)(lambda ctx: f"Edited: {ctx.event.message.text}")
        bot.event(DeleteEvent)(lambda ctx: "Deleted")
        bot.event(ReactionEvent)(lambda ctx: f"Reaction {ctx.event.reaction}")
        bot.event(MembershipEvent)(lambda ctx: f"Member {ctx.event.action}")
        return bot

    client = open_client(make(), channel="cometchat", group="ops")
    client.join()
    client.send("a", mention=True)
    client.react("👍")
    client.edit("b")
    client.delete()
    client.leave()
    source = write(client)
    run(source, make(), monkeypatch)
    for call in ("join()", 'react("👍")', 'edit("b")', "delete()", "leave()"):
        assert f"user_1.{call}" in source


def test_a_failed_message_is_sent_without_an_assertion(open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    bot, mended = Bot("shop"), Bot("shop")

    @bot.message()
    def fail(ctx: Context) -> None:
        raise ValueError("no tea")

    mended.message()(lambda ctx: "Tea!")
    client = open_client(bot, raise_errors=False)
    client.send("tea")
    source = write(client)
    assert "# m1 was not answered: ValueError: no tea." in source
    run(source, mended, monkeypatch)
    with pytest.raises(ValueError, match="no tea"):
        run(source, bot, monkeypatch)


def test_names_are_replaced_but_not_those_that_users_wrote(open_client: Open) -> None:
    client = open_client(make_bot(), user=User("maria", "Maria Keller"))
    client.send("hi")
    assert '["One moment.", "Hello User-1!"]' in write(client)
    assert "Maria" not in write(client)
    kept = write(client, keeps_users=True)
    assert 'user=User("maria", "Maria Keller")' in kept
    assert '"Hello Maria Keller!"' in kept
    client.send("I am Maria Keller.")
    assert '"Hello Maria Keller!"' in write(client)


def test_only_the_last_messages_are_written_on_request(open_client: Open) -> None:
    client = open_client(make_bot())
    for _ in range(3):
        client.send("hi")
    assert write(client).count("client.send(") == 3
    assert "Earlier messages" not in write(client, last=3)
    shorter = write(client, last=2)
    assert shorter.count("client.send(") == 2
    assert "Earlier messages are left out." in shorter


def test_an_approval_is_decided_without_its_number(open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> Bot:
        bot = Bot("shop")

        @bot.command("refund")
        def refund(ctx: Context) -> str:
            return "Refunded." if ctx.approve("Refund 5 €?", own=True) else "No."

        bot.message("hi")(lambda ctx: "Hello!")
        return bot

    client = open_client(make(), channel="simplex")
    for text in ("hi", "hi", "/refund"):
        client.send(text)
    client.press("Approve")
    source = write(client)
    assert 'client.press("Approve")' in source
    run(source, make(), monkeypatch)
    run(write(client, last=3), make(), monkeypatch)


@pytest.mark.parametrize("channel", CHANNELS)
def test_calls_of_a_model_are_approved_again(open_client: Open, monkeypatch: pytest.MonkeyPatch, channel: str) -> None:
    def make() -> Bot:
        bot = Bot("shop")

        @bot.tool(requires_approval=True)
        def refund(number: int) -> str:
            return f"order {number} refunded"

        @bot.fallback
        def answer(ctx: Context) -> None:
            ctx.run_agent(model)

        return bot

    def model(turns: Sequence[Turn], tools: Sequence[Tool]) -> Iterator[str | ToolCall]:
        if turns[-1].role == "tool":
            yield f"Result: {turns[-1].text}"
            return
        yield "One moment."
        yield ToolCall("refund", {"number": 17})

    client = open_client(make(), channel=channel)
    for button in ("Approve", "Decline"):
        client.send("refund")
        client.press(button)
    source = write(client)
    for call in ("Approve", "Decline"):
        assert f'client.press("{call}")' in source
    run(source, make(), monkeypatch)


@pytest.mark.parametrize("channel", ["fake", "agui"])
def test_tools_of_the_client_return_the_same(open_client: Open, monkeypatch: pytest.MonkeyPatch, channel: str) -> None:
    def make() -> Bot:
        bot = Bot("shop")

        @bot.command
        def trip(ctx: Context) -> str:
            first = ctx.call("pick_place", near="Rome")
            return f"To {first['name']} and {ctx.call('pick_place', near='Pisa')}."

        return bot

    client = open_client(make(), channel=channel, client_tools=[ClientTool("pick_place", "Pick.", {"type": "object"})])
    [asked] = client.send("/trip")
    client.answer_call({"name": "Ostia"})
    client.answer_call({"name": "Tivoli"}, call=asked)
    client.answer_call("=Lucca")
    source = write(client)
    assert 'client_tools=[ClientTool("pick_place")]' in source
    assert 'client.answer_call("=Lucca")' in source
    assert source.count("cannot be repeated") == (channel == "fake")  # on agui, the second result is the same event
    run(source, make(), monkeypatch)
    with pytest.raises(AssertionError):
        run(source.replace("=Lucca", "Lucca", 1), make(), monkeypatch)


def test_answers_to_interrupts_are_written(open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> Bot:
        bot = Bot("shop")

        @bot.message("tea")
        def tea(ctx: Context) -> str:
            return f"{ctx.ask('How many?', type=int)} {ctx.ask('Which?', choices=['green', 'black'])}"

        bot.fallback(lambda ctx: f"echo {ctx.text}")
        return bot

    client = open_client(make(), channel="agui")
    fake = client.fake
    assert isinstance(fake, AguiFake)
    for payloads in ([3, "black"], [None]):
        client.send("tea")
        for payload in payloads:
            [interrupt] = fake.read_answer()[-1]["outcome"]["interrupts"]
            fake.resume(interrupt["id"], payload, is_cancelled=payload is None)
            client.said()
    fake.resume("m9.0.0", "late")
    client.said()
    source = write(client)
    for line in ('client.send("3")', 'client.send("black")', 'client.send("/cancel")', "cannot be repeated"):
        assert source.count(line) == 1
    run(source, make(), monkeypatch)


@pytest.mark.parametrize("channel", CHANNELS)
def test_addresses_of_own_files_are_not_compared(
    channel: Any, open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make() -> Bot:
        bot = Bot("shop")

        @bot.command("report")
        def report(ctx: Context) -> list[Any]:
            return [Media(data=b"day,cups", name="march.csv", caption="The report"), "Done."]

        return bot

    client = open_client(make(), channel=channel)
    client.send("/report")
    source = write(client)

    assert "/files/" not in source
    assert "march.csv" in source
    assert 'replies[1].text == "Done."' in source
    run(source, make(), monkeypatch)


def test_erased_contents_are_left_out(open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    client = open_client(make_bot())
    client.send("hi")
    client.send("/tea")
    with client._harness.database.write() as connection:
        connection.exec_driver_sql("UPDATE mailbox SET body = x'' WHERE seq = 1")
        connection.exec_driver_sql("UPDATE outbox SET payload = '{}' WHERE event = 'm1'")
    source = write(client)
    assert "# m1 cannot be repeated: its content was erased." in source
    run(source, make_bot(), monkeypatch)


def test_erased_contents_of_a_group_are_left_out(open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    bot = Bot("shop")
    bot.message()(lambda ctx: f"{ctx.text}!")
    maria = open_client(bot, user="maria", group="ops")
    maria.send("tea", mention=True)
    maria.as_user("ben", group="ops").send("milk", mention=True)
    with maria._harness.database.write() as connection:
        connection.exec_driver_sql("UPDATE mailbox SET body = x'' WHERE seq = 1")
    source = write(maria)
    assert "# m1 cannot be repeated: its content was erased." in source
    assert 'user_1.send("milk", mention=True)' in source
    run(source, bot, monkeypatch)


@pytest.mark.parametrize("group", ["", "ops"])
def test_a_timer_without_its_user_is_left_out(open_client: Open, monkeypatch: pytest.MonkeyPatch, group: str) -> None:
    def make() -> Bot:
        bot = Bot("shop")

        @bot.message()
        def wait(ctx: Context) -> str:
            ctx.sleep("3m")
            return "Ready."

        return bot

    client = open_client(make(), group=group)
    client.send("tea", mention=bool(group))
    client.advance("3m")
    source = write(client, last=1)
    assert "# The bot then said: Ready." in source
    run(source, make(), monkeypatch)


def test_a_field_that_is_named_like_a_keyword_is_filled_in(open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> Bot:
        bot = Bot("shop")

        @bot.command("holiday")
        def holiday(ctx: Context) -> str:
            return str(ctx.ask(Form("Holiday", [Field("from"), Field("until")])))

        return bot

    client = open_client(make(), channel="platform")
    client.send("/holiday")
    client.fill({"from": "Monday", "until": "Friday"})
    source = write(client)
    assert 'client.fill({"from": "Monday", "until": "Friday"})' in source
    run(source, make(), monkeypatch)


def test_what_is_not_stored_or_not_done_is_an_error(open_client: Open) -> None:
    client = open_client(make_bot())
    client.send("hi")
    store = client._harness.delivery.store
    for name, text in (("m9", "there is no message m9"), ("nobody", "no conversation 'nobody'")):
        with pytest.raises(DeliveryError, match=text):
            load_conversation(store, name)
    with client._harness.database.write() as connection:
        connection.exec_driver_sql("UPDATE mailbox SET state = 'waiting'")
    with pytest.raises(DeliveryError, match="m1 is not done yet"):
        load_conversation(store, "m1")


@pytest.mark.parametrize("text", ['a\'b"c"', 'say "hi"', "it's", "\\ \t\r\n", "\x1b[31m\u202e\U000e0001", "ü😀" * 60])
def test_every_text_is_written_as_ruff_would_write_it(
    open_client: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    bot = Bot("shop")
    bot.message()(lambda ctx: f"{text}{text}")
    client = open_client(bot)
    client.send(f"x{text}x")
    source = write(client)
    run(source, bot, monkeypatch)
    check_with_ruff(source, tmp_path)


def check_with_ruff(source: str, folder: Path) -> None:
    """Fail unless ruff finds nothing in a test, and would not write it otherwise."""
    file = folder / "test_stored.py"
    file.write_text(source)
    (folder / "shop_bot.py").touch()
    for command in ("check", "format --check", "format --check --line-length 120"):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command.split(), "--isolated", "--no-cache", file.name],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}{source}"


@pytest.mark.parametrize("length", [1, 100])
def test_single_texts_are_written_as_ruff_would_write_them(
    open_client: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, length: int
) -> None:
    def make() -> Bot:
        bot = Bot("shop")

        @bot.command("refund")
        def refund(ctx: Context) -> None:
            ctx.reply("x" * length)
            ctx.approve("y" * length, own=True)

        return bot

    client = open_client(make())
    client.send("/refund")
    client.advance("2d")  # edits the card
    source = write(client)
    assert "replies[0].text" in source
    assert "client.said().texts" in source
    run(source, make(), monkeypatch)
    check_with_ruff(source, tmp_path)


def test_what_cannot_be_repeated_leaves_an_empty_test(
    open_client: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client = open_client(make_bot())
    client.send("\u2028")
    source = write(client)
    assert "# m1 cannot be repeated" in source
    run(source, make_bot(), monkeypatch)
    check_with_ruff(source, tmp_path)


def test_decision_without_an_approval_is_a_text(open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    bot = Bot("shop")
    bot.fallback(lambda ctx: f"{ctx.text}?")
    client = open_client(bot)
    client.send("approve 5")
    source = write(client)
    assert 'client.send("approve 5")' in source
    run(source, bot, monkeypatch)


def test_bursts_are_handed_over_after_a_pause(open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> Bot:
        bot = Bot("shop")

        @bot.fallback(concurrency="burst")
        def answer(ctx: Context) -> str:
            return " ".join(message.text for message in ctx.messages)

        return bot

    client = open_client(make())
    client.send("Hello")
    client.send("shop")
    client.advance("1m")
    client.send("again")
    client.advance("1m")
    source = write(client)
    assert source.count("client.advance(2)") == 2
    run(source, make(), monkeypatch)


def test_superseded_messages_are_left_out(open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    clients: list[BotClient] = []

    def make() -> Bot:
        bot = Bot("shop")

        @bot.fallback(concurrency="latest")
        def answer(ctx: Context) -> str:
            if clients and ctx.text == "one":
                for text in ("two", "three"):
                    clients[0].send(text)
            return f"got {ctx.text}"

        return bot

    client = open_client(make())
    clients.append(client)
    client.send("one")
    assert client.said().texts == ["got one", "got three"]
    source = write(client)
    clients.clear()
    assert "m2 is left out: it was superseded by m3." in source
    run(source, make(), monkeypatch)


@pytest.mark.parametrize("channel", ["fake", "cometchat", "chat_api"])
def test_what_a_moderator_did_is_asserted(open_client: Open, monkeypatch: pytest.MonkeyPatch, channel: str) -> None:
    def make() -> Bot:
        bot = Bot("shop")

        @bot.message(re.compile("casino"))
        def remove(ctx: Context) -> str:
            ctx.delete()
            ctx.kick(ctx.sender)
            return "Removed."

        return bot

    maria = open_client(make(), channel=channel, user="maria", group="ops")
    maria.send("hello", mention=True)
    maria.as_user("ben", group="ops").send("casino", mention=True)
    source = write(maria)
    run(source, make(), monkeypatch)
    assert "assert user_2.is_deleted" in source
    assert 'assert user_2.scope == ""' in source


def test_moderator_has_the_scope_that_the_event_says(open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> Bot:
        bot = Bot("shop")

        @bot.message()
        def obey(ctx: Context) -> str:
            return f"You are {ctx.sender_scope}."

        return bot

    maria = open_client(make(), channel="cometchat", user="maria", group="ops")
    maria.set_scope("owner")
    for _ in range(2):
        maria.send("hello", mention=True)
    source = write(maria)
    run(source, make(), monkeypatch)
    assert source.count('user_1.set_scope("owner")') == 1


def test_ban_names_the_scope_that_its_caller_may_need(open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> Bot:
        bot = Bot("shop")

        @bot.command("ban")
        def ban(ctx: Context) -> str:
            ctx.ban("tom")
            return "Banned."

        return bot

    maria = open_client(make(), user="maria", group="ops")
    maria.send("/ban")
    source = write(maria)
    run(source, make(), monkeypatch)
    assert "# If the bot obeys moderators only" in source
    assert "is not checked" in source
