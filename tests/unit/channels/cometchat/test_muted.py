"""CometChat for rehearsals."""

from __future__ import annotations

from typing import Any, cast

import pytest

from cometbot.channels.cometchat.client import CometChatClient
from cometbot.channels.cometchat.muted import MutedClient


class Asked:
    """A client that notes what it is asked, and answers all of it."""

    api_url = "https://host/v3"
    app_id = "app"
    timeout = 10.0
    rate = None

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []

    def request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        self.requests.append((method, path))
        return {"data": {"uid": "maria"}}

    def download(self, url: str, to: Any = None, **options: Any) -> bytes:
        return url.encode()


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def muted(asked: Asked, notes: list[str]) -> MutedClient:
    return MutedClient(cast(CometChatClient, asked), notes.append)


def test_reading_is_carried_out_and_not_noted(muted: MutedClient, asked: Asked, notes: list[str]) -> None:
    assert muted.get_user("maria")["uid"] == "maria"
    assert asked.requests == [("GET", "/users/maria")]
    assert notes == []


def test_changing_is_noted_and_not_carried_out(muted: MutedClient, asked: Asked, notes: list[str]) -> None:
    made = muted.create_user("tom", "Tom")
    muted.delete_user("maria")
    assert asked.requests == []
    assert notes == ["POST /users", "DELETE /users/maria"]
    assert made["uid"] == "tom"
    assert made["id"] == "withheld"


def test_adding_members_answers_without_anybody_added(muted: MutedClient, asked: Asked) -> None:
    assert muted.add_members("ops", ["maria"]) == {}
    assert asked.requests == []


def test_files_are_downloaded(muted: MutedClient) -> None:
    assert muted.download("https://files/1") == b"https://files/1"


def test_closing_leaves_the_real_client_open(muted: MutedClient, asked: Asked) -> None:
    muted.close()
    assert muted.get_user("maria")
    assert repr(muted) == "MutedClient('https://host/v3')"
    assert muted.rate is None
