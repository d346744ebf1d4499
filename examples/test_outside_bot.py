"""The bot with the standard library alone, as a process of its own beside a platform."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from cometbot import Bot
from cometbot.settings import Secret, Settings
from cometbot.simulator.server import LoopbackServer
from cometbot.web import create_app
from tests.ports import free_port

FILE = Path(__file__).parent / "outside_bot.py"
ADMIN = {"Authorization": "the-admin-s-key"}


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[str]:
    """The URL of a platform that lets webhooks go to this machine."""
    settings = Settings(
        channels=("platform",),
        database_url=f"sqlite:///{tmp_path}/platform.db",
        data=tmp_path / "data",
        platform_admin_secret_key=Secret(ADMIN["Authorization"]),
        allow_private_webhooks=True,
    )
    app = create_app(Bot("inside"), settings)
    server = LoopbackServer(app, 0)
    yield f"http://127.0.0.1:{server.port}"
    server.stop()
    app.extensions["cometbot"].stop()


@pytest.fixture
def bot_id(platform: str) -> Iterator[str]:
    made = requests.post(f"{platform}/v1/admin-api/bot", json={"name": "Outside"}, headers=ADMIN, timeout=60).json()
    port = free_port()
    given = {"PLATFORM": platform, "BOT_KEY": made["key"], "WEBHOOK": f"http://127.0.0.1:{port}/"}
    # Without site-packages: what it imports is Python's own.
    process = subprocess.Popen([sys.executable, "-I", "-S", str(FILE), str(port)], env={**os.environ, **given})
    yield made["bot"]["id"]
    process.terminate()
    process.wait(60)


def test_it_answers_people_and_names_its_commands(platform: str, bot_id: str) -> None:
    person = requests.Session()
    person.post(f"{platform}/v1/client-api/user", json={"nickname": "Maria"}, timeout=60)
    chat = person.post(f"{platform}/v1/client-api/chat", json={"botId": bot_id}, timeout=60).json()["id"]
    commands = f"{platform}/v1/client-api/bot/{bot_id}/commands"
    end = time.monotonic() + 60
    while not person.get(commands, timeout=60).json():
        assert time.monotonic() < end
        time.sleep(0.02)
    for text in ("Is there anybody?", "/shout hello"):
        person.post(f"{platform}/v1/client-api/chat/message", json={"chatId": chat, "body": text}, timeout=60)

    said: list[str] = []
    while len(said) < 4:
        assert time.monotonic() < end
        time.sleep(0.02)
        page = person.get(f"{platform}/v1/client-api/chat/{chat}/messages", timeout=60).json()
        said = [message["body"] for message in page["messages"]]
    assert set(said) == {"Is there anybody?", "You said: Is there anybody?", "/shout hello", "HELLO!"}
    assert person.get(commands, timeout=60).json()[0]["alias"] == "shout"
    person.close()


@pytest.mark.parametrize("words", [[], ["8080"]])
def test_what_is_not_set_is_asked_for_in_one_sentence(words: list[str]) -> None:
    environ = {name: text for name, text in os.environ.items() if name not in ("PLATFORM", "BOT_KEY", "WEBHOOK")}
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(FILE), *words], env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "Set PLATFORM, BOT_KEY and WEBHOOK" in done.stderr


def test_it_imports_nothing_that_has_to_be_installed() -> None:
    tree = ast.parse(FILE.read_text())
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}

    assert {module.partition(".")[0] for module in modules} <= sys.stdlib_module_names
