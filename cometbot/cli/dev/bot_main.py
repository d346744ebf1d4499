"""The main program of the bot's process under ``cometbot dev``: serves, reports, and ends with its parent."""

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

from cometbot.author_error import ErrorReport, author_files
from cometbot.bot import Bot
from cometbot.channels.cometchat.group_setting import group_setting_needed
from cometbot.channels.cometchat.settings import get_cometchat_uid
from cometbot.cli.dev.bot_process import REAL_COMETCHAT_ARGUMENT, STOP_TIMEOUT
from cometbot.cli.dev.reports import (
    CLIENT_LOGGER,
    BotInfo,
    CallbackReporter,
    CommandInfo,
    Failed,
    Ready,
    Reporter,
    RestCallReporter,
)
from cometbot.errors import ConfigurationError
from cometbot.loading import load_bots
from cometbot.settings import Credentials, Settings, variable_suffix
from cometbot.shutdown import ShutdownEvent, shutdown_on_signals
from cometbot.web.app import AppRuntime, create_app

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_IDLE_TIMEOUT = 10
_LIBRARY_LEVEL = logging.WARNING


def main(spec: str, listen_fd: int, report_fd: int, *, is_real: bool = False) -> None:
    """Serve the bots that ``spec`` names on a listening socket, until SIGTERM or the end of standard input.

    Reports go to the file descriptor ``report_fd``, first :class:`Ready` or :class:`Failed`. With ``is_real`` the
    caller is the real CometChat: bots keep their own credentials of the settings, and each HTTP call is reported,
    because there is no simulator to show it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with shutdown_on_signals(signal.SIGTERM) as shutdown:
        _serve(spec, listen_fd, Reporter(report_fd), shutdown, is_real=is_real)


def _serve(spec: str, listen_fd: int, reporter: Reporter, shutdown: ShutdownEvent, *, is_real: bool) -> None:
    threading.Thread(target=_watch_parent, args=(shutdown,), daemon=True).start()
    try:
        settings = Settings.from_environment()
        _configure_logging(reporter, settings.log_level)
        sys.dont_write_bytecode = True  # bytecode would be stale for a file that is changed twice within a second
        bots = load_bots(spec)
        app = create_app(bots, _development_settings(settings, bots, is_real=is_real))
        running: AppRuntime = app.extensions["cometbot"]
        running.delivery.database.open()
        if not settings.public_url:
            # The simulator's page is on the same machine, and shows files of the bot from here.
            running.delivery.store.files.links.base_url = _local_url(listen_fd)
        if is_real:
            app.wsgi_app = CallbackReporter(app.wsgi_app, reporter.report)  # type: ignore[method-assign]
            _report_calls(reporter)
        server = _SharedSocketServer(listen_fd, app)
    except ConfigurationError as error:
        _fail(reporter, Failed(ErrorReport(str(error)), is_configuration_error=True, files=author_files()))
    except (Exception, SystemExit) as error:
        _fail(reporter, Failed(ErrorReport.from_exception(error), files=author_files()))
    reporter.report(Ready(tuple(_describe(bot) for bot in bots), author_files()))
    running.start()  # only after Ready: a message that crashes the process must not look like a failed start
    server.serve_until(shutdown)
    running.stop()


class _QuietRequestHandler(WSGIRequestHandler):
    timeout = _IDLE_TIMEOUT

    def log(self, type: str, message: str, *args: Any) -> None:
        """Log nothing, because the simulator logs each call."""


class _SharedSocketServer(ThreadedWSGIServer):
    """A server on a listening socket that it shares with the bot's previous and next process."""

    daemon_threads = False  # server_close waits for running requests

    def __init__(self, listen_fd: int, app: WSGIApplication) -> None:
        host, port = _address_of(listen_fd)
        super().__init__(host, port, app, handler=_QuietRequestHandler, fd=listen_fd)
        self.socket.setblocking(False)  # another process may accept the connection first

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.setblocking(True)
        return connection, address

    def serve_until(self, shutdown_event: ShutdownEvent) -> None:
        """Answer requests until ``shutdown_event`` is set, then finish the running ones."""
        serving = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, name="cometbot-server")
        serving.start()
        shutdown_event.wait()
        self.shutdown()
        serving.join()
        self.server_close()


def _address_of(listen_fd: int) -> tuple[str, int]:
    with socket.socket(fileno=os.dup(listen_fd)) as given:
        host, port = given.getsockname()
        return host, port


def _local_url(listen_fd: int) -> str:
    host, port = _address_of(listen_fd)
    return f"http://{host}:{port}"


def _development_settings(settings: Settings, bots: Sequence[Bot], *, is_real: bool) -> Settings:
    """Return ``settings`` with this run's credentials, without alerts, and with a short shutdown timeout.

    With the simulator, these credentials apply to every bot, even if ``.env`` has others.
    """
    given = Credentials(settings.callback_username, settings.callback_password)
    credentials = {variable_suffix(bot.name): given for bot in bots}
    if is_real:
        credentials |= settings.bot_credentials
    return replace(
        settings, bot_credentials=credentials, alerts=(), stop_timeout=min(settings.stop_timeout, STOP_TIMEOUT)
    )


def _report_calls(reporter: Reporter) -> None:
    calls = logging.getLogger(CLIENT_LOGGER)
    calls.setLevel(logging.DEBUG)
    calls.addHandler(RestCallReporter(reporter.report))
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
    moderates = bot.moderation is not None
    return BotInfo(bot.name, get_cometchat_uid(bot), commands, group_setting_needed(bot), moderates)


def _fail(reporter: Reporter, report: Failed) -> NoReturn:
    reporter.report(report)
    logging.shutdown()
    os._exit(2)  # a module that failed half-way may have left threads running


def _watch_parent(shutdown: ShutdownEvent) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        continue
    shutdown.set()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), is_real=REAL_COMETCHAT_ARGUMENT in sys.argv[4:])
