"""Groups of the bot, searched for over a CLI that reads the documented command, and over one that does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cometbot import Bot
from cometbot.channels.simplex.connection import Timing
from cometbot.channels.simplex.owner import Owner
from cometbot.delivery import Delivery
from cometbot.settings import Settings
from cometbot.testing import FakeSimplexCLI


@pytest.fixture
def cli() -> Iterator[FakeSimplexCLI]:
    with FakeSimplexCLI() as cli:
        yield cli


@pytest.fixture
def owner(cli: FakeSimplexCLI, tmp_path: Path) -> Iterator[Owner]:
    bot = Bot("shop")
    owner = Owner(Settings(simplex_url=cli.url, data=tmp_path), bot, timing=Timing(first_wait=0.02))
    delivery = Delivery([bot], [owner.channel], f"sqlite:///{tmp_path}/bot.db", threads=1)
    delivery.start()
    owner.open(delivery)
    assert owner.connection.wait_ready(10)
    cli.wait_for(lambda: any(command.startswith("/_groups") for command in cli.commands))
    yield owner
    delivery.close()


@pytest.mark.parametrize("search", ["@4", "voil\u00e0", "a\nb", "  ", "tea", ""])
def test_groups_are_found_by_any_text(search: str, owner: Owner, cli: FakeSimplexCLI) -> None:
    for name in ("Mail @4", "Voil\u00e0", "Team", "two  blanks"):
        cli.add_group(name)
    found = [group.name for group in owner.channel.client(owner._bot).groups(search)]
    assert (
        found
        == {
            "@4": ["Mail @4"],
            "voil\u00e0": ["Voil\u00e0"],
            "a\nb": [],
            "  ": ["two  blanks"],
            "tea": ["Team"],
            "": ["Mail @4", "Voil\u00e0", "Team", "two  blanks"],
        }[search]
    )


def test_groups_are_listed_where_the_space_is_not_read(owner: Owner, cli: FakeSimplexCLI) -> None:
    cli.add_group("Team")
    cli.misbehave("unread", on="/_groups ")
    assert [group.name for group in owner.channel.client(owner._bot).groups("tea")] == ["Team"]
    assert cli.commands[-1] == "/_groups1 tea"
