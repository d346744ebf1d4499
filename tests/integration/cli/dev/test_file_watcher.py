"""Which changes of files are noticed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue

import pytest

from cometbot.cli.dev import file_watcher
from cometbot.cli.dev.file_watcher import python_folders, watch_changes

Watched = Queue[list[Path]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "bot.py").write_text("one")
    return root


@pytest.fixture
def watch(root: Path) -> Iterator[Callable[..., Watched]]:
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def watch(*extra: Path) -> Watched:
        found: Watched = Queue()
        names = [str(path) for path in extra]
        source = watch_changes(root, lambda: names, stop)

        def run() -> None:
            for changed in source:
                found.put(changed)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return found

    yield watch
    stop.set()
    for thread in threads:
        thread.join(60)


def change(path: Path, text: str) -> None:
    """Write a file in one step and make sure that its time differs, however coarse the file system's clock is."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)


def test_a_changed_a_new_and_a_removed_file_are_noticed(root: Path, watch: Callable[..., Watched]) -> None:
    found = watch()
    change(root / "bot.py", "two words")
    assert found.get(timeout=60) == [root / "bot.py"]
    change(root / "more.py", "new")
    assert found.get(timeout=60) == [root / "more.py"]
    (root / "more.py").unlink()
    assert found.get(timeout=60) == [root / "more.py"]


def test_a_file_in_a_new_folder_is_noticed(root: Path, watch: Callable[..., Watched]) -> None:
    found = watch()
    (root / "shop").mkdir()
    change(root / "shop" / "orders.py", "new")
    assert found.get(timeout=60) == [root / "shop" / "orders.py"]


def test_a_file_elsewhere_is_noticed_if_it_is_named(root: Path, tmp_path: Path, watch: Callable[..., Watched]) -> None:
    shared, other = tmp_path / "shared.py", tmp_path / "other.py"
    shared.write_text("one")
    found = watch(shared)
    other.write_text("nobody's business")
    change(shared, "two words")
    assert found.get(timeout=60) == [shared]


def test_what_is_no_python_code_is_not_noticed(root: Path, watch: Callable[..., Watched]) -> None:
    found = watch()
    (root / "notes.txt").write_text("x")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "x.py").write_text("x")
    change(root / "bot.py", "two words")
    assert found.get(timeout=60) == [root / "bot.py"]


def test_changes_are_found_where_the_system_reports_none(
    root: Path, watch: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*paths: Path, **options: object) -> None:
        raise OSError("too many watches")

    monkeypatch.setattr(file_watcher, "watch", fail)
    monkeypatch.setattr(file_watcher, "RESCAN_INTERVAL", 0.05)
    found = watch()
    change(root / "bot.py", "two words")
    assert found.get(timeout=60) == [root / "bot.py"]


def test_folders_of_libraries_and_hidden_ones_are_left_out(root: Path) -> None:
    for name in ("shop/parts", ".git/x", "node_modules/y", "__pycache__", "env/lib"):
        (root / name).mkdir(parents=True)
    (root / "env" / "pyvenv.cfg").write_text("")
    assert sorted(python_folders(root)) == [root, root / "shop", root / "shop" / "parts"]


def test_no_more_folders_are_looked_into_than_is_bearable(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_watcher, "MAX_FOLDERS", 3)
    for number in range(5):
        (root / f"folder{number}").mkdir()
    assert len(list(python_folders(root))) == 3
