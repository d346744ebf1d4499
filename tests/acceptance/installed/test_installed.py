"""The installed package works as a checkout does: with default settings, as another user, in any folder."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
import requests

from tests.acceptance.conftest import wait_for
from tests.acceptance.installed.conftest import NOBODY, Installation, as_nobody, terminate
from tests.file_modes import get_mode
from tests.ports import HOST, free_port

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 61
PLATFORM = {"COMETBOT_CHANNELS": "platform"}


def test_the_package_is_the_wheels_own(installation: Installation, project: Path) -> None:
    shown = installation.run(project, "python", "-c", "import cometbot, os; print(cometbot.__file__, os.getuid())")
    file, _, user = shown.stdout.strip().rpartition(" ")
    assert Path(file).is_relative_to(installation.bin.parent)
    assert not as_nobody() or user == str(NOBODY)


def test_every_command_shows_its_help(installation: Installation, project: Path) -> None:
    waiting: list[tuple[str, ...]] = [("cometbot",)]
    shown: list[str] = []
    while waiting:
        words = waiting.pop()
        made = installation.run(project, *words, "--help")
        assert made.returncode == 0, made.stdout
        assert made.stdout.startswith("Usage: "), made.stdout
        shown.append(" ".join(words))
        _, _, commands = made.stdout.partition("\nCommands:\n")
        waiting += [(*words, name) for name in re.findall(r"^  ([a-z-]+)", commands, re.MULTILINE)]
    assert {"cometbot serve", "cometbot dev", "cometbot db upgrade"} <= set(shown)


def start(installation: Installation, project: Path, *words: str, **variables: str) -> tuple[Popen[Any], str]:
    address = f"{HOST}:{free_port()}"
    process = installation.start(project, *words, COMETBOT_BIND=address, **PLATFORM, **variables)
    wait_for(lambda: is_ready(f"http://{address}", process), or_show=(project / "tmp" / "log").read_text)
    return process, f"http://{address}"


def has_booted(process: Popen[Any], log: Path, before: int) -> bool:
    assert process.poll() is None, log.read_text()
    return "Booting worker" in log.read_text()[before:]


def is_ready(url: str, process: Popen[Any]) -> bool:
    assert process.poll() is None
    try:
        return requests.get(f"{url}/readyz", timeout=30).status_code == 200
    except requests.RequestException:
        return False


@pytest.mark.process
@pytest.mark.parametrize("words", [("cometbot", "serve", "bot:bot"), ("python", "-m", "gunicorn", "wsgi:app")])
def test_pages_uploads_and_downloads_work(installation: Installation, project: Path, words: tuple[str, ...]) -> None:
    process, url = start(installation, project, *words, COMETBOT_BOT="bot:bot")
    try:
        with requests.Session() as person:
            page = person.get(url, timeout=30)
            assert page.status_code == 200
            for name in re.findall(r'(?:src|href)="(/?page/[^"]+)"', page.text):
                assert person.get(f"{url}/{name.lstrip('/')}", timeout=30).status_code == 200, name
            made = person.post(f"{url}/v1/client-api/user", json={"nickname": "Maria"}, timeout=30)
            assert made.ok, made.text
            sent = person.post(f"{url}/v1/client-api/files", files={"file": ("p.png", PNG)}, timeout=30)
            assert sent.status_code == 200, sent.text
            picture = person.get(f"{url}/{sent.json()[0]['path']}", timeout=30)
            assert (picture.status_code, picture.content) == (200, PNG)
        written = [project / "cometbot-data", *project.glob("cometbot.db*"), *project.glob("cometbot-data/**/*")]
        assert len(written) > 5
        assert [str(path) for path in written if get_mode(path) & 0o077] == []
    finally:
        status = terminate(process)
    assert status == 0
    assert list((project / "tmp").glob("cometbot-*")) == []


@pytest.mark.process
@pytest.mark.parametrize("words", [("cometbot", "serve", "bot:bot"), ("python", "-m", "gunicorn", "wsgi:app")])
def test_a_unix_socket_is_open_to_its_group(installation: Installation, project: Path, words: tuple[str, ...]) -> None:
    group = NOBODY if as_nobody() else (project / "tmp").stat().st_gid
    variables = {"COMETBOT_BOT": "bot:bot", "COMETBOT_BIND": "unix:socket", "COMETBOT_SOCKET_GROUP": str(group)}
    process = installation.start(project, *words, **PLATFORM, **variables)
    socket = project / "socket"
    log = project / "tmp" / "log"
    try:
        before = log.stat().st_size
        wait_for(lambda: has_booted(process, log, before), or_show=log.read_text)
        found = socket.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, group)
    finally:
        terminate(process)


@pytest.mark.parametrize(
    ("words", "status", "shown"),
    [
        (("db", "upgrade"), 0, ""),
        (("deadletters", "list"), 0, ""),
        (("doctor", "bot:bot"), 1, "other users of this machine cannot read private files"),
        (("worker", "bot:bot"), 2, "COMETBOT_DATABASE_URL=postgresql://"),
        (("bots", "list"), 2, "COMETCHAT_APP_ID"),
        (("send", "maria", "Hello", "--bot", "bot:bot"), 2, ""),
        (("replay", "--all"), 2, ""),
        (("simplex", "bot:bot", "--demo"), 0, "is connected to a fake SimpleX"),
    ],
)
def test_every_command_works_once(
    installation: Installation, project: Path, words: tuple[str, ...], status: int, shown: str
) -> None:
    before = set((project / "tmp").glob("cometbot-*"))
    made = installation.run(project, "cometbot", *words, **PLATFORM)
    assert made.returncode == status, made.stdout
    assert shown in made.stdout
    assert "Traceback" not in made.stdout
    assert set((project / "tmp").glob("cometbot-*")) <= before
