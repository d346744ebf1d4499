"""What every project with cometbot installed finds in its pytest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import requests

from cometbot import Bot
from cometbot.simulator import Simulator
from cometbot.testing import BotClient

pytest_plugins = ["pytester"]

HEAVY = ("sqlalchemy", "flask", "requests", "marshmallow", "gunicorn", "cometbot.delivery", "cometbot.simulator")

TEST_OF_A_PROJECT = """
    from cometbot import Bot

    bot = Bot("greeter")

    @bot.message("hi")
    def greet(ctx):
        return "Hello!"

    def test_greeting(bot_client):
        assert bot_client(bot).send("hi").text == "Hello!"

    def test_nothing_is_shared(bot_client):
        assert not bot_client(bot).said()
"""

TEST_OF_A_CHANNEL = """
    from cometbot.testing import MemoryFake
    from cometbot.testing.contract import ChannelContract

    class TestMine(ChannelContract):
        def make_fake(self, bot):
            return MemoryFake(bot)
"""


def test_the_plugin_imports_nothing_heavy_until_it_is_used() -> None:
    code = f"import sys, cometbot.testing.plugin; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_every_public_name_can_be_imported_and_no_other() -> None:
    import cometbot.testing as kit

    assert all(getattr(kit, name) for name in kit.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        kit.Nothing  # noqa: B018


def test_bot_client_makes_clients_with_options(bot_client: Callable[..., BotClient]) -> None:
    assert bot_client(Bot("a")).user.uid == "maria"
    assert bot_client(Bot("b"), user="tom").user.uid == "tom"


def test_the_simulator_listens_and_is_empty(cometchat_simulator: Simulator) -> None:
    answer = requests.get(
        f"{cometchat_simulator.api_url}/users", headers={"apikey": cometchat_simulator.api_key}, timeout=5
    )

    assert answer.status_code == 200
    assert answer.json()["data"] == []


def test_a_project_needs_no_more_than_the_fixture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TEST_OF_A_PROJECT)

    pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_the_table_of_capabilities_ends_the_run_of_a_contract(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TEST_OF_A_CHANNEL)
    result = pytester.runpytest_inprocess("-q", "-k", "go_into_the_table")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*= capabilities =*", "|*| Mine *", "| Card *| shown *"])


def test_a_run_without_a_contract_ends_without_a_table(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TEST_OF_A_PROJECT)

    assert "capabilities" not in pytester.runpytest_inprocess("-q").stdout.str()
