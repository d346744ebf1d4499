"""The platform as it is served: a script of plain HTTP calls through every operation of the three APIs."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import BOTS, WAIT_TIMEOUT, Server, wait_for

pytestmark = pytest.mark.process

ADMIN = "the-admin-s-secret"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 61


class ApiCaller:
    """Sends plain requests, and keeps the cookie as a browser does."""

    def __init__(self, server: Server, key: str = "") -> None:
        self._server = server
        self._key = key
        self.cookie = ""

    def __call__(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> tuple[int, Any]:
        """Status and JSON of the answer."""
        headers = {"Connection": "close"}
        if self._key:
            headers["Authorization"] = self._key
        if self.cookie:
            headers["Cookie"] = self.cookie
        if body is not None:
            headers["Content-Type"] = kind
            body = body if isinstance(body, bytes) else json.dumps(body)
        connection = HTTPConnection(*self._server.address, timeout=WAIT_TIMEOUT)
        try:
            connection.request(method, f"/v1/{path}", body, headers)
            answer = connection.getresponse()
            if cookie := answer.getheader("Set-Cookie"):
                self.cookie = cookie.partition(";")[0]
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


class Receiver:
    """A webhook of a bot that runs elsewhere."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.heard.append((self.headers["Authorization"], body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/webhook"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "botyard.config.json").write_text('{"service": {"name": "My bots", "description": "Ours"}}')
    environ = {
        "COMETBOT_BOT": f"{BOTS}/desk.py:bot",
        "COMETBOT_CHANNELS": "platform",
        "COMETBOT_DATA": str(tmp_path / "data"),
        "COMETBOT_ALLOW_PRIVATE_WEBHOOKS": "1",
        "COMETBOT_BODY_TIMEOUT": "2",
        "PLATFORM_ADMIN_SECRET_KEY": ADMIN,
        "PLATFORM_CONFIG": str(tmp_path / "botyard.config.json"),
    }
    server = Server(tmp_path, environ, bot="desk")
    server.start()
    yield server
    server.close()


def upload() -> bytes:
    head = b'--X\r\nContent-Disposition: form-data; name="file"; filename="p.png"\r\nContent-Type: image/png\r\n\r\n'
    return head + PNG + b"\r\n--X--\r\n"


MULTIPART = "multipart/form-data; boundary=X"


