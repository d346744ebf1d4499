"""Several threads' writes in one transaction."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from cometbot.errors import LeaseLost, StoreBusy
from cometbot.store import together as together_module
from cometbot.store.together import Together


class Transactions:
    """A database that keeps what is added in transactions that are committed; each can be held up before its end."""

    def __init__(self) -> None:
        self.committed: list[list[Any]] = []
        self.on_disk: list[int] = []
        self.broken = ""
        self.held = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.busy: list[str] = []

    @contextmanager
    def begin(self, ends_at: float) -> Iterator[Any]:
        if self.busy:
            raise StoreBusy(self.busy.pop())
        rows: list[Any] = []
        yield rows
        self.held.set()
        assert self.go_on.wait(60)
        self.committed.append(rows)

    def sync(self) -> None:
        if self.broken:
            raise StoreBusy(self.broken)
        self.on_disk.append(len(self.committed))


@pytest.fixture
def transactions() -> Transactions:
    return Transactions()


@pytest.fixture
def together(transactions: Transactions) -> Together:
    return Together(transactions.begin, transactions.sync)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


def adding(value: Any) -> Callable[[Any], Any]:
    def add(rows: Any) -> Any:
        rows.append(value)
        return value

    return add


class Queue:
    """Works that come in, one after the other, while the first transaction is on its way to the disk."""

    def __init__(self, transactions: Transactions, together: Together, pool: ThreadPoolExecutor) -> None:
        self._transactions = transactions
        self._together = together
        self._pool = pool
        transactions.go_on.clear()
        self.first = self._submit(adding("first"), True, soon())
        assert transactions.held.wait(60)

    def add(self, work: Callable[[Any], Any], durable: bool = True, seconds: float = 10.0) -> Future[Any]:
        before = len(self._together._waiting)
        future = self._submit(work, durable, soon(seconds))
        end = soon()
        while len(self._together._waiting) == before:
            assert time.monotonic() < end
            time.sleep(0.001)
        return future

    def add_at_once(self, work: Callable[[Any], Any]) -> Any:
        return self._submit(work, True, soon()).result(60)

    def _submit(self, work: Callable[[Any], Any], durable: bool, ends_at: float) -> Future[Any]:
        return self._pool.submit(self._together.do, work, durable=durable, ends_at=ends_at)

    def go_on(self) -> None:
        self._transactions.go_on.set()


@pytest.fixture
def queue(transactions: Transactions, together: Together, pool: ThreadPoolExecutor) -> Iterator[Queue]:
    queue = Queue(transactions, together, pool)
    yield queue
    queue.go_on()


def test_a_single_thread_gets_a_transaction_for_each_work(transactions: Transactions, together: Together) -> None:
    assert [together.do(adding(value), durable=True, ends_at=soon()) for value in (1, 2)] == [1, 2]
    assert transactions.committed == [[1], [2]]


def test_who_comes_while_a_transaction_ends_shares_the_next_one_in_order(
    transactions: Transactions, queue: Queue
) -> None:
    waiting = [queue.add(adding(value)) for value in range(5)]
    queue.go_on()
    assert queue.first.result(60) == "first"
    assert [future.result(60) for future in waiting] == [0, 1, 2, 3, 4]
    assert transactions.committed == [["first"], [0, 1, 2, 3, 4]]


def test_nobody_goes_on_before_the_commit(transactions: Transactions, queue: Queue) -> None:
    waiting = queue.add(adding("second"))
    transactions.held.clear()
    assert not queue.first.done()
    assert not waiting.done()
    queue.go_on()
    waiting.result(60)
    assert transactions.committed[-1] == ["second"]


def test_a_work_that_raises_fails_alone_and_the_others_are_done_without_it(
    transactions: Transactions, queue: Queue
) -> None:
    def lose(rows: Any) -> None:
        rows.append("lost")
        raise LeaseLost

    good, bad, other = queue.add(adding("good")), queue.add(lose), queue.add(adding("other"))
    queue.go_on()
    assert (good.result(60), other.result(10)) == ("good", "other")
    with pytest.raises(LeaseLost):
        bad.result(60)
    assert transactions.committed == [["first"], ["good"], ["other"]]


def test_after_a_failure_others_can_still_write(transactions: Transactions, together: Together) -> None:
    def fail(rows: Any) -> None:
        raise LeaseLost

    with pytest.raises(LeaseLost):
        together.do(fail, durable=True, ends_at=soon())
    assert together.do(adding(1), durable=True, ends_at=soon()) == 1


def test_a_transaction_that_cannot_begin_fails_only_who_would_have_led_it(
    transactions: Transactions, queue: Queue
) -> None:
    leading, following = queue.add(adding("leading")), queue.add(adding("following"))
    transactions.busy = ["others write"]
    queue.go_on()
    with pytest.raises(StoreBusy, match="others write"):
        leading.result(60)
    assert following.result(60) == "following"
    assert transactions.committed == [["first"], ["following"]]


def test_a_commit_that_the_database_refuses_fails_for_all_with_an_error_each(
    transactions: Transactions, queue: Queue
) -> None:
    def refuse(rows: Any) -> None:
        raise StoreBusy("the disk is full")

    waiting = [queue.add(adding(1)), queue.add(refuse), queue.add(adding(2))]
    queue.go_on()
    errors = [future.exception(10) for future in waiting]
    assert [str(error) for error in errors] == ["the disk is full"] * 3
    assert len({id(error) for error in errors}) == 3
    assert transactions.committed == [["first"]]


def test_who_waits_longer_than_allowed_gives_up_and_nothing_of_it_is_stored(
    transactions: Transactions, queue: Queue
) -> None:
    late = queue.add(adding("late"), seconds=0.05)
    with pytest.raises(StoreBusy):
        late.result(60)
    patient = queue.add(adding("patient"))
    queue.go_on()
    assert patient.result(60) == "patient"
    assert transactions.committed == [["first"], ["patient"]]


def test_what_is_durable_goes_on_when_a_sync_has_followed_its_commit(
    transactions: Transactions, together: Together
) -> None:
    together.do(adding("a"), durable=True, ends_at=soon())
    assert transactions.on_disk == [1]


def test_what_is_relaxed_waits_for_no_sync(transactions: Transactions, together: Together) -> None:
    together.do(adding("a"), durable=False, ends_at=soon())
    assert transactions.committed == [["a"]]
    assert transactions.on_disk == []


def test_one_sync_serves_all_who_shared_a_transaction(transactions: Transactions, queue: Queue) -> None:
    waiting = [queue.add(adding("a")), queue.add(adding("b"), durable=False), queue.add(adding("c"))]
    queue.go_on()
    assert [future.result(60) for future in waiting] == ["a", "b", "c"]
    assert transactions.committed == [["first"], ["a", "b", "c"]]
    assert len(transactions.on_disk) == 2


def test_who_comes_while_a_sync_is_under_way_shares_the_next_transaction(
    transactions: Transactions, pool: ThreadPoolExecutor
) -> None:
    syncing, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        syncing.set()
        assert go_on.wait(60)

    together = Together(transactions.begin, slow)
    first = pool.submit(together.do, adding("first"), durable=True, ends_at=soon())
    assert syncing.wait(60)
    later = [pool.submit(together.do, adding(name), durable=False, ends_at=soon(60)) for name in "ab"]
    end = time.monotonic() + 60
    while len(together._waiting) < 2 and time.monotonic() < end:
        time.sleep(0.005)
    assert not any(future.done() for future in (first, *later))
    go_on.set()
    assert {future.result(60) for future in (first, *later)} == {"first", "a", "b"}
    assert [sorted(each) for each in transactions.committed] == [["first"], ["a", "b"]]


@pytest.fixture
def crowd(queue: Queue, together: Together, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three works have just shared a transaction, and the next leader is patient."""
    waiting = [queue.add(adding(name)) for name in "xyz"]
    queue.go_on()
    assert [future.result(60) for future in waiting] == ["x", "y", "z"]
    monkeypatch.setattr(together_module, "GATHER", 600.0)


