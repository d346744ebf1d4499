"""Keys of every channel fit into every database, and the channels of a process are found by name, account and app."""

from __future__ import annotations

import re

import pytest

from cometbot.channels.base import MAX_KEY_BYTES, Channels, IncomingEvent
from cometbot.errors import BotError
from cometbot.models import Conversation
from cometbot.testing.fake_channel import FakeChannel

HERE = Conversation("cometchat", "app", "helpdesk", "group_ops", "ops", is_group=True)


def key_of(key: str) -> str:
    return IncomingEvent(HERE, key, b"{}").key


@pytest.mark.parametrize(
    "key",
    [
        "message:90430",
        "edit:90430:1767225690",
        "reaction:712:maria:👨‍👩‍👧:added:5",
        "member:büro:scope_changed:jürgen,müller:0a1b",
        "message:" + "\U0002a6df" * 255,
        "",
    ],
)
def test_a_usual_key_stays_as_it_is(key: str) -> None:
    assert key_of(key) == key


@pytest.mark.parametrize(
    "key",
    [
        "call:a\0b:ended",
        "call:a\nb:ended",
        "call:\x7f:ended",
        "call:\ud800:ended",
        "call:" + "x" * MAX_KEY_BYTES,
        "call:" + "\U0002a6df" * (MAX_KEY_BYTES // 4),
    ],
)
def test_a_key_that_no_index_takes_is_told_by_its_hash(key: str) -> None:
    made = key_of(key)
    assert re.fullmatch("call:[0-9a-f]{64}", made)
    assert key_of(key) == made
    assert key_of(made) == made
    assert key_of(key + "!") != made


def test_the_kind_of_a_key_is_not_kept_where_it_is_odd_itself() -> None:
    for kind in ("a\0b", "x" * 5000, "\U0002a6df" * 5000):
        assert re.fullmatch("[0-9a-f]{64}", key_of(f"{kind}:1"))


class AppChannel(FakeChannel):
    """The channel of one app of several."""

    def __init__(self, app: str, account: str) -> None:
        super().__init__(account=account)
        self.app = app


class OtherChannel(FakeChannel):
    """A channel without apps beside it."""

    name = "other"


EU, US, OTHER = AppChannel("eu", "app-1"), AppChannel("us", "app-2"), OtherChannel()
CHANNELS = Channels([OTHER, EU, US])


def place(channel: str = "fake", account: str = "app-2") -> Conversation:
    return Conversation(channel, account, "shop", "maria", "maria")


def test_channel_of_a_conversation_is_that_of_its_app() -> None:
    assert [CHANNELS.of(place(account=account)) for account in ("app-1", "app-2")] == [EU, US]
    assert CHANNELS.of(place("other", "whatever")) is OTHER
    assert (list(CHANNELS), CHANNELS["fake"], CHANNELS.all) == (["other", "fake"], EU, (OTHER, EU, US))
    assert CHANNELS.accounts == {"fake": {"app-1", "app-2"}}


def test_conversation_of_an_app_that_is_not_served_has_no_channel() -> None:
    assert CHANNELS.find(place(account="app-3")) is None
    with pytest.raises(
        BotError, match=r"the app 'app-3' is not served here; there is: eu, us\. Add it to COMETCHAT_APPS"
    ):
        CHANNELS.of(place(account="app-3"))
    with pytest.raises(BotError, match="the channel 'nowhere' is not configured here; there is: other, fake"):
        CHANNELS.of(place("nowhere"))


def test_only_channel_of_a_name_has_conversations_of_every_account() -> None:
    alone = FakeChannel()
    channels = Channels([alone])
    assert channels.of(place(account="an app of before")) is alone
    assert (channels.accounts, channels.get_app(place())) == ({}, "")


def test_channel_is_chosen_by_name_app_and_account() -> None:
    assert CHANNELS.choose() is OTHER
    assert CHANNELS.choose("fake") is EU
    assert [CHANNELS.choose("fake", "us"), CHANNELS.choose(app="us"), CHANNELS.choose(app="app-2")] == [US, US, US]
    for name, app in (("other", "us"), ("", "asia")):
        with pytest.raises(BotError, match="is not served here; there is: eu, us"):
            CHANNELS.choose(name, app)
    with pytest.raises(BotError, match="the server has one app only, got 'eu'; leave it out, or set COMETCHAT_APPS"):
        Channels([OTHER]).choose(app="eu")


def test_app_of_a_conversation_is_its_name_or_its_account() -> None:
    assert [CHANNELS.get_app(place(account=account)) for account in ("app-1", "app-3")] == ["eu", "app-3"]
    assert CHANNELS.get_app(place("other")) == ""


def test_aliases_stand_behind_the_channels() -> None:
    channels = Channels([EU], {"also": EU}, {"us": EU})
    assert (list(channels), channels.choose("also"), channels.choose(app="us")) == (["fake", "also"], EU, EU)
