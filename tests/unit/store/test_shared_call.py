"""Questions that are not waited for long."""

from __future__ import annotations

import threading
import time

import pytest

from cometbot.errors import StoreBusy
from cometbot.store.shared_call import SharedCall


def test_result_is_the_functions_result() -> None:
    answers = iter([1, 2])
    call = SharedCall(lambda: next(answers), 60)
    assert [call.result(), call.result()] == [1, 2]


@pytest.mark.parametrize("error", [StoreBusy("away"), TimeoutError("slow"), SystemExit(3)])
def test_exception_of_the_function_is_raised(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        SharedCall(fail, 60).result()
    assert caught.value is error


def test_hanging_function_is_called_once() -> None:
    calls: list[int] = []
    release = threading.Event()

    def hang() -> str:
        calls.append(1)
        release.wait(60)
        return "late"

    call = SharedCall(hang, 0.2)
    try:
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(StoreBusy, match=r"no result within 0\.2 s"):
                call.result()
        assert len(calls) == 1
        assert time.monotonic() - began < 2.0  # 20 times the patience would be four
    finally:
        release.set()


def test_function_is_called_again_after_a_late_result() -> None:
    release, ended = threading.Event(), threading.Event()

    def ask() -> str:
        if not release.is_set():
            release.wait(60)
            ended.set()
        return "here"

    call = SharedCall(ask, 0.05)
    with pytest.raises(StoreBusy):
        call.result()
    release.set()
    assert ended.wait(60)
    call._call.get()[0].result(60)
    call._timeout = 60.0
    assert call.result() == "here"


def test_concurrent_callers_share_one_call() -> None:
    calls: list[int] = []
    began, release = threading.Event(), threading.Event()

    def ask() -> int:
        calls.append(1)
        began.set()
        release.wait(60)
        return len(calls)

    call = SharedCall(ask, 60)
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(call.result())) for _ in range(8)]
    threads[0].start()
    assert began.wait(60)
    pending, _ = call._call.get()
    for thread in threads[1:]:
        thread.start()
    # Each of them waits for the same answer: there is no other to wait for.
    while len(pending._condition._waiters) < 8:  # type: ignore[attr-defined]
        time.sleep(0.01)
    release.set()
    for thread in threads:
        thread.join(60)
    assert answers == [1] * 8
