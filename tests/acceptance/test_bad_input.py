"""What should never be sent to a callback's URL: refused with a sentence, in time, and without harm to what follows."""

from __future__ import annotations

import base64
import copy
import gzip
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from cometbot.web.gunicorn_overrides import HEAD_TIMEOUT

from .conftest import API_KEY, LOGIN, CometChatDriver, Server, StartServer

BODY_TIMEOUT = 2.0
TIME_LIMIT = 30.0
"""Seconds within which everything must be answered, also by a machine that does ten other things."""

DELAYED_AFTER = 0.8 * HEAD_TIMEOUT
"""Seconds within which is answered whoever does not wait for clients that send nothing, until they are cut off."""

MIB = 1024 * 1024

pytestmark = pytest.mark.process

_numbers = itertools.count()


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    return start_server(COMETBOT_BODY_TIMEOUT=str(BODY_TIMEOUT))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error in CometChat's envelope."""
        assert self.headers.get("content-type") == "application/json", (self.headers, self.body)
        error: dict[str, Any] = json.loads(self.body)["error"]
        return error


class RawConnection:
    """One connection, for what no HTTP client would send."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection(server.address, timeout=TIME_LIMIT)

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send ``data``; a server that has heard enough may close before the end of it."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def receive(self) -> Answer:
        """The answer to a request with ``Connection: close``, or to one after which the server closes."""
        received = b""
        while data := self.socket.recv(65536):
            received += data
        head, _, body = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Answer(int(first.split(" ")[1]), headers, body)


def basic(text: str | bytes) -> str:
    """An Authorization header with this for ``user:password``."""
    return "Basic " + base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


GOOD = basic(":".join(LOGIN))


def head(server: Server, *, method: str = "POST", version: str = "1.1", path: str = "", **headers: str | None) -> bytes:
    """A request's head. Names of headers have ``_`` for ``-``; None leaves one out."""
    given = {
        "Host": "bots.example.org",
        "Connection": "close",
        "Content_Type": "application/json",
        "Authorization": GOOD,
        **headers,
    }
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items() if value is not None]
    first = f"{method} {path or f'/cometchat/{server.bot}'} HTTP/{version}"
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1")


def exchange(server: Server, body: bytes, **headers: Any) -> Answer:
    """The answer to a request with ``body`` and its length."""
    given = {"Content_Length": str(len(body)), **headers}
    with RawConnection(server) as wire:
        wire.send(head(server, **given) + body)
        return wire.receive()


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + end


@contextmanager
def within_limit(limit: float = TIME_LIMIT) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < limit


@pytest.fixture(autouse=True)
def next_message_is_handled(server: Server, platform: CometChatDriver) -> Iterator[None]:
    yield
    user = f"good-{next(_numbers)}"
    with within_limit():
        assert server.post(platform.callback(platform.write("hello", user))).status_code == 200
        assert platform.wait_replies(user, 1, server) == ["re: hello"]
    assert server.get("/readyz").status_code == 200


@pytest.fixture
def callback(platform: CometChatDriver) -> dict[str, Any]:
    """A good callback, to be made bad."""
    return platform.callback(platform.write("never to be answered", "evan"))


def check_refusal(answer: Answer, status: int, said: str) -> None:
    assert answer.status == status, answer
    error = answer.error
    assert error["code"].isupper()
    text = json.dumps(error)
    assert said in text, error
    assert LOGIN[1] not in text


NOT_JSON = [
    ("text", b"hello", "not JSON"),
    ("half-an-object", b'{"trigger": "after_message"', "not JSON"),
    ("empty-array", b"[]", "no object"),
    ("array-of-callbacks", b'[{"trigger": "after_message"}]', "no object"),
    ("number", b"1", "no object"),
    ("null", b"null", "no object"),
    ("nested-arrays", b"[" * 100_000 + b"]" * 100_000, "no object"),
    ("nested-and-open", b'{"data":' * 100_000, "not JSON"),
    ("nul-bytes", b"\0\0\0\0", "not JSON"),
    ("bare-nan", b"NaN", "no object"),
]


@pytest.mark.parametrize(("body", "said"), [case[1:] for case in NOT_JSON], ids=[case[0] for case in NOT_JSON])
def test_a_body_that_is_no_json_object_is_refused(server: Server, body: bytes, said: str) -> None:
    with within_limit():
        check_refusal(exchange(server, body), 400, said)


def _replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def replace(body: bytes) -> bytes:
        assert body.count(old) >= 1, body
        return body.replace(old, new, 1)

    return replace


