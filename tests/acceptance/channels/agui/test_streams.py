"""Many open answers at once: they are limited, and leave other requests their threads."""

from __future__ import annotations

import pytest

from tests.acceptance.channels.agui.conftest import TOKEN, AgentServer, Client
from tests.acceptance.conftest import BOTS, CometChatDriver, StartServer

pytestmark = pytest.mark.process

STREAMS = 40


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> AgentServer:
    """A server of one process, to which CometChat's callbacks come as well."""
    server = start_server(
        kind=AgentServer,
        COMETBOT_BOT=f"{BOTS}/agent.py:bot",
        COMETBOT_CHANNELS="cometchat,agui",
        COMETBOT_PROCESSES="1",
        COMETBOT_STREAMS=str(STREAMS),
        COMETBOT_THREADS="8",
        COMETBOT_HANDLER_THREADS="4",
        AGUI_TOKEN=TOKEN,
    )
    assert isinstance(server, AgentServer)
    return server


def test_open_answers_leave_callbacks_their_threads(server: AgentServer, platform: CometChatDriver) -> None:
    server.close_gate()
    before = server.count_marks("echo")
    clients = [Client(server) for _ in range(STREAMS)]
    answers = [client.start("wait") for client in clients]
    assert {answer.status for answer in answers} == {200}
    for number in range(20):
        assert server.post(platform.callback(platform.write("hello", f"user-{number}"))).status_code == 200

    late = Client(server)
    refused = late.start("hello").wait()
    assert refused.status == 503
    assert refused.headers["Retry-After"] == "5"
    assert b"ERR_NO_STREAM_FREE" in refused.received

    for answer in answers[: STREAMS // 2]:
        answer.close()
    server.wait_until(lambda: late.post().status == 200)
    server.open_gate()
    for answer in answers[STREAMS // 2 :]:
        assert answer.wait().texts == ["came through"]
    for client in clients[: STREAMS // 2]:
        assert client.repeat().texts == ["came through"]
    assert late.repeat().texts == ["re: hello"]
    assert server.count_marks("wait") == STREAMS
    for number in range(20):
        assert platform.wait_replies(f"user-{number}", 1, server) == ["re: hello"]
    assert server.count_marks("echo") == before + 21
