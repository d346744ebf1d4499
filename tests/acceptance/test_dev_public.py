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

from cometbot.cli import Sentence
from cometbot.cli.dev import public
from cometbot.cli.dev.public import PublicOptions
from cometbot.cli.dev.screen import Screen
from cometbot.errors import ConfigurationError
from cometbot.simulator import Simulator
from cometbot.simulator.records import BotRecord
from cometbot.temporary_folders import LOCK
from tests.ports import free_port

from .conftest import PATIENCE, ROOT

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
def forwarding(tunnel: socket.socket, port: int) -> Iterator[None]:
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


class Run:
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

    def wait_for(self, text: str, seconds: float = PATIENCE) -> str:
        end = time.monotonic() + seconds
        while text not in self.shown:
            if time.monotonic() > end or (self.process.poll() is not None and text not in self.shown):
                pytest.fail(f"waited in vain for {text!r}; shown is:\n{self.shown}")
            time.sleep(0.01)
        return self.shown

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


class Place:
    """A folder with a bot, the settings for it, and the simulator as the real CometChat."""

    def __init__(self, folder: Path, simulator: Simulator) -> None:
        self.folder = folder
        self.simulator = simulator
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._runs: list[Run] = []
        (folder / "bot.py").write_text(BOT)
        (folder / "tmp").mkdir()
        (folder / ".env").write_text(
            f"COMETCHAT_APP_ID={simulator.app_id}\nCOMETCHAT_API_KEY={simulator.api_key}\n"
            f"COMETCHAT_API_URL={simulator.api_url}\n"
        )

    def start(self, *options: str) -> Run:
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("COMET", "PROMETHEUS"))}
        environ = {**kept, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.folder / "tmp"), "COLUMNS": "150"}
        self._runs.append(Run(self.folder, environ, *options))
        return self._runs[-1]

    def serve(self, *options: str) -> Run:
        """A run behind a tunnel that leads straight to it, once CometChat calls the bot there."""
        run = self.start("--public-url", self.url, "--port", str(self.port), *options)
        run.wait_for("Ctrl-C ends it.")
        return run

    def ask(self, text: str) -> str:
        """What the bot answers in the real app."""
        question = self.simulator.user("maria").say(text, to="shop")
        return self.simulator.wait_reply(question)[0].text

    @property
    def bot(self) -> BotRecord:
        with self.simulator.world.changed:
            return self.simulator.world.directory.bots["shop"]

    @property
    def left(self) -> list[str]:
        """What runs have left in the folder that was not there before, and of their databases."""
        kept = {"bot.py", ".env", "log", "tmp", "__pycache__", "cometbot-data", LOCK}
        databases = self.folder.glob("tmp/cometbot-dev-*")
        return [path.name for path in (*databases, *self.folder.iterdir()) if path.name not in kept]

    @property
    def notes(self) -> list[Path]:
        return list(self.folder.glob("cometbot-data/*"))

    def close(self) -> None:
        for run in self._runs:
            if run.process.poll() is None:
                run.process.kill()
            run.process.wait(PATIENCE)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Simulator() as simulator:
        simulator.add_bot("shop", OLD, username="old", password="old-secret", group_setting="mentionedMessages")
        place = Place(tmp_path, simulator)
        yield place
        place.close()


