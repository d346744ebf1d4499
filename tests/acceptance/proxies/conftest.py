"""The proxies of Debian, with the recipes of docs/proxies.md, before a real server."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest

from cometbot.temporary_folders import TemporaryFolder
from tests.acceptance.conftest import WAIT_TIMEOUT, Server, StartServer, wait_for
from tests.ports import HOST, free_port

ROOT = Path(__file__).parents[3]
IS_WANTED = os.environ.get("COMETBOT_TEST_PROXIES") == "1"
"""Set by ``make proxies``, which installs the proxies."""

NAMES = ("bots.example.com", "chat.example.com")
ADMIN = "an-admin-secret-of-32-characters"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.S | re.M)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs the proxies unless they are wanted."""
    here = Path(__file__).parent
    unwanted = [] if IS_WANTED else [item for item in items if item.path.is_relative_to(here)]
    if unwanted:
        config.hook.pytest_deselected(items=unwanted)
        items[:] = [item for item in items if item not in unwanted]


def recipes(language: str, begin: str) -> list[str]:
    """Return the blocks of the page that begin so."""
    blocks = FENCE.findall((ROOT / "docs" / "proxies.md").read_text())
    return [text for kind, text in blocks if kind == language and text.startswith(begin)]


class SocketServer(Server):
    """A server whose socket outlives it, as systemd keeps it."""

    command = (sys.executable, "-m", "cometbot.cli", "serve")

    def __init__(self, folder: Path, *arguments: object, **options: object) -> None:
        super().__init__(folder, *arguments, **options)  # type: ignore[arg-type]
        self._listener = socket.create_server(self.address, backlog=1024)
        self._listener.set_inheritable(True)
        program = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); "
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); os.execv(sys.argv[2], sys.argv[2:])"
        )
        self._arguments = (sys.executable, "-c", program, str(self._listener.fileno()), *type(self).command)

    def start(self) -> None:
        """Begin with the socket as the third file, and wait until it is ready."""
        with (self.marks_folder.parent / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._arguments,
                cwd=ROOT,
                env=self._environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[self._listener.fileno()],
            )
        self.wait_until(self._is_ready)

    def close(self) -> None:
        """End everything, the socket too."""
        super().close()
        self._listener.close()


class CommandServer(Server):
    """``cometbot serve``, which opens its address itself."""

    command = (sys.executable, "-m", "cometbot.cli", "serve")


@dataclass(frozen=True)
class Certificate:
    """Return a certificate for all names, and its key."""

    chain: Path
    key: Path
    both: Path


