"""The client over real connections: good answers, slow ones, broken ones, none."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from cometbot.channels.cometchat import CometChatClient
from cometbot.channels.cometchat.responses import RateLimitStatus
from cometbot.errors import (
    AuthenticationFailed,
    ConfigurationError,
    MessageError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unreachable,
)

KEY = "0123456789abcdef0123456789abcdef01234567"
TEXT = {"receiver": "maria", "receiverType": "user", "category": "message", "type": "text", "data": {"text": "hi ß 👍"}}

ConnectionHandler = Callable[[socket.socket], None]


@pytest.fixture
def client(httpserver: HTTPServer) -> Iterator[CometChatClient]:
    made = CometChatClient(httpserver.url_for("/v3"), KEY, app_id="app", timeout=30)
    yield made
    made.close()


def receive_request(connection: socket.socket) -> bytes:
    """One request, whole; empty if the other side is done."""
    received = b""
    while b"\r\n\r\n" not in received and (piece := connection.recv(65536)):
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    while length and len(body) < int(length[1]):
        body += connection.recv(65536)
    return head


@pytest.fixture
def raw_server() -> Iterator[Callable[[ConnectionHandler], str]]:
    """Starts a server that reads a request on each connection, does as it is told and closes; gives its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def handle_connection(connection: socket.socket, handler: ConnectionHandler) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            receive_request(connection)
            handler(connection)

    def serve(handler: ConnectionHandler) -> None:
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=handle_connection, args=(connection, handler)))
                threads[-1].start()

    def start(handler: ConnectionHandler) -> str:
        threads.append(threading.Thread(target=serve, args=(handler,)))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v3"

    yield start
    ended.set()
    for thread in threads:
        thread.join(60)
    listener.close()


def drip(connection: socket.socket, start: bytes, piece: bytes) -> None:
    """Send a little every 20 ms until the other side has had enough."""
    connection.sendall(start)
    for _ in range(500):
        connection.sendall(piece)
        time.sleep(0.02)


def test_a_message_goes_out_as_one_request_in_utf_8(httpserver: HTTPServer, client: CometChatClient) -> None:
    httpserver.expect_ordered_request(
        "/v3/bots/helpdesk/messages",
        method="POST",
        headers={"apikey": KEY, "Content-Type": "application/json", "Accept": "application/json"},
        json=TEXT,
    ).respond_with_json({"data": {"id": "90431"}})
    assert client.send_bot_message("helpdesk", TEXT)["id"] == "90431"
    request = httpserver.log[0][0]
    assert "hi ß 👍".encode() in request.data
    assert "onBehalfOf" not in request.headers


def test_on_behalf_of_request_sends_header_and_query(httpserver: HTTPServer, client: CometChatClient) -> None:
    httpserver.expect_ordered_request(
        "/v3/users/maria/messages",
        headers={"onBehalfOf": "helpdesk"},
        query_string={"limit": "5", "hideDeleted": "true"},
    ).respond_with_json({"data": []})
    query = {"limit": 5, "hideDeleted": True}
    assert client.messages(user="maria", on_behalf_of="helpdesk", query=query) == []
    assert "Content-Type" not in httpserver.log[0][0].headers


