"""The bot's own process under ``cometbot dev``: serves a bot, reports what happens, ends with its parent."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from cometbot.bot import Bot
from cometbot.channels.cometchat.channel import uid_of
from cometbot.cli.dev.process import STOP_TIMEOUT
from cometbot.cli.dev.reports import BotInfo, Failed, Fault, Ready, Reporter, own_files
from cometbot.errors import ConfigurationError
from cometbot.loading import load_bots
from cometbot.settings import Credentials, Settings, variable_suffix
from cometbot.web.app import Running, create_app

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_IDLE_TIMEOUT = 10
_LIBRARY_LEVEL = logging.WARNING


def main(spec: str, listening: int, reporting: int) -> None:
    """Serve the bots that ``spec`` names on a listening socket, until SIGTERM or the end of standard input.

    Reports go to the file descriptor ``reporting``: at the beginning :class:`Ready` or :class:`Failed`.
    """
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_wait_for_parent, args=(stopping,), daemon=True).start()
    reporter = Reporter(reporting)
    try:
        settings = Settings.from_environment()
        _configure_logging(reporter, settings.log_level)
        sys.dont_write_bytecode = True  # a file that is changed twice in a second would be taken for the old one
        bots = load_bots(spec)
        app = create_app(bots, _simulated(settings, bots))
        running: Running = app.extensions["cometbot"]
        running.delivery.database.open()
        server = _Server(listening, app)
    except ConfigurationError as error:
        _fail(reporter, Failed(Fault(str(error)), is_setting=True, files=own_files()))
    except (Exception, SystemExit) as error:
        _fail(reporter, Failed(Fault.from_exception(error), files=own_files()))
    reporter.report(Ready(tuple(_describe(bot) for bot in bots), own_files()))
    running.start()  # not before: a message that kills the process must not look like a bad start
    server.serve_until(stopping)
    running.stop()


class _Connection(WSGIRequestHandler):
    timeout = _IDLE_TIMEOUT

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing: the simulator logs each call."""


class _Server(ThreadedWSGIServer):
    """Serves on a socket that other processes listen on as well: the bot's old process, and the next one."""

    daemon_threads = False  # the end waits for the requests that are being answered

    def __init__(self, listening: int, app: WSGIApplication) -> None:
        with socket.socket(fileno=os.dup(listening)) as given:
            host, port = given.getsockname()
        super().__init__(host, port, app, handler=_Connection, fd=listening)
        self.socket.setblocking(False)  # another process may be the first to take a connection

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.setblocking(True)
        return connection, address

    def serve_until(self, stopping: threading.Event) -> None:
        """Answer requests until ``stopping`` is set, and those to the end that have begun."""
        serving = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, name="cometbot-server")
        serving.start()
        stopping.wait()
        self.shutdown()
        serving.join()
        self.server_close()


def _simulated(settings: Settings, bots: Sequence[Bot]) -> Settings:
    """``settings`` with the simulator's credentials for every bot, whatever its code or the file .env says."""
    given = Credentials(settings.callback_username, settings.callback_password)
    credentials = {variable_suffix(bot.name): given for bot in bots}
    return replace(settings, bot_credentials=credentials, stop_timeout=min(settings.stop_timeout, STOP_TIMEOUT))


def _configure_logging(reporter: Reporter, level: str) -> None:
    root = logging.getLogger()
    root.addHandler(reporter)
    root.setLevel(level.upper())
    for name in ("cometbot", "werkzeug", "urllib3", "alembic", "watchfiles"):
        logging.getLogger(name).setLevel(max(root.level, _LIBRARY_LEVEL) if root.level > logging.DEBUG else root.level)
    logging.getLogger("cometbot.bot").setLevel(root.level)


def _describe(bot: Bot) -> BotInfo:
    return BotInfo(bot.name, uid_of(bot), tuple(f"/{command.name}" for command in bot.commands))


def _fail(reporter: Reporter, report: Failed) -> NoReturn:
    reporter.report(report)
    logging.shutdown()
    os._exit(2)  # a module that failed half-way may have left threads behind


def _wait_for_parent(stopping: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        continue
    stopping.set()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
