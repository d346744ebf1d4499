"""A simulated CometChat in this process, and beside it gunicorn as an author would run it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests

from cometbot.simulator import Simulator, StoredMessage
from cometbot.temporary_folders import TemporaryFolder
from tests.ports import HOST, free_port

ROOT = Path(__file__).parents[2]
BOTS = "tests/acceptance/bots"
GUNICORN = (sys.executable, "-m", "gunicorn", "wsgi:app")
APP_ID = "5150a0b1c2d3e4f6"
API_KEY = "0123456789abcdef0123456789abcdef01234567"
LOGIN = ("cc", "s3cr3t-value-of-tests")
BOT_NAME = "trial"
WAIT_TIMEOUT = 120.0
"""Seconds after which a test gives up what takes a moment; the machine may do ten other things as well."""

RUNS_ALL_FAULTS = os.environ.get("COMETBOT_TEST_FAULTS") == "full"
"""Whether every fault is wanted (``make faults``), or the few that fit into ``make test``."""

T = TypeVar("T")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long tests unless all faults are wanted."""
    here = Path(__file__).parent
    long = [item for item in items if item.path.is_relative_to(here) and item.get_closest_marker("long")]
    if long and not RUNS_ALL_FAULTS:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


def wait_for(condition: Callable[[], T], seconds: float = WAIT_TIMEOUT, *, or_show: Callable[[], object] = str) -> T:
    """Return the first true value of ``condition()``; ``or_show`` tells what to print if it does not come in time.

    A condition that takes much of a processor is tried less often: what it waits for needs the processor, too.
    """
    end = time.monotonic() + seconds
    before = time.thread_time()
    while not (value := condition()):
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds:g} s in vain\n{or_show()}")
        time.sleep(min(max(0.01, 10 * (time.thread_time() - before)), 0.2))
        before = time.thread_time()
    return value


