"""``caplog``, as the unit tests use it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

log = logging.getLogger("cometbot.test")


@pytest.fixture
def log_in_an_earlier_thread() -> Iterator[Callable[[], None]]:
    """A function that logs in a thread that was started before ``caplog`` was set up, and waits for its end."""
    released = threading.Event()

    def run() -> None:
        released.wait(10)
        log.warning("of an earlier test")

    thread = threading.Thread(target=run)
    thread.start()

    def release() -> None:
        released.set()
        thread.join(10)

    yield release
    release()


def test_only_records_of_this_test_are_captured(
    log_in_an_earlier_thread: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    log_in_an_earlier_thread()
    thread = threading.Thread(target=log.warning, args=["of this test, in a thread"])
    thread.start()
    thread.join(10)
    log.warning("of this test")
    assert caplog.messages == ["of this test, in a thread", "of this test"]
