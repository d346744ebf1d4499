"""Handlers that fail in every way, and processes that end at any moment."""

from __future__ import annotations

import time

import pytest
import requests

from cometbot.bot import Bot
from cometbot.simulator import StoredMessage
from cometbot.store.clock import LEASE_TTL

from .conftest import CometChatDriver, Server, StartServer

ERROR_TEXT = Bot("any").error_text
pytestmark = pytest.mark.process


def _say(server: Server, platform: CometChatDriver, user: str, *texts: str) -> list[str]:
    """The ids of messages that the bot was told of, in this order."""
    ids = []
    for text in texts:
        message = platform.write(text, user)
        server.wait_until(lambda m=message: _is_taken(server, platform, m))  # type: ignore[misc]
        ids.append(message.id)
    return ids


def _is_taken(server: Server, platform: CometChatDriver, message: StoredMessage) -> bool:
    """Whether the server has stored it; False if it is not there at the moment, as when a handler has ended it."""
    try:
        return server.post(platform.callback(message)).status_code == 200
    except requests.RequestException:
        return False


def test_raising_handler_leaves_a_dead_letter(server: Server, platform: CometChatDriver) -> None:
    failed, _ = _say(server, platform, "rosa", "/raise", "next")
    assert platform.wait_replies("rosa", 2, server) == [ERROR_TEXT, "re: next"]
    assert (failed, "ValueError: the handler does not like this", 1) in server.dead_letters()


def test_hanging_handler_is_a_dead_letter_at_its_timeout(server: Server, platform: CometChatDriver) -> None:
    hung, _ = _say(server, platform, "hugo", "/hang", "next")
    assert platform.wait_replies("hugo", 2, server) == [ERROR_TEXT, "re: next"]
    assert [(error, attempts) for name, error, attempts in server.dead_letters() if name == hung] == [
        ("the handler trial.hang did not end within 1 s", 1)
    ]
    assert server.get("/readyz").status_code == 200


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_message_that_crashes_five_times_is_a_dead_letter(
    start_server: StartServer, platform: CometChatDriver, how: str
) -> None:
    server = start_server()
    user = f"victim-of-{how}"
    deadly, _ = _say(server, platform, user, f"/{how}", "next")
    server.wait_until(lambda: server.count_marks(how) >= 1)
    died = time.monotonic()
    server.wait_until(lambda: server.count_marks(how) >= 2)
    assert time.monotonic() - died < LEASE_TTL, "a death was noticed only when the lease had run out"
    assert platform.wait_replies(user, 1, server) == ["re: next"]
    assert server.count_marks(how) == 5
    assert server.dead_letters() == [(deadly, "its process died 5 times while it was handled", 5)]
    _say(server, platform, user, "and on")
    assert platform.wait_replies(user, 2, server) == ["re: next", "re: and on"]
    server.close()


def test_messages_beside_a_crashing_one_survive(start_server: StartServer, platform: CometChatDriver) -> None:
    server = start_server(COMETBOT_PROCESSES="1")
    bystanders = ["ann", "ben", "cem"]
    for user in bystanders:
        _say(server, platform, user, "/sleep 1.5")
    server.wait_until(lambda: server.count_marks("sleep") >= len(bystanders))
    (deadly,) = _say(server, platform, "dora", "/kill")
    for user in bystanders:
        assert platform.wait_replies(user, 1, server) == ["slept"]
    server.wait_until(server.dead_letters)
    assert server.dead_letters() == [(deadly, "its process died 5 times while it was handled", 5)]
    server.close()


def test_rerun_after_a_crash_repeats_no_reply(start_server: StartServer, platform: CometChatDriver) -> None:
    server = start_server(COMETBOT_TEST_LEASES="8")
    _say(server, platform, "tilda", "/say-and-wait")
    server.wait_until(lambda: platform.replies("tilda") == ["first"] and server.count_marks("say-and-wait"))
    server.kill()
    (server.marks_folder / "go-on").touch()
    server.start()
    assert platform.wait_replies("tilda", 2, server) == ["first", "second"]
    assert server.count_marks("say-and-wait") == 2
    server.close()


def test_sigterm_finishes_running_handlers(start_server: StartServer, platform: CometChatDriver) -> None:
    server = start_server(COMETBOT_HANDLER_THREADS="2", COMETBOT_STOP_TIMEOUT="30")
    runners = [f"runner-{number}" for number in range(12)]
    for user in runners:
        _say(server, platform, user, "/sleep 2", "after the stop")
    server.wait_until(lambda: server.count_marks("sleep") >= 4)
    began = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - began < 30, server.log
    with pytest.raises(requests.ConnectionError):
        server.post(platform.callback(platform.write("too late", "latecomer")))
    ended = [user for user in runners if platform.replies(user)]
    assert len(ended) >= 4, "a running handler was cut off"
    assert server.count_marks("sleep") == len(ended), "a handler ran whose answer was not said"
    server.start()
    for user in runners:
        assert platform.wait_replies(user, 2, server) == ["slept", "re: after the stop"]
    assert server.count_marks("sleep") == len(runners)
    assert server.dead_letters() == []
    server.close()
