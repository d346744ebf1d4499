"""What the CLI's errors become."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot.channels.simplex.errors import (
    AnswerMissing,
    CommandDelayed,
    CommandFailed,
    CommandNotFound,
    CommandOutcomeUnknown,
    CommandRejected,
    ConnectionLost,
    NotConnected,
    error_from,
    get_error_tags,
)
from cometbot.channels.simplex.protocol import Command, Record
from cometbot.errors import ChannelError, NotFound, OutcomeUnknown, RateLimited, Rejected, Unreachable
from tests.simplex_reference import UNIONS

SEND = Command.raw("/_send @4 json []")


def made(chat_error: Any) -> CommandFailed:
    return error_from(Record("chatCmdError", {"type": "chatCmdError", "chatError": chat_error}), SEND)


def agent(**error: Any) -> dict[str, Any]:
    return {"type": "errorAgent", "agentConnId": "", "agentError": error}


@pytest.mark.parametrize("tag", UNIONS["ChatErrorType"])
def test_every_documented_chat_error_is_raised_with_its_tag(tag: str) -> None:
    error = made({"type": "error", "errorType": {"type": tag, "message": "x"}})
    assert isinstance(error, Rejected)
    assert (error.tags, error.tag, error.code) == (("error", tag), tag, f"error.{tag}")
    assert isinstance(error, NotFound) == ("NotFound" in tag)
    assert f"error.{tag}" in str(error)


@pytest.mark.parametrize("tag", UNIONS["StoreError"])
def test_every_documented_store_error_is_raised_with_its_tag(tag: str) -> None:
    error = made({"type": "errorStore", "storeError": {"type": tag}})
    assert error.tags == ("errorStore", tag)
    assert isinstance(error, RateLimited) == (tag == "dBBusyError")
    assert isinstance(error, NotFound) == ("NotFound" in tag)
    assert isinstance(error, Rejected) == (tag != "dBBusyError")


@pytest.mark.parametrize("tag", UNIONS["AgentErrorType"])
def test_every_documented_agent_error_is_raised_with_its_tag(tag: str) -> None:
    error = made(agent(type=tag))
    assert error.tags == ("errorAgent", tag)
    assert isinstance(error, OutcomeUnknown) == (tag == "INACTIVE")


@pytest.mark.parametrize(
    ("error", "is_passing"),
    [
        (agent(type="BROKER", brokerErr={"type": "TIMEOUT"}), True),
        (agent(type="BROKER", brokerErr={"type": "NETWORK"}), True),
        (agent(type="BROKER", brokerErr={"type": "HOST"}), True),
        (agent(type="BROKER", brokerErr={"type": "RESPONSE"}), False),
        (agent(type="SMP", smpErr={"type": "QUOTA"}), True),
        (agent(type="SMP", smpErr={"type": "AUTH"}), False),
        (agent(type="CRITICAL", offerRestart=True, criticalErr="disk"), False),
    ],
)
def test_a_network_that_fails_for_now_leaves_open_what_was_done(error: dict[str, Any], is_passing: bool) -> None:
    assert isinstance(made(error), CommandOutcomeUnknown if is_passing else CommandRejected)
    assert isinstance(made(error), OutcomeUnknown if is_passing else Rejected)


@pytest.mark.parametrize(
    ("chat_error", "tags"),
    [
        (None, ()),
        ("x", ()),
        ({}, ()),
        ({"type": 5}, ()),
        ({"type": "errorOfTomorrow", "x": 1}, ("errorOfTomorrow",)),
        ({"type": "error"}, ("error",)),
        ({"type": "error", "errorType": "x"}, ("error",)),
        ({"type": "error", "errorType": {"type": "newTag"}}, ("error", "newTag")),
        (agent(type="BROKER", brokerErr={"type": "TIMEOUT"}), ("errorAgent", "BROKER", "TIMEOUT")),
    ],
)
def test_an_unknown_error_is_a_refusal_with_what_tags_there_are(chat_error: Any, tags: tuple[str, ...]) -> None:
    assert get_error_tags(chat_error) == tags
    assert made(chat_error).tags == tags
    assert isinstance(made(chat_error), CommandFailed)


def test_error_text_has_cause_and_no_message_text() -> None:
    error = made({"type": "error", "errorType": {"type": "commandError", "message": "Failed reading: empty"}})
    assert str(error) == (
        "the SimpleX CLI refused /_send: error.commandError (it could not parse the command: Failed reading: empty)"
    )
    secret = made({"type": "error", "errorType": {"type": "userExists", "contactName": "maria"}})
    assert "maria" not in str(secret)
    assert secret.chat_error["errorType"] == {"type": "userExists", "contactName": "maria"}
    assert secret.keyword == "/_send"


def test_delivery_knows_every_error_by_its_own_classes() -> None:
    assert issubclass(NotConnected, Unreachable)
    assert issubclass(ConnectionLost, OutcomeUnknown)
    assert issubclass(AnswerMissing, OutcomeUnknown)
    assert issubclass(CommandNotFound, NotFound)
    assert issubclass(CommandFailed, ChannelError)
    busy = made({"type": "errorStore", "storeError": {"type": "dBBusyError", "message": "locked"}})
    assert isinstance(busy, CommandDelayed)
    assert busy.retry_after == 1.0
