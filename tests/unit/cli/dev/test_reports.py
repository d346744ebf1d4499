"""What the bot's process tells its parent."""

from __future__ import annotations

import ipaddress
import logging
import os
import sysconfig
from pathlib import Path

import pytest

import cometbot.bot
from cometbot.cli.dev.reports import (
    BotInfo,
    Failed,
    Fault,
    Logged,
    Printed,
    Ready,
    Report,
    Reporter,
    is_own,
    own_files,
    read_report,
)


@pytest.mark.parametrize(
    "report",
    [
        Ready((BotInfo("shop", "shop-uid", ("/track",)),), ("/home/me/shop.py",)),
        Failed(Fault("NameError: x", "shop.py, line 3", "x()", "Traceback …"), files=("/home/me/shop.py",)),
        Failed(Fault("set COMETBOT_BOT"), is_setting=True),
        Logged(30, "shop", "low on shoes"),
        Logged(40, "shop", "failed", Fault("ValueError: \ud800 ünd")),
        Printed("hello"),
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


def test_a_log_record_with_an_exception_names_the_line_that_raised(capfd: pytest.CaptureFixture[str]) -> None:
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


def test_a_syntax_error_names_its_file_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = "x = 1\ndef f(:\n"
    with pytest.raises(SyntaxError) as caught:
        compile(source, str(tmp_path / "shop.py"), "exec")
    fault = Fault.from_exception(caught.value)
    assert fault.place == "shop.py, line 2"
    assert fault.text.startswith("SyntaxError: ")
    assert fault.code == "def f(:"


def test_an_exception_below_a_library_is_placed_in_the_authors_code() -> None:
    with pytest.raises(ValueError, match="invalid") as caught:
        ipaddress.ip_address("invalid")
    fault = Fault.from_exception(caught.value)
    assert "test_reports.py" in fault.place
    assert fault.code == 'ipaddress.ip_address("invalid")'


def test_an_exception_without_a_line_of_the_author_has_no_place() -> None:
    assert Fault.from_exception(ValueError("out of nowhere")).place == ""


def test_own_code_is_neither_ours_nor_a_librarys(tmp_path: Path) -> None:
    assert is_own(str(tmp_path / "shop.py"))
    assert not is_own(str(Path(cometbot.bot.__file__)))
    assert not is_own(str(Path(sysconfig.get_path("stdlib")) / "json/decoder.py"))
    assert not is_own(str(Path(sysconfig.get_path("purelib")) / "flask/app.py"))
    assert not is_own("<frozen importlib>")
    assert not is_own(str(tmp_path / "shop.so"))


def test_own_files_are_those_of_imported_modules() -> None:
    assert not any("/cometbot/bot.py" in file for file in own_files())
