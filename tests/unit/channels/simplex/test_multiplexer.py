"""Commands and answers on one socket."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cometbot.channels.simplex.errors import AnswerMissing, CommandRejected, ConnectionLost, NotConnected
from cometbot.channels.simplex.multiplexer import CommandMultiplexer
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
def exchange(socket: Socket) -> Iterator[CommandMultiplexer]:
    made = CommandMultiplexer(socket)
    writer = threading.Thread(target=made.run_writer, daemon=True)
    writer.start()
    yield made
    socket.gate.set()
    made.close("the test is over")
    writer.join(LIMIT)
    assert not writer.is_alive()


def answer(corr_id: str, tag: str = "cmdOk", **fields: object) -> Frame:
    return decode_frame(json.dumps({"corrId": corr_id, "resp": {"type": tag, **fields}}))


def test_concurrent_commands_get_their_own_answers(exchange: CommandMultiplexer, socket: Socket) -> None:
    with ThreadPoolExecutor(50) as pool:
        asked = [pool.submit(exchange.send_command, Command.raw(f"/n {number}"), LIMIT * 4) for number in range(1000)]
        answered = 0
        while answered < 1000:
            batch = socket.wait(answered + 1)[answered:]
            answered += len(batch)
            random.shuffle(batch)
            for frame in batch:
                assert exchange.resolve(answer(frame["corrId"], number=frame["cmd"]))
        assert [item.result().raw["number"] for item in asked] == [f"/n {number}" for number in range(1000)]
    assert len({frame["corrId"] for frame in socket.sent}) == 1000
    assert exchange.pending_commands == 0


def test_the_clis_error_is_raised(exchange: CommandMultiplexer, socket: Socket) -> None:
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(exchange.send_command, USER, LIMIT)
        error = {"type": "error", "errorType": {"type": "noActiveUser"}}
        exchange.resolve(answer(socket.wait(1)[0]["corrId"], "chatCmdError", chatError=error))
        with pytest.raises(CommandRejected, match="noActiveUser"):
            asked.result()


def test_late_answer_is_dropped(exchange: CommandMultiplexer, socket: Socket) -> None:
    with pytest.raises(AnswerMissing, match=r"/user within 0\.05 s; it may have been done"):
        exchange.send_command(USER, 0.05)
    assert not exchange.resolve(answer(socket.wait(1)[0]["corrId"]))
    assert exchange.pending_commands == 0


def test_unreadable_answer_fails_its_command(exchange: CommandMultiplexer, socket: Socket) -> None:
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(exchange.send_command, USER, LIMIT)
        assert exchange.resolve(Frame(socket.wait(1)[0]["corrId"], problem="it has no resp"))
        with pytest.raises(AnswerMissing, match="cannot be read: it has no resp"):
            asked.result()


def test_unexpected_answer_is_ignored(exchange: CommandMultiplexer) -> None:
    assert not exchange.resolve(answer("strange"))
    assert not exchange.resolve(Frame("", Record("x", {})))


def test_close_separates_sent_from_unsent_commands(exchange: CommandMultiplexer, socket: Socket) -> None:
    with ThreadPoolExecutor() as pool:
        sent = pool.submit(exchange.send_command, Command.raw("/first"), LIMIT)
        socket.wait(1)
        socket.gate.clear()
        stuck = pool.submit(exchange.send_command, Command.raw("/stuck"), LIMIT)
        queued = pool.submit(exchange.send_command, Command.raw("/queued"), LIMIT)
        while exchange.pending_commands < 3 or not exchange.blocked_seconds:
            threading.Event().wait(0.005)
        exchange.close("the cable was cut")
        with pytest.raises(ConnectionLost, match="the cable was cut, before /first was answered"):
            sent.result()
        with pytest.raises(ConnectionLost):
            stuck.result()
        with pytest.raises(NotConnected, match="the cable was cut; /queued was not sent"):
            queued.result()
        with pytest.raises(NotConnected, match="/user was not sent"):
            exchange.send_command(USER, LIMIT)
        socket.gate.set()
    assert [frame["cmd"] for frame in socket.wait(2)] == ["/first", "/stuck"]


def test_command_not_written_in_time_is_never_sent(exchange: CommandMultiplexer, socket: Socket) -> None:
    socket.gate.clear()
    with ThreadPoolExecutor() as pool:
        stuck = pool.submit(exchange.send_command, Command.raw("/stuck"), 0.2)
        while not exchange.blocked_seconds:
            threading.Event().wait(0.005)
        with pytest.raises(NotConnected, match=r"did not take /user within 0\.05 s; it was not sent"):
            exchange.send_command(USER, 0.05)
        with pytest.raises(AnswerMissing):
            stuck.result()
    socket.gate.set()
    with ThreadPoolExecutor() as pool:
        last = pool.submit(exchange.send_command, Command.raw("/last"), LIMIT)
        assert [frame["cmd"] for frame in socket.wait(2)] == ["/stuck", "/last"]
        exchange.resolve(answer(socket.sent[-1]["corrId"]))
        last.result()


def test_a_ping_is_sent_in_its_turn(exchange: CommandMultiplexer, socket: Socket) -> None:
    exchange.ping()
    assert socket.pinged.wait(LIMIT)
    assert socket.sent == []
