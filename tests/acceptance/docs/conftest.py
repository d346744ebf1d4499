"""The environments of readers: a fresh one that has cometbot's wheel, and a clone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import TypeVar

import pytest
from packaging.requirements import Requirement

from cometbot.temporary_folders import TemporaryFolder
from tests.ports import HOST, free_port

from .blocks import ROOT
from .terminal import Terminal

CLONED_FILES = ("Makefile", "README.md", "LICENSE", "setup.py", "setup.cfg", "wsgi.py", "gunicorn.conf.py")
CLONED_FOLDERS = ("cometbot", "examples")
REMOVED_VARIABLES = re.compile(r"COMET|PLATFORM_|CHAT_API_|SIMPLEX|PYTEST|PYTHON|PROMETHEUS|VIRTUAL_ENV|MAKE|MFLAGS")
FAKE_SUDO = """#!/bin/sh
# Stands in for sudo: the same user, and no service is started or stopped.
[ "$1" = -u ] && shift 2
[ "$1" = systemctl ] && exit 0
exec "$@"
"""
T = TypeVar("T")


def copy_environment(source: Path, target: Path) -> None:
    """Copy a virtual environment, by links where a file does not name its folder."""
    shutil.copytree(source, target, symlinks=True, copy_function=os.link)
    rename_environment(target, source)


def rename_environment(target: Path, source: Path) -> None:
    """Write the folder of an environment in place of ``source`` into the files that name it."""
    for file in [target / "pyvenv.cfg", *(target / "bin").iterdir()]:
        content = b"" if file.is_symlink() else file.read_bytes()
        if bytes(source) in content:
            mode = file.stat().st_mode
            file.unlink()
            file.write_bytes(content.replace(bytes(source), bytes(target)))
            file.chmod(mode)


def find_requirements(name: str) -> dict[str, Distribution]:
    """Return what a distribution requires without extras, as installed in the environment that runs the tests."""
    found: dict[str, Distribution] = {}
    waiting = [name]
    while waiting:
        for requirement in map(Requirement, distribution(waiting.pop()).requires or ()):
            is_needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if is_needed and requirement.name not in found:
                found[requirement.name] = distribution(requirement.name)
                waiting.append(requirement.name)
    return found


def copy_requirements(environment: Path) -> None:
    """Copy what cometbot requires into an environment; pip, which finds it there, needs no network."""
    own = Path(sys.prefix).resolve()
    for found in find_requirements("cometbot").values():
        for file in found.files or ():
            source = Path(str(found.locate_file(file))).resolve()
            target = environment / source.relative_to(own)
            if source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
    rename_environment(environment, own)


class BaseEnvironment:
    """An environment with the wheel, which readers get copies of, and a clone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clone = folder / "clone"
        self.wheel_environment = folder / "environment"
        self._copy_sources()
        (folder / "bin").mkdir()
        (folder / "bin" / "sudo").write_text(FAKE_SUDO)
        (folder / "bin" / "sudo").chmod(0o755)
        pip = (sys.executable, "-m", "pip", "--quiet")
        self._call(*pip, "wheel", "--use-pep517", "--no-deps", "--wheel-dir", str(folder), str(self.clone))
        [wheel] = folder.glob("cometbot-*.whl")
        self._call("python3", "-m", "venv", str(self.wheel_environment))
        copy_requirements(self.wheel_environment)
        python = str(self.wheel_environment / "bin" / "python")
        self._call(*pip, "--python", python, "install", "--no-index", str(wheel))

    def _copy_sources(self) -> None:
        self.clone.mkdir()
        for name in CLONED_FILES:
            shutil.copy(ROOT / name, self.clone / name)
        for name in CLONED_FOLDERS:
            shutil.copytree(ROOT / name, self.clone / name, ignore=shutil.ignore_patterns("__pycache__"))

    @property
    def environ(self) -> dict[str, str]:
        """The variables of a reader, whose Python is the one that these tests run with."""
        own = {str(Path(sys.prefix, "bin"))}
        paths = [path for path in os.environ["PATH"].split(os.pathsep) if path not in own]
        python = str(Path(os.path.realpath(sys.executable)).parent)
        kept = {name: value for name, value in os.environ.items() if not REMOVED_VARIABLES.match(name)}
        return kept | {
            "PATH": os.pathsep.join([str(self.folder / "bin"), python, *paths]),
            "TMPDIR": str(self.folder),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def _call(self, *words: str) -> None:
        done = subprocess.run(words, cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


class Reader:
    """A reader with an empty folder, and an environment of its own with cometbot's wheel."""

    def __init__(self, base: BaseEnvironment, folder: Path) -> None:
        self.base = base
        self.folder = folder
        self.address = f"{HOST}:{free_port()}"
        self.project = folder / "project"
        self._open = ExitStack()
        copy_environment(base.wheel_environment, folder / "environment")
        (folder / "lines").mkdir()
        self.terminal = Terminal(folder, base.environ, folder / "lines")
        self.terminal.environ |= {
            "PATH": f"{folder / 'environment' / 'bin'}:{base.environ['PATH']}",
            "VIRTUAL_ENV": str(folder / "environment"),
            "COMETBOT_BIND": self.address,
        }

    @property
    def url(self) -> str:
        """The address of the server that the reader starts."""
        return f"http://{self.address}"

    def begin_project(self, template: str = "basic") -> None:
        """Make a project with the command that quickstart names, and go there."""
        self.terminal.run(f"cometbot init --name helpdesk --template {template} {self.project}")
        self.terminal.folder = self.project

    def save_downloads(self, environment: Path) -> None:
        """Make an environment that has what cometbot needs, but not cometbot, for a page that installs it there."""
        copy_environment(self.base.wheel_environment, environment)
        for path in environment.glob("lib/python*/site-packages/cometbot*"):
            shutil.rmtree(path)
        (environment / "bin" / "cometbot").unlink()

    def go_to_clone(self) -> None:
        """Go to a clone, in a terminal without an environment."""
        self.terminal.folder = self.folder / "clone"
        shutil.copytree(self.base.clone, self.terminal.folder, symlinks=True, ignore=shutil.ignore_patterns(".venv"))
        copy_environment(self.base.wheel_environment, self.terminal.folder / ".venv")
        # What make installs here is what it has installed for these tests.
        for stamp in ("made", "installed"):
            (self.terminal.folder / ".venv" / stamp).touch()
        del self.terminal.environ["VIRTUAL_ENV"]
        self.terminal.environ["PATH"] = self.base.environ["PATH"]

    def write_settings(self, **settings: str) -> None:
        """Append to the file ``.env`` of the folder."""
        with (self.terminal.folder / ".env").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in settings.items())

    def enter(self, context: AbstractContextManager[T]) -> T:
        """Enter a context that ends after the reader's servers."""
        return self._open.enter_context(context)

    def close(self) -> None:
        """End all that runs."""
        with self._open:
            self.terminal.close()


@pytest.fixture(scope="session")
def base() -> Iterator[BaseEnvironment]:
    """Install cometbot's wheel once for all pages."""
    with TemporaryFolder("test") as folder:
        yield BaseEnvironment(folder)


@pytest.fixture
def reader(base: BaseEnvironment) -> Iterator[Reader]:
    """A reader with an empty folder and a fresh environment that has cometbot's wheel."""
    with tempfile.TemporaryDirectory(dir=base.folder) as folder:
        made = Reader(base, Path(folder))
        try:
            yield made
        finally:
            made.close()