class Server:
    """gunicorn with all its processes, one process group. It can be ended in every way, and started again."""

    command = GUNICORN

    def __init__(self, folder: Path, environ: Mapping[str, str], *, bot: str = BOT_NAME) -> None:
        self.bot = bot
        self.database = folder / "bot.db"
        self.marks_folder = folder / "marks"
        self.marks_folder.mkdir(exist_ok=True)
        self.address = HOST, free_port()
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("COMET", "PROMETHEUS"))}
        self._environ = kept | {
            "COMETBOT_BOT": f"{BOTS}/trial.py:bot",
            "COMETBOT_BIND": f"{self.address[0]}:{self.address[1]}",
            "COMETBOT_DATABASE_URL": f"sqlite:///{self.database}",
            "COMETBOT_PROCESSES": "2",
            "COMETBOT_CALLBACK_USERNAME": LOGIN[0],
            "COMETBOT_CALLBACK_PASSWORD": LOGIN[1],
            "COMETBOT_TEST_MARKS": str(self.marks_folder),
            "TMPDIR": str(folder),
            **environ,
        }

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    @property
    def callback_url(self) -> str:
        return f"{self.url}/cometchat/{self.bot}"

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def start(self) -> None:
        """Begin, and wait until it is fit to get messages."""
        assert self._process is None, "it runs already"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, cwd=ROOT, env=self._environ, stdout=log, stderr=log, start_new_session=True
            )
        self.wait_until(self._is_ready)

    @property
    def is_running(self) -> bool:
        """True if it was started, and was not ended since."""
        return self._process is not None

    def _is_ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            pytest.fail(f"the server ended by itself\n{self.log}")
        try:
            return self.get("/readyz").status_code == 200
        except requests.RequestException:
            return False

    def kill(self) -> None:
        """End the master and all workers at once, as the end of the machine would."""
        assert self._process is not None
        # A process that has ended and was not waited for keeps its number, so this meets nobody else's.
        os.killpg(self._process.pid, signal.SIGKILL)
        self.wait_for_end()

    def terminate(self) -> int:
        """The exit status after SIGTERM to the master, as from systemd or ``docker stop``."""
        self.send_sigterm()
        return self.wait_for_end()

    def send_sigterm(self) -> None:
        """Send SIGTERM to the master, and do not wait."""
        self.signal(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the master."""
        assert self._process is not None
        self._process.send_signal(number)

    def restart(self) -> None:
        """Kill it if it runs, and start it."""
        if self._process is not None:
            self.kill()
        self.start()

    def close(self) -> None:
        """End everything. Nothing survives a test."""
        if self._process is not None:
            self.kill()

    def wait_for_end(self) -> int:
        """Return the exit status, once no process is left."""
        assert self._process is not None
        group = self._process.pid
        status = self._process.wait(WAIT_TIMEOUT)
        self._process = None
        self.wait_until(lambda: not is_group_alive(group))
        return status

    def wait_until(self, condition: Callable[[], T], seconds: float = WAIT_TIMEOUT) -> T:
        """The first true value of ``condition()``; if it does not come in time, the server's log is shown."""
        return wait_for(condition, seconds, or_show=lambda: self.log)

    def get(self, path: str) -> requests.Response:
        """The answer on a connection of its own, so that any process may give it."""
        return requests.get(self.url + path, timeout=WAIT_TIMEOUT, headers={"Connection": "close"})

    def post(self, callback: Any, **options: Any) -> requests.Response:
        """The answer to a callback, which comes on a connection of its own."""
        headers = {"Connection": "close", **options.pop("headers", {})}
        options = {"auth": LOGIN, "timeout": WAIT_TIMEOUT, **options}
        return requests.post(self.callback_url, json=callback, headers=headers, **options)

    def count_marks(self, name: str) -> int:
        """How often handlers of the bot have left this mark."""
        file = self.marks_folder / name
        return file.stat().st_size if file.exists() else 0

    def open_gate(self) -> None:
        """Let handlers go on that wait at the bot's gate."""
        (self.marks_folder / "open").touch()

    def close_gate(self) -> None:
        """Have handlers wait at the bot's gate, as at first."""
        (self.marks_folder / "open").unlink(missing_ok=True)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the server's database."""
        connection = sqlite3.connect(self.database, timeout=WAIT_TIMEOUT)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def dead_letters(self) -> list[tuple[str, str, int]]:
        """Message id, cause and number of attempts of each message that was given up, oldest first."""
        rows = self.query("SELECT event_key, error, attempts FROM mailbox WHERE state = 'dead' ORDER BY seq")
        return [(str(key).partition(":")[2], str(error), int(attempts)) for key, error, attempts in rows]


class CometChatDriver:
    """The simulated CometChat as these tests use it: they carry its callbacks themselves, when and as often as they
    want."""

    def __init__(self, simulator: Simulator, bot: str = BOT_NAME) -> None:
        self.simulator = simulator
        self.bot = bot

    def write(self, text: str, user: str = "maria") -> StoredMessage:
        """What ``user`` wrote to the bot, stored there; nobody is told yet."""
        return self.simulator.user(user).say(text, to=self.bot)

    def callback(self, message: StoredMessage) -> dict[str, Any]:
        """What CometChat posts to the bot about a message."""
        with self.simulator.world.condition:
            data = self.simulator.world.serializer.message(message)
        signature = {"appId": self.simulator.app_id, "region": "eu", "chatAPIVersion": "3.0", "bot": self.bot}
        return {"trigger": "after_message", "data": data, **signature}

    def replies(self, user: str = "maria") -> list[str]:
        """What the bot has said to ``user``, oldest first."""
        messages = self.simulator.messages(between=(user, self.bot))
        return [message.text for message in messages if message.sender == self.bot]

    def wait_replies(self, user: str, count: int, server: Server, seconds: float = WAIT_TIMEOUT) -> list[str]:
        """The first replies to ``user``, ``count`` or more."""
        return server.wait_until(lambda: len(found := self.replies(user)) >= count and found, seconds) or []


def is_group_alive(group: int) -> bool:
    """Whether a process of this group has not ended. Those that nobody has waited for yet do not count."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, of_group = file.read_text().rpartition(")")[2].split()[:3]
            if int(of_group) == group and state not in "ZX":
                return True
    return False


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in whose folder for temporary files processes can hear of each other: pytest's own have names that are
    too long for a socket's."""
    with TemporaryFolder("test") as folder:
        yield folder


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """Knows the bot, but does not call it: tests do that. No request is too many for it."""
    with Simulator(app_id=APP_ID, api_key=API_KEY) as simulator:
        simulator.configure(standard_limit=10**9)
        simulator.add_bot(BOT_NAME, "http://127.0.0.1:9/unused", enabled=False)
        yield simulator


@pytest.fixture(scope="module")
def platform(simulator: Simulator) -> CometChatDriver:
    return CometChatDriver(simulator)


StartServer = Callable[..., Server]


@pytest.fixture(scope="module")
def start_server(simulator: Simulator) -> Iterator[StartServer]:
    """Starts a server of a ``kind`` that talks to the simulator; ``variables`` go into its environment."""
    started: list[Server] = []
    with TemporaryFolder("test") as folder:

        def start(bot: str = BOT_NAME, kind: type[Server] = Server, **variables: str) -> Server:
            place = folder / str(len(started))
            place.mkdir()
            environ = {
                "COMETCHAT_API_URL": simulator.api_url,
                "COMETCHAT_APP_ID": simulator.app_id,
                "COMETCHAT_API_KEY": simulator.api_key,
            }
            server = kind(place, environ | variables, bot=bot)
            started.append(server)
            server.start()
            return server

        yield start
        for server in started:
            server.close()


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    """The server that the tests of a module share, as far as they leave it whole."""
    return start_server()
