"""Every field of every documented payload with another value, missing and doubled: 200 each time, and nothing lost.

A refusal would be a message that nobody ever sees: CometChat does not send a callback again.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from werkzeug.test import EnvironBuilder, run_wsgi_app

from cometbot import Bot
from cometbot.channels.base import IncomingEvent
from cometbot.channels.cometchat import CallbackSettings, CometChatChannel, CometChatClient
from cometbot.channels.cometchat.callback import make_blueprint
from cometbot.channels.cometchat.raw_payloads import read_body
from cometbot.delivery import Delivery
from cometbot.dispatch import dispatch
from cometbot.events import AgentMessageEvent, Event, MembershipEvent, UnknownEvent
from cometbot.models import Conversation
from cometbot.store.tables import conversations, mailbox, outbox
from cometbot.web.application import Application
from tests.integration.channels.cometchat.documented_payloads import (
    APP,
    BOT,
    CALLBACKS,
    WEBHOOKS,
    Payload,
    callback,
    message,
)

VALUES = [
    b"null", b"true", b"false", b"0", b"1", b"-1", b"1.5", b"1767225690000", b"9007199254740993", b"-1e300", b"1e999",
    b"1" * 400, b"NaN", b'""', b'" "', b'"0"', b'"x"', b'"a\\u0000b"', b'"a\\nb"', b'"ok \\ud83d"',
    b'"%s"' % (b"y" * 5000), b"[]",
    b"{}", b'{"id":{"uid":[1]}}', b"[" * 3000 + b"]" * 3000,
]  # fmt: skip
"""JSON texts, some of which only a lenient reader takes."""
SAMPLE = 151
"""The step from one mutation to the next that is tried on PostgreSQL: prime, so that values and fields vary."""
ATTRIBUTES = {
    "id": ("id", "tid", "category", "deletedAt"),
    "message_id": ("id", "messageId", "action"),
    "text": ("text", "category", "deletedAt"),
    "attachments": ("attachments", "url", "category", "deletedAt"),
    "metadata": ("metadata", "category", "deletedAt"),
    "tags": ("tags", "category", "deletedAt"),
    "thread_id": ("parentId", "category", "deletedAt"),
    "muid": ("muid", "category", "deletedAt"),
    "data": ("customData", "interactiveData", "card", "category", "deletedAt"),
    "reaction": ("reaction",),
    "action": ("action", "trigger", "currentConnection"),
    "session_id": ("sessionid", "sessionId"),
    "sender": (
        "sender",
        "receiver",
        "conversationId",
        "uid",
        "by",
        "members",
        "editedBy",
        "deletedBy",
        "updatedBy",
        "reactedBy",
        "oldOwner",
        "user",
    ),
    "sent_at": (
        "sentAt",
        "deletedAt",
        "editedAt",
        "reactedAt",
        "timestamp",
        "updatedAt",
        "completedAt",
        "created_at",
    ),
    "users": ("users", "uid"),
    "url": ("recording_url", "transcript_url"),
    "status": ("status", "user"),
    "by_moderator": ("trigger",),
}
"""Attributes of a message, and the names of the fields that they may change with."""

_DELETE_NEW = sa.delete(mailbox).where(mailbox.c.seq > sa.bindparam("kept")).returning(mailbox)

_MARKER = "the mark"
Path_ = tuple[str | int, ...]


class FakeReplySink:
    """The sink of a handler's context where no handler replies."""

    is_rerun = False
    has_stopped = False

    def load_state(self, scope: str, owner: str) -> dict[str, str]:
        return {}

    def start_handler(self, handler: str, timeout: float | None, *, stops_on_new: bool = False) -> None: ...

    def mark_failed(self) -> None: ...


