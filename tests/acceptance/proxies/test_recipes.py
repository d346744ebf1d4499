"""Callbacks, streams, uploads, downloads and restarts through each proxy, as ``make proxies`` runs them."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from typing import Any

import pytest

from cometbot.web.files import MISSING_TEXT
from tests.acceptance.conftest import LOGIN, WAIT_TIMEOUT, CometChatDriver, wait_for

from .conftest import NAMES, Proxy, Site

pytestmark = pytest.mark.process

BOTS, CHAT = NAMES
SILENCE = 65.0
MANY = 20 * 1024 * 1024
GOOD = {"Authorization": "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()}
JSON = {"Content-Type": "application/json"}


def ask(
    proxy: Proxy, name: str, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of a response on a connection of its own."""
    connection = proxy.connect(name)
    try:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(
            method, path, data, {**JSON, **{key.replace("_", "-"): text for key, text in headers.items()}}
        )
        response = connection.getresponse()
        return response.status, {key.lower(): text for key, text in response.getheaders()}, response.read()
    finally:
        connection.close()


class Person:
    """A user of the platform, who is known by a cookie."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.cookie = ""
        status, headers, _ = self("POST", "/v1/client-api/user", {"nickname": "Maria"})
        assert status == 201
        self.cookie = headers["set-cookie"].partition(";")[0]
        assert "secure" in headers["set-cookie"].lower(), "the scheme of the request arrives"
        self.chat = json.loads(self("POST", "/v1/client-api/chat", {"botId": "trial"})[2])["id"]

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return ask(self._proxy, CHAT, method, path, body, Cookie=self.cookie, Origin=f"https://{CHAT}", **headers)


class Stream:
    """An open event stream, read by a thread of its own."""

    def __init__(self, connection: HTTPConnection, path: str, headers: dict[str, str]) -> None:
        self.received = b""
        self.is_over = False
        self._socket = connection.sock
        connection.request("GET", path, headers=headers)
        self._response = connection.getresponse()
        assert self._response.status == 200, self._response.read()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while piece := self._response.read1(65536):
                self.received += piece
        except (OSError, HTTPException, ValueError):
            pass
        self.is_over = True

    def wait_for(self, text: bytes) -> None:
        """Wait until ``text`` came."""
        wait_for(lambda: text in self.received, or_show=lambda: self.received)

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(WAIT_TIMEOUT)
        self._socket.close()


def test_a_callback_is_answered_through_the_proxy(site: Site, platform: CometChatDriver) -> None:
    proxy = site.proxy
    user = f"user-{proxy.name}"
    callback = platform.callback(platform.write("hello", user))
    assert ask(proxy, BOTS, "POST", "/cometchat/trial", callback, **GOOD)[0] == 200
    assert platform.wait_replies(user, 1, site.server) == ["re: hello"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/%6detrics"])
def test_internal_paths_are_not_forwarded(proxy: Proxy, path: str) -> None:
    assert [ask(proxy, name, "GET", path)[0] for name in NAMES] == [404, 404]


def test_the_refusal_of_a_long_body_is_the_servers_own(proxy: Proxy) -> None:
    body = b" " * (1024 * 1024 + 1000)
    status, _, text = ask(proxy, BOTS, "POST", "/cometchat/trial", body, **GOOD)
    assert (status, b"ERR_BODY_TOO_LARGE" in text) == (413, True)
    status, headers, text = ask(proxy, BOTS, "POST", "/chat/trial/users", body, Origin="https://shop.example")
    assert (status, headers.get("access-control-allow-origin")) == (413, "https://shop.example"), text


def test_an_encoded_slash_arrives_unchanged(proxy: Proxy) -> None:
    key = json.loads(ask(proxy, BOTS, "POST", "/chat/trial/users", {})[2])["key"]
    body = {"id": "orders/7"}
    status, _, text = ask(proxy, BOTS, "POST", "/chat/trial/conversations", body, x_user_key=key)
    assert status in (200, 201), text
    status, _, text = ask(proxy, BOTS, "GET", "/chat/trial/conversations/orders%2F7", x_user_key=key)
    assert (status, json.loads(text)["conversation"]["id"]) == (200, "orders/7")


def test_addresses_of_files_are_forwarded(proxy: Proxy) -> None:
    answers = [ask(proxy, name, "GET", "/files/doctor/file") for name in NAMES]
    assert [(status, text) for status, _, text in answers] == [(404, MISSING_TEXT.encode())] * 2


def test_20_mb_go_up_and_down(proxy: Proxy) -> None:
    person, content = Person(proxy), os.urandom(MANY)
    head = b'--X\r\nContent-Disposition: form-data; name="file"; filename="p.bin"\r\n'
    body = head + b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n--X--\r\n"
    status, _, text = person("POST", "/v1/client-api/files", body, Content_Type="multipart/form-data; boundary=X")
    assert status == 200, text
    status, _, found = person("GET", "/" + json.loads(text)[0]["path"])
    assert (status, found == content) == (200, True)


def test_streams_outlive_a_minute_of_silence(proxy: Proxy) -> None:
    person = Person(proxy)
    user = json.loads(ask(proxy, BOTS, "POST", "/chat/trial/users", {})[2])
    key = {"x-user-key": user["key"]}
    made = ask(proxy, BOTS, "POST", "/chat/trial/conversations", {}, x_user_key=user["key"])[2]
    conversation = json.loads(made)["conversation"]["id"]
    path = f"/chat/trial/conversations/{conversation}"
    streams = [
        Stream(proxy.connect(CHAT), "/v1/page-api/events", {"Cookie": person.cookie}),
        Stream(proxy.connect(BOTS), f"{path}/listen", key),
    ]
    end = time.monotonic() + SILENCE
    wait_for(lambda: time.monotonic() > end or any(stream.is_over for stream in streams))
    assert [stream.is_over for stream in streams] == [False, False]
    person("POST", "/v1/client-api/chat/message", {"chatId": person.chat, "body": "after the silence"})
    message = {"conversationId": conversation, "payload": {"type": "text", "text": "after the silence"}}
    assert ask(proxy, BOTS, "POST", "/chat/trial/messages", message, x_user_key=user["key"])[0] in (200, 201)
    for stream in streams:
        stream.wait_for(b"re: after the silence")
        stream.close()


class Load:
    """Clients that send the same good callback again and again, each time on a connection of its own."""

    def __init__(self, proxy: Proxy, callback: dict[str, Any]) -> None:
        self.counts: Counter[object] = Counter()
        self._proxy = proxy
        self._callback = callback
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(4)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(WAIT_TIMEOUT)

    def wait_for_answers(self) -> None:
        """Wait until a hundred more were answered."""
        before = self.counts[200]
        wait_for(lambda: self.counts[200] > before + 100, or_show=lambda: (self.counts, self._proxy.log[-3000:]))

    def _run(self) -> None:
        while not self._is_over.wait(0.01):
            try:
                self.counts[ask(self._proxy, BOTS, "POST", "/cometchat/trial", self._callback, **GOOD)[0]] += 1
            except (OSError, HTTPException) as error:
                self.counts[repr(error)] += 1


def test_a_reload_and_a_restart_under_load_lose_no_request(site: Site, platform: CometChatDriver) -> None:
    proxy, server = site.proxy, site.server
    callback = platform.callback(platform.write("hello", f"load-{proxy.name}"))
    with Load(proxy, callback) as load:
        load.wait_for_answers()
        booted = server.log.count("Booting worker")
        server.signal(signal.SIGHUP)
        server.wait_until(lambda: server.log.count("Booting worker") >= booted + 2)
        load.wait_for_answers()
        for _ in range(2):
            assert server.terminate() == 0
            server.start()
            load.wait_for_answers()
    errors = Counter(re.findall(r'"(?:msg|error)":"((?:[^"\\]|\\.)*)', proxy.log))
    assert set(load.counts) == {200}, f"{load.counts}\n{errors}"
