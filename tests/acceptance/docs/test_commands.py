"""Every block of commands of a page runs word for word, in a fresh environment with cometbot's wheel.

Replaced are names of other machines, and of folders that belong to root. What goes to CometChat and to the SimpleX CLI
goes to stand-ins, and so does ``systemctl`` among other commands.
"""

from __future__ import annotations

import grp
import os
import shutil
import sqlite3
from collections import Counter
from configparser import ConfigParser
from contextlib import closing
from pathlib import Path

import pytest
import requests

from cometbot.channels.cometchat import CometChatClient
from cometbot.simulator import Actor, Simulator
from cometbot.testing.simplex import FakeSimplexCLI
from tests.acceptance.conftest import WAIT_TIMEOUT, wait_for
from tests.acceptance.npm import find_node, install_package

from .blocks import PAGES, ROOT, SKIP_REASONS, Block, all_blocks, blocks_of
from .conftest import Reader, copy_environment

pytestmark = pytest.mark.process

NOT_RUN = {"docker": 1, "systemd": 3, "real CometChat": 2, "real SimpleX CLI": 2}
"""The number of blocks that do not run, by reason. One more is a decision."""

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
    return [replace_names(line, names) for line in block.lines]


def replace_names(text: str, names: dict[str, str]) -> str:
    """Replace names of the page by the reader's own."""
    for name, own in names.items():
        text = text.replace(name, own)
    return text


