"""gunicorn with the project's own gunicorn.conf.py and wsgi.py."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest
import requests

from cometbot.bot import Bot
from cometbot.settings import Secret, Settings
from cometbot.web.app import create_app
from tests.acceptance.conftest import WAIT_TIMEOUT
from tests.ports import HOST, free_port

ROOT = Path(__file__).parents[3]
BOT = """
import cometbot.web.gunicorn_overrides
from cometbot.bot import Bot
cometbot.web.gunicorn_overrides.HEAD_TIMEOUT = 1.0
bot = Bot("shop")

@bot.message("note")
def note(ctx):
    open("noted", "w").close()
"""
CALLBACK = {
    "trigger": "after_message",
    "appId": "app1",
    "bot": "shop",
    "data": {
        "id": "11",
        "conversationId": "maria_user_shop",
        "sender": "maria",
        "receiverType": "user",
        "receiver": "shop",
        "category": "message",
        "type": "text",
        "data": {"text": "note"},
        "sentAt": 1700000000,
        "updatedAt": 1700000000,
    },
}
COUNTED = 'cometbot_events_received_total{bot="shop",outcome="refused"}'

GUNICORN = ("-m", "gunicorn", "-c", str(ROOT / "gunicorn.conf.py"), "wsgi:app")
SERVE = (
    "-c",
    "from cometbot.settings import Settings; from cometbot.web.server import serve; serve(Settings.from_environment())",
)

pytestmark = pytest.mark.process


@dataclass
class Server:
    process: subprocess.Popen[str]
    address: tuple[str, int]
    log: Path

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    def get(self, path: str) -> requests.Response:
        """The answer on a connection of its own, so that any process may give it."""
        return requests.get(self.url + path, timeout=WAIT_TIMEOUT, headers={"Connection": "close"})

    def wait_for(self, condition: Callable[[], bool], seconds: float = WAIT_TIMEOUT) -> None:
        end = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except requests.RequestException:
                pass
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server in a folder with one bot, gunicorn by default; ``variables`` go into its environment."""
    (tmp_path / "server_shop.py").write_text(BOT)
    started: list[subprocess.Popen[str]] = []
    log = tmp_path / "log"

    def start(command: Sequence[str] = GUNICORN, **variables: str) -> Server:
        address = HOST, free_port()
        environ = {
            **{name: text for name, text in os.environ.items() if not name.startswith(("COMET", "PROMETHEUS"))},
            "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
            "COMETBOT_BOT": "server_shop:bot",
            "COMETBOT_BIND": f"127.0.0.1:{address[1]}",
            "COMETBOT_THREADS": "2",
            "COMETBOT_DATABASE_URL": f"sqlite:///{tmp_path / 'bot.db'}",
            "COMETBOT_CALLBACK_USERNAME": "cc",
            "COMETBOT_CALLBACK_PASSWORD": "password",
            "COMETCHAT_APP_ID": "app1",
            "COMETCHAT_API_URL": "http://127.0.0.1:9/v3",
            "COMETCHAT_API_KEY": "key",
            "TMPDIR": str(tmp_path),
            **variables,
        }
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, *command], env=environ, cwd=tmp_path, stdout=output, stderr=output, text=True
            )
            started.append(process)
        return Server(started[-1], address, log)

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(WAIT_TIMEOUT)


@pytest.fixture
def server(start: Start) -> Server:
    server = start()
    server.wait_for(lambda: server.get("/readyz").status_code == 200)
    return server


def test_sigterm_stops_cleanly_and_logs_in_the_set_format(start: Start, tmp_path: Path) -> None:
    server = start(COMETBOT_LOG_FORMAT="json")
    server.wait_for(lambda: server.get("/healthz").status_code == 200)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(WAIT_TIMEOUT) == 0
    log = server.log.read_text()
    assert all(line.startswith("{") for line in log.splitlines()), log
    assert list(tmp_path.glob("cometbot-metrics-*")) == []


def test_stored_messages_are_handled_before_a_request(start: Start, tmp_path: Path) -> None:
    bot = Bot("shop", callback_username="cc", callback_password="password")
    settings = Settings(
        database_url=f"sqlite:///{tmp_path / 'bot.db'}",
        cometchat_app_id="app1",
        cometchat_api_url="http://127.0.0.1:9/v3",
        cometchat_api_key=Secret("key"),
    )
    app = create_app(bot, settings, handles=False)
    assert app.test_client().post("/cometchat/shop", json=CALLBACK, auth=("cc", "password")).status_code == 200
    app.extensions["cometbot"].stop()
    server = start()
    server.wait_for((tmp_path / "noted").exists)


@pytest.mark.parametrize("command", [GUNICORN, SERVE], ids=["gunicorn", "serve"])
def test_metrics_of_all_processes_come_together(start: Start, command: Sequence[str]) -> None:
    server = start(command)
    server.wait_for(lambda: server.get("/readyz").status_code == 200)
    for _ in range(20):
        answer = requests.post(
            f"{server.url}/cometchat/shop", json={}, timeout=WAIT_TIMEOUT, headers={"Connection": "close"}
        )
        assert answer.status_code == 401
    server.wait_for(lambda: f"{COUNTED} 20.0" in server.get("/metrics").text)