def test_a_script_goes_through_every_operation_of_the_three_apis(
    server: Server, receiver: Receiver, tmp_path: Path
) -> None:
    admin, person = ApiCaller(server, ADMIN), ApiCaller(server)

    # Admin API: A1, A3, A4.
    status, made = admin("POST", "admin-api/bot", {"name": "Test bot", "description": "Just testing bot."})
    bot_id = made["bot"]["id"]
    assert (status, made["bot"]["name"], made["key"].partition(":")[0]) == (201, "Test bot", bot_id)
    assert admin("GET", f"admin-api/bot/{bot_id}/key") == (200, {"key": made["key"]})
    status, changed = admin("PUT", f"admin-api/bot/{bot_id}/key")
    assert status == 200
    assert ApiCaller(server, made["key"])("GET", "bot-api/bot") == (403, {"message": "Invalid bot key."})
    bot = ApiCaller(server, changed["key"])

    # Bot API: B1 to B8.
    described = {"id": bot_id, "name": "Test bot", "description": "Just testing bot."}
    assert bot("GET", "bot-api/bot") == (200, described)
    assert bot("PUT", "bot-api/bot", {"name": "Echo Bot"}) == (200, {**described, "name": "Echo Bot"})
    commands = [{"alias": "help"}, {"alias": "start", "description": "Start again"}]
    assert bot("POST", "bot-api/bot/commands", commands) == (201, {"message": "Commands added."})
    status, listed = bot("GET", "bot-api/bot/commands")
    assert [command["alias"] for command in listed] == ["help", "start"]
    removed = bot("DELETE", f"bot-api/bot/command/{listed[0]['id']}")
    assert removed == (200, {"message": "Command removed."})
    webhook = {"url": receiver.url, "secret": "SOME_SECRET"}
    assert bot("POST", "bot-api/bot/webhook", webhook) == (200, {"botId": bot_id, **webhook})
    assert bot("GET", "bot-api/bot/webhook") == (200, {"botId": bot_id, **webhook})

    # Client API: C1 to C10, C12.
    assert person("GET", "client-api/service-info")[1] == {"name": "My bots", "description": "Ours", "socials": []}
    assert [item["id"] for item in person("GET", "client-api/bots")[1]] == ["desk", bot_id]
    assert person("GET", f"client-api/bot/{bot_id}")[1]["name"] == "Echo Bot"
    assert person("GET", "client-api/user") == (401, {"message": "User is unauthorized."})
    status, user = person("POST", "client-api/user", {"nickname": "Rob Pike"})
    assert (status, user["nickname"]) == (201, "Rob Pike")
    assert person("GET", "client-api/user") == (200, user)
    assert [item["alias"] for item in person("GET", f"client-api/bot/{bot_id}/commands")[1]] == ["start"]
    status, chat = person("POST", "client-api/chat", {"botId": bot_id})
    assert (status, chat) == (201, {"id": chat["id"], "userId": user["id"], "botId": bot_id})
    assert person("GET", f"client-api/chats?bot_id={bot_id}") == (200, [chat])
    status, files = person("POST", "client-api/files", upload(), kind=MULTIPART)
    assert (status, files[0]["mimeType"], files[0]["size"]) == (200, "image/png", len(PNG))
    status, said = person(
        "POST", "client-api/chat/message", {"chatId": chat["id"], "body": "hi", "attachmentIds": [files[0]["id"]]}
    )
    assert (status, said["attachments"]) == (201, files)

    # The webhook, and what a bot does on it: B9 to B13.
    [(secret, heard)] = wait_for(lambda: receiver.heard[:])
    assert secret == "SOME_SECRET"
    assert {name: heard[name] for name in said} == said
    assert bot("GET", f"bot-api/chats?user_id={user['id']}") == (200, [chat])
    status, own = bot("POST", "bot-api/files", upload(), kind=MULTIPART)
    assert status == 200
    status, reply = bot(
        "POST", "bot-api/chat/message", {"chatId": chat["id"], "body": "reply", "attachmentIds": [own[0]["id"]]}
    )
    assert (status, reply["senderId"]) == (201, bot_id)
    assert reply["timestamp"] > said["timestamp"]
    assert bot("GET", f"bot-api/chat/{chat['id']}/messages?sender_id={user['id']}")[1]["total"] == 1
    assert bot("GET", f"bot-api/chat/message/{reply['id']}")[1]["attachmentIds"] == [own[0]["id"]]

    # C11, the file, and the ends: C9, B8, A5, A2.
    status, page = person("GET", f"client-api/chat/{chat['id']}/messages?since={said['timestamp']}")
    assert [message["body"] for message in page["messages"]] == ["reply"]
    shown = server.get(f"/{own[0]['path']}")
    assert (shown.status_code, shown.content, shown.headers["Content-Type"]) == (200, PNG, "image/png")
    assert person("DELETE", f"client-api/chat/{chat['id']}") == (200, {"message": "Chat deleted."})
    assert bot("DELETE", "bot-api/bot/webhook") == (200, {"message": "Webhook deleted."})
    (tmp_path / "botyard.config.json").write_text('{"service": {"name": "Renamed"}}')
    assert admin("PUT", "admin-api/config") == (200, {"message": "Config reloaded."})
    wait_for(lambda: all(person("GET", "client-api/service-info")[1]["name"] == "Renamed" for _ in range(6)))
    assert admin("DELETE", f"admin-api/bot/{bot_id}") == (200, {"message": "Bot deleted."})
    assert [item["id"] for item in person("GET", "client-api/bots")[1]] == ["desk"]


