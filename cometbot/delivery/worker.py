"""The worker of a process: the engine, and a maintenance thread for periodic tasks and timers."""

from __future__ import annotations

import heapq
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from cometbot.bot import Bot
from cometbot.channels.base import Channels
from cometbot.delivery.conversation_runner import ConversationRunner
from cometbot.delivery.engine import Check, Engine, SharedTask
from cometbot.delivery.roles import ProcessRoles
from cometbot.delivery.running_handlers import HandlerRegistry
from cometbot.delivery.sending import ReplySender, SendPolicy
from cometbot.delivery.single_statements import SingleStatementTransactions
from cometbot.delivery.stop_watcher import StopWatcher
from cometbot.delivery.transactions import Transactions
from cometbot.errors import StoreBusy, StoreUnavailable
from cometbot.event_loop import cancel_coroutine
from cometbot.observer import Observer
from cometbot.store.delivery_store import DeliveryStore
from cometbot.store.leases import HEARTBEAT_INTERVAL, ProcessRegistration
from cometbot.store.local_notifier import NotificationSocket
from cometbot.store.pubsub import PubSub

log = logging.getLogger(__name__)

SWEEP_INTERVAL = 1.0
"""Seconds between two searches for abandoned conversations."""

JOBS_TIME_LIMIT = 1.0
"""Seconds after which a sweep leaves the jobs that are due to the next one: its thread also renews the leases."""

MAX_PROMPT_COUNT = 50
"""The most conversations in which a time has come at once that do not wait behind those with messages."""

CHANNEL_REFRESH_INTERVAL = 600.0
PURGE_INTERVAL = 60.0
STATISTICS_INTERVAL = 60.0


