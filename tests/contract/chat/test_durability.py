"""The commits of the chat server: what people write is on the disk, what its bots say may follow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from cometbot import Bot, Context
from cometbot.settings import Secret, Settings
from cometbot.web.app import create_app
from tests.commit_recorder import CommitRecorder, record_commits

ADMIN_KEY = "the admin key of this test"

RELAXED = {
    "mailbox: waiting to running",
    "outbox: ready to sending",
    "outbox: sending to sent",
    "processes: insert",
    "processes: update",
    "processes: delete",
    "facts: update",
    "facts: delete",
    "conversations: update",
    "chat_messages: of a bot",
    "chat_feed: insert",
    "chat_feed: delete",
    "chat_conversations: update",
    "chat_participants: update",
}
"""The changes that do not make a commit durable: notes, and what is in the outbox until it is said."""


class ServedBot:
    """A bot on both chat channels, and the commits of its database."""

    def __init__(self, url: str, folder: Path, recorder: CommitRecorder) -> None:
        bot = Bot("helper", description="Echoes.")

        @bot.fallback
        def echo(ctx: Context) -> str:
            ctx.state["it"] = ctx.text
            return f"echo {ctx.text}"

        settings = Settings(
            channels=("platform", "chat_api"),
            database_url=url,
            data=folder,
            platform_admin_secret_key=Secret(ADMIN_KEY),
        )
        self.app = create_app([bot], settings)
        self.delivery = self.app.extensions["cometbot"].delivery
        self.recorder = recorder

    def client(self) -> FlaskClient:
        return self.app.test_client()

    def finish(self) -> None:
        end = time.monotonic() + 60
        while not self.delivery.is_idle:
            assert time.monotonic() < end, "did not come about in time"
            time.sleep(0.005)


@pytest.fixture(params=["sqlite", "postgresql"])
def served_bot(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServedBot]:
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/chat.db" if is_sqlite else request.getfixturevalue("postgres_url")
    with record_commits(url) as recorder:
        made = ServedBot(url, tmp_path / "data", recorder)
        yield made
        made.app.extensions["cometbot"].stop()


def write_on_the_platform(client: FlaskClient) -> None:
    assert client.post("/v1/client-api/user", json={"nickname": "Maria"}).status_code == 201
    chat = client.post("/v1/client-api/chat", json={"botId": "helper"}).get_json()["id"]
    for body in ("one", "two"):
        answer = client.post("/v1/client-api/chat/message", json={"chatId": chat, "body": body})
        assert answer.status_code == 201


def write_over_the_chat_api(client: FlaskClient) -> None:
    made = client.post("/chat/helper/users", json={"name": "Maria"}).get_json()
    headers = {"x-user-key": made["key"]}
    place = client.post("/chat/helper/conversations", json={}, headers=headers).get_json()["conversation"]["id"]
    for text in ("one", "two"):
        body = {"conversationId": place, "payload": {"type": "text", "text": text}}
        assert client.post("/chat/helper/messages", json=body, headers=headers).status_code == 201


CHANNELS = [write_on_the_platform, write_over_the_chat_api]


@pytest.mark.parametrize("write", CHANNELS)
def test_what_a_user_writes_is_durable_and_replies_follow(
    served_bot: ServedBot, write: Callable[[FlaskClient], None]
) -> None:
    served_bot.delivery.start()
    write(served_bot.client())
    served_bot.finish()
    served_bot.delivery.stop(60)

    commits = list(served_bot.recorder.commits)
    # A key that is made and kept is inserted alone; the lease of a purge is inserted and renewed in one commit.
    leases = [commit for commit in commits if {"facts: insert", "facts: update"} <= set(commit.changes)]
    commits = [commit for commit in commits if commit not in leases]
    assert [commit.durable for commit in leases] == [False] * len(leases)
    expected = [any(change not in RELAXED for change in commit.changes) for commit in commits]
    assert [c for c, must_be in zip(commits, expected, strict=True) if c.durable != must_be] == []
    assert served_bot.recorder.with_change("chat_messages: of a bot"), "the bot answered"


@pytest.mark.parametrize("write", CHANNELS)
def test_a_users_message_and_its_event_are_one_commit(
    served_bot: ServedBot, write: Callable[[FlaskClient], None]
) -> None:
    write(served_bot.client())
    messages = served_bot.recorder.with_change("chat_messages: of a user")
    assert len(messages) == 2
    assert all("mailbox: waiting" in commit.changes for commit in messages)


def test_what_an_external_bot_writes_is_durable(served_bot: ServedBot) -> None:
    """Only this commit has the text: the Bot API answers 201 for it."""
    client = served_bot.client()
    made = client.post("/v1/admin-api/bot", json={"name": "External"}, headers={"Authorization": ADMIN_KEY}).get_json()
    assert client.post("/v1/client-api/user", json={"nickname": "Maria"}).status_code == 201
    chat = client.post("/v1/client-api/chat", json={"botId": made["bot"]["id"]}).get_json()["id"]
    words = {"chatId": chat, "body": "hello"}
    answer = client.post("/v1/bot-api/chat/message", json=words, headers={"Authorization": made["key"]})
    assert answer.status_code == 201, answer.text
    assert [commit.durable for commit in served_bot.recorder.with_change("chat_messages: of a bot")] == [True]
