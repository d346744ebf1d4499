"""Every field of every documented body with another value or missing: no answer is a 5xx, no stored message is dead."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from cometbot import Bot
from cometbot.channels.base import IncomingEvent
from cometbot.models import Conversation
from cometbot.settings import Secret, Settings
from cometbot.store.tables import conversations, mailbox
from cometbot.web.app import AppRuntime, create_app
from tests.integration.channels.chat_api.conftest import Site as ChatApiSite
from tests.integration.channels.platform.conftest import PNG
from tests.integration.channels.platform.conftest import Site as PlatformSite

VALUES = [
    b"null", b"true", b"0", b"-1", b"1.5", b"9007199254740993", b"18446744073709551616", b"-1e300", b"1e999",
    b'""', b'" "', b'"x"', b'"a\\u0000b"', b'"a\\nb"', b'"\\ud83d"', b'"\\ud83d\\ude00"', b'"http://[x"',
    b'"%s"' % (b"y" * 5000), b"[]", b"[[1]]", b"{}", b'{"type":"text"}', b'{"\\u0000":["\\u0000"]}',
    b"[" * 90 + b"]" * 90, b"[" * 900 + b"]" * 900,
]  # fmt: skip
"""JSON texts."""
MARK = "the mark"
Path_ = tuple[str | int, ...]
Request = tuple[str, str, Any]

ACTIONS = [{"action": "postback", "label": "Buy", "value": "buy"}]
CARD = {"type": "card", "title": "Tea", "subtitle": "Green", "imageUrl": "https://a.example/b.png", "actions": ACTIONS}
OPTIONS = {"text": "Which?", "options": [{"label": "Red", "value": "red"}]}
PAYLOADS: list[dict[str, Any]] = [
    {"type": "text", "text": "hello"},
    {"type": "markdown", "markdown": "*hello*"},
    {"type": "image", "imageUrl": "https://a.example/b.png"},
    {"type": "audio", "audioUrl": "https://a.example/b.mp3"},
    {"type": "video", "videoUrl": "https://a.example/b.mp4"},
    {"type": "file", "fileUrl": "https://a.example/b.pdf", "title": "b.pdf"},
    {"type": "location", "latitude": 1.5, "longitude": 2.5, "address": "Main Street", "title": "Home"},
    CARD,
    {"type": "carousel", "items": [CARD]},
    {"type": "choice", **OPTIONS},
    {"type": "dropdown", **OPTIONS},
    {"type": "bloc", "items": [{"type": "text", "text": "hello"}]},
]
USER = {"name": "Ann", "pictureUrl": "https://a.example/ann.png", "profile": "likes tea"}
OWN_ID = {"id": "ann"}


def chat_api_requests(here: str) -> list[Request]:
    return [
        ("POST", "/users", {**OWN_ID, **USER}),
        ("POST", "/users/get-or-create", USER),
        ("PUT", "/users/me", USER),
        ("POST", "/conversations", OWN_ID),
        ("POST", "/conversations/get-or-create", OWN_ID),
        ("POST", f"/conversations/{here}/participants", {"userId": "ann"}),
        ("POST", "/events", {"conversationId": here, "payload": {"name": "seen", "count": 1}}),
        *(
            ("POST", "/messages", {"conversationId": here, "payload": payload, "metadata": {"a": "b"}})
            for payload in PAYLOADS
        ),
    ]


def platform_requests(chat: str, outside_chat: str, file: str) -> list[Request]:
    said = {"chatId": chat, "body": "hello", "attachmentIds": [file]}
    action = {"name": "buy", "value": "tea", "values": {"size": "big"}, "messageId": "m1"}
    return [
        ("POST", "client-api/user", {"nickname": "Ann"}),
        ("POST", "client-api/chat", {"botId": "helper", "clientId": "c1"}),
        ("POST", "client-api/chat/message", said),
        ("POST", "client-api/chat/message", {**said, "clientId": "c1"}),
        ("POST", f"page-api/chat/{chat}/messages", {**said, "action": action}),
        ("PATCH", f"page-api/chat/{chat}", {"title": "Tea"}),
        ("PUT", "bot-api/bot", {"name": "Outside", "description": "Sells tea.", "avatar": ""}),
        ("POST", "bot-api/bot/commands", [{"alias": "tea", "description": "Order tea."}]),
        ("POST", "bot-api/bot/webhook", {"url": "https://a.example/hook", "secret": "s" * 20}),
        ("POST", "bot-api/chat/message", {"chatId": outside_chat, "body": "hello"}),
        ("POST", "admin-api/bot", {"name": "Another", "description": "Sells tea.", "avatar": ""}),
    ]


IMAGE = {"type": "image", "source": {"type": "url", "value": "https://a.example/b.png", "mimeType": "image/png"}}
AGUI_REQUESTS: list[dict[str, Any]] = [
    {
        "threadId": "t1",
        "runId": "r1",
        "parentRunId": "r0",
        "messages": [
            {"id": "1", "role": "system", "content": "Be kind."},
            {"id": "2", "role": "user", "content": [{"type": "text", "text": "hello"}, IMAGE]},
        ],
        "tools": [{"name": "show_map", "description": "Shows a map.", "parameters": {"type": "object"}}],
        "context": [{"description": "page", "value": "home"}],
        "state": {"step": 1},
        "forwardedProps": {},
        "protocolVersion": "1.0",
    },
    {"threadId": "t2", "runId": "r1", "resume": [{"interruptId": "m1.0.0", "status": "resolved", "payload": "M"}]},
    {"threadId": "t3", "runId": "r1", "messages": [{"role": "tool", "toolCallId": "m1.0.0", "content": "{}"}]},
]


def make_bot() -> Bot:
    """Return a bot that takes everything."""
    bot = Bot("helper")
    bot.event(lambda ctx: None)
    return bot


def parse_stored(running: AppRuntime, name: str) -> int:
    """Read every stored message as a worker would, and return how many there are."""
    delivery = running.delivery
    joined = sa.select(mailbox, conversations).join(
        conversations, mailbox.c.conversation_key == conversations.c.conversation_key
    )
    with delivery.database.read() as connection:
        rows = connection.execute(joined).mappings().all()
    names = ("channel", "account", "bot", "conversation", "target", "is_group")
    for row in rows:
        place = Conversation(*(row[conversations.c[name]] for name in names))
        assert delivery.channels[name].parse(IncomingEvent(place, row["event_key"], row["body"], row["sender"]))
    return len(rows)


def places(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Yield the path of ``value`` and of everything inside it."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inner:
        yield from places(item, (*path, name))


def mutations(body: Any) -> Iterator[bytes]:
    """Yield ``body``, then with each field replaced by each value, then without each field."""
    yield orjson.dumps(body)
    for path in places(body):
        changed: Any = {"": copy.deepcopy(body)}
        outer = changed
        for step in ("", *path)[:-1]:
            outer = outer[step]
        last = path[-1] if path else ""
        outer[last] = MARK
        before, after = orjson.dumps(changed[""]).split(orjson.dumps(MARK))
        yield from (before + value + after for value in VALUES)
        del outer[last]
        yield orjson.dumps(changed.get("", {}))


def check(send: Callable[[str, str, bytes], TestResponse], requests: list[Request], every: int) -> list[str]:
    """Send every ``every``-th mutation and return what was answered with a 5xx."""
    faults = []
    for method, path, body in requests:
        for changed in islice(mutations(body), 0, None, every):
            answer = send(method, path, changed)
            if answer.status_code >= 500:
                faults.append(f"{method} {path} {changed[:150]!r}: {answer.status_code}")
    return faults


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a new database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/bot.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def every(request: pytest.FixtureRequest, database: str) -> int:
    """Return which mutations are sent: each third one, of PostgreSQL's each eleventh; all with MUTATE_ALL."""
    return 1 if os.environ.get("MUTATE_ALL") else 3 if database.startswith("sqlite") else 11


