"""What the screen says of the bot's processes."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from rich.console import Console

from cometbot.cli.dev.narrator import Narrator, name_files, say_refusal
from cometbot.cli.dev.reports import Called, Failed, Logged, Printed
from cometbot.cli.dev.screen import Screen
from cometbot.faults import Fault

FAULT = Fault("SyntaxError: invalid syntax", "shop.py, line 3", "def f(:", "Traceback …")


class Stage:
    """A narrator, and what it has said."""

    def __init__(self) -> None:
        self._console = Console(file=io.StringIO(), width=100, highlight=False)
        self.narrator = Narrator(Screen(self._console, io.StringIO()), whole=False)

    @property
    def said(self) -> str:
        assert isinstance(self._console.file, io.StringIO)
        return self._console.file.getvalue()


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_new_code_is_told_from_a_mere_start(stage: Stage) -> None:
    stage.narrator.started([Path.cwd() / "shop.py"])
    stage.narrator.started([])
    assert stage.said == "↻ shop.py changed: the bot runs with the new code\n↻ the bot runs again\n"


def test_code_that_fails_is_shown_with_its_line_and_with_who_goes_on(stage: Stage) -> None:
    stage.narrator.failed(Failed(FAULT), [Path.cwd() / "shop.py"], is_running=True)
    stage.narrator.failed(Failed(FAULT), [], is_running=False)
    assert "✗ shop.py changed, but the bot cannot start; the old one goes on\n  shop.py, line 3: Syntax" in stage.said
    assert "✗ the bot cannot start; it is tried again when you save a file" in stage.said


@pytest.mark.parametrize(("status", "how"), [(3, "ended with the status 3"), (-9, "was killed by signal 9")])
def test_the_end_of_a_process_is_told_with_its_cause(stage: Stage, status: int, how: str) -> None:
    stage.narrator.died(status)
    assert stage.said == f"✗ the bot's process {how}; another one is started\n"


def test_what_the_bot_prints_and_logs_is_shown_and_moves_no_cursor(stage: Stage) -> None:
    stage.narrator.heard(Printed("hello\x1b[2J"))
    stage.narrator.heard(Logged(logging.WARNING, "shop", "low on shoes"))
    assert stage.said == "│ hello�[2J\n! low on shoes\n"


def test_calls_are_shown_once_they_are_wanted_but_not_those_of_upkeep(stage: Stage) -> None:
    called = Called("callback", 200, 0.012, "POST /cometchat/shop", "maria: hi")
    stage.narrator.heard(called)
    assert stage.said == ""
    stage.narrator.shows_calls = True
    stage.narrator.heard(Called("REST", 200, 0.012, "GET /bots"))
    stage.narrator.heard(called)
    assert stage.said.strip() == "callback 200    12 ms  POST /cometchat/shop  maria: hi"


def test_warnings_of_this_process_are_shown_while_it_listens(stage: Stage) -> None:
    logger = logging.getLogger("cometbot.test_narrator")
    with stage.narrator.listening():
        logger.warning("the tunnel is slow")
    logger.warning("nobody listens")
    assert stage.said == "! the tunnel is slow\n"


def test_a_refusal_names_the_place_where_there_is_one() -> None:
    assert say_refusal(Failed(FAULT)) == "the bot cannot start; shop.py, line 3: SyntaxError: invalid syntax"
    assert say_refusal(Failed(Fault("killed"))) == "the bot cannot start; killed"
    assert say_refusal(Failed(Fault("set COMETBOT_BOT"), is_setting=True)) == "set COMETBOT_BOT"


def test_of_many_files_the_first_are_named() -> None:
    files = [Path.cwd() / f"{letter}.py" for letter in "abcde"]
    assert name_files(files) == "a.py, b.py, c.py and 2 more"
    assert name_files([Path("/elsewhere/a.py")]) == "/elsewhere/a.py"
