"""Questions that are not waited for long."""

from __future__ import annotations

import threading
import time

import pytest

from cometbot.delivery.patience import Patient
from cometbot.errors import StoreBusy


def test_the_answer_is_the_questions_own() -> None:
    answers = iter([1, 2])
    asked = Patient(lambda: next(answers), 60)
    assert [asked.answer(), asked.answer()] == [1, 2]


@pytest.mark.parametrize("error", [StoreBusy("away"), TimeoutError("slow"), SystemExit(3)])
def test_who_asks_gets_what_the_question_raises(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        Patient(fail, 60).answer()
    assert caught.value is error


def test_a_question_without_an_answer_is_asked_once_and_waited_for_once() -> None:
    asked: list[int] = []
    let_go = threading.Event()

    def hang() -> str:
        asked.append(1)
        let_go.wait(60)
        return "late"

    looks = Patient(hang, 0.2)
    try:
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(StoreBusy, match=r"it has not answered for 0\.2 s"):
                looks.answer()
        assert len(asked) == 1
        assert time.monotonic() - began < 2.0  # 20 times the patience would be four
    finally:
        let_go.set()


def test_once_the_late_answer_came_it_is_asked_anew() -> None:
    let_go, ended = threading.Event(), threading.Event()

    def ask() -> str:
        if not let_go.is_set():
            let_go.wait(60)
            ended.set()
        return "here"

    looks = Patient(ask, 0.05)
    with pytest.raises(StoreBusy):
        looks.answer()
    let_go.set()
    assert ended.wait(60)
    looks._pending.result(60)
    looks._patience = 60.0
    assert looks.answer() == "here"


def test_who_asks_meanwhile_shares_the_question() -> None:
    asked: list[int] = []
    began, let_go = threading.Event(), threading.Event()

    def ask() -> int:
        asked.append(1)
        began.set()
        let_go.wait(60)
        return len(asked)

    looks = Patient(ask, 60)
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(looks.answer())) for _ in range(8)]
    threads[0].start()
    assert began.wait(60)
    pending = looks._pending
    for thread in threads[1:]:
        thread.start()
    # Each of them waits for the same answer: there is no other to wait for.
    while len(pending._condition._waiters) < 8:  # type: ignore[attr-defined]
        time.sleep(0.01)
    let_go.set()
    for thread in threads:
        thread.join(60)
    assert answers == [1] * 8
