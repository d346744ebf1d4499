"""What should never be sent to an agent: refused with a sentence, or answered as far as it can be understood."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.acceptance.channels.agui.conftest import OTHER_TOKEN, TOKEN, AgentServer, Answer, Client, post
from tests.acceptance.conftest import BOTS, ROOT, WAIT_TIMEOUT

pytestmark = pytest.mark.process

MIB = 1024 * 1024
USER = {"id": "m1", "role": "user", "content": "hello"}


@pytest.fixture(autouse=True)
def next_message_is_handled(server: AgentServer) -> Iterator[None]:
    yield
    assert Client(server).say("hello").texts == ["re: hello"]


def body(thread: str, *messages: Any, **members: Any) -> dict[str, Any]:
    return {"threadId": thread, "runId": "run-1", "messages": list(messages), **members}


def check_refusal(answer: Answer, status: int, code: str, text: str) -> None:
    answer.wait()
    assert answer.status == status, answer.received
    assert answer.headers["Content-Type"] == "application/json"
    error = json.loads(answer.received)["error"]
    assert error["code"] == code
    assert text in error["message"]


@pytest.mark.parametrize(
    ("token", "said"), [(None, "AGUI_TOKEN is not set"), ("", "AGUI_TOKEN is not set"), ("short", "AGUI_TOKEN")]
)
def test_server_without_a_good_token_does_not_start(server: AgentServer, token: str | None, said: str) -> None:
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("COMET", "AGUI"))}
    environ |= {
        "COMETBOT_BOT": f"{BOTS}/agent.py:bot",
        "COMETBOT_CHANNELS": "agui",
        "COMETBOT_DATA": str(server.database.parent / "unused"),
        "COMETBOT_TEST_MARKS": str(server.marks_folder),
        **({} if token is None else {"AGUI_TOKEN": token}),
    }
    ended = subprocess.run(
        AgentServer.command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=WAIT_TIMEOUT, check=False
    )
    assert ended.returncode == 2
    assert said in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN.upper()}"},
        {"Authorization": f"Bearer {OTHER_TOKEN},{TOKEN}"},
        {"Authorization": "Bearer \xe9\xe9"},
        {"Authorization": "", "X-API-Key": "0" * 64},
    ],
)
def test_wrong_token_is_refused(server: AgentServer, headers: dict[str, str]) -> None:
    encoded: Any = {name: text.encode("latin-1") for name, text in headers.items()}
    answer = post(server, body("token", USER), encoded)
    check_refusal(answer, 401, "ERR_UNAUTHORIZED", "AGUI_TOKEN")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {OTHER_TOKEN}"},
        {"Authorization": f"bearer  {TOKEN}"},
        {"Authorization": "", "X-API-Key": TOKEN},
        {"Authorization": "Bearer wrong", "X-API-Key": OTHER_TOKEN},
    ],
)
def test_each_token_is_accepted_in_each_header(server: AgentServer, headers: dict[str, str]) -> None:
    assert post(server, body(f"token-{hash(str(headers))}", USER), headers).wait().texts == ["re: hello"]


@pytest.mark.parametrize(
    ("data", "status", "code", "text"),
    [
        (b"", 400, "ERR_EMPTY_BODY", ""),
        (b"{", 400, "ERR_BAD_REQUEST", "expected JSON"),
        (b"[]", 400, "ERR_BAD_REQUEST", "expected a RunAgentInput object, got list"),
        (b'"\xff"', 400, "ERR_BAD_REQUEST", "expected a RunAgentInput object, got str"),
        (json.dumps(body("large", {**USER, "content": "x" * MIB})).encode(), 413, "ERR_BODY_TOO_LARGE", ""),
        (b" " * 10 * MIB, 413, "ERR_BODY_TOO_LARGE", ""),
    ],
)
def test_body_that_cannot_be_read_is_refused(
    server: AgentServer, data: bytes, status: int, code: str, text: str
) -> None:
    check_refusal(post(server, data), status, code, text)


def test_other_forms_of_bodies_are_refused(server: AgentServer) -> None:
    data = json.dumps(body("forms", USER)).encode()
    check_refusal(post(server, data, {"Content-Type": "text/plain"}), 415, "ERR_UNSUPPORTED_MEDIA_TYPE", "json")
    compressed = post(server, gzip.compress(data), {"Content-Encoding": "gzip"})
    check_refusal(compressed, 415, "ERR_UNSUPPORTED_ENCODING", "Content-Encoding")
    assert requests.get(server.run_url, timeout=WAIT_TIMEOUT).status_code == 405
    unknown = requests.post(f"{server.url}/agui/unknown", json={}, headers={"X-API-Key": TOKEN}, timeout=WAIT_TIMEOUT)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "ERR_BOT_NOT_FOUND")


def test_body_of_almost_1_mb_is_handled(server: AgentServer) -> None:
    text = "x" * 990_000
    answer = post(server, body("almost", {**USER, "content": text})).wait()
    assert answer.texts == [f"re: {text}"]


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"messages":[', '{"content":{"parts":['])
def test_deep_nesting_is_no_harm(server: AgentServer, opening: str) -> None:
    for depth in (200, 20_000):
        closing = "".join({"{": "}", "[": "]"}[char] for char in reversed(opening) if char in "{[")
        nested = opening * depth + "null" + closing * depth
        for member in ("state", "forwardedProps", "tools", "context"):
            data = json.dumps(body(f"deep-{member}-{depth}-{len(opening)}", USER))[:-1] + f', "{member}": {nested}}}'
            assert post(server, data.encode()).wait().texts == ["re: hello"]
        in_messages = f'{{"threadId": "deep", "runId": "r", "messages": {nested}}}'
        assert post(server, in_messages.encode()).wait().last["code"] == "NO_MESSAGE"


@pytest.mark.parametrize(
    "messages",
    [
        [],
        None,
        "hello",
        {"role": "user"},
        [None, 1, "user", []],
        [{"role": "assistant", "content": "hello"}],
        [{"role": "system", "content": "Be kind."}, {"role": "developer", "content": "Be short."}],
        [{"role": "USER", "content": "hello"}],
        [{"role": "tool", "content": "hello"}],
        [{"role": ["user"], "content": "hello"}],
    ],
)
def test_request_without_a_user_message_asks_nothing(server: AgentServer, messages: Any) -> None:
    before = server.count_marks("echo")
    answer = post(server, {"threadId": "no-user", "runId": "run-1", "messages": messages}).wait()
    assert answer.kinds == ["RUN_STARTED", "RUN_ERROR"]
    assert answer.last["code"] == "NO_MESSAGE"
    assert post(server, {"threadId": "no-user", "runId": "run-1"}).wait().last["code"] == "NO_MESSAGE"
    assert server.count_marks("echo") == before


def test_unknown_roles_parts_and_members_are_left_out(server: AgentServer) -> None:
    parts = [
        {"type": "text", "text": "hello"},
        {"type": "hologram", "text": "boo", "source": {"type": "url", "value": "https://example.org/x"}},
        {"type": "image"},
        {"type": "image", "source": "none"},
        None,
        7,
        {},
    ]
    messages = [
        {"id": "1", "role": "oracle", "content": "You will speak."},
        {"id": "2", "role": "reasoning", "content": "Why?"},
        {"id": "3", "role": "activity", "activityType": "PLAN", "content": {"steps": []}},
        {"id": "4", "role": "user", "content": parts, "mood": "good"},
    ]
    members = {"protocolVersion": "7.3", "tools": [{}, 1, {"name": ""}], "resume": ["?", {}], "planet": "Mars"}
    answer = post(server, body("unknown", *messages, **members, context=None, state="none", forwardedProps=[])).wait()
    assert answer.texts == ["re: hello"]


@pytest.mark.parametrize("value", [None, 7, "", "a b/c\n\0", "x" * 5000, ["list"], "\ud800", "é"])
def test_ids_of_any_kind_are_accepted(server: AgentServer, value: Any) -> None:
    content = f"hello {value!r}"
    given = {"threadId": value, "runId": value, "messages": [{"id": value, "role": "user", "content": content}]}
    answer = post(server, json.dumps(given).encode()).wait()
    assert answer.texts == [f"re: {content}"]
    first = answer.events[0]
    for name in ("threadId", "runId"):
        assert isinstance(first[name], str)
        assert first[name]
        if isinstance(value, str) and value and value != "\ud800":
            assert first[name] == value.replace("\0", "\ufffd")


def test_resume_of_an_interrupt_that_is_over_runs_no_handler(server: AgentServer) -> None:
    client = Client(server)
    first = client.say("ask").interrupt
    second = client.resume(first, "M").interrupt
    assert client.resume(second, "Maria").texts == ["M for Maria"]
    for interrupt in (f"{second}0", "m77.0.3", "nonsense", "m1.0.0:x", "\0", "x" * 5000):
        answer = client.resume(interrupt, "S")
        assert answer.kinds == ["RUN_STARTED", "RUN_ERROR"]
        assert answer.last["code"] == "NOT_OPEN"
    assert client.resume(second, "Maria").texts == ["M for Maria"]  # the equal request gets its answer again


def test_resume_with_a_wrong_value_asks_again(server: AgentServer) -> None:
    client = Client(server)
    interrupt = client.say("ask").interrupt
    for payload in (["list"], {"size": "M"}, 7, None, "XXL"):
        answer = client.resume(interrupt, payload)
        assert answer.last["type"] == "RUN_FINISHED", answer.received
        if "outcome" not in answer.last:
            break
        interrupt = answer.interrupt
    else:
        assert client.resume(interrupt, "M").texts


def test_cancelled_interrupt_and_a_new_message_are_both_handled(server: AgentServer) -> None:
    client = Client(server)
    interrupt = client.say("ask").interrupt
    client.messages.append({"id": "next", "role": "user", "content": "hello"})
    answer = client.resume(interrupt, status="cancelled")
    assert answer.texts == ["All right, cancelled.", "re: hello"]
    before = server.count_marks("echo")
    assert client.resume(interrupt, status="cancelled").texts == answer.texts
    assert server.count_marks("echo") == before


def test_message_behind_an_interrupt_that_is_over_is_handled(server: AgentServer) -> None:
    client = Client(server)
    interrupt = client.say("ask").interrupt
    assert client.say("/cancel").texts == ["All right, cancelled."]
    client.messages.append({"id": "next", "role": "user", "content": "hello"})
    assert client.resume(interrupt, status="cancelled").texts == ["re: hello"]


def test_message_that_asked_is_not_handled_again_by_a_cancel(server: AgentServer) -> None:
    client = Client(server)
    interrupt = client.start("ask").wait().interrupt  # the client does not keep the question
    assert client.resume(interrupt, status="cancelled").texts == ["All right, cancelled."]
    client.messages.append({"id": "next", "role": "user", "content": "hello"})
    assert client.repeat().texts == ["re: hello"]


def test_message_beside_an_answer_is_not_handled(server: AgentServer) -> None:
    client = Client(server)
    interrupt = client.say("ask").interrupt
    client.messages.append({"id": "next", "role": "user", "content": "M"})
    assert client.resume(interrupt, "M").texts == ["Your name?"]


def test_threads_of_others_do_not_answer_a_question(server: AgentServer) -> None:
    client, other = Client(server), Client(server)
    interrupt = client.say("ask").interrupt
    assert other.resume(interrupt, "M").last["code"] == "NOT_OPEN"
    assert client.resume(interrupt, "M").interrupt


def test_same_ids_with_other_texts_are_another_request(server: AgentServer) -> None:
    first = body("same-ids", USER)
    assert post(server, first).wait().texts == ["re: hello"]
    assert post(server, body("same-ids", {**USER, "content": "other"})).wait().texts == ["re: other"]
    before = server.count_marks("echo")
    assert post(server, first).wait().texts == ["re: hello"]
    assert server.count_marks("echo") == before


def test_same_text_in_other_threads_is_handled_for_each(server: AgentServer) -> None:
    before = server.count_marks("echo")
    for thread in ("first", "second"):
        assert post(server, body(f"each-{thread}", USER)).wait().texts == ["re: hello"]
    assert server.count_marks("echo") == before + 2
