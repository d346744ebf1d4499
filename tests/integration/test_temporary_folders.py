"""Temporary folders are gone with their owner: when it closes them, ends, or was killed and the next one starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cometbot.temporary_folders import LOCK_FILE, SharedFolder, TemporaryFolder, remove_abandoned

OWNER = """
import sys, signal
from pathlib import Path
from cometbot.temporary_folders import SharedFolder, TemporaryFolder
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
one, two = TemporaryFolder("test"), SharedFolder(Path(sys.argv[1], "cometbot-shared"))
print(one.path, flush=True)
sys.stdin.read()
"""


SERVER = """
import sys
from tests.postgres_server import PostgresServer
server = PostgresServer()
print(server.url(), flush=True)
sys.stdin.read()
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def sweep() -> None:
    remove_abandoned.cache_clear()
    remove_abandoned()


def end_process(script: str, folder: Path, number: signal.Signals) -> str:
    """Return the first line of a script that runs until the signal; its folders stay while it runs."""
    command = [sys.executable, "-c", script, str(folder)]
    environ = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, cwd=ROOT) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode().strip()
        before = set(folder.iterdir())
        sweep()
        assert before
        assert set(folder.iterdir()) == before
        process.send_signal(number)
    return line


def end_owner(folder: Path, number: signal.Signals) -> tuple[Path, Path]:
    """Return the folders of a process that was ended by a signal."""
    return Path(end_process(OWNER, folder, number)), folder / "cometbot-shared"


def test_a_folder_is_gone_when_it_is_closed(temporary: Path) -> None:
    with TemporaryFolder("test") as folder:
        (folder / "file").write_bytes(b"")
        sweep()
        assert folder.is_dir()
    assert list(temporary.iterdir()) == []


def test_a_folder_is_gone_after_sigterm_of_its_owner(temporary: Path) -> None:
    own, _ = end_owner(temporary, signal.SIGTERM)
    assert not own.exists()


def test_folders_of_a_killed_owner_are_gone_at_the_next_start(temporary: Path) -> None:
    own, shared = end_owner(temporary, signal.SIGKILL)
    assert [own.is_dir(), shared.is_dir()] == [True, True]
    sweep()
    assert list(temporary.iterdir()) == []


def test_a_forked_child_does_not_remove_the_folder() -> None:
    with TemporaryFolder("test") as folder:
        script = "import os, sys\nfrom cometbot.temporary_folders import TemporaryFolder\n" + (
            "folder = TemporaryFolder('test')\nchild = os.fork()\nif not child: sys.exit(0)\n"
            "os.waitpid(child, 0)\nprint(folder.path.is_dir())\n"
        )
        environ = {**os.environ, "TMPDIR": str(folder)}
        shown = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, check=True).stdout
        assert shown.strip() == b"True"
        assert [path.name for path in folder.iterdir()] == [LOCK_FILE]


def test_the_last_user_of_a_shared_folder_removes_it(temporary: Path) -> None:
    first, second = SharedFolder(temporary / "cometbot-a"), SharedFolder(temporary / "cometbot-a")
    first.close()
    assert second.path.is_dir()
    second.close()
    assert not second.path.exists()


def test_a_folder_without_our_mark_is_never_removed(temporary: Path) -> None:
    (temporary / "cometbot-notes").mkdir()
    (temporary / "elsewhere").mkdir()
    (temporary / "elsewhere" / LOCK_FILE).touch()
    (temporary / "cometbot-link").symlink_to(temporary / "elsewhere")
    sweep()
    assert {path.name for path in temporary.iterdir()} == {"cometbot-notes", "elsewhere", "cometbot-link"}


def test_a_killed_test_run_leaves_no_postgresql_folder(temporary: Path) -> None:
    assert str(temporary) in end_process(SERVER, temporary, signal.SIGKILL)
    assert [path.name.startswith("cometbot-pg-") for path in temporary.iterdir()] == [True]
    sweep()
    assert list(temporary.iterdir()) == []