TEXT = b'"never to be answered"'
UNEXPECTED_VALUES = [
    ("lone-surrogate-escaped", _replaced(TEXT, rb'"\ud800"')),
    ("lone-surrogate-encoded", _replaced(TEXT, b'"\xed\xa0\x80"')),
    ("byte-order-mark", lambda body: b"\xef\xbb\xbf" + body),
    ("utf-16", lambda body: body.decode().encode("utf-16")),
    ("nul-in-an-id", _replaced(b'"sender":"evan"', rb'"sender":"ev\u0000an"')),
    ("newline-in-an-id", _replaced(b'"sender":"evan"', rb'"sender":"ev\nan"')),
    ("nan", _replaced(b'"sentAt":', b'"sentAt":NaN,"x":')),
    ("infinity", _replaced(b'"sentAt":', b'"sentAt":-Infinity,"x":')),
    ("doubled-sender", _replaced(b'"sender":"evan"', b'"sender":"maria","sender":"evan"')),
    ("doubled-bot", _replaced(b'"bot":"trial"', b'"bot":"other","bot":"trial"')),
    ("doubled-data", _replaced(b'"data":{', b'"data":1,"data":{')),
    ("doubled-with-escapes", _replaced(b'"sender":"evan"', rb'"\u0073ender":"maria","sender":"evan"')),
    ("huge-time", _replaced(b'"sentAt":', b'"sentAt":1e308,"x":')),
    ("time-of-400-digits", _replaced(b'"sentAt":', b'"sentAt":' + b"9" * 400 + b',"x":')),
    ("negative-time", _replaced(b'"sentAt":', b'"sentAt":-5,"x":')),
    ("nested-objects", _replaced(b'"sentAt":', b'"y":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b',"sentAt":')),
]


@pytest.mark.parametrize("spoil", [case[1] for case in UNEXPECTED_VALUES], ids=[case[0] for case in UNEXPECTED_VALUES])
def test_a_callback_with_an_odd_value_is_taken(
    server: Server, callback: dict[str, Any], spoil: Callable[[bytes], bytes]
) -> None:
    body = spoil(json.dumps(callback, separators=(",", ":")).encode())
    with within_limit():
        answer = exchange(server, body)
    assert (answer.status, answer.body) == (200, b'{"data":{"success":true}}')
    assert_all_handled(server)


@pytest.mark.parametrize(
    ("spoil", "status", "said"),
    [
        (_replaced(TEXT, b'"a\0b"'), 400, "not JSON"),
        (_replaced(b'"appId":"5150a0b1c2d3e4f6"', b'"appId":"0000000000000000"'), 403, "0000000000000000"),
        (_replaced(b'"appId":"5150a0b1c2d3e4f6"', b'"appId":null'), 403, "None"),
        (_replaced(b'"appId":', b'"x":'), 403, "None"),
        (_replaced(b'"bot":"trial"', b'"bot":"somebody"'), 400, "somebody"),
    ],
    ids=["raw-nul", "foreign-app", "null-app", "no-app", "another-bot"],
)
def test_a_callback_that_is_not_for_this_url_is_refused(
    server: Server, callback: dict[str, Any], spoil: Callable[[bytes], bytes], status: int, said: str
) -> None:
    body = spoil(json.dumps(callback, separators=(",", ":")).encode())
    with within_limit():
        check_refusal(exchange(server, body), status, said)


def assert_all_handled(server: Server) -> None:
    server.wait_until(lambda: server.query("SELECT COUNT(*) FROM mailbox WHERE state NOT IN ('done')") == [(0,)])
    assert server.dead_letters() == []


FIELDS = ["trigger", "bot", "data"]
FIELDS += [f"data.{key}" for key in ("id", "sender", "receiver", "receiverType", "category", "type", "data")]
FIELDS += ["data.conversationId", "data.data.text", "data.sentAt"]
WRONG: list[Any] = [None, True, [], {"a": 1}]


def _change(callback: dict[str, Any], path: str, **value: Any) -> dict[str, Any]:
    """``callback`` with another value, or none, at ``path``."""
    changed = copy.deepcopy(callback)
    *parents, last = path.split(".")
    holder = changed
    for parent in parents:
        holder = holder[parent]
    if value:
        holder[last] = value["to"]
    else:
        del holder[last]
    return changed


@pytest.mark.parametrize("path", FIELDS)
def test_a_callback_without_a_field_or_with_a_wrong_one_is_taken(
    server: Server, callback: dict[str, Any], path: str
) -> None:
    changed = [_change(callback, path), *(_change(callback, path, to=value) for value in WRONG)]
    for payload in changed:
        answer = exchange(server, json.dumps(payload).encode())
        assert answer.status == 200, (answer, payload)
    assert_all_handled(server)


@pytest.mark.parametrize(
    "change",
    [
        {"path": "trigger", "to": "after_something_new"},
        {"path": "data.category", "to": "hologram"},
        {"path": "data.type", "to": "smell"},
    ],
    ids=["trigger", "category", "type"],
)
def test_a_well_formed_callback_of_an_unknown_kind_is_taken(
    server: Server, callback: dict[str, Any], change: dict[str, str]
) -> None:
    answer = exchange(server, json.dumps(_change(callback, **change)).encode())
    assert answer.status == 200, answer
    assert_all_handled(server)


def test_an_escaped_nul_in_a_text_is_taken_and_answered(server: Server, platform: CometChatDriver) -> None:
    assert server.post(platform.callback(platform.write("a\0b", "nora"))).status_code == 200
    assert platform.wait_replies("nora", 1, server) == ["re: a\0b"]


def test_numbers_of_any_size_in_unknown_keys_are_taken(
    server: Server, platform: CometChatDriver, callback: dict[str, Any]
) -> None:
    callback = platform.callback(platform.write("big", "bert"))
    body = json.dumps({**callback, "a": 10**300, "b": [1.5e300, -(10**30)]}).encode()
    assert exchange(server, body).status == 200
    assert platform.wait_replies("bert", 1, server) == ["re: big"]


def test_a_bot_that_is_not_served_here_is_not_found(server: Server, callback: dict[str, Any]) -> None:
    body = json.dumps(callback).encode()
    check_refusal(exchange(server, body, path="/cometchat/stranger"), 404, "stranger")
    shared = json.dumps({**callback, "bot": "stranger"}).encode()
    check_refusal(exchange(server, shared, path="/cometchat"), 404, "stranger")


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Content_Type": "text/plain"}, "application/json"),
        ({"Content_Type": "application/x-www-form-urlencoded"}, "application/json"),
        ({"Content_Type": "multipart/form-data; boundary=x"}, "application/json"),
        ({"Content_Encoding": "gzip"}, "without a Content-Encoding"),
        ({"Content_Encoding": "br"}, "without a Content-Encoding"),
    ],
)
def test_a_body_in_another_format_is_refused(
    server: Server, callback: dict[str, Any], headers: dict[str, str | None], said: str
) -> None:
    check_refusal(exchange(server, json.dumps(callback).encode(), **headers), 415, said)


