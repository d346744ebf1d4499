"""Files that are written at work cannot be read by others on the machine, whatever the umask is."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path

import pytest

from cometbot.chat import Chat
from cometbot.cli.dev.undo_journal import UndoEntry, UndoJournal, journal_path
from cometbot.store.datagram_socket import DatagramSocket
from cometbot.store.factory import database_from_url
from cometbot.temporary_folders import TemporaryFolder
from tests.file_modes import find_open_paths, get_mode

pytestmark = pytest.mark.usefixtures("open_umask")


def test_the_database_and_the_files_beside_it_are_closed(tmp_path: Path) -> None:
    with closing(database_from_url(f"sqlite:///{tmp_path}/bot.db")) as opened:
        opened.open()
        with opened.read() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM mailbox")
        assert {path.name for path in tmp_path.iterdir()} >= {"bot.db", "bot.db-wal", "bot.db-shm", "bot.db-turns"}
        assert find_open_paths(tmp_path) == []


def test_an_older_database_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "bot.db").touch(0o640)
    with closing(database_from_url(f"sqlite:///{tmp_path}/bot.db")) as opened:
        opened.open()
    assert get_mode(tmp_path / "bot.db") == 0o640


def test_uploads_and_their_folders_are_closed(tmp_path: Path) -> None:
    with closing(database_from_url("sqlite://")) as opened:
        files = Chat(opened, tmp_path / "data" / "files").files
        files.receive(io.BytesIO(b"one"), limits={"file": 10})
        files.receive(io.BytesIO(b"two"), limits={"file": 10}).finalize()
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2
    assert find_open_paths(tmp_path) == []


def test_the_undo_journal_and_its_folder_are_closed(tmp_path: Path) -> None:
    with UndoJournal(journal_path(tmp_path / "data", "app1")) as ledger:
        ledger.add(UndoEntry("shop", "https://bots.example.com", None))
        assert find_open_paths(tmp_path) == []


def test_the_sockets_between_processes_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = TemporaryFolder("sockets")  # not tmp_path: the address of a socket has 107 bytes at most
    monkeypatch.setattr("tempfile.tempdir", str(parent.path))
    datagrams = DatagramSocket("bot.db", "a")
    datagrams.listen(lambda text: None)
    folder = Path(datagrams.address).parent
    assert folder.parent == parent.path
    assert get_mode(folder) == 0o700
    datagrams.close()
