"""The engine for many machines: a notification is a Procrastinate job on PostgreSQL, run by any free worker."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, ClassVar, TypeVar

import procrastinate
import psycopg
from procrastinate import exceptions
from procrastinate.jobs import Status
from procrastinate.types import JSONValue

from cometbot.delivery.engine import (
    GROW_AFTER,
    MAX_PROCESSOR_SHARE,
    Check,
    Engine,
    Load,
    ProcessorShare,
    SharedTasks,
)
from cometbot.delivery.roles import ProcessRoles, queue_for_conversation
from cometbot.forking import PerProcess
from cometbot.store.postgresql import CONNECT_OPTIONS, POOL_SIZE

T = TypeVar("T")

log = logging.getLogger(__name__)

DEFAULT_QUEUE = "cometbot"
"""The queue of tasks that any worker may run. Notifications have one queue per channel (``roles.queue_name``)."""

TASK_NAME = "cometbot.process_conversation"
BULK_TASK_NAME = "cometbot.process_conversations"
JOB_HEARTBEAT_INTERVAL = 5.0
STALLED_WORKER_TIMEOUT = 15.0
"""Seconds without a heartbeat after which the jobs of a worker are finished on its behalf."""

_QUEUED_LOCKS = "SELECT queueing_lock FROM procrastinate_jobs WHERE status = 'todo' AND queueing_lock = ANY(%(locks)s)"
_QUEUED_BULK = (
    "SELECT jsonb_array_elements_text(args -> 'conversation_keys') AS key FROM procrastinate_jobs "
    f"WHERE status = 'todo' AND task_name = '{BULK_TASK_NAME}'"
)
_BULK_BATCH = 1000
_BULK_SIZE = 20
"""The conversations of one job of :meth:`JobPublisher.notify_many`."""

_BULK_PRIORITY = -1
"""The priority of these jobs; that of all others is 0."""

_RESTART_INTERVAL = 2.0
_QUICK_GROWTH = 0.01
"""Seconds between two looks for conversations that wait, once some do."""

_POOL_OPTIONS: dict[str, Any] = {"timeout": 5.0, "reconnect_timeout": 3.0, "max_idle": 30.0, "kwargs": CONNECT_OPTIONS}
"""Options of Procrastinate's connection pools, with times in seconds.

A pool gives up reconnecting after ``reconnect_timeout``, and the next caller starts it anew: by itself it would retry
at growing intervals, and notice late that the database is available again. An idle connection is closed after
``max_idle``.
"""

WORKER_POOL_SIZE = 3
"""Connections of Procrastinate's own pool in a worker."""


def max_connections(web_processes: int) -> int:
    """Return the maximum number of connections that one ``cometbot serve`` with its worker opens.

    Each process has the pool, one connection that publishes jobs and one that listens for a chat channel. The worker
    has Procrastinate's pool, one that listens for jobs, and one that listens for what stops a handler.
    """
    return (web_processes + 1) * (POOL_SIZE + 2) + WORKER_POOL_SIZE + 2


class JobPublisher:
    """Defers a job for each conversation that is notified, from one background thread of each process.

    A conversation whose job is queued already is not deferred again. A job that cannot be deferred is dropped; the
    sweep finds its conversation.
    """

    def __init__(self, url: str, owned: Collection[str] = ()) -> None:
        self._owned = frozenset(owned)
        self._thread = PerProcess(lambda: _PublisherThread(url))
        self._is_closed = False

    def notify(self, conversation_key: str, *, to_send: bool = False) -> None:
        """Request that ``conversation_key`` is processed soon, on any machine.

        With ``to_send``, a process that can send does it. Never blocks.
        """
        if not self._is_closed:
            queue = queue_for_conversation(conversation_key, self._owned, to_send=to_send)
            self._thread.get().add(queue, conversation_key)

    def notify_many(self, conversation_keys: Iterable[str], *, to_send: bool = False) -> None:
        """Request the same for many conversations, behind those that :meth:`notify` names meanwhile."""
        if not self._is_closed:
            self._thread.get().add_many(
                (queue_for_conversation(key, self._owned, to_send=to_send), key) for key in conversation_keys
            )

    def close(self) -> None:
        """Stop deferring; the sweep finds what is still pending."""
        self._is_closed = True
        if (thread := self._thread.existing) is not None:
            thread.close()


