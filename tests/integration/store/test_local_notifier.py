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

from cometbot.store import local_notifier as module
from cometbot.store.factory import database_from_url
from cometbot.store.leases import ProcessRegistration
from cometbot.store.local_notifier import LocalNotifier, NotificationSocket
from cometbot.temporary_folders import TemporaryFolder


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a short name: a socket's path may have 107 characters."""
    tmp_path_factory.getbasetemp()  # made elsewhere, and once for all tests
    with TemporaryFolder("test") as folder:
        monkeypatch.setattr("tempfile.tempdir", str(folder))
        yield folder


def test_folder_with_too_long_a_name_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    notifications = NotificationSocket("/db", "x")
    notifications.listen(lambda conversation_key: None)

    assert notifications.address == ""


@pytest.fixture
def listener() -> Iterator[tuple[NotificationSocket, list[str], threading.Event]]:
    received: list[str] = []
    is_received = threading.Event()

    def receive(conversation_key: str) -> None:
        received.append(conversation_key)
        is_received.set()

    notifications = NotificationSocket("/db", "listener")
    notifications.listen(receive)
    yield notifications, received, is_received
    notifications.close()


def test_notification_arrives(listener: tuple[NotificationSocket, list[str], threading.Event]) -> None:
    notifications, received, is_received = listener
    sender = NotificationSocket("/db", "teller")

    assert sender.send([notifications.address], "fake/test/helpdesk/ünïcode") == []
    assert is_received.wait(60)
    assert received == ["fake/test/helpdesk/ünïcode"]
    sender.close()


def test_dead_process_is_detected_and_unknown_one_is_not(own_folder: Path) -> None:
    child_address = own_folder / "dead.sock"
    gone = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    gone.bind(str(child_address))
    gone.close()
    sender = NotificationSocket("/db", "teller")

    assert sender.send([str(child_address), str(own_folder / "never.sock")], "conversation_key") == [str(child_address)]
    sender.close()


def test_the_folder_is_for_this_user_alone(listener: tuple[NotificationSocket, list[str], threading.Event]) -> None:
    folder = Path(listener[0].address).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_others_may_enter_is_not_used() -> None:
    notifications = NotificationSocket("/other", "x")
    notifications._folder.mkdir()
    os.chmod(notifications._folder, 0o777)
    notifications.listen(lambda conversation_key: None)

    assert notifications.address == ""
    notifications.close()


def test_close_removes_the_socket(listener: tuple[NotificationSocket, list[str], threading.Event]) -> None:
    notifications = listener[0]
    address = notifications.address
    notifications.close()

    assert not Path(address).exists()
    assert notifications.address == ""


def test_new_process_is_notified_soon(
    own_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    listener: tuple[NotificationSocket, list[str], threading.Event],
) -> None:
    notifications, _, is_received = listener
    monkeypatch.setattr(module, "_CACHE_TIMEOUT", 1000.0)
    with closing(database_from_url(f"sqlite:///{own_folder}/bot.db")) as opened:
        opened.open()
        notifier = LocalNotifier(opened)
        notifier.notify("too early")
        process = ProcessRegistration(opened)
        process.address = notifications.address
        process.heartbeat()
        end = time.monotonic() + 60
        while not is_received.is_set() and time.monotonic() < end:
            notifier.notify("in time")
            is_received.wait(0.02)
        assert is_received.is_set()
