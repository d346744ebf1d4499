"""Handlers that ask and fail: what is kept for the next attempt, and what is deleted with the message."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from cometbot import Bot, Context
from cometbot.delivery import conversation_runner
from cometbot.errors import DeliveryError
from cometbot.store.erasure import Erasure
from cometbot.store.mailbox import MAX_CRASH_COUNT
from cometbot.store.tables import RUNNING, mailbox, steps
from cometbot.testing import BotClient


class Broken(list[int]):
    """A fault that lasts until :meth:`mend` is called."""

    def __init__(self) -> None:
        super().__init__([1])

    def check(self) -> None:
        if self:
            raise RuntimeError("broken")


def count_steps(client: BotClient) -> int:
    with client._harness.database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(steps)).scalar_one())


def retry(client: BotClient) -> str:
    """Handle the newest dead letter again, and return the bot's last message."""
    assert client._harness.delivery.retry(client.dead_letters[0].id)
    return client.said()[-1].text


def make_failing_order(bot: Bot, broken: Broken, calls: list[str]) -> None:
    @bot.command
    def order(ctx: Context) -> str:
        ctx.reply("Welcome!")
        ctx.once(calls.append, "created")
        broken.check()
        return "done"


def test_dead_letter_that_is_retried_calls_nothing_twice(bot: Bot) -> None:
    broken, calls = Broken(), list[str]()
    make_failing_order(bot, broken, calls)
    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    broken.clear()
    assert retry(client) == "done"
    assert calls == ["created"]
    assert client.said().texts.count("Welcome!") == 1
    assert count_steps(client) == 0


def test_steps_are_deleted_with_a_discarded_dead_letter(bot: Bot) -> None:
    make_failing_order(bot, Broken(), [])
    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    assert count_steps(client) == 1
    assert client._harness.delivery.dead_letters.discard(client.dead_letters[0].id)
    assert count_steps(client) == 0


def test_steps_are_deleted_with_their_conversation(bot: Bot) -> None:
    make_failing_order(bot, Broken(), [])
    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    database = client._harness.database
    with database.write(durable=True) as connection:
        Erasure(database).erase(connection, [client.conversation.key_text])
    assert count_steps(client) == 0


def test_steps_of_an_earlier_generation_are_deleted_by_a_replay(bot: Bot) -> None:
    broken, calls = Broken(), list[str]()
    make_failing_order(bot, broken, calls)
    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    broken.clear()
    client._harness.delivery.replay(client.dead_letters[0].id)
    assert client.said()[-1].text == "done"
    assert calls == ["created", "created"]
    assert count_steps(client) == 0


def test_error_that_ends_the_handler_is_no_result_of_once(bot: Bot) -> None:
    broken = Broken()

    @bot.command
    def order(ctx: Context) -> str:
        name = ctx.ask("Name?")
        ctx.once(broken.check)
        return f"hello {name}"

    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    client.send("Maria")
    broken.clear()
    assert retry(client) == "hello Maria"


def test_replay_of_an_answer_that_failed_is_refused(bot: Bot) -> None:
    broken = Broken()

    @bot.command
    def order(ctx: Context) -> str:
        return ctx.ask("Name?", validate=lambda name: broken.check())

    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    client.send("Maria")
    broken.clear()
    with pytest.raises(DeliveryError, match="answered a question of the dialog of m1"):
        client._harness.delivery.replay("m2")
    assert retry(client) == "Maria"


def test_reply_that_cannot_be_rendered_lets_the_dialog_fail(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    bot.command("order")(lambda ctx: f"hello {ctx.ask('Name?')}")
    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    render, broken = client.channel.render, Broken()

    def refuse(operation: Any) -> Any:
        if operation.message.to_text().startswith("hello"):
            broken.check()
        return render(operation)

    monkeypatch.setattr(client.channel, "render", refuse)
    client.send("Maria")
    assert client.send("Tom").texts == []
    broken.clear()
    assert retry(client) == "hello Maria"


def test_dialog_ends_when_the_message_that_began_it_is_erased(bot: Bot) -> None:
    bot.command("order")(lambda ctx: f"hello {ctx.ask('Name?')}")
    client = BotClient(bot)
    client.send("/order")
    database, key = client._harness.database, client.conversation.key
    with database.write(durable=True) as connection:
        Erasure(database).clear_messages(connection, key.channel, key.account, key.bot, ["message:1"])
    assert client.send("Maria").texts == []
    assert client.send("/order").texts == ["Name?"]
    assert client.send("Maria").texts == ["hello Maria"]


def test_dialog_fails_with_an_answer_that_is_given_up_after_a_step(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, calls = Broken(), list[str]()

    @bot.command(retries=1)
    def order(ctx: Context) -> str:
        name = ctx.ask("Name?")
        ctx.once(calls.append, name)
        broken.check()
        return f"hello {name}"

    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    client.send("Maria")
    monkeypatch.setattr(conversation_runner, "MAX_CRASH_COUNT", 0)
    client.advance(10)
    monkeypatch.undo()
    broken.clear()
    assert client.send("Tom").texts == []
    assert retry(client) == "hello Maria"
    assert calls == ["Maria"]


def test_dialog_fails_with_its_own_event_that_is_given_up(bot: Bot) -> None:
    bot.command("order")(lambda ctx: ctx.ask("Which?"))
    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    delivery = client._harness.delivery
    key = delivery.dialogs.cancel("m1")
    with delivery.database.write() as connection:
        is_own = mailbox.c.event_key.startswith("cometbot:")
        connection.execute(sa.update(mailbox).where(is_own).values(state=RUNNING, attempts=MAX_CRASH_COUNT))
    delivery.notify(key)
    client._harness.run_until_idle()
    [letter] = client.dead_letters
    assert (delivery.dialogs.get("m1").status, delivery.dialogs.get("m1").dead_letter) == ("failed", letter.id)
    assert retry(client) == bot.cancel_text
    assert delivery.dialogs.list() == []
