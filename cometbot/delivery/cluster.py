"""The engine for many machines: a wake is a Procrastinate job on PostgreSQL, run by whichever worker is free."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, ClassVar

import procrastinate
import psycopg
from procrastinate import exceptions
from procrastinate.jobs import Status

from cometbot.delivery.engine import Check, Duties, Engine
from cometbot.delivery.roles import Roles, queue_of_lane
from cometbot.store.postgresql import CONNECT_OPTIONS, POOL_SIZE

log = logging.getLogger(__name__)

QUEUE = "cometbot"
"""The queue of what any worker may do; wakes have one for each channel (see ``roles.queue_of``)."""

TASK = "cometbot.lane"
HEARTBEAT = 5.0
STALLED_AFTER = 15.0
"""Seconds without a sign of life after which a worker's jobs are finished for it."""

_QUEUED = "SELECT queueing_lock FROM procrastinate_jobs WHERE status = 'todo' AND queueing_lock = ANY(%(locks)s)"
_RESTART = 2.0
_POOL: dict[str, Any] = {"timeout": 5.0, "reconnect_timeout": 3.0, "max_idle": 30.0, "kwargs": CONNECT_OPTIONS}
"""Seconds after which a pool gives up, and begins anew with the next who asks: by itself it would try at growing
intervals, and be the last to notice that the database is back. An idle connection is closed after ``max_idle``."""

WORKER_POOL_SIZE = 3
"""Connections of Procrastinate's own pool in a worker, which has one more to listen."""


def max_connections(web_processes: int) -> int:
    """Return how many connections one ``cometbot serve`` with its worker opens at most.

    Each process has the pool, one connection that publishes jobs and one that listens for a chat channel. The worker
    has Procrastinate's pool, and one more to listen.
    """
    return (web_processes + 1) * (POOL_SIZE + 2) + WORKER_POOL_SIZE + 1


class Wakes:
    """Defers a job for each conversation that is woken, from one thread in the background.

    A conversation that waits for a worker already is not deferred again. What cannot be deferred is forgotten: the
    sweep wakes it.
    """

    def __init__(self, url: str, owned: Collection[str] = ()) -> None:
        self._url = url
        self._owned = frozenset(owned)
        self._waiting: dict[tuple[str, str], None] = {}
        self._bell = threading.Condition()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._closed = False

    def wake(self, lane: str, *, to_send: bool = False) -> None:
        """Have ``lane`` worked through soon, on any machine: by one that can send, if ``to_send``. Never blocks."""
        if self._pid != os.getpid():
            self._begin()
        with self._bell:
            self._waiting[queue_of_lane(lane, self._owned, to_send=to_send), lane] = None
            self._bell.notify()

    def _begin(self) -> None:
        """Start the thread, in this process: one from before a fork is not here."""
        self._pid = os.getpid()
        self._bell = threading.Condition()
        self._thread = threading.Thread(target=self._defer_all, name="cometbot-wakes", daemon=True)
        self._thread.start()

    def _defer_all(self) -> None:
        while not self._closed:
            connector = procrastinate.SyncPsycopgConnector(conninfo=self._url, min_size=0, max_size=1, **_POOL)
            try:
                with _app(connector).open() as app:
                    self._defer_with(app)
            except (exceptions.ConnectorException, psycopg.Error) as error:
                log.debug("cannot wake workers now, the sweep does it: %s", error)
            except BaseException:
                log.exception("waking workers failed in an unforeseen way and goes on")
            time.sleep(0 if self._closed else 0.5)

    def _defer_with(self, app: procrastinate.App) -> None:
        while True:
            with self._bell:
                while not self._waiting and not self._closed:
                    self._bell.wait()
                if self._closed:
                    return
                lanes, self._waiting = self._waiting, {}
            locks = {f"{queue} {lane}": (queue, lane) for queue, lane in lanes}
            if len(locks) > 1:
                # A sweep names what waits for a worker already, too; each of those would be an error in the server.
                for row in app.connector.get_sync_connector().execute_query_all(_QUEUED, locks=list(locks)):
                    del locks[row["queueing_lock"]]
            for lock, (queue, lane) in locks.items():
                job = app.configure_task(TASK, queue=queue, queueing_lock=lock)
                with suppress(exceptions.AlreadyEnqueued):
                    job.defer(lane=lane)

    def close(self) -> None:
        """Stop deferring; what waits is found by the sweep."""
        with self._bell:
            self._closed = True
            self._bell.notify()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join(5)


