"""cometbot as users have it: the wheel in a fresh environment, an ordinary folder, and a user without rights."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cometbot.temporary_folders import TemporaryFolder

ROOT = Path(__file__).parents[3]
SOURCES = ("cometbot", "setup.py", "setup.cfg", "README.md", "LICENSE")
NOBODY = 65534
COMMAND_TIMEOUT = 120.0


def as_nobody() -> list[str]:
    """Return the words before a command that give it to a user without rights, if this one may do so."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return []
    # Python may be installed in a folder that only this user may enter. Reading is all that is added.
    can_read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *can_read]


class Installation:
    """The commands of an environment that has cometbot from its wheel."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"

    def command(self, *words: str) -> list[str]:
        return [*as_nobody(), str(self.bin / words[0]), *words[1:]]

    def environ(self, folder: Path, **variables: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {**kept, "HOME": str(folder), "TMPDIR": str(folder / "tmp"), **variables}

    def run(self, folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, in the folder, with the usual umask."""
        return subprocess.run(
            self.command(*words),
            cwd=folder,
            env=self.environ(folder, **variables),
            umask=0o022,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )

    def start(self, folder: Path, *words: str, **variables: str) -> subprocess.Popen[Any]:
        """Start a command; it writes into the file ``log``."""
        with (folder / "tmp" / "log").open("ab") as log:
            return subprocess.Popen(
                self.command(*words),
                cwd=folder,
                env=self.environ(folder, **variables),
                umask=0o022,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """Install the wheel; its dependencies are those of the environment that runs the tests."""
    with TemporaryFolder("test") as folder:
        folder.chmod(0o755)
        source = folder / "source"
        source.mkdir()
        for item in SOURCES:
            copy: Callable[..., Any] = shutil.copytree if (ROOT / item).is_dir() else shutil.copy
            copy(ROOT / item, source / item)
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run(
            [*pip, "wheel", "--use-pep517", "--no-deps", "--wheel-dir", str(folder), str(source)],
            check=True,
            umask=0o022,
        )
        (wheel,) = folder.glob("cometbot-*.whl")
        venv = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True, umask=0o022)
        python = ["--python", str(venv / "bin/python")]
        subprocess.run([*pip, *python, "install", "--no-deps", "--no-index", str(wheel)], check=True, umask=0o022)
        # Python runs no .pth file of a folder that a .pth file names, so that cometbot's own sources stay out.
        (packages,) = venv.glob("lib/python*/site-packages")
        (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        shutil.rmtree(source)
        yield Installation(venv)


@pytest.fixture(scope="session")
def project(installation: Installation) -> Iterator[Path]:
    """A folder that ``cometbot init`` has filled, with the platform as its channel."""
    with TemporaryFolder("test") as place:
        place.chmod(0o755)
        home = place / "home"
        (home / "tmp").mkdir(parents=True)
        if as_nobody():
            for folder in (home, home / "tmp"):
                os.chown(folder, NOBODY, NOBODY)
        made = installation.run(home, "cometbot", "init", "helpdesk")
        assert made.returncode == 0, made.stdout
        folder = home / "helpdesk"
        (folder / "tmp").mkdir()
        if as_nobody():
            os.chown(folder / "tmp", NOBODY, NOBODY)
        yield folder


def terminate(process: subprocess.Popen[Any]) -> int:
    """Return the exit status after SIGTERM; kill what does not end."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(COMMAND_TIMEOUT)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
