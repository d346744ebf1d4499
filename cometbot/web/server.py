"""Runs gunicorn: the configuration that ``gunicorn.conf.py`` and ``cometbot serve`` share."""

from __future__ import annotations

import functools
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication

from cometbot import private_files
from cometbot.errors import ConfigurationError
from cometbot.settings import Settings
from cometbot.temporary_folders import TemporaryFolder
from cometbot.web.gunicorn_overrides import (
    check_before_reload,
    ignore_handshakes_on_stop,
    inherit_signals,
    socket_hooks,
    stop_unless,
)
from cometbot.web.listeners import SOCKET_UMASK
from cometbot.web.logs import gunicorn_logger
from cometbot.web.open_files import REMEDY, connection_limit, describe_shortage
from cometbot.web.preflight import check_database, check_reload

SUPERVISOR_VARIABLE = "_COMETBOT_BESIDE"
"""Environment variable with the process id of the supervisor, which also owns the folder of the metrics."""

READY_PIPE_VARIABLE = "_COMETBOT_READY"
"""Environment variable with the file descriptor of the pipe on which a process reports that it is ready."""

_LOAD_TIMEOUT = 30.0
_RESTART_INTERVAL = 5.0
"""Seconds between attempts to start a worker, once an earlier worker has loaded the application or failed to."""

_METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_SHARED_MEMORY = Path("/dev/shm")
_metrics_folders: list[TemporaryFolder] = []


