"""Every block of commands of a page runs word for word, in a fresh environment with cometbot's wheel.

Replaced are names of other machines, and of folders that belong to root. What goes to CometChat and to the SimpleX CLI
goes to stand-ins, and so does ``systemctl`` among other commands.
"""

from __future__ import annotations

import grp
import os
from collections import Counter
from pathlib import Path

import pytest
import requests

from cometbot.simulator import Simulator

from .blocks import PAGES, REASONS, ROOT, Block, all_blocks, blocks_of
from .conftest import Reader, copy_environment

pytestmark = pytest.mark.process

NOT_RUN = {"docker": 1, "systemd": 3, "real CometChat": 2, "real SimpleX CLI": 2}
"""How many blocks do not run, by reason. One more is a decision."""

NOT_FOLLOWED = {"docs/deploy.md", "docs/errors.md", "docs/simplex.md"}
"""Pages whose commands no test runs yet."""

USERNAME, PASSWORD = "COMETBOT_CALLBACK_USERNAME", "COMETBOT_CALLBACK_PASSWORD"
LOGIN = {USERNAME: "cometchat", PASSWORD: "a-password-for-tests"}


def follow(reader: Reader, page: Path, names: dict[str, str] | None = None) -> list[str]:
    """Write the files of a page, run its commands in their order, and return what each printed."""
    printed: list[str] = []
    write_files(reader, page)
    for block in blocks_of(page):
        for line in _lines(block, names or {}):
            printed.append(reader.terminal.run(line))
    return printed


def write_files(reader: Reader, page: Path) -> None:
    """Write the files that a page shows into the folder."""
    for block in blocks_of(page):
        if block.file:
            (reader.terminal.folder / block.file).write_text(block.text)


def _lines(block: Block, names: dict[str, str]) -> list[str]:
    if block.language != "sh" or block.reason:
        return []
    lines = block.lines
    for name, own in names.items():
        lines = [line.replace(name, own) for line in lines]
    return lines


@pytest.fixture
def cometchat(reader: Reader) -> Simulator:
    """A CometChat that knows no bot yet, and the settings that lead there."""
    simulator = reader.enter(Simulator())
    reader.terminal.environ |= {
        "COMETCHAT_API_URL": simulator.api_url,
        "COMETCHAT_APP_ID": simulator.app_id,
        "COMETCHAT_API_KEY": simulator.api_key,
    }
    return simulator


def test_readme(reader: Reader, cometchat: Simulator) -> None:
    reader.go_to_clone()
    follow(reader, ROOT / "README.md")


def test_quickstart(reader: Reader) -> None:
    reader.go_to_clone()
    follow(reader, ROOT / "docs/quickstart.md", {"/path/to/the/clone": str(reader.base.clone)})


def test_register(reader: Reader, cometchat: Simulator) -> None:
    reader.begin_project()
    follow(reader, ROOT / "docs/register.md")
    listed = requests.get(f"{cometchat.api_url}/bots", headers={"apikey": cometchat.api_key}, timeout=30).json()
    assert [bot["uid"] for bot in listed["data"]] == ["helpdesk"]


def test_botpress(reader: Reader, cometchat: Simulator) -> None:
    reader.begin_project()
    reader.write_settings(**LOGIN)
    follow(reader, ROOT / "docs/botpress.md")
    assert requests.post(f"{reader.url}/botpress/shop/users", json={}, timeout=30).status_code in (200, 201)


def test_botyard(reader: Reader) -> None:
    reader.begin_project()
    *_, made = follow(reader, ROOT / "docs/botyard.md", {"https://chat.example.com": reader.url})
    assert '"name":"Weather"' in made.replace(" ", "")


@pytest.fixture
def server_names(reader: Reader) -> dict[str, str]:
    """Folders of a machine that serves the project, with the project in its place; and other names of the pages."""
    names = {path: f"{reader.folder}{path}" for path in ("/srv/helpdesk", "/var/lib/helpdesk", "/run/helpdesk")}
    for path in names.values():
        Path(path).mkdir(parents=True)
    reader.begin_project()
    Path(names["/srv/helpdesk"]).rmdir()
    reader.terminal.folder = reader.project.rename(names["/srv/helpdesk"])
    reader.write_settings(**LOGIN)
    return names | {"/path/to/the/clone": str(reader.base.clone), "www-data": grp.getgrgid(os.getgid()).gr_name}


def test_upgrading(reader: Reader, cometchat: Simulator, server_names: dict[str, str]) -> None:
    copy_environment(reader.folder / "environment", reader.terminal.folder / ".venv")
    database = Path(server_names["/var/lib/helpdesk"], "cometbot.db")
    reader.write_settings(COMETBOT_DATABASE_URL=f"sqlite:///{database}")
    reader.terminal.run("cometbot db upgrade")
    follow(reader, ROOT / "docs/upgrading.md", server_names)
    assert database.read_bytes() == database.with_name("before.db").read_bytes()


def test_proxies(reader: Reader, cometchat: Simulator, server_names: dict[str, str]) -> None:
    (reader.terminal.folder / "private-ca.pem").write_text("")
    follow(reader, ROOT / "docs/proxies.md", server_names)


def test_testing(reader: Reader) -> None:
    reader.begin_project()
    *_, tested = follow(reader, ROOT / "docs/testing.md")
    assert "6 passed" in tested


def test_blocks_that_do_not_run_are_counted() -> None:
    assert Counter(block.reason for block in all_blocks("sh") if block.reason) == NOT_RUN
    assert tuple(NOT_RUN) == REASONS


def test_every_page_with_commands_is_followed() -> None:
    pages = {block.page for block in all_blocks("sh") if not block.reason}
    text = Path(__file__).read_text()
    assert {page for page in pages if f'ROOT / "{page}"' not in text} == NOT_FOLLOWED


def test_only_commands_carry_a_reason() -> None:
    marks = sum(page.read_text().count("<!-- not run: ") for page in PAGES)
    assert marks == sum(NOT_RUN.values())