def test_an_emoji_in_the_path_arrives_whole(httpserver: HTTPServer, client: CometChatClient) -> None:
    httpserver.expect_ordered_request("/v3/messages/5/reactions/👍", method="POST").respond_with_json({"data": {}})
    client.add_reaction("5", "👍", on_behalf_of="helpdesk")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"error": {"code": "AUTH_ERR_APIKEY_NOT_FOUND", "message": f"{KEY} is unknown"}}, AuthenticationFailed),
        (404, {"error": {"code": "ERR_BOT_NOT_FOUND", "message": "no bot"}}, NotFound),
        (400, {"error": {"code": "ERR_BAD_REQUEST", "message": "no"}}, Rejected),
        (429, {"error": {"code": "ERR_TOO_MANY_REQUESTS"}}, RateLimited),
        (500, {"error": {"code": "ERR_EXCEPTION"}}, OutcomeUnknown),
        (503, "busy", OutcomeUnknown),
        (200, "<html>hello</html>", OutcomeUnknown),
        (301, "", Rejected),
    ],
)
def test_each_refusal_raises_its_error_without_the_key(
    httpserver: HTTPServer,
    client: CometChatClient,
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: Any,
    kind: type,
) -> None:
    handler = httpserver.expect_request("/v3/bots/helpdesk/messages")
    headers = {"Location": "https://evil.example/"} if status == 301 else {}
    if isinstance(body, dict):
        handler.respond_with_json(body, status=status, headers=headers)
    else:
        handler.respond_with_data(body, status=status, headers=headers)
    with caplog.at_level(logging.DEBUG), pytest.raises(kind) as caught:
        client.send_bot_message("helpdesk", TEXT)
    assert type(caught.value) is kind
    assert KEY not in str(caught.value) + repr(caught.value) + caplog.text
    assert len(httpserver.log) == 1


def test_429_has_retry_after(httpserver: HTTPServer, client: CometChatClient) -> None:
    httpserver.expect_request("/v3/bots").respond_with_json({}, status=429, headers={"Retry-After": "17"})
    with pytest.raises(RateLimited) as caught:
        list(client.bots())
    assert caught.value.retry_after == 17


def test_last_rate_limit_status_is_stored(httpserver: HTTPServer, client: CometChatClient) -> None:
    assert client.rate is None
    rate = {"X-Rate-Limit": "20000", "X-Rate-Limit-Remaining": "19990"}
    httpserver.expect_ordered_request("/v3/bots").respond_with_json({"data": []}, headers=rate)
    httpserver.expect_ordered_request("/v3/bots").respond_with_json({"data": []})
    list(client.bots())
    list(client.bots())
    assert client.rate == RateLimitStatus(20000, 19990, client.rate.measured_at if client.rate else 0)
    assert client.rate is not None
    assert time.time() - client.rate.measured_at < 10


def test_the_key_and_a_bots_password_show_in_no_repr(httpserver: HTTPServer, client: CometChatClient) -> None:
    httpserver.expect_request("/v3/bots/b").respond_with_json({"data": {"uid": "b", "password": "s3cr3t"}})
    assert KEY not in repr(client)
    assert "s3cr3t" not in repr(client.get_bot("b"))


def test_a_bots_password_shows_in_no_error(httpserver: HTTPServer, client: CometChatClient) -> None:
    error = {
        "code": "ERR_BAD_REQUEST",
        "message": "s3cr3t-value is too weak",
        "details": {"password": ["s3cr3t-value"]},
    }
    httpserver.expect_request("/v3/bots").respond_with_json({"error": error}, status=400)
    with pytest.raises(Rejected) as caught:
        client.create_bot("b", "https://x/cometchat/b", username="cc", password="s3cr3t-value")
    assert "s3cr3t-value" not in str(caught.value) + str(caught.value.details)


def test_an_agents_token_shows_in_no_error(httpserver: HTTPServer, client: CometChatClient) -> None:
    error = {"code": "ERR_BAD_REQUEST", "message": "t0ken-value and Bearer t0ken-value are too weak"}
    agent: dict[str, Any] = {"name": "A", "icon": "https://x/a.png", "integrateWith": "ag-ui"}
    agent |= {"integrationType": "agent"}
    agent["integrationMeta"] = {"headers": {"Authorization": "Bearer t0ken-value"}}
    httpserver.expect_request("/v3/ai-agents/agents").respond_with_json({"error": error}, status=400)
    with pytest.raises(Rejected) as caught:
        client.create_agent(agent)
    assert "t0ken" not in str(caught.value)


def test_nobody_listening_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = CometChatClient(f"http://127.0.0.1:{port}/v3", KEY, timeout=30)
    with pytest.raises(Unreachable) as caught:
        client.send_bot_message("helpdesk", TEXT)
    assert KEY not in str(caught.value)


