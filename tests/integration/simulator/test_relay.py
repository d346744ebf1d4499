from __future__ import annotations

import base64
import socket
from typing import Any

import pytest

from cometbot.simulator import Simulator


def test_message_is_posted_as_the_documented_callback(simulator: Simulator, receiver: Any) -> None:
    said = simulator.user("maria").say("status of ticket 4711?", to="helpdesk")
    simulator.wait_idle()
    body = receiver.bodies[0]
    assert (body["trigger"], body["bot"], body["appId"], body["region"]) == (
        "after_message", "helpdesk", simulator.app_id, "eu",
    )  # fmt: skip
    assert body["chatAPIVersion"] == "3.0"
    assert body["origin"] == {"platform": "web", "language": "reactjs", "resource": "chat-widget"}
    assert (body["data"]["id"], body["data"]["sender"], body["data"]["receiver"]) == (said.id, "maria", "helpdesk")
    assert body["data"]["data"]["entities"]["sender"]["entity"]["name"] == "Maria Keller"
    assert base64.b64decode(receiver.credentials[0].removeprefix("Basic ")) == b"cc:s3cr3t-value"


def test_callback_is_logged_with_response_and_no_secrets(simulator: Simulator, receiver: Any) -> None:
    receiver.statuses = [503]
    said = simulator.user("maria").say("hi", to="helpdesk")
    simulator.wait_idle()
    entry = simulator.callbacks[0]
    assert (entry.target, entry.url, entry.trigger, entry.message_id) == (
        "helpdesk", receiver.url, "after_message", said.id,
    )  # fmt: skip
    assert (entry.status, entry.ok, entry.answer, entry.attempt) == (503, False, '{"taken": true}', 1)
    assert entry.body == receiver.bodies[0]
    assert entry.headers["authorization"] == "***"
    assert entry.seconds > 0
    assert "s3cr3t-value" not in repr(list(simulator.callbacks))


def test_what_rest_sends_is_relayed_too_and_comes_from_the_api(simulator: Simulator, rest: Any, receiver: Any) -> None:
    body = {
        "receiver": "helpdesk",
        "receiverType": "user",
        "category": "message",
        "type": "text",
        "data": {"text": "x"},
    }
    rest("POST", "/messages", body, headers={"onBehalfOf": "tom"})
    simulator.wait_idle()
    assert receiver.bodies[0]["origin"] == {"platform": "API"}
    assert "resource" not in receiver.bodies[0]["data"]["data"]


def test_bot_receives_other_bots_but_not_itself(simulator: Simulator, receiver: Any) -> None:
    simulator.add_bot("greeter", "http://127.0.0.1:9/", enabled=False)
    simulator.world.directory.groups["ops-room"].members["greeter"] = simulator.world.directory.groups[
        "ops-room"
    ].members["tom"]
    simulator.user("helpdesk").say("mine", group="ops-room")
    simulator.user("greeter").say("theirs", group="ops-room")
    simulator.wait_idle()
    assert receiver.texts == ["theirs"]
    simulator.configure(relay_messages_of_bots=False)
    simulator.user("greeter").say("theirs again", to="helpdesk")
    simulator.configure(relay_own_messages=True, relay_messages_of_bots=True)
    simulator.user("helpdesk").say("mine now", to="maria")
    simulator.wait_idle()
    assert receiver.texts == ["theirs", "mine now"]


@pytest.mark.parametrize(
    ("setting", "heard"),
    [
        ("none", []),
        ("allMessages", ["plain", "/slash", " /no slash", "<@uid:helpdesk> you", "<@uid:tom> him"]),
        ("slashedMessages", ["/slash"]),
        ("mentionedMessages", ["<@uid:helpdesk> you"]),
    ],
)
def test_the_group_setting_chooses_group_messages_only(
    simulator: Simulator, rest: Any, receiver: Any, setting: str, heard: list[str]
) -> None:
    assert rest("PUT", "/bots/helpdesk", {"groupChatSetting": setting}).status_code == 200
    for text in ("plain", "/slash", " /no slash", "<@uid:helpdesk> you", "<@uid:tom> him"):
        simulator.user("maria").say(text, group="ops-room")
    simulator.user("maria").say("direct", to="helpdesk")
    simulator.wait_idle()
    assert receiver.texts == [*heard, "direct"]


def test_disabled_bot_receives_nothing(simulator: Simulator, rest: Any, receiver: Any) -> None:
    rest("PUT", "/bots/helpdesk", {"enabled": False})
    simulator.user("maria").say("direct", to="helpdesk")
    simulator.user("maria").say("group", group="ops-room")
    simulator.wait_idle()
    assert receiver.bodies == []


