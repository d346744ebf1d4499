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
from cometbot.channels.cometchat.group_setting import group_setting_needed
from cometbot.cli.dev.process import REAL, STOP_TIMEOUT
from cometbot.cli.dev.reports import BotInfo, CommandInfo, Failed, Ready, Reporter
from cometbot.cli.dev.wire import CLIENT_LOG, ReportedCallbacks, ReportedCalls
from cometbot.errors import ConfigurationError
from cometbot.faults import Fault, own_files
from cometbot.loading import load_bots
from cometbot.settings import Credentials, Settings, variable_suffix
from cometbot.stopping import Ending, told_to_end
from cometbot.web.app import Running, create_app

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_IDLE_TIMEOUT = 10
_LIBRARY_LEVEL = logging.WARNING


def main(spec: str, listening: int, reporting: int, *, is_real: bool = False) -> None:
    """Serve the bots that ``spec`` names on a listening socket, until SIGTERM or the end of standard input.

    Reports go to the file descriptor ``reporting``: at the beginning :class:`Ready` or :class:`Failed`. With
    ``is_real`` it is the real CometChat that calls: single bots keep the credentials of the settings, and each call
    over HTTP is reported, for want of a simulator that could show it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with told_to_end(signal.SIGTERM) as stopping:
        _serve(spec, listening, Reporter(reporting), stopping, is_real=is_real)


def _serve(spec: str, listening: int, reporter: Reporter, stopping: Ending, *, is_real: bool) -> None:
    threading.Thread(target=_wait_for_parent, args=(stopping,), daemon=True).start()
    try:
        settings = Settings.from_environment()
        _configure_logging(reporter, settings.log_level)
        sys.dont_write_bytecode = True  # a file that is changed twice in a second would be taken for the old one
        bots = load_bots(spec)
        app = create_app(bots, _adapted(settings, bots, is_real=is_real))
        running: Running = app.extensions["cometbot"]
        running.delivery.database.open()
        if is_real:
            app.wsgi_app = ReportedCallbacks(app.wsgi_app, reporter.report)  # type: ignore[method-assign]
            _report_calls(reporter)
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

    def serve_until(self, stopping: Ending) -> None:
        """Answer requests until ``stopping`` is told, and those to the end that have begun."""
        serving = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, name="cometbot-server")
        serving.start()
        stopping.wait()
        self.shutdown()
        serving.join()
        self.server_close()


def _adapted(settings: Settings, bots: Sequence[Bot], *, is_real: bool) -> Settings:
    """``settings`` with the credentials of this run, whatever the code says, and a short end.

    For the simulator they count for every bot, also where the file .env has others.
    """
    given = Credentials(settings.callback_username, settings.callback_password)
    credentials = {variable_suffix(bot.name): given for bot in bots}
    if is_real:
        credentials |= settings.bot_credentials
    return replace(settings, bot_credentials=credentials, stop_timeout=min(settings.stop_timeout, STOP_TIMEOUT))


def _report_calls(reporter: Reporter) -> None:
    calls = logging.getLogger(CLIENT_LOG)
    calls.setLevel(logging.DEBUG)
    calls.addHandler(ReportedCalls(reporter.report))
    calls.propagate = False


def _configure_logging(reporter: Reporter, level: str) -> None:
    root = logging.getLogger()
    root.addHandler(reporter)
    root.setLevel(level.upper())
    for name in ("cometbot", "werkzeug", "urllib3", "alembic", "watchfiles"):
        logging.getLogger(name).setLevel(max(root.level, _LIBRARY_LEVEL) if root.level > logging.DEBUG else root.level)
    logging.getLogger("cometbot.bot").setLevel(root.level)


def _describe(bot: Bot) -> BotInfo:
    commands = tuple(CommandInfo(f"/{command.name}", command.usage, command.description) for command in bot.commands)
    return BotInfo(bot.name, uid_of(bot), commands, group_setting_needed(bot))


def _fail(reporter: Reporter, report: Failed) -> NoReturn:
    reporter.report(report)
    logging.shutdown()
    os._exit(2)  # a module that failed half-way may have left threads behind


def _wait_for_parent(stopping: Ending) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        continue
    stopping.tell()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), is_real=REAL in sys.argv[4:])
