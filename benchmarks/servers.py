"""gunicorn, started for a benchmark and stopped after it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.payloads import APP_ID, PASSWORD, USERNAME

ROOT = Path(__file__).parents[1]
PROCESSES, THREADS = 2, 8
NOTHING: Mapping[str, str] = {}
_PATIENCE = 30.0
_NOWHERE = "http://127.0.0.1:9/v3"
_PLAIN = (
    *("--workers", str(PROCESSES), "--threads", str(THREADS), "--worker-class", "gthread"),
    *("--keep-alive", "65", "--no-control-socket", "--worker-tmp-dir", "/dev/shm"),
)


@dataclass(frozen=True)
class Server:
    """A server that listens on ``port`` of this machine; ``database`` is the file of a cometbot.

    ``groups`` are the process groups of the server.
    """

    port: int
    database: Path
    groups: tuple[int, ...] = ()

    def usage(self) -> tuple[float, int]:
        """The processor seconds that its processes have used, and the bytes of memory that they have now."""
        seconds, pages = 0.0, 0
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) in self.groups:
                seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                pages += int(fields[21])
        return seconds, pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def serve_peer(app: str, folder: Path, environ: Mapping[str, str] = NOTHING) -> Iterator[Server]:
    """A server of ``app`` (``module:attribute``) with gunicorn's own threaded worker."""
    port = _free_port()
    command = [*_PLAIN, "--bind", f"127.0.0.1:{port}", app]
    with _running(command, port, folder, environ) as group:
        yield Server(port, folder / "none.db", (group,))


@contextmanager
def serve_script(
    script: str, folder: Path, environ: Mapping[str, str] = NOTHING, processes: int = PROCESSES
) -> Iterator[Server]:
    """Processes of a script in ``peers`` that listen on one port, which is its argument."""
    port, log = _free_port(), folder / "log"
    command = [sys.executable, str(ROOT / "benchmarks" / "peers" / script), str(port)]
    with log.open("w") as output:
        started = [
            subprocess.Popen(
                command,
                cwd=folder,
                env={**_inherited(), "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), **environ},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            for _ in range(processes)
        ]
    try:
        end = time.monotonic() + _PATIENCE
        while not _listens(started, port):
            if time.monotonic() > end or any(process.poll() is not None for process in started):
                raise RuntimeError(f"{script} did not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield Server(port, folder / "none.db", tuple(process.pid for process in started))
    finally:
        for process in started:
            process.kill()
            process.wait()


def _listens(processes: Sequence[subprocess.Popen[bytes]], port: int) -> bool:
    """Return True if as many sockets listen on ``port`` as there are processes."""
    with open("/proc/net/tcp") as lines:
        listening = [line.split() for line in lines if f":{port:04X} 00000000:0000 0A" in line]
    return len(listening) >= len(processes)


@contextmanager
def serve_cometbot(
    app: str, folder: Path, *, api_url: str = _NOWHERE, environ: Mapping[str, str] = NOTHING, **settings: str
) -> Iterator[Server]:
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
        **environ,
        **settings,
    }
    command = ["--config", str(ROOT / "gunicorn.conf.py"), app]
    with _running(command, port, folder, environ) as group:
        yield Server(port, database, (group,))


@contextmanager
def _running(command: list[str], port: int, folder: Path, environ: Mapping[str, str]) -> Iterator[int]:
    """Run gunicorn; yield its process group."""
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *command],
            cwd=folder,
            env={**_inherited(), "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), **environ},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait_until_it_answers(process, port, log, int(environ.get("COMETBOT_PROCESSES", PROCESSES)))
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _inherited() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("COMET", "PROMETHEUS", "GUNICORN"))
    }


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
