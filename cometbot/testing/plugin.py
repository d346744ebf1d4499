"""The pytest plugin: fixtures for every project with cometbot installed; it imports little until they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cometbot.bot import Bot
    from cometbot.simulator import Simulator
    from cometbot.testing.client import BotClient

CAPABILITIES_PROPERTY = "cometbot_capabilities"
"""The property of a test's report that holds a channel's column of the table of capabilities."""

pytest.register_assert_rewrite("cometbot.testing.contract")


@pytest.fixture
def bot_client() -> Iterator[Callable[..., BotClient]]:
    """What makes a :class:`BotClient` of a bot, with the same options, and closes it after the test.

    ::

        def test_greeting(bot_client):
            assert bot_client(bot).send("hi").text == "Hello!"
    """
    from cometbot.testing.client import BotClient

    made: list[BotClient] = []

    def make(bot: Bot, **options: Any) -> BotClient:
        made.append(BotClient(bot, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def cometchat_simulator() -> Iterator[Simulator]:
    """A simulated CometChat that listens on a free port of this machine, for this test alone."""
    from cometbot.simulator import Simulator

    with Simulator() as simulator:
        yield simulator


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the channels can carry whose contract was tested."""
    found = [
        value
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == CAPABILITIES_PROPERTY
    ]
    if not found:
        return
    from cometbot.testing.contract.table import format_table

    terminalreporter.section("capabilities")
    terminalreporter.write_line(format_table(dict(found)))
