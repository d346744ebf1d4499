"""What the screen says of the bot's processes."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from rich.console import Console

from cometbot.author_error import ErrorReport
from cometbot.cli.dev.console import ConsoleLog, describe_start_failure, format_files
from cometbot.cli.dev.reports import Failed, HttpCall, Logged, Printed
from cometbot.cli.dev.screen import Screen

FAULT = ErrorReport("SyntaxError: invalid syntax", "shop.py, line 3", "def f(:", "Traceback …")


class ConsoleSetup:
    """A narrator, and what it has said."""

    def __init__(self) -> None:
        self._console = Console(file=io.StringIO(), width=100, highlight=False)
        self.console_log = ConsoleLog(Screen(self._console, io.StringIO()), full_tracebacks=False)

    @property
    def said(self) -> str:
        assert isinstance(self._console.file, io.StringIO)
        return self._console.file.getvalue()


@pytest.fixture
def console_setup() -> ConsoleSetup:
    return ConsoleSetup()


def test_new_code_is_told_from_a_mere_start(console_setup: ConsoleSetup) -> None:
    console_setup.console_log.started([Path.cwd() / "shop.py"])
    console_setup.console_log.started([])
    assert console_setup.said == "↻ shop.py changed: the bot runs with the new code\n↻ the bot is running again\n"


def test_start_failure_shows_line_and_consequence(console_setup: ConsoleSetup) -> None:
    console_setup.console_log.failed(Failed(FAULT), [Path.cwd() / "shop.py"], is_running=True)
    console_setup.console_log.failed(Failed(FAULT), [], is_running=False)
    assert (
        "✗ shop.py changed, but the bot cannot start; the previous version keeps running\n  shop.py, line 3: Syntax"
        in console_setup.said
    )
    assert "✗ the bot cannot start; retrying when you save a file" in console_setup.said


@pytest.mark.parametrize(("status", "how"), [(3, "exited with status 3"), (-9, "was killed by signal 9")])
def test_the_end_of_a_process_is_told_with_its_cause(console_setup: ConsoleSetup, status: int, how: str) -> None:
    console_setup.console_log.exited(status)
    assert console_setup.said == f"✗ the bot's process {how}; restarting\n"


def test_bot_output_is_shown_sanitized(console_setup: ConsoleSetup) -> None:
    console_setup.console_log.reported(Printed("hello\x1b[2J"))
    console_setup.console_log.reported(Logged(logging.WARNING, "shop", "low on shoes"))
    assert console_setup.said == "│ hello�[2J\n! low on shoes\n"


def test_calls_are_shown_except_background_calls(console_setup: ConsoleSetup) -> None:
    called = HttpCall("callback", 200, 0.012, "POST /cometchat/shop", "maria: hi")
    console_setup.console_log.reported(called)
    assert console_setup.said == ""
    console_setup.console_log.shows_calls = True
    console_setup.console_log.reported(HttpCall("REST", 200, 0.012, "GET /bots"))
    console_setup.console_log.reported(called)
    assert console_setup.said.strip() == "callback 200    12 ms  POST /cometchat/shop  maria: hi"


def test_warnings_of_this_process_are_shown_while_it_listens(console_setup: ConsoleSetup) -> None:
    logger = logging.getLogger("cometbot.test_narrator")
    with console_setup.console_log.capture_warnings():
        logger.warning("the tunnel is slow")
    logger.warning("nobody listens")
    assert console_setup.said == "! the tunnel is slow\n"


def test_a_refusal_names_the_place_where_there_is_one() -> None:
    assert describe_start_failure(Failed(FAULT)) == "cannot start the bot: shop.py, line 3: SyntaxError: invalid syntax"
    assert describe_start_failure(Failed(ErrorReport("killed"))) == "cannot start the bot: killed"
    assert (
        describe_start_failure(Failed(ErrorReport("set COMETBOT_BOT"), is_configuration_error=True))
        == "set COMETBOT_BOT"
    )


def test_of_many_files_the_first_are_named() -> None:
    files = [Path.cwd() / f"{letter}.py" for letter in "abcde"]
    assert format_files(files) == "a.py, b.py, c.py and 2 more"
    assert format_files([Path("/elsewhere/a.py")]) == "/elsewhere/a.py"
