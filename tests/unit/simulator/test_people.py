"""What users do beside writing, and the webhooks that report it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from cometbot.simulator import Refusal, Simulator
from cometbot.simulator.triggers import session_kind


def last_change(simulator: Simulator) -> tuple[str, Mapping[str, Any]]:
    change = simulator.world.journal.changes[-1]
    return change.trigger, change.data


def count_changes(simulator: Simulator) -> int:
    return len(simulator.world.journal.changes)


def test_blocking_is_reported_once(simulator: Simulator) -> None:
    maria = simulator.user("maria")
    maria.block("tom")
    trigger, data = last_change(simulator)
    assert (trigger, list(data["users"]), data["by"]["uid"]) == ("user_blocked", ["tom"], "maria")
    count = count_changes(simulator)
    maria.block("TOM")
    assert count_changes(simulator) == count
    with pytest.raises(Refusal, match="has blocked"):
        simulator.user("tom").say("hello", to="maria")
    maria.unblock("tom")
    assert last_change(simulator)[0] == "user_unblocked"
    simulator.user("tom").say("hello", to="maria")


def test_nobody_blocks_themselves_or_nobody(simulator: Simulator) -> None:
    for uid, code in (("maria", "ERR_CANNOT_BLOCK_SELF"), ("ghost", "ERR_UID_NOT_FOUND")):
        with pytest.raises(Refusal) as caught:
            simulator.user("maria").block(uid)
        assert caught.value.code == code


def test_blocking_over_rest_is_reported(rest: Any, simulator: Simulator) -> None:
    body = {"blockedUids": ["tom", "ghost"]}
    answer = rest("POST", "/users/maria/blockedusers", body).get_json()["data"]
    assert [answer[uid]["success"] for uid in ("tom", "ghost")] == [True, False]
    assert last_change(simulator)[0] == "user_blocked"
    rest("DELETE", "/users/maria/blockedusers", {"blockedUids": ["tom"]})
    assert last_change(simulator)[0] == "user_unblocked"


def test_presence_says_if_it_has_changed(simulator: Simulator) -> None:
    tom = simulator.user("tom")
    seen = []
    for act in (tom.connect, tom.connect, tom.disconnect):
        act()
        trigger, data = last_change(simulator)
        assert trigger == "user_connection_status_changed"
        seen.append((data["status"], data["currentConnection"]["action"], data["userPresenceChanged"]))
    assert seen == [("online", "connected", True), ("online", "connected", False), ("offline", "disconnected", True)]
    assert data["timestamp"] == 1_767_225_600_000


def test_receipts_are_for_what_others_wrote(rest: Any, simulator: Simulator) -> None:
    maria, tom = simulator.user("maria"), simulator.user("tom")
    first = maria.say("one", to="tom")
    own = tom.say("two", to="maria")
    count = count_changes(simulator)
    tom.read(own)
    trigger, data = last_change(simulator)
    assert trigger == "message_read_receipt"
    assert (data["sender"], data["receiver"], data["messageSender"]) == ("tom", "maria", "maria")
    assert (data["body"]["action"], data["body"]["messageId"]) == ("read", first.id)
    tom.read(own)
    rest("POST", "/users/maria/conversation/read", acting="tom")
    assert count_changes(simulator) == count + 1
    tom.receive(first)
    assert last_change(simulator)[0] == "message_delivery_receipt"


def test_receipt_of_a_group_names_the_group(simulator: Simulator) -> None:
    said = simulator.user("maria").say("one", group="ops-room")
    simulator.user("tom").read(said)
    data = last_change(simulator)[1]
    assert (data["receiverType"], data["receiver"], data["messageSender"]) == ("group", "ops-room", "maria")


def test_new_owner_of_a_group_is_reported(rest: Any, simulator: Simulator) -> None:
    assert rest("PUT", "/groups/ops-room", {"owner": "tom"}).status_code == 200
    trigger, data = last_change(simulator)
    assert (trigger, data["group"]["owner"], data["group"]["oldOwner"]) == ("group_owner_transferred", "tom", "maria")


def test_report_sends_what_the_simulator_cannot_do(simulator: Simulator) -> None:
    simulator.report("call_started", {"sessionId": "v1.eu.1"})
    assert last_change(simulator) == ("call_started", {"sessionId": "v1.eu.1"})
    simulator.report("moderation_engine_approved", {"message": {}})
    with pytest.raises(Refusal, match="does not know"):
        simulator.report("call_dreamt", {})


@pytest.mark.parametrize(
    ("trigger", "kind"),
    [("call_initiated", ""), ("call_ended", "call"), ("meeting_started", "meet"), ("message_sent", "")],
)
def test_calls_and_meetings_say_so_beside_their_data(trigger: str, kind: str) -> None:
    assert session_kind(trigger) == kind


def block_message(simulator: Simulator) -> str:
    message = simulator.user("maria").say("casino", to="tom")
    store = simulator.world.message_store
    store.update(replace(message, data={**message.data, "moderation": {"status": "disapproved", "rule": {"id": "r"}}}))
    return message.id


def test_approved_message_is_delivered(rest: Any, simulator: Simulator) -> None:
    id = block_message(simulator)
    path = f"/moderation/blocked-messages/{id}"
    answer = rest("PATCH", path, {"status": "approved", "reviewed": True}).get_json()
    assert answer["data"]["success"] is True
    changes = simulator.world.journal.changes[-2:]
    assert [change.trigger for change in changes] == ["message_sent", "moderation_manual_approved"]
    assert changes[1].data["message"]["data"]["moderation"]["status"] == "approved"
    assert changes[1].data["moderation"] == [{"rule": {"id": "r"}}]
    assert rest("PATCH", path, {"status": "approved"}).status_code == 404


def test_rejected_message_stays_blocked(rest: Any, simulator: Simulator) -> None:
    id = block_message(simulator)
    assert rest("PATCH", f"/moderation/blocked-messages/{id}", {"status": "rejected"}).status_code == 200
    assert simulator.message(id).data["moderation"]["status"] == "disapproved"


def test_flagged_message_is_reviewed_once(rest: Any, simulator: Simulator) -> None:
    said = simulator.user("maria").say("buy now", to="tom")
    path = f"/moderation/flagged-messages/{said.id}"
    assert rest("PATCH", path, {"status": "approved"}).status_code == 404
    assert rest("POST", f"/messages/{said.id}/flagged", {"reasonId": "spam"}, acting="tom").get_json()["success"]
    assert rest("PATCH", path, {"status": "disapproved"}).get_json()["success"]
    assert simulator.message(said.id).data["moderation"]["status"] == "disapproved"
    assert rest("PATCH", path, {"status": "approved"}).status_code == 404


@pytest.mark.parametrize("body", [{}, {"status": "rejected"}, {"status": 5}])
def test_wrong_decision_on_flagged_message_is_refused(rest: Any, simulator: Simulator, body: dict[str, Any]) -> None:
    said = simulator.user("maria").say("x", to="tom")
    assert rest("PATCH", f"/moderation/flagged-messages/{said.id}", body).status_code == 400
