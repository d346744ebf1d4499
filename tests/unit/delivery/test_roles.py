"""What a process does for which conversations, and from which queues it takes wakes."""

from __future__ import annotations

from typing import ClassVar

import pytest

from cometbot.delivery.roles import Roles, owned_channels, queue_of_lane
from cometbot.models import LaneKey
from cometbot.testing.channel import FakeChannel

LANE = str(LaneKey("held", "an/account", "shop", "contact_4/5"))
ANYWHERE = str(LaneKey("fake", "test", "shop", "maria"))


class Held(FakeChannel):
    """A channel whose connection is here."""

    name: ClassVar[str] = "held"
    has_owner: ClassVar[bool] = True


class Elsewhere(Held):
    """The same channel where its connection is not."""

    sends = False  # type: ignore[assignment]


def roles(held: Held, *, handles: bool = True) -> Roles:
    return Roles.of(["shop"], {"fake": FakeChannel(), "held": held}, handles=handles)


@pytest.mark.parametrize(
    ("held", "handles", "both", "only_handled", "only_sent"),
    [
        (Held(), True, {"fake", "held"}, set(), set()),
        (Held(), False, set(), set(), {"held"}),
        (Elsewhere(), True, {"fake"}, {"held"}, set()),
        (Elsewhere(), False, set(), set(), set()),
    ],
)
def test_what_a_process_does(
    held: Held, handles: bool, both: set[str], only_handled: set[str], only_sent: set[str]
) -> None:
    found = roles(held, handles=handles)

    assert (found.both, found.only_handled, found.only_sent) == (both, only_handled, only_sent)


def test_it_can_do_only_what_it_has_the_bot_the_channel_and_the_connection_for() -> None:
    here, there = roles(Held()), roles(Elsewhere())

    assert (here.can(LANE, to_send=True), here.can(LANE, to_send=False)) == (True, True)
    assert (there.can(LANE, to_send=True), there.can(LANE, to_send=False)) == (False, True)
    assert there.serve(LANE)
    for other in ("held/a/other/x", "strange/a/shop/x", "", "held", "held/a"):
        assert not here.serve(other)
        assert not here.can(other, to_send=True)


def test_each_channel_has_its_queue_and_an_owned_one_a_second_for_its_owner() -> None:
    queues = {
        "all": [queue for queue, _ in roles(Held()).queues()],
        "sends": [queue for queue, _ in roles(Held(), handles=False).queues()],
        "handles": [queue for queue, _ in roles(Elsewhere()).queues()],
    }

    assert queues == {
        "all": ["cometbot.fake", "cometbot.held", "cometbot.held.send"],
        "sends": ["cometbot.held.send"],
        "handles": ["cometbot.fake", "cometbot.held"],
    }


def test_each_queue_sweeps_for_its_own_part() -> None:
    parts = dict(roles(Held()).queues())

    assert parts["cometbot.fake"].both == {"fake"}
    assert parts["cometbot.held"].only_handled == {"held"}
    assert parts["cometbot.held.send"].only_sent == {"held"}


@pytest.mark.parametrize(
    ("lane", "to_send", "queue"),
    [
        (LANE, True, "cometbot.held.send"),
        (LANE, False, "cometbot.held"),
        (ANYWHERE, True, "cometbot.fake"),
        (ANYWHERE, False, "cometbot.fake"),
    ],
)
def test_a_wake_goes_to_who_can_do_what_is_to_be_done(lane: str, to_send: bool, queue: str) -> None:
    assert queue_of_lane(lane, owned_channels({"held": Held(), "fake": FakeChannel()}), to_send=to_send) == queue
