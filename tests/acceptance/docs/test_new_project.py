"""Files of ``cometbot init`` work as they stand: the commands of README.md, and the Dockerfile without docker."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from cometbot.cli.init import TEMPLATES
from tests.ports import free_port

from .blocks import ROOT, blocks_of
from .conftest import Reader

pytestmark = pytest.mark.process

SETTINGS = {
    "COMETCHAT_APP_ID": "5150a0b1c2d3e4f6",
    "COMETCHAT_REGION": "eu",
    "COMETCHAT_API_KEY": "a-key-for-tests",
    "COMETBOT_CALLBACK_USERNAME": "cometchat",
    "COMETBOT_CALLBACK_PASSWORD": "a-password-for-tests",
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_commands_of_a_new_readme_run(reader: Reader, template: str) -> None:
    reader.begin_project(template)
    reader.save_downloads(reader.project / ".venv")
    blocks = [block for block in blocks_of(reader.project / "README.md") if block.language == "sh"]
    printed = [reader.terminal.run(line) for block in blocks if not is_docker(block.text) for line in block.lines]
    assert "5 passed" in printed[-1]
    assert sum(is_docker(block.text) for block in blocks) == 1


def is_docker(text: str) -> bool:
    """Return whether a block is for docker, which is not there."""
    return text.startswith("docker ")


def instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """Yield the instructions of a Dockerfile with their arguments."""
    text = re.sub(r"^#.*\n", "", dockerfile, flags=re.M).replace("\\\n", " ")
    for line in filter(None, text.splitlines()):
        name, _, rest = line.partition(" ")
        yield name, rest.strip()


class Container:
    """A folder and an environment without cometbot in place of a container; with other paths and another port.

    What cometbot needs is there, so that pip installs the project's wheel alone, and needs no index.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.folder = reader.folder / "app"
        self.port = free_port()
        self.server = ""
        self.health: list[str] = []
        data = reader.folder / "data"
        for folder in (self.folder, data):
            folder.mkdir()
        self._own = {"0.0.0.0:8000": f"127.0.0.1:{self.port}", "8000": str(self.port), "/data": str(data)}
        reader.save_downloads(reader.folder / "container")
        reader.terminal.environ["PATH"] = f"{reader.folder}/container/bin:{reader.base.environ['PATH']}"
        reader.terminal.folder = self.folder

    def build(self, dockerfile: str) -> None:
        """Do what the instructions say, in their order."""
        for name, rest in instructions(dockerfile):
            if name == "COPY":
                self._copy(*rest.split())
            elif name == "RUN" and rest.startswith("pip "):
                self.reader.terminal.run(rest)
            elif name == "ENV":
                self.reader.terminal.environ |= dict(word.split("=", 1) for word in shlex.split(self._to_own(rest)))
            elif name == "HEALTHCHECK":
                self.health = json.loads(self._to_own(rest[rest.index("[") :]))
            elif name == "CMD":
                self.server = shlex.join(json.loads(self._to_own(rest)))

    def is_healthy(self) -> bool:
        """Run the health check."""
        environ = self.reader.terminal.environ
        path = environ["PATH"].partition(":")[0]
        words = [f"{path}/{self.health[0]}", *self.health[1:]]
        done = subprocess.run(words, cwd=self.folder, env=environ, capture_output=True, check=False)
        return done.returncode == 0

    def _copy(self, source: str, target: str) -> None:
        path, to = self.reader.project / source, self.folder / target
        if path.is_dir():
            ignored = (self.reader.project / ".dockerignore").read_text().split()
            shutil.copytree(path, to, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*ignored))
        else:
            shutil.copy(path, to)

    def _to_own(self, text: str) -> str:
        for name, own in self._own.items():
            text = text.replace(name, own)
        return text


def test_dockerfile_installs_serves_and_checks(reader: Reader) -> None:
    reader.begin_project()
    container = Container(reader)
    container.build((reader.project / "Dockerfile").read_text())
    # What --env-file brings; the address in it must not count.
    reader.terminal.environ |= SETTINGS | {"COMETBOT_BIND": "127.0.0.1:1"}
    assert not (container.folder / ".env").exists()
    assert not container.is_healthy()
    reader.terminal.run(container.server)
    assert container.is_healthy()
    assert (reader.folder / "data" / "cometbot.db").is_file()
    reader.terminal.end("serve")
    assert not container.is_healthy()


def test_port_and_volume_are_the_same_everywhere(reader: Reader) -> None:
    reader.begin_project()
    dockerfile = (reader.project / "Dockerfile").read_text()
    parts = dict(instructions(dockerfile))
    assert f"0.0.0.0:{parts['EXPOSE']}" in parts["CMD"]
    assert f"'127.0.0.1', {parts['EXPOSE']}" in parts["HEALTHCHECK"]
    texts = [dockerfile, (reader.project / "README.md").read_text(), (ROOT / "docs/deploy.md").read_text()]
    for text in texts:
        [run] = re.findall(r"docker run --env-file .*", text)
        assert f"-p 8000:{parts['EXPOSE']} -v helpdesk-data:{parts['VOLUME']} helpdesk" in run