class Proxy:
    """A proxy that runs until :meth:`close`, with the recipes for a public server."""

    def __init__(self, name: str, backend: tuple[str, int], certificate: Certificate, folder: Path) -> None:
        self.name = name
        self.address = HOST, free_port()
        self._backend = f"{backend[0]}:{backend[1]}"
        self._certificate = certificate
        self._folder = folder
        self._log = folder / "proxy.log"
        command: list[str] = {"nginx": self._nginx, "caddy": self._caddy, "haproxy": self._haproxy}[name]()
        with self._log.open("wb") as log:
            environ = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environ, cwd=folder)

    def wait_until_open(self) -> None:
        """Wait until it accepts connections."""
        wait_for(self._is_open, or_show=lambda: self.log)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def connect(self, name: str, timeout: float = WAIT_TIMEOUT, source: str = HOST) -> HTTPConnection:
        """Return a connection to the proxy under one of its names, from a local address."""
        context = ssl.create_default_context(cafile=str(self._certificate.chain))
        connection = HTTPConnection(name, timeout=timeout)
        plain = socket.create_connection(self.address, timeout=timeout, source_address=(source, 0))
        connection.sock = context.wrap_socket(plain, server_hostname=name)
        return connection

    def close(self) -> None:
        """End the proxy."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(WAIT_TIMEOUT)

    def _is_open(self) -> bool:
        assert self._process.poll() is None, self.log
        with socket.socket() as tried:
            return tried.connect_ex(self.address) == 0

    def _write(self, name: str, text: str) -> str:
        file = self._folder / name
        file.write_text(text)
        return str(file)

    @property
    def _bound(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    def _nginx(self) -> list[str]:
        text = "\n".join(recipes("nginx", "server {\n    listen 443 "))
        text = re.sub(r"ssl_certificate /\S+;", f"ssl_certificate {self._certificate.chain};", text)
        text = re.sub(r"ssl_certificate_key /\S+;", f"ssl_certificate_key {self._certificate.key};", text)
        return self._run_nginx(text.replace("listen 443", f"listen {self._bound}"))

    def _run_nginx(self, text: str) -> list[str]:
        text = text.replace("127.0.0.1:8000", self._backend)
        paths = "".join(
            f"{kind}_temp_path {self._folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        head = f"daemon off; pid {self._folder}/pid; error_log stderr; events {{}}\nhttp {{ access_log off;\n{paths}"
        return ["/usr/sbin/nginx", "-e", "stderr", "-c", self._write("nginx.conf", head + text + "}\n")]

    def _caddy(self) -> list[str]:
        [text] = recipes("text", "# /etc/caddy/Caddyfile\n")
        for name in NAMES:
            tls = f"https://{name}:{self.address[1]} {{\n    tls {self._certificate.chain} {self._certificate.key}\n"
            text = text.replace(f"{name} {{\n", tls)
        return self._run_caddy(text)

    def _run_caddy(self, text: str) -> list[str]:
        options = "{\n    admin off\n    auto_https off\n}\n"
        text = options + text.replace("127.0.0.1:8000", self._backend)
        return ["/usr/bin/caddy", "run", "--adapter", "caddyfile", "--config", self._write("Caddyfile", text)]

    def _haproxy(self) -> list[str]:
        [text] = recipes("text", "# /etc/haproxy/haproxy.cfg\n")
        text = text.replace(":443 ssl", f"{self._bound} ssl").replace("127.0.0.1:8000", self._backend)
        text = text.replace("/etc/haproxy/certs/", str(self._certificate.both))
        return self._run_haproxy(text)

    def _run_haproxy(self, text: str) -> list[str]:
        return ["/usr/sbin/haproxy", "-db", "-f", self._write("haproxy.cfg", text)]


class InnerProxy(Proxy):
    """A proxy behind another one, with the recipes for it: plain HTTP."""

    def _nginx(self) -> list[str]:
        [text] = recipes("nginx", "server {\n    listen 8080;")
        return self._run_nginx(text.replace("listen 8080", f"listen {self._bound}"))

    def _caddy(self) -> list[str]:
        [text] = recipes("text", "# /etc/caddy/Caddyfile of the inner proxy\n")
        text = text.replace("http://:8080", f"http://:{self.address[1]}")
        return self._run_caddy(text.replace("10.0.0.0/8", f"{HOST}/32"))

    def _haproxy(self) -> list[str]:
        [text] = recipes("text", "# /etc/haproxy/haproxy.cfg\n")
        [inner] = recipes("text", "frontend inner\n")
        defaults, backend = text[: text.index("frontend")], text[text.index("\nbackend bots") :]
        inner = inner.replace("bind :8080", f"bind {self._bound}")
        return self._run_haproxy(defaults + inner + backend.replace("127.0.0.1:8000", self._backend))


@pytest.fixture(scope="session")
def certificate() -> Iterator[Certificate]:
    with TemporaryFolder("test") as folder:
        folder.chmod(0o755)
        chain, key, both = (folder / name for name in ("chain.pem", "key.pem", "both.pem"))
        names = ",".join(f"DNS:{name}" for name in NAMES)
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-days", "2", "-subj", f"/CN={NAMES[0]}", "-addext", f"subjectAltName={names}"]
        subprocess.run([*command, "-out", str(chain), "-keyout", str(key)], check=True, capture_output=True)
        both.write_text(chain.read_text() + key.read_text())
        yield Certificate(chain, key, both)


StartProxy = Callable[..., Proxy]


@pytest.fixture(scope="module")
def start_proxy(certificate: Certificate) -> Iterator[StartProxy]:
    """Start a proxy of a kind before an address."""
    started: list[Proxy] = []
    with TemporaryFolder("test") as folder:
        folder.chmod(0o755)

        def start(name: str, backend: tuple[str, int], kind: type[Proxy] = Proxy) -> Proxy:
            place = folder / str(len(started))
            place.mkdir()
            started.append(kind(name, backend, certificate, place))
            started[-1].wait_until_open()
            return started[-1]

        yield start
        for proxy in started:
            proxy.close()


@dataclass(frozen=True)
class Site:
    """A proxy, and the server behind it."""

    proxy: Proxy
    server: Server


@pytest.fixture(scope="module", params=["nginx", "caddy", "haproxy"])
def site(request: pytest.FixtureRequest, start_server: StartServer, start_proxy: StartProxy) -> Iterator[Site]:
    """A proxy with its recipes before a server with all channels.

    HAProxy waits for a server that restarts. For nginx and Caddy 2.6 systemd keeps the socket, as the page says.
    """
    kind = CommandServer if request.param == "haproxy" else SocketServer
    with TemporaryFolder("test") as data:
        server = start_server(
            kind=kind,
            COMETBOT_CHANNELS="cometchat,chat_api,platform",
            COMETBOT_TRUSTED_PROXIES=HOST,
            COMETBOT_DATA=str(data),
            CHAT_API_ORIGINS="*",
            PLATFORM_ADMIN_SECRET_KEY=ADMIN,
            PLATFORM_LIMITS_FILE_MAX_FILE_SIZE=str(25 * 1024 * 1024),
        )
        yield Site(start_proxy(request.param, server.address), server)


@pytest.fixture(scope="module")
def proxy(site: Site) -> Proxy:
    return site.proxy
