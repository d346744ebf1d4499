"""gunicorn, started for a benchmark and stopped after it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.payloads import APP_ID, PASSWORD, USERNAME

ROOT = Path(__file__).parents[1]
PROCESSES, THREADS = 2, 8
_PATIENCE = 30.0
_NOWHERE = "http://127.0.0.1:9/v3"
_PLAIN = (
    *("--workers", str(PROCESSES), "--threads", str(THREADS), "--worker-class", "gthread"),
    *("--keep-alive", "65", "--no-control-socket", "--worker-tmp-dir", "/dev/shm"),
)


@dataclass(frozen=True)
class Server:
    """A gunicorn that listens on ``port`` of this machine; ``database`` is the file of a cometbot."""

    port: int
    database: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def serve_peer(app: str, folder: Path) -> Iterator[Server]:
    """A server of ``app`` (``module:attribute``) with gunicorn's own threaded worker."""
    port = _free_port()
    command = [*_PLAIN, "--bind", f"127.0.0.1:{port}", app]
    with _running(command, port, folder, {}):
        yield Server(port, folder / "none.db")


@contextmanager
def serve_cometbot(app: str, folder: Path, *, api_url: str = _NOWHERE, **settings: str) -> Iterator[Server]:
    """A server of ``app`` with the project's own gunicorn.conf.py, a fresh database, and defaults for the rest."""
    port, database = _free_port(), folder / "cometbot.db"
    environ = {
        "COMETBOT_BIND": f"127.0.0.1:{port}",
        "COMETBOT_PROCESSES": str(PROCESSES),
        "COMETBOT_THREADS": str(THREADS),
        "COMETBOT_DATABASE_URL": f"sqlite:///{database}",
        "COMETBOT_CALLBACK_USERNAME": USERNAME,
        "COMETBOT_CALLBACK_PASSWORD": PASSWORD,
        "COMETCHAT_APP_ID": APP_ID,
        "COMETCHAT_API_KEY": "benchmark",
        "COMETCHAT_API_URL": api_url,
        **settings,
    }
    command = ["--config", str(ROOT / "gunicorn.conf.py"), app]
    with _running(command, port, folder, environ):
        yield Server(port, database)


@contextmanager
def _running(command: list[str], port: int, folder: Path, environ: Mapping[str, str]) -> Iterator[None]:
    log = folder / "log"
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("COMET", "PROMETHEUS", "GUNICORN"))
    }
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *command],
            cwd=folder,
            env={**inherited, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), **environ},
            stdout=output,
            stderr=output,
        )
    try:
        _wait_until_it_answers(process, port, log, int(environ.get("COMETBOT_PROCESSES", PROCESSES)))
        yield
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, log: Path, processes: int) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and process.poll() is None:
        if log.read_text().count("Booting worker") >= processes and _answers(port):
            return
        time.sleep(0.1)
    raise RuntimeError(f"gunicorn did not start:\n{log.read_text()}")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return connection.recv(12).startswith(b"HTTP/1.1")
    except OSError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
