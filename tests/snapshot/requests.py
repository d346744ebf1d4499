"""The requests whose answers are recorded, in order."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.integration.channels.cometchat.documented_payloads import BOT, CALLBACKS, WEBHOOKS, direct
from tests.snapshot.site import ADMIN, AGUI_TOKEN, basic

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 61
JSON = {"Content-Type": "application/json"}
HEADERS: dict[str, dict[str, str]] = {
    "cc": {"Authorization": basic("cc", "the-callback-password")},
    "wrong": {"Authorization": basic("cc", "wrong")},
    "mod": {"Authorization": basic("mod", "the-moderation-password")},
    "hook": {"Authorization": basic("hook", "the-webhook-password")},
    "maria": {"x-user-key": "{maria_key}"},
    "tom": {"x-user-key": "{tom_key}"},
    "signed": {"x-user-key": "{signed_key}"},
    "forged": {"x-user-key": "{maria_key}x"},
    "admin": {"Authorization": ADMIN},
    "agent": {"Authorization": f"Bearer {AGUI_TOKEN}"},
    "bot": {"Authorization": "{bot_key}"},
    "rest": {"apikey": "{api_key}"},
    "auth-only": {"apikey": "{auth_key}"},
    "as-maria": {"apikey": "{api_key}", "onBehalfOf": "maria"},
}
"""Headers by who asks. Each has cookies of its own too."""


@dataclass(frozen=True)
class Request:
    """A request to ``site``; ``capture`` names the values for later requests, by their place in the answer."""

    site: str
    method: str
    path: str
    who: str = ""
    note: str = ""
    capture: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def request(
    line: str, json: Any = None, *, site: str = "app", note: str = "", capture: Any = None, **options: Any
) -> Request:
    """Make a request of ``METHOD PATH [WHO]``."""
    method, path, who = (*line.split(" "), "")[:3]
    if json is not None:
        options["json"] = json
    return Request(site, method, path, who, note, capture or {}, options)


def upload(line: str, name: str, content: bytes, **more: Any) -> Request:
    parts = {"file": [(io.BytesIO(content), name)]}
    return request(line, data=parts, content_type="multipart/form-data", **more)


def _callbacks() -> Iterator[Request]:
    path = "/cometchat/helpdesk"
    text = CALLBACKS["direct text"]
    for number, (name, payload) in enumerate(CALLBACKS.items()):
        own = {**payload, "data": {**payload["data"], "id": str(7000 + number)}}
        yield request(f"POST {path} cc", own, note=name)
    for name, payload in WEBHOOKS.items():
        yield request(f"POST {path}/webhook hook", payload, note=name)
    yield request(f"POST {path} cc", {**text, "data": {**text["data"], "id": "7000"}}, note="again")
    yield request("POST /cometchat cc", text, note="shared callback")
    yield request("POST /cometchat cc", {**text, "bot": "nobody"}, note="shared callback of an unknown bot")
    yield request("POST /cometchat/nobody cc", text)
    yield request(f"POST {path}", text)
    yield request(f"POST {path} wrong", text)
    yield request(f"POST {path}", text, headers={"Authorization": "Bearer abc"}, note="Bearer")
    yield request(f"POST {path}/webhook cc", WEBHOOKS["message_sent"], note="credentials of the callback")
    for written in ("hello", "our casino", "raise"):
        judged = {"contextMessages": [{"tom": "before"}, {BOT: direct(data={"text": written})}]}
        yield request(f"POST {path}/moderation mod", judged, note=written)
    yield request(f"POST {path}/moderation mod", {"contextMessages": []}, note="without a message")
    yield request(f"POST {path}/moderation cc", {"contextMessages": []}, note="credentials of the callback")
    yield request(f"GET {path}/moderation mod")
    yield request(f"POST {path} cc", {**text, "appId": "another"}, note="another app")
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        yield request(f"{method} {path} cc")
    bodies = {b"": "empty", b"{": "no JSON", b"[]": "a list", b"\xff": "no UTF-8", b"[" * 3000: "nested", b"{}": "{}"}
    for body, name in bodies.items():
        yield request(f"POST {path} cc", data=body, headers=JSON, note=name)
    yield request(f"POST {path} cc", data=b"{}", headers={"Content-Type": "text/plain"}, note="text/plain")
    yield request(f"POST {path} cc", data=b"{}", headers={**JSON, "Content-Encoding": "gzip"}, note="gzip")
    yield request(f"POST {path} cc", data=b" " * (1024 * 1024 + 1), headers=JSON, note="too long")
    for change in ({"id": ""}, {"id": None}, {"sender": 5}, {"receiverType": "planet"}, {"category": []}, {"data": 1}):
        yield request(f"POST {path} cc", {**text, "data": {**text["data"], **change}}, note=str(change))
    yield request(f"POST {path} cc", {"trigger": 1}, note="trigger is a number")


def _chat_api() -> Iterator[Request]:
    root = "/chat/helpdesk"
    made = {"maria_key": "key", "maria": "user.id"}
    text = {"type": "text", "text": "hello"}
    yield request(f"GET {root}/hello")
    yield request(f"GET {root}")
    yield request(f"GET {root}/redoc")
    yield request("GET /chat/nobody/hello")
    yield request(f"POST {root}/users", {"name": "Maria", "pictureUrl": "https://e.example/m.png"}, capture=made)
    yield request(f"POST {root}/users", {"name": "Tom"}, capture={"tom_key": "key", "tom": "user.id"})
    yield request(f"POST {root}/users", {"name": 5})
    yield request(f"POST {root}/users", {"id": "../x"}, note="id with a slash")
    yield request(f"POST {root}/users", {"profile": "x" * 2000}, note="long profile")
    yield request(f"POST {root}/users/get-or-create maria", {"name": "Maria K."})
    yield request(f"GET {root}/users/me maria")
    yield request(f"GET {root}/users/me")
    yield request(f"GET {root}/users/me forged")
    yield request(f"GET {root}/users/me", headers={"x-user-key": "abc"}, note="a key that is none")
    yield request(f"PUT {root}/users/me maria", {"name": "Maria Keller"})
    yield request(f"PUT {root}/users/me maria", {"name": []})
    yield request(f"POST {root}/conversations maria", {}, capture={"talk": "conversation.id"})
    yield request(f"POST {root}/conversations maria", {"id": "own-id"})
    yield request(f"POST {root}/conversations maria", {"id": "own-id"}, note="again")
    yield request(f"POST {root}/conversations/get-or-create maria", {"id": "own-id"})
    yield request(f"POST {root}/conversations/get-or-create tom", {"id": "own-id"})
    yield request(f"POST {root}/conversations maria", {})
    yield request(f"POST {root}/conversations maria", {}, note="more than allowed")
    yield request(f"GET {root}/conversations maria")
    yield request(f"GET {root}/conversations?nextToken=abc maria")
    for who in ("maria", "tom", "forged"):
        yield request(f"GET {root}/conversations/{{talk}} {who}")
    yield request(f"GET {root}/conversations/none maria")
    said = {"conversationId": "{talk}", "payload": text}
    yield request(f"POST {root}/messages maria", said, capture={"chat_message": "message.id"})
    yield request(f"POST {root}/messages tom", said)
    yield request(f"POST {root}/messages maria", {**said, "metadata": {"a": 1}})
    yield request(f"POST {root}/messages maria", {**said, "conversationId": "none"})
    image, address = {"imageUrl": "https://e.example/a.png"}, {"latitude": 48.1, "longitude": 11.5}
    cards = {"title": "Tea", "actions": [{"action": "postback", "label": "Buy", "value": "tea"}]}
    options = {"text": "Which?", "options": [{"label": "Red", "value": "red"}]}
    for kind, fields in {
        "markdown": {"markdown": "**hi**"},
        "image": image,
        "audio": {"audioUrl": "https://e.example/a.mp3"},
        "video": {"videoUrl": "https://e.example/a.mp4"},
        "file": {"fileUrl": "https://e.example/a.pdf", "title": "A"},
        "location": address,
        "card": cards,
        "choice": options,
        "dropdown": options,
        "carousel": {"items": [{"type": "card", **cards}]},
        "bloc": {"items": [{"type": "text", "text": "a"}, {"type": "image", **image}]},
        "text": {"text": ""},
        "planet": {},
    }.items():
        yield request(f"POST {root}/messages maria", {**said, "payload": {"type": kind, **fields}}, note=kind)
    yield request(f"GET {root}/conversations/{{talk}}/messages maria")
    yield request(f"GET {root}/conversations/{{talk}}/messages tom")
    yield request(f"GET {root}/messages/{{chat_message}} maria")
    yield request(f"GET {root}/messages/none maria")
    yield request(f"DELETE {root}/messages/{{chat_message}} tom")
    yield request(f"DELETE {root}/messages/{{chat_message}} maria")
    event = {"conversationId": "{talk}", "payload": {"ping": 1}}
    yield request(f"POST {root}/events maria", event, capture={"event": "event.id"})
    yield request(f"POST {root}/events maria", {"payload": 1})
    yield request(f"GET {root}/events/{{event}} maria")
    people = f"{root}/conversations/{{talk}}/participants"
    yield request(f"POST {people} maria", {"userId": "{tom}"})
    yield request(f"POST {people} maria", {"userId": "none"})
    yield request(f"GET {people} tom")
    yield request(f"GET {people}/{{tom}} maria")
    yield request(f"GET {root}/conversations/{{talk}}/listen maria")
    yield request(f"DELETE {people}/{{tom}} maria")
    yield request(f"GET {root}/conversations/{{talk}}/listen tom")
    yield request(f"DELETE {root}/conversations/{{talk}} tom")
    yield request(f"DELETE {root}/conversations/{{talk}} maria")
    yield request(f"DELETE {root}/users/me tom")
    yield request(f"GET {root}/users/me tom", note="after the end")
    yield request(f"PATCH {root}/users/me maria", {})
    yield request(f"GET {root}/nothing maria")
    yield request(f"POST {root}/messages maria", data=b"{", headers=JSON, note="no JSON")
    yield request(f"POST {root}/messages maria", data=b"{}", headers={"Content-Type": "text/plain"}, note="text/plain")
    yield request(f"POST {root}/messages maria", data=b" " * (1024 * 1024 + 1), headers=JSON, note="too long")
    for origin in ("https://app.example.com", "https://other.example.com"):
        yield request(f"OPTIONS {root}/users/me", headers={"Origin": origin}, note=origin)
        yield request(f"GET {root}/users/me maria", headers={"Origin": origin}, note=origin)
    yield request("POST /chat/signed/users", {"name": "Maria"})
    yield request("GET /chat/signed/users/me signed")
    yield request("POST /chat/signed/users/get-or-create signed", {"name": "Maria"})
    yield request("GET /chat/signed/users/me signed")
    yield request("GET /chat/signed/users/me maria", note="a key of another bot")


def _platform() -> Iterator[Request]:
    api = "/v1/client-api"
    yield request(f"GET {api}/service-info")
    yield request(f"GET {api}/bots")
    yield request(f"GET {api}/bot/helpdesk")
    yield request(f"GET {api}/bot/nobody")
    yield request(f"GET {api}/user")
    for body in ({"nickname": ""}, {"nickname": "x" * 500}, {"nickname": 5}, [], {}):
        yield request(f"POST {api}/user", body, note=str(body)[:30])
    yield request(f"POST {api}/user", data=b"{", headers=JSON, note="no JSON")
    yield request(f"POST {api}/user", {"nickname": "Eve"}, headers={"Origin": "https://evil.example"}, note="foreign")
    yield request(f"POST {api}/user ann", {"nickname": "Ann"}, capture={"ann": "id"})
    yield request(f"POST {api}/user bob", {"nickname": "Bob"}, capture={"bob": "id"})
    yield request(f"GET {api}/user ann")
    yield request(f"GET {api}/bot/helpdesk/commands ann")
    yield request(f"POST {api}/chat ann", {"botId": "helpdesk"}, capture={"chat": "id"})
    yield request(f"POST {api}/chat ann", {"botId": "nobody"})
    yield request(f"POST {api}/chat", {"botId": "helpdesk"})
    yield request(f"GET {api}/chats ann")
    yield request(f"GET {api}/chats?bot_id=helpdesk ann")
    said = {"chatId": "{chat}", "body": "hello"}
    yield request(f"POST {api}/chat/message ann", said, capture={"message": "id"})
    yield request(f"POST {api}/chat/message bob", said)
    yield request(f"POST {api}/chat/message ann", {**said, "body": ""}, note="empty")
    yield request(f"POST {api}/chat/message ann", {**said, "body": "x" * 100_000}, note="too long")
    yield request(f"POST {api}/chat/message ann", {**said, "attachmentIds": ["none"]}, note="unknown file")
    yield upload(f"POST {api}/files ann", "a.png", PNG, capture={"file": "0.id", "file_path": "0.path"})
    yield upload(f"POST {api}/files", "a.png", PNG)
    yield request(f"POST {api}/files ann", {"a": 1})
    yield request(f"POST {api}/chat/message ann", {**said, "attachmentIds": ["{file}"]}, note="with a file")
    yield request("GET /{file_path} ann")
    yield request("GET /{file_path} ann", headers={"Range": "bytes=0-3"}, note="a range")
    yield request("GET /{file_path}", note="a stranger")
    yield request("GET /static/image/none.png ann")
    yield request(f"GET {api}/chat/{{chat}}/messages ann")
    yield request(f"GET {api}/chat/{{chat}}/messages?limit=1&page=2 ann")
    yield request(f"GET {api}/chat/{{chat}}/messages bob")
    for path in ("/v1/nothing", "/V1/client-api/bots", "/v1/client-api/bots/", "/nothing", "/static/x"):
        yield request(f"GET {path}")
    yield request(f"DELETE {api}/bots")
    yield request(f"OPTIONS {api}/bots", headers={"Origin": "http://localhost"})
    yield from _admin_and_bot_api()
    yield from _page_api()
    yield request(f"DELETE {api}/chat/{{chat}} bob")
    yield request(f"DELETE {api}/chat/{{chat}} ann")


def _admin_and_bot_api() -> Iterator[Request]:
    admin, api = "/v1/admin-api", "/v1/bot-api"
    yield request(f"POST {admin}/bot", {"name": "Elsewhere"})
    yield request(f"POST {admin}/bot", {"name": "Elsewhere"}, headers={"Authorization": "wrong"}, note="a wrong key")
    made = {"bot_key": "key", "bot": "bot.id"}
    yield request(f"POST {admin}/bot admin", {"name": "Elsewhere", "description": "Runs elsewhere."}, capture=made)
    yield request(f"POST {admin}/bot admin", {"name": "Elsewhere"}, note="again")
    yield request(f"POST {admin}/bot admin", {"name": "x"}, capture={"other_key": "key"})
    yield request(f"GET {admin}/bot/{{bot}}/key admin")
    yield request(f"GET {admin}/bot/nobody/key admin")
    yield request(f"PUT {admin}/config admin")
    yield request(f"GET {api}/bot")
    yield request(f"GET {api}/bot", headers={"Authorization": "wrong"}, note="a wrong key")
    yield request(f"GET {api}/bot bot")
    yield request(f"PUT {api}/bot bot", {"description": "Runs somewhere else."})
    yield request(f"PUT {api}/bot bot", {"name": "x" * 500})
    yield request(f"POST {api}/bot/commands bot", [{"alias": "help", "description": "Shows some help."}])
    yield request(f"POST {api}/bot/commands bot", [{"alias": "", "description": ""}])
    yield request(f"GET {api}/bot/commands bot", capture={"command": "0.id"})
    yield request(f"DELETE {api}/bot/command/{{command}} bot")
    yield request(f"DELETE {api}/bot/command/none bot")
    yield request(f"GET {api}/bot/webhook bot")
    yield request(f"POST {api}/bot/webhook bot", {"url": "http://127.0.0.1:9/hook", "secret": "a-secret-of-the-hook"})
    yield request(f"POST {api}/bot/webhook bot", {"url": "ftp://x", "secret": "s"})
    yield request(f"DELETE {api}/bot/webhook bot")
    yield request("POST /v1/client-api/chat ann", {"botId": "{bot}"}, capture={"bot_chat": "id"})
    yield request(f"GET {api}/chats bot")
    yield request(f"GET {api}/chats?user_id={{ann}} bot")
    yield request(f"POST {api}/chat/message bot", {"chatId": "{bot_chat}", "body": "hi"}, capture={"bot_message": "id"})
    yield request(f"POST {api}/chat/message bot", {"chatId": "{chat}", "body": "hi"}, note="another bot's chat")
    yield request(f"GET {api}/chat/{{bot_chat}}/messages bot")
    yield request(f"GET {api}/chat/message/{{bot_message}} bot")
    yield request(f"GET {api}/chat/message/none bot")
    yield upload(f"POST {api}/files bot", "a.txt", b"hello")
    yield request(f"PUT {admin}/bot/{{bot}}/key admin", capture={"new_key": "key"})
    yield request(f"GET {api}/bot bot", note="with the old key")
    yield request(f"DELETE {admin}/bot/{{bot}} admin")
    yield request(f"DELETE {admin}/bot/helpdesk admin")


def _agui() -> Iterator[Request]:
    path = "/agui/helpdesk"
    said = {"threadId": "t", "runId": "r", "messages": [{"id": "1", "role": "user", "content": "hello"}]}
    yield request(f"POST {path} agent", said)
    yield request(f"POST {path} agent", {**said, "messages": []}, note="for nothing")
    yield request(f"POST {path}", said)
    yield request("POST /agui/nobody agent", said)
    yield request(f"POST {path} agent", data=b"{", headers=JSON, note="no JSON")
    yield request(f"POST {path} agent", [said])
    yield request(f"POST {path} agent", data=b"{}", headers={"Content-Type": "text/plain"})
    yield request(f"POST {path} agent", data=b" " * 1_048_577, headers=JSON, note="too long")
    yield request(f"GET {path} agent")


def _page_api() -> Iterator[Request]:
    api = "/v1/page-api"
    for path in ("/", "/bot/helpdesk", "/conversation/none", "/page/none"):
        yield request(f"GET {path}")
    yield request(f"GET {api}/start")
    yield request(f"POST {api}/user cleo", {"name": "Cléo M."}, capture={"cleo": "id"})
    yield request(f"POST {api}/user", {"name": ""})
    yield request("POST /v1/client-api/chat cleo", {"botId": "helpdesk"}, capture={"page_chat": "id"})
    chat = f"{api}/chat/{{page_chat}}"
    yield request(f"POST {chat}/messages cleo", {"body": "hello", "clientId": "c1"})
    yield request(f"POST {chat}/messages cleo", {"body": "hello", "clientId": "c1"}, note="again")
    yield request(f"POST {chat}/messages cleo", {"body": ""})
    yield request(f"GET {chat}/messages cleo")
    yield request(f"GET {chat}/messages?limit=x cleo")
    yield request(f"PATCH {chat} cleo", {"title": "Tea"})
    yield request(f"PATCH {chat} bob", {"title": "Tea"})
    yield request(f"GET {api}/start cleo")
    yield request(f"GET {api}/events cleo")
    yield request(f"GET {api}/events")
    yield request(f"POST {api}/leave cleo")


def _simulator() -> Iterator[Request]:
    def call(line: str, json: Any = None, **options: Any) -> Request:
        return request(line, json, site="simulator", **options)

    text = {"receiver": "helpdesk", "receiverType": "user", "category": "message", "type": "text"}
    text |= {"data": {"text": "hi"}}
    yield call("GET /v3/users")
    yield call("GET /v3/users", headers={"apikey": "wrong"}, note="a wrong key")
    yield call("GET /v3/users rest", headers={"appId": "another"}, note="another app")
    yield call("GET /v3/users auth-only")
    yield call("GET /v3/users rest")
    yield call("GET /v3.0/users/maria rest")
    yield call("GET /v2/users rest")
    yield call("GET /v3/nothing rest")
    yield call("POST /v3/users auth-only", {"uid": "zoe", "name": "Zoe"})
    yield call("POST /v3/users rest", {"uid": "zoe", "name": "Zoe"})
    yield call("POST /v3/users rest", {"uid": "a b"})
    yield call("POST /v3/users rest", data=b"{", headers=JSON, note="no JSON")
    yield call("PUT /v3/users/zoe rest", {"name": "Zoë"})
    yield call("POST /v3/users/zoe/auth_tokens rest", {})
    yield call("GET /v3/bots rest")
    yield call("GET /v3/bots/helpdesk rest")
    yield call("GET /v3/bots/nobody rest")
    yield call("POST /v3/messages as-maria", text)
    yield call("POST /v3/messages as-maria", {**text, "receiver": "nobody"})
    yield call("POST /v3/messages as-maria", {**text, "category": "planet"})
    yield call("POST /v3/bots/helpdesk/messages rest", {**text, "receiver": "maria"})
    yield call("GET /v3/messages rest")
    yield call("GET /v3/messages/3 rest")
    yield call("GET /v3/messages/99 rest")
    yield call("PUT /v3/messages/3 as-maria", {"data": {"text": "ho"}})
    yield call("POST /v3/messages/3/reactions/👍 as-maria")
    yield call("POST /v3/messages/3/reactions/👍 rest", note="of nobody")
    yield call("GET /v3/messages/3/reactions rest")
    yield call("POST /v3/messages/3/thread as-maria", text)
    yield call("GET /v3/users/helpdesk/messages as-maria")
    yield call("GET /v3/users/helpdesk/conversation as-maria")
    yield call("GET /v3/conversations as-maria")
    yield call("DELETE /v3/messages/3 as-maria")
    yield call("GET /v3/groups rest")
    yield call("POST /v3/groups as-maria", {"guid": "tea", "name": "Tea", "type": "public"})
    yield call("POST /v3/groups/tea/members rest", {"participants": ["tom"]})
    yield call("GET /v3/groups/tea/members rest")
    yield call("POST /v3/groups/tea/bannedusers/tom rest")
    yield call("DELETE /v3/groups/tea rest")
    yield call("DELETE /v3/users/zoe rest", {"permanent": True})
    near = {"base_url": "http://127.0.0.1:9", "environ_overrides": {"REMOTE_ADDR": "127.0.0.1"}}
    yield call("GET /simulator", base_url="http://127.0.0.1:9", note="from another machine")
    yield call("GET /simulator", **near)
    yield call("POST /simulator/misbehave", {"kind": "planet"}, **near)
    yield call("GET /simulator/messages", **near)


def _monitoring() -> Iterator[Request]:
    for path in ("/healthz", "/readyz", "/metrics"):
        yield request(f"GET {path}")
        yield request(f"POST {path}")


REQUESTS = [*_callbacks(), *_chat_api(), *_platform(), *_agui(), *_simulator(), *_monitoring()]
