"""An application whose SQLite database is lost, full or read-only: what callers, ``/readyz``, log and metrics say."""

from __future__ import annotations

import io
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from cometbot.bot import Bot
from cometbot.settings import Secret, Settings
from cometbot.store.sqlite import SQLite
from cometbot.web.app import create_app

ADMIN = "the-admin-s-secret-key"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 61
REMEDY = "docs/upgrading.md"
_numbers = count(1)


def callback(text: str = "hello") -> dict[str, Any]:
    number = next(_numbers)
    message = {
        "id": str(number),
        "conversationId": "maria_user_shop",
        "sender": "maria",
        "receiver": "shop",
        "receiverType": "user",
        "category": "message",
        "type": "text",
        "sentAt": 1_700_000_000 + number,
        "data": {"text": text, "entities": {"sender": {"entity": {"uid": "maria"}, "entityType": "user"}}},
    }
    return {"trigger": "after_message", "data": message, "appId": "app1", "region": "eu", "bot": "shop"}


@dataclass
class Site:
    app: Flask
    path: Path
    caplog: pytest.LogCaptureFixture

    @property
    def database(self) -> SQLite:
        found = self.app.extensions["cometbot"].delivery.database
        assert isinstance(found, SQLite)
        return found

    def callback(self) -> tuple[int, str]:
        """Status and error code of the answer."""
        answer = self.app.test_client().post("/cometchat/shop", json=callback())
        return answer.status_code, (answer.json or {}).get("error", {}).get("code", "")

    def readyz(self) -> tuple[int, str]:
        """Status, and the line on the database."""
        answer = self.app.test_client().get("/readyz")
        assert answer.json is not None
        return answer.status_code, answer.json["checks"]["database"]

    def errors(self) -> list[str]:
        """The log lines of level ERROR."""
        return [record.getMessage() for record in self.caplog.records if record.levelno >= logging.ERROR]

    def has_counted(self, kind: str) -> bool:
        text = self.app.test_client().get("/metrics").text
        return f'cometbot_database_failures_total{{kind="{kind}"}}' in text


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[MakeSite]:
    made: list[Flask] = []

    def make(folder: Path, **options: Any) -> Site:
        folder.mkdir(exist_ok=True)
        settings = Settings(
            channels=("cometchat", "chat_api", "platform"),
            database_url=f"sqlite:///{folder}/bot.db",
            data=tmp_path / "data",
            cometchat_app_id="app1",
            cometchat_region="eu",
            cometchat_api_key=Secret("the-api-key-of-cometchat"),
            allow_anonymous_callbacks=True,
            platform_admin_secret_key=Secret(ADMIN),
            free_space=0,
            platform_signups=0,
            platform_requests=0,
            stop_timeout=5,
        )
        made.append(create_app(Bot("shop"), settings, **options))
        return Site(made[-1], folder / "bot.db", caplog)

    yield make
    for app in made:
        app.extensions["cometbot"].stop()


@pytest.fixture
def site(make_site: MakeSite, tmp_path: Path) -> Site:
    made = make_site(tmp_path / "kept")
    assert made.callback() == (200, "")
    assert made.readyz() == (200, "ok: reachable")
    return made


def remove(database: Path) -> None:
    database.unlink()


def replace(database: Path) -> None:
    copy = database.with_name("backup.db")
    shutil.copyfile(database, copy)
    os.replace(copy, database)


def remove_log(database: Path) -> None:
    Path(f"{database}-wal").unlink()


def remove_index(database: Path) -> None:
    Path(f"{database}-shm").unlink()


def move_folder(database: Path) -> None:
    database.parent.rename(database.parent.with_name("elsewhere"))


@pytest.mark.parametrize("damage", [remove, replace, remove_log, remove_index, move_folder])
def test_lost_database_file_refuses_callbacks(site: Site, damage: Callable[[Path], None]) -> None:
    damage(site.path)
    assert site.callback() == (503, "ERR_UNAVAILABLE")
    status, line = site.readyz()
    assert (status, line.partition(" ")[0]) == (503, "failed:")
    (error,) = site.errors()
    assert REMEDY in error
    assert site.has_counted("missing")


def test_switched_symlink_refuses_callbacks(make_site: MakeSite, tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    link = tmp_path / "current"
    link.symlink_to("old")
    site = make_site(link)
    assert site.callback() == (200, "")
    link.unlink()
    link.symlink_to("new")
    assert site.callback() == (503, "ERR_UNAVAILABLE")
    assert site.readyz()[1].startswith("failed: ")


@pytest.mark.parametrize("handles", [True, False])
def test_process_that_starts_after_the_damage_refuses(site: Site, make_site: MakeSite, handles: bool) -> None:
    replace(site.path)
    late = make_site(site.path.parent, handles=handles)
    assert late.callback() == (503, "ERR_UNAVAILABLE")
    assert late.readyz()[1].startswith("failed: ")
    end = time.monotonic() + 60
    while len(site.errors()) < 2 and time.monotonic() < end:  # the first process notices with its next heartbeat
        time.sleep(0.01)
    assert len(site.errors()) == 2, "one of each process"
    assert all(REMEDY in error for error in site.errors())


def fill(site: Site) -> None:
    """Make SQLite refuse new pages, as on a disk that is full."""
    writer = site.database._writer
    assert writer is not None
    pages = writer.exec_driver_sql("PRAGMA page_count").scalar()
    writer.exec_driver_sql(f"PRAGMA max_page_count={pages}")


def forbid_writes(site: Site) -> None:
    """Make SQLite refuse writes, as on a file system that is mounted read-only."""
    writer = site.database._writer
    assert writer is not None
    writer.exec_driver_sql("PRAGMA query_only=ON")


def until_refused(post: Callable[[], Any]) -> Any:
    """The first answer that is no success: small rows fit into pages that are there."""
    answers = (post() for _ in range(50))
    return next((answer for answer in answers if answer.status_code >= 300), None)


@pytest.mark.parametrize(("damage", "kind"), [(fill, "full"), (forbid_writes, "read_only")])
def test_refused_writes_have_the_shape_of_each_channel(site: Site, damage: Callable[[Site], None], kind: str) -> None:
    person, stranger = site.app.test_client(), site.app.test_client()
    assert person.post("/v1/client-api/user", json={"nickname": "Maria"}).status_code == 201
    damage(site)
    text = f"The database cannot store anything until it is repaired ({kind}). Send the request again later."

    called = until_refused(lambda: stranger.post("/cometchat/shop", json=callback("x" * 4000)))
    chat = until_refused(lambda: stranger.post("/chat/shop/users", json={"name": "x" * 400}))
    signed = until_refused(lambda: stranger.post("/v1/client-api/user", json={"nickname": "Tom"}))
    sent = until_refused(lambda: person.post("/v1/client-api/files", data={"file": (io.BytesIO(PNG), "p.png")}))
    answers = (called, chat, signed, sent)
    assert [(answer.status_code, answer.headers.get("Retry-After")) for answer in answers] == [(503, "10")] * 4
    assert called.json == {"error": {"code": "ERR_UNAVAILABLE", "message": text}}
    assert (chat.json["type"], chat.json["message"]) == ("Internal", text)
    assert signed.json == sent.json == {"message": text}
    status, line = site.readyz()
    assert (status, line.partition(" ")[0]) == (503, "failed:")
    assert len(site.errors()) == 1
    assert site.has_counted(kind)