class Worker:
    """Runs the engine and the maintenance thread of a process."""

    def __init__(
        self,
        store: DeliveryStore,
        bots: Mapping[str, Bot],
        channels: Channels,
        engine: Engine,
        *,
        policy: SendPolicy,
        observer: Observer,
        handler_timeout: float,
        purge: Callable[[], object],
        log_statistics: Callable[[], object],
        notify_others: Callable[..., None],
        stop_signals: PubSub,
        handles: bool = True,
    ) -> None:
        self._database = store.database
        self._store = store
        self._engine = engine
        self._process = ProcessRegistration(store.database, handles=handles)
        self._roles = ProcessRoles.from_channels(bots, channels, handles=handles)
        self._notify_others = notify_others
        self._database_path = str(getattr(store.database, "path", ""))
        self._socket = NotificationSocket(self._database_path, self._process.token)
        self._shutdown = threading.Event()
        self._started_at = 0.0
        self._cond = threading.Condition()
        self._timers: list[tuple[float, str, bool]] = []
        self._background: list[list[threading.Thread]] = []
        self._channels = channels
        self._handlers = HandlerRegistry(handler_timeout)
        self._transactions = self._make_transactions(policy.timeout)
        sender = ReplySender(self._transactions, channels, policy, observer, reraise=engine.reraise)
        self._runner = ConversationRunner(
            bots,
            channels,
            self._roles,
            self._transactions,
            sender,
            self._handlers,
            observer,
            notify=self.notify,
            is_stopping=self._shutdown.is_set,
            reraise=engine.reraise,
        )
        self._stops = StopWatcher(store, bots, channels, self._handlers, observer)
        self._stop_signals = stop_signals
        self._handles = handles
        self._observer = observer
        self._purge = purge
        self._log_statistics = log_statistics
        self._maintenance = threading.Thread(target=self._run_maintenance, name="cometbot-maintenance", daemon=True)

    def _make_transactions(self, send_timeout: float) -> Transactions:
        kind = SingleStatementTransactions if self._database.supports_writable_ctes else Transactions
        return kind(
            self._store,
            self._process,
            self._channels,
            notify=self.notify,
            is_stopping=self._shutdown.is_set,
            isolate=self._handlers.isolate,
            send_timeout=send_timeout,
        )

    def start(self) -> None:
        """Register this process and start its threads."""
        if self._database_path:
            self._socket.listen(self._engine.notify)
        self._process.address = self._socket.address
        self._process.heartbeat()
        self._started_at = self._database.clock()
        self._engine.schedule(self._shared_tasks(), self._roles)
        if not self._engine.needs_maintenance_thread:
            self._engine.start(self._process_in_caller)
            return
        self._engine.start(self._runner.process_conversation)
        self._maintenance.start()
        if self._handles:
            self._stops.start()
            self._stop_signals.subscribe(self._stops.check_soon)

    def _process_in_caller(self, conversation_key: str) -> None:
        """Process a conversation where no threads are; if its handler runs, that has called this."""
        if self._runs_here(conversation_key):
            self._stops.check(conversation_key)
        else:
            self._runner.process_conversation(conversation_key)

    def _runs_here(self, conversation_key: str) -> bool:
        return any(run.lease.conversation_key == conversation_key for run in self._handlers.list_running())

    def check_stops(self, conversation_key: str) -> bool:
        """Look soon if a message has arrived that stops a handler. Return True if it runs in this process."""
        is_here = self._runs_here(conversation_key)
        if is_here and self._engine.needs_maintenance_thread:
            self._stops.check_soon(conversation_key)
        elif is_here:
            self._engine.notify(conversation_key)
        return is_here

    def notify(self, conversation_key: str, due_at: float | None = None, *, to_send: bool = False) -> None:
        """Request that ``conversation_key`` is processed now, or when the database's clock reaches ``due_at``.

        Other processes are notified if this one cannot send (``to_send``) or handle what waits there.
        """
        can_handle, can_send = self._roles.abilities(conversation_key)
        if not (can_send if to_send else can_handle):
            self._notify_others(conversation_key, to_send=to_send)
        elif due_at is None:
            self._engine.notify(conversation_key, to_send=to_send)
        else:
            with self._cond:
                heapq.heappush(self._timers, (due_at, conversation_key, to_send))
                self._cond.notify()

    def notify_all(self, conversation_keys: Sequence[str], *, to_send: bool = False) -> None:
        """Call :meth:`notify` for conversations in which a time has come; many of them wait behind other messages."""
        if len(conversation_keys) <= MAX_PROMPT_COUNT:
            for conversation_key in conversation_keys:
                self.notify(conversation_key, to_send=to_send)
            return
        own = list[str]()
        for conversation_key in conversation_keys:
            can_handle, can_send = self._roles.abilities(conversation_key)
            if can_send if to_send else can_handle:
                own.append(conversation_key)
            else:
                self._notify_others(conversation_key, to_send=to_send)
        self._notify_engine(own, to_send=to_send)

    def _notify_engine(self, conversation_keys: Sequence[str], *, to_send: bool) -> None:
        """Notify the engine of conversations; many of them wait behind other messages."""
        if len(conversation_keys) > MAX_PROMPT_COUNT:
            self._engine.notify_many(conversation_keys, to_send=to_send)
            return
        for conversation_key in conversation_keys:
            self._engine.notify(conversation_key, to_send=to_send)

    def _shared_tasks(self) -> dict[str, SharedTask]:
        """Return the shared tasks: the purge, the statistics, and a sweep for each job queue.

        A sweep runs in one of the processes that receive jobs from its queue.
        """
        sweeps = {
            f"sweep.{queue}": SharedTask(SWEEP_INTERVAL, partial(self._sweep, roles), queue)
            for queue, roles in self._roles.queues()
        }
        others = {
            "timers": SharedTask(SWEEP_INTERVAL, self._fire_dialog_timers),
            "purge": SharedTask(PURGE_INTERVAL, self._purge),
            "statistics": SharedTask(STATISTICS_INTERVAL, self._log_statistics),
        }
        return {**sweeps, **others}

    def _fire_dialog_timers(self) -> None:
        self.notify_all(self._store.fire_timers(self._started_at))
        begun = self._store.fire_jobs(JOBS_TIME_LIMIT)
        self.notify_all([each.conversation_key for each in begun if not each.to_send])
        self.notify_all([each.conversation_key for each in begun if each.to_send], to_send=True)

    def stop(self, timeout: float) -> None:
        """Stop: start nothing new, give running handlers ``timeout`` seconds, and give up the leases."""
        self._shutdown.set()
        with self._cond:
            self._cond.notify()
        if not self._engine.stop(timeout):
            log.warning("stopped while handlers were running; the next process handles their messages again")
        self._stops.stop()
        if self._maintenance.ident is not None:  # it was never started if the database was unavailable
            self._maintenance.join(5)
        for thread in (thread for threads in self._background for thread in threads):
            thread.join(5)
        self._socket.close()
        try:
            self._process.deregister()
        except StoreBusy:
            log.warning("cannot release the leases; they expire by themselves")

    def checks(self) -> list[Check]:
        """Return the checks of the engine and the maintenance thread."""
        if not self._engine.needs_maintenance_thread:
            return self._engine.checks()
        maintenance = Check(
            "maintenance",
            self._maintenance.is_alive(),
            "the thread that renews leases" + ("" if self._maintenance.is_alive() else " has died; restart"),
        )
        return [*self._engine.checks(), maintenance]

    def _run_maintenance(self) -> None:
        tasks = [
            PeriodicTask(HEARTBEAT_INTERVAL, self._process.heartbeat, due_at=time.monotonic() + HEARTBEAT_INTERVAL),
            PeriodicTask(SWEEP_INTERVAL, self._abandon_overdue_handlers),
            PeriodicTask(SWEEP_INTERVAL, self._release_lost_leases),
            PeriodicTask(SWEEP_INTERVAL, self._report_load),
            PeriodicTask(CHANNEL_REFRESH_INTERVAL, self._in_background(self._refresh_channels)),
        ]
        if not self._engine.runs_shared_tasks:
            tasks.append(PeriodicTask(SWEEP_INTERVAL, partial(self._sweep, self._roles)))
            tasks.append(PeriodicTask(SWEEP_INTERVAL, self._fire_dialog_timers))
            tasks.append(PeriodicTask(PURGE_INTERVAL, self._in_background(self._purge)))
            tasks.append(PeriodicTask(STATISTICS_INTERVAL, self._in_background(self._log_statistics)))
        while not self._shutdown.is_set():
            for task in tasks:
                task.run_if_due()
            self._fire_timers()
            self._wait_until(min(task.due_at for task in tasks))

    def _wait_until(self, deadline: float) -> None:
        with self._cond:
            if self._shutdown.is_set():
                return
            timeout = deadline - time.monotonic()
            if self._timers:
                timeout = min(timeout, self._timers[0][0] - self._database.clock())
            if timeout > 0:
                self._cond.wait(timeout)

    def _fire_timers(self) -> None:
        now = self._database.clock()
        with self._cond:
            while self._timers and self._timers[0][0] <= now:
                _, conversation_key, to_send = heapq.heappop(self._timers)
                self._engine.notify(conversation_key, to_send=to_send)

    def _sweep(self, roles: ProcessRoles) -> None:
        """Notify the engine of abandoned conversations that ``roles`` cover."""
        self._delete_dead_processes()
        with self._database.read() as connection:
            abandoned = self._store.leases.find_abandoned(
                connection,
                roles.bots,
                roles.handled_and_sent,
                only_handled=roles.only_handled,
                only_sent=roles.only_sent,
                accounts=roles.accounts,
            )
        self._notify_engine(abandoned, to_send=not roles.handled)

    def _delete_dead_processes(self) -> None:
        """Delete the processes of this machine whose socket cannot be reached, so that their leases end at once."""
        if not self._database_path:
            return
        with self._database.read() as connection:
            addresses = self._store.leases.list_addresses(connection, other_than=self._process.token)
        dead = self._socket.send(addresses, "") if addresses else []
        if dead:
            with self._database.write(durable=False) as connection:
                self._store.leases.delete_processes(connection, dead)
            log.warning("ended the leases of %d dead processes", len(dead))

    def _in_background(self, function: Callable[[], object]) -> Callable[[], None]:
        """Return a function that runs ``function`` in its own thread, unless the last run has not ended."""
        threads: list[threading.Thread] = []
        self._background.append(threads)

        def start() -> None:
            if not threads or not threads[0].is_alive():
                threads[:] = [
                    threading.Thread(target=_log_exceptions(function), name="cometbot-background", daemon=True)
                ]
                threads[0].start()

        return start

    def _abandon_overdue_handlers(self) -> None:
        overdue = self._handlers.pop_overdue()
        while overdue:
            try:
                is_abandoned = self._runner.abandon_handler(overdue[0])
            except BaseException:  # such as an unavailable database, which fails for all of them
                for run in overdue[1:] + overdue[:1]:
                    self._handlers.restore(run)
                raise
            run = overdue.pop(0)
            if is_abandoned:
                self._engine.replace_thread(run.thread_id)
                run.sink.give_up()
                cancel_coroutine(run.thread_id)

    def _report_load(self) -> None:
        load = self._engine.load
        self._observer.load_measured(load.running, load.waiting)

    def _release_lost_leases(self) -> None:
        for conversation_key in self._process.release_lost(self._store.leases):
            self._engine.notify(conversation_key)

    def _refresh_channels(self) -> None:
        for channel in self._channels.all:
            channel.refresh()


class PeriodicTask:
    """A function that is run about every ``interval`` seconds of ``clock``."""

    def __init__(
        self,
        interval: float,
        function: Callable[[], object],
        due_at: float = 0.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.interval = interval
        self.due_at = due_at
        self._function = function
        self._clock = clock

    def run_if_due(self) -> None:
        """Run the function if it is due. An exception is logged, and the task is scheduled again."""
        if self._clock() < self.due_at:
            return
        self.due_at = self._clock() + self.interval * random.uniform(0.9, 1.1)
        _log_exceptions(self._function)()


def _log_exceptions(function: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        try:
            function()
        except StoreUnavailable as error:
            log.debug("skipped a periodic task: %s", error)  # the database has logged what to repair
        except BaseException:  # such as SystemExit, which would end this thread only
            log.exception("a periodic task failed; it runs again after its interval")

    return run
