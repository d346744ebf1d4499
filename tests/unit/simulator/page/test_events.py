"""What a page's event stream says, piece by piece."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from cometbot.simulator import Simulator
from cometbot.simulator.page.events import EventStream
from cometbot.simulator.workbench import Workbench

Frame = tuple[str, str, Any]


class RecordingWorkbench(Workbench):
    def __init__(self) -> None:
        self.took: dict[str, Mapping[str, Any]] = {}

    def handled(self) -> Mapping[str, Mapping[str, Any]]:
        return dict(self.took)


def frames(piece: bytes) -> Iterator[Frame]:
    """Event, id and data of each frame."""
    for block in piece.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            yield fields["event"], fields.get("id", ""), json.loads(fields["data"])


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


def pieces(source: EventStream) -> Iterator[bytes]:
    while not source.is_closed:
        yield source.get(0.0) or b""


def read(stream: Iterator[bytes]) -> list[Frame]:
    """The frames of the next piece that has some."""
    for piece in stream:
        if found := list(frames(piece)):
            return found
    return []


def test_stream_begins_with_every_panel(simulator: Simulator, stopping: threading.Event) -> None:
    stream = pieces(EventStream(simulator, simulator.world.journal.last_id, stopping))
    names = [name for name, _, _ in read(stream)]
    assert names == ["hello", "directory", "rules", "status", "output", "dead", "dialogs", "jobs", "runs", "moderation"]


def test_a_message_comes_with_its_id_and_who_reacted(simulator: Simulator, stopping: threading.Event) -> None:
    stream = pieces(EventStream(simulator, simulator.world.journal.last_id, stopping))
    read(stream)
    said = simulator.user("maria").say("Hello", to="helpdesk")
    simulator.user("tom")
    simulator.user("helpdesk").react(said, "👍")
    entries = [(number, data) for name, number, data in read(stream) if name == "entry"]
    assert [data["trigger"] for _, data in entries] == ["message_sent", "message_reaction_added"]
    assert entries[-1][0] == str(simulator.world.journal.last_id)
    assert entries[-1][1]["message"]["reactedBy"] == {"👍": ["helpdesk"]}


def test_a_message_that_is_gone_for_good_is_named(simulator: Simulator, stopping: threading.Event) -> None:
    said = simulator.user("maria").say("Hello", to="helpdesk")
    after = simulator.world.journal.last_id
    client = simulator.app.test_client()
    headers = {"apikey": simulator.api_key, "onBehalfOf": "maria"}
    assert client.delete(f"/v3/messages/{said.id}", json={"permanent": True}, headers=headers).status_code == 200
    stream = pieces(EventStream(simulator, after, stopping))
    changes = [data for name, _, data in read(stream) if name == "entry" and data["kind"] == "change"]
    assert changes[0]["removed"] == said.id


def test_whoever_comes_back_gets_what_they_missed_and_no_more(simulator: Simulator, stopping: threading.Event) -> None:
    simulator.user("maria").say("First", to="helpdesk")
    missed_from = simulator.world.journal.last_id
    simulator.user("maria").say("Second", to="helpdesk")
    stream = pieces(EventStream(simulator, missed_from, stopping))
    texts = [data["message"]["data"]["text"] for name, _, data in read(stream) if name == "entry"]
    assert texts == ["Second"]


def test_panel_is_sent_again_only_if_changed(simulator: Simulator, stopping: threading.Event) -> None:
    stream = pieces(EventStream(simulator, simulator.world.journal.last_id, stopping))
    read(stream)
    simulator.misbehave.fail(500)
    assert [(name, data[0]["kind"]) for name, _, data in read(stream)] == [("rules", "fail")]
    simulator.add_user("zoe", "Zoe")
    assert [name for name, _, _ in read(stream)] == ["directory"]


def test_only_newly_handled_messages_are_sent(simulator: Simulator, stopping: threading.Event) -> None:
    bench = RecordingWorkbench()
    simulator.workbench = bench
    bench.took["helpdesk/1"] = {"state": "done", "handler": "greet"}
    stream = pieces(EventStream(simulator, simulator.world.journal.last_id, stopping))
    assert read(stream)[-1][2] == {"helpdesk/1": {"state": "done", "handler": "greet"}}
    bench.took["helpdesk/2"] = {"state": "running", "handler": ""}
    assert [(name, data) for name, _, data in read(stream)] == [
        ("handled", {"helpdesk/2": {"state": "running", "handler": ""}})
    ]


def test_a_stream_for_a_page_that_polls_ends_with_all_entries(
    simulator: Simulator, stopping: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cometbot.simulator.page.events.ENTRIES_PER_BATCH", 2)
    after = simulator.world.journal.last_id
    for text in ("one", "two", "three"):
        simulator.user("maria").say(text, to="tom")
    found = [frame for piece in pieces(EventStream(simulator, after, stopping, once=True)) for frame in frames(piece)]
    assert found[0][0] == "hello"
    assert [data["message"]["data"]["text"] for name, _, data in found if name == "entry"] == ["one", "two", "three"]


def test_a_stream_ends_with_the_simulator(simulator: Simulator, stopping: threading.Event) -> None:
    stream = pieces(EventStream(simulator, simulator.world.journal.last_id, stopping))
    read(stream)
    stopping.set()
    assert read(stream) == []
