"""The roles of a process, by its channels."""

from __future__ import annotations

from typing import ClassVar

import pytest

from cometbot.channels.base import Channels
from cometbot.delivery.roles import ProcessRoles, owned_channels, queue_for_conversation
from cometbot.models import ConversationKey
from cometbot.testing.fake_channel import FakeChannel

OWNED_KEY = str(ConversationKey("held", "an/account", "shop", "contact_4/5"))
PLAIN_KEY = str(ConversationKey("fake", "test", "shop", "maria"))


class OwnerChannel(FakeChannel):
    """A channel whose connection is here."""

    name: ClassVar[str] = "held"
    has_single_sender: ClassVar[bool] = True


class RemoteChannel(OwnerChannel):
    """The same channel where its connection is not."""

    can_send = False  # type: ignore[assignment]


def roles(held: OwnerChannel, *, handles: bool = True) -> ProcessRoles:
    return ProcessRoles.from_channels(["shop"], Channels([FakeChannel(), held]), handles=handles)


@pytest.mark.parametrize(
    ("held", "handles", "both", "only_handled", "only_sent"),
    [
        (OwnerChannel(), True, {"fake", "held"}, set(), set()),
        (OwnerChannel(), False, set(), set(), {"held"}),
        (RemoteChannel(), True, {"fake"}, {"held"}, set()),
        (RemoteChannel(), False, set(), set(), set()),
    ],
)
def test_roles_of_a_process(
    held: OwnerChannel, handles: bool, both: set[str], only_handled: set[str], only_sent: set[str]
) -> None:
    found = roles(held, handles=handles)

    assert (found.handled_and_sent, found.only_handled, found.only_sent) == (both, only_handled, only_sent)


def test_abilities_need_bot_channel_and_connection() -> None:
    here, there = roles(OwnerChannel()), roles(RemoteChannel())

    assert here.abilities(OWNED_KEY) == (True, True)
    assert there.abilities(OWNED_KEY) == (True, False)
    for other in ("held/a/other/x", "strange/a/shop/x", "", "held", "held/a"):
        assert here.abilities(other) == (False, False)


class AppChannel(FakeChannel):
    """The channel of one app of several, whose account is "test"."""

    app = "shop_eu"


def test_channel_with_apps_is_served_for_its_accounts_alone() -> None:
    found = ProcessRoles.from_channels(["shop"], Channels([AppChannel()]))

    assert found.accounts == {"fake": {"test"}}
    assert found.abilities(PLAIN_KEY) == (True, True)
    assert found.abilities(str(ConversationKey("fake", "elsewhere", "shop", "maria"))) == (False, False)
    assert [roles.accounts for _, roles in found.queues()] == [found.accounts]


def test_owned_channel_has_a_second_queue_for_its_owner() -> None:
    queues = {
        "all": [queue for queue, _ in roles(OwnerChannel()).queues()],
        "sends": [queue for queue, _ in roles(OwnerChannel(), handles=False).queues()],
        "handles": [queue for queue, _ in roles(RemoteChannel()).queues()],
    }

    assert queues == {
        "all": ["cometbot.fake", "cometbot.held", "cometbot.held.send"],
        "sends": ["cometbot.held.send"],
        "handles": ["cometbot.fake", "cometbot.held"],
    }


def test_each_queue_sweeps_for_its_own_part() -> None:
    parts = dict(roles(OwnerChannel()).queues())

    assert parts["cometbot.fake"].handled_and_sent == {"fake"}
    assert parts["cometbot.held"].only_handled == {"held"}
    assert parts["cometbot.held.send"].only_sent == {"held"}


@pytest.mark.parametrize(
    ("conversation_key", "to_send", "queue"),
    [
        (OWNED_KEY, True, "cometbot.held.send"),
        (OWNED_KEY, False, "cometbot.held"),
        (PLAIN_KEY, True, "cometbot.fake"),
        (PLAIN_KEY, False, "cometbot.fake"),
    ],
)
def test_notification_goes_to_the_queue_of_its_role(conversation_key: str, to_send: bool, queue: str) -> None:
    assert (
        queue_for_conversation(
            conversation_key, owned_channels(Channels([OwnerChannel(), FakeChannel()])), to_send=to_send
        )
        == queue
    )
