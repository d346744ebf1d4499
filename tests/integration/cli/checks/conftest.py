"""A bot that is served and registered as it should be, for each test to break one thing of it."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from cometbot import Bot
from cometbot.cli.checks import CheckResult, CheckSuite, database
from cometbot.settings import Settings
from cometbot.simulator import Simulator
from cometbot.simulator.server import HOST, LoopbackServer
from cometbot.web.app import create_app

PASSWORD = "s3cret-word"
SHOP = (
    'from cometbot import Bot\n\nbot = Bot("helpdesk")\n\n\n@bot.message("hi")\ndef greet(ctx):\n    return "Hello!"\n'
)

Application = Callable[..., Any]


class DoctorSetup:
    """A folder with a bot, its settings, the service that runs it, and a simulated CometChat that calls it."""

    def __init__(self, folder: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.simulator = simulator
        self.module = f"shop_{folder.name.replace('-', '_')}"
        self._monkeypatch = monkeypatch
        self._running: list[Any] = []
        self._servers: list[LoopbackServer] = []
        self.url = ""
        (folder / f"{self.module}.py").write_text(SHOP)
        self.set_variables(
            COMETBOT_BOT=f"{self.module}:bot",
            COMETCHAT_APP_ID=simulator.app_id,
            COMETCHAT_API_URL=simulator.api_url,
            COMETCHAT_API_KEY=simulator.api_key,
            COMETBOT_CALLBACK_USERNAME="cc",
            COMETBOT_CALLBACK_PASSWORD=PASSWORD,
        )

    @property
    def callback(self) -> str:
        return f"{self.url}/cometchat/helpdesk"

    def set_variables(self, **variables: str) -> None:
        for name, text in variables.items():
            self._monkeypatch.setenv(name, text)

    def unset_variables(self, *names: str) -> None:
        for name in names:
            self._monkeypatch.delenv(name)

    def serve_bot(self, bot: str | Bot = "helpdesk") -> None:
        """Serve the bot with the settings as they are now, and handle messages."""
        app = create_app(bot if isinstance(bot, Bot) else Bot(bot), Settings.from_environment())
        app.extensions["cometbot"].start()
        self._running.append(app.extensions["cometbot"])
        self.serve(app)

    def serve(self, app: Application) -> None:
        """Serve anything where the bot should be."""
        self._servers.append(LoopbackServer(app, 0))
        self.url = f"http://{HOST}:{self._servers[-1].port}"

    def serve_response(self, status: str, body: str = "", *headers: tuple[str, str]) -> None:
        """Serve what answers everything like that."""

        def app(environ: Any, start_response: Any) -> list[bytes]:
            start_response(status, list(headers))
            return [body.encode()]

        self.serve(app)

    def register(self, **changes: Any) -> None:
        """Make it a bot of the simulated CometChat, as it should be but for ``changes``."""
        fields = {"username": "cc", "password": PASSWORD, **changes}
        self.simulator.add_bot("helpdesk", fields.pop("webhook_url", self.callback), **fields)

    def run_checks(self, spec: str = "", url: str = "", **options: Any) -> dict[str, CheckResult]:
        """The doctor's lines by their names."""
        return {result.name: result for result in CheckSuite(spec, url, **options).run()}

    def close(self) -> None:
        for server in self._servers:
            server.stop()
            server.server_close()
        for running in self._running:
            running.stop()


@pytest.fixture(autouse=True)
def local_disk(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one disk, wherever the tests themselves run: there it may be a container's layer."""
    table = tmp_path_factory.mktemp("proc") / "mountinfo"
    table.write_text("22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n")
    monkeypatch.setattr(database, "MOUNTS", table)


@pytest.fixture
def bare_setup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cometchat_simulator: Simulator
) -> Iterator[DoctorSetup]:
    """The folder and the settings alone: nothing is served or registered yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = DoctorSetup(tmp_path, cometchat_simulator, monkeypatch)
    yield made
    made.close()


@pytest.fixture
def doctor_setup(bare_setup: DoctorSetup) -> DoctorSetup:
    """A bot that is as well as can be."""
    bare_setup.serve_bot()
    bare_setup.register()
    return bare_setup


class Certificates:
    """Certificates that nobody but their own file vouches for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, host: str, days: int) -> tuple[Path, Path]:
        """The files of the certificate and of its key."""
        certificate, key = self._folder / f"{host}-{days}.pem", self._folder / f"{host}-{days}.key"
        if not certificate.exists():
            kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-x509"]
            name = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
            files = ["-keyout", str(key), "-out", str(certificate), "-days", str(days)]
            subprocess.run(["openssl", "req", *kind, *name, *files], check=True, capture_output=True)
        return certificate, key

    @contextmanager
    def serve(self, app: Application, host: str = "localhost", days: int = 90) -> Iterator[tuple[str, Path]]:
        """The origin of a server with such a certificate, and the certificate's file."""
        certificate, key = self.make(host, days)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server = make_server("localhost", 0, app, threaded=True, ssl_context=context)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"https://localhost:{server.port}", certificate
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))