def test_a_body_that_is_compressed_without_saying_so_is_refused(server: Server, callback: dict[str, Any]) -> None:
    check_refusal(exchange(server, gzip.compress(json.dumps(callback).encode())), 400, "not JSON")


def test_a_request_without_a_body_is_refused(server: Server) -> None:
    check_refusal(exchange(server, b""), 400, "no body")
    check_refusal(exchange(server, b"", Content_Length=None), 411, "Content-Length")


def test_a_body_of_10_mb_is_refused(server: Server) -> None:
    with within_limit():
        check_refusal(exchange(server, b" " * 10 * MIB), 413, "longer than 1048576 bytes")


def test_a_body_of_10_mb_in_chunks_is_refused(server: Server) -> None:
    with within_limit(), RawConnection(server) as wire:
        wire.send(head(server, Transfer_Encoding="chunked"))
        for _ in range(160):
            wire.send(chunked(b" " * 65536, end=b""))
        wire.send(b"0\r\n\r\n")
        check_refusal(wire.receive(), 413, "longer than 1048576 bytes")


def test_a_body_that_is_announced_as_endless_is_refused_unread(server: Server) -> None:
    with within_limit():
        check_refusal(exchange(server, b"", Content_Length="9" * 18), 413, "longer than 1048576 bytes")


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "ten", "9" * 400, "5, 6"])
def test_a_length_that_is_none_is_refused(server: Server, length: str) -> None:
    with within_limit():
        answer = exchange(server, b"{}", Content_Length=length)
    assert answer.status in (400, 413)
    assert answer.error["message"]


def test_a_body_that_breaks_off_is_refused(server: Server) -> None:
    with within_limit(), RawConnection(server) as wire:
        wire.send(head(server, Content_Length="1000") + b'{"trigger": ')
        wire.socket.shutdown(socket.SHUT_WR)
        check_refusal(wire.receive(), 400, "incomplete")