class Site:
    """The application with a bot that takes everything, over a database of its own."""

    def __init__(self, database_url: str) -> None:
        self.bot = Bot(BOT)
        self.events: list[Event] = []
        self.counts: Counter[str] = Counter()
        self.bot.event(lambda ctx: self.events.append(ctx.event))
        self.channel = CometChatChannel(
            APP,
            CometChatClient("http://127.0.0.1:9/v3", "key"),
            bots={BOT: self.bot},
            callback=CallbackSettings(allow_anonymous=True),
            observe=lambda bot, outcome: self.counts.update([outcome]),
        )
        self.delivery = Delivery([self.bot], [self.channel], database_url)
        self.delivery.database.upgrade()
        self._app = Application("site", before_each_request=list)
        self._app.register_blueprint(make_blueprint(self.channel, self.delivery))
        self._environ = EnvironBuilder(method="POST", path="/", content_type="application/json").get_environ()
        self._last_kept_seq = 0

    def post(self, body: bytes, path: str) -> tuple[int, bytes]:
        """Post ``body`` and return status and answer."""
        environ = {
            **self._environ,
            "PATH_INFO": path,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": BytesIO(body),
        }
        parts, status, _ = run_wsgi_app(self._app, environ)
        return int(status.split()[0]), b"".join(parts)

    def close(self) -> None:
        self.delivery.close()

    def keep_current_rows(self) -> None:
        """Keep what is stored now: a message of the bot's own, and what calls are found by."""
        with self.delivery.database.write() as connection:
            sent = {"event": "e", "ordinal": 0, "part": 0, "payload": "{}", "client_id": "c", "state": "sent"}
            conversation_key = connection.execute(sa.select(conversations.c.conversation_key)).scalar_one()
            connection.execute(
                sa.insert(outbox).values(**sent, conversation_key=conversation_key, created_at=1, platform_id="5010")
            )
            self._last_kept_seq = connection.execute(sa.select(sa.func.max(mailbox.c.seq))).scalar_one()

    def pop_new(self) -> list[IncomingEvent]:
        """Return what was stored, and remove it, so that the next one of the same key is new."""
        with self.delivery.database.write(durable=False) as connection:
            rows = connection.execute(_DELETE_NEW, {"kept": self._last_kept_seq}).mappings().all()
            return [
                IncomingEvent(
                    self._conversation(connection, row["conversation_key"]),
                    row["event_key"],
                    row["body"],
                    row["sender"],
                )
                for row in rows
            ]

    def _conversation(self, connection: sa.Connection, conversation_key: str) -> Conversation:
        row = (
            connection.execute(sa.select(conversations).where(conversations.c.conversation_key == conversation_key))
            .mappings()
            .one()
        )
        names = ("channel", "account", "bot", "conversation", "target", "is_group")
        return Conversation(*(row[name] for name in names))

    def handle(self, incoming: IncomingEvent) -> Event:
        """Return the event that the bot's handler gets."""
        event = self.channel.parse(incoming)
        outcome = dispatch(self.bot, event, FakeReplySink())  # type: ignore[arg-type]
        assert outcome.error is None
        assert outcome.handler or outcome.stopped_by == "own"
        return self.events.pop() if outcome.handler else event


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    # Thousands of rows are stored: in memory, where there is such a folder, since nothing here depends on the disk.
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() else tmp_path
    with TemporaryDirectory(dir=parent) as folder, closing(Site(f"sqlite:///{folder}/cometbot.db")) as made:
        prepare(made)
        yield made


@pytest.fixture
def postgres_site(postgres_url: str) -> Iterator[Site]:
    with closing(Site(postgres_url)) as made:
        prepare(made)
        yield made


def prepare(site: Site) -> None:
    """Post a message and a call of a user, so that the site knows both."""
    for payload in (callback(message(id="1")), CALLBACKS["call"]):
        assert site.post(orjson.dumps(payload), f"/cometchat/{BOT}")[0] == 200
    site.keep_current_rows()


