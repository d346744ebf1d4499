"""What is to be put back on CometChat, on the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cometbot.cli.dev.ledger import Ledger, Note, has_notes, ledger_path
from cometbot.errors import ConfigurationError

BEFORE = {"webhookURL": "https://old.example/cometchat/shop", "password": "old-secret"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return ledger_path(tmp_path / "data", "app1")


def test_what_one_run_notes_the_next_one_finds(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.add(Note("shop", "https://tunnel.example/cometchat/shop", BEFORE))
        ledger.add(Note("faq", "https://tunnel.example/cometchat/faq", None))
        ledger.remove("faq")
    with Ledger(path) as ledger:
        assert ledger.notes == {"shop": Note("shop", "https://tunnel.example/cometchat/shop", BEFORE)}
        assert has_notes(path.parent) is False  # whose they are is at work


def test_a_ledger_without_notes_leaves_no_file(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.add(Note("shop", "https://tunnel.example", None))
        assert path.is_file()
        ledger.remove("shop")
    assert not path.exists()
    assert has_notes(path.parent) is False


def test_others_on_the_machine_cannot_read_it_and_its_passwords_show_in_no_repr(path: Path) -> None:
    note = Note("shop", "https://tunnel.example", BEFORE)
    with Ledger(path) as ledger:
        ledger.add(note)
        assert path.stat().st_mode & 0o077 == 0
    assert "old-secret" not in repr(note)
    assert has_notes(path.parent)


def test_a_second_run_with_the_same_app_is_refused(path: Path) -> None:
    with Ledger(path), pytest.raises(ConfigurationError, match="works with this app already; end that one first"):
        Ledger(path)
    Ledger(path).close()


def test_a_line_that_was_broken_off_is_left_out_and_swallows_no_other(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.add(Note("shop", "https://tunnel.example", BEFORE))
    with path.open("a") as file:
        file.write('{"uid": "faq", "url": "https://tun')
    with Ledger(path) as ledger:
        assert list(ledger.notes) == ["shop"]
        ledger.add(Note("help", "https://tunnel.example", None))
    with Ledger(path) as ledger:
        assert list(ledger.notes) == ["shop", "help"]


@pytest.mark.parametrize("line", ["[]", "7", '"shop"', '{"url": "x"}', "\x00"])
def test_what_is_no_note_is_left_out(path: Path, line: str) -> None:
    path.parent.mkdir()
    path.write_text(f"{line}\n")
    with Ledger(path) as ledger:
        assert ledger.notes == {}


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(ConfigurationError, match="set COMETBOT_DATA to a folder that can"):
        Ledger(ledger_path(tmp_path / "data", "app1"))
    with pytest.raises(ConfigurationError, match="cannot be written"):
        Ledger(tmp_path)


def test_a_file_that_its_last_user_removes_meanwhile_is_made_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    with Ledger(path) as ledger:
        ledger.add(Note("shop", "https://tunnel.example", None))
        assert path.read_text().strip()
