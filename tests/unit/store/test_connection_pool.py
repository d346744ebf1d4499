"""The pool of connections: how many there are, who goes first, and what becomes of broken and idle ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from cometbot.errors import StoreBusy
from cometbot.store.connection_pool import ConnectionPool

TIMEOUT = 60.0
"""Seconds after which a test gives up."""


class Server:
    """Connections are numbers; it counts the open ones and may refuse or break them."""

    def __init__(self) -> None:
        self.made = 0
        self.open: set[int] = set()
        self.broken: set[int] = set()
        self.refuses = False

    def connect(self) -> int:
        if self.refuses:
            raise OSError("refused")
        self.made += 1
        self.open.add(self.made)
        return self.made

    def close(self, connection: int) -> None:
        self.open.remove(connection)

    def is_alive(self, connection: int, idle: float) -> bool:
        return connection not in self.broken


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def make(server: Server) -> Iterator[Callable[..., ConnectionPool[int]]]:
    made: list[ConnectionPool[int]] = []

    def make(size: int = 3, reserved: int = 1, **more: object) -> ConnectionPool[int]:
        made.append(
            ConnectionPool(server.connect, server.close, server.is_alive, size=size, reserved=reserved, **more)  # type: ignore[arg-type]
        )
        return made[-1]

    yield make
    for pool in made:
        pool.close()


Make = Callable[..., ConnectionPool[int]]


def test_released_connection_is_used_again(make: Make, server: Server) -> None:
    pool = make()
    for _ in range(5):
        pool.release(pool.acquire(timeout=0))
    assert server.made == 1


def test_ordinary_work_leaves_the_reserved_place(make: Make) -> None:
    pool = make(size=3, reserved=1)
    taken = [pool.acquire(timeout=0) for _ in range(2)]
    with pytest.raises(StoreBusy, match="all 3 database connections are in use"):
        pool.acquire(timeout=0)
    taken.append(pool.acquire(is_urgent=True, timeout=0))
    assert len(set(taken)) == 3


def test_urgent_work_may_use_all_places(make: Make) -> None:
    pool = make(size=3, reserved=1)
    assert len({pool.acquire(is_urgent=True, timeout=0) for _ in range(3)}) == 3
    with pytest.raises(StoreBusy):
        pool.acquire(is_urgent=True, timeout=0)


def test_urgent_work_that_waits_goes_first(make: Make, server: Server) -> None:
    pool = make(size=1, reserved=0)
    held = pool.acquire(timeout=0)
    order: list[str] = []

    def work(name: str, is_urgent: bool) -> None:
        connection = pool.acquire(is_urgent=is_urgent, timeout=TIMEOUT)
        order.append(name)
        pool.release(connection, is_urgent=is_urgent)

    with ThreadPoolExecutor(2) as threads:
        threads.submit(work, "ordinary", False)
        urgent: Future[None] = threads.submit(work, "urgent", True)
        _wait_until(lambda: pool._urgent_waiter_count == 1)
        pool.release(held)
        urgent.result(TIMEOUT)
    assert order == ["urgent", "ordinary"]
    assert len(server.open) == 1


def _wait_until(condition: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0.001)


def test_broken_connection_and_idle_ones_are_replaced(make: Make, server: Server) -> None:
    pool = make(size=3, reserved=0)
    for connection in [pool.acquire(timeout=0) for _ in range(3)]:
        pool.release(connection)
    server.broken = {1, 2, 3}
    assert pool.acquire(timeout=0) == 4
    assert server.open == {4}


def test_unusable_connection_is_closed(make: Make, server: Server) -> None:
    pool = make(size=1, reserved=0)
    pool.release(pool.acquire(timeout=0), is_usable=False)
    assert server.open == set()
    assert pool.acquire(timeout=0) == 2


def test_refused_connection_frees_its_place(make: Make, server: Server) -> None:
    pool = make(size=1, reserved=0)
    server.refuses = True
    for _ in range(3):
        with pytest.raises(OSError, match="refused"):
            pool.acquire(timeout=0)
    server.refuses = False
    assert pool.acquire(timeout=0) == 1


def test_connection_that_suits_is_preferred(make: Make) -> None:
    pool = make(size=2, reserved=0)
    first, second = pool.acquire(timeout=0), pool.acquire(timeout=0)
    pool.release(first)
    pool.release(second)
    assert pool.acquire(timeout=0, is_preferred=lambda connection: connection == first) == first
    assert pool.acquire(timeout=0, is_preferred=lambda connection: connection == first) == second, (
        "no more may be opened"
    )


def test_idle_connections_are_closed_without_further_use(make: Make, server: Server) -> None:
    pool = make(idle_timeout=0.01)
    pool.release(pool.acquire(timeout=0))
    _wait_until(lambda: not server.open)
    assert pool.acquire(timeout=0) == 2


def test_connection_used_lately_stays_open(make: Make, server: Server) -> None:
    now = 0.0
    pool = make(size=2, reserved=0, clock=lambda: now)
    first, second = pool.acquire(timeout=0), pool.acquire(timeout=0)
    pool.release(first)
    now = 20.0
    pool.release(second)
    now = 31.0
    pool.close_idle(30.0)
    assert server.open == {second}


def test_closed_pool_closes_what_comes_back(make: Make, server: Server) -> None:
    pool = make()
    idle, used = pool.acquire(timeout=0), pool.acquire(timeout=0)
    pool.release(idle)
    pool.close()
    assert server.open == {used}
    pool.release(used)
    assert server.open == set()
    with pytest.raises(StoreBusy, match="closed"):
        pool.acquire(timeout=0)


def test_closing_ends_the_wait_for_a_connection(make: Make) -> None:
    pool = make(size=1, reserved=0)
    pool.acquire(timeout=0)
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            pool.acquire(timeout=TIMEOUT)
        except StoreBusy as error:
            failed.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    pool.close()
    thread.join(TIMEOUT)
    assert len(failed) == 1