@pytest.mark.usefixtures("crowd")
def test_after_a_shared_transaction_the_next_one_waits_for_as_many(
    transactions: Transactions, together: Together, pool: ThreadPoolExecutor
) -> None:
    futures = []
    for count, name in enumerate("abc", start=1):
        assert len(transactions.committed) == 2
        futures.append(pool.submit(together.do, adding(name), durable=True, ends_at=soon(60)))
        if count < 3:
            wait_for_waiting(together, count)
    assert [future.result(60) for future in futures] == ["a", "b", "c"]
    assert transactions.committed[2:] == [["a", "b", "c"]]


@pytest.mark.usefixtures("crowd")
def test_who_waits_for_others_in_vain_goes_on_alone_and_the_next_one_at_once(
    transactions: Transactions, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together_module, "GATHER", 0.01)
    assert together.do(adding("a"), durable=True, ends_at=soon(60)) == "a"
    monkeypatch.setattr(together_module, "GATHER", 600.0)
    assert together.do(adding("b"), durable=True, ends_at=soon(60)) == "b"
    assert transactions.committed[2:] == [["a"], ["b"]]


@pytest.mark.usefixtures("crowd")
def test_what_is_relaxed_waits_for_nobody(transactions: Transactions, together: Together) -> None:
    assert together.do(adding("a"), durable=False, ends_at=soon(60)) == "a"
    assert transactions.committed[2:] == [["a"]]


