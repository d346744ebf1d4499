"""The requests that are sent: CometChat's sample payload with an id of its own each time, and Slack's counterpart."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Iterator
from itertools import count

import orjson

APP_ID = "2248348660ad9bd4"
BOT = "demo_bot"
USERNAME, PASSWORD = "cometchat", "callback-password"
SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
CONVERSATIONS = 1000
"""So many conversations take turns."""

Requests = Iterator[bytes]
_numbers = count(1)


def callback_body(number: int, conversations: int = CONVERSATIONS) -> bytes:
    """A bot callback of the shape and size (about 1 KB) of the documented sample."""
    user = f"cometchat-uid-{number % conversations}"
    conversation = f"{user}_user_{BOT}"
    sender = _entity(user, "Andrew Joseph")
    receiver = _entity(BOT, "George Alan")
    receiver["conversationId"] = conversation
    message = {
        "id": str(number),
        "conversationId": conversation,
        "sender": user,
        "receiverType": "user",
        "receiver": BOT,
        "category": "message",
        "type": "text",
        "data": {
            "text": "hi",
            "resource": "WEB-3_0_11-055bb47a-7b1f-417b-8385-9d31e606da2a-1680119041609",
            "entities": {
                "sender": {"entity": sender, "entityType": "user"},
                "receiver": {"entity": receiver, "entityType": "user"},
            },
        },
        "sentAt": 1680125130,
        "updatedAt": 1680125130,
    }
    return orjson.dumps(
        {
            "trigger": "after_message",
            "data": message,
            "appId": APP_ID,
            "origin": {"platform": "web", "language": "reactjs", "resource": "chat-widget"},
            "chatAPIVersion": "3.0",
            "region": "eu",
            "bot": BOT,
        }
    )


def _entity(uid: str, name: str) -> dict[str, str | int]:
    avatar = f"https://data-eu.cometchat.io/assets/images/avatars/{uid}.webp"
    return {
        "uid": uid,
        "name": name,
        "avatar": avatar,
        "status": "available",
        "role": "default",
        "lastActiveAt": 1675773639,
    }


def callbacks(path: str) -> Requests:
    """HTTP requests with bot callbacks, without end; no id occurs twice in one run."""
    return _posts(path, callback_body, lambda body: _callback_headers())


def _callback_headers() -> dict[str, str]:
    credentials = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
    return {"Authorization": f"Basic {credentials}"}


def slack_events(path: str) -> Requests:
    """HTTP requests with Slack's message events, signed as Slack does, without end."""
    return _posts(path, _slack_body, _slack_signature)


def _slack_body(number: int) -> bytes:
    text = "hi " + "x" * 480
    event = {
        "type": "message",
        "channel": f"C{number % CONVERSATIONS}",
        "user": "U0ANDREW",
        "text": text,
        "ts": f"1680125130.{number:06d}",
        "event_ts": f"1680125130.{number:06d}",
        "channel_type": "im",
        "client_msg_id": f"055bb47a-7b1f-417b-8385-{number:012d}",
    }
    authorization = {
        "enterprise_id": None,
        "team_id": "T0BENCH",
        "user_id": "U0BOT",
        "is_bot": True,
        "is_enterprise_install": False,
    }
    return orjson.dumps(
        {
            "token": "verification",
            "team_id": "T0BENCH",
            "api_app_id": "A0BENCH",
            "event": event,
            "type": "event_callback",
            "event_id": f"Ev{number}",
            "event_time": 1680125130,
            "authorizations": [authorization],
            "is_ext_shared_channel": False,
        }
    )


def _slack_signature(body: bytes) -> dict[str, str]:
    now = str(int(time.time()))
    signed = hmac.new(SIGNING_SECRET.encode(), b"v0:" + now.encode() + b":" + body, hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": now, "X-Slack-Signature": f"v0={signed}"}


def _posts(path: str, make_body: Callable[[int], bytes], sign: Callable[[bytes], dict[str, str]]) -> Requests:
    for number in _numbers:
        body = make_body(number)
        yield _post(path, body, sign(body))


def _post(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    headers = {
        "Host": "127.0.0.1",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def _cometchat_message(path: str, number: int, user: int) -> bytes:
    body = orjson.loads(callback_body(user, user + 1))
    body["data"]["id"], body["data"]["data"]["text"] = str(number), f"hi {number}"
    return _post(path, orjson.dumps(body), _callback_headers())


def _slack_message(path: str, number: int, user: int) -> bytes:
    body = orjson.loads(_slack_body(number))
    body["event"].update(channel=f"D{user}", user=f"U{user}", text=f"hi {number}", channel_type="im")
    signed = orjson.dumps(body)
    return _post(path, signed, _slack_signature(signed))


def _telegram_message(path: str, number: int, user: int) -> bytes:
    chat = {"id": user + 1, "type": "private", "first_name": "Andrew"}
    message = {
        "message_id": number,
        "date": 1680125130,
        "chat": chat,
        "from": {**chat, "is_bot": False, "language_code": "en"},
        "text": f"hi {number}",
    }
    return _post(path, orjson.dumps({"update_id": number, "message": message}), {})


MAKERS: dict[str, Callable[[str, int, int], bytes]] = {
    "cometchat": _cometchat_message,
    "slack": _slack_message,
    "telegram": _telegram_message,
}
"""The functions that make the request of a message, by platform: ``MAKERS[platform](path, number, user)``."""
