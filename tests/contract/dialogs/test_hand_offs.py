"""A hand-off relays each message once, on every database, whatever crashes, and leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cometbot import Context, Group
from cometbot.store.erasure import Erasure
from tests.contract.delivery.conftest import wait_until
from tests.contract.dialogs.crashing import (
    Databases,
    PostgreSQLDatabases,
    Say,
    Script,
    ScriptEvent,
    Wait,
    check_all_crashes,
)
from tests.contract.dialogs.processes import Processes, at_once

IS_FULL = os.environ.get("COMETBOT_TEST_FAULTS") == "full"

SOURCE = """
from cometbot import Group


@bot.command("human")
def human(ctx):
    ctx.reply("A person will answer you here.")
    ctx.once(call, "ticket")
    end = ctx.hand_off(Group("support"), transcript=0, timeout=9000)
    ctx.once(call, "closed")
    return f"The bot again: {end.status}, {ctx.ask('How was it?')}"


@bot.fallback
def answer(ctx):
    return f"you said {ctx.text}"
"""


def in_thread(text: str) -> Say:
    return Say(text, "ben", "support", in_thread=True)


ENDS: dict[str, list[ScriptEvent]] = {
    "done": [in_thread("/done"), in_thread("too late")],
    "cancelled": [Say("/cancel")],
    "expired": [Wait()],
}


@pytest.mark.parametrize("end", ENDS)
def test_crash_at_any_commit_changes_nothing(end: str, databases: Databases, tmp_path: Path) -> None:
    if isinstance(databases, PostgreSQLDatabases) and not IS_FULL:
        pytest.skip("takes a minute")
    says = [Say("/human"), Say("My parcel is wet"), in_thread("We send a new one."), *ENDS[end], Say("good"), Say("hi")]
    outcome = check_all_crashes(Script([SOURCE], says), databases, tmp_path)
    [to_maria] = [said for name, said in outcome.transcript.items() if "maria" in name]
    assert [text for text, _ in to_maria] == [
        "A person will answer you here.",
        "Ben: We send a new one.",
        "How was it?",
        f"The bot again: {end}, good",
        "you said hi",
    ]
    assert "Maria: My parcel is wet" in outcome.texts


def test_both_sides_end_it_at_once(processes: Processes) -> None:
    @processes.bot.command("human")
    def human(ctx: Context) -> str:
        return f"The bot again: {ctx.hand_off(Group('support')).status}"

    processes.start()
    processes.write("/human")
    wait_until(lambda: processes.channel.texts("group_support"))
    [card] = [said for said in processes.channel.said if said.conversation.is_group]

    def write_done() -> None:
        incoming = processes.channel.incoming(
            processes.bot, "/done", user="ben", group="support", thread_id=card.id, id="d1"
        )
        processes._deliveries[1].enqueue(incoming)

    at_once(write_done, lambda: processes.write("/cancel"))
    wait_until(lambda: processes.texts())
    processes.check_nothing_left()
    assert processes.texts()[0] in ("The bot again: done", "The bot again: cancelled")
    assert len([text for text in processes.texts() if "again" in text]) == 1


def test_many_relay_in_both_directions_in_order(processes: Processes) -> None:
    @processes.bot.command("human")
    def human(ctx: Context) -> str:
        return f"The bot again: {ctx.hand_off(Group('support')).status}"

    processes.start()
    processes.write("/human")
    wait_until(lambda: processes.channel.texts("group_support"))
    [card] = [said for said in processes.channel.said if said.conversation.is_group]

    def answer() -> None:
        for number in range(10):
            incoming = processes.channel.incoming(
                processes.bot, f"a{number}", user="ben", group="support", thread_id=card.id, id=f"b{number}"
            )
            processes._deliveries[1].enqueue(incoming)

    at_once(answer, lambda: [processes.write(f"q{number}") for number in range(10)])
    wait_until(lambda: len(processes.texts()) == 10)
    wait_until(lambda: len(processes.channel.texts("group_support")) == 11)
    assert processes.texts() == [f"Ben: a{number}" for number in range(10)]
    assert processes.channel.texts("group_support")[1:] == [f"Maria: q{number}" for number in range(10)]


def test_erased_user_is_no_longer_relayed_to(processes: Processes) -> None:
    @processes.bot.command("human")
    def human(ctx: Context) -> str:
        return f"The bot again: {ctx.hand_off(Group('support')).status}"

    processes.start()
    processes.write("/human")
    wait_until(lambda: processes.channel.texts("group_support"))
    [card] = [said for said in processes.channel.said if said.conversation.is_group]
    maria = processes.channel.conversation(processes.bot, user="maria").key_text
    wait_until(lambda: processes.delivery.is_idle)
    with processes.database.write() as connection:
        Erasure(processes.database).erase(connection, [maria])
    processes.delivery.notify(processes.channel.conversation(processes.bot, group="support").key_text)
    wait_until(lambda: len(processes.channel.texts("group_support")) == 2)
    incoming = processes.channel.incoming(
        processes.bot, "Hello?", user="ben", group="support", thread_id=card.id, id="b1"
    )
    processes._deliveries[1].enqueue(incoming)
    wait_until(lambda: len(processes.channel.texts("group_support")) == 3)
    assert processes.texts() == []
    withdrawn = "Handed back: the request was withdrawn."
    assert processes.channel.texts("group_support")[1:] == [
        f"Maria: {withdrawn}",
        f"{withdrawn} What you write here is not passed on.",
    ]
    processes.check_nothing_left()
