from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from cometbot.errors import ConfigurationError
from cometbot.simulator import Simulator

HELLO = {"receiver": "maria", "receiverType": "user", "category": "message", "type": "text", "data": {"text": "hello"}}
SEND = "/bots/helpdesk/messages"


def raw(simulator: Simulator, request: bytes) -> bytes:
    """What comes back on one connection until it is closed or quiet."""
    host, port = simulator.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(request)
        connection.settimeout(0.2)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except TimeoutError:
            pass
        return answer


def test_it_starts_within_50_milliseconds() -> None:
    Simulator()
    seconds: list[float] = []
    # As often as it takes for the machine to have nothing else to do for so long.
    while len(seconds) < 200 and min(seconds, default=1.0) >= 0.05:
        started = time.perf_counter()
        with Simulator():
            seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.05


def test_one_connection_carries_many_requests(simulator: Simulator) -> None:
    head = f"GET /v3/bots HTTP/1.1\r\nHost: localhost\r\napikey: {simulator.api_key}\r\n\r\n".encode()
    answer = raw(simulator, head * 3)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert b"Connection: close" not in answer


def test_chunked_bodies_are_read_and_bad_ones_refused(simulator: Simulator) -> None:
    head = (
        f"POST /v3/users HTTP/1.1\r\nHost: localhost\r\napikey: {simulator.api_key}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    body = b'{"uid": "x", "name": "x"}'
    assert b" 200 OK" in raw(simulator, head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    assert b" 400 " in raw(simulator, head + b"zz\r\n{}\r\n0\r\n\r\n")


@pytest.mark.parametrize("length", [b"-5", b"x", b"999999999999"])
def test_a_wrong_content_length_is_refused(simulator: Simulator, length: bytes) -> None:
    answer = raw(simulator, b"POST /v3/users HTTP/1.1\r\nHost: localhost\r\nContent-Length: %s\r\n\r\n" % length)
    assert b" 400 " in answer.partition(b"\r\n")[0]


def test_head_has_no_body(simulator: Simulator) -> None:
    url = simulator.add_file("a.txt", b"hello")
    answer = requests.head(url, timeout=60)
    assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (200, b"", "5")


def test_drop_closes_the_connection_without_an_answer(simulator: Simulator, rest: Any) -> None:
    simulator.misbehave.drop(times=1)
    simulator.misbehave.drop(before=False, times=1)
    for stored in (0, 1):
        with pytest.raises(requests.ConnectionError):
            rest("POST", SEND, HELLO)
        assert len(simulator.messages()) == stored
    assert rest("POST", SEND, HELLO).status_code == 200
    assert [entry.status for entry in simulator.requests] == [0, 0, 200]


def test_slow_requests_hold_up_nobody_else(simulator: Simulator, rest: Any) -> None:
    simulator.misbehave.slow(30, times=1)
    with ThreadPoolExecutor() as pool:
        headers = {"apikey": simulator.api_key}
        slow = pool.submit(requests.post, simulator.api_url + SEND, json=HELLO, headers=headers, timeout=20)
        simulator.wait_for(lambda s: s.misbehave.active_rules[0].hits == 1)
        assert rest("POST", SEND, HELLO).status_code == 200
        simulator.stop()
        with pytest.raises(requests.ConnectionError):
            slow.result(60)


def test_stop_refuses_connections_and_start_resumes(simulator: Simulator, rest: Any) -> None:
    assert rest("POST", SEND, HELLO).status_code == 200
    url = simulator.url
    simulator.stop()
    with pytest.raises(requests.ConnectionError):
        rest("GET", "/bots")
    simulator.start()
    assert simulator.url == url
    assert len(rest("GET", "/users/maria/messages", headers={"onBehalfOf": "helpdesk"}).json()["data"]) == 1


def test_a_port_that_is_taken_is_a_configuration_error(simulator: Simulator) -> None:
    taken = int(simulator.url.rpartition(":")[2])
    with pytest.raises(ConfigurationError, match=str(taken)):
        Simulator(port=taken).start()


def test_many_clients_at_once_lose_nothing(simulator: Simulator) -> None:
    def send(number: int) -> int:
        headers = {"apikey": simulator.api_key}
        body = {**HELLO, "muid": f"m{number}"}
        return requests.post(simulator.api_url + SEND, json=body, headers=headers, timeout=10).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(send, range(80))) == {200}
    messages = simulator.messages(between=("helpdesk", "maria"))
    assert {message.muid for message in messages} == {f"m{number}" for number in range(80)}
    assert [message.number for message in messages] == sorted(message.number for message in messages)
    assert len(simulator.requests) == 80


def test_another_process_can_follow_the_log_as_it_grows(simulator: Simulator) -> None:
    last = simulator.world.journal.last_id
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(requests.get, f"{simulator.url}/simulator/log?after={last}&wait=10", timeout=15)
        requests.post(
            f"{simulator.url}/simulator/users/maria/say", json={"text": "hi", "to": "tom"}, timeout=60
        ).raise_for_status()
        entries = waiting.result(60).json()["data"]
    assert entries[0]["trigger"] == "message_sent"


def test_media_urls_load_over_http(simulator: Simulator) -> None:
    url = simulator.add_file("picture.png", b"\x89PNG")
    said = simulator.user("maria").say(to="helpdesk", attachments=[url])
    assert said.attachments[0]["name"] == "picture.png"
    assert requests.get(said.attachments[0]["url"], timeout=60).content == b"\x89PNG"
