"""The official JavaScript client of SimpleX, installed from npm, against the stand-in for the CLI."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cometbot.testing import FakeSimplexCLI
from cometbot.testing.simplex import Person
from tests.acceptance.conftest import WAIT_TIMEOUT
from tests.acceptance.npm import find_node, install_package

pytestmark = pytest.mark.process

SCRIPT = Path(__file__).with_name("simplex_squaring_bot.cjs")


@pytest.fixture
def cli() -> Iterator[FakeSimplexCLI]:
    with FakeSimplexCLI(display_name="Squares") as cli:
        yield cli


def test_official_client_bot_answers_numbers(cli: FakeSimplexCLI) -> None:
    package = install_package("simplex-chat", "0.2.1")
    environ = {**os.environ, "PACKAGE": str(package), "SIMPLEX_URL": cli.url}
    with subprocess.Popen([find_node(), str(SCRIPT)], env=environ, stdout=subprocess.PIPE, text=True) as bot:
        assert bot.stdout is not None
        try:
            assert bot.stdout.readline() == "ready as Squares\n"
            alice = cli.request("alice")
            assert isinstance(alice, Person)
            cli.wait_for(lambda: alice.texts() == ["Send me a number."], WAIT_TIMEOUT)
            alice.say("12")
            alice.say("twelve")
            answers = ["Send me a number.", "12 * 12 = 144", "this is not a number"]
            cli.wait_for(lambda: alice.texts() == answers, WAIT_TIMEOUT)
            cli.close()
            assert bot.wait(WAIT_TIMEOUT) == 0
        finally:
            bot.kill()
    assert cli.commands[:4] == ["/u", "/show_address", "/address", "/auto_accept on"]
