"""Commands and answers on one socket."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cometbot.channels.simplex.errors import AnswerMissing, CommandRejected, ConnectionLost, NotConnected
from cometbot.channels.simplex.exchange import Exchange
from cometbot.channels.simplex.protocol import Command, Frame, Record, decode_frame

USER = Command.raw("/user")
LIMIT = 5.0


class Socket:
    """Keeps what is sent; takes nothing while ``gate`` is closed."""

    def __init__(self) -> None:
        self.sent: list[dict[str, str]] = []
        self.arrived = threading.Condition()
        self.gate = threading.Event()
        self.gate.set()
        self.pinged = threading.Event()

    def send(self, message: str, /) -> None:
        self.gate.wait(LIMIT)
        with self.arrived:
            self.sent.append(json.loads(message))
            self.arrived.notify_all()

    def ping(self) -> None:
        self.pinged.set()

    def wait(self, count: int) -> list[dict[str, str]]:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.sent) >= count, LIMIT)
            return list(self.sent)


@pytest.fixture
def socket() -> Socket:
    return Socket()


@pytest.fixture
def exchange(socket: Socket) -> Iterator[Exchange]:
    made = Exchange(socket)
    writer = threading.Thread(target=made.write, daemon=True)
    writer.start()
    yield made
    socket.gate.set()
    made.end("the test is over")
    writer.join(LIMIT)
    assert not writer.is_alive()


def answer(corr_id: str, tag: str = "cmdOk", **fields: object) -> Frame:
    return decode_frame(json.dumps({"corrId": corr_id, "resp": {"type": tag, **fields}}))


def test_a_thousand_commands_at_once_each_get_their_own_answer_in_any_order(exchange: Exchange, socket: Socket) -> None:
    with ThreadPoolExecutor(50) as pool:
        asked = [pool.submit(exchange.ask, Command.raw(f"/n {number}"), LIMIT * 4) for number in range(1000)]
        answered = 0
        while answered < 1000:
            batch = socket.wait(answered + 1)[answered:]
            answered += len(batch)
            random.shuffle(batch)
            for frame in batch:
                assert exchange.resolve(answer(frame["corrId"], number=frame["cmd"]))
        assert [item.result().raw["number"] for item in asked] == [f"/n {number}" for number in range(1000)]
    assert len({frame["corrId"] for frame in socket.sent}) == 1000
    assert exchange.open_commands == 0


def test_the_clis_error_is_raised(exchange: Exchange, socket: Socket) -> None:
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(exchange.ask, USER, LIMIT)
        error = {"type": "error", "errorType": {"type": "noActiveUser"}}
        exchange.resolve(answer(socket.wait(1)[0]["corrId"], "chatCmdError", chatError=error))
        with pytest.raises(CommandRejected, match="noActiveUser"):
            asked.result()


def test_an_answer_that_never_comes_leaves_open_what_was_done_and_is_dropped_when_it_comes_late(
    exchange: Exchange, socket: Socket
) -> None:
    with pytest.raises(AnswerMissing, match=r"/user within 0\.05 s; it may have been done"):
        exchange.ask(USER, 0.05)
    assert not exchange.resolve(answer(socket.wait(1)[0]["corrId"]))
    assert exchange.open_commands == 0


def test_an_answer_that_cannot_be_read_fails_its_command_at_once(exchange: Exchange, socket: Socket) -> None:
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(exchange.ask, USER, LIMIT)
        assert exchange.resolve(Frame(socket.wait(1)[0]["corrId"], problem="it has no resp"))
        with pytest.raises(AnswerMissing, match="cannot be read: it has no resp"):
            asked.result()


def test_nobody_waits_for_a_strange_answer(exchange: Exchange) -> None:
    assert not exchange.resolve(answer("strange"))
    assert not exchange.resolve(Frame("", Record("x", {})))


def test_at_the_end_what_was_sent_is_uncertain_and_what_was_not_is_surely_undone(
    exchange: Exchange, socket: Socket
) -> None:
    with ThreadPoolExecutor() as pool:
        sent = pool.submit(exchange.ask, Command.raw("/first"), LIMIT)
        socket.wait(1)
        socket.gate.clear()
        stuck = pool.submit(exchange.ask, Command.raw("/stuck"), LIMIT)
        queued = pool.submit(exchange.ask, Command.raw("/queued"), LIMIT)
        while exchange.open_commands < 3 or not exchange.writing_for:
            threading.Event().wait(0.005)
        exchange.end("the cable was cut")
        with pytest.raises(ConnectionLost, match="the cable was cut, before /first was answered"):
            sent.result()
        with pytest.raises(ConnectionLost):
            stuck.result()
        with pytest.raises(NotConnected, match="the cable was cut; /queued was not sent"):
            queued.result()
        with pytest.raises(NotConnected, match="/user was not sent"):
            exchange.ask(USER, LIMIT)
        socket.gate.set()
    assert [frame["cmd"] for frame in socket.wait(2)] == ["/first", "/stuck"]


def test_a_command_that_the_socket_does_not_take_in_time_is_never_sent(exchange: Exchange, socket: Socket) -> None:
    socket.gate.clear()
    with ThreadPoolExecutor() as pool:
        stuck = pool.submit(exchange.ask, Command.raw("/stuck"), 0.2)
        while not exchange.writing_for:
            threading.Event().wait(0.005)
        with pytest.raises(NotConnected, match=r"did not take /user within 0\.05 s; it was not sent"):
            exchange.ask(USER, 0.05)
        with pytest.raises(AnswerMissing):
            stuck.result()
    socket.gate.set()
    with ThreadPoolExecutor() as pool:
        last = pool.submit(exchange.ask, Command.raw("/last"), LIMIT)
        assert [frame["cmd"] for frame in socket.wait(2)] == ["/stuck", "/last"]
        exchange.resolve(answer(socket.sent[-1]["corrId"]))
        last.result()


def test_a_ping_is_sent_in_its_turn(exchange: Exchange, socket: Socket) -> None:
    exchange.ping()
    assert socket.pinged.wait(LIMIT)
    assert socket.sent == []
