"""The requests whose answers are recorded, in order."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.integration.channels.cometchat.documented_payloads import CALLBACKS, WEBHOOKS
from tests.snapshot.site import ADMIN, basic

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 61
JSON = {"Content-Type": "application/json"}
HEADERS: dict[str, dict[str, str]] = {
    "cc": {"Authorization": basic("cc", "the-callback-password")},
    "wrong": {"Authorization": basic("cc", "wrong")},
    "hook": {"Authorization": basic("hook", "the-webhook-password")},
    "maria": {"x-user-key": "{maria_key}"},
    "tom": {"x-user-key": "{tom_key}"},
    "signed": {"x-user-key": "{signed_key}"},
    "forged": {"x-user-key": "{maria_key}x"},
    "admin": {"Authorization": ADMIN},
    "bot": {"Authorization": "{bot_key}"},
    "rest": {"apikey": "{api_key}"},
    "auth-only": {"apikey": "{auth_key}"},
    "as-maria": {"apikey": "{api_key}", "onBehalfOf": "maria"},
}
"""Headers by who asks. Each has cookies of its own too."""


@dataclass(frozen=True)
class Request:
    """A request to ``site``; ``keep`` names what later requests use, by its place in the answer."""

    site: str
    method: str
    path: str
    who: str = ""
    note: str = ""
    keep: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def ask(line: str, json: Any = None, *, site: str = "app", note: str = "", keep: Any = None, **options: Any) -> Request:
    """Make a request of ``METHOD PATH [WHO]``."""
    method, path, who = (*line.split(" "), "")[:3]
    if json is not None:
        options["json"] = json
    return Request(site, method, path, who, note, keep or {}, options)


def upload(line: str, name: str, content: bytes, **more: Any) -> Request:
    parts = {"file": [(io.BytesIO(content), name)]}
    return ask(line, data=parts, content_type="multipart/form-data", **more)


def _callbacks() -> Iterator[Request]:
    path = "/cometchat/helpdesk"
    text = CALLBACKS["direct text"]
    for number, (name, payload) in enumerate(CALLBACKS.items()):
        own = {**payload, "data": {**payload["data"], "id": str(7000 + number)}}
        yield ask(f"POST {path} cc", own, note=name)
    for name, payload in WEBHOOKS.items():
        yield ask(f"POST {path}/webhook hook", payload, note=name)
    yield ask(f"POST {path} cc", {**text, "data": {**text["data"], "id": "7000"}}, note="again")
    yield ask("POST /cometchat cc", text, note="shared callback")
    yield ask("POST /cometchat cc", {**text, "bot": "nobody"}, note="shared callback of an unknown bot")
    yield ask("POST /cometchat/nobody cc", text)
    yield ask(f"POST {path}", text)
    yield ask(f"POST {path} wrong", text)
    yield ask(f"POST {path}", text, headers={"Authorization": "Bearer abc"}, note="Bearer")
    yield ask(f"POST {path}/webhook cc", WEBHOOKS["message_sent"], note="credentials of the callback")
    yield ask(f"POST {path} cc", {**text, "appId": "another"}, note="another app")
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        yield ask(f"{method} {path} cc")
    bodies = {b"": "empty", b"{": "no JSON", b"[]": "a list", b"\xff": "no UTF-8", b"[" * 3000: "nested", b"{}": "{}"}
    for body, name in bodies.items():
        yield ask(f"POST {path} cc", data=body, headers=JSON, note=name)
    yield ask(f"POST {path} cc", data=b"{}", headers={"Content-Type": "text/plain"}, note="text/plain")
    yield ask(f"POST {path} cc", data=b"{}", headers={**JSON, "Content-Encoding": "gzip"}, note="gzip")
    yield ask(f"POST {path} cc", data=b" " * (1024 * 1024 + 1), headers=JSON, note="too long")
    for change in ({"id": ""}, {"id": None}, {"sender": 5}, {"receiverType": "planet"}, {"category": []}, {"data": 1}):
        yield ask(f"POST {path} cc", {**text, "data": {**text["data"], **change}}, note=str(change))
    yield ask(f"POST {path} cc", {"trigger": 1}, note="trigger is a number")


def _chat_api() -> Iterator[Request]:
    root = "/chat/helpdesk"
    made = {"maria_key": "key", "maria": "user.id"}
    text = {"type": "text", "text": "hello"}
    yield ask(f"GET {root}/hello")
    yield ask(f"GET {root}")
    yield ask(f"GET {root}/redoc")
    yield ask("GET /chat/nobody/hello")
    yield ask(f"POST {root}/users", {"name": "Maria", "pictureUrl": "https://e.example/m.png"}, keep=made)
    yield ask(f"POST {root}/users", {"name": "Tom"}, keep={"tom_key": "key", "tom": "user.id"})
    yield ask(f"POST {root}/users", {"name": 5})
    yield ask(f"POST {root}/users", {"id": "../x"}, note="id with a slash")
    yield ask(f"POST {root}/users", {"profile": "x" * 2000}, note="long profile")
    yield ask(f"POST {root}/users/get-or-create maria", {"name": "Maria K."})
    yield ask(f"GET {root}/users/me maria")
    yield ask(f"GET {root}/users/me")
    yield ask(f"GET {root}/users/me forged")
    yield ask(f"GET {root}/users/me", headers={"x-user-key": "abc"}, note="a key that is none")
    yield ask(f"PUT {root}/users/me maria", {"name": "Maria Keller"})
    yield ask(f"PUT {root}/users/me maria", {"name": []})
    yield ask(f"POST {root}/conversations maria", {}, keep={"talk": "conversation.id"})
    yield ask(f"POST {root}/conversations maria", {"id": "own-id"})
    yield ask(f"POST {root}/conversations maria", {"id": "own-id"}, note="again")
    yield ask(f"POST {root}/conversations/get-or-create maria", {"id": "own-id"})
    yield ask(f"POST {root}/conversations/get-or-create tom", {"id": "own-id"})
    yield ask(f"POST {root}/conversations maria", {})
    yield ask(f"POST {root}/conversations maria", {}, note="more than allowed")
    yield ask(f"GET {root}/conversations maria")
    yield ask(f"GET {root}/conversations?nextToken=abc maria")
    for who in ("maria", "tom", "forged"):
        yield ask(f"GET {root}/conversations/{{talk}} {who}")
    yield ask(f"GET {root}/conversations/none maria")
    said = {"conversationId": "{talk}", "payload": text}
    yield ask(f"POST {root}/messages maria", said, keep={"chat_message": "message.id"})
    yield ask(f"POST {root}/messages tom", said)
    yield ask(f"POST {root}/messages maria", {**said, "metadata": {"a": 1}})
    yield ask(f"POST {root}/messages maria", {**said, "conversationId": "none"})
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
        yield ask(f"POST {root}/messages maria", {**said, "payload": {"type": kind, **fields}}, note=kind)
    yield ask(f"GET {root}/conversations/{{talk}}/messages maria")
    yield ask(f"GET {root}/conversations/{{talk}}/messages tom")
    yield ask(f"GET {root}/messages/{{chat_message}} maria")
    yield ask(f"GET {root}/messages/none maria")
    yield ask(f"DELETE {root}/messages/{{chat_message}} tom")
    yield ask(f"DELETE {root}/messages/{{chat_message}} maria")
    event = {"conversationId": "{talk}", "payload": {"ping": 1}}
    yield ask(f"POST {root}/events maria", event, keep={"event": "event.id"})
    yield ask(f"POST {root}/events maria", {"payload": 1})
    yield ask(f"GET {root}/events/{{event}} maria")
    people = f"{root}/conversations/{{talk}}/participants"
    yield ask(f"POST {people} maria", {"userId": "{tom}"})
    yield ask(f"POST {people} maria", {"userId": "none"})
    yield ask(f"GET {people} tom")
    yield ask(f"GET {people}/{{tom}} maria")
    yield ask(f"GET {root}/conversations/{{talk}}/listen maria")
    yield ask(f"DELETE {people}/{{tom}} maria")
    yield ask(f"GET {root}/conversations/{{talk}}/listen tom")
    yield ask(f"DELETE {root}/conversations/{{talk}} tom")
    yield ask(f"DELETE {root}/conversations/{{talk}} maria")
    yield ask(f"DELETE {root}/users/me tom")
    yield ask(f"GET {root}/users/me tom", note="after the end")
    yield ask(f"PATCH {root}/users/me maria", {})
    yield ask(f"GET {root}/nothing maria")
    yield ask(f"POST {root}/messages maria", data=b"{", headers=JSON, note="no JSON")
    yield ask(f"POST {root}/messages maria", data=b"{}", headers={"Content-Type": "text/plain"}, note="text/plain")
    yield ask(f"POST {root}/messages maria", data=b" " * (1024 * 1024 + 1), headers=JSON, note="too long")
    for origin in ("https://app.example.com", "https://other.example.com"):
        yield ask(f"OPTIONS {root}/users/me", headers={"Origin": origin}, note=origin)
        yield ask(f"GET {root}/users/me maria", headers={"Origin": origin}, note=origin)
    yield ask("POST /chat/signed/users", {"name": "Maria"})
    yield ask("GET /chat/signed/users/me signed")
    yield ask("POST /chat/signed/users/get-or-create signed", {"name": "Maria"})
    yield ask("GET /chat/signed/users/me signed")
    yield ask("GET /chat/signed/users/me maria", note="a key of another bot")


def _platform() -> Iterator[Request]:
    api = "/v1/client-api"
    yield ask(f"GET {api}/service-info")
    yield ask(f"GET {api}/bots")
    yield ask(f"GET {api}/bot/helpdesk")
    yield ask(f"GET {api}/bot/nobody")
    yield ask(f"GET {api}/user")
    for body in ({"nickname": ""}, {"nickname": "x" * 500}, {"nickname": 5}, [], {}):
        yield ask(f"POST {api}/user", body, note=str(body)[:30])
    yield ask(f"POST {api}/user", data=b"{", headers=JSON, note="no JSON")
    yield ask(f"POST {api}/user", {"nickname": "Eve"}, headers={"Origin": "https://evil.example"}, note="foreign")
    yield ask(f"POST {api}/user ann", {"nickname": "Ann"}, keep={"ann": "id"})
    yield ask(f"POST {api}/user bob", {"nickname": "Bob"}, keep={"bob": "id"})
    yield ask(f"GET {api}/user ann")
    yield ask(f"GET {api}/bot/helpdesk/commands ann")
    yield ask(f"POST {api}/chat ann", {"botId": "helpdesk"}, keep={"chat": "id"})
    yield ask(f"POST {api}/chat ann", {"botId": "nobody"})
    yield ask(f"POST {api}/chat", {"botId": "helpdesk"})
    yield ask(f"GET {api}/chats ann")
    yield ask(f"GET {api}/chats?bot_id=helpdesk ann")
    said = {"chatId": "{chat}", "body": "hello"}
    yield ask(f"POST {api}/chat/message ann", said, keep={"message": "id"})
    yield ask(f"POST {api}/chat/message bob", said)
    yield ask(f"POST {api}/chat/message ann", {**said, "body": ""}, note="empty")
    yield ask(f"POST {api}/chat/message ann", {**said, "body": "x" * 100_000}, note="too long")
    yield ask(f"POST {api}/chat/message ann", {**said, "attachmentIds": ["none"]}, note="unknown file")
    yield upload(f"POST {api}/files ann", "a.png", PNG, keep={"file": "0.id", "file_path": "0.path"})
    yield upload(f"POST {api}/files", "a.png", PNG)
    yield ask(f"POST {api}/files ann", {"a": 1})
    yield ask(f"POST {api}/chat/message ann", {**said, "attachmentIds": ["{file}"]}, note="with a file")
    yield ask("GET /{file_path} ann")
    yield ask("GET /{file_path} ann", headers={"Range": "bytes=0-3"}, note="a range")
    yield ask("GET /{file_path}", note="a stranger")
    yield ask("GET /static/image/none.png ann")
    yield ask(f"GET {api}/chat/{{chat}}/messages ann")
    yield ask(f"GET {api}/chat/{{chat}}/messages?limit=1&page=2 ann")
    yield ask(f"GET {api}/chat/{{chat}}/messages bob")
    for path in ("/v1/nothing", "/V1/client-api/bots", "/v1/client-api/bots/", "/nothing", "/static/x"):
        yield ask(f"GET {path}")
    yield ask(f"DELETE {api}/bots")
    yield ask(f"OPTIONS {api}/bots", headers={"Origin": "http://localhost"})
    yield from _admin_and_bot_api()
    yield from _page_api()
    yield ask(f"DELETE {api}/chat/{{chat}} bob")
    yield ask(f"DELETE {api}/chat/{{chat}} ann")


def _admin_and_bot_api() -> Iterator[Request]:
    admin, api = "/v1/admin-api", "/v1/bot-api"
    yield ask(f"POST {admin}/bot", {"name": "Elsewhere"})
    yield ask(f"POST {admin}/bot", {"name": "Elsewhere"}, headers={"Authorization": "wrong"}, note="a wrong key")
    made = {"bot_key": "key", "bot": "bot.id"}
    yield ask(f"POST {admin}/bot admin", {"name": "Elsewhere", "description": "Runs elsewhere."}, keep=made)
    yield ask(f"POST {admin}/bot admin", {"name": "Elsewhere"}, note="again")
    yield ask(f"POST {admin}/bot admin", {"name": "x"}, keep={"other_key": "key"})
    yield ask(f"GET {admin}/bot/{{bot}}/key admin")
    yield ask(f"GET {admin}/bot/nobody/key admin")
    yield ask(f"PUT {admin}/config admin")
    yield ask(f"GET {api}/bot")
    yield ask(f"GET {api}/bot", headers={"Authorization": "wrong"}, note="a wrong key")
    yield ask(f"GET {api}/bot bot")
    yield ask(f"PUT {api}/bot bot", {"description": "Runs somewhere else."})
    yield ask(f"PUT {api}/bot bot", {"name": "x" * 500})
    yield ask(f"POST {api}/bot/commands bot", [{"alias": "help", "description": "Shows some help."}])
    yield ask(f"POST {api}/bot/commands bot", [{"alias": "", "description": ""}])
    yield ask(f"GET {api}/bot/commands bot", keep={"command": "0.id"})
    yield ask(f"DELETE {api}/bot/command/{{command}} bot")
    yield ask(f"DELETE {api}/bot/command/none bot")
    yield ask(f"GET {api}/bot/webhook bot")
    yield ask(f"POST {api}/bot/webhook bot", {"url": "http://127.0.0.1:9/hook", "secret": "a-secret-of-the-hook"})
    yield ask(f"POST {api}/bot/webhook bot", {"url": "ftp://x", "secret": "s"})
    yield ask(f"DELETE {api}/bot/webhook bot")
    yield ask("POST /v1/client-api/chat ann", {"botId": "{bot}"}, keep={"bot_chat": "id"})
    yield ask(f"GET {api}/chats bot")
    yield ask(f"GET {api}/chats?user_id={{ann}} bot")
    yield ask(f"POST {api}/chat/message bot", {"chatId": "{bot_chat}", "body": "hi"}, keep={"bot_message": "id"})
    yield ask(f"POST {api}/chat/message bot", {"chatId": "{chat}", "body": "hi"}, note="another bot's chat")
    yield ask(f"GET {api}/chat/{{bot_chat}}/messages bot")
    yield ask(f"GET {api}/chat/message/{{bot_message}} bot")
    yield ask(f"GET {api}/chat/message/none bot")
    yield upload(f"POST {api}/files bot", "a.txt", b"hello")
    yield ask(f"PUT {admin}/bot/{{bot}}/key admin", keep={"new_key": "key"})
    yield ask(f"GET {api}/bot bot", note="with the old key")
    yield ask(f"DELETE {admin}/bot/{{bot}} admin")
    yield ask(f"DELETE {admin}/bot/helpdesk admin")


def _page_api() -> Iterator[Request]:
    api = "/v1/page-api"
    for path in ("/", "/bot/helpdesk", "/conversation/none", "/page/none"):
        yield ask(f"GET {path}")
    yield ask(f"GET {api}/start")
    yield ask(f"POST {api}/user cleo", {"name": "Cléo M."}, keep={"cleo": "id"})
    yield ask(f"POST {api}/user", {"name": ""})
    yield ask("POST /v1/client-api/chat cleo", {"botId": "helpdesk"}, keep={"page_chat": "id"})
    chat = f"{api}/chat/{{page_chat}}"
    yield ask(f"POST {chat}/messages cleo", {"body": "hello", "clientId": "c1"})
    yield ask(f"POST {chat}/messages cleo", {"body": "hello", "clientId": "c1"}, note="again")
    yield ask(f"POST {chat}/messages cleo", {"body": ""})
    yield ask(f"GET {chat}/messages cleo")
    yield ask(f"GET {chat}/messages?limit=x cleo")
    yield ask(f"PATCH {chat} cleo", {"title": "Tea"})
    yield ask(f"PATCH {chat} bob", {"title": "Tea"})
    yield ask(f"GET {api}/start cleo")
    yield ask(f"GET {api}/events cleo")
    yield ask(f"GET {api}/events")
    yield ask(f"POST {api}/leave cleo")


def _simulator() -> Iterator[Request]:
    def call(line: str, json: Any = None, **options: Any) -> Request:
        return ask(line, json, site="simulator", **options)

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
        yield ask(f"GET {path}")
        yield ask(f"POST {path}")


REQUESTS = [*_callbacks(), *_chat_api(), *_platform(), *_simulator(), *_monitoring()]
