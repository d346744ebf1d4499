"""CometChat for rehearsals."""

from __future__ import annotations

from typing import Any, cast

import pytest

from cometbot.channels.cometchat.api_request import ApiRequest
from cometbot.channels.cometchat.client import CometChatClient, ReadOnlyClient


class RecordingClient:
    """A client that notes what it is asked, and answers all of it."""

    api_url = "https://host/v3"
    app_id = "app"
    timeout = 10.0
    rate = None

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []

    def send_request(self, request: ApiRequest) -> dict[str, Any]:
        self.requests.append((request.method, request.path))
        return {"data": {"uid": "maria"}}

    def download(self, url: str, to: Any = None, **options: Any) -> bytes:
        return url.encode()


@pytest.fixture
def recording_client() -> RecordingClient:
    return RecordingClient()


@pytest.fixture
def skipped() -> list[str]:
    return []


@pytest.fixture
def readonly_client(recording_client: RecordingClient, skipped: list[str]) -> ReadOnlyClient:
    return ReadOnlyClient(cast(CometChatClient, recording_client), skipped.append)


def test_read_requests_are_sent(
    readonly_client: ReadOnlyClient, recording_client: RecordingClient, skipped: list[str]
) -> None:
    assert readonly_client.get_user("maria")["uid"] == "maria"
    assert recording_client.requests == [("GET", "/users/maria")]
    assert skipped == []


def test_write_requests_are_skipped_and_reported(
    readonly_client: ReadOnlyClient, recording_client: RecordingClient, skipped: list[str]
) -> None:
    made = readonly_client.create_user("tom", "Tom")
    readonly_client.delete_user("maria")
    assert recording_client.requests == []
    assert skipped == ["POST /users", "DELETE /users/maria"]
    assert made["uid"] == "tom"
    assert made["id"] == "withheld"


def test_add_members_is_skipped(readonly_client: ReadOnlyClient, recording_client: RecordingClient) -> None:
    assert readonly_client.add_members("ops", ["maria"]) == {}
    assert recording_client.requests == []


def test_agents_are_not_changed(
    readonly_client: ReadOnlyClient, recording_client: RecordingClient, skipped: list[str]
) -> None:
    assert readonly_client.create_agent({"name": "Help"})["id"] == "withheld"
    assert readonly_client.update_agent("a1", {"isActive": False})["success"] is True
    readonly_client.delete_agent("a1")
    assert recording_client.requests == []
    assert skipped == ["POST /ai-agents/agents", "PATCH /ai-agents/agents/a1", "DELETE /ai-agents/agents/a1"]


def test_files_are_downloaded(readonly_client: ReadOnlyClient) -> None:
    assert readonly_client.download("https://files/1") == b"https://files/1"


def test_closing_leaves_the_real_client_open(
    readonly_client: ReadOnlyClient, recording_client: RecordingClient
) -> None:
    readonly_client.close()
    assert readonly_client.get_user("maria")
    assert repr(readonly_client) == "ReadOnlyClient('https://host/v3')"
    assert readonly_client.rate is None