def test_chat_api_never_answers_5xx_to_a_body(tmp_path: Path, database: str, every: int) -> None:
    site = ChatApiSite(tmp_path, [make_bot()], handles=False, database_url=database)
    try:
        ann = site.sign_up()
        here = ann.create_conversation()
        headers = {"x-user-key": ann.key, "content-type": "application/json"}

        def send(method: str, path: str, body: bytes) -> TestResponse:
            return site.client.open(f"/chat/helper{path}", method=method, data=body, headers=headers)

        assert check(send, chat_api_requests(here), every) == []
        assert parse_stored(site.running, "chat_api") > 50
    finally:
        site.close()


def test_platform_never_answers_5xx_to_a_body(tmp_path: Path, database: str, every: int) -> None:
    site = PlatformSite(tmp_path, make_bot(), handles=False, database_url=database)
    try:
        maria, (outside_id, external_bot) = site.sign_up(), site.external_bot()
        chat = maria.create_chat("helper")
        file = str(maria.upload(("a.png", PNG)).json[0]["id"])
        askers = {"client-api": maria, "page-api": maria, "bot-api": external_bot, "admin-api": site.admin}

        def send(method: str, path: str, body: bytes) -> TestResponse:
            # A sign-up logs its browser in as somebody else.
            asker = site.anonymous if path == "client-api/user" else askers[path.partition("/")[0]]
            return asker.call_api(method, path, data=body, content_type="application/json")

        assert check(send, platform_requests(chat, maria.create_chat(outside_id), file), every) == []
        assert parse_stored(site.running, "platform") > 5
    finally:
        site.running.stop()


def test_agui_never_answers_5xx_to_a_body(database: str, every: int, tmp_path: Path) -> None:
    token = "0123456789abcdef" * 2
    settings = Settings(channels=("agui",), database_url=database, data=tmp_path, agui_token=(Secret(token),))
    app = create_app(make_bot(), settings, handles=False)
    running: AppRuntime = app.extensions["cometbot"]
    client, headers = app.test_client(), {"X-API-Key": token, "content-type": "application/json"}

    def send(method: str, path: str, body: bytes) -> TestResponse:
        answer = client.open(path, method=method, data=body, headers=headers)
        answer.close()
        return answer

    try:
        assert check(send, [("POST", "/agui/helper", body) for body in AGUI_REQUESTS], every) == []
        assert parse_stored(running, "agui") > 20
    finally:
        running.stop()
