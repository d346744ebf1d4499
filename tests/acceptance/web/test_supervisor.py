"""``cometbot serve`` on PostgreSQL: gunicorn and a worker beside it are one server."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from cometbot.temporary_folders import TemporaryFolder

from ..conftest import WAIT_TIMEOUT, wait_for
from ..test_serve import SERVE, Start, free_address, start, starting_in

__all__ = ["start"]
pytestmark = pytest.mark.process

MESSAGE = {
    "trigger": "after_message",
    "appId": "app1",
    "bot": "shop",
    "data": {
        "id": "1",
        "conversationId": "maria_user_shop",
        "sender": "maria",
        "receiver": "shop",
        "receiverType": "user",
        "category": "message",
        "type": "text",
        "sentAt": 1680125130,
        "updatedAt": 1680125130,
        "data": {"text": "hi", "entities": {"sender": {"entityType": "user", "entity": {"uid": "maria", "name": "M"}}}},
    },
}


class ServedBot:
    """A server with its worker, and what can be seen of them."""

    def __init__(
        self, start: Start, tmp_path: Path, url: str, *words: str, command: Sequence[str] = SERVE, **variables: str
    ) -> None:
        self.address = free_address()
        self._log = tmp_path / "log"
        given = {"COMETBOT_DATABASE_URL": url, "COMETBOT_BIND": self.address, "COMETBOT_PROCESSES": "1", **variables}
        given["COMETBOT_BOT"] = "served:bot"
        self.process: subprocess.Popen[str] = start(*words, command=command, **given)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def get(self, path: str) -> requests.Response:
        return requests.get(f"http://{self.address}{path}", timeout=WAIT_TIMEOUT, headers={"Connection": "close"})

    def children(self) -> dict[str, int]:
        """The worker's and gunicorn's process, by name."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (folder / "cmdline").read_text().split("\0")
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
                if int(parent) == self.process.pid and state != "Z":
                    found["worker" if "worker" in words else "web"] = int(folder.name)
        return found

    def is_up(self) -> bool:
        with suppress(requests.RequestException):
            return len(self.children()) == 2 and self.get("/readyz").ok
        return False

    def wait_up(self) -> dict[str, int]:
        wait_for(self.is_up, WAIT_TIMEOUT, or_show=lambda: self.log)
        return self.children()


@pytest.fixture(scope="module")
def shared_bot(make_postgres_database: Callable[[], str]) -> Iterator[ServedBot]:
    """A server that tests leave whole."""
    with TemporaryFolder("test") as folder, starting_in(folder) as start:
        yield ServedBot(start, folder, make_postgres_database())


@pytest.fixture
def lasting_bot(shared_bot: ServedBot) -> ServedBot:
    """The server that tests leave whole, when both of its children work."""
    shared_bot.wait_up()
    return shared_bot


@pytest.fixture
def served_bot(start: Start, tmp_path: Path, postgres_url: str) -> ServedBot:
    """A server that a test may end."""
    made = ServedBot(start, tmp_path, postgres_url)
    made.wait_up()
    return made


