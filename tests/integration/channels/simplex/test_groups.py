"""Groups of the bot, searched for over a CLI that reads the documented command, and over one that does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cometbot import Bot
from cometbot.channels.simplex.service import SimplexService
from cometbot.channels.simplex.socket_session import Timing
from cometbot.delivery import Delivery
from cometbot.settings import Settings
from cometbot.testing import FakeSimplexCLI


@pytest.fixture
def cli() -> Iterator[FakeSimplexCLI]:
    with FakeSimplexCLI() as cli:
        yield cli


@pytest.fixture
def service(cli: FakeSimplexCLI, tmp_path: Path) -> Iterator[SimplexService]:
    bot = Bot("shop")
    service = SimplexService(Settings(simplex_url=cli.url, data=tmp_path), bot, timing=Timing(initial_backoff=0.02))
    delivery = Delivery([bot], [service.channel], f"sqlite:///{tmp_path}/bot.db", threads=1)
    delivery.start()
    service.open(delivery)
    assert service.connection.wait_ready(10)
    cli.wait_for(lambda: any(command.startswith("/_groups") for command in cli.commands))
    yield service
    delivery.close()


@pytest.mark.parametrize("search", ["@4", "voil\u00e0", "a\nb", "  ", "tea", ""])
def test_groups_are_found_by_any_text(search: str, service: SimplexService, cli: FakeSimplexCLI) -> None:
    for name in ("Mail @4", "Voil\u00e0", "Team", "two  blanks"):
        cli.add_group(name)
    found = [group.name for group in service.channel.client(service._bot).groups(search)]
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


def test_groups_are_listed_where_the_space_is_not_read(service: SimplexService, cli: FakeSimplexCLI) -> None:
    cli.add_group("Team")
    cli.misbehave("unread", on="/_groups ")
    assert [group.name for group in service.channel.client(service._bot).groups("tea")] == ["Team"]
    assert cli.commands[-1] == "/_groups1 tea"
