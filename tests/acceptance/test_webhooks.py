"""Each webhook that CometChat documents, posted to a real server and handled by a bot."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import requests

from cometbot.simulator import Simulator
from tests.webhook_samples import APP, BOT, JOINED, REACTED_MESSAGE, Sample, load_samples

from .conftest import API_KEY, BOTS, LOGIN, WAIT_TIMEOUT, Server, StartServer, wait_for

pytestmark = pytest.mark.process


class Site:
    """A server whose bot records its events, and the app that it sends to."""

    def __init__(self, server: Server, simulator: Simulator) -> None:
        self.server = server
        self.simulator = simulator

    def post(self, payload: Mapping[str, Any]) -> Any:
        url = f"{self.server.callback_url}/webhook"
        answer = requests.post(url, json=payload, auth=LOGIN, timeout=WAIT_TIMEOUT)
        assert answer.status_code == 200
        return answer.json()

    def events(self) -> list[dict[str, Any]]:
        """Return what handlers of the bot have got."""
        file = self.server.marks_folder / "events"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture(scope="module")
def site(start_server: StartServer) -> Iterator[Site]:
    with Simulator(app_id=APP, api_key=API_KEY) as simulator:
        for uid in ("ann", "tom", BOT):
            simulator.add_user(uid)
        simulator.add_bot(BOT, "http://127.0.0.1:9/unused", enabled=False)
        simulator.add_group("hiking", members=["ann", "tom", BOT])
        server = start_server(
            BOT,
            COMETBOT_BOT=f"{BOTS}/recording.py:bot",
            COMETCHAT_API_URL=simulator.api_url,
            COMETCHAT_APP_ID=APP,
        )
        yield Site(server, simulator)


def make_payload(sample: Sample, message_id: str) -> dict[str, Any]:
    """Return the payload, about the bot's message ``message_id`` if it is a reaction."""
    payload = copy.deepcopy(dict(sample.payload))
    if sample.event == "ReactionEvent":
        payload["data"]["reaction"]["messageId"] = message_id
    return payload


def test_every_documented_webhook_reaches_a_handler(site: Site) -> None:
    site.post(JOINED)
    samples = load_samples()
    site.post(samples["message_sent"].payload)
    [answer] = wait_for(lambda: site.simulator.messages(between=("ann", BOT)), or_show=lambda: site.server.log)
    site.server.wait_until(lambda: site.server.query("SELECT 1 FROM outbox WHERE state = 'sent'"))
    payloads = {name: make_payload(sample, answer.id) for name, sample in samples.items()}
    for payload in payloads.values():
        assert site.post(payload) == {"data": {"success": True}}
    site.server.wait_until(lambda: len(site.events()) == len(payloads))
    for name, payload in payloads.items():
        [shown] = [event for event in site.events() if event["raw"] == payload]
        if samples[name].event == "ReactionEvent":
            shown["message_id"] = REACTED_MESSAGE
        samples[name].check(shown)
    assert site.server.dead_letters() == []
    for payload in payloads.values():  # CometChat repeats what it thinks was lost
        assert site.post(payload) == {"data": {"success": True}}
    assert len(site.events()) == len(payloads)
