"""What the page is told of the bot's process."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import cast

import pytest

from cometbot.author_error import ErrorReport
from cometbot.cli.dev.reports import BotInfo, CommandInfo, Failed, Logged, Printed, Ready
from cometbot.cli.dev.workbench import MAX_LINES, DevWorkbench
from cometbot.delivery import Delivery

READY = Ready((BotInfo("helpdesk", "Help-Desk", (CommandInfo("/track", "/track NUMBER", "Where is it?"),)),))


@pytest.fixture
def bench() -> DevWorkbench:
    """One that never reads a database: none is there before a bot has begun."""
    return DevWorkbench("bot.py:bot", cast(Delivery, None))


def test_bot_that_never_started_is_not_running(bench: DevWorkbench) -> None:
    assert bench.status()["state"] == "failed"
    assert bench.handled() == {}
    assert bench.dead_letters() == []
    assert bench.dialogs() == []
    assert bench.jobs() == []


def test_a_bot_that_serves_is_running_with_its_commands(bench: DevWorkbench) -> None:
    bench.started(READY, [])
    status = bench.status()
    assert (status["state"], status["starts"], status["fault"]) == ("running", 1, None)
    assert status["commands"] == {
        "help-desk": [{"name": "/track", "usage": "/track NUMBER", "description": "Where is it?"}]
    }


def test_an_agent_has_the_commands_of_its_bot(bench: DevWorkbench) -> None:
    bench.started(READY, [], {"helpdesk": "f728b4fa", "gone": "0c1d2e3f"})
    commands = bench.status()["commands"]
    assert list(commands) == ["help-desk", "f728b4fa"]
    assert commands["f728b4fa"] == commands["help-desk"]


def test_new_code_that_does_not_run_leaves_the_old_bot_running(bench: DevWorkbench) -> None:
    bench.started(READY, [])
    bench.failed(Failed(ErrorReport("SyntaxError: invalid syntax", "bot.py, line 3")), [Path.cwd() / "bot.py"])
    status = bench.status()
    assert status["state"] == "running"
    assert status["fault"]["place"] == "bot.py, line 3"
    assert status["files"] == ["bot.py"]


def test_fixed_code_clears_the_error(bench: DevWorkbench) -> None:
    bench.failed(Failed(ErrorReport("SyntaxError: invalid syntax")), [])
    bench.started(READY, [Path("/elsewhere/shop.py")])
    status = bench.status()
    assert status["fault"] is None
    assert status["files"] == ["/elsewhere/shop.py"]


def test_a_process_that_died_is_not_running(bench: DevWorkbench) -> None:
    bench.started(READY, [])
    bench.exited()
    assert bench.status()["state"] == "failed"


def test_output_is_what_was_printed_and_logged_in_order(bench: DevWorkbench) -> None:
    bench.reported(Printed("hello"))
    bench.reported(Logged(logging.ERROR, "bot", "it broke", ErrorReport("ValueError: no", trace="Traceback …")))
    lines = [(line["level"], line["text"], line["trace"]) for line in bench.output()]
    assert lines == [("print", "hello", ""), ("error", "it broke: ValueError: no", "Traceback …")]


def test_only_the_newest_lines_are_kept(bench: DevWorkbench) -> None:
    for number in range(MAX_LINES + 5):
        bench.reported(Printed(str(number)))
    lines = bench.output()
    assert len(lines) == MAX_LINES
    assert lines[-1]["text"] == str(MAX_LINES + 4)
    assert lines[-1]["id"] == MAX_LINES + 5