def find_dead_reply(database: Path) -> int:
    """Return the number of the reply that could not be sent, or 0."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT id FROM outbox WHERE state = 'dead'").fetchall()
    return int(rows[0][0]) if rows else 0


def register(cometchat: Simulator, reader: Reader, uid: str) -> Actor:
    """Register the bot that the reader serves, and return a user who can write to it."""
    url = f"{reader.url}/cometchat/{uid}"
    cometchat.add_bot(uid, url, username=LOGIN[USERNAME], password=LOGIN[PASSWORD])
    cometchat.add_user("maria", "Maria")
    return cometchat.user("maria")


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


def test_asking(reader: Reader) -> None:
    reader.begin_project()
    *_, tested = follow(reader, ROOT / "docs/asking.md")
    assert "3 passed" in tested


def test_register(reader: Reader, cometchat: Simulator) -> None:
    reader.begin_project()
    reader.write_settings(COMETBOT_CHANNELS="cometchat,agui", AGUI_TOKEN="0123456789abcdef" * 2)
    follow(reader, ROOT / "docs/register.md")
    listed = requests.get(f"{cometchat.api_url}/bots", headers={"apikey": cometchat.api_key}, timeout=30).json()
    assert [bot["uid"] for bot in listed["data"]] == ["helpdesk"]
    [agent] = CometChatClient(cometchat.api_url, cometchat.api_key, app_id=cometchat.app_id).agents()
    assert agent["integrationMeta"]["url"] == "https://bots.example.com/agui/helpdesk"


def test_apps(reader: Reader) -> None:
    reader.begin_project()
    apps = {
        name: reader.enter(Simulator(app_id=id)) for name, id in (("shop_eu", "1a2b3c4d5e"), ("shop_us", "6f7a8b9c0d"))
    }
    page = ROOT / "docs/apps.md"
    [block] = [block for block in blocks_of(page) if block.text.startswith("COMETCHAT_APPS=")]
    settings = dict(line.split("=", 1) for line in block.lines)
    assert settings["COMETCHAT_APPS"] == ",".join(apps)
    for name, app in apps.items():
        settings |= {
            f"COMETCHAT_API_URL__{name.upper()}": app.api_url,
            f"COMETCHAT_APP_ID__{name.upper()}": app.app_id,
            f"COMETCHAT_API_KEY__{name.upper()}": app.api_key,
        }
    reader.write_settings(**LOGIN, **settings)
    follow(reader, page)
    for name, app in apps.items():
        [bot] = CometChatClient(app.api_url, app.api_key, app_id=app.app_id).bots()
        assert bot["uid"] == "helpdesk"
        assert f"/cometchat/{name}/helpdesk" in str(bot)


def test_jobs_and_broadcasts(reader: Reader, cometchat: Simulator) -> None:
    reader.begin_project()
    reader.write_settings(**LOGIN)
    shutil.copy(ROOT / "tests/acceptance/bots/news.py", reader.terminal.folder)
    reader.terminal.run("python news.py")
    listed, started, cancelled = follow(reader, ROOT / "docs/jobs.md", {"j3": "j1", "j7": "j2"})
    assert "report" in listed
    assert "opening" in listed
    assert (started, cancelled) == ("Started the job j1.\n", "Cancelled the job j2.\n")
    *_, shown, _, _, _ = follow(reader, ROOT / "docs/broadcasts.md")
    assert "We open on Monday." in shown


def test_chat_api(reader: Reader, cometchat: Simulator) -> None:
    reader.begin_project()
    reader.write_settings(**LOGIN)
    follow(reader, ROOT / "docs/chat-api.md")
    assert requests.post(f"{reader.url}/chat/shop/users", json={}, timeout=30).status_code in (200, 201)
    [client] = [block.text for block in blocks_of(ROOT / "docs/chat-api.md") if block.text.startswith("import ")]
    folder = reader.terminal.folder
    (folder / "node_modules").symlink_to(install_package("@botpress/chat", "latest") / "node_modules")
    (folder / "client.mjs").write_text(client.replace("https://host", reader.url))
    reader.terminal.run(f"{find_node()} client.mjs")


def test_agui(reader: Reader, cometchat: Simulator) -> None:
    reader.begin_project()
    reader.write_settings(**LOGIN)
    page = ROOT / "docs/agui.md"
    *_, answer = follow(reader, page, {"http://127.0.0.1:8000": reader.url})
    assert "/tea." in answer
    assert '"type":"RUN_FINISHED"' in answer
    folder, client = reader.terminal.folder, next(block.text for block in blocks_of(page) if "runAgent" in block.text)
    (folder / "node_modules").symlink_to(install_package("@ag-ui/client", "1.0.0") / "node_modules")
    (folder / "agent.mjs").write_text(client.replace("https://bots.example.com", reader.url))
    assert "Ask for /tea." in reader.terminal.run(f"{find_node()} agent.mjs")


def test_platform(reader: Reader) -> None:
    reader.begin_project()
    *_, made = follow(reader, ROOT / "docs/platform.md", {"https://chat.example.com": reader.url})
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


def test_errors(reader: Reader, cometchat: Simulator) -> None:
    reader.write_settings(**LOGIN)
    write_files(reader, ROOT / "docs/errors.md")
    reader.terminal.run("cometbot serve bot:bot")
    maria = register(cometchat, reader, "shop")
    assert cometchat.wait_reply(maria.say("/buy tea", to="shop"), timeout=WAIT_TIMEOUT)
    assert cometchat.wait_reply(maria.say("/buy cups", to="shop"), timeout=WAIT_TIMEOUT)
    cometchat.misbehave.fail(400, code="ERR_BAD_REQUEST", times=1)
    maria.say("/ask", to="shop")
    database = reader.terminal.folder / "cometbot.db"
    reply = wait_for(lambda: find_dead_reply(database))
    listed, shown, tried, retried, *_ = follow(
        reader, ROOT / "docs/errors.md", {"m11": "m1", "m12": "m2", "r7": f"r{reply}"}
    )
    assert "ERR_BAD_REQUEST" in listed
    assert "ZeroDivisionError" in shown
    assert "Something broke." in tried
    assert retried == "Requeued 1 dead letter.\n"
    wait_for(lambda: [message.text for message in cometchat.messages()].count("There is no tea left.") == 2)


def test_simplex(reader: Reader, postgres_url: str) -> None:
    reader.begin_project()
    shutil.copytree(reader.base.clone / "examples", reader.project / "examples")
    cli = reader.enter(FakeSimplexCLI())
    reader.terminal.run("pip install 'cometbot[postgres]'")
    reader.terminal.environ |= {
        "COMETBOT_CHANNELS": "simplex",
        "COMETBOT_DATABASE_URL": postgres_url,
        "SIMPLEX_URL": cli.url,
    }
    printed = follow(reader, ROOT / "docs/simplex.md")
    assert any("Order 4711 is on its way" in text for text in printed)
    assert any("✓ SimpleX CLI" in text and "All checks passed." in text for text in printed)


def test_deploy(reader: Reader, cometchat: Simulator, server_names: dict[str, str], postgres_url: str) -> None:
    page, folder = ROOT / "docs/deploy.md", reader.terminal.folder
    (folder / "requirements.txt").unlink()
    shutil.rmtree(folder / "wheels")
    reader.save_downloads(folder / ".venv")
    [settings] = [block.text for block in blocks_of(page) if block.text.startswith("COMETBOT_BOT=")]
    known = [line for line in replace_names(settings, server_names).splitlines() if "…" not in line]
    with (folder / ".env").open("a") as file:
        file.write("\n".join([*known, ""]))
    names = {"postgresql://bot:secret@db.example.com/helpdesk": f"'{postgres_url}'"}
    printed = follow(reader, page, server_names | names)
    assert any("✓ database" in text and "/var/lib/helpdesk/cometbot.db" in text for text in printed)
    maria = register(cometchat, reader, "helpdesk")
    [reply, *_] = cometchat.wait_reply(maria.say("/track 4711", to="helpdesk"), timeout=WAIT_TIMEOUT)
    assert reply.text == "Order 4711 is on its way, Maria."
    reader.terminal.end("serve")
    # A service has the settings of .env alone.
    del reader.terminal.environ["COMETBOT_DATABASE_URL"]
    run_unit(reader, page, server_names)


def run_unit(reader: Reader, page: Path, names: dict[str, str]) -> None:
    """Start what the first unit of a page starts."""
    unit = ConfigParser(interpolation=None)
    unit.read_string(next(block.text for block in blocks_of(page) if block.language == "ini"))
    reader.terminal.run(replace_names(unit["Service"]["ExecStart"], names | {"127.0.0.1:8000": reader.address}))


def test_blocks_that_do_not_run_are_counted() -> None:
    assert Counter(block.reason for block in all_blocks("sh") if block.reason) == NOT_RUN
    assert tuple(NOT_RUN) == SKIP_REASONS


def test_every_page_with_commands_is_followed() -> None:
    pages = {block.page for block in all_blocks("sh") if not block.reason}
    text = Path(__file__).read_text()
    assert {page for page in pages if f'ROOT / "{page}"' not in text} == set()


def test_only_commands_carry_a_reason() -> None:
    marks = sum(page.read_text().count("<!-- not run: ") for page in PAGES)
    assert marks == sum(NOT_RUN.values())
