"""What dialogs store is deleted with their conversation, over every database and with every engine."""

from __future__ import annotations

from cometbot import Context
from cometbot.store.erasure import Erasure
from tests.contract.delivery.conftest import Harness, count_dialog_rows, wait_until


def test_steps_and_dialogs_are_deleted_with_their_conversation(harness: Harness) -> None:
    @harness.bot.command("name")
    def name(ctx: Context) -> str:
        ctx.once(lambda: 1)
        return ctx.ask("What is your name?")

    @harness.bot.command("fail")
    def fail(ctx: Context) -> str:
        ctx.once(lambda: 1)
        raise RuntimeError("broken")

    delivery = harness.start_process()
    harness.enqueue(delivery, "/name")
    harness.enqueue(delivery, "/fail")
    wait_until(lambda: delivery.dead_letters.list() and delivery.is_idle)
    database = delivery.store.database
    with database.write(durable=True) as connection:
        assert count_dialog_rows(connection) == (1, 2, 1)
        Erasure(database).erase(connection, [harness.channel.conversation(harness.bot, user="maria").key_text])
        assert count_dialog_rows(connection) == (0, 0, 0)