def test_a_client_that_goes_away_in_its_body_leaves_no_error(server: Server) -> None:
    for _ in range(5):
        with RawConnection(server) as wire:
            wire.send(head(server, Content_Length="1000") + b'{"trigger": ')
    assert "Traceback" not in server.log


def test_a_body_that_never_ends_is_cut_off(server: Server) -> None:
    with within_limit(), RawConnection(server) as wire:
        wire.send(head(server, Content_Length="1000"))
        stop = threading.Event()

        def drip() -> None:
            while not stop.wait(0.2):
                wire.send(b" ")

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            check_refusal(wire.receive(), 408, "did not arrive for 2 seconds")
        finally:
            stop.set()
            dripping.join()


BAD_CHUNKS = [
    ("size-is-no-number", b"zz\r\n{}\r\n0\r\n\r\n"),
    ("size-is-negative", b"-2\r\n{}\r\n0\r\n\r\n"),
    ("size-is-huge", b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
    ("size-is-too-small", b"1\r\n{}\r\n0\r\n\r\n"),
    ("no-line-end", b"2\r\n{}0\r\n\r\n"),
    ("nothing", b"\r\n\r\n"),
]


@pytest.mark.parametrize("body", [case[1] for case in BAD_CHUNKS], ids=[case[0] for case in BAD_CHUNKS])
def test_a_badly_chunked_body_is_refused(server: Server, body: bytes) -> None:
    with within_limit(), RawConnection(server) as wire:
        wire.send(head(server, Transfer_Encoding="chunked") + body)
        wire.socket.shutdown(socket.SHUT_WR)
        check_refusal(wire.receive(), 400, "badly chunked")


def test_a_chunked_body_without_an_end_is_refused(server: Server) -> None:
    with within_limit(), RawConnection(server) as wire:
        wire.send(head(server, Transfer_Encoding="chunked") + chunked(b'{"a":1}', end=b""))
        wire.socket.shutdown(socket.SHUT_WR)
        check_refusal(wire.receive(), 400, "incomplete")
    with within_limit(), RawConnection(server) as wire:
        wire.send(head(server, Transfer_Encoding="chunked") + chunked(b'{"a":1}', end=b""))
        check_refusal(wire.receive(), 408, "did not arrive")


def test_a_good_body_in_chunks_is_taken(server: Server, platform: CometChatDriver) -> None:
    body = json.dumps(platform.callback(platform.write("in pieces", "carl"))).encode()
    with within_limit(), RawConnection(server) as wire:
        wire.send(head(server, Transfer_Encoding="chunked") + chunked(body[:100], body[100:]))
        assert wire.receive().status == 200
    assert platform.wait_replies("carl", 1, server) == ["re: in pieces"]


WRONG_LOGINS: list[tuple[str, str | None]] = [
    ("missing", None),
    ("empty", ""),
    ("no-scheme", GOOD.partition(" ")[2]),
    ("scheme-alone", "Basic"),
    ("bearer", "Bearer " + GOOD.partition(" ")[2]),
    ("digest", 'Digest username="cc"'),
    ("no-base64", "Basic !!!!"),
    ("broken-base64", GOOD[:-3]),
    ("base64-with-rubbish", GOOD + " and more"),
    ("not-ascii", "Basic \xe9\xe8\xff"),
    ("not-ascii-inside", basic("cc:s3cr3t-val\xfce")),
    ("no-utf-8-inside", basic(b"cc:\xff\xfe")),
    ("no-colon", basic("".join(LOGIN))),
    ("another-user", basic(f"cd:{LOGIN[1]}")),
    ("another-password", basic("cc:s3cr3t-valuf")),
    ("password-begun", basic(f"cc:{LOGIN[1][:-1]}")),
    ("password-and-more", basic(f"cc:{LOGIN[1]}x")),
    ("nothing-but-a-colon", basic(":")),
    ("nul-inside", basic(f"cc:{LOGIN[1]}\0")),
    ("8000-characters", basic("c" * 6000)),
]


@pytest.mark.parametrize("header", [case[1] for case in WRONG_LOGINS], ids=[case[0] for case in WRONG_LOGINS])
def test_wrong_credentials_are_refused_before_the_body(server: Server, header: str | None) -> None:
    for path in ("", "/cometchat", "/cometchat/stranger"):
        with within_limit():
            answer = exchange(server, b"not even JSON", Authorization=header, path=path)
        check_refusal(answer, 401, "user name and password")
        assert answer.headers["www-authenticate"].startswith("Basic ")


BAD_HEADS = [
    ("authorization-of-100-kb", {"Authorization": "Basic " + "A" * 100_000}, 431),
    ("raw-nul-in-authorization", {"Authorization": f"Basic \0{LOGIN[1]}"}, 400),
    ("space-in-a-name", {"Bad name": LOGIN[1]}, 400),
    ("folded-line", {"X_Folded": f"a\r\n {LOGIN[1]}"}, 400),
    ("200-headers", {f"X_{number}": "x" for number in range(200)}, 431),
    ("no-colon", {"Host": f"x\r\nAuthorization {GOOD}"}, 400),
    ("expectation", {"Expect": "miracles"}, 417),
    ("two-lengths", {"Content_Length": "2\r\nContent-Length: 3"}, 400),
    ("chunked-and-length", {"Transfer_Encoding": "chunked"}, 400),
    ("unknown-coding", {"Transfer_Encoding": "rot13"}, 400),
]


@pytest.mark.parametrize(("headers", "status"), [case[1:] for case in BAD_HEADS], ids=[case[0] for case in BAD_HEADS])
def test_a_head_that_cannot_be_read_is_refused_with_json(server: Server, headers: dict[str, str], status: int) -> None:
    with within_limit():
        answer = exchange(server, b"{}", **headers)
    assert answer.status == status, answer
    assert answer.error["message"]
    assert LOGIN[1] not in answer.body.decode()
    assert GOOD not in answer.body.decode()


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (b"\0\0\0\0\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"POST\r\n\r\n", 400),
        (b"POST / HTTP/9.9\r\n\r\n", 400),
        (b"POST /" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"get /healthz HTTP/1.1\r\n\r\n", 400),
    ],
    ids=["nul", "tls", "no-path", "http-9", "long-path", "lower-case"],
)
def test_what_is_no_http_is_refused_with_json(server: Server, first: bytes, status: int) -> None:
    with within_limit(), RawConnection(server) as wire:
        wire.send(first)
        answer = wire.receive()
    assert answer.status == status, answer
    assert answer.error["message"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_another_method_than_post_is_refused(server: Server, callback: dict[str, Any], method: str) -> None:
    for path in ("", "/cometchat"):
        answer = exchange(server, json.dumps(callback).encode(), method=method, path=path)
        check_refusal(answer, 405, "Allow" if method == "BREW" else "POST")
        assert "POST" in answer.headers["allow"]


def test_head_is_refused_without_a_body(server: Server) -> None:
    answer = exchange(server, b"", method="HEAD")
    assert (answer.status, answer.body) == (405, b"")


def test_http_1_0_is_taken(server: Server, platform: CometChatDriver) -> None:
    body = json.dumps(platform.callback(platform.write("old", "olga"))).encode()
    assert exchange(server, body, version="1.0").status == 200
    assert platform.wait_replies("olga", 1, server) == ["re: old"]


def test_a_path_that_is_not_there_is_not_found(server: Server) -> None:
    check_refusal(exchange(server, b"{}", path="/comet"), 404, "/cometchat/NAME-OF-THE-BOT")
    check_refusal(exchange(server, b"{}", path="/cometchat/a/b/c"), 404, "/cometchat/NAME-OF-THE-BOT")
    check_refusal(exchange(server, b"{}", path="/cometchat/%00%ff%fe"), 404, "no bot")


def test_client_stalled_in_headers_blocks_nobody(server: Server, platform: CometChatDriver) -> None:
    with RawConnection(server) as slow:
        slow.send(head(server)[:60])
        for number in range(8):
            with within_limit(DELAYED_AFTER):
                assert server.post(platform.callback(platform.write(str(number), "quick"))).status_code == 200
    assert platform.wait_replies("quick", 8, server) == [f"re: {number}" for number in range(8)]


def test_64_idle_connections_do_not_hold_up_others(server: Server, platform: CometChatDriver) -> None:
    idle = [RawConnection(server) for _ in range(64)]
    try:
        for number in range(8):
            with within_limit(DELAYED_AFTER):
                assert server.post(platform.callback(platform.write(str(number), "patient"))).status_code == 200
        assert platform.wait_replies("patient", 8, server) == [f"re: {number}" for number in range(8)]
    finally:
        for wire in idle:
            wire.socket.close()


def test_log_has_no_error_and_no_secret_after_bad_input(server: Server) -> None:
    assert [secret for secret in (LOGIN[1], API_KEY, GOOD) if secret in server.log] == []
    assert "Traceback" not in server.log
    assert server.dead_letters() == []
