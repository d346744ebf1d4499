"""The roles of a process, and the engine with threads of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from cometbot.delivery.engine import Check, ProcessRoles, ThreadEngine, owned_channels, queue_for_conversation
from cometbot.models import ConversationKey
from cometbot.testing.fake_channel import FakeChannel

OWNED_KEY = str(ConversationKey("held", "an/account", "shop", "contact_4/5"))
PLAIN_KEY = str(ConversationKey("fake", "test", "shop", "maria"))


class OwnerChannel(FakeChannel):
    """A channel whose connection is here."""

    name: ClassVar[str] = "held"
    has_single_sender: ClassVar[bool] = True


class RemoteChannel(OwnerChannel):
    """The same channel where its connection is not."""

    can_send = False  # type: ignore[assignment]


def roles(held: OwnerChannel, *, handles: bool = True) -> ProcessRoles:
    return ProcessRoles.from_channels(["shop"], {"fake": FakeChannel(), "held": held}, handles=handles)


@pytest.mark.parametrize(
    ("held", "handles", "both", "only_handled", "only_sent"),
    [
        (OwnerChannel(), True, {"fake", "held"}, set(), set()),
        (OwnerChannel(), False, set(), set(), {"held"}),
        (RemoteChannel(), True, {"fake"}, {"held"}, set()),
        (RemoteChannel(), False, set(), set(), set()),
    ],
)
def test_roles_of_a_process(
    held: OwnerChannel, handles: bool, both: set[str], only_handled: set[str], only_sent: set[str]
) -> None:
    found = roles(held, handles=handles)

    assert (found.handled_and_sent, found.only_handled, found.only_sent) == (both, only_handled, only_sent)


def test_can_process_needs_bot_channel_and_connection() -> None:
    here, there = roles(OwnerChannel()), roles(RemoteChannel())

    assert (here.can_process(OWNED_KEY, to_send=True), here.can_process(OWNED_KEY, to_send=False)) == (True, True)
    assert (there.can_process(OWNED_KEY, to_send=True), there.can_process(OWNED_KEY, to_send=False)) == (False, True)
    for other in ("held/a/other/x", "strange/a/shop/x", "", "held", "held/a"):
        assert not here.can_process(other, to_send=True)


def test_owned_channel_has_a_second_queue_for_its_owner() -> None:
    queues = {
        "all": [queue for queue, _ in roles(OwnerChannel()).queues()],
        "sends": [queue for queue, _ in roles(OwnerChannel(), handles=False).queues()],
        "handles": [queue for queue, _ in roles(RemoteChannel()).queues()],
    }

    assert queues == {
        "all": ["cometbot.fake", "cometbot.held", "cometbot.held.send"],
        "sends": ["cometbot.held.send"],
        "handles": ["cometbot.fake", "cometbot.held"],
    }


def test_each_queue_sweeps_for_its_own_part() -> None:
    parts = dict(roles(OwnerChannel()).queues())

    assert parts["cometbot.fake"].handled_and_sent == {"fake"}
    assert parts["cometbot.held"].only_handled == {"held"}
    assert parts["cometbot.held.send"].only_sent == {"held"}


@pytest.mark.parametrize(
    ("conversation_key", "to_send", "queue"),
    [
        (OWNED_KEY, True, "cometbot.held.send"),
        (OWNED_KEY, False, "cometbot.held"),
        (PLAIN_KEY, True, "cometbot.fake"),
        (PLAIN_KEY, False, "cometbot.fake"),
    ],
)
def test_notification_goes_to_the_queue_of_its_role(conversation_key: str, to_send: bool, queue: str) -> None:
    assert (
        queue_for_conversation(
            conversation_key, owned_channels({"held": OwnerChannel(), "fake": FakeChannel()}), to_send=to_send
        )
        == queue
    )


class Panic(BaseException):
    pass


def wait_until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.002)


def get_thread_check(engine: ThreadEngine) -> Check:
    return next(check for check in engine.checks() if check.name == "threads")


@pytest.fixture
def engine() -> Iterator[ThreadEngine]:
    made = ThreadEngine(2)
    yield made
    assert made.stop(60)


@pytest.mark.parametrize("error", [ValueError, Panic, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_work_that_raises_anything_ends_no_thread(engine: ThreadEngine, error: type[BaseException]) -> None:
    worked: list[str] = []

    def work(conversation_key: str) -> None:
        worked.append(conversation_key)
        if conversation_key != "good":
            raise error

    engine.start(work)
    before = set(threading.enumerate())
    for number in range(5):
        engine.notify(f"bad {number}")
    wait_until(lambda: len(worked) == 5)
    engine.notify("good")

    wait_until(lambda: "good" in worked)
    assert get_thread_check(engine) == Check("threads", True, "2 of 2 threads alive, 0 conversations queued")
    assert set(threading.enumerate()) == before


def kill_threads(engine: ThreadEngine, monkeypatch: pytest.MonkeyPatch, count: int) -> list[threading.Thread]:
    """Has that many threads die, each after a lane; returns who did."""
    dead: list[threading.Thread] = []
    is_written_off = engine._is_replaced

    def die() -> bool:
        if len(dead) < count:
            dead.append(threading.current_thread())
            raise Panic("raised into the thread by somebody else")
        return is_written_off()

    monkeypatch.setattr(engine, "_is_replaced", die)
    return dead


def test_a_thread_that_dies_is_replaced(engine: ThreadEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    worked: list[str] = []
    engine.start(worked.append)
    dead = kill_threads(engine, monkeypatch, 3)
    for number in range(3):
        engine.notify(f"last of {number}")
    wait_until(lambda: len(dead) == 3 and not any(thread.is_alive() for thread in dead))
    engine.notify("next")

    wait_until(lambda: "next" in worked)
    assert get_thread_check(engine) == Check("threads", True, "2 of 2 threads alive, 0 conversations queued")


def test_check_fails_while_a_thread_cannot_be_replaced(engine: ThreadEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    worked: list[str] = []
    engine.start(worked.append)
    dead = kill_threads(engine, monkeypatch, 1)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        engine.notify("last")
        wait_until(lambda: dead and not dead[0].is_alive())
        engine.notify("next")
        wait_until(lambda: "next" in worked)
        wait_until(lambda: not get_thread_check(engine).ok)
        assert get_thread_check(engine).detail.startswith("1 of 2 threads alive")
    engine.notify("one more")

    wait_until(lambda: "one more" in worked)
    assert get_thread_check(engine).ok


def test_stuck_thread_is_replaced_once(engine: ThreadEngine) -> None:
    release, begun = threading.Event(), list[int]()

    def work(conversation_key: str) -> None:
        if conversation_key == "hang":
            begun.append(threading.get_ident())
            release.wait(60)
            raise Panic

    engine.start(work)
    engine.notify("hang")
    wait_until(lambda: begun)
    engine.replace_thread(begun[0])
    engine.replace_thread(begun[0])
    assert [check.detail for check in engine.checks()] == [
        "2 of 2 threads alive, 0 conversations queued",
        "1 handlers ran past their deadline and still run",
    ]
    release.set()

    wait_until(lambda: begun[0] not in [thread.ident for thread in threading.enumerate()])
    assert get_thread_check(engine).detail.startswith("2 of 2 threads alive")
    assert engine.checks()[1].detail.startswith("0 handlers")


def test_notify_before_start_only_queues(engine: ThreadEngine) -> None:
    engine.notify("early")
    assert get_thread_check(engine) == Check("threads", False, "0 of 2 threads alive, 1 conversations queued")
    worked: list[str] = []
    engine.start(worked.append)
    wait_until(lambda: worked == ["early"])