def is_gone(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    return True


def test_callbacks_are_handled_and_metrics_merged(lasting_bot: ServedBot) -> None:
    answer = requests.post(
        f"http://{lasting_bot.address}/cometchat/shop", json=MESSAGE, auth=("cc", "password"), timeout=WAIT_TIMEOUT
    )
    assert answer.status_code == 200, answer.text
    handled = 'cometbot_events_handled_total{bot="shop",outcome="unhandled"} 1.0'
    wait_for(lambda: handled in lasting_bot.get("/metrics").text, or_show=lambda: lasting_bot.get("/metrics").text)
    assert 'cometbot_events_received_total{bot="shop",outcome="received"} 1.0' in lasting_bot.get("/metrics").text
    assert lasting_bot.get("/readyz").json()["checks"]["workers"].startswith("ok")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_both_with_the_exit_status_0(served_bot: ServedBot, number: int) -> None:
    children = served_bot.children()
    assert set(children) == {"worker", "web"}
    served_bot.process.send_signal(number)
    assert served_bot.process.wait(WAIT_TIMEOUT) == 0
    assert all(map(is_gone, children.values()))
    assert "Traceback" not in served_bot.log
    assert "killed" not in served_bot.log


def test_killed_child_is_restarted_alone(lasting_bot: ServedBot) -> None:
    before = lasting_bot.children()
    os.kill(before["worker"], signal.SIGKILL)
    wait_for(lambda: lasting_bot.children().get("worker", before["worker"]) != before["worker"])
    after = lasting_bot.wait_up()
    assert after["web"] == before["web"]
    os.kill(after["web"], signal.SIGKILL)
    wait_for(lambda: lasting_bot.children().get("web", after["web"]) != after["web"])
    assert lasting_bot.wait_up()["worker"] == after["worker"]
    assert "the worker process ended (SIGKILL); restarting it" in lasting_bot.log
    assert "the web process ended (SIGKILL); restarting it" in lasting_bot.log


def test_children_exit_when_the_supervisor_is_killed(served_bot: ServedBot) -> None:
    children = served_bot.children()
    served_bot.process.kill()
    served_bot.process.wait(WAIT_TIMEOUT)
    wait_for(lambda: all(map(is_gone, children.values())), or_show=lambda: served_bot.log)
    assert "Traceback" not in served_bot.log


def test_sighup_reloads_gunicorn_and_replaces_the_worker(lasting_bot: ServedBot) -> None:
    before, logged = lasting_bot.children(), len(lasting_bot.log)
    lasting_bot.process.send_signal(signal.SIGHUP)
    wait_for(lambda: lasting_bot.children().get("worker", before["worker"]) != before["worker"])
    assert lasting_bot.wait_up()["web"] == before["web"]
    wait_for(lambda: "Booting worker" in lasting_bot.log[logged:], or_show=lambda: lasting_bot.log)
    [ended] = [line for line in lasting_bot.log[logged:].splitlines() if "the worker process ended" in line]
    assert " INFO " in ended
    assert "the web process ended" not in lasting_bot.log[logged:]


@pytest.mark.parametrize(
    ("bot", "variables", "sentence"),
    [
        ("other", {"COMETBOT_BOT": "served:bott"}, "the module served has no 'bott'"),
        ("bot", {"COMETBOT_CALLBACK_USERNAME": "", "COMETBOT_CALLBACK_PASSWORD": ""}, "COMETBOT_CALLBACK_USERNAME"),
    ],
    ids=["worker", "web"],
)
def test_failed_start_stops_both_with_exit_code_2(
    start: Start, tmp_path: Path, postgres_url: str, bot: str, variables: dict[str, str], sentence: str
) -> None:
    given = {"COMETBOT_DATABASE_URL": postgres_url, "COMETBOT_BIND": free_address(), "COMETBOT_PROCESSES": "1"}
    process = start(*([] if bot == "other" else ["served:bot"]), **given, **variables)
    assert process.wait(WAIT_TIMEOUT) == 2
    log = (tmp_path / "log").read_text()
    assert sentence in next(line for line in log.splitlines() if line.startswith("cometbot: ")), log
    assert log.count("cometbot: ") == 1
    assert "Traceback" not in log


def test_no_handlers_leaves_the_worker_out(start: Start, tmp_path: Path, postgres_url: str) -> None:
    served_bot = ServedBot(start, tmp_path, postgres_url, "--no-handlers")

    def is_serving() -> bool:
        with suppress(requests.RequestException):
            return served_bot.get("/healthz").ok
        return False

    wait_for(is_serving, WAIT_TIMEOUT, or_show=lambda: served_bot.log)
    assert set(served_bot.children()) == {"web"}
    ready = served_bot.get("/readyz")
    assert ready.status_code == 503
    assert "start one with cometbot worker" in ready.json()["checks"]["workers"]
    served_bot.process.terminate()
    assert served_bot.process.wait(WAIT_TIMEOUT) == 0