def is_as_before(bot: BotRecord) -> bool:
    has_login = (bot.use_basic_auth, bot.username, bot.password) == (True, "old", "old-secret")
    return has_login and (bot.webhook_url, bot.group_chat_setting, bot.enabled) == (OLD, "mentionedMessages", True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_real_app_talks_to_the_bot_here_until_a_signal_puts_it_back(place: Place, number: int) -> None:
    run = place.serve()
    assert f"CometChat calls {place.url}/cometchat/shop for shop now. It will be {OLD} again at the end." in run.shown
    assert place.bot.password not in run.shown
    assert place.ask("hi") == "Hello, version one!"
    shown = run.wait_for("POST /bots/shop/messages")
    assert "POST /cometchat/shop  maria: hi" in shown
    assert run.end(number) == 0
    assert is_as_before(place.bot)
    assert f"CometChat calls {OLD} for shop again." in run.shown
    assert "Traceback" not in run.shown
    assert (place.notes, place.left) == ([], [])


def test_after_a_kill_the_next_start_puts_back_first(place: Place) -> None:
    place.serve().end(signal.SIGKILL)
    assert place.bot.webhook_url == f"{place.url}/cometchat/shop"
    assert len(place.notes) == 1
    run = place.serve()
    shown = run.shown
    assert (
        shown.index("An earlier run was killed")
        < shown.index(f"calls {OLD} for shop again")
        < shown.index("for shop now")
    )
    assert place.ask("hi") == "Hello, version one!"
    assert run.end() == 0
    assert is_as_before(place.bot)
    assert place.notes == []


def test_after_a_kill_it_can_be_put_back_without_another_run(place: Place) -> None:
    place.serve().end(signal.SIGKILL)
    told = place.start("--no-chat", "--port", "0")
    told.wait_for("cometbot dev --put-back does that now.")
    assert told.end() == 0
    run = place.start("--put-back")
    assert run.process.wait(PATIENCE) == 0
    assert run.shown == f"CometChat calls {OLD} for shop again.\n"
    assert is_as_before(place.bot)
    again = place.start("--put-back")
    assert again.process.wait(PATIENCE) == 0
    assert again.shown == "There is nothing to put back.\n"


def test_while_one_run_works_with_the_app_another_one_is_refused(place: Place) -> None:
    place.serve()
    second = place.start("--public-url", place.url, "--port", "0")
    assert second.process.wait(PATIENCE) == 2
    assert "works with this app already; end that one first" in second.shown
    assert place.ask("hi") == "Hello, version one!"


def test_what_cannot_be_put_back_is_said_and_kept_for_later(place: Place) -> None:
    run = place.serve()
    place.simulator.misbehave.fail(500, routes=["PUT /bots/shop"])
    assert run.end() == 2
    assert "cometbot: shop is not put back" in run.shown
    assert "cometbot dev --put-back in this folder tries it again" in run.shown
    place.simulator.misbehave.clear()
    assert place.start("--put-back").process.wait(PATIENCE) == 0
    assert is_as_before(place.bot)


def test_changed_code_is_taken_and_a_failing_handler_is_shown_with_its_line(place: Place) -> None:
    run = place.serve()
    (place.folder / "bot.py").write_text(BOT.replace("version one", "version two"))
    run.wait_for("↻ bot.py changed: the bot runs with the new code")
    assert place.ask("hi") == "Hello, version two!"
    place.simulator.user("maria").say("boom", to="shop")
    run.wait_for("bot.py, line 12: ZeroDivisionError: division by zero")
    (place.folder / "bot.py").write_text(BOT + "\ndef broken(:\n")
    run.wait_for("✗ bot.py changed, but the bot cannot start; the old one goes on")
    assert place.ask("hi") == "Hello, version two!"
    assert run.end() == 0


def test_a_bot_whose_name_changes_is_called_at_its_new_url(place: Place) -> None:
    run = place.serve()
    (place.folder / "bot.py").write_text(BOT.replace('"shop"', '"store", cometchat_uid="shop"'))
    run.wait_for(f"CometChat calls {place.url}/cometchat/store for shop now. It will be {OLD} again at the end.")
    assert place.ask("hi") == "Hello, version one!"
    assert run.end() == 0
    assert is_as_before(place.bot)


def test_handlers_that_need_more_of_groups_than_cometchat_relays_are_named(place: Place) -> None:
    (place.folder / "bot.py").write_text(BOT + "\n@bot.message(in_group)\ndef listen(ctx): ...\n")
    text = (place.folder / "bot.py").read_text().replace("import Bot", "import Bot, in_group")
    (place.folder / "bot.py").write_text(text)
    run = place.serve()
    assert (
        "Of groups it gets mentionedMessages, and its handlers need allMessages; --group-setting chooses" in run.shown
    )
    assert run.end() == 0


def test_code_that_has_another_bot_now_is_followed(place: Place) -> None:
    run = place.serve("--wire", "off")
    (place.folder / "bot.py").write_text(BOT.replace('"shop"', '"help"'))
    run.wait_for("for help now. It is a new bot, and will be none again at the end.")
    assert is_as_before(place.bot)
    question = place.simulator.user("maria").say("hi", to="help")
    assert place.simulator.wait_reply(question)[0].text == "Hello, version one!"
    assert run.end() == 0
    assert "help is no bot any more, as before; its user stays." in run.shown
    assert "POST /" not in run.shown
    with place.simulator.world.changed:
        assert list(place.simulator.world.directory.bots) == ["shop"]


def test_the_settings_own_credentials_are_those_that_cometchat_shows(place: Place) -> None:
    with (place.folder / ".env").open("a") as file:
        file.write("COMETBOT_CALLBACK_USERNAME=all\nCOMETBOT_CALLBACK_PASSWORD=all-secret\n")
        file.write("COMETBOT_CALLBACK_USERNAME__SHOP=own\nCOMETBOT_CALLBACK_PASSWORD__SHOP=own-secret\n")
    run = place.serve("--group-setting", "allMessages")
    bot = place.bot
    assert (bot.username, bot.password, bot.group_chat_setting) == ("own", "own-secret", "allMessages")
    assert place.ask("hi") == "Hello, version one!"
    assert run.end() == 0
    assert is_as_before(place.bot)
    assert "own-secret" not in run.shown


def test_it_waits_for_a_tunnel_that_comes_later_and_says_what_it_must_do(place: Place) -> None:
    late = free_port()
    run = place.start("--public-url", f"http://127.0.0.1:{late}", "--port", str(place.port))
    shown = run.wait_for("cloudflared tunnel --url")
    assert f"Waiting for the tunnel: at http://127.0.0.1:{late} nothing listens on 127.0.0.1, port {late}." in shown
    assert f"It must lead to {place.url} and change nothing" in shown
    assert is_as_before(place.bot)
    with socket.create_server(("127.0.0.1", late)) as tunnel, forwarding(tunnel, place.port):
        run.wait_for("Ctrl-C ends it.")
        assert place.ask("hi") == "Hello, version one!"
        assert run.end() == 0
    assert is_as_before(place.bot)


def test_a_tunnel_that_never_leads_here_ends_the_run_and_nothing_was_changed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        Sentence, match=r"the bot, since at http://127.0.0.1:\d+ nothing listens .* nothing was changed"
    ):
        run_here(place, monkeypatch, url=f"http://127.0.0.1:{free_port()}")
    assert is_as_before(place.bot)
    assert (place.notes, place.left) == ([], [])


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
def test_what_cannot_work_is_one_sentence(
    place: Place, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, sentence: str
) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    with pytest.raises((Sentence, ConfigurationError), match=sentence):
        run_here(place, monkeypatch, url=url or place.url)
    assert is_as_before(place.bot)
    assert (place.notes, place.left) == ([], [])


