"""Approvals across channels and processes, over every database and with every engine."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import sqlalchemy as sa

from cometbot import Context, Group, NotDelivered
from cometbot.approvals import APPROVALS_KEY
from cometbot.delivery import Delivery
from cometbot.errors import Rejected
from cometbot.store.erasure import Erasure
from cometbot.store.tables import mailbox
from cometbot.testing.fake_channel import FakeChannel
from tests.contract.delivery.conftest import Harness, check_no_dialogs, wait_until
from tests.contract.dialogs.processes import at_once

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
    harness.enqueue(delivery, text, channel=office, user=user, group="managers")


def is_idle(delivery: Delivery) -> bool:
    with delivery.database.read() as connection:
        waiting = connection.execute(
            sa.select(sa.func.count()).select_from(mailbox).where(mailbox.c.state == "waiting")
        )
        return delivery.is_idle and not waiting.scalar_one()


def check_nothing_left(delivery: Delivery) -> None:
    with delivery.database.read() as connection:
        check_no_dialogs(connection)


def test_asked_on_one_channel_and_approved_on_another(
    harness: Harness, office: OfficeChannel, processes: Sequence[Delivery]
) -> None:
    first, second = processes
    harness.enqueue(first, "/pay")
    office.wait_for(lambda: office.texts() != [])
    press(harness, office, second, "tom", "approve 1")

    harness.channel.wait_for(lambda: harness.channel.texts() != [])
    wait_until(lambda: is_idle(first))
    assert harness.channel.texts() == ["approved by Tom"]
    assert office.texts() == [f"{ASKED}\n\nApproved by Tom."]
    check_nothing_left(first)


def test_two_who_press_at_once_decide_once(
    harness: Harness, office: OfficeChannel, processes: Sequence[Delivery]
) -> None:
    first, second = processes
    harness.enqueue(first, "/pay")
    office.wait_for(lambda: office.texts() != [])
    at_once(
        lambda: press(harness, office, first, "tom", "approve 1"),
        lambda: press(harness, office, second, "ann", "decline 1"),
    )

    harness.channel.wait_for(lambda: harness.channel.texts() != [])
    wait_until(lambda: len(office.texts()) == 2 and is_idle(first))
    [outcome] = harness.channel.texts()
    decided = {"approved by Tom": "Approved by Tom.", "declined by Ann": "Declined by Ann."}[outcome]
    assert office.texts() == [f"{ASKED}\n\n{decided}", f"1 is closed. {decided}"]


def test_many_approvals_in_one_group_are_decided_each(
    harness: Harness, office: OfficeChannel, processes: Sequence[Delivery]
) -> None:
    first, second = processes
    users = [f"user{number}" for number in range(12)]
    for user in users:
        harness.enqueue(first, "/pay", user=user)
    office.wait_for(lambda: len(office.texts()) == len(users))
    with first.database.read() as connection:
        numbers = connection.execute(sa.select(mailbox.c.seq).where(mailbox.c.sender.in_(users))).scalars().all()
    for number in numbers:
        press(harness, office, second, "tom", f"approve {number}")

    harness.channel.wait_for(lambda: len(harness.channel.texts()) == len(users))
    wait_until(lambda: is_idle(first))
    assert office.texts() == [f"{ASKED}\n\nApproved by Tom."] * len(users)
    key = office.conversation(harness.bot, group="managers").key_text
    with first.database.read() as connection:
        stored = first.store.state.load(connection, "conversation", key)
    assert '"open":{}' in stored[APPROVALS_KEY]


def test_refused_card_is_reported_to_the_asking_conversation(
    harness: Harness, office: OfficeChannel, processes: Sequence[Delivery]
) -> None:
    office.faults.append(Rejected("no such group"))
    harness.enqueue(processes[0], "/pay")

    harness.channel.wait_for(lambda: harness.channel.texts() != [])
    assert harness.channel.texts() == ["refused: Rejected: no such group"]
    check_nothing_left(processes[0])


def test_erasing_the_asking_conversation_withdraws_the_card(
    harness: Harness, office: OfficeChannel, processes: Sequence[Delivery]
) -> None:
    first, _ = processes
    harness.enqueue(first, "/pay")
    wait_until(lambda: office.texts() and is_idle(first))
    with first.database.write() as connection:
        Erasure(first.database).erase(connection, [harness.channel.conversation(harness.bot, user="maria").key_text])

    office.wait_for(lambda: office.texts() == ["This request was withdrawn."])
    check_nothing_left(first)
    press(harness, office, first, "tom", "approve 1")
    office.wait_for(lambda: office.texts()[1:] == ["1 is closed. Withdrawn."])
    check_nothing_left(first)


def test_cancelled_dialog_withdraws_its_card_and_a_late_press_is_told(
    harness: Harness, office: OfficeChannel, processes: Sequence[Delivery]
) -> None:
    first, second = processes
    harness.enqueue(first, "/pay")
    wait_until(lambda: office.texts() and is_idle(first))
    second.cancel_dialog("m1")

    wait_until(lambda: harness.channel.texts() == [harness.bot.cancel_text] and is_idle(first))
    press(harness, office, first, "tom", "approve 1")
    office.wait_for(lambda: office.texts() == [f"{ASKED}\n\nWithdrawn.", "1 is closed. Withdrawn."])
    assert harness.channel.texts() == [harness.bot.cancel_text]
