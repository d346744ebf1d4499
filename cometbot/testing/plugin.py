"""The pytest plugin with fixtures for every project that uses cometbot. It defers imports until they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cometbot.bot import Bot
    from cometbot.simulator import Simulator
    from cometbot.testing.client import BotClient

CAPABILITIES_PROPERTY = "cometbot_capabilities"
"""The name of the test report's property with a channel's column of the capabilities table."""

pytest.register_assert_rewrite("cometbot.testing.contract")


@pytest.fixture
def bot_client() -> Iterator[Callable[..., BotClient]]:
    """Return a function that makes a :class:`BotClient` with the same arguments, and closes it after the test.

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
    """Yield a simulated CometChat that listens on a free local port, for this test alone."""
    from cometbot.simulator import Simulator

    with Simulator() as simulator:
        yield simulator


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the capabilities of the channels whose contract was tested."""
    found = [
        value
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == CAPABILITIES_PROPERTY
    ]
    if not found:
        return
    terminalreporter.section("capabilities")
    terminalreporter.write_line(format_table(dict(found)))


def format_table(columns: Mapping[str, Mapping[str, str]]) -> str:
    """Return columns with the same rows as a Markdown table, padded so that the source is readable."""
    names = next(iter(columns.values()), {})
    lines = [["", *columns], *([name, *(rows.get(name, "") for rows in columns.values())] for name in names)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    cells = (" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(f"| {line} |" for line in cells)