def test_unfinished_headers_do_not_block_the_server(server: Server) -> None:
    slow = [socket.create_connection(server.address, timeout=WAIT_TIMEOUT) for _ in range(8)]
    try:
        for connection in slow:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        server.wait_for(lambda: server.get("/healthz").status_code == 200)
        assert [connection.recv(1) for connection in slow] == [b""] * len(slow)
    finally:
        for connection in slow:
            connection.close()


def test_a_client_that_drips_its_headers_is_cut_off(server: Server) -> None:
    with socket.create_connection(server.address, timeout=WAIT_TIMEOUT) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        end = time.monotonic() + WAIT_TIMEOUT
        is_open = True
        while is_open and time.monotonic() < end:
            try:
                connection.sendall(b"a")
                connection.settimeout(0.1)
                is_open = connection.recv(1) != b""
            except TimeoutError:
                continue
            except OSError:
                is_open = False
        assert not is_open


def test_a_connection_is_kept_open_for_the_next_request(server: Server) -> None:
    with requests.Session() as session:
        assert session.get(f"{server.url}/healthz", timeout=WAIT_TIMEOUT).headers.get("Connection") == "keep-alive"
        assert session.get(f"{server.url}/healthz", timeout=WAIT_TIMEOUT).status_code == 200


def test_rapid_requests_share_one_connection(server: Server) -> None:
    with socket.create_connection(server.address, timeout=WAIT_TIMEOUT) as connection:
        stream = connection.makefile("rb")
        for _ in range(200):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_status(stream) == 200


def test_busy_connections_leave_threads_to_others(start: Start) -> None:
    server = start(COMETBOT_PROCESSES="1", COMETBOT_THREADS="1")
    server.wait_for(lambda: server.get("/readyz").status_code == 200)
    go_on = True

    def chatter() -> None:
        with socket.create_connection(server.address, timeout=WAIT_TIMEOUT) as connection:
            stream = connection.makefile("rb")
            while go_on:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert read_status(stream) == 200

    with ThreadPoolExecutor(2) as pool:
        talkers = [pool.submit(chatter) for _ in range(2)]
        try:
            assert [server.get("/healthz").status_code for _ in range(10)] == [200] * 10
        finally:
            go_on = False
        for talker in talkers:
            talker.result(WAIT_TIMEOUT)


def read_status(stream: BinaryIO) -> int:
    status = int(stream.readline().split()[1])
    length = 0
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    stream.read(length)
    return status


def test_headers_beyond_the_limits_are_refused(server: Server) -> None:
    assert (
        requests.get(f"{server.url}/healthz", headers={"X-Long": "x" * 9000}, timeout=WAIT_TIMEOUT).status_code == 431
    )
    many = {f"X-{number}": "x" for number in range(80)}
    assert requests.get(f"{server.url}/healthz", headers=many, timeout=WAIT_TIMEOUT).status_code == 431


@pytest.mark.parametrize(
    ("variables", "status", "sentence"),
    [
        ({"COMETBOT_THREADS": "many"}, 2, "cometbot: COMETBOT_THREADS: expected a whole number"),
        ({"COMETBOT_BOT": "server_shop:bott"}, 4, "cometbot: the module server_shop has no 'bott'; it has: bot"),
        (
            {"COMETBOT_CALLBACK_USERNAME": "", "COMETBOT_CALLBACK_PASSWORD": ""},
            4,
            "COMETBOT_ALLOW_ANONYMOUS_CALLBACKS=1",
        ),
        ({"COMETBOT_DATABASE_URL": "sqlite:////nowhere/bot.db"}, 2, "cometbot: the folder /nowhere of the database"),
    ],
)
def test_wrong_settings_exit_with_one_line(start: Start, variables: dict[str, str], status: int, sentence: str) -> None:
    server = start(**variables)
    assert server.process.wait(WAIT_TIMEOUT) == status
    log = server.log.read_text()
    assert sentence in log
    assert "Traceback" not in log


def test_a_dead_process_is_replaced_and_its_numbers_stay(server: Server) -> None:
    for _ in range(10):
        requests.post(f"{server.url}/cometchat/shop", json={}, timeout=WAIT_TIMEOUT, headers={"Connection": "close"})
    server.wait_for(lambda: len(re.findall(r"Booting worker", server.log.read_text())) == 2)
    workers = re.findall(r"Booting worker with pid: (\d+)", server.log.read_text())
    os.kill(int(workers[0]), signal.SIGKILL)
    server.wait_for(lambda: len(re.findall(r"Booting worker", server.log.read_text())) > len(workers))
    server.wait_for(lambda: f"{COUNTED} 10.0" in server.get("/metrics").text)