def test_a_key_that_may_only_log_users_in_is_one_sentence(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETCHAT_API_KEY", place.simulator.auth_key)
    with pytest.raises(Sentence, match="the API key lacks the right to do this; copy a REST API key"):
        run_here(place, monkeypatch, url=place.url)


def test_a_port_that_is_taken_is_one_sentence(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        socket.create_server(("127.0.0.1", place.port)),
        pytest.raises(
            ConfigurationError, match=rf"port {place.port}, to which the tunnel leads, cannot be listened on"
        ),
    ):
        run_here(place, monkeypatch, url=place.url)


def test_code_that_is_broken_at_the_start_is_one_sentence(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.folder / "bot.py").write_text("def broken(:\n")
    with pytest.raises(ConfigurationError, match=r"the bot cannot start; bot.py, line 1: SyntaxError"):
        run_here(place, monkeypatch, url=place.url)


def run_here(place: Place, monkeypatch: pytest.MonkeyPatch, *, url: str) -> None:
    """A run in this process that does not wait for a tunnel."""
    monkeypatch.chdir(place.folder)
    monkeypatch.setenv("TMPDIR", str(place.folder / "tmp"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr("tempfile.tempdir", str(place.folder / "tmp"))
    screen = Screen(Console(file=io.StringIO(), width=100), io.StringIO())
    public.run(PublicOptions("", url, port=place.port, patience=0.2), screen)
