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
from cometbot.store import group_commit as group_commit_module
from cometbot.store.group_commit import GroupCommit


class Transactions:
    """A database that keeps what is added in transactions that are committed; each can be held up before its end."""

    def __init__(self) -> None:
        self.committed: list[list[Any]] = []
        self.on_disk: list[int] = []
        self.broken = ""
        self.held = threading.Event()
        self.resume = threading.Event()
        self.resume.set()
        self.busy: list[str] = []

    @contextmanager
    def begin(self, deadline: float) -> Iterator[Any]:
        if self.busy:
            raise StoreBusy(self.busy.pop())
        rows: list[Any] = []
        yield rows
        self.held.set()
        assert self.resume.wait(60)
        self.committed.append(rows)

    def sync(self) -> None:
        if self.broken:
            raise StoreBusy(self.broken)
        self.on_disk.append(len(self.committed))


@pytest.fixture
def transactions() -> Transactions:
    return Transactions()


@pytest.fixture
def group_commit(transactions: Transactions) -> GroupCommit:
    return GroupCommit(transactions.begin, transactions.sync)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def deadline_in(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


def adding(value: Any) -> Callable[[Any], Any]:
    def add(rows: Any) -> Any:
        rows.append(value)
        return value

    return add


class Queue:
    """Works that come in, one after the other, while the first transaction is on its way to the disk."""

    def __init__(self, transactions: Transactions, group_commit: GroupCommit, pool: ThreadPoolExecutor) -> None:
        self._transactions = transactions
        self._group_commit = group_commit
        self._pool = pool
        transactions.resume.clear()
        self.first = self._submit(adding("first"), True, deadline_in())
        assert transactions.held.wait(60)

    def add(self, work: Callable[[Any], Any], durable: bool = True, seconds: float = 10.0) -> Future[Any]:
        before = len(self._group_commit._pending)
        future = self._submit(work, durable, deadline_in(seconds))
        end = deadline_in()
        while len(self._group_commit._pending) == before:
            assert time.monotonic() < end
            time.sleep(0.001)
        return future

    def add_at_once(self, work: Callable[[Any], Any]) -> Any:
        return self._submit(work, True, deadline_in()).result(60)

    def _submit(self, work: Callable[[Any], Any], durable: bool, deadline: float) -> Future[Any]:
        return self._pool.submit(self._group_commit.run, work, durable=durable, deadline=deadline)

    def resume(self) -> None:
        self._transactions.resume.set()


@pytest.fixture
def queue(transactions: Transactions, group_commit: GroupCommit, pool: ThreadPoolExecutor) -> Iterator[Queue]:
    queue = Queue(transactions, group_commit, pool)
    yield queue
    queue.resume()


def test_a_single_thread_gets_a_transaction_for_each_work(
    transactions: Transactions, group_commit: GroupCommit
) -> None:
    assert [group_commit.run(adding(value), durable=True, deadline=deadline_in()) for value in (1, 2)] == [1, 2]
    assert transactions.committed == [[1], [2]]


def test_writes_during_a_commit_share_the_next_one(transactions: Transactions, queue: Queue) -> None:
    waiting = [queue.add(adding(value)) for value in range(5)]
    queue.resume()
    assert queue.first.result(60) == "first"
    assert [future.result(60) for future in waiting] == [0, 1, 2, 3, 4]
    assert transactions.committed == [["first"], [0, 1, 2, 3, 4]]


def test_nobody_goes_on_before_the_commit(transactions: Transactions, queue: Queue) -> None:
    waiting = queue.add(adding("second"))
    transactions.held.clear()
    assert not queue.first.done()
    assert not waiting.done()
    queue.resume()
    waiting.result(60)
    assert transactions.committed[-1] == ["second"]


def test_failed_write_fails_alone(transactions: Transactions, queue: Queue) -> None:
    def lose(rows: Any) -> None:
        rows.append("lost")
        raise LeaseLost

    good, bad, other = queue.add(adding("good")), queue.add(lose), queue.add(adding("other"))
    queue.resume()
    assert (good.result(60), other.result(10)) == ("good", "other")
    with pytest.raises(LeaseLost):
        bad.result(60)
    assert transactions.committed == [["first"], ["good"], ["other"]]


def test_after_a_failure_others_can_still_write(transactions: Transactions, group_commit: GroupCommit) -> None:
    def fail(rows: Any) -> None:
        raise LeaseLost

    with pytest.raises(LeaseLost):
        group_commit.run(fail, durable=True, deadline=deadline_in())
    assert group_commit.run(adding(1), durable=True, deadline=deadline_in()) == 1


def test_failed_begin_fails_only_the_leader(transactions: Transactions, queue: Queue) -> None:
    leading, following = queue.add(adding("leading")), queue.add(adding("following"))
    transactions.busy = ["others write"]
    queue.resume()
    with pytest.raises(StoreBusy, match="others write"):
        leading.result(60)
    assert following.result(60) == "following"
    assert transactions.committed == [["first"], ["following"]]


def test_failed_commit_fails_all_with_own_errors(transactions: Transactions, queue: Queue) -> None:
    def refuse(rows: Any) -> None:
        raise StoreBusy("the disk is full")

    waiting = [queue.add(adding(1)), queue.add(refuse), queue.add(adding(2))]
    queue.resume()
    errors = [future.exception(10) for future in waiting]
    assert [str(error) for error in errors] == ["the disk is full"] * 3
    assert len({id(error) for error in errors}) == 3
    assert transactions.committed == [["first"]]


def test_timed_out_write_stores_nothing(transactions: Transactions, queue: Queue) -> None:
    late = queue.add(adding("late"), seconds=0.05)
    with pytest.raises(StoreBusy):
        late.result(60)
    patient = queue.add(adding("patient"))
    queue.resume()
    assert patient.result(60) == "patient"
    assert transactions.committed == [["first"], ["patient"]]


def test_durable_write_returns_after_its_sync(transactions: Transactions, group_commit: GroupCommit) -> None:
    group_commit.run(adding("a"), durable=True, deadline=deadline_in())
    assert transactions.on_disk == [1]


def test_what_is_relaxed_waits_for_no_sync(transactions: Transactions, group_commit: GroupCommit) -> None:
    group_commit.run(adding("a"), durable=False, deadline=deadline_in())
    assert transactions.committed == [["a"]]
    assert transactions.on_disk == []


def test_one_sync_serves_a_whole_batch(transactions: Transactions, queue: Queue) -> None:
    waiting = [queue.add(adding("a")), queue.add(adding("b"), durable=False), queue.add(adding("c"))]
    queue.resume()
    assert [future.result(60) for future in waiting] == ["a", "b", "c"]
    assert transactions.committed == [["first"], ["a", "b", "c"]]
    assert len(transactions.on_disk) == 2


def test_writes_during_a_sync_share_the_next_commit(transactions: Transactions, pool: ThreadPoolExecutor) -> None:
    syncing, resume = threading.Event(), threading.Event()

    def slow() -> None:
        syncing.set()
        assert resume.wait(60)

    group_commit = GroupCommit(transactions.begin, slow)
    first = pool.submit(group_commit.run, adding("first"), durable=True, deadline=deadline_in())
    assert syncing.wait(60)
    later = [pool.submit(group_commit.run, adding(name), durable=False, deadline=deadline_in(60)) for name in "ab"]
    end = time.monotonic() + 60
    while len(group_commit._pending) < 2 and time.monotonic() < end:
        time.sleep(0.005)
    assert not any(future.done() for future in (first, *later))
    resume.set()
    assert {future.result(60) for future in (first, *later)} == {"first", "a", "b"}
    assert [sorted(each) for each in transactions.committed] == [["first"], ["a", "b"]]


@pytest.fixture
def previous_batch_of_three(queue: Queue, group_commit: GroupCommit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three works have just shared a transaction, and the next leader is patient."""
    waiting = [queue.add(adding(name)) for name in "xyz"]
    queue.resume()
    assert [future.result(60) for future in waiting] == ["x", "y", "z"]
    monkeypatch.setattr(group_commit_module, "MAX_COMMIT_DELAY", 600.0)


@pytest.mark.usefixtures("previous_batch_of_three")
def test_next_batch_waits_for_as_many_writes(
    transactions: Transactions, group_commit: GroupCommit, pool: ThreadPoolExecutor
) -> None:
    futures = []
    for count, name in enumerate("abc", start=1):
        assert len(transactions.committed) == 2
        futures.append(pool.submit(group_commit.run, adding(name), durable=True, deadline=deadline_in(60)))
        if count < 3:
            wait_for_pending(group_commit, count)
    assert [future.result(60) for future in futures] == ["a", "b", "c"]
    assert transactions.committed[2:] == [["a", "b", "c"]]


@pytest.mark.usefixtures("previous_batch_of_three")
def test_incomplete_batch_commits_after_the_delay(
    transactions: Transactions, group_commit: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit_module, "MAX_COMMIT_DELAY", 0.01)
    assert group_commit.run(adding("a"), durable=True, deadline=deadline_in(60)) == "a"
    monkeypatch.setattr(group_commit_module, "MAX_COMMIT_DELAY", 600.0)
    assert group_commit.run(adding("b"), durable=True, deadline=deadline_in(60)) == "b"
    assert transactions.committed[2:] == [["a"], ["b"]]


@pytest.mark.usefixtures("previous_batch_of_three")
def test_relaxed_write_does_not_wait_for_a_batch(transactions: Transactions, group_commit: GroupCommit) -> None:
    assert group_commit.run(adding("a"), durable=False, deadline=deadline_in(60)) == "a"
    assert transactions.committed[2:] == [["a"]]


class SlowDisk:
    """Syncs that each wait until they are let go."""

    def __init__(self) -> None:
        self.started_syncs = threading.Semaphore(0)
        self.allowed = threading.Semaphore(0)

    def sync(self) -> None:
        self.started_syncs.release()
        assert self.allowed.acquire(timeout=60)


def wait_for_pending(group_commit: GroupCommit, count: int) -> None:
    end = time.monotonic() + 60
    while len(group_commit._pending) != count:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_timeout_during_a_sync_blocks_nobody(transactions: Transactions, pool: ThreadPoolExecutor) -> None:
    disk = SlowDisk()
    group_commit = GroupCommit(transactions.begin, disk.sync)
    futures = [pool.submit(group_commit.run, adding("first"), durable=True, deadline=deadline_in(60))]
    assert disk.started_syncs.acquire(timeout=60)
    for number, seconds in enumerate((60, 0.5, 60, 60)):
        futures.append(pool.submit(group_commit.run, adding(number), durable=True, deadline=deadline_in(seconds)))
        wait_for_pending(group_commit, number + 1)
    disk.allowed.release()
    assert disk.started_syncs.acquire(timeout=60)
    with pytest.raises(StoreBusy):
        futures.pop(2).result(60)
    disk.allowed.release()
    assert [future.result(60) for future in futures] == ["first", 0, 2, 3]


@pytest.fixture
def interrupts() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, which a shell that started this in the background may have switched off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
@pytest.mark.parametrize("is_shared", [True, False])
def test_interrupted_thread_blocks_nobody(
    transactions: Transactions, pool: ThreadPoolExecutor, is_shared: bool
) -> None:
    """Ctrl-C while the main thread waits, with its work taken up by another thread already or not."""

    def run(name: str) -> Future[Any]:
        return pool.submit(group_commit.run, adding(name), durable=True, deadline=deadline_in(60))

    def interrupt() -> None:
        wait_for_pending(group_commit, 2)
        others.append(run("behind"))
        wait_for_pending(group_commit, 3)
        if is_shared:
            disk.allowed.release()
            assert disk.started_syncs.acquire(timeout=60)
        main = threading.main_thread().ident or 0
        while sys._current_frames()[main].f_code.co_name != "_wait":
            time.sleep(0.001)
        signal.pthread_kill(main, signal.SIGINT)

    disk = SlowDisk()
    group_commit = GroupCommit(transactions.begin, disk.sync)
    others = [run("first")]
    assert disk.started_syncs.acquire(timeout=60)
    others.append(run("before"))
    wait_for_pending(group_commit, 1)
    interrupting = pool.submit(interrupt)
    with pytest.raises(KeyboardInterrupt):
        group_commit.run(adding("mine"), durable=True, deadline=deadline_in(60))
    interrupting.result(60)
    for _ in range(2):
        disk.allowed.release()
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


@pytest.mark.parametrize("is_leader", [True, False])
def test_thread_interrupted_at_its_wakeup_wakes_the_next(
    transactions: Transactions, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, is_leader: bool
) -> None:
    def run(name: str, count: int) -> Future[Any]:
        future = pool.submit(group_commit.run, adding(name), durable=True, deadline=deadline_in(60))
        wait_for_pending(group_commit, count)
        return future

    class Work(group_commit_module._QueuedWrite):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.wakeup = Interrupted(self.wakeup)  # type: ignore[assignment]

    disk = SlowDisk()
    group_commit = GroupCommit(transactions.begin, disk.sync)
    first = run("first", 0)
    assert disk.started_syncs.acquire(timeout=60)
    before = [] if is_leader else [run("before", 1)]
    with monkeypatch.context() as patch:
        patch.setattr(group_commit_module, "_QueuedWrite", Work)
        interrupted = run("interrupted", len(before) + 1)
    behind = run("behind", len(before) + 2)
    disk.allowed.release(2)
    with pytest.raises(KeyboardInterrupt):
        interrupted.result(60)
    disk.allowed.release(2)
    assert [future.result(30) for future in (first, *before, behind)] == [
        "first",
        *(["before"] if before else []),
        "behind",
    ]


@pytest.mark.usefixtures("previous_batch_of_three")
def test_leader_interrupted_at_batch_end_wakes_others(
    group_commit: GroupCommit, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def be_quick() -> None:
        monkeypatch.setattr(group_commit_module, "MAX_COMMIT_DELAY", 0.01)

    group_commit._batch_complete = Interrupted(group_commit._batch_complete, first=be_quick)  # type: ignore[assignment]
    futures = []
    for count, name in enumerate("abc", start=1):
        futures.append(pool.submit(group_commit.run, adding(name), durable=True, deadline=deadline_in(60)))
        if count < 3:
            wait_for_pending(group_commit, count)
    with pytest.raises(KeyboardInterrupt):
        futures[0].result(60)
    assert [future.result(60) for future in futures[1:]] == ["b", "c"]


def test_what_is_stored_when_the_time_is_up_counts_as_stored(
    transactions: Transactions, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where those before have not come to wake it yet."""
    disk = SlowDisk()
    group_commit = GroupCommit(transactions.begin, disk.sync)
    monkeypatch.setattr(group_commit, "_wake_next", lambda work: None)
    pool.submit(group_commit.run, adding("first"), durable=True, deadline=deadline_in(60))
    assert disk.started_syncs.acquire(timeout=60)
    leading = pool.submit(group_commit.run, adding("leading"), durable=True, deadline=deadline_in(60))
    wait_for_pending(group_commit, 1)
    late = pool.submit(group_commit.run, adding("late"), durable=True, deadline=deadline_in(2))
    wait_for_pending(group_commit, 2)
    disk.allowed.release(2)
    assert leading.result(60) == "leading"
    assert late.result(60) == "late"


def test_a_sync_that_fails_fails_only_what_had_to_be_durable(transactions: Transactions, queue: Queue) -> None:
    durable, relaxed = queue.add(adding("a")), queue.add(adding("b"), durable=False)
    transactions.broken = "the disk does not answer"
    queue.resume()
    with pytest.raises(StoreBusy, match="does not answer"):
        durable.result(60)
    assert relaxed.result(60) == "b"
    transactions.broken = ""
    assert queue.add_at_once(adding("c")) == "c"


def test_under_many_threads_every_work_is_committed_once(
    transactions: Transactions, group_commit: GroupCommit, pool: ThreadPoolExecutor
) -> None:
    futures = [
        pool.submit(group_commit.run, adding(value), durable=True, deadline=deadline_in()) for value in range(2000)
    ]
    assert [future.result(60) for future in futures] == list(range(2000))
    assert sorted(value for rows in transactions.committed for value in rows) == list(range(2000))