class _PublisherThread:
    """The thread of one process that defers jobs."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pending: dict[tuple[str, str], None] = {}
        self._bulk: dict[tuple[str, str], None] = {}
        self._cond = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._publish_forever, name="cometbot-publisher", daemon=True)
        self._thread.start()

    def add(self, queue: str, conversation_key: str) -> None:
        """Defer a job soon."""
        with self._cond:
            self._pending[queue, conversation_key] = None
            self._cond.notify()

    def add_many(self, conversations: Iterable[tuple[str, str]]) -> None:
        """Defer jobs for many conversations, each given by its queue and key, behind those that :meth:`add` names."""
        with self._cond:
            self._bulk.update(dict.fromkeys(conversations))
            self._cond.notify()

    def close(self) -> None:
        """Stop, and wait for the end of the thread."""
        with self._cond:
            self._is_closed = True
            self._cond.notify()
        self._thread.join(5)

    def _publish_forever(self) -> None:
        while not self._is_closed:
            connector = procrastinate.SyncPsycopgConnector(conninfo=self._url, min_size=0, max_size=1, **_POOL_OPTIONS)
            try:
                with _make_app(connector).open() as app:
                    self._publish_pending(app)
            except (exceptions.ConnectorException, psycopg.Error) as error:
                log.debug("cannot notify workers: %s; the sweep does it", error)
            except BaseException:
                log.exception("cannot notify workers: unexpected error; the thread continues")
            time.sleep(0 if self._is_closed else 0.5)

    def _publish_pending(self, app: procrastinate.App) -> None:
        while True:
            with self._cond:
                while not self._pending and not self._bulk and not self._is_closed:
                    self._cond.wait()
                if self._is_closed:
                    return
                pending, self._pending = self._pending, {}
                bulk = list(islice(self._bulk, _BULK_BATCH))
                for conversation in bulk:
                    del self._bulk[conversation]
            _defer(app, list(pending))
            if bulk:
                _defer_bulk(app, bulk)


def _defer(app: procrastinate.App, conversations: Sequence[tuple[str, str]]) -> None:
    """Defer a job for each of these conversations, given by its queue and key, unless one is queued already."""
    by_lock = {f"{queue} {key}": (queue, key) for queue, key in conversations}
    if len(by_lock) > 1:  # those that are queued already would log an error in the server
        for row in _query(app, _QUEUED_LOCKS, locks=list(by_lock)):
            del by_lock[row["queueing_lock"]]
    tasks = [(app.configure_task(TASK_NAME, queue=q, queueing_lock=lock), key) for lock, (q, key) in by_lock.items()]
    if len(tasks) > 1:
        with suppress(exceptions.AlreadyEnqueued):  # if one was queued just now, none of them is
            app.job_manager.batch_defer_jobs([task.make_new_job(conversation_key=key) for task, key in tasks])
            return
    for task, key in tasks:
        with suppress(exceptions.AlreadyEnqueued):
            task.defer(conversation_key=key)


def _defer_bulk(app: procrastinate.App, conversations: Sequence[tuple[str, str]]) -> None:
    """Defer jobs of a low priority, each for several of these conversations, without those that are queued already."""
    locks = [f"{queue} {key}" for queue, key in conversations]
    queued = {row["queueing_lock"] for row in _query(app, _QUEUED_LOCKS, locks=locks)}
    in_bulk = {row["key"] for row in _query(app, _QUEUED_BULK)}
    by_queue: dict[str, list[str]] = {}
    for (queue, key), lock in zip(conversations, locks, strict=True):
        if lock not in queued and key not in in_bulk:
            by_queue.setdefault(queue, []).append(key)
    jobs = [
        app.configure_task(BULK_TASK_NAME, queue=queue, priority=_BULK_PRIORITY).make_new_job(
            conversation_keys=list[JSONValue](keys[start : start + _BULK_SIZE])
        )
        for queue, keys in by_queue.items()
        for start in range(0, len(keys), _BULK_SIZE)
    ]
    if jobs:
        app.job_manager.batch_defer_jobs(jobs)


def _query(app: procrastinate.App, query: str, **values: Any) -> list[dict[str, Any]]:
    return app.connector.get_sync_connector().execute_query_all(query, **values)


class ProcrastinateEngine(Engine):
    """Processes conversations in this worker; Procrastinate assigns the jobs to workers.

    ``size`` jobs run at a time. While the processor is idle, jobs end before their conversations, so that the worker
    gets others; it processes up to ``max_size`` conversations at a time.

    Procrastinate's locks and retries are not used: leases provide mutual exclusion, and the due time of later work is
    in cometbot's own tables. The sweep, the purge and the end of jobs of dead workers are periodic tasks, each run by
    one worker.
    """

    runs_shared_tasks: ClassVar[bool] = True

    def __init__(self, url: str, publisher: JobPublisher, size: int = 8, max_size: int = 0) -> None:
        self._url = url
        self._publisher = publisher
        self._size = size
        self._max_size = max(size, max_size)
        self._process_conversation: Callable[[str], None] = lambda conversation_key: None
        self._tasks: SharedTasks = {}
        self._queues = [DEFAULT_QUEUE]
        self._runs: dict[int, ConversationJob] = {}
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._shutdown = threading.Event()
        self._is_connected = False
        self._stuck_threads: set[threading.Thread] = set()
        self._local = threading.local()
        """``follow_ups`` of a thread: the conversations that were notified by the one of a bulk job."""

    def schedule(self, tasks: SharedTasks, roles: ProcessRoles) -> None:
        self._tasks = tasks
        self._queues = [DEFAULT_QUEUE, *(queue for queue, _ in roles.queues())]

    def start(self, process_conversation: Callable[[str], None]) -> None:
        self._process_conversation = process_conversation
        self._thread = threading.Thread(target=self._supervise_forever, name="cometbot-worker", daemon=True)
        self._thread.start()

    def notify(self, conversation_key: str, *, to_send: bool = False) -> None:
        follow_ups = getattr(self._local, "follow_ups", None)
        if follow_ups is not None:
            follow_ups.append(conversation_key)
        else:
            self._publisher.notify(conversation_key, to_send=to_send)

    def notify_many(self, conversation_keys: Iterable[str], *, to_send: bool = False) -> None:
        self._publisher.notify_many(conversation_keys, to_send=to_send)

    def _supervise_forever(self) -> None:
        """Supervise until stopped, and restart after an unexpected error."""
        while not self._shutdown.is_set():
            try:
                asyncio.run(self._supervise())
            except BaseException:
                log.exception("the worker failed: unexpected error; it is restarted")
                self._is_connected = False
                time.sleep(_RESTART_INTERVAL)

    async def _supervise(self) -> None:
        """Run the worker until stopped, and restart it after the database was unavailable."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(log_unhandled_error)
        while not self._shutdown.is_set():
            self._worker = asyncio.create_task(self._run_worker())
            room = asyncio.create_task(self._make_room())
            try:
                await self._worker
            except asyncio.CancelledError:
                self._is_connected = False
                return
            except Exception as error:
                # Warn once for each outage.
                level = logging.WARNING if self._is_connected else logging.DEBUG
                cause = str(error.__cause__ or error).strip()
                log.log(level, "the worker lost its database connection: %s; it reconnects", cause)
            finally:
                room.cancel()
            self._is_connected = False
            if not self._shutdown.is_set():
                await asyncio.sleep(_RESTART_INTERVAL)

    async def _run_worker(self) -> None:
        connector = procrastinate.PsycopgConnector(
            conninfo=self._url, min_size=1, max_size=WORKER_POOL_SIZE, **_POOL_OPTIONS
        )
        app = _make_app(connector)
        app.task(name=TASK_NAME, queue=DEFAULT_QUEUE)(self._run_job)
        app.task(name=BULK_TASK_NAME, queue=DEFAULT_QUEUE)(self._run_bulk_job)
        for name, task in self._tasks.items():
            self._add_periodic_task(app, name, task.interval, task.function, queue=task.queue or DEFAULT_QUEUE)
        self._add_periodic_task(app, "stalled", STALLED_WORKER_TIMEOUT, lambda: None, stalled_jobs_app=app)
        async with app.open_async():
            self._is_connected = True
            await app.run_worker_async(
                queues=self._queues,
                concurrency=self._size + 2,
                install_signal_handlers=False,
                delete_jobs="always",
                update_heartbeat_interval=JOB_HEARTBEAT_INTERVAL,
                stalled_worker_timeout=STALLED_WORKER_TIMEOUT,
                fetch_job_polling_interval=2.0,
            )

    def _add_periodic_task(
        self,
        app: procrastinate.App,
        name: str,
        interval: float,
        function: Callable[[], object],
        stalled_jobs_app: procrastinate.App | None = None,
        queue: str = DEFAULT_QUEUE,
    ) -> None:
        async def do(timestamp: int) -> None:
            if stalled_jobs_app is not None:
                await _finish_stalled(stalled_jobs_app)
            await asyncio.to_thread(function)

        task = app.task(name=f"cometbot.{name}", queue=queue, queueing_lock=f"cometbot.{name}", pass_context=False)(do)
        app.periodic(cron=_cron_expression(interval))(task)

    async def _run_job(self, conversation_key: str) -> None:
        """Process one conversation in its own thread, so that the job can end without it."""
        await self._run_in_thread(self._process, conversation_key)

    async def _run_bulk_job(self, conversation_keys: list[str]) -> None:
        """Process conversations one after the other. The sweep queues anew those that wait behind a slow handler."""
        await self._run_in_thread(self._process_bulk, conversation_keys)

    async def _run_in_thread(self, process: Callable[[T], None], work: T) -> None:
        if self._shutdown.is_set():
            return
        run = ConversationJob()
        run.thread = threading.Thread(
            target=self._process_in_thread, args=(run, process, work), name="cometbot-runner", daemon=True
        )
        run.thread.start()
        await run.ended.wait()

    async def _make_room(self) -> None:
        """End jobs before their conversations while all places are taken and the processor is idle."""
        processor, interval = ProcessorShare(), GROW_AFTER
        while True:
            await asyncio.sleep(interval)
            is_idle = processor.measure() <= MAX_PROCESSOR_SHARE
            with self._guard:
                runs = list(self._runs.values())
            jobs = [run for run in runs if not run.ended.is_set()]
            grows = is_idle and len(jobs) >= self._size
            interval = _QUICK_GROWTH if grows else GROW_AFTER
            if grows:
                old = [run for run in jobs if time.monotonic() - run.started_at >= interval]
                for run in old[: self._max_size - len(runs)]:
                    run.ended.set()

    def _process_bulk(self, conversation_keys: Sequence[str]) -> None:
        """Process conversations, each with those that it notifies: a job of their own would cost more than the work."""
        for conversation_key in conversation_keys:
            if self._shutdown.is_set():
                return
            self._local.follow_ups = follow_ups = list[str]()
            try:
                self._process(conversation_key)
            finally:
                self._local.follow_ups = None
            for notified in follow_ups:
                self._process(notified)

    def _process(self, conversation_key: str) -> None:
        try:
            self._process_conversation(conversation_key)
        except BaseException:
            log.exception(
                "cannot process a conversation; the sweep notifies it again", extra={"conversation": conversation_key}
            )

    def _process_in_thread(self, run: ConversationJob, process: Callable[[T], None], work: T) -> None:
        ident = threading.get_ident()
        with self._guard:
            self._runs[ident] = run
        try:
            process(work)
        finally:
            with self._guard:
                self._runs.pop(ident, None)
                self._stuck_threads.discard(threading.current_thread())
            run.finish()

    def replace_thread(self, thread_id: int) -> None:
        with self._guard:
            run = self._runs.pop(thread_id, None)
            stuck = next((one for one in threading.enumerate() if one.ident == thread_id), None)
            if stuck is not None:
                self._stuck_threads.add(stuck)
        if run is not None:
            run.finish()

    def stop(self, timeout: float) -> bool:
        self._shutdown.set()
        deadline = time.monotonic() + timeout
        loop, worker = self._loop, self._worker
        if loop is not None and worker is not None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(worker.cancel)
        if self._thread is None:
            return True
        self._thread.join(max(0.0, deadline - time.monotonic()))
        with self._guard:
            runs = list(self._runs.values())
        for run in runs:
            run.thread.join(max(0.0, deadline - time.monotonic()))
        unfinished = [run for run in runs if run.thread.is_alive()]
        for run in unfinished:
            run.finish()
        self._thread.join(2)
        return not unfinished

    @property
    def load(self) -> Load:
        return Load(len(self._runs), 0)

    def checks(self) -> list[Check]:
        alive = self._thread is not None and self._thread.is_alive() and self._is_connected
        stuck = sum(thread.is_alive() for thread in list(self._stuck_threads))
        running = f"{len(self._runs)} conversations are processed"
        return [
            Check("threads", alive, running if alive else "the worker is not connected to the database"),
            Check("handlers", stuck < self._size, f"{stuck} handlers ran past their deadline and still run"),
        ]