def paths_of(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Yield the path of each field inside of ``value``."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*path, key)
        yield from paths_of(inner, (*path, key))


def at(value: Any, path: Path_) -> Any:
    for key in path:
        value = value[key]
    return value


def changed(payload: Payload, path: Path_, value: Any) -> Payload:
    result = copy.deepcopy(payload)
    at(result, path[:-1])[path[-1]] = value
    return result


def without(payload: Payload, path: Path_) -> Payload:
    result = copy.deepcopy(payload)
    del at(result, path[:-1])[path[-1]]
    return result


def mutations_of(payload: Payload) -> Iterator[tuple[Path_, bytes]]:
    """Yield each changed payload, with the path of what was changed in it."""
    for path in paths_of(payload):
        marked = orjson.dumps(changed(payload, path, _MARKER))
        for value in VALUES:
            yield path, marked.replace(orjson.dumps(_MARKER), value)
        yield path, orjson.dumps(without(payload, path))
        if isinstance(path[-1], str):
            key, true = orjson.dumps(path[-1]) + b":", orjson.dumps(at(payload, path))
            for first in (b'"x"', b"[{}]"):
                yield path, marked.replace(key + orjson.dumps(_MARKER), key + first + b"," + key + true)


def json_id(value: Any) -> str:
    return value if isinstance(value, str) else str(value) if type(value) is int else ""


def check_event(event: Event, usual: Event, path: Path_, incoming: IncomingEvent, posted: bytes) -> None:
    """Check that the handler sees what was posted, and the same as ever in what was not touched."""
    assert event.raw == read_body(posted)[0]
    assert event.key == incoming.key
    if type(event) is not type(usual):
        of_others = isinstance(event, MembershipEvent) and "members" in path  # those of the bot begin a conversation
        is_named = path[-1] in ("trigger", "deletedAt", "action", "category", "type")
        assert isinstance(event, UnknownEvent) or of_others or is_named
        return
    touched = {str(part) for part in path} - {"data"}
    for name, fields in ATTRIBUTES.items():
        if name == "data" and isinstance(event, AgentMessageEvent):  # the whole content, whatever is changed in it
            continue
        if hasattr(usual, name) and not touched.intersection(fields) and path not in (("data",), ("data", "data")):
            is_inner = path[-1] == "data" or path[-1] in ("message", "call", "reaction", "entity", "entities", "on")
            assert is_inner or getattr(event, name) == getattr(usual, name), name


@pytest.mark.parametrize("name", [*CALLBACKS, *WEBHOOKS])
def test_any_field_may_be_wrong_missing_or_doubled(site: Site, name: str) -> None:
    check_mutations(site, name)


def test_a_sample_of_mutations_is_stored_on_postgresql(postgres_site: Site) -> None:
    for start, name in enumerate([*CALLBACKS, *WEBHOOKS]):
        check_mutations(postgres_site, name, start, SAMPLE)


def check_mutations(site: Site, name: str, start: int = 0, step: int = 1) -> None:
    """Post each ``step``-th mutation of the payload ``name`` and check what became of it."""
    payload = CALLBACKS.get(name) or WEBHOOKS[name]
    path = f"/cometchat/{BOT}" if name in CALLBACKS else f"/cometchat/{BOT}/webhook"
    assert site.post(orjson.dumps(payload), path)[0] == 200
    usual = [site.handle(incoming) for incoming in site.pop_new()]
    for touched, body in islice(mutations_of(payload), start, None, step):
        site.counts.clear()
        status, answer = site.post(body, path)
        what = (touched, body)
        if touched == ("appId",) and read_body(body)[0].get("appId") != APP:
            assert (status, site.counts) == (403, {"refused": 1}), what
            continue
        if touched == ("bot",) and status == 400:
            assert json_id(read_body(body)[0]["bot"]) not in ("", BOT), what
            continue
        assert status == 200, what
        stored = site.pop_new()
        assert len(stored) <= 1
        assert site.counts == {"received" if stored else "ignored" if b"ignored" in answer else "duplicate": 1}, what
        for incoming in stored:
            event = site.handle(incoming)
            assert event.conversation == incoming.conversation
            for one in usual:
                check_event(event, one, touched, incoming, body)
