"""Servers that end in the middle of an answer: the client hears of it if it can, and a retry brings the whole text."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from tests.acceptance.channels.agui.conftest import WHOLE, AgentServer, Answer, Client, StartAgent
from tests.acceptance.conftest import WAIT_TIMEOUT
from tests.acceptance.test_dialogs import find_children

pytestmark = [pytest.mark.process, pytest.mark.timeout(1200)]

KILLS = 20 if os.environ.get("COMETBOT_TEST_FAULTS") == "full" else 3
"""How often everything is killed in the middle of an answer: ``make faults`` and ``make test``."""

on_each_database = pytest.mark.parametrize("database", ["sqlite", "postgresql"])


@pytest.fixture
def serve(
    request: pytest.FixtureRequest, start_agent: StartAgent, make_postgres_database: Callable[[], str]
) -> Callable[..., AgentServer]:
    """Starts a server on the database of the test's parameter."""

    def start(database: str, **variables: str) -> AgentServer:
        if database == "postgresql":
            variables["COMETBOT_DATABASE_URL"] = make_postgres_database()
        return start_agent(COMETBOT_TEST_LEASES="4", **variables)

    return start


def check_whole_once(answer: Answer) -> None:
    """Fail unless an answer is complete, with the whole text once."""
    answer.wait()
    assert answer.last["type"] == "RUN_FINISHED", answer.received
    assert answer.texts == [WHOLE]


@on_each_database
def test_retry_after_a_kill_gets_the_whole_text_once(serve: Callable[..., AgentServer], database: str) -> None:
    server = serve(database)
    for number in range(KILLS):
        server.close_gate()
        client = Client(server, f"killed-{number}")
        broken = client.start("gate").wait_for("TEXT_MESSAGE_CONTENT")
        if number % 2:
            time.sleep(0.1)  # for whatever the process does meanwhile; each moment must do
        kill_all(server)
        broken.wait()
        assert not {"TEXT_MESSAGE_END", "RUN_FINISHED"} & set(broken.kinds)
        server.start()
        if number % 3 == 0:
            server.open_gate()
        answer = client.post()
        server.open_gate()
        check_whole_once(answer)
        check_whole_once(client.post())
        assert client.say("stream").texts == [WHOLE]
    assert "gave up" not in server.log
    server.close()


def kill_all(server: AgentServer) -> None:
    """Kill all processes at once, those first that would start others."""
    assert server._process is not None
    family = [server._process.pid]
    for process in family:
        family += find_children(process)
    for process in family:
        os.kill(process, 9)
    server.kill()


@on_each_database
def test_client_that_reads_on_while_a_worker_is_killed(serve: Callable[..., AgentServer], database: str) -> None:
    """A worker process dies; what the other one streams goes on with what the client has."""
    server = serve(database)
    client = Client(server)
    answers = [client.start("gate")] + [client.post() for _ in range(7)]
    server.wait_until(lambda: server.count_marks("at-gate") == 1)
    assert server._process is not None
    victim = find_workers(server)[0]
    os.kill(victim, 9)
    server.open_gate()
    for answer in answers:
        answer._thread.join(WAIT_TIMEOUT)
        if "RUN_FINISHED" not in answer.kinds:  # its process has died
            answer = client.repeat()
        check_whole_once(answer)
    server.close()


def find_workers(server: AgentServer) -> list[int]:
    assert server._process is not None
    family = [server._process.pid]
    for process in family:
        family += find_children(process)
    return [process for process in family if not find_children(process)]


@on_each_database
def test_sigterm_in_a_run_ends_it_with_an_error(serve: Callable[..., AgentServer], database: str) -> None:
    server = serve(database, COMETBOT_STOP_TIMEOUT="20")
    client, other = Client(server), Client(server)
    answers = [client.start("gate").wait_for("TEXT_MESSAGE_CONTENT"), other.start("wait").wait_for("RUN_STARTED")]
    server.wait_until(lambda: server.count_marks("wait") == 1)
    server.send_sigterm()
    for answer in answers:
        answer.wait()
        assert not answer.is_torn
        assert answer.last == {
            "type": "RUN_ERROR",
            "code": "INTERRUPTED",
            "message": "The server closed the stream. Send the same request again for the rest.",
        }
    server.open_gate()
    assert server.wait_for_end() == 0
    server.start()
    check_whole_once(client.post())
    assert other.repeat().texts == ["came through"]
    assert server.count_marks("wait") == 1
    assert "Traceback" not in server.log
    server.close()