def gunicorn_config(settings: Settings) -> dict[str, Any]:
    """Return gunicorn's own settings and server hooks, by their names in gunicorn.

    Workers use threads, because a callback waits for the disk and not for the processor. The application is created
    after the fork, because its threads and connections belong to one process; cometbot's modules are imported before.
    The graceful timeout is as long as open requests and running handlers may take.
    """
    connections = connection_limit(settings)
    return {
        "bind": settings.bind,
        # A unix socket gets mode 0660: a proxy connects through the socket's group.
        "umask": SOCKET_UMASK,
        "workers": settings.processes,
        # A stream, or a message that is judged, occupies a thread for as long as it is open; threads start on demand.
        "threads": settings.threads + settings.max_moderations + min(settings.max_open_streams, connections // 2),
        "worker_connections": connections,
        "worker_class": "cometbot.web.gunicorn_overrides.GunicornWorker",
        "preload_app": False,
        # The heartbeat file is touched every second and must not wait for the database's disk.
        "worker_tmp_dir": str(_SHARED_MEMORY) if os.access(_SHARED_MEMORY, os.W_OK) else None,
        "timeout": 30,
        "graceful_timeout": max(30, math.ceil(settings.body_timeout + settings.stop_timeout)),
        # Longer than load balancers keep idle connections (60 s), so that the bot never closes one in use.
        # An idle connection occupies no thread.
        "keepalive": 65,
        "limit_request_line": 4094,
        "limit_request_fields": 64,
        "limit_request_field_size": 8190,
        # Proxies forward clients' headers, and SCRIPT_NAME and PATH_INFO would bypass a proxy's path filter.
        # cometbot.web.proxies alone decides which headers are trusted.
        "forwarder_headers": "",
        "secure_scheme_headers": {},
        "forwarded_allow_ips": "",
        "control_socket_disable": True,
        # At debug gunicorn logs the bytes of malformed requests, including credentials.
        "loglevel": "info" if settings.log_level == "debug" else settings.log_level,
        "logger_class": gunicorn_logger(settings.log_format),
        "on_starting": _make_on_starting(settings),
        "post_fork": inherit_signals,
        "post_worker_init": _post_worker_init,
        "worker_exit": _worker_exit,
        "child_exit": _child_exit,
        **socket_hooks(settings.socket_group),
        "on_exit": _on_exit,
    }


def is_supervised() -> bool:
    """Return whether a supervisor (``cometbot serve`` with a worker) started this process and still runs."""
    return os.environ.get(SUPERVISOR_VARIABLE) == str(os.getppid())


@functools.cache
def share_metrics() -> None:
    """Set up the folder in which child processes share their metrics.

    Call it before anything imports ``prometheus_client``. A folder that the environment names is cleared of an earlier
    run's metrics; otherwise a temporary one is created. Only the first call has an effect, because gunicorn reads its
    configuration again when it reloads.
    """
    if is_supervised():
        return
    if folder := os.environ.get(_METRICS_VARIABLE):
        os.environ[_METRICS_VARIABLE] = folder = os.path.abspath(folder)
        private_files.make_folder(Path(folder))
        for old in Path(folder).glob("*.db"):
            old.unlink()
        return
    _metrics_folders.append(TemporaryFolder("metrics"))
    os.environ[_METRICS_VARIABLE] = str(_metrics_folders[-1].path)


def import_application() -> None:
    """Import cometbot's modules before the fork, once for all processes, but nothing of the author's."""
    share_metrics()
    _import_application()


def _import_application() -> None:
    import cometbot.web.app  # noqa: F401


def serve(settings: Settings, load: Callable[[Settings], Any] | None = None) -> None:
    """Run gunicorn until it is stopped.

    ``load`` creates the application in each process, by default from the settings. No module may have imported
    ``cometbot.web.app`` before :func:`share_metrics`.
    """
    import_application()
    _Server(settings, load or _load).run()


class _Server(BaseApplication):  # type: ignore[misc]
    def __init__(self, settings: Settings, load: Callable[[Settings], Any]) -> None:
        self._settings = settings
        self._load = load
        super().__init__()

    def load_config(self) -> None:
        # `cometbot serve` has already checked the database.
        on_starting = functools.partial(_on_starting, self._settings)
        for name, value in (gunicorn_config(self._settings) | {"on_starting": on_starting}).items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return self._load(self._settings)


# The functions below import late, because the folder of the metrics must be set before.


def _load(settings: Settings) -> Any:
    from cometbot.web.app import load_app

    return load_app(settings)


def _make_on_starting(settings: Settings) -> Callable[[Any], None]:
    """Return gunicorn's ``on_starting`` hook.

    It exits with a one-line error if the database of ``settings.bot`` cannot be used.
    """

    def start(server: Any) -> None:
        try:
            # Without `settings.bot`, the author's own application is served, which may use another database.
            if settings.bot:
                check_database(settings, allow_unreachable=True)
        except ConfigurationError as error:
            print(f"cometbot: {error}", file=sys.stderr, flush=True)
            sys.exit(2)
        _on_starting(settings, server)

    return start


def _on_starting(settings: Settings, server: Any) -> None:
    if shortage := describe_shortage(settings):
        server.log.warning("open files: %s; %s", shortage, REMEDY)
    ignore_handshakes_on_stop(server)
    check_before_reload(server, functools.partial(_check_reload, server))
    if is_supervised():
        stop_unless(server, is_supervised)  # without the supervisor neither gunicorn nor the worker is restarted
    _first_failure_pipe()
    _import_application()


def _check_reload(server: Any) -> None:
    # gunicorn kills a worker that needs longer to load.
    check_reload(functools.partial(_reload_application, server.app), server.timeout or _LOAD_TIMEOUT)


def _reload_application(app: Any) -> None:
    """Perform the steps of gunicorn and its workers at a reload."""
    app.reload()
    app.wsgi()
    if app_module := sys.modules.get("cometbot.web.app"):
        app_module.check_all()


def _post_worker_init(worker: Any) -> None:
    from cometbot.web.app import start_all

    start_all()
    # From now on a worker that cannot load the application does not end the server.
    _claim_first_failure()


def _worker_exit(server: Any, worker: Any) -> None:
    from cometbot.web.app import APP_LOAD_ERROR, stop_all

    stop_all()
    exit_error = sys.exc_info()[1]
    if not isinstance(exit_error, SystemExit) or exit_error.code not in (APP_LOAD_ERROR, server.WORKER_BOOT_ERROR):
        return
    # A shutdown interrupts loading, which is no failure.
    if worker.alive and _claim_first_failure():
        return
    _wait_before_restart(server, worker)
    os._exit(0)


def _wait_before_restart(server: Any, worker: Any) -> None:
    """Wait before gunicorn starts another worker in place of this one, which could not load the application."""
    deadline = time.monotonic() + _RESTART_INTERVAL
    while time.monotonic() < deadline:
        if not worker.alive or os.getppid() != worker.ppid:
            return
        time.sleep(0.1)
    server.log.error("cannot start a worker: it could not load the application. Another attempt follows.")


@functools.cache
def _first_failure_pipe() -> int:
    """Return the read end of a pipe with one byte, for the first worker that has loaded the application or failed to.

    It is created before the fork. gunicorn ends if that first worker fails. All workers fail on the same wrong setting,
    and gunicorn ends with a traceback of its own if a second one exits with an error while it halts for the first.
    """
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.write(writer, b"!")
    return reader


def _claim_first_failure() -> bool:
    try:
        return bool(os.read(_first_failure_pipe(), 1))
    except BlockingIOError:
        return False


def _child_exit(server: Any, worker: Any) -> None:
    forget_gauges(worker.pid)


def forget_gauges(process_id: int) -> None:
    """Remove the gauges of a process that has ended from the shared metrics."""
    from prometheus_client.multiprocess import mark_process_dead

    if os.environ.get(_METRICS_VARIABLE):
        mark_process_dead(process_id)  # type: ignore[no-untyped-call]


def _on_exit(server: Any) -> None:
    remove_metrics_folder()


def remove_metrics_folder() -> None:
    """Remove the folder of the metrics, if this process created it."""
    while _metrics_folders:
        _metrics_folders.pop().close()
