"""Where in the author's own code something went wrong."""

from __future__ import annotations

import ipaddress
import sysconfig
from pathlib import Path

import pytest

import cometbot.bot
from cometbot.author_error import ErrorReport, author_files, is_author_file


def test_a_syntax_error_names_its_file_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = "x = 1\ndef f(:\n"
    with pytest.raises(SyntaxError) as caught:
        compile(source, str(tmp_path / "shop.py"), "exec")
    fault = ErrorReport.from_exception(caught.value)
    assert fault.place == "shop.py, line 2"
    assert fault.text.startswith("SyntaxError: ")
    assert fault.code == "def f(:"


def test_error_below_library_is_located_in_author_code() -> None:
    with pytest.raises(ValueError, match="invalid") as caught:
        ipaddress.ip_address("invalid")
    fault = ErrorReport.from_exception(caught.value)
    assert "test_author_error.py" in fault.place
    assert fault.code == 'ipaddress.ip_address("invalid")'


def test_error_outside_author_code_has_no_place() -> None:
    assert ErrorReport.from_exception(ValueError("out of nowhere")).place == ""


def test_author_code_excludes_cometbot_and_libraries(tmp_path: Path) -> None:
    assert is_author_file(str(tmp_path / "shop.py"))
    assert not is_author_file(str(Path(cometbot.bot.__file__)))
    assert not is_author_file(str(Path(sysconfig.get_path("stdlib")) / "json/decoder.py"))
    assert not is_author_file(str(Path(sysconfig.get_path("purelib")) / "flask/app.py"))
    assert not is_author_file("<frozen importlib>")
    assert not is_author_file(str(tmp_path / "shop.so"))


def test_author_files_are_those_of_imported_modules() -> None:
    assert not any("/cometbot/bot.py" in file for file in author_files())
