"""What is to be put back on CometChat, on the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cometbot.cli.dev.undo_journal import UndoEntry, UndoJournal, has_pending_undo, journal_path
from cometbot.errors import ConfigurationError

BEFORE = {"webhookURL": "https://old.example/cometchat/shop", "password": "old-secret"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return journal_path(tmp_path / "data", "app1")


def test_what_one_run_notes_the_next_one_finds(path: Path) -> None:
    with UndoJournal(path) as ledger:
        ledger.add(UndoEntry("shop", "https://tunnel.example/cometchat/shop", BEFORE))
        ledger.add(UndoEntry("faq", "https://tunnel.example/cometchat/faq", None))
        ledger.remove("faq")
    with UndoJournal(path) as ledger:
        assert ledger.entries == {"shop": UndoEntry("shop", "https://tunnel.example/cometchat/shop", BEFORE)}
        assert has_pending_undo(path.parent) is False  # whose they are is at work


def test_empty_journal_leaves_no_file(path: Path) -> None:
    with UndoJournal(path) as ledger:
        ledger.add(UndoEntry("shop", "https://tunnel.example", None))
        assert path.is_file()
        ledger.remove("shop")
    assert not path.exists()
    assert has_pending_undo(path.parent) is False


def test_journal_is_private_and_repr_has_no_password(path: Path) -> None:
    note = UndoEntry("shop", "https://tunnel.example", BEFORE)
    with UndoJournal(path) as ledger:
        ledger.add(note)
        assert path.stat().st_mode & 0o077 == 0
    assert "old-secret" not in repr(note)
    assert has_pending_undo(path.parent)


def test_a_second_run_with_the_same_app_is_refused(path: Path) -> None:
    with UndoJournal(path), pytest.raises(ConfigurationError, match=r"is running for this app\. Stop it first"):
        UndoJournal(path)
    UndoJournal(path).close()


def test_truncated_line_is_skipped(path: Path) -> None:
    with UndoJournal(path) as ledger:
        ledger.add(UndoEntry("shop", "https://tunnel.example", BEFORE))
    with path.open("a") as file:
        file.write('{"uid": "faq", "url": "https://tun')
    with UndoJournal(path) as ledger:
        assert list(ledger.entries) == ["shop"]
        ledger.add(UndoEntry("help", "https://tunnel.example", None))
    with UndoJournal(path) as ledger:
        assert list(ledger.entries) == ["shop", "help"]


@pytest.mark.parametrize("line", ["[]", "7", '"shop"', '{"url": "x"}', "\x00"])
def test_what_is_no_note_is_left_out(path: Path, line: str) -> None:
    path.parent.mkdir()
    path.write_text(f"{line}\n")
    with UndoJournal(path) as ledger:
        assert ledger.entries == {}


def test_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(ConfigurationError, match="Set COMETBOT_DATA to a writable folder"):
        UndoJournal(journal_path(tmp_path / "data", "app1"))
    with pytest.raises(ConfigurationError, match="cannot write"):
        UndoJournal(tmp_path)


def test_file_removed_while_locking_is_created_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    opened = os.open
    removed: list[int] = []

    def open_late(*arguments: object, **options: object) -> int:
        descriptor = opened(*arguments, **options)  # type: ignore[arg-type]
        if not removed:
            removed.append(descriptor)
            path.unlink()
        return descriptor

    monkeypatch.setattr(os, "open", open_late)
    with UndoJournal(path) as ledger:
        ledger.add(UndoEntry("shop", "https://tunnel.example", None))
        assert path.read_text().strip()
