"""Unwanted messages, warnings, removals and bans on the channels that have them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from cometbot import BotError
from cometbot.testing import BotClient
from examples.moderator import bot

AD = "Win the JACKPOT today"


@pytest.fixture(params=["fake", "cometchat", "simplex"])
def maria(request: Any) -> Iterator[BotClient]:
    with BotClient(bot, user="maria", group="flea-market", channel=request.param) as client:
        client.set_scope("moderator")
        yield client


@pytest.fixture
def tom(maria: BotClient) -> BotClient:
    client = maria.as_user("tom", group="flea-market")
    client.send("Good morning")
    return client


def test_unwanted_messages_are_deleted_and_counted(tom: BotClient) -> None:
    for number in (1, 2):
        assert f"warning {number}" in tom.send(AD).text
        assert tom.is_deleted
    assert tom.scope == "participant"

    assert tom.send(AD).text == "Tom was removed."
    assert tom.is_deleted
    assert tom.scope == ""


def test_other_messages_stay(tom: BotClient) -> None:
    assert not tom.send("I sell a bicycle")
    assert not tom.is_deleted


def test_warnings_end_after_a_day(tom: BotClient) -> None:
    tom.send(AD)
    tom.advance("25h")

    assert "warning 1" in tom.send(AD).text


def test_warnings_are_for_one_user(maria: BotClient, tom: BotClient) -> None:
    tom.send(AD)

    assert "Maria, no advertising, please. This is warning 1." in maria.send(AD).text


def test_moderators_ban(maria: BotClient, tom: BotClient) -> None:
    uid = maria.fake.uid(tom.user, "flea-market")
    assert "is banned" in maria.send(f"/ban <@uid:{uid}>").text

    with suppress(BotError):
        assert not tom.send(AD)


def test_others_do_not_ban(maria: BotClient, tom: BotClient) -> None:
    uid = maria.fake.uid(maria.user, "flea-market")
    assert tom.send(f"/ban {uid}").text == "Only moderators can do that."
    assert maria.scope == "moderator"


def test_alone_nobody_is_a_moderator(maria: BotClient) -> None:
    alone = maria.as_user("maria")
    assert alone.send("/ban tom").text == "Only moderators can do that."
    assert not alone.send(AD)
