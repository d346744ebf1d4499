"""Hints between the processes of one machine: quick where they arrive, harmless where they do not."""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cometbot.delivery import hints as module
from cometbot.delivery.hints import Hints, Siblings
from cometbot.delivery.leases import Process
from cometbot.store.database import database
from cometbot.temporary_folders import TemporaryFolder


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a short name: a socket's path may have 107 characters."""
    tmp_path_factory.getbasetemp()  # made elsewhere, and once for all tests
    with TemporaryFolder("test") as folder:
        monkeypatch.setattr("tempfile.tempdir", str(folder))
        yield folder


def test_a_folder_with_too_long_a_name_is_done_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    hints = Hints("/db", "x")
    hints.listen(lambda lane: None)

    assert hints.address == ""


@pytest.fixture
def listener() -> Iterator[tuple[Hints, list[str], threading.Event]]:
    heard: list[str] = []
    told = threading.Event()

    def hear(lane: str) -> None:
        heard.append(lane)
        told.set()

    hints = Hints("/db", "listener")
    hints.listen(hear)
    yield hints, heard, told
    hints.close()


def test_a_hint_arrives(listener: tuple[Hints, list[str], threading.Event]) -> None:
    hints, heard, told = listener
    teller = Hints("/db", "teller")

    assert teller.tell([hints.address], "fake/test/helpdesk/ünïcode") == []
    assert told.wait(60)
    assert heard == ["fake/test/helpdesk/ünïcode"]
    teller.close()


def test_a_process_that_died_is_noticed_and_one_that_is_unknown_is_not_called_dead(own_folder: Path) -> None:
    child_address = own_folder / "dead.sock"
    gone = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    gone.bind(str(child_address))
    gone.close()
    teller = Hints("/db", "teller")

    assert teller.tell([str(child_address), str(own_folder / "never.sock")], "lane") == [str(child_address)]
    teller.close()


def test_the_folder_is_for_this_user_alone(listener: tuple[Hints, list[str], threading.Event]) -> None:
    folder = Path(listener[0].address).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_others_may_enter_is_not_used() -> None:
    hints = Hints("/other", "x")
    hints._folder.mkdir()
    os.chmod(hints._folder, 0o777)
    hints.listen(lambda lane: None)

    assert hints.address == ""
    hints.close()


def test_closing_takes_the_socket_away(listener: tuple[Hints, list[str], threading.Event]) -> None:
    hints = listener[0]
    address = hints.address
    hints.close()

    assert not Path(address).exists()
    assert hints.address == ""


def test_who_has_just_begun_to_handle_is_told_soon_also_by_one_who_saw_nobody(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch, listener: tuple[Hints, list[str], threading.Event]
) -> None:
    hints, _, told = listener
    monkeypatch.setattr(module, "_KNOWN_FOR", 1000.0)
    with closing(database(f"sqlite:///{own_folder}/bot.db")) as opened:
        opened.open()
        siblings = Siblings(opened)
        siblings.wake("too early")
        process = Process(opened)
        process.address = hints.address
        process.beat()
        end = time.monotonic() + 60
        while not told.is_set() and time.monotonic() < end:
            siblings.wake("in time")
            told.wait(0.02)
        assert told.is_set()
