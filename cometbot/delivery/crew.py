"""What works in a process that handles messages: the engine, and a thread that keeps time for everything else."""

from __future__ import annotations

import heapq
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

import sqlalchemy as sa

from cometbot.bot import Bot
from cometbot.channels.base import Channel
from cometbot.delivery.engine import Check, Engine, SharedDuty
from cometbot.delivery.hints import Hints
from cometbot.delivery.lane import Equipment, abandon, work_through
from cometbot.delivery.leases import HEARTBEAT, Process
from cometbot.delivery.observer import Observer
from cometbot.delivery.pacing import SendPolicy
from cometbot.delivery.roles import Roles
from cometbot.delivery.running import Running
from cometbot.delivery.sending import Sender
from cometbot.delivery.store import Store
from cometbot.errors import StoreBusy, StoreUnavailable
from cometbot.store.tables import processes

log = logging.getLogger(__name__)

SWEEP = 1.0
"""Seconds between two looks for conversations that were forgotten."""

REFRESH = 600.0
PURGE = 60.0
STATISTICS = 60.0


class Crew:
    """What works in a process that handles: the engine, and one thread that keeps time."""

    def __init__(
        self,
        store: Store,
        bots: Mapping[str, Bot],
        channels: Mapping[str, Channel],
        engine: Engine,
        *,
        policy: SendPolicy,
        observer: Observer,
        handler_timeout: float,
        purge: Callable[[], object],
        statistics: Callable[[], object],
        wake_others: Callable[..., None],
        handles: bool = True,
    ) -> None:
        self._database = store.database
        self._store = store
        self._engine = engine
        self._process = Process(store.database, handles=handles)
        self._roles = Roles.of(bots, channels, handles=handles)
        self._wake_others = wake_others
        self._path = str(getattr(store.database, "path", ""))
        self._hints = Hints(self._path, self._process.token)
        self._stopping = threading.Event()
        self._bell = threading.Condition()
        self._timers: list[tuple[float, str, bool]] = []
        self._house: list[list[threading.Thread]] = []
        sender = Sender(store, self._process, channels, policy, observer, engine.lets_out)
        running = Running(handler_timeout)
        self._equipment = Equipment(
            store,
            self._process,
            bots,
            channels,
            sender,
            running,
            observer,
            self._roles,
            self.wake,
            self.is_stopping,
            engine.lets_out,
        )
        self._purge = purge
        self._statistics = statistics
        self._keeper = threading.Thread(target=self._keep_time, name="cometbot-keeper", daemon=True)

    def start(self) -> None:
        """Begin: show a sign of life, start threads."""
        if self._path:
            self._hints.listen(self._engine.wake)
        self._process.address = self._hints.address
        self._process.beat()
        self._engine.schedule(self._shared_duties(), self._roles)
        self._engine.start(lambda lane: work_through(self._equipment, lane))
        if self._engine.needs_keeper:
            self._keeper.start()

    def is_stopping(self) -> bool:
        """Whether lanes should give their conversations back."""
        return self._stopping.is_set()

    def wake(self, lane: str, at: float | None = None, *, to_send: bool = False) -> None:
        """Have ``lane`` worked through now, or when the database's clock reaches ``at``; by others, if this process
        cannot send (``to_send``) or handle what waits there."""
        if not self._roles.can(lane, to_send=to_send):
            self._wake_others(lane, to_send=to_send)
        elif at is None:
            self._engine.wake(lane, to_send=to_send)
        else:
            with self._bell:
                heapq.heappush(self._timers, (at, lane, to_send))
                self._bell.notify()

    def _shared_duties(self) -> dict[str, SharedDuty]:
        """A sweep for each queue of wakes, done by one of those who take from it; the purge, and the statistics."""
        sweeps = {
            f"sweep.{queue}": SharedDuty(SWEEP, partial(self._sweep, roles), queue)
            for queue, roles in self._roles.queues()
        }
        once = {"purge": SharedDuty(PURGE, self._purge), "statistics": SharedDuty(STATISTICS, self._statistics)}
        return {**sweeps, **once}

    def stop(self, timeout: float) -> None:
        """End: nothing new begins, what runs gets ``timeout`` seconds, leases are given up."""
        self._stopping.set()
        with self._bell:
            self._bell.notify()
        if not self._engine.stop(timeout):
            log.warning("stopped while handlers still ran; their messages are handled again by whoever starts next")
        if self._keeper.ident is not None:  # it never started where the database was away
            self._keeper.join(5)
        for thread in (thread for threads in self._house for thread in threads):
            thread.join(5)
        self._hints.close()
        try:
            self._process.leave()
        except StoreBusy:
            log.warning("could not give up leases; they run out by themselves")

    def checks(self) -> list[Check]:
        """Whether this process does its work."""
        if not self._engine.needs_keeper:
            return self._engine.checks()
        keeper = Check(
            "keeper",
            self._keeper.is_alive(),
            "the thread that renews leases" + ("" if self._keeper.is_alive() else " has died; restart"),
        )
        return [*self._engine.checks(), keeper]

    def _keep_time(self) -> None:
        duties = [
            Duty(HEARTBEAT, self._process.beat, at=time.monotonic() + HEARTBEAT),
            Duty(SWEEP, self._give_up_overdue),
            Duty(SWEEP, self._give_back_lost),
            Duty(REFRESH, self._in_background(self._refresh)),
        ]
        if not self._engine.schedules:
            duties.append(Duty(SWEEP, partial(self._sweep, self._roles)))
            duties.append(Duty(PURGE, self._in_background(self._purge)))
            duties.append(Duty(STATISTICS, self._in_background(self._statistics)))
        while not self._stopping.is_set():
            for duty in duties:
                duty.do_if_due()
            self._ring_timers()
            self._sleep(min(duty.at for duty in duties))

    def _sleep(self, until: float) -> None:
        with self._bell:
            if self._stopping.is_set():
                return
            seconds = until - time.monotonic()
            if self._timers:
                seconds = min(seconds, self._timers[0][0] - self._database.clock())
            if seconds > 0:
                self._bell.wait(seconds)

    def _ring_timers(self) -> None:
        now = self._database.clock()
        with self._bell:
            while self._timers and self._timers[0][0] <= now:
                _, lane, to_send = heapq.heappop(self._timers)
                self._engine.wake(lane, to_send=to_send)

    def _sweep(self, roles: Roles) -> None:
        """Wake what was forgotten among that which ``roles`` are for."""
        self._bury_dead_siblings()
        with self._database.read() as connection:
            lanes = self._store.leases.forgotten(
                connection, roles.bots, roles.both, only_handled=roles.only_handled, only_sent=roles.only_sent
            )
        for lane in lanes:
            self._engine.wake(lane, to_send=not roles.handled)

    def _bury_dead_siblings(self) -> None:
        """End the leases of processes of this machine that nobody can be reached at: they need not run out."""
        with self._database.read() as connection:
            query = sa.select(processes.c.address).where(
                processes.c.token != self._process.token, processes.c.address != ""
            )
            others = list(connection.execute(query).scalars())
        gone = self._hints.tell(others, "") if others else []
        if gone:
            log.warning("ended the leases of %d processes that have died", len(gone))
            with self._database.write(durable=False) as connection:
                connection.execute(sa.delete(processes).where(processes.c.address.in_(gone)))

    def _in_background(self, work: Callable[[], object]) -> Callable[[], None]:
        """``work`` in a thread of its own, unless it still runs from its last time."""
        running: list[threading.Thread] = []
        self._house.append(running)

        def begin() -> None:
            if not running or not running[0].is_alive():
                running[:] = [threading.Thread(target=_logged(work), name="cometbot-house", daemon=True)]
                running[0].start()

        return begin

    def _give_up_overdue(self) -> None:
        overdue = self._equipment.running.take_overdue()
        while overdue:
            try:
                is_given_up = abandon(self._equipment, overdue[0])
            except BaseException:  # such as a database that is away, for all of them
                for run in overdue[1:] + overdue[:1]:
                    self._equipment.running.put_back(run)
                raise
            run = overdue.pop(0)
            if is_given_up:
                self._engine.replace(run.thread)

    def _give_back_lost(self) -> None:
        for lane in self._process.give_back_lost(self._store.leases):
            self._engine.wake(lane)

    def _refresh(self) -> None:
        for channel in self._equipment.channels.values():
            channel.refresh()


class Duty:
    """Something to be done every ``seconds`` or so, by ``clock``."""

    def __init__(
        self,
        seconds: float,
        work: Callable[[], object],
        at: float = 0.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = seconds
        self.at = at
        self._work = work
        self._clock = clock

    def do_if_due(self) -> None:
        """Do it if its time has come; a failure is logged, and its next time comes."""
        if self._clock() < self.at:
            return
        self.at = self._clock() + self.seconds * random.uniform(0.9, 1.1)
        _logged(self._work)()


def _logged(work: Callable[[], object]) -> Callable[[], None]:
    def do() -> None:
        try:
            work()
        except StoreUnavailable as error:
            log.debug("skipped a periodic task: %s", error)  # the database has logged what to repair
        except BaseException:  # of a thread of its own, where it would end that and nothing else
            log.exception("a regular duty failed; it is done again at its next time")

    return do
