"""Requests that come again: no handler runs twice, and each of them gets the whole answer."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from cometbot.bot import STOP_TEXT
from tests.acceptance.channels.agui.conftest import WHOLE, AgentServer, Answer, Client, StartAgent

pytestmark = pytest.mark.process


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(
    request: pytest.FixtureRequest, start_agent: StartAgent, make_postgres_database: Callable[[], str]
) -> AgentServer:
    """A server of two processes, so that a repeated request may reach another one."""
    variables = {"COMETBOT_DATABASE_URL": make_postgres_database()} if request.param == "postgresql" else {}
    return start_agent(**variables)


@pytest.mark.parametrize("protocol", ["1.0", ""])
def test_equal_request_gets_the_stored_answer_in_one_piece(server: AgentServer, protocol: str) -> None:
    client = Client(server, version=protocol)
    first = client.start("stream").wait()
    assert first.texts == [WHOLE]
    again = client.repeat()
    assert again.texts == [WHOLE]
    assert again.kinds.count("TEXT_MESSAGE_CONTENT") == 1
    assert again.events[0]["runId"] == again.last["runId"] != first.events[0]["runId"]


def test_equal_requests_run_one_handler(server: AgentServer) -> None:
    before, client = server.count_marks("echo"), Client(server)
    client.start("hello").wait()
    for _ in range(10):
        assert client.repeat().texts == ["re: hello"]
    assert server.count_marks("echo") == before + 1
    client.messages[0]["id"] = "numbered anew"
    assert client.repeat().texts == ["re: hello"]
    assert server.count_marks("echo") == before + 1


def test_requests_at_once_run_one_handler(server: AgentServer) -> None:
    server.close_gate()
    before, client = server.count_marks("gate"), Client(server)
    client.messages.append({"id": "m1", "role": "user", "content": "gate"})
    answers: list[Answer] = []

    def ask() -> None:
        answers.append(client.post(runId="the-same"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.wait_until(lambda: server.count_marks("at-gate") > 0)
    late = client.post(runId="another")
    server.open_gate()
    assert [answer.wait().texts for answer in [*answers, late]] == [[WHOLE]] * 9
    assert {answer.events[0]["runId"] for answer in answers} == {"the-same"}
    assert server.count_marks("gate") == before + 1


def test_client_that_goes_away_gets_the_answer_when_it_returns(server: AgentServer) -> None:
    server.close_gate()
    before, client = server.count_marks("gate"), Client(server)
    answer = client.start("gate").wait_for("TEXT_MESSAGE_CONTENT")
    answer.close()
    during = client.post()
    server.open_gate()
    assert during.wait().texts == [WHOLE]
    assert client.repeat().texts == [WHOLE]
    assert server.count_marks("gate") == before + 1
    assert "Traceback" not in server.log


def test_next_message_while_the_first_is_handled_gets_its_own_answer(server: AgentServer) -> None:
    server.close_gate()
    client = Client(server)
    first = client.start("gate").wait_for("TEXT_MESSAGE_CONTENT")
    second = client.start("hello").wait_for("RUN_STARTED")
    server.open_gate()
    assert first.wait().texts == [WHOLE]
    assert second.wait().texts == ["re: hello"]


def test_stop_is_answered_while_its_handler_runs_on(server: AgentServer) -> None:
    server.close_gate()
    client = Client(server)
    first = client.start("gate").wait_for("TEXT_MESSAGE_CONTENT")
    stop = client.start("/stop").wait()
    assert stop.texts == [STOP_TEXT]
    assert client.repeat().texts == [STOP_TEXT]
    server.open_gate()
    assert STOP_TEXT not in first.wait().texts


def test_equal_text_later_in_the_thread_is_another_request(server: AgentServer) -> None:
    before, client = server.count_marks("echo"), Client(server)
    assert [client.say("hello").texts for _ in range(3)] == [["re: hello"]] * 3
    assert server.count_marks("echo") == before + 3


def test_threads_with_one_user_are_their_own(start_agent: StartAgent) -> None:
    server = start_agent(AGUI_USER_HEADER="X-User", COMETBOT_PROCESSES="1")
    client = Client(server)
    client.messages.append({"id": "m1", "role": "user", "content": "who"})
    assert client.post().wait().status == 400
    maria, tom = {"X-User": "maria"}, {"X-User": "tom"}
    assert client.post(headers=maria).wait().texts == ["maria"]
    assert client.post(headers=tom).wait().status == 403
    client.thread = "another"
    assert client.post(headers=tom).wait().texts == ["tom"]
    server.close()