def test_a_host_that_does_not_exist_is_unreachable() -> None:
    client = CometChatClient("http://host.invalid/v3", KEY, timeout=30)
    with pytest.raises(Unreachable):
        client.send_bot_message("helpdesk", TEXT)


def close(connection: socket.socket) -> None:
    """Say nothing."""


def cut_in_headers(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-")


def cut_in_body(connection: socket.socket) -> None:
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"data":')


def cut_after_status(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")


def send_nonsense(connection: socket.socket) -> None:
    connection.sendall(b"220 smtp ready\r\n")


@pytest.mark.parametrize("handler", [close, cut_after_status, cut_in_headers, cut_in_body, send_nonsense])
def test_a_connection_that_breaks_after_the_request_is_uncertain(
    raw_server: Callable[[ConnectionHandler], str], handler: ConnectionHandler
) -> None:
    client = CometChatClient(raw_server(handler), KEY, timeout=30)
    with pytest.raises(OutcomeUnknown) as caught:
        client.send_bot_message("helpdesk", TEXT)
    assert not caught.value.down


def stay_silent(connection: socket.socket) -> None:
    connection.recv(1)


def drip_headers(connection: socket.socket) -> None:
    drip(connection, b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n")


def drip_one_header(connection: socket.socket) -> None:
    drip(connection, b"HTTP/1.1 200 OK\r\nX-A: ", b"b")


def drip_body(connection: socket.socket) -> None:
    drip(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" ")


def drip_chunks(connection: socket.socket) -> None:
    drip(connection, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n")


@pytest.mark.parametrize("handler", [stay_silent, drip_headers, drip_one_header, drip_body, drip_chunks])
def test_total_timeout_is_uncertain_and_marks_platform_down(
    raw_server: Callable[[ConnectionHandler], str], handler: ConnectionHandler
) -> None:
    client = CometChatClient(raw_server(handler), KEY, timeout=60)
    began = time.monotonic()
    with pytest.raises(OutcomeUnknown, match=r"0\.3 seconds") as caught:
        client.send_bot_message("helpdesk", TEXT, timeout=0.3)
    assert time.monotonic() - began < 15
    assert caught.value.down


def send_answer(connection: socket.socket) -> None:
    body = b'{"data":{"id":"90431"}}'
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def test_the_client_works_on_after_a_time_out(raw_server: Callable[[ConnectionHandler], str]) -> None:
    answers: list[ConnectionHandler] = [stay_silent, send_answer]
    client = CometChatClient(raw_server(lambda connection: answers.pop(0)(connection)), KEY)
    with pytest.raises(OutcomeUnknown):
        client.send_bot_message("helpdesk", TEXT, timeout=0.2)
    assert client.send_bot_message("helpdesk", TEXT, timeout=30) == {"id": "90431"}


def test_connections_are_reused(raw_server: Callable[[ConnectionHandler], str]) -> None:
    connections = []
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"data":{}}'

    def handler(connection: socket.socket) -> None:
        connections.append(connection)
        connection.sendall(answer)
        while receive_request(connection):
            connection.sendall(answer)

    client = CometChatClient(raw_server(handler), KEY, timeout=30)
    for _ in range(3):
        client.delete_bot("b")
    client.close()
    assert len(connections) == 1


def test_many_threads_share_one_client(httpserver: HTTPServer, client: CometChatClient) -> None:
    httpserver.expect_request("/v3/bots/b").respond_with_json({"data": {"uid": "b"}})
    results: list[str] = []
    threads = [threading.Thread(target=lambda: results.append(client.get_bot("b")["uid"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["b"] * 8


def test_proxies_of_the_environment_are_not_used(
    httpserver: HTTPServer, client: CometChatClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    httpserver.expect_request("/v3/bots/b").respond_with_json({"data": {"uid": "b"}})
    assert client.get_bot("b") == {"uid": "b"}


def test_cookies_of_a_load_balancer_are_sent_back(httpserver: HTTPServer, client: CometChatClient) -> None:
    httpserver.expect_ordered_request("/v3/bots/b").respond_with_json({"data": {}}, headers={"Set-Cookie": "node=7"})
    httpserver.expect_ordered_request("/v3/bots/b", headers={"Cookie": "node=7"}).respond_with_json({"data": {}})
    client.get_bot("b")
    client.get_bot("b")


def test_a_session_of_the_authors_own_is_used(httpserver: HTTPServer) -> None:
    with requests.Session() as session:
        session.headers["X-Mine"] = "yes"
        client = CometChatClient(httpserver.url_for("/v3"), KEY, session=session)
        httpserver.expect_request("/v3/bots/b", headers={"X-Mine": "yes"}).respond_with_json({"data": {}})
        client.get_bot("b")


def test_failure_on_custom_session_is_uncertain(raw_server: Callable[[ConnectionHandler], str]) -> None:
    with requests.Session() as session:
        client = CometChatClient(raw_server(close), KEY, session=session)
        with pytest.raises(OutcomeUnknown):
            client.send_bot_message("helpdesk", TEXT)


def test_the_regions_url_is_made_of_app_and_region() -> None:
    client = CometChatClient.from_region("0123456789abcdef", "eu", KEY, timeout=3)
    assert client.api_url == "https://0123456789abcdef.api-eu.cometchat.io/v3"
    assert (client.app_id, client.timeout) == ("0123456789abcdef", 3)


@pytest.mark.parametrize(
    ("app_id", "region"), [("", "eu"), ("app", ""), ("evil.example/", "eu"), ("app", "eu.evil.example/#")]
)
def test_an_app_or_region_that_would_lead_elsewhere_is_refused(app_id: str, region: str) -> None:
    with pytest.raises(ConfigurationError, match="COMETCHAT_REGION"):
        CometChatClient.from_region(app_id, region, KEY)


@pytest.mark.parametrize("url", ["", "api.example", "ftp://x/v3", "http://", "http://u:p@x/v3", "http://x/v3?a=b"])
def test_a_wrong_base_url_is_refused_by_its_setting(url: str) -> None:
    with pytest.raises(ConfigurationError, match="COMETCHAT_API_URL"):
        CometChatClient(url, KEY)


@pytest.mark.parametrize("key", ["", "with space", "line\nbreak", "ß"])
def test_a_key_that_cannot_be_a_header_is_refused_unseen(key: str) -> None:
    with pytest.raises(ConfigurationError, match="COMETCHAT_API_KEY") as caught:
        CometChatClient("http://x/v3", key)
    assert not key or key not in str(caught.value)


class MediaHost:
    """A stand-in for CometChat's file hosts: remembers the headers it was asked with."""

    def __init__(self, server: HTTPServer) -> None:
        self.server = server
        self.asked: list[Request] = []

    def serve(self, path: str, response: Callable[[Request], Response]) -> str:
        def answer(request: Request) -> Response:
            self.asked.append(request)
            return response(request)

        self.server.expect_request(path).respond_with_handler(answer)
        return self.server.url_for(path)


@pytest.fixture
def media(httpserver: HTTPServer) -> MediaHost:
    return MediaHost(httpserver)


@pytest.fixture
def foreign_client(httpserver: HTTPServer) -> CometChatClient:
    """A client whose API is elsewhere, so that the file host is not trusted."""
    return CometChatClient("https://app.api-eu.cometchat.io/v3", KEY, app_id="app")


def test_presigned_file_is_fetched_without_api_key(media: MediaHost, foreign_client: CometChatClient) -> None:
    url = media.serve("/app/media/a.png", lambda request: Response(b"PNG")) + "?Expires=1&Signature=a%2Bb&Key-Pair-Id=x"
    assert foreign_client.download(url) == b"PNG"
    (request,) = media.asked
    assert request.query_string == b"Expires=1&Signature=a%2Bb&Key-Pair-Id=x"
    assert KEY not in str(request.headers)
    assert "appId" not in request.headers


def test_token_based_file_is_fetched_with_requested_token(
    media: MediaHost, client: CometChatClient, httpserver: HTTPServer
) -> None:
    target = httpserver.url_for("/v3/files/a.png")

    def serve(request: Request) -> Response:
        if request.args.get("fat") == "t0ken":
            return Response(b"PNG")
        if request.headers.get("apiKey") == KEY and request.headers.get("appId") == "app":
            return Response(f'{{"data":{{"url":"{target}?fat=t0ken"}}}}', content_type="application/json")
        return Response(status=401)

    assert client.download(media.serve("/v3/files/a.png", serve)) == b"PNG"
    assert [KEY in str(request.headers) for request in media.asked] == [True, False]


def test_the_key_goes_to_no_host_but_the_platforms(client: CometChatClient) -> None:
    for host in ("files-eu.cometchat.io", "files-us.cc-cluster-2.io", "files-eu.cc-edge-2.io", "localhost"):
        assert client._is_trusted(host)
    for host in ("files-eu.evil.example", "files-eu.cometchat.io.evil.example", "evilcometchat.io"):
        assert not client._is_trusted(host)


def test_a_redirect_is_followed_without_the_key(
    media: MediaHost, client: CometChatClient, httpserver: HTTPServer
) -> None:
    target = media.serve("/elsewhere", lambda request: Response(b"PNG"))
    url = media.serve("/old", lambda request: Response(status=302, headers={"Location": target}))
    assert client.download(url) == b"PNG"
    assert not any(KEY in str(request.headers) for request in media.asked)


@pytest.mark.parametrize("location", ["/again", "file:///etc/passwd"])
def test_a_redirect_in_a_circle_or_to_a_file_is_refused(
    media: MediaHost, foreign_client: CometChatClient, location: str
) -> None:
    url = media.serve("/again", lambda request: Response(status=302, headers={"Location": location}))
    with pytest.raises(Rejected, match="redirected"):
        foreign_client.download(url)


@pytest.mark.parametrize("announced", [True, False])
def test_file_over_limit_is_refused_and_removed(
    media: MediaHost, foreign_client: CometChatClient, tmp_path: Path, announced: bool
) -> None:
    def serve(request: Request) -> Response:
        return Response(b"x" * 1001 if announced else iter([b"x" * 600, b"x" * 401]))

    url = media.serve("/large", serve)
    for target in (None, tmp_path / "large"):
        with pytest.raises(Rejected, match="larger than 1000 bytes"):
            foreign_client.download(url, target, limit=1000)
    assert list(tmp_path.iterdir()) == []
    assert len(foreign_client.download(url, limit=1001)) == 1001


def test_a_file_is_written_to_its_path(media: MediaHost, foreign_client: CometChatClient, tmp_path: Path) -> None:
    url = media.serve("/file", lambda request: Response(iter([b"a" * 100_000, b"b" * 100_000])))
    assert foreign_client.download(url, tmp_path / "file") == b""
    assert (tmp_path / "file").read_bytes() == b"a" * 100_000 + b"b" * 100_000


@pytest.mark.parametrize(("status", "kind"), [(404, NotFound), (403, AuthenticationFailed), (500, OutcomeUnknown)])
def test_a_file_that_is_refused_raises(
    media: MediaHost, foreign_client: CometChatClient, status: int, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        foreign_client.download(media.serve("/gone", lambda request: Response(status=status)))


def test_a_file_that_drips_ends_in_time(
    raw_server: Callable[[ConnectionHandler], str], foreign_client: CometChatClient, tmp_path: Path
) -> None:
    began = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        foreign_client.download(raw_server(drip_body), tmp_path / "file", timeout=0.3)
    assert time.monotonic() - began < 15
    assert list(tmp_path.iterdir()) == []


def test_full_disk_raises_its_own_error(media: MediaHost, foreign_client: CometChatClient, tmp_path: Path) -> None:
    url = media.serve("/file", lambda request: Response(b"x"))
    with pytest.raises(FileNotFoundError):
        foreign_client.download(url, tmp_path / "no-such-folder" / "file")


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "/relative", "ftp://x/y", "http:///x"])
def test_what_is_no_http_url_is_not_fetched(foreign_client: CometChatClient, url: str) -> None:
    with pytest.raises(MessageError, match="url"):
        foreign_client.download(url)
