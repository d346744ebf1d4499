"""The bots, each with its platform, as a trial runs them."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.survival.bot_api import Telegram
from benchmarks.survival.process import BotProcess
from benchmarks.survival.trial import Dropped, Result, Shop, Trial, free_port
from cometbot.simulator import Simulator

ROOT = Path(__file__).parents[2]
BOTS = ROOT / "docs" / "comparison"
PEERS = ROOT / "benchmarks" / "peers"


def run_cometbot(trial: Trial, folder: Path) -> Result:
    """Try the bot of cometbot beside a simulated CometChat."""
    shop = Shop(trial)
    with Simulator() as simulator:
        simulator.app.wsgi_app = _intercept(simulator.app.wsgi_app, trial)  # type: ignore[method-assign]
        simulator.add_user("maria", "Maria")
        maria = simulator.user("maria")
        process = serve_cometbot(simulator, "shop", "order_cometbot", shop.url, folder, COMETBOT_PROCESSES="2")
        return _run(process, trial, lambda text: maria.say(text, to="shop"))


def serve_cometbot(
    simulator: Simulator, name: str, module: str, shop_url: str, folder: Path, **settings: str
) -> BotProcess:
    """Register a bot of ``docs/comparison``; return the process that serves it on SQLite, which is not started yet."""
    port = free_port()
    user, password = "cc", "secret-of-trial"
    simulator.add_bot(name, f"http://127.0.0.1:{port}/cometchat/{name}", username=user, password=password)
    environ = {
        "PYTHONPATH": f"{ROOT}:{BOTS}",
        "SHOP_URL": shop_url,
        "COMETBOT_BIND": f"127.0.0.1:{port}",
        "COMETBOT_DATABASE_URL": f"sqlite:///{folder}/cometbot.db",
        "COMETBOT_CALLBACK_USERNAME": user,
        "COMETBOT_CALLBACK_PASSWORD": password,
        "COMETCHAT_APP_ID": simulator.app_id,
        "COMETCHAT_API_KEY": simulator.api_key,
        "COMETCHAT_API_URL": simulator.api_url,
        **settings,
    }
    command = (str(Path(sys.executable).with_name("cometbot")), "serve", f"{BOTS}/{module}.py:bot")
    return BotProcess(command, folder, environ, lambda: is_open(port))


def run_peer(trial: Trial, folder: Path, python: Path, name: str, configuration: str) -> Result:
    """Try the bot of a peer, in its default configuration or in its best."""
    shop, port = Shop(trial), free_port()
    telegram = Telegram(trial, webhook=f"http://127.0.0.1:{port}/" if configuration == "best" else "")
    environ = {
        "PYTHONPATH": str(BOTS),
        "SHOP_URL": shop.url,
        "TELEGRAM_URL": telegram.url,
        "WEBHOOK_PORT": str(port),
    }
    command = (str(python), str(PEERS / f"serve_{name}.py"), configuration)
    is_ready = (lambda: is_open(port)) if configuration == "best" else telegram.take_poll
    return _run(BotProcess(command, folder, environ, is_ready), trial, telegram.write)


def _run(process: BotProcess, trial: Trial, write: Callable[[str], Any]) -> Result:
    process.start()
    trial.kill = process.restart
    try:
        return trial.run(write)
    finally:
        process.kill()


def make_environment(folder: Path, requirements: Sequence[str]) -> Path:
    """Return the Python of an environment with these packages, which is made if the folder has none."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
    return python


def is_open(port: int) -> bool:
    """Return True if a process listens on ``port``."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _intercept(application: Any, trial: Trial) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application that takes the bot's messages for the trial."""

    def intercept(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "POST" or not environ["PATH_INFO"].endswith("/messages"):
            return application(environ, start_response)  # type: ignore[no-any-return]
        body = environ["wsgi.input"].read()
        environ["wsgi.input"] = io.BytesIO(body)
        answer: list[Iterable[bytes]] = []
        try:
            text = json.loads(body)["data"]["text"]
            trial.say(text, lambda: answer.append(application(environ, start_response)))
        except Dropped:
            raise ConnectionResetError("the bot is dead") from None
        return answer[0]

    return intercept
