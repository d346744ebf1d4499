"""Several processes and sudden ends: what was stored is handled once, and told in every process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import requests

from cometbot.channels.chat_api.client import ChatClient
from cometbot.channels.chat_api.listener import Listener
from cometbot.channels.chat_api.models import MessageCreated, StreamComplete, StreamDelta
from cometbot.errors import Rejected
from tests.acceptance.channels.chat_api.conftest import Backend, ChatServer, StartChat
from tests.acceptance.conftest import WAIT_TIMEOUT

pytestmark = pytest.mark.process


def send_text(client: ChatClient, place: str, text: str) -> str:
    return client.create_message(place, {"type": "text", "text": text}).id


def texts_of(client: ChatClient, place: str) -> list[str]:
    """What was said, oldest first."""
    return [str(message.payload["text"]) for message in client.list_messages(place)][::-1]


def read_texts(listener: Listener, count: int) -> list[str]:
    """The texts of the next messages on a stream."""
    heard = []
    while len(heard) < count:
        signal = listener.get(WAIT_TIMEOUT)
        assert isinstance(signal, MessageCreated), signal
        heard.append(str(signal.message.payload["text"]))
    return heard


def read_deltas(listener: Listener) -> str:
    """What is shown of the next streamed message before it is whole."""
    shown = ""
    while not isinstance(signal := listener.get(WAIT_TIMEOUT), StreamComplete):
        assert signal is not None
        shown += signal.delta if isinstance(signal, StreamDelta) else ""
    return shown


def check_both_receive(first: str, second: str) -> int:
    """Fail unless what is posted to one server appears on a stream of the other, both ways, with the answer.

    Pieces of a streamed answer are hints, which a busy machine may lose; returns how often the bot was asked for one.
    """
    here = ChatClient.connect(first)
    there = ChatClient.connect(second, user_key=here.user_key)
    place = here.create_conversation().id
    with here.listen_conversation(place) as at_first, there.listen_conversation(place) as at_second:
        for client, text in ((here, "from the first"), (there, "from the second")):
            send_text(client, place, text)
            assert read_texts(at_first, 2) == read_texts(at_second, 2) == [text, text]
        asked, shown = 0, [""]
        while shown != ["Once upon a time"] * 2 and asked < 20:
            send_text(here, place, "/stream")
            asked += 1
            shown = [read_deltas(at_first), read_deltas(at_second)]
        assert shown == ["Once upon a time"] * 2
    here.close()
    there.close()
    return asked


def test_two_servers_on_one_sqlite_file_share_signals(start_chat: StartChat) -> None:
    first = start_chat(COMETBOT_PROCESSES="1")
    # Processes of one machine find each other in its folder for temporary files.
    shared = {"COMETBOT_DATABASE_URL": f"sqlite:///{first.database}", "TMPDIR": str(first.database.parent)}
    second = start_chat(COMETBOT_PROCESSES="1", **shared)
    check_both_receive(first.api_url, second.api_url)


def test_two_servers_on_postgresql_share_signals_and_webhook(
    start_chat: StartChat, postgres_url: str, backend: Backend
) -> None:
    settings = {"COMETBOT_DATABASE_URL": postgres_url, "CHAT_API_WEBHOOK_URL": backend.url}
    servers = [start_chat(COMETBOT_PROCESSES="1", **settings) for _ in range(2)]
    asked = check_both_receive(servers[0].api_url, servers[1].api_url)

    def texts(*, is_bot: bool) -> list[str]:
        created = [item["data"] for item in backend.received if item["type"] == "message_created"]
        return [data["payload"]["text"] for data in created if data["isBot"] is is_bot]

    said = ["from the first", "from the second"]
    servers[0].wait_until(lambda: len(texts(is_bot=True)) == 2 + asked)
    assert texts(is_bot=False) == [*said, *["/stream"] * asked]
    assert texts(is_bot=True) == [*said, *["Once upon a time"] * asked]
    assert "message_stream_delta" in {item["type"] for item in backend.received}


def test_two_processes_of_one_server_share_signals(start_chat: StartChat) -> None:
    server = start_chat(COMETBOT_PROCESSES="2")
    client = ChatClient.connect(server.api_url)
    place = client.create_conversation().id
    listeners = [client.listen_conversation(place) for _ in range(8)]
    try:
        for number in range(10):
            send_text(client, place, f"number {number}")
        expected = sorted(f"number {number}" for number in range(10) for _ in range(2))
        assert [sorted(read_texts(listener, 20)) for listener in listeners] == [expected] * 8
    finally:
        for listener in listeners:
            listener.close()
        client.close()


@pytest.fixture
def hanging(start_chat: StartChat) -> Iterator[Callable[[], ChatServer]]:
    """A server whose handler waits for a sign."""
    made: list[ChatServer] = []

    def make() -> ChatServer:
        made.append(start_chat(COMETBOT_PROCESSES="1", COMETBOT_TEST_LEASES="8"))
        return made[-1]

    yield make
    for server in made:
        (server.marks_folder / "go on").touch()


def test_stored_message_is_answered_once_after_a_kill(
    hanging: Callable[[], ChatServer],
) -> None:
    server = hanging()
    client = ChatClient.connect(server.api_url)
    place = client.create_conversation().id
    send_text(client, place, "/hang")
    server.wait_until(lambda: server.count_marks("begun") == 1)
    for number in range(3):
        send_text(client, place, f"waits {number}")
    server.kill()
    (server.marks_folder / "go on").touch()
    server.start()

    expected = ["/hang", "waits 0", "waits 1", "waits 2", "done", "waits 0", "waits 1", "waits 2"]
    server.wait_until(lambda: len(texts_of(client, place)) >= len(expected))
    send_text(client, place, "last")
    server.wait_until(lambda: texts_of(client, place).count("last") == 2)
    assert texts_of(client, place) == [*expected, "last", "last"]
    assert client.get_user()
    client.close()


def test_a_stop_ends_the_open_streams_and_does_not_hang(start_chat: StartChat) -> None:
    server = start_chat(COMETBOT_PROCESSES="1")
    client = ChatClient.connect(server.api_url)
    place = client.create_conversation().id
    listeners = [client.listen_conversation(place, reconnects=False) for _ in range(5)]

    assert server.terminate() == 0
    assert [list(listener) for listener in listeners] == [[]] * 5
    client.close()


def test_listener_survives_a_server_restart(start_chat: StartChat) -> None:
    server = start_chat(COMETBOT_PROCESSES="1")
    client = ChatClient.connect(server.api_url)
    place = client.create_conversation().id
    with client.listen_conversation(place) as signals:
        send_text(client, place, "before")
        assert read_texts(signals, 2) == ["before", "before"]
        server.restart()
        send_text(client, place, "after")
        assert read_texts(signals, 2) == ["after", "after"]
    client.close()


def test_requests_over_many_connections_at_once_are_all_answered(start_chat: StartChat) -> None:
    server = start_chat(COMETBOT_PROCESSES="1")
    clients = [ChatClient.connect(server.api_url) for _ in range(4)]
    places = [client.create_conversation().id for client in clients]
    listeners = [client.listen_conversation(place) for client, place in zip(clients, places, strict=True)]
    assert requests.get(f"{server.url}/healthz", timeout=WAIT_TIMEOUT).status_code == 200
    for client, place in zip(clients, places, strict=True):
        send_text(client, place, "hi")
    for listener in listeners:
        assert read_texts(listener, 2) == ["hi", "hi"]
        listener.close()
    for client in clients:
        client.close()


@pytest.mark.parametrize("size", [2 * 1024 * 1024, 10 * 1024 * 1024])
def test_too_large_body_has_the_apis_error_body(start_chat: StartChat, size: int) -> None:
    server = start_chat(COMETBOT_PROCESSES="1")
    client = ChatClient.connect(server.api_url)
    place = client.create_conversation().id
    with pytest.raises(Rejected) as caught:
        send_text(client, place, "x" * size)
    assert (caught.value.status, caught.value.code) == (413, "PayloadTooLarge")
    send_text(client, place, "small")
    client.close()


def test_the_chat_api_is_closed_unless_it_is_named(start_chat: StartChat) -> None:
    server = start_chat(
        COMETBOT_CHANNELS="cometchat",
        COMETCHAT_APP_ID="app",
        COMETCHAT_API_URL="http://127.0.0.1:9/v3",
        COMETCHAT_API_KEY="key",
    )
    assert server.get(f"/chat/{server.bot}/hello").status_code == 404