def test_foreign_groups_are_relayed_only_if_configured(simulator: Simulator, receiver: Any) -> None:
    simulator.add_group("lab", members=["tom"])
    simulator.user("tom").say("secret", group="lab")
    simulator.configure(relay_to_non_members=True)
    simulator.user("tom").say("public", group="lab")
    simulator.wait_idle()
    assert receiver.texts == ["public"]


def test_edits_joins_and_reactions_do_not_reach_the_bot(simulator: Simulator, receiver: Any) -> None:
    maria = simulator.user("maria")
    said = maria.say("helo", group="ops-room")
    maria.edit(said, "hello")
    maria.react(said, "👍")
    maria.delete(said)
    simulator.user("tom").leave("ops-room")
    simulator.wait_idle()
    assert receiver.texts == ["helo"]


def test_callbacks_come_in_order(simulator: Simulator, receiver: Any) -> None:
    for number in range(50):
        simulator.user("maria" if number % 2 else "tom").say(str(number), to="helpdesk")
    simulator.wait_idle()
    assert receiver.texts == [str(number) for number in range(50)]


def test_with_several_threads_each_conversation_keeps_its_order(simulator: Simulator, receiver: Any) -> None:
    simulator.configure(callback_threads=4)
    users = [simulator.user(f"user-{number}") for number in range(8)]
    receiver.may_answer.clear()
    for number in range(5):
        for user in users:
            user.say(f"{user.uid} {number}", to="helpdesk")
    assert simulator.wait_for(lambda _: len(receiver.bodies) > 1)
    receiver.may_answer.set()
    simulator.wait_idle()
    for user in users:
        own = [text for text in receiver.texts if text.startswith(f"{user.uid} ")]
        assert own == [f"{user.uid} {number}" for number in range(5)]


def test_a_failed_callback_is_not_repeated_by_default(simulator: Simulator, receiver: Any) -> None:
    receiver.statuses = [500]
    simulator.user("maria").say("hi", to="helpdesk")
    simulator.wait_idle()
    assert [entry.status for entry in simulator.callbacks] == [500]


def test_failed_callback_is_redelivered_without_blocking(simulator: Simulator, receiver: Any) -> None:
    simulator.configure(redeliver=(0.15, 0.01))
    receiver.statuses = [500, 200, 302, 200]
    simulator.user("maria").say("first", to="helpdesk")
    simulator.user("maria").say("second", to="helpdesk")
    simulator.wait_idle()
    assert receiver.texts == ["first", "second", "first", "first"]
    assert [(entry.attempt, entry.status) for entry in simulator.callbacks] == [(1, 500), (1, 200), (2, 302), (3, 200)]


def test_redelivery_ends_with_its_last_attempt(simulator: Simulator, receiver: Any) -> None:
    simulator.configure(redeliver=(0.01,))
    receiver.statuses = [500, 500, 500]
    simulator.user("maria").say("first", to="helpdesk")
    simulator.wait_idle()
    assert [entry.attempt for entry in simulator.callbacks] == [1, 2]


def test_callback_error_is_logged_with_its_reason(simulator: Simulator, receiver: Any) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        simulator.add_bot("down", f"http://127.0.0.1:{closed.getsockname()[1]}/")
        simulator.user("maria").say("hi", to="down")
        simulator.wait_idle()
    simulator.configure(callback_timeout=0.05)
    receiver.may_answer.clear()
    simulator.user("maria").say("hi", to="helpdesk")
    simulator.wait_idle()
    refused, late = simulator.callbacks
    assert (refused.status, late.status) == (0, 0)
    assert "refused" in refused.error
    assert "timed out" in late.error


def test_duplicates_arrive_twice_with_the_same_body(simulator: Simulator, receiver: Any) -> None:
    simulator.misbehave.duplicate_callbacks(1, times=1)
    simulator.user("maria").say("first", to="helpdesk")
    simulator.user("maria").say("second", to="helpdesk")
    simulator.wait_idle()
    assert receiver.texts == ["first", "first", "second"]
    assert receiver.bodies[0] == receiver.bodies[1]
    assert [entry.copy for entry in simulator.callbacks] == [0, 1, 0]


