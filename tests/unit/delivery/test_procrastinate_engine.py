"""The threads of the engine for many machines go on, whatever is raised into them."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from procrastinate import exceptions
from procrastinate.testing import InMemoryConnector

from cometbot.delivery import procrastinate_engine
from cometbot.delivery.procrastinate_engine import JobPublisher, ProcrastinateEngine


class Panic(BaseException):
    pass


def wait_until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.002)


def make_engine(monkeypatch: pytest.MonkeyPatch) -> ProcrastinateEngine:
    monkeypatch.setattr(procrastinate_engine, "_RESTART_INTERVAL", 0.01)
    return ProcrastinateEngine("postgresql://nowhere/none", JobPublisher("postgresql://nowhere/none"))


@pytest.mark.parametrize("error", [Panic, KeyboardInterrupt, SystemExit, ValueError])
def test_failed_worker_is_restarted(monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    engine, begun, names = make_engine(monkeypatch), list[int](), set[str]()

    async def run_worker() -> None:
        begun.append(len(begun))
        names.add(threading.current_thread().name)
        if len(begun) < 3:
            raise error
        engine._is_connected = True
        await asyncio.sleep(60)

    monkeypatch.setattr(engine, "_run_worker", run_worker)
    engine.start(lambda conversation_key: None)
    wait_until(lambda: len(begun) == 3 and engine.checks()[0].ok)

    assert engine.stop(30)
    assert names == {"cometbot-worker"}
    assert not engine.checks()[0].ok


@pytest.mark.parametrize("error", [Panic, KeyboardInterrupt, SystemExit, ValueError])
def test_exception_of_a_conversation_ends_its_job_only(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    engine, ended = make_engine(monkeypatch), list[str]()

    def work(conversation_key: str) -> None:
        if conversation_key == "bad":
            raise error

    async def run_worker() -> None:
        for conversation_key in ("bad", "good"):
            await engine._run_job(conversation_key)
            ended.append(conversation_key)
        await asyncio.sleep(60)

    monkeypatch.setattr(engine, "_run_worker", run_worker)
    engine.start(work)
    wait_until(lambda: ended == ["bad", "good"])
    assert engine.stop(30)
    assert caplog.text.count("cannot process a conversation") == 1


@pytest.mark.parametrize("error", [Panic, ValueError, exceptions.ConnectorException])
def test_publisher_continues_after_any_exception(monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    deferred: list[str] = []

    class App:
        connector: Any = None

        @contextmanager
        def open(self) -> Iterator[App]:
            if not deferred:
                deferred.append("tried")
                raise error
            yield self

        def configure_task(self, name: str, **options: Any) -> App:
            return self

        def defer(self, *, conversation_key: str) -> None:
            deferred.append(conversation_key)

    monkeypatch.setattr(procrastinate_engine, "_make_app", lambda connector: App())
    publisher = JobPublisher("postgresql://nowhere/none")
    publisher.notify("fake/test/helpdesk/maria")
    try:
        wait_until(lambda: deferred == ["tried", "fake/test/helpdesk/maria"])
    finally:
        publisher.close()


@pytest.mark.parametrize(("error", "records"), [(exceptions.ConnectorException, 0), (ValueError, 1)])
def test_unawaited_job_logs_no_lost_database(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: type[Exception], records: int
) -> None:
    async def fail() -> None:
        raise error

    async def run_worker() -> None:
        await asyncio.wait([asyncio.create_task(fail())])
        gc.collect()
        raise asyncio.CancelledError

    engine = make_engine(monkeypatch)
    monkeypatch.setattr(engine, "_run_worker", run_worker)
    asyncio.run(engine._supervise())
    assert len(caplog.records) == records


@pytest.mark.parametrize("name", ["procrastinate.worker", "procrastinate.worker.worker", "procrastinate.utils"])
def test_procrastinate_logs_no_lost_database(caplog: pytest.LogCaptureFixture, name: str) -> None:
    procrastinate_engine._make_app(InMemoryConnector())
    logger = logging.getLogger(name)
    logger.error("lost", exc_info=exceptions.ConnectorException())
    logger.error("broken", exc_info=ValueError())
    assert [record.message for record in caplog.records] == ["broken"]