def test_platform_message_is_answered_after_a_kill(server: Server) -> None:
    person = ApiCaller(server)
    person("POST", "client-api/user", {"nickname": "Maria"})
    chat = person("POST", "client-api/chat", {"botId": "desk"})[1]["id"]
    for number in range(5):
        assert person("POST", "client-api/chat/message", {"chatId": chat, "body": f"m{number}"})[0] == 201
    server.restart()

    def bodies() -> list[str]:
        page = person("GET", f"client-api/chat/{chat}/messages?limit=100")[1]
        return [message["body"] for message in page["messages"]]

    wait_for(lambda: len(bodies()) == 10)
    assert sorted(bodies()) == sorted([f"m{n}" for n in range(5)] + [f"echo m{n}" for n in range(5)])
    assert [body for body in bodies() if body.startswith("echo")] == [f"echo m{n}" for n in range(5)]


def test_stream_carries_events_of_another_process(server: Server) -> None:
    person = ApiCaller(server)
    person("POST", "client-api/user", {"nickname": "Maria"})
    chat = person("POST", "client-api/chat", {"botId": "desk"})[1]["id"]
    streams = []
    for _ in range(4):
        connection = HTTPConnection(*server.address, timeout=WAIT_TIMEOUT)
        connection.request("GET", "/v1/page-api/events", headers={"Cookie": person.cookie})
        streams.append((connection, connection.getresponse()))
    assert [answer.getheader("Content-Type") for _, answer in streams] == ["text/event-stream"] * 4
    heard = [b""] * len(streams)
    for count in range(1, 11):
        person("POST", "client-api/chat/message", {"chatId": chat, "body": "/start"})
        for number, (_, answer) in enumerate(streams):
            while heard[number].count(b"Hello, Maria.</p>") < count:
                line = answer.readline()
                assert line, heard[number]
                heard[number] += line
        # That somebody types is only a hint, which may be lost; what is said is not.
        if all(b"event: typing" in seen for seen in heard):
            break
    assert all(b"event: hello" in seen and b"event: typing" in seen for seen in heard)
    began = time.monotonic()
    status = server.terminate()
    for connection, answer in streams:
        answer.read()
        connection.close()

    assert status == 0
    assert time.monotonic() - began < 25, "open streams must not hold up a stop"


def test_broken_upload_blocks_nobody_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    person = ApiCaller(server)
    person("POST", "client-api/user", {"nickname": "Maria"})
    body = upload()
    head = (
        "POST /v1/client-api/files HTTP/1.1\r\nHost: x\r\n"
        f"Cookie: {person.cookie}\r\nContent-Type: {MULTIPART}\r\nContent-Length: {len(body) + 1000}\r\n\r\n"
    ).encode()
    with socket.create_connection(server.address, timeout=WAIT_TIMEOUT) as broken:
        broken.sendall(head + body[:-20])
        broken.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: broken.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'{"message":' in answer

    with socket.create_connection(server.address, timeout=WAIT_TIMEOUT) as still:
        still.sendall(head + body[:20])
        began = time.monotonic()
        answer = b"".join(iter(lambda: still.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 1 < time.monotonic() - began < 30, "after COMETBOT_BODY_TIMEOUT"
    wait_for(lambda: [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == [])
    assert person("POST", "client-api/files", upload(), kind=MULTIPART)[0] == 200


def test_a_steady_upload_over_a_slow_link_is_stored(server: Server) -> None:
    person = ApiCaller(server)
    person("POST", "client-api/user", {"nickname": "Maria"})
    head, end = upload().split(PNG)
    body = head + PNG + b"\0" * 48_000 + end
    lines = (
        "POST /v1/client-api/files HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Cookie: {person.cookie}\r\nContent-Type: {MULTIPART}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    began = time.monotonic()
    with socket.create_connection(server.address, timeout=WAIT_TIMEOUT) as slow:
        slow.sendall(lines.encode())
        for start in range(0, len(body), 800):
            slow.sendall(body[start : start + 800])
            time.sleep(0.1)
        answer = b"".join(iter(lambda: slow.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert time.monotonic() - began > 2 + len(body) / 32_768, "slower than a client without a place may be"
