"""Where in the author's own code something went wrong."""

from __future__ import annotations

import ipaddress
import sysconfig
from pathlib import Path

import pytest

import cometbot.bot
from cometbot.faults import Fault, is_own, own_files


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
    assert "test_faults.py" in fault.place
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
