"""Async clients of models in many handlers at once: one connection pool for all, on the lasting event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cometbot import Bot, Context
from cometbot.delivery import Delivery, ThreadEngine
from cometbot.event_loop import run_coroutine
from cometbot.testing.fake_channel import FakeChannel

HANDLERS, WORDS = 8, 200


class Model:
    """A model behind a socket, which answers each line with words, a few at a time."""

    def __init__(self) -> None:
        self.connections = 0

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while question := (await reader.readline()).decode().strip():
            for number in range(WORDS):
                writer.write(f"{question}{number}\n".encode())
                if number % 7 == 0:
                    await writer.drain()
                    await asyncio.sleep(0)
            writer.write(b"\n")
        writer.close()


class Client:
    """A client with a pool of connections, which belong to the loop that they were made on."""

    def __init__(self, port: int, size: int) -> None:
        self._port = port
        self._size = asyncio.Semaphore(size)
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def create(self, question: str) -> AsyncIterator[bytes]:
        await asyncio.sleep(0)
        return self._answer(question)

    async def _answer(self, question: str) -> AsyncIterator[bytes]:
        async with self._size:
            connection = self._free.pop() if self._free else await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = connection
            writer.write(f"{question}\n".encode())
            while (line := await reader.readline()).strip():
                yield line
            self._free.append(connection)

    async def close(self) -> None:
        for _, writer in self._free:
            writer.close()
            await writer.wait_closed()


@pytest.fixture
def model() -> Iterator[Model]:
    model = Model()
    yield model
    run_coroutine(model.stop())


def test_two_async_clients_serve_eight_handlers_at_once(model: Model, tmp_path: Path) -> None:
    port = run_coroutine(model.start())
    first, second = Client(port, 2), Client(port, 3)
    together = threading.Barrier(HANDLERS)
    bot, channel = Bot("assistant"), FakeChannel()

    def read(line: bytes) -> str:
        return f"{line.decode().strip()} "

    @bot.message("plain")
    def plain(ctx: Context) -> None:
        together.wait(30)
        ctx.stream(lambda: first.create(ctx.sender.uid), text=read)
        ctx.stream(lambda: second.create(ctx.sender.uid), text=read)

    @bot.message("later")
    async def later(ctx: Context) -> None:
        await asyncio.to_thread(together.wait, 30)
        ctx.stream(await second.create(ctx.sender.uid), text=read)
        ctx.stream(await first.create(ctx.sender.uid), text=read)

    delivery = Delivery([bot], [channel], f"sqlite:///{tmp_path}/bot.db", engine=ThreadEngine(HANDLERS))
    delivery.start()
    users = [f"user{number}" for number in range(HANDLERS)]
    try:
        for number, user in enumerate(users):
            delivery.enqueue(channel.incoming(bot, "later" if number % 2 else "plain", user=user))
        channel.wait_for(lambda: delivery.is_idle and len(channel.texts()) == 2 * HANDLERS)
        for user in users:
            answer = " ".join(f"{user}{number}" for number in range(WORDS))
            assert [text.strip() for text in channel.texts(f"assistant_user_{user}")] == [answer, answer]
        assert model.connections <= 5
    finally:
        delivery.stop(10)
        delivery.close()
        run_coroutine(first.close())
        run_coroutine(second.close())
