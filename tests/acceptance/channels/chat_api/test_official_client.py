"""The official JavaScript client, installed from npm and with nothing changed but its ``apiUrl``."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cometbot.channels.chat_api.routes import ROUTES
from tests.acceptance.channels.chat_api.conftest import SECRET, Backend, ChatServer, StartChat
from tests.acceptance.conftest import WAIT_TIMEOUT
from tests.acceptance.npm import find_node, install_package

pytestmark = pytest.mark.process

SCRIPT = Path(__file__).with_name("official_client.cjs")
KEY = "my-encryption-key"
PAYLOADS = [
    {"type": "text", "text": "hi"},
    {"type": "markdown", "markdown": "**hi**"},
    {"type": "image", "imageUrl": "https://e.example/i.png"},
    {"type": "audio", "audioUrl": "https://e.example/a.mp3"},
    {"type": "video", "videoUrl": "https://e.example/v.mp4"},
    {"type": "file", "fileUrl": "https://e.example/f.pdf", "title": "Invoice"},
    {"type": "location", "latitude": 45.5, "longitude": -73.6, "address": "1 Main St", "title": "Shop"},
    {
        "type": "card",
        "title": "Mug",
        "subtitle": "9 EUR",
        "imageUrl": "https://e.example/m.png",
        "actions": [
            {"action": "postback", "label": "Buy", "value": "buy-mug"},
            {"action": "url", "label": "See", "value": "https://e.example/mug"},
            {"action": "say", "label": "More", "value": "tell me more"},
        ],
    },
    {"type": "carousel", "items": [{"type": "card", "title": "Mug", "actions": []}]},
    {"type": "choice", "text": "Size?", "options": [{"label": "Small", "value": "s"}]},
    {"type": "dropdown", "text": "Country?", "options": [{"label": "France", "value": "fr"}]},
    {
        "type": "bloc",
        "items": [{"type": "text", "text": "Look:"}, {"type": "image", "imageUrl": "https://e.example/i"}],
    },
]
_runs = itertools.count(1)


def run(server: ChatServer, package: Path, **variables: str) -> dict[str, Any]:
    """What the script saw; fails with its output if anything is not as it must be."""
    environ = {
        **os.environ,
        "PACKAGE": str(package),
        "API_URL": server.api_url,
        "PAYLOADS": json.dumps(PAYLOADS),
        "RUN": str(next(_runs)),
        **variables,
    }
    ended = subprocess.run(
        [find_node(), str(SCRIPT)], env=environ, capture_output=True, text=True, timeout=3 * WAIT_TIMEOUT, check=False
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}\n{server.log[-3000:]}"
    seen: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return seen


@pytest.fixture(scope="module")
def automatic(start_chat: StartChat, backend: Backend) -> ChatServer:
    return start_chat(CHAT_API_WEBHOOK_URL=backend.url, CHAT_API_WEBHOOK_SECRET=SECRET)


@pytest.fixture(scope="module")
def manual(start_chat: StartChat) -> ChatServer:
    return start_chat(CHAT_API_ENCRYPTION_KEY=KEY)


@pytest.fixture(scope="module", params=["0.5.5", "latest"])
def package(request: pytest.FixtureRequest) -> Path:
    return install_package("@botpress/chat", request.param)


def test_it_goes_through_all_operations_with_keys_of_the_server(
    automatic: ChatServer, package: Path, backend: Backend
) -> None:
    seen = run(automatic, package)

    assert sorted(seen["done"]) == sorted(route.name for route in ROUTES)
    automatic.wait_until(lambda: len(bot_payloads(backend, seen)) > len(PAYLOADS))
    kinds = {item["type"] for item in received_signals(backend, seen)}
    assert {"message_created", "message_deleted", "event_created", "participant_added", "participant_removed"} <= kinds
    assert {"message_stream_delta", "message_stream_complete"} <= kinds
    assert backend.secrets == {SECRET}
    assert {item["path"] for item in backend.received} == {"/hook"}
    assert bot_payloads(backend, seen)[: len(PAYLOADS)] == PAYLOADS


def test_it_goes_through_all_operations_with_keys_that_it_signs(manual: ChatServer, package: Path) -> None:
    seen = run(manual, package, ENCRYPTION_KEY=KEY)
    assert sorted([*seen["done"], "createUser"]) == sorted(route.name for route in ROUTES)


def bot_payloads(backend: Backend, seen: dict[str, Any]) -> list[dict[str, Any]]:
    """What the bot said in the conversation, as the backend was told."""
    created = [item["data"] for item in received_signals(backend, seen) if item["type"] == "message_created"]
    return [data["payload"] for data in created if data["isBot"]]


def received_signals(backend: Backend, seen: dict[str, Any]) -> list[dict[str, Any]]:
    """What the backend was told of the conversation."""
    here = seen["conversationId"]
    return [item for item in backend.received if f"'{here}'" in str(item["data"])]