class ProcrastinateEngine(Engine):
    """``size`` lanes at a time in this worker; Procrastinate decides which worker gets which wake.

    Neither its locks nor its retries are used: exclusion is the lease's business, and what has to be done later is due
    in our own tables. Sweep, purge and the end of jobs of dead workers are its periodic tasks, each done by one worker.
    """

    schedules: ClassVar[bool] = True

    def __init__(self, url: str, wakes: Wakes, size: int = 8) -> None:
        self._url = url
        self._wakes = wakes
        self._size = size
        self._work: Callable[[str], None] = lambda lane: None
        self._duties: Duties = {}
        self._queues = [QUEUE]
        self._running: dict[int, Run] = {}
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._connected = False
        self._stuck: set[threading.Thread] = set()

    def schedule(self, duties: Duties, roles: Roles) -> None:
        self._duties = duties
        self._queues = [QUEUE, *(queue for queue, _ in roles.queues())]

    def start(self, work: Callable[[str], None]) -> None:
        self._work = work
        self._thread = threading.Thread(target=self._go_on, name="cometbot-worker", daemon=True)
        self._thread.start()

    def wake(self, lane: str, *, to_send: bool = False) -> None:
        self._wakes.wake(lane, to_send=to_send)

    def _go_on(self) -> None:
        """Supervise until stopped, whatever ends the loop in between."""
        while not self._stopping:
            try:
                asyncio.run(self._supervise())
            except BaseException:
                log.exception("the worker ended in an unforeseen way and begins anew")
                self._connected = False
                time.sleep(_RESTART)

    async def _supervise(self) -> None:
        """Work until stopped; a database that goes away comes back."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(report_unhandled)
        while not self._stopping:
            self._worker = asyncio.create_task(self._run_worker())
            try:
                await self._worker
            except asyncio.CancelledError:
                self._connected = False
                return
            except Exception as error:
                # Once for each time that it is away.
                level = logging.WARNING if self._connected else logging.DEBUG
                cause = str(error.__cause__ or error).strip()
                log.log(level, "the worker lost its database and goes on when it is back: %s", cause)
            self._connected = False
            if not self._stopping:
                await asyncio.sleep(_RESTART)

    async def _run_worker(self) -> None:
        connector = procrastinate.PsycopgConnector(conninfo=self._url, min_size=1, max_size=WORKER_POOL_SIZE, **_POOL)
        app = _app(connector)
        app.task(name=TASK, queue=QUEUE)(self._run_lane)
        for name, duty in self._duties.items():
            self._add_periodic(app, name, duty.seconds, duty.work, queue=duty.queue or QUEUE)
        self._add_periodic(app, "stalled", STALLED_AFTER, lambda: None, finish=app)
        async with app.open_async():
            self._connected = True
            await app.run_worker_async(
                queues=self._queues,
                concurrency=self._size + 2,
                install_signal_handlers=False,
                delete_jobs="always",
                update_heartbeat_interval=HEARTBEAT,
                stalled_worker_timeout=STALLED_AFTER,
                fetch_job_polling_interval=2.0,
            )

    def _add_periodic(
        self,
        app: procrastinate.App,
        name: str,
        seconds: float,
        work: Callable[[], object],
        finish: procrastinate.App | None = None,
        queue: str = QUEUE,
    ) -> None:
        async def do(timestamp: int) -> None:
            if finish is not None:
                await _finish_stalled(finish)
            await asyncio.to_thread(work)

        task = app.task(name=f"cometbot.{name}", queue=queue, queueing_lock=f"cometbot.{name}", pass_context=False)(do)
        app.periodic(cron=_cron(seconds))(task)

    async def _run_lane(self, lane: str) -> None:
        """Work on one conversation in a thread of its own, which may be given up."""
        if self._stopping:
            return
        run = Run()
        thread = threading.Thread(target=self._in_thread, args=(run, lane), name="cometbot-lane", daemon=True)
        thread.start()
        await run.ended.wait()

    def _in_thread(self, run: Run, lane: str) -> None:
        ident = threading.get_ident()
        with self._guard:
            self._running[ident] = run
        try:
            self._work(lane)
        except BaseException:
            log.exception("could not work on a conversation; the sweep wakes it again", extra={"conversation": lane})
        finally:
            with self._guard:
                self._running.pop(ident, None)
                self._stuck.discard(threading.current_thread())
            run.end()

    def replace(self, thread: int) -> None:
        with self._guard:
            run = self._running.pop(thread, None)
            stuck = next((one for one in threading.enumerate() if one.ident == thread), None)
            if stuck is not None:
                self._stuck.add(stuck)
        if run is not None:
            run.end()

    def stop(self, timeout: float) -> bool:
        self._stopping = True
        end = time.monotonic() + timeout
        loop, worker = self._loop, self._worker
        if loop is not None and worker is not None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(worker.cancel)
        if self._thread is None:
            return True
        self._thread.join(max(0.0, end - time.monotonic()))
        with self._guard:
            left = list(self._running.values())
        for run in left:
            run.end()
        self._thread.join(2)
        return not left

    def checks(self) -> list[Check]:
        alive = self._thread is not None and self._thread.is_alive() and self._connected
        stuck = sum(thread.is_alive() for thread in list(self._stuck))
        return [
            Check(
                "lanes",
                alive,
                f"{len(self._running)} of {self._size} lanes at work" if alive else "the worker has no database now",
            ),
            Check("handlers", stuck < self._size, f"{stuck} handlers ran past their deadline and still run"),
        ]


class Run:
    """One lane at work in a thread, as its job sees it."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def end(self) -> None:
        """Let the job end. From any thread, as often as one likes."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.ended.set)


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a record of Procrastinate's is no traceback of a lost database, which the engine reports."""
    return not (record.exc_info and isinstance(record.exc_info[1], exceptions.ConnectorException))


def report_unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error that no task handled, unless it is a lost database, which the engine reports.

    A job whose end Procrastinate cannot store ends with such an error, which nothing awaits when the worker stops.
    """
    if not isinstance(context.get("exception"), exceptions.ConnectorException):
        loop.default_exception_handler(context)


def _app(connector: Any) -> procrastinate.App:
    for name in ("procrastinate.worker", "procrastinate.worker.worker", "procrastinate.utils"):
        logging.getLogger(name).addFilter(_is_news)
    return procrastinate.App(connector=connector)


async def _finish_stalled(app: procrastinate.App) -> None:
    """End the jobs of workers that died: a newer wake, or the sweep, does their work."""
    for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_AFTER):
        await app.job_manager.finish_job(job, status=Status.FAILED, delete_job=True)


def _cron(seconds: float) -> str:
    """A cron line with seconds, for every so many of them (a divisor of 60)."""
    every = max(1, round(seconds))
    return f"* * * * * */{every}" if every < 60 else "* * * * *"