def test_reordering_shuffles_within_its_window(simulator: Simulator, receiver: Any) -> None:
    simulator.misbehave.reorder_callbacks(window=3, timeout=5, seed=1)
    for number in range(6):
        simulator.user("maria").say(str(number), to="helpdesk")
    simulator.wait_idle()
    assert receiver.texts != list("012345")
    assert {*receiver.texts[:3]} == {"0", "1", "2"}
    assert {*receiver.texts[3:]} == {"3", "4", "5"}


def test_single_callback_is_posted_when_max_wait_ends(simulator: Simulator, receiver: Any) -> None:
    simulator.misbehave.reorder_callbacks(window=3, timeout=0.02)
    simulator.user("maria").say("alone", to="helpdesk")
    simulator.wait_idle()
    assert receiver.texts == ["alone"]


def test_stopped_simulator_posts_nothing_until_started(simulator: Simulator, receiver: Any) -> None:
    simulator.stop()
    simulator.user("maria").say("waits", to="helpdesk")
    assert receiver.bodies == []
    simulator.start()
    simulator.wait_idle()
    assert receiver.texts == ["waits"]


def test_reset_forgets_what_is_queued(simulator: Simulator, receiver: Any) -> None:
    simulator.stop()
    simulator.user("maria").say("never", to="helpdesk")
    simulator.reset()
    simulator.seed_demo("helpdesk", receiver.url)
    simulator.start()
    simulator.user("maria").say("now", to="helpdesk")
    simulator.wait_idle()
    assert (receiver.texts, receiver.credentials) == (["now"], [""])


def test_webhooks_receive_their_triggers(simulator: Simulator, receiver: Any) -> None:
    simulator.world.directory.delete_bot("helpdesk")
    webhook = simulator.add_webhook(
        receiver.url, ["message_sent", "message_edited", "message_deleted", "user_mentioned"], "hook", "pass"
    )
    maria = simulator.user("maria")
    said = maria.say("hey <@uid:tom>", to="helpdesk")
    maria.edit(said, "hello")
    maria.react(said, "👍")
    maria.delete(said)
    simulator.wait_idle()
    assert [body["trigger"] for body in receiver.bodies] == [
        "message_sent", "user_mentioned", "message_edited", "message_deleted",
    ]  # fmt: skip
    assert {body["webhook"] for body in receiver.bodies} == {webhook}
    sent, mentioned, edited, deleted = (body["data"]["message"] for body in receiver.bodies)
    assert {sent["id"], mentioned["id"]} == {said.id}
    assert [(report["category"], report["type"]) for report in (edited, deleted)] == [("action", "message")] * 2
    new, gone = (report["data"]["entities"]["on"]["entity"] for report in (edited, deleted))
    assert (new["id"], new["data"]["text"]) == (said.id, "hello")
    assert (gone["id"], gone["conversationId"]) == (said.id, said.conversation_id)
    assert (set(gone), gone["deletedBy"]) == ({"id", "conversationId", "deletedAt", "deletedBy"}, "maria")
    assert base64.b64decode(receiver.credentials[0].removeprefix("Basic ")) == b"hook:pass"
    assert "bot" not in receiver.bodies[0]


def test_changes_can_be_reported_as_their_message(simulator: Simulator, receiver: Any) -> None:
    simulator.add_webhook(receiver.url, ["message_edited", "message_deleted"], edits_as="message")
    said = simulator.user("maria").say("helo", to="tom")
    simulator.user("maria").edit(said, "hello")
    simulator.user("maria").delete(said)
    simulator.wait_idle()
    edited, deleted = (body["data"]["message"] for body in receiver.bodies)
    assert (edited["id"], edited["category"], edited["data"]["text"]) == (said.id, "message", "hello")
    assert (deleted["id"], deleted["category"], deleted["deletedBy"]) == (said.id, "message", "maria")


def test_reactions_and_members_have_their_own_shapes(simulator: Simulator, receiver: Any) -> None:
    simulator.add_webhook(receiver.url, ["message_reaction_added", "group_member_kicked", "group_member_joined"])
    said = simulator.user("maria").say("hi", to="tom")
    simulator.user("tom").react(said, "👍")
    simulator.user("tom").leave("ops-room")
    simulator.user("tom").join("ops-room")
    simulator.wait_idle()
    reacted, joined = (body["data"] for body in receiver.bodies)
    assert (reacted["reaction"]["messageId"], reacted["reaction"]["reactedBy"]["uid"]) == (said.id, "tom")
    assert set(reacted) == {"reaction"}
    assert (joined["group"]["guid"], list(joined["members"]), "by" in joined) == ("ops-room", ["tom"], False)