class SlowDisk:
    """Syncs that each wait until they are let go."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)

    def sync(self) -> None:
        self.begun.release()
        assert self.let_go.acquire(timeout=60)


def wait_for_waiting(together: Together, count: int) -> None:
    end = time.monotonic() + 60
    while len(together._waiting) != count:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_who_gives_up_when_all_but_the_sync_is_done_holds_up_nobody_who_shared_the_transaction(
    transactions: Transactions, pool: ThreadPoolExecutor
) -> None:
    disk = SlowDisk()
    together = Together(transactions.begin, disk.sync)
    futures = [pool.submit(together.do, adding("first"), durable=True, ends_at=soon(60))]
    assert disk.begun.acquire(timeout=60)
    for number, seconds in enumerate((60, 0.5, 60, 60)):
        futures.append(pool.submit(together.do, adding(number), durable=True, ends_at=soon(seconds)))
        wait_for_waiting(together, number + 1)
    disk.let_go.release()
    assert disk.begun.acquire(timeout=60)
    with pytest.raises(StoreBusy):
        futures.pop(2).result(60)
    disk.let_go.release()
    assert [future.result(60) for future in futures] == ["first", 0, 2, 3]


@pytest.fixture
def interrupts() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, which a shell that started this in the background may have switched off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
@pytest.mark.parametrize("is_shared", [True, False])
def test_an_interrupted_thread_holds_up_nobody(
    transactions: Transactions, pool: ThreadPoolExecutor, is_shared: bool
) -> None:
    """Ctrl-C while the main thread waits, with its work taken up by another thread already or not."""

    def do(name: str) -> Future[Any]:
        return pool.submit(together.do, adding(name), durable=True, ends_at=soon(60))

    def interrupt() -> None:
        wait_for_waiting(together, 2)
        others.append(do("behind"))
        wait_for_waiting(together, 3)
        if is_shared:
            disk.let_go.release()
            assert disk.begun.acquire(timeout=60)
        main = threading.main_thread().ident or 0
        while sys._current_frames()[main].f_code.co_name != "_wait":
            time.sleep(0.001)
        signal.pthread_kill(main, signal.SIGINT)

    disk = SlowDisk()
    together = Together(transactions.begin, disk.sync)
    others = [do("first")]
    assert disk.begun.acquire(timeout=60)
    others.append(do("before"))
    wait_for_waiting(together, 1)
    interrupting = pool.submit(interrupt)
    with pytest.raises(KeyboardInterrupt):
        together.do(adding("mine"), durable=True, ends_at=soon(60))
    interrupting.result(60)
    for _ in range(2):
        disk.let_go.release()
    assert [other.result(60) for other in others] == ["first", "before", "behind"]


class Interrupted:
    """A lock whose taker is interrupted in the moment in which it gets it."""

    def __init__(self, lock: Any, first: Callable[[], object] = str) -> None:
        self._lock = lock
        self._first = first
        self.release = lock.release

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._lock.acquire(blocking, timeout) and blocking:
            self._first()
            raise KeyboardInterrupt
        return False


@pytest.mark.parametrize("leads", [True, False])
def test_a_thread_that_is_interrupted_when_its_turn_comes_lets_the_others_go_on(
    transactions: Transactions, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, leads: bool
) -> None:
    def do(name: str, count: int) -> Future[Any]:
        future = pool.submit(together.do, adding(name), durable=True, ends_at=soon(60))
        wait_for_waiting(together, count)
        return future

    class Work(together_module._Work):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.turn = Interrupted(self.turn)  # type: ignore[assignment]

    disk = SlowDisk()
    together = Together(transactions.begin, disk.sync)
    first = do("first", 0)
    assert disk.begun.acquire(timeout=60)
    before = [] if leads else [do("before", 1)]
    with monkeypatch.context() as patch:
        patch.setattr(together_module, "_Work", Work)
        interrupted = do("interrupted", len(before) + 1)
    behind = do("behind", len(before) + 2)
    disk.let_go.release(2)
    with pytest.raises(KeyboardInterrupt):
        interrupted.result(60)
    disk.let_go.release(2)
    assert [future.result(30) for future in (first, *before, behind)] == [
        "first",
        *(["before"] if before else []),
        "behind",
    ]


@pytest.mark.usefixtures("crowd")
def test_a_thread_that_is_interrupted_when_the_last_one_has_come_lets_the_others_go_on(
    together: Together, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def be_quick() -> None:
        monkeypatch.setattr(together_module, "GATHER", 0.01)

    together._gathered = Interrupted(together._gathered, first=be_quick)  # type: ignore[assignment]
    futures = []
    for count, name in enumerate("abc", start=1):
        futures.append(pool.submit(together.do, adding(name), durable=True, ends_at=soon(60)))
        if count < 3:
            wait_for_waiting(together, count)
    with pytest.raises(KeyboardInterrupt):
        futures[0].result(60)
    assert [future.result(60) for future in futures[1:]] == ["b", "c"]


def test_what_is_stored_when_the_time_is_up_counts_as_stored(
    transactions: Transactions, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where those before have not come to wake it yet."""
    disk = SlowDisk()
    together = Together(transactions.begin, disk.sync)
    monkeypatch.setattr(together, "_pass_on", lambda work: None)
    pool.submit(together.do, adding("first"), durable=True, ends_at=soon(60))
    assert disk.begun.acquire(timeout=60)
    leading = pool.submit(together.do, adding("leading"), durable=True, ends_at=soon(60))
    wait_for_waiting(together, 1)
    late = pool.submit(together.do, adding("late"), durable=True, ends_at=soon(2))
    wait_for_waiting(together, 2)
    disk.let_go.release(2)
    assert leading.result(60) == "leading"
    assert late.result(60) == "late"


def test_a_sync_that_fails_fails_only_what_had_to_be_durable(transactions: Transactions, queue: Queue) -> None:
    durable, relaxed = queue.add(adding("a")), queue.add(adding("b"), durable=False)
    transactions.broken = "the disk does not answer"
    queue.go_on()
    with pytest.raises(StoreBusy, match="does not answer"):
        durable.result(60)
    assert relaxed.result(60) == "b"
    transactions.broken = ""
    assert queue.add_at_once(adding("c")) == "c"


def test_under_many_threads_every_work_is_committed_once(
    transactions: Transactions, together: Together, pool: ThreadPoolExecutor
) -> None:
    futures = [pool.submit(together.do, adding(value), durable=True, ends_at=soon()) for value in range(2000)]
    assert [future.result(60) for future in futures] == list(range(2000))
    assert sorted(value for rows in transactions.committed for value in rows) == list(range(2000))
