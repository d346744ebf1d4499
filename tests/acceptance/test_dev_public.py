"""``cometbot dev --public-url`` as an author uses it, with the simulator as the real CometChat."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from rich.console import Console

from cometbot.cli import CommandError
from cometbot.cli.dev import public_session
from cometbot.cli.dev.screen import Screen
from cometbot.cli.dev.session import DevOptions
from cometbot.errors import ConfigurationError
from cometbot.simulator import Simulator
from cometbot.simulator.records import BotRecord
from cometbot.temporary_folders import LOCK_FILE
from tests.ports import free_port

from .conftest import ROOT, WAIT_TIMEOUT

pytestmark = pytest.mark.process

COMETBOT = (sys.executable, "-c", "from cometbot.cli import main; main(prog_name='cometbot')")
OLD = "https://old.example/cometchat/shop"
BOT = """
from cometbot import Bot

bot = Bot("shop")

@bot.message("hi")
def greet(ctx):
    return "Hello, version one!"

@bot.message("boom")
def boom(ctx):
    return 1 / 0
"""


@contextmanager
def forward_connections(tunnel: socket.socket, port: int) -> Iterator[None]:
    """What comes to ``tunnel`` goes to ``port`` of this machine, and back."""
    tunnel.settimeout(0.05)
    over = threading.Event()

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def join(near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", port)) as far:
            back = threading.Thread(target=carry, args=(far, near))
            back.start()
            carry(near, far)
            back.join()

    def accept() -> None:
        while not over.is_set():
            with suppress(TimeoutError):
                near = tunnel.accept()[0]
                near.settimeout(None)
                threading.Thread(target=join, args=(near,), daemon=True).start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield
    finally:
        over.set()
        accepting.join()


class DevProcess:
    """One run in a folder; what it says goes to a file."""

    def __init__(self, folder: Path, environ: dict[str, str], *options: str) -> None:
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMETBOT, "dev", *options],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def shown(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str, seconds: float = WAIT_TIMEOUT) -> str:
        end = time.monotonic() + seconds
        while text not in self.shown:
            if time.monotonic() > end or (self.process.poll() is not None and text not in self.shown):
                pytest.fail(f"waited in vain for {text!r}; shown is:\n{self.shown}")
            time.sleep(0.01)
        return self.shown

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(WAIT_TIMEOUT)


class TunnelSetup:
    """A folder with a bot, the settings for it, and the simulator as the real CometChat."""

    def __init__(self, folder: Path, simulator: Simulator) -> None:
        self.folder = folder
        self.simulator = simulator
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._runs: list[DevProcess] = []
        (folder / "bot.py").write_text(BOT)
        (folder / "tmp").mkdir()
        (folder / ".env").write_text(
            f"COMETCHAT_APP_ID={simulator.app_id}\nCOMETCHAT_API_KEY={simulator.api_key}\n"
            f"COMETCHAT_API_URL={simulator.api_url}\n"
        )

    def start(self, *options: str) -> DevProcess:
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("COMET", "PROMETHEUS"))}
        environ = {**kept, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.folder / "tmp"), "COLUMNS": "150"}
        self._runs.append(DevProcess(self.folder, environ, *options))
        return self._runs[-1]

    def serve(self, *options: str) -> DevProcess:
        """A run behind a tunnel that leads straight to it, once CometChat calls the bot there."""
        run = self.start("--public-url", self.url, "--port", str(self.port), *options)
        run.wait_for("Ctrl-C quits.")
        return run

    def ask(self, text: str) -> str:
        """What the bot answers in the real app."""
        question = self.simulator.user("maria").say(text, to="shop")
        return self.simulator.wait_reply(question)[0].text

    @property
    def bot(self) -> BotRecord:
        with self.simulator.world.condition:
            return self.simulator.world.directory.bots["shop"]

    @property
    def left(self) -> list[str]:
        """What runs have left in the folder that was not there before, and of their databases."""
        kept = {"bot.py", ".env", "log", "tmp", "__pycache__", "cometbot-data", LOCK_FILE}
        databases = self.folder.glob("tmp/cometbot-dev-*")
        return [path.name for path in (*databases, *self.folder.iterdir()) if path.name not in kept]

    @property
    def notes(self) -> list[Path]:
        return list(self.folder.glob("cometbot-data/*"))

    def close(self) -> None:
        for run in self._runs:
            if run.process.poll() is None:
                run.process.kill()
            run.process.wait(WAIT_TIMEOUT)


@pytest.fixture
def tunnel_setup(tmp_path: Path) -> Iterator[TunnelSetup]:
    with Simulator() as simulator:
        simulator.add_bot("shop", OLD, username="old", password="old-secret", group_setting="mentionedMessages")
        tunnel_setup = TunnelSetup(tmp_path, simulator)
        yield tunnel_setup
        tunnel_setup.close()


def is_as_before(bot: BotRecord) -> bool:
    has_login = (bot.use_basic_auth, bot.username, bot.password) == (True, "old", "old-secret")
    return has_login and (bot.webhook_url, bot.group_chat_setting, bot.enabled) == (OLD, "mentionedMessages", True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_public_run_is_undone_by_a_signal(tunnel_setup: TunnelSetup, number: int) -> None:
    run = tunnel_setup.serve()
    calls = f"CometChat now calls {tunnel_setup.url}/cometchat/shop for shop. {OLD} is restored at the end."
    assert calls in run.shown
    assert tunnel_setup.bot.password not in run.shown
    assert tunnel_setup.ask("hi") == "Hello, version one!"
    shown = run.wait_for("POST /bots/shop/messages")
    assert "POST /cometchat/shop  maria: hi" in shown
    assert run.end(number) == 0
    assert is_as_before(tunnel_setup.bot)
    assert f"CometChat calls {OLD} for shop again." in run.shown
    assert "Traceback" not in run.shown
    assert (tunnel_setup.notes, tunnel_setup.left) == ([], [])


def test_after_a_kill_the_next_start_puts_back_first(tunnel_setup: TunnelSetup) -> None:
    tunnel_setup.serve().end(signal.SIGKILL)
    assert tunnel_setup.bot.webhook_url == f"{tunnel_setup.url}/cometchat/shop"
    assert len(tunnel_setup.notes) == 1
    run = tunnel_setup.serve()
    shown = run.shown
    assert (
        shown.index("An earlier run was killed")
        < shown.index(f"calls {OLD} for shop again")
        < shown.index("CometChat now calls")
    )
    assert tunnel_setup.ask("hi") == "Hello, version one!"
    assert run.end() == 0
    assert is_as_before(tunnel_setup.bot)
    assert tunnel_setup.notes == []


def test_after_a_kill_it_can_be_put_back_without_another_run(tunnel_setup: TunnelSetup) -> None:
    tunnel_setup.serve().end(signal.SIGKILL)
    told = tunnel_setup.start("--no-chat", "--port", "0")
    told.wait_for("Run: cometbot dev --restore")
    assert told.end() == 0
    run = tunnel_setup.start("--restore")
    assert run.process.wait(WAIT_TIMEOUT) == 0
    assert run.shown == f"CometChat calls {OLD} for shop again.\n"
    assert is_as_before(tunnel_setup.bot)
    again = tunnel_setup.start("--restore")
    assert again.process.wait(WAIT_TIMEOUT) == 0
    assert again.shown == "Nothing to restore.\n"


def test_while_one_run_works_with_the_app_another_one_is_refused(tunnel_setup: TunnelSetup) -> None:
    tunnel_setup.serve()
    second = tunnel_setup.start("--public-url", tunnel_setup.url, "--port", "0")
    assert second.process.wait(WAIT_TIMEOUT) == 2
    assert "is running for this app. Stop it first" in second.shown
    assert tunnel_setup.ask("hi") == "Hello, version one!"


def test_what_cannot_be_put_back_is_said_and_kept_for_later(tunnel_setup: TunnelSetup) -> None:
    run = tunnel_setup.serve()
    tunnel_setup.simulator.misbehave.fail(500, routes=["PUT /bots/shop"])
    assert run.end() == 2
    assert "cometbot: cannot restore shop" in run.shown
    assert "Retry in this folder with: cometbot dev --restore" in run.shown
    tunnel_setup.simulator.misbehave.clear()
    assert tunnel_setup.start("--restore").process.wait(WAIT_TIMEOUT) == 0
    assert is_as_before(tunnel_setup.bot)


def test_public_run_reloads_and_shows_failing_line(tunnel_setup: TunnelSetup) -> None:
    run = tunnel_setup.serve()
    (tunnel_setup.folder / "bot.py").write_text(BOT.replace("version one", "version two"))
    run.wait_for("↻ bot.py changed: the bot runs with the new code")
    assert tunnel_setup.ask("hi") == "Hello, version two!"
    tunnel_setup.simulator.user("maria").say("boom", to="shop")
    run.wait_for("bot.py, line 12: ZeroDivisionError: division by zero")
    (tunnel_setup.folder / "bot.py").write_text(BOT + "\ndef broken(:\n")
    run.wait_for("✗ bot.py changed, but the bot cannot start; the previous version keeps running")
    assert tunnel_setup.ask("hi") == "Hello, version two!"
    assert run.end() == 0


def test_a_bot_whose_name_changes_is_called_at_its_new_url(tunnel_setup: TunnelSetup) -> None:
    run = tunnel_setup.serve()
    (tunnel_setup.folder / "bot.py").write_text(BOT.replace('"shop"', '"store", cometchat_uid="shop"'))
    run.wait_for(f"CometChat now calls {tunnel_setup.url}/cometchat/store for shop. {OLD} is restored at the end.")
    assert tunnel_setup.ask("hi") == "Hello, version one!"
    assert run.end() == 0
    assert is_as_before(tunnel_setup.bot)


def test_insufficient_group_setting_is_named(tunnel_setup: TunnelSetup) -> None:
    (tunnel_setup.folder / "bot.py").write_text(BOT + "\n@bot.message(in_group)\ndef listen(ctx): ...\n")
    text = (tunnel_setup.folder / "bot.py").read_text().replace("import Bot", "import Bot, in_group")
    (tunnel_setup.folder / "bot.py").write_text(text)
    run = tunnel_setup.serve()
    assert "Group setting: its handlers need allMessages, got mentionedMessages" in run.shown
    assert run.end() == 0


def test_code_that_has_another_bot_now_is_followed(tunnel_setup: TunnelSetup) -> None:
    run = tunnel_setup.serve("--traffic", "off")
    (tunnel_setup.folder / "bot.py").write_text(BOT.replace('"shop"', '"help"'))
    run.wait_for("for help. It is a new bot, and is unregistered at the end.")
    assert is_as_before(tunnel_setup.bot)
    question = tunnel_setup.simulator.user("maria").say("hi", to="help")
    assert tunnel_setup.simulator.wait_reply(question)[0].text == "Hello, version one!"
    assert run.end() == 0
    assert "help is unregistered again; its user is kept." in run.shown
    assert "POST /" not in run.shown
    with tunnel_setup.simulator.world.condition:
        assert list(tunnel_setup.simulator.world.directory.bots) == ["shop"]


def test_public_run_uses_the_settings_credentials(tunnel_setup: TunnelSetup) -> None:
    with (tunnel_setup.folder / ".env").open("a") as file:
        file.write("COMETBOT_CALLBACK_USERNAME=all\nCOMETBOT_CALLBACK_PASSWORD=all-secret\n")
        file.write("COMETBOT_CALLBACK_USERNAME__SHOP=own\nCOMETBOT_CALLBACK_PASSWORD__SHOP=own-secret\n")
    run = tunnel_setup.serve("--group-setting", "allMessages")
    bot = tunnel_setup.bot
    assert (bot.username, bot.password, bot.group_chat_setting) == ("own", "own-secret", "allMessages")
    assert tunnel_setup.ask("hi") == "Hello, version one!"
    assert run.end() == 0
    assert is_as_before(tunnel_setup.bot)
    assert "own-secret" not in run.shown


def test_public_run_waits_for_the_tunnel(tunnel_setup: TunnelSetup) -> None:
    late = free_port()
    run = tunnel_setup.start("--public-url", f"http://127.0.0.1:{late}", "--port", str(tunnel_setup.port))
    shown = run.wait_for("cloudflared tunnel --url")
    assert f"Waiting for the tunnel: http://127.0.0.1:{late}: nothing listens on 127.0.0.1, port {late}." in shown
    assert f"It must forward all requests unchanged to {tunnel_setup.url}" in shown
    assert is_as_before(tunnel_setup.bot)
    with socket.create_server(("127.0.0.1", late)) as tunnel, forward_connections(tunnel, tunnel_setup.port):
        run.wait_for("Ctrl-C quits.")
        assert tunnel_setup.ask("hi") == "Hello, version one!"
        assert run.end() == 0
    assert is_as_before(tunnel_setup.bot)


def test_missing_tunnel_ends_the_run_unchanged(tunnel_setup: TunnelSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match=r"the bot at http://127.0.0.1:\d+: nothing listens .* Nothing was changed"):
        run_here(tunnel_setup, monkeypatch, url=f"http://127.0.0.1:{free_port()}")
    assert is_as_before(tunnel_setup.bot)
    assert (tunnel_setup.notes, tunnel_setup.left) == ([], [])


@pytest.mark.parametrize(
    ("variables", "url", "sentence"),
    [
        ({"COMETCHAT_API_KEY": "wrong"}, "", "CometChat does not know the API key"),
        ({"COMETCHAT_API_URL": "https://app.api-eu.cometchat.io/v3"}, "", "HTTPS only"),
        ({"COMETCHAT_API_URL": "https://app.api-eu.cometchat.io/v3"}, "https://localhost", "cannot reach localhost"),
        ({}, "tunnel", "must be one such as https://bots.example.com"),
        ({"COMETBOT_CALLBACK_USERNAME": "a", "COMETBOT_CALLBACK_PASSWORD": "x" * 51}, "", "takes 1 to 50"),
    ],
)
def test_invalid_public_options_are_an_error(
    tunnel_setup: TunnelSetup, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, sentence: str
) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    with pytest.raises((CommandError, ConfigurationError), match=sentence):
        run_here(tunnel_setup, monkeypatch, url=url or tunnel_setup.url)
    assert is_as_before(tunnel_setup.bot)
    assert (tunnel_setup.notes, tunnel_setup.left) == ([], [])


def test_auth_only_key_is_an_error(tunnel_setup: TunnelSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETCHAT_API_KEY", tunnel_setup.simulator.auth_key)
    with pytest.raises(CommandError, match="the API key lacks the right to do this; copy a REST API key"):
        run_here(tunnel_setup, monkeypatch, url=tunnel_setup.url)


def test_taken_port_is_an_error(tunnel_setup: TunnelSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        socket.create_server(("127.0.0.1", tunnel_setup.port)),
        pytest.raises(
            ConfigurationError, match=rf"cannot listen on port {tunnel_setup.port}, to which the tunnel leads"
        ),
    ):
        run_here(tunnel_setup, monkeypatch, url=tunnel_setup.url)


def test_code_broken_at_the_start_is_an_error(tunnel_setup: TunnelSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    (tunnel_setup.folder / "bot.py").write_text("def broken(:\n")
    with pytest.raises(ConfigurationError, match=r"cannot start the bot: bot.py, line 1: SyntaxError"):
        run_here(tunnel_setup, monkeypatch, url=tunnel_setup.url)


def run_here(tunnel_setup: TunnelSetup, monkeypatch: pytest.MonkeyPatch, *, url: str) -> None:
    """A run in this process that does not wait for a tunnel."""
    monkeypatch.chdir(tunnel_setup.folder)
    monkeypatch.setenv("TMPDIR", str(tunnel_setup.folder / "tmp"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr("tempfile.tempdir", str(tunnel_setup.folder / "tmp"))
    screen = Screen(Console(file=io.StringIO(), width=100), io.StringIO())
    public_session.run(DevOptions(public_url=url, port=tunnel_setup.port, tunnel_timeout=0.2), screen)
