"""A simulated CometChat over HTTP, a folder of an author's, and the command line with the settings for both."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner, Result

from cometbot.cli import main
from cometbot.simulator import Simulator

_numbers = itertools.count(1)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, which is the current one; imports from it and the commands' variables are forgotten at the end.

    ``cometbot serve`` sets variables for the processes that it starts.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with mock.patch.dict(os.environ):
        for name in [name for name in os.environ if name.startswith(("COMETBOT_", "COMETCHAT_"))]:
            del os.environ[name]
        yield tmp_path


@pytest.fixture
def environ(simulator: Simulator, folder: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The settings that lead to the simulator, to change them."""
    monkeypatch.setenv("COMETCHAT_API_URL", simulator.api_url)
    monkeypatch.setenv("COMETCHAT_API_KEY", simulator.api_key)
    monkeypatch.setenv("COMETCHAT_APP_ID", simulator.app_id)
    return monkeypatch


@pytest.fixture
def cometbot(environ: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Calls the command line: ``cometbot("bots", "list")``; ``answers`` is what is typed."""
    return lambda *words, answers="": CliRunner().invoke(main, list(words), input=answers)


@pytest.fixture
def write_bot(folder: Path) -> Iterator[Callable[[str], str]]:
    """Writes a module with the Bot ``bot`` and returns its ``module:attribute``; ``lines`` come behind the bot."""
    written: list[str] = []

    def write(lines: str = "", bot: str = 'Bot("shop")') -> str:
        name = f"shop{next(_numbers)}"
        (folder / f"{name}.py").write_text(f"from cometbot import *\n\nbot = {bot}\n{lines}\n")
        written.append(name)
        return f"{name}:bot"

    yield write
    for name in written:
        sys.modules.pop(name, None)