class ConversationJob:
    """One conversation that is processed in a thread. ``ended`` is set when its job may end, perhaps before."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.started_at = time.monotonic()
        self.thread = threading.current_thread()
        self._loop = asyncio.get_running_loop()

    def finish(self) -> None:
        """End the job. May be called from any thread, any number of times."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.ended.set)


def _is_not_connection_error(record: logging.LogRecord) -> bool:
    """Return False for a traceback of a lost database connection, which the engine itself reports."""
    return not (record.exc_info and isinstance(record.exc_info[1], exceptions.ConnectorException))


def log_unhandled_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error that no task handled, unless it is a lost database connection, which the engine reports.

    Such an error is raised if Procrastinate cannot store the end of a job; nothing awaits it when the worker stops.
    """
    if not isinstance(context.get("exception"), exceptions.ConnectorException):
        loop.default_exception_handler(context)


def _make_app(connector: Any) -> procrastinate.App:
    for name in ("procrastinate.worker", "procrastinate.worker.worker", "procrastinate.utils"):
        logging.getLogger(name).addFilter(_is_not_connection_error)
    return procrastinate.App(connector=connector)


async def _finish_stalled(app: procrastinate.App) -> None:
    """Finish the jobs of workers that died; a newer job or the sweep does their work."""
    for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_WORKER_TIMEOUT):
        await app.job_manager.finish_job(job, status=Status.FAILED, delete_job=True)


def _cron_expression(interval: float) -> str:
    """Return a cron expression with seconds for an interval of ``interval`` seconds (a divisor of 60)."""
    every = max(1, round(interval))
    return f"* * * * * */{every}" if every < 60 else "* * * * *"
