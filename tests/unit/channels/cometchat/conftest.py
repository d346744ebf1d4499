"""Payloads as CometChat sends them, and what they are sent to."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from cometbot.channels.cometchat import parsing, payloads
from cometbot.events import Event
from cometbot.models import Conversation

APP = "0123456789abcdef"
DIRECT = Conversation("cometchat", APP, "helpdesk", "helpdesk-bot_user_maria-k", "maria-k")

MARIA = {"uid": "maria-k", "name": "Maria K", "avatar": "https://cdn.example.org/m.webp", "role": "default"}
BOT = {"uid": "helpdesk-bot", "name": "Helpdesk", "status": "offline", "role": "default"}
GROUP = {"guid": "ops-room", "name": "Ops", "type": "private", "membersCount": 9, "owner": "lead-1"}


def make_message(**changes: Any) -> dict[str, Any]:
    """Maria's text of docs/protocols/cometchat.md, "Callback payload"; ``data`` is merged into the inner one."""
    message: dict[str, Any] = {
        "id": "90430",
        "muid": "_k2x81q",
        "conversationId": "helpdesk-bot_user_maria-k",
        "sender": "maria-k",
        "receiverType": "user",
        "receiver": "helpdesk-bot",
        "category": "message",
        "type": "text",
        "data": {
            "text": "status of ticket 4711?",
            "resource": "WEB-4_1_10-0f6c-1767225600000",
            "entities": {
                "sender": {"entityType": "user", "entity": MARIA},
                "receiver": {"entityType": "user", "entity": BOT},
            },
        },
        "sentAt": 1767225690,
        "updatedAt": 1767225690,
    }
    inner = changes.pop("data", {})
    message["data"] |= inner
    return copy.deepcopy(message | changes)


def make_group_message(**changes: Any) -> dict[str, Any]:
    """A text of Maria's in a group (section 4.4)."""
    entities = {
        "sender": {"entityType": "user", "entity": MARIA},
        "receiver": {"entityType": "group", "entity": GROUP},
    }
    inner = {"text": "<@uid:helpdesk-bot> who is on call?", "entities": entities} | changes.pop("data", {})
    where = {"conversationId": "group_ops-room", "receiverType": "group", "receiver": "ops-room", "id": "90502"}
    return make_message(**(where | changes), data=inner)


def make_callback(message: Any = None, **changes: Any) -> dict[str, Any]:
    """The callback around a message."""
    callback = {
        "trigger": "after_message",
        "data": make_message() if message is None else message,
        "appId": APP,
        "region": "eu",
        "chatAPIVersion": "3.0",
        "origin": {"platform": "web", "language": "reactjs", "resource": "chat-widget"},
        "bot": "helpdesk-bot",
    }
    return callback | changes


def make_webhook(trigger: str, **data: Any) -> dict[str, Any]:
    """The app webhook that reports ``data``."""
    return {"trigger": trigger, "data": data, "appId": APP, "region": "eu", "webhook": "ops-hook"}


def make_action(kind: str, action: str, *, on: Any, by: Any = MARIA, **changes: Any) -> dict[str, Any]:
    """An ``action`` message: ``make_action("message", "edited", on=…)``; ``for`` is the group."""
    entities = {
        "by": {"entityType": "user", "entity": by},
        "on": {"entityType": kind, "entity": on},
        "for": {"entityType": "group", "entity": GROUP},
    }
    where = {"conversationId": "group_ops-room", "receiverType": "group", "receiver": "ops-room", "id": "90600"}
    inner = {"text": "", "action": action, "entities": entities} | changes.pop("data", {})
    return make_message(**({"category": "action", "type": kind} | where | changes), data=inner)


def parse_payload(payload: dict[str, Any], key: str = "some:key") -> Any:
    event: Event = parsing.parse(payload, conversation=DIRECT, key=key)
    return event


def read_notification_of(payload: dict[str, Any]) -> payloads.Notification | None:
    return payloads.read_notification(payload, orjson.dumps(payload))


@pytest.fixture
def message_of() -> Callable[..., dict[str, Any]]:
    return make_message


@pytest.fixture
def group_message_of() -> Callable[..., dict[str, Any]]:
    return make_group_message


@pytest.fixture
def callback_of() -> Callable[..., dict[str, Any]]:
    return make_callback


@pytest.fixture
def webhook_of() -> Callable[..., dict[str, Any]]:
    return make_webhook


@pytest.fixture
def parse() -> Callable[..., Any]:
    return parse_payload


@pytest.fixture
def read_notification() -> Callable[[dict[str, Any]], payloads.Notification | None]:
    return read_notification_of


@pytest.fixture
def action_of() -> Callable[..., dict[str, Any]]:
    return make_action


@pytest.fixture
def sample() -> dict[str, Any]:
    """The sample payload of CometChat's own page about bots."""
    andrew = {
        "uid": "cometchat-uid-1",
        "name": "Andrew Joseph",
        "avatar": "https:__data-eu.cometchat.io_assets_images_avatars_cometchat-uid-1.webp",
        "status": "available",
        "role": "default",
        "lastActiveAt": 1675773639,
    }
    george = {
        "uid": "cometchat-uid-2",
        "name": "George Alan",
        "avatar": "https:__data-eu.cometchat.io_assets_images_avatars_cometchat-uid-2.webp",
        "status": "offline",
        "role": "default",
        "lastActiveAt": 1680124695,
        "conversationId": "cometchat-uid-1_user_cometchat-uid-2",
    }
    return {
        "trigger": "after_message",
        "data": {
            "id": "712",
            "conversationId": "cometchat-uid-1_user_cometchat-uid-2",
            "sender": "cometchat-uid-1",
            "receiverType": "user",
            "receiver": "cometchat-uid-2",
            "category": "message",
            "type": "text",
            "data": {
                "text": "hi",
                "resource": "WEB-3_0_11-055bb47a-7b1f-417b-8385-9d31e606da2a-1680119041609",
                "entities": {
                    "sender": {"entity": andrew, "entityType": "user"},
                    "receiver": {"entity": george, "entityType": "user"},
                },
            },
            "sentAt": 1680125130,
            "updatedAt": 1680125130,
        },
        "appId": "2248348660ad9bd4",
        "origin": {"platform": "web", "language": "reactjs", "resource": "chat-widget"},
        "chatAPIVersion": "3.0",
        "region": "eu",
        "bot": "demo_bot",
    }
