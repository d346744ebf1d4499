"""Approvals across channels and processes, over every database and with every engine."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import sqlalchemy as sa

from cometbot import Context, Group, NotDelivered
from cometbot.approvals import APPROVALS_KEY
from cometbot.delivery import Delivery
from cometbot.errors import Rejected
from cometbot.store.erasure import Erasure
from cometbot.store.tables import dialogs, mailbox, steps, timers
from cometbot.testing.fake_channel import FakeChannel
from tests.contract.delivery.conftest import Harness, wait_until

ASKED = "Pay 30 €?"


class OfficeChannel(FakeChannel):
    """The channel of the approvers."""

    name = "office"


@pytest.fixture
def office() -> OfficeChannel:
    return OfficeChannel()


@pytest.fixture
def processes(harness: Harness, office: OfficeChannel) -> Sequence[Delivery]:
    """Return two processes that serve both channels."""
    add_pay(harness)
    return [harness.start_process(channels=[harness.channel, office]) for _ in range(2)]


def add_pay(harness: Harness) -> None:
    @harness.bot.command
    def pay(ctx: Context) -> str:
        try:
            approval = ctx.approve(ASKED, to=Group("managers", channel="office"))
        except NotDelivered as error:
            return f"refused: {error}"
        return f"{approval.status} by {approval.by}"


def press(harness: Harness, office: OfficeChannel, delivery: Delivery, user: str, text: str) -> None:
    delivery.enqueue(office.incoming(harness.bot, text, user=user, group="managers"))


def texts(channel: FakeChannel) -> list[str]:
    return [said.text for said in channel.said]


def is_idle(delivery: Delivery) -> bool:
    with delivery.database.read() as connection:
        waiting = connection.execute(
            sa.select(sa.func.count()).select_from(mailbox).where(mailbox.c.state == "waiting")
        )
        return delivery.is_idle and not waiting.scalar_one()


def count(delivery: Delivery) -> list[int]:
    """Return the numbers of dialogs, steps and timers."""
    with delivery.database.read() as connection:
        return [
            int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
            for table in (dialogs, steps, timers)
        ]


def test_asked_on_one_channel_and_approved_on_another(
    harness: Harness, office: OfficeChannel, processes: Sequence[Delivery]
) -> None:
    first, second = processes
    harness.enqueue(first, "/pay")
    wait_until(lambda: texts(office))
    press(harness, office, second, "tom", "approve 1")

    wait_until(lambda: texts(harness.channel))
    wait_until(lambda: is_idle(first))
    assert texts(harness.channel) == ["approved by Tom"]
    assert texts(office) == [f"{ASKED}\n\nApproved by Tom."]
    assert count(first) == [0, 0, 0]


def test_two_who_press_at_once_decide_once(
    harness: Harness, office: OfficeChannel, processes: Sequence[Delivery]
) -> None:
    first, second = processes
    harness.enqueue(first, "/pay")
    wait_until(lambda: texts(office))
    threads = [
        threading.Thread(target=press, args=(harness, office, delivery, user, text))
        for delivery, user, text in ((first, "tom", "approve 1"), (second, "ann", "decline 1"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    wait_until(lambda: texts(harness.channel))
    wait_until(lambda: len(texts(office)) == 2 and is_idle(first))
    [outcome] = texts(harness.channel)
    decided = {"approved by Tom": "Approved by Tom.", "declined by Ann": "Declined by Ann."}[outcome]
    assert texts(office) == [f"{ASKED}\n\n{decided}", f"1 is closed. {decided}"]


def test_many_approvals_in_one_group_are_decided_each(
    harness: Harness, office: OfficeChannel, processes: Sequence[Delivery]
) -> None:
    first, second = processes
    users = [f"user{number}" for number in range(12)]
    for user in users:
        harness.enqueue(first, "/pay", user=user)
    wait_until(lambda: len(texts(office)) == len(users))
    with first.database.read() as connection:
        numbers = connection.execute(sa.select(mailbox.c.seq).where(mailbox.c.sender.in_(users))).scalars().all()
    for number in numbers:
        press(harness, office, second, "tom", f"approve {number}")

    wait_until(lambda: len(texts(harness.channel)) == len(users))
    wait_until(lambda: is_idle(first))
    assert texts(office) == [f"{ASKED}\n\nApproved by Tom."] * len(users)
    key = office.conversation(harness.bot, group="managers").key_text
    with first.database.read() as connection:
        stored = first.store.state.load(connection, "conversation", key)
    assert '"open":{}' in stored[APPROVALS_KEY]


def test_refused_card_is_reported_to_the_asking_conversation(
    harness: Harness, office: OfficeChannel, processes: Sequence[Delivery]
) -> None:
    office.faults.append(Rejected("no such group"))
    harness.enqueue(processes[0], "/pay")

    wait_until(lambda: texts(harness.channel))
    assert texts(harness.channel) == ["refused: Rejected: no such group"]
    assert count(processes[0]) == [0, 0, 0]


def test_erasing_the_asking_conversation_withdraws_the_card(
    harness: Harness, office: OfficeChannel, processes: Sequence[Delivery]
) -> None:
    first, _ = processes
    harness.enqueue(first, "/pay")
    wait_until(lambda: texts(office) and is_idle(first))
    with first.database.write() as connection:
        Erasure(first.database).erase(connection, [harness.channel.conversation(harness.bot, user="maria").key_text])

    wait_until(lambda: texts(office) == ["This request was withdrawn."])
    assert count(first) == [0, 0, 0]
    press(harness, office, first, "tom", "approve 1")
    wait_until(lambda: texts(office)[1:] == ["1 is closed. Withdrawn."])


def test_cancelled_dialog_withdraws_its_card_and_a_late_press_is_told(
    harness: Harness, office: OfficeChannel, processes: Sequence[Delivery]
) -> None:
    first, second = processes
    harness.enqueue(first, "/pay")
    wait_until(lambda: texts(office) and is_idle(first))
    second.cancel_dialog("m1")

    wait_until(lambda: texts(harness.channel) == [harness.bot.cancel_text] and is_idle(first))
    press(harness, office, first, "tom", "approve 1")
    wait_until(lambda: texts(office) == [f"{ASKED}\n\nWithdrawn.", "1 is closed. Withdrawn."])
    assert texts(harness.channel) == [harness.bot.cancel_text]
