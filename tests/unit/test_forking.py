from __future__ import annotations

import multiprocessing
import os
import threading
import weakref
from collections.abc import Callable

import pytest

from cometbot.forking import PerProcess, close_in_children


class Connection:
    """A value that weak references can refer to."""


def in_child(work: Callable[[], bool]) -> bool:
    """Whether ``work`` returns true in a forked child."""
    child = multiprocessing.get_context("fork").Process(target=lambda: os._exit(0 if work() else 1))
    child.start()
    child.join(10)
    return child.exitcode == 0


def test_value_is_created_once() -> None:
    value = PerProcess(object)
    assert value.existing is None
    assert value.get() is value.get() is value.existing


def test_child_creates_a_value_of_its_own() -> None:
    value = PerProcess(os.getpid)
    assert value.get() == os.getpid()
    assert in_child(lambda: value.existing is None and value.get() == os.getpid())


def test_child_keeps_the_value_of_its_parent_alive() -> None:
    value = PerProcess(Connection)
    reference = weakref.ref(value.get())
    assert in_child(lambda: value.get() is not reference() is not None)


def test_child_does_not_wait_for_a_thread_of_its_parent() -> None:
    entered, leave = threading.Event(), threading.Event()

    def create() -> int:
        if os.getpid() == parent:
            entered.set()
            leave.wait(10)
        return os.getpid()

    parent = os.getpid()
    value = PerProcess(create)
    thread = threading.Thread(target=value.get)
    thread.start()
    entered.wait(10)
    try:
        assert in_child(lambda: value.get() == os.getpid())
    finally:
        leave.set()
        thread.join()


def test_failed_creation_is_repeated() -> None:
    numbers = iter([0, 5])
    value = PerProcess(lambda: 10 // next(numbers))
    with pytest.raises(ZeroDivisionError):
        value.get()
    assert value.get() == 2


def test_cleared_value_is_created_again() -> None:
    value = PerProcess(object)
    first = value.get()
    assert value.clear() is first
    assert value.existing is None
    assert value.get() is not first


def test_resource_is_closed_in_children_only() -> None:
    class Resource:
        closed = False

        def close(self) -> None:
            self.closed = True

    resource = Resource()
    close_in_children(resource)
    assert in_child(lambda: resource.closed)
    assert not resource.closed
