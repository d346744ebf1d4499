"""Dialogs whose handler fails, whose question is refused, and whose messages are retried, replayed or discarded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cometbot import AskTimeout, Bot, Context, NotDelivered, OnceUncertain
from cometbot.delivery.transactions import Transactions
from cometbot.errors import DeliveryError, Rejected
from cometbot.store.tables import dialogs, mailbox, steps
from cometbot.testing import BotClient
from tests.contract.dialogs.conftest import check_nothing_left, delivery_of, rows

ERROR_TEXT = Bot("any").error_text


def texts(replies: Any) -> list[str]:
    return [reply.text.partition("\n")[0] for reply in replies]


def retry(client: BotClient, letter: str) -> list[str]:
    """Retry a dead letter, and return the texts that the bot sends then."""
    before = len(client.said())
    assert delivery_of(client).retry(letter)
    return texts(client.said())[before:]


class Fails:
    """A function that raises the first times."""

    def __init__(self, times: int) -> None:
        self.calls = 0
        self._times = times

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._times:
            raise RuntimeError("not now")
        return f"result {self.calls}"


def test_exception_of_once_that_ended_the_run_is_no_result(bot: Bot) -> None:
    create = Fails(1)

    @bot.command("order")
    def order(ctx: Context) -> str:
        name = ctx.ask("Name?")
        return f"{name}: {ctx.once(create)}"

    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    assert texts(client.send("Maria")) == [ERROR_TEXT]
    assert retry(client, client.dead_letters[0].id) == ["Maria: result 2"]
    check_nothing_left(client)


def test_failed_answer_is_retried_after_other_messages(bot: Bot) -> None:
    fail = Fails(1)

    @bot.command("order")
    def order(ctx: Context) -> str:
        name = ctx.ask("Name?")
        fail()
        return f"{name}: {ctx.ask('Sure?')}"

    bot.fallback(lambda ctx: f"re: {ctx.text}")
    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    assert texts(client.send("Maria")) == [ERROR_TEXT]
    assert texts(client.send("hello?")) == ["re: hello?"]
    assert texts(client.advance(3 * 86400)) == []
    assert retry(client, client.dead_letters[0].id) == ["Sure?"]
    assert texts(client.send("yes")) == ["Maria: yes"]
    check_nothing_left(client)


def test_discarded_answer_ends_its_dialog(bot: Bot) -> None:
    fail = Fails(1)

    @bot.command("order")
    def order(ctx: Context) -> str:
        ctx.once(list)
        return f"{ctx.ask('Name?')} {fail()}"

    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    client.send("Maria")
    assert rows(client, dialogs) == 1
    assert delivery_of(client).dead_letters.discard(client.dead_letters[0].id)
    check_nothing_left(client)
    assert texts(client.send("Maria")) == []


def test_discarded_opening_leaves_no_steps(bot: Bot) -> None:
    fail = Fails(1)

    @bot.command("order")
    def order(ctx: Context) -> str:
        ctx.once(list)
        return fail()

    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    assert rows(client, steps) == 1
    assert delivery_of(client).dead_letters.discard(client.dead_letters[0].id)
    check_nothing_left(client)


def begin_failing_order(bot: Bot) -> BotClient:
    """Register an order that fails once behind its ``once``, and begin it."""
    fail, create = Fails(1), Fails(0)

    @bot.command("order")
    def order(ctx: Context) -> str:
        return f"{ctx.once(create)}, {fail()}"

    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    return client


def test_retried_opening_keeps_its_steps(bot: Bot) -> None:
    client = begin_failing_order(bot)
    assert retry(client, client.dead_letters[0].id) == ["result 1, result 2"]
    check_nothing_left(client)


def test_replay_of_a_dead_opening_starts_anew(bot: Bot) -> None:
    client = begin_failing_order(bot)
    delivery_of(client).replay(client.dead_letters[0].id)
    assert texts(client.said())[-1] == "result 2, result 2"
    check_nothing_left(client)


def test_replay_of_an_opening_ends_its_dialog_first(bot: Bot) -> None:
    bot.command("order")(lambda ctx: ctx.ask("Which?"))
    client = BotClient(bot)
    client.send("/order")
    delivery_of(client).replay("m1")
    assert texts(client.said()) == ["Which?", "Which?"]
    assert texts(client.send("tea")) == ["tea"]
    assert texts(client.send("tea")) == []
    check_nothing_left(client)


def test_replayed_dialog_edits_its_own_messages(bot: Bot) -> None:
    @bot.command("order")
    def order(ctx: Context) -> None:
        sent = ctx.reply("open")
        ctx.ask("Close?")
        sent.edit(f"closed {sent.id}")

    client = BotClient(bot)
    client.send("/order")
    delivery_of(client).replay("m1")
    _, _, second, _ = client.said()
    client.send("yes")
    assert texts(client.said()) == ["open", "Close?", f"closed {second.id}", "Close?"]


def test_replay_of_an_answer_is_refused(bot: Bot) -> None:
    @bot.command("order")
    def order(ctx: Context) -> str:
        return f"{ctx.ask('Which?')} {ctx.ask('Sure?')}"

    client = BotClient(bot)
    client.send("/order")
    client.send("tea")
    with pytest.raises(DeliveryError, match="cannot replay m2: it answered a question of the dialog of m1"):
        delivery_of(client).replay("m2")
    assert texts(client.send("yes")) == ["tea yes"]


def remove_handlers(bot: Bot) -> None:
    bot._handlers.clear()
    bot._names_in_use.clear()
    bot._routes = None


def test_answer_waits_ten_minutes_for_its_handler(bot: Bot) -> None:
    def order(ctx: Context) -> str:
        return ctx.ask("Which?")

    bot.command("order")(order)
    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    remove_handlers(bot)
    assert texts(client.send("tea")) == []
    client.advance(9 * 60)
    assert client.dead_letters == []
    bot.command("order")(order)
    assert texts(client.advance(60)) == ["tea"]
    check_nothing_left(client)


def test_answer_without_a_handler_becomes_a_dead_letter(bot: Bot) -> None:
    def order(ctx: Context) -> str:
        return ctx.ask("Which?")

    bot.command("order")(order)
    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    remove_handlers(bot)
    client.send("tea")
    client.advance(11 * 60)
    [letter] = client.dead_letters
    assert "does not exist any more" in letter.error
    with pytest.raises(DeliveryError, match="it answered a question of the dialog of m1"):
        delivery_of(client).replay(letter.id)
    bot.command("order")(order)
    assert retry(client, letter.id) == ["tea"]
    check_nothing_left(client)


def test_refused_question_raises_not_delivered(bot: Bot) -> None:
    @bot.command("order")
    def order(ctx: Context) -> str:
        try:
            return ctx.ask("Which?")
        except NotDelivered as error:
            return f"not delivered: {error}"

    client = BotClient(bot, raise_errors=False)
    client.fake.misbehave("refused")
    assert texts(client.send("/order")) == ["not delivered: ERR_REFUSED: no"]
    [letter] = client.dead_letters
    assert letter.is_reply
    check_nothing_left(client)


def test_uncaught_refusal_is_a_dead_letter(bot: Bot) -> None:
    bot.command("order")(lambda ctx: ctx.ask("Which?"))
    client = BotClient(bot, raise_errors=False)
    client.fake.misbehave("refused")
    client.send("/order")
    kinds = sorted(letter.is_reply for letter in client.dead_letters)
    assert kinds == [False, True]
    [failed] = [letter for letter in client.dead_letters if not letter.is_reply]
    assert failed.error.startswith("NotDelivered")
    assert delivery_of(client).dead_letters.discard(failed.id)
    check_nothing_left(client)


def test_text_written_before_a_refusal_is_no_answer(bot: Bot) -> None:
    @bot.command("order")
    def order(ctx: Context) -> str:
        try:
            return ctx.ask("Which?")
        except NotDelivered:
            return "not delivered"

    bot.fallback(lambda ctx: f"re: {ctx.text}")
    client = BotClient(bot, raise_errors=False)

    def write_then_refuse(sending: Any) -> None:
        client.fake.say(client._actor, "tea")
        raise Rejected("no", code="ERR_REFUSED", status=403)

    client.channel.faults.append(write_then_refuse)  # type: ignore[attr-defined]
    assert texts(client.send("/order")) == ["re: tea", "not delivered"]
    check_nothing_left(client)


def test_timer_of_a_raising_handler_tells_the_user(bot: Bot) -> None:
    fail = Fails(1)

    @bot.command("order")
    def order(ctx: Context) -> str:
        try:
            return ctx.ask("Which?", timeout="1h")
        except AskTimeout:
            return fail()

    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    assert texts(client.advance(3600)) == [ERROR_TEXT]
    assert retry(client, client.dead_letters[0].id) == ["result 2"]
    check_nothing_left(client)


def test_deadline_counts_from_the_asking(bot: Bot) -> None:
    @bot.command("order")
    def order(ctx: Context) -> str:
        return ctx.ask("Which?", timeout="1h", default="none")

    client = BotClient(bot)
    client.fake.say(client._actor, "/order")
    client._harness.database.now += 7200  # nothing runs
    client._harness.advance(0)
    assert texts(client.said()) == ["Which?"]
    assert texts(client.advance(3599)) == []
    assert texts(client.advance(1)) == ["none"]


def test_once_that_may_have_run_is_not_repeated(bot: Bot) -> None:
    calls: list[int] = []

    class Died(BaseException):
        pass

    @bot.command("pay")
    def pay(ctx: Context) -> str:
        def call() -> None:
            calls.append(1)

        try:
            ctx.once(call, again=False)
        except OnceUncertain:
            return f"uncertain {ctx.ask('Did you pay?')}"
        return "paid"

    client = BotClient(bot)
    transactions = _fail_second_save(client)
    with pytest.raises(KeyboardInterrupt):
        client.send("/pay")
    transactions()
    client._harness.database.now += 60
    client._harness.advance(0)
    assert texts(client.said()) == ["Did you pay?"]
    assert texts(client.send("yes")) == ["uncertain yes"]
    assert calls == [1]


def _fail_second_save(client: BotClient) -> Callable[[], None]:
    """Let the process die while it stores the second step. Return what lets it live again."""
    store = delivery_of(client).store.dialogs
    save, count = store.save_steps, [0]

    def save_steps(*args: Any) -> Any:
        count[0] += 1
        if count[0] == 2:
            raise KeyboardInterrupt
        return save(*args)

    store.save_steps = save_steps  # type: ignore[method-assign]
    return lambda: setattr(store, "save_steps", save)


def test_ten_thousand_characters_are_an_answer(bot: Bot) -> None:
    @bot.command("write")
    def write(ctx: Context) -> str:
        text = ctx.ask("Your text?")
        return f"{len(text)} {ctx.ask('Sure?')}"

    client = BotClient(bot)
    client.send("/write")
    assert texts(client.send("ä" * 10_000)) == ["Sure?"]
    assert texts(client.send("yes")) == ["10000 yes"]


def test_user_who_left_the_group_times_out(bot: Bot) -> None:
    @bot.command("order")
    def order(ctx: Context) -> str:
        return ctx.ask("Which?", timeout="1h", default="nothing")

    maria = BotClient(bot, group="team")
    maria.join()
    maria.send("/order")
    maria.leave()
    assert texts(maria.advance(3600)) == ["nothing"]
    check_nothing_left(maria)


def test_user_who_comes_back_to_the_group_answers(bot: Bot) -> None:
    bot.command("order")(lambda ctx: ctx.ask("Which?"))
    maria = BotClient(bot, group="team")
    maria.send("/order")
    maria.leave()
    maria.join()
    assert texts(maria.send("tea", mention=True)) == ["tea"]


def test_messages_of_an_open_dialog_are_not_purged(bot: Bot) -> None:
    @bot.command("order")
    def order(ctx: Context) -> None:
        sent = ctx.reply("open")
        answer = ctx.ask("Close?", timeout="60d")
        again = ctx.reply(f"{answer} {ctx.sender.name}")
        ctx.ask("Sure?", timeout="60d")
        sent.edit("closed")
        again.edit("gone")

    client = BotClient(bot)
    client.send("/order")
    client.send("yes")
    client.advance(30 * 86400)
    delivery_of(client).purge()
    client.send("yes")
    assert texts(client.said()) == ["closed", "Close?", "gone", "Sure?"]
    client.advance(30 * 86400)
    delivery_of(client).purge()
    assert rows(client, mailbox) == 0


def test_time_that_kills_its_process_lets_the_dialog_fail(bot: Bot) -> None:
    class Died(KeyboardInterrupt):
        pass

    dies = [True]

    @bot.command("order")
    def order(ctx: Context) -> str:
        try:
            return ctx.ask("Which?", timeout="1h")
        except AskTimeout:
            if dies:
                raise Died from None
            return "nothing"

    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    for seconds in [3600, *[60] * 4]:
        with pytest.raises(Died):
            client.advance(seconds)
    client.advance(60)
    [letter] = client.dead_letters
    assert "its process died 5 times" in letter.error
    assert texts(client.send("tea")) == []
    dies.clear()
    assert retry(client, letter.id) == ["nothing"]
    check_nothing_left(client)


def test_steps_of_a_stopped_message_are_purged_with_it(bot: Bot) -> None:
    stops: list[int] = []

    @bot.middleware
    def stop(ctx: Context, call_next: Callable[[], Any]) -> Any:
        return None if stops else call_next()

    @bot.command("order")
    def order(ctx: Context) -> str:
        ctx.once(list)
        raise KeyboardInterrupt

    client = BotClient(bot)
    with pytest.raises(KeyboardInterrupt):
        client.send("/order")
    stops.append(1)
    client.advance(60)
    client.advance(8 * 86400)
    delivery_of(client).purge()
    assert [rows(client, table) for table in (mailbox, steps)] == [0, 0]


def test_state_of_once_is_changed_once_by_a_repeated_commit(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    @bot.command("order")
    def order(ctx: Context) -> str:
        ctx.once(lambda: ctx.user_state.increment("orders"))
        return "done"

    save = Transactions.save_steps

    def save_twice(*args: Any, **options: Any) -> None:
        save(*args, **options)
        save(*args, **options)

    monkeypatch.setattr(Transactions, "save_steps", save_twice)
    client = BotClient(bot)
    assert texts(client.send("/order")) == ["done"]
    assert dict(client.user_state) == {"orders": 1}
