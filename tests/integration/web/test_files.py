"""The route of the files that bots send: whole, in parts, safe to open, and nothing for who has no address."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from cometbot import Bot, Media
from cometbot.delivery import Delivery
from cometbot.errors import MessageError
from cometbot.settings import Secret, Settings
from cometbot.store.sent_files import Said
from cometbot.testing import FakeChannel
from cometbot.web.app import create_app

BASE = "https://bots.example.com"
SAID = Said("m1", 0, 0, "fake/test/helpdesk/maria")
CONTENT = random.Random(1).randbytes(600_000)


class Server:
    """An application, and a client of it."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(Bot("helpdesk"), settings, [FakeChannel()])
        self.delivery: Delivery = self.app.extensions["cometbot"].delivery
        self.delivery.database.open()
        self.client = Client(self.app)

    def store(self, content: bytes = CONTENT, name: str = "a.bin", **more: Any) -> str:
        return self.delivery.store.files.store(Media(data=content, name=name, **more), SAID).url

    def close(self) -> None:
        self.app.extensions["cometbot"].stop()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(database_url=f"sqlite:///{tmp_path}/bot.db", data=tmp_path / "data", public_url=BASE, free_space=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Server]:
    if request.param == "postgresql":
        settings = replace(settings, database_url=request.getfixturevalue("postgres_url"))
    made = Server(settings)
    yield made
    made.close()


def test_a_file_is_served_as_it_is(server: Server) -> None:
    with server.client.get(server.store()) as answer:
        assert (answer.status_code, answer.data) == (200, CONTENT)
        assert answer.content_length == len(CONTENT)
        headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].startswith("sandbox")
    assert headers["Content-Disposition"] == "attachment; filename=a.bin"
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert headers["Accept-Ranges"] == "bytes"
    assert "Set-Cookie" not in headers


@pytest.mark.parametrize(
    ("content", "name", "content_type", "disposition"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(9), "März.png", "image/png", "inline"),
        (b"<html><script>alert(1)</script>", "a.png", "application/octet-stream", "attachment"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg", "application/octet-stream", "attachment"),
        (b"alert(1)", "a.js", "application/octet-stream", "attachment"),
        (b"%PDF-1.4", "a.pdf", "application/octet-stream", "attachment"),
    ],
)
def test_only_pictures_and_recordings_are_shown(
    server: Server, content: bytes, name: str, content_type: str, disposition: str
) -> None:
    with server.client.get(server.store(content, name)) as answer:
        assert (answer.data, answer.content_type) == (content, content_type)
        assert answer.headers["Content-Disposition"].startswith(disposition)


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [
        ("bytes=0-99", 206, CONTENT[:100]),
        ("bytes=262100-262200", 206, CONTENT[262100:262201]),
        ("bytes=599990-", 206, CONTENT[599990:]),
        ("bytes=-5", 206, CONTENT[-5:]),
        ("bytes=-9999999", 206, CONTENT),
        ("bytes=0-1,3-4", 200, CONTENT),
        ("lines=1-2", 200, CONTENT),
    ],
)
def test_a_part_of_a_file_is_served(server: Server, asked: str, status: int, expected: bytes) -> None:
    with server.client.get(server.store(), headers={"Range": asked}) as answer:
        assert (answer.status_code, answer.data) == (status, expected)
        assert answer.content_length == len(expected)


def test_a_range_behind_the_end_is_refused(server: Server) -> None:
    with server.client.get(server.store(), headers={"Range": "bytes=600000-"}) as answer:
        assert answer.status_code == 416


def test_head_and_unchanged_files_have_no_body(server: Server) -> None:
    url = server.store()
    with server.client.head(url) as answer:
        assert (answer.status_code, answer.data, answer.content_length) == (200, b"", len(CONTENT))
        etag = answer.headers["ETag"]
    with server.client.get(url, headers={"If-None-Match": etag}) as answer:
        assert (answer.status_code, answer.data) == (304, b"")


def test_no_other_address_has_a_file(server: Server) -> None:
    url = server.store().removeprefix(BASE)
    token = url.split("/")[2]
    changed = "0" * 32 + token[32:]
    for path in (f"/files/{changed}/a.bin", f"/files/{token}/b.bin", f"/files/{token}/", f"/files/{token}", "/files/"):
        with server.client.get(path) as answer:
            assert answer.status_code == 404, path
    with server.client.post(url) as answer:
        assert answer.status_code == 405


def test_a_revoked_file_is_gone(server: Server) -> None:
    url = server.store()
    assert server.delivery.store.files.revoke(url)
    with server.client.get(url) as answer:
        assert answer.status_code == 404


def test_processes_and_restarts_share_the_addresses(settings: Settings) -> None:
    first = Server(settings)
    url = first.store()
    first.close()
    second = Server(settings)
    with second.client.get(url) as answer:
        assert answer.data == CONTENT
    second.close()


def test_another_secret_key_ends_all_addresses(settings: Settings) -> None:
    first = Server(replace(settings, secret_key=Secret("k" * 40)))
    url = first.store()
    first.close()
    second = Server(replace(settings, secret_key=Secret("x" * 40)))
    with second.client.get(url) as answer:
        assert answer.status_code == 404
    second.close()


def test_without_a_public_url_the_error_names_the_setting(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeChannel, "takes_files", False)
    server = Server(replace(settings, public_url=""))
    bot = next(iter(server.delivery.bots.values()))
    with pytest.raises(MessageError, match="set COMETBOT_PUBLIC_URL"):
        bot.send(user="maria", message=Media(data=b"x"))
    server.close()


def test_bot_send_stores_the_file_with_the_message(server: Server) -> None:
    bot = next(iter(server.delivery.bots.values()))
    assert bot.send(user="maria", message=Media(data=b"report", name="report.txt"))
    (stored,) = server.delivery.store.files.list()
    assert (stored.file.name, stored.file.size) == ("report.txt", 6)
    assert stored.conversation == "fake/test/helpdesk/helpdesk_user_maria"
    with server.client.get(stored.url) as answer:
        assert answer.data == b"report"
