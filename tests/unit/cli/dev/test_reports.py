"""What the bot's process tells its parent."""

from __future__ import annotations

import logging
import os

import pytest

from cometbot.author_error import ErrorReport
from cometbot.cli.dev.reports import (
    BotInfo,
    CommandInfo,
    Failed,
    HttpCall,
    Logged,
    Printed,
    Ready,
    Report,
    Reporter,
    read_report,
)


@pytest.mark.parametrize(
    "report",
    [
        Ready(
            (BotInfo("shop", "shop-uid", (CommandInfo("/track", "/track NUMBER", "Where is it?"),)),),
            ("/home/me/shop.py",),
        ),
        Failed(ErrorReport("NameError: x", "shop.py, line 3", "x()", "Traceback …"), files=("/home/me/shop.py",)),
        Failed(ErrorReport("set COMETBOT_BOT"), is_configuration_error=True),
        Logged(30, "shop", "low on shoes"),
        Logged(40, "shop", "failed", ErrorReport("ValueError: \ud800 ünd")),
        Printed("hello"),
        HttpCall("callback", 200, 0.01, "POST /cometchat/shop", "maria: hi"),
    ],
)
def test_a_report_that_is_written_is_read_as_it_was(report: Report) -> None:
    reading, writing = os.pipe()
    reporter = Reporter(writing)
    reporter.report(report)
    reporter._file.close()
    with os.fdopen(reading, encoding="utf-8") as source:
        assert [read_report(line) for line in source] == [report]


def test_a_report_to_a_parent_that_has_gone_is_dropped() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    reporter = Reporter(writing)
    reporter.report(Printed("anybody there?"))
    with pytest.raises(BrokenPipeError):
        reporter._file.close()


def test_log_record_names_the_line_that_raised(capfd: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    reporter = Reporter(writing)
    logger = logging.Logger("shop")
    logger.addHandler(reporter)
    try:
        raise ZeroDivisionError("no shoes")
    except ZeroDivisionError:
        logger.exception("failed on %s", "shoes")
    reporter._file.close()
    with os.fdopen(reading, encoding="utf-8") as source:
        report = read_report(source.readline())
    assert isinstance(report, Logged)
    assert (report.level, report.text) == (logging.ERROR, "failed on shoes")
    assert report.fault is not None
    assert report.fault.text == "ZeroDivisionError: no shoes"
    assert report.fault.code == 'raise ZeroDivisionError("no shoes")'
    assert "test_reports.py, line " in report.fault.place
    assert report.fault.trace.startswith("Traceback")
