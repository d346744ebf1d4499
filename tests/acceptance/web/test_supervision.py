"""``cometbot serve`` on PostgreSQL: gunicorn and a worker beside it are one server."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from ..conftest import PATIENCE, wait_for
from ..test_serve import SERVE, Start, free_address, start

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


class Running:
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
        return requests.get(f"http://{self.address}{path}", timeout=PATIENCE, headers={"Connection": "close"})

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
        wait_for(self.is_up, PATIENCE, or_show=lambda: self.log)
        return self.children()


@pytest.fixture
def running(start: Start, tmp_path: Path, postgres_url: str) -> Running:
    made = Running(start, tmp_path, postgres_url)
    made.wait_up()
    return made


def is_gone(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    return True


def test_what_comes_in_is_handled_and_the_numbers_of_both_stand_on_one_page(running: Running) -> None:
    answer = requests.post(
        f"http://{running.address}/cometchat/shop", json=MESSAGE, auth=("cc", "password"), timeout=PATIENCE
    )
    assert answer.status_code == 200, answer.text
    handled = 'cometbot_events_handled_total{bot="shop",outcome="unhandled"} 1.0'
    wait_for(lambda: handled in running.get("/metrics").text, or_show=lambda: running.get("/metrics").text)
    assert 'cometbot_events_received_total{bot="shop",outcome="received"} 1.0' in running.get("/metrics").text
    assert running.get("/readyz").json()["checks"]["workers"].startswith("ok")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_both_with_the_exit_status_0(running: Running, number: int) -> None:
    children = running.children()
    assert set(children) == {"worker", "web"}
    running.process.send_signal(number)
    assert running.process.wait(PATIENCE) == 0
    assert all(map(is_gone, children.values()))
    assert "Traceback" not in running.log
    assert "killed" not in running.log


def test_a_child_that_is_killed_is_started_again_and_the_other_goes_on(running: Running) -> None:
    before = running.children()
    os.kill(before["worker"], signal.SIGKILL)
    wait_for(lambda: running.children().get("worker", before["worker"]) != before["worker"])
    after = running.wait_up()
    assert after["web"] == before["web"]
    os.kill(after["web"], signal.SIGKILL)
    wait_for(lambda: running.children().get("web", after["web"]) != after["web"])
    assert running.wait_up()["worker"] == after["worker"]
    assert "the worker process ended (SIGKILL) and is started again" in running.log
    assert "the web process ended (SIGKILL) and is started again" in running.log


def test_both_end_by_themselves_when_who_started_them_is_killed(running: Running) -> None:
    children = running.children()
    running.process.kill()
    running.process.wait(PATIENCE)
    wait_for(lambda: all(map(is_gone, children.values())), or_show=lambda: running.log)
    assert "Traceback" not in running.log


def test_sighup_reloads_gunicorn_and_replaces_the_worker(running: Running) -> None:
    before = running.children()
    running.process.send_signal(signal.SIGHUP)
    wait_for(lambda: running.children().get("worker", before["worker"]) != before["worker"])
    assert running.wait_up()["web"] == before["web"]
    wait_for(lambda: running.log.count("Booting worker") == 2, or_show=lambda: running.log)
    [ended] = [line for line in running.log.splitlines() if "the worker process ended" in line]
    assert " INFO " in ended
    assert "the web process ended" not in running.log


@pytest.mark.parametrize(
    ("bot", "variables", "sentence"),
    [
        ("other", {"COMETBOT_BOT": "served:bott"}, "the module served has no 'bott'"),
        ("bot", {"COMETBOT_CALLBACK_USERNAME": "", "COMETBOT_CALLBACK_PASSWORD": ""}, "COMETBOT_CALLBACK_USERNAME"),
    ],
    ids=["worker", "web"],
)
def test_one_that_cannot_begin_ends_both_with_one_sentence_and_exit_code_2(
    start: Start, tmp_path: Path, postgres_url: str, bot: str, variables: dict[str, str], sentence: str
) -> None:
    given = {"COMETBOT_DATABASE_URL": postgres_url, "COMETBOT_BIND": free_address(), "COMETBOT_PROCESSES": "1"}
    process = start(*([] if bot == "other" else ["served:bot"]), **given, **variables)
    assert process.wait(PATIENCE) == 2
    log = (tmp_path / "log").read_text()
    assert sentence in next(line for line in log.splitlines() if line.startswith("cometbot: ")), log
    assert log.count("cometbot: ") == 1
    assert "Traceback" not in log


def test_no_handlers_leaves_the_worker_out(start: Start, tmp_path: Path, postgres_url: str) -> None:
    running = Running(start, tmp_path, postgres_url, "--no-handlers")

    def is_serving() -> bool:
        with suppress(requests.RequestException):
            return running.get("/healthz").ok
        return False

    wait_for(is_serving, PATIENCE, or_show=lambda: running.log)
    assert set(running.children()) == {"web"}
    ready = running.get("/readyz")
    assert ready.status_code == 503
    assert "start one with cometbot worker" in ready.json()["checks"]["workers"]
    running.process.terminate()
    assert running.process.wait(PATIENCE) == 0
