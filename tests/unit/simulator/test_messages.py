from __future__ import annotations

from typing import Any

import pytest

from cometbot.simulator import Simulator

TO_MARIA = {"receiver": "maria", "receiverType": "user"}
HELLO = {**TO_MARIA, "category": "message", "type": "text", "data": {"text": "hello"}}
FILE = {"url": "https://cdn.example.org/a.png", "name": "a.png", "mimeType": "image/png", "extension": "png", "size": 7}
CARD = {"version": "1.0", "body": [{"id": "t", "type": "text"}], "style": {"background": {}}, "fallbackText": "x"}


def code_of(response: Any) -> tuple[int, str]:
    return response.status_code, response.get_json()["error"]["code"]


def send(rest: Any, **changes: Any) -> Any:
    return rest("POST", "/bots/helpdesk/messages", {**HELLO, **changes})


def test_a_sent_text_has_the_documented_shape(rest: Any) -> None:
    shown = send(rest, muid="b7d0-1", tags=["ticket"]).get_json()["data"]
    assert shown["conversationId"] == "helpdesk_user_maria"
    assert (shown["sender"], shown["receiver"], shown["receiverType"]) == ("helpdesk", "maria", "user")
    assert (shown["category"], shown["type"], shown["muid"]) == ("message", "text", "b7d0-1")
    assert isinstance(shown["id"], str)
    assert isinstance(shown["sentAt"], int)
    assert shown["data"]["entities"]["sender"]["entity"]["uid"] == "helpdesk"
    assert shown["data"]["entities"]["receiver"]["entity"]["conversationId"] == "helpdesk_user_maria"
    assert "resource" not in shown["data"]
    assert "tags" not in shown


def test_texts_come_through_unchanged(rest: Any) -> None:
    text = '<b>"Grüße" & 👍 \\n</b>\n\u202e'
    assert send(rest, data={"text": text}).get_json()["data"]["data"]["text"] == text


@pytest.mark.parametrize(
    "body",
    [
        {"category": "message", "type": "image", "data": {"attachments": [FILE], "text": "look"}},
        {"category": "custom", "type": "location", "data": {"customData": {"lat": 48.1}}},
        {"category": "interactive", "type": "card", "data": {"interactiveData": {"text": "x", "cardActions": []}}},
        {"category": "card", "type": "text", "data": {"text": "x", "card": CARD}},
    ],
)
def test_every_kind_of_message_is_taken(rest: Any, body: Any) -> None:
    shown = rest("POST", "/bots/helpdesk/messages", {**TO_MARIA, **body}).get_json()["data"]
    assert (shown["category"], shown["type"]) == (body["category"], body["type"])
    assert all(shown["data"][key] == value for key, value in body["data"].items())


def test_a_media_message_also_shows_the_url_of_its_first_file(rest: Any) -> None:
    shown = send(rest, type="image", data={"attachments": [FILE]}).get_json()["data"]
    assert shown["data"]["url"] == FILE["url"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"receiver": ""}, "ERR_EMPTY_RECEIVER"),
        ({"receiver": 5}, "ERR_BAD_REQUEST"),
        ({"receiverType": "User"}, "ERR_INVALID_RECEIVER_TYPE"),
        ({"category": None}, "ERR_EMPTY_MESSAGE_CATEGORY"),
        ({"category": "letter"}, "ERR_INVALID_MESSAGE_CATEGORY"),
        ({"type": ""}, "ERR_EMPTY_MESSAGE_TYPE"),
        ({"type": "poem"}, "ERR_INVALID_MESSAGE_TYPE"),
        ({"data": "hi"}, "ERR_INVALID_MESSAGE_DATA"),
        ({"data": {}}, "ERR_EMPTY_MESSAGE_TEXT"),
        ({"data": {"text": "  "}}, "ERR_EMPTY_MESSAGE_TEXT"),
        ({"data": {"text": 5}}, "ERR_INVALID_MESSAGE_TEXT"),
        ({"data": {"text": "x", "metadata": []}}, "ERR_INVALID_METADATA"),
        ({"type": "image", "data": {}}, "ERR_EMPTY_MESSAGE_FILE"),
        ({"type": "image", "data": {"attachments": [{"url": "x"}]}}, "ERR_INVALID_MEDIA_MESSAGE"),
        ({"type": "image", "data": {"attachments": [FILE], "text": 5}}, "ERR_INVALID_MESSAGE_TEXT"),
        ({"category": "custom", "data": {}}, "ERR_EMPTY_CUSTOM_DATA"),
        ({"category": "custom", "data": {"customData": "x"}}, "ERR_INVALID_CUSTOM_DATA"),
        ({"category": "interactive", "type": "form"}, "ERR_INVALID_MESSAGE_DATA"),
        ({"category": "card", "data": {"text": "x", "card": {}}}, "ERR_INVALID_MESSAGE_DATA"),
        ({"category": "card", "type": "image"}, "ERR_INVALID_MESSAGE_TYPE"),
        ({"tags": ["t"] * 26}, "ERR_BAD_REQUEST"),
        ({"tags": ["t" * 101]}, "ERR_BAD_REQUEST"),
        ({"data": {"text": "ä" * 5200}}, "ERR_BAD_REQUEST"),
        ({"data": {"text": " ".join(f"<@uid:u{n}>" for n in range(11))}}, "ERR_BAD_REQUEST"),
        ({"muid": "m" * 256}, "ERR_BAD_REQUEST"),
        ({"padding": "p" * 65_600}, "ERR_BAD_REQUEST"),
    ],
)
def test_wrong_messages_are_refused_with_their_code(rest: Any, changes: Any, code: str) -> None:
    assert code_of(send(rest, **changes)) == (400, code)


def test_a_message_to_nobody_is_refused(rest: Any, simulator: Simulator) -> None:
    assert code_of(send(rest, receiver="nobody")) == (404, "ERR_UID_NOT_FOUND")
    assert code_of(send(rest, receiver="nowhere", receiverType="group")) == (404, "ERR_GUID_NOT_FOUND")
    simulator.add_group("lab", members=["tom"])
    assert code_of(send(rest, receiver="lab", receiverType="group")) == (404, "ERR_GROUP_NOT_JOINED")
    assert simulator.messages() == []


def test_categories_that_the_behaviour_leaves_out_are_refused(rest: Any, simulator: Simulator) -> None:
    simulator.configure(categories=("message", "custom"))
    answer = send(rest, category="card", data={"text": "x", "card": CARD})
    assert code_of(answer) == (400, "ERR_INVALID_MESSAGE_CATEGORY")


def test_mentions_are_resolved_to_users_that_exist(rest: Any) -> None:
    shown = send(rest, data={"text": "<@uid:TOM> and <@uid:nobody>"}).get_json()["data"]
    assert {uid: user["name"] for uid, user in shown["data"]["mentions"].items()} == {"tom": "Tom Berger"}


def test_reserved_data_keys_are_removed(rest: Any) -> None:
    shown = send(rest, data={"text": "x", "resource": "WEB", "mentions": {"a": 1}, "reactions": [1]}).get_json()
    assert set(shown["data"]["data"]) == {"text", "entities"}


def test_send_message_without_on_behalf_of_comes_from_the_system(rest: Any) -> None:
    shown = rest("POST", "/messages", HELLO).get_json()["data"]
    assert shown["sender"] == "app_system"
    assert shown["data"]["entities"]["sender"]["entity"]["name"] == "System"
    assert rest("POST", "/messages", HELLO, acting="TOM").get_json()["data"]["sender"] == "tom"
    assert code_of(rest("POST", "/messages", HELLO, acting="nobody")) == (404, "ERR_UID_NOT_FOUND")


def test_repeated_muid_is_another_message_by_default(rest: Any, simulator: Simulator) -> None:
    first = send(rest, muid="m1").get_json()["data"]["id"]
    assert send(rest, muid="m1").get_json()["data"]["id"] != first
    simulator.configure(repeated_muid="same")
    assert send(rest, muid="m1").get_json()["data"]["id"] == first
    assert len(simulator.messages()) == 2


def test_thread_replies_carry_their_root_and_are_counted(rest: Any) -> None:
    root = send(rest).get_json()["data"]["id"]
    reply = rest("POST", f"/messages/{root}/thread", HELLO, acting="helpdesk").get_json()["data"]
    assert reply["parentId"] == root
    assert rest("GET", f"/messages/{root}").get_json()["data"]["replyCount"] == 1
    listed = rest("GET", f"/messages/{root}/thread").get_json()["data"]
    assert [(message["id"], message["parentId"]) for message in listed] == [(reply["id"], root)]
    by_cursor = rest("GET", f"/messages/{root}/thread?affix=append&limit=5").get_json()
    assert by_cursor["meta"]["current"] == {"limit": 5, "count": 1}


def test_wrong_threads_are_refused(rest: Any, simulator: Simulator) -> None:
    root = send(rest).get_json()["data"]["id"]
    reply = rest("POST", f"/messages/{root}/thread", HELLO, acting="helpdesk").get_json()["data"]["id"]
    action = simulator.user("helpdesk").delete(reply).id

    def refused(parent: str, **changes: Any) -> tuple[int, str]:
        return code_of(rest("POST", f"/messages/{parent}/thread", {**HELLO, **changes}, acting="helpdesk"))

    assert refused(reply) == (400, "ERR_MESSAGE_THREAD_NESTING")
    assert refused(root, receiver="tom") == (400, "ERR_WRONG_MESSAGE_THREAD")
    assert refused(action) == (400, "ERR_WRONG_MESSAGE_THREAD_CATEGORY")
    assert refused("999") == (404, "ERR_MESSAGE_ID_NOT_FOUND")
    assert code_of(rest("POST", f"/messages/{root}/thread", HELLO)) == (400, "ERR_BAD_REQUEST")


def test_parent_id_in_body_counts_only_if_configured(rest: Any, simulator: Simulator) -> None:
    root = send(rest).get_json()["data"]["id"]
    assert "parentId" not in send(rest, parentId=root).get_json()["data"]
    simulator.configure(parent_id_in_body=True)
    assert send(rest, parentId=int(root)).get_json()["data"]["parentId"] == root


def test_edit_answers_an_action_message_about_the_edited_one(rest: Any, simulator: Simulator) -> None:
    sent = send(rest, tags=["a"]).get_json()["data"]["id"]
    body = {"data": {"text": "now <@uid:tom>"}, "tags": ["b"]}
    action = rest("PUT", f"/messages/{sent}", body, acting="helpdesk").get_json()["data"]
    assert (action["category"], action["type"], action["data"]["action"]) == ("action", "message", "edited")
    assert action["id"] != sent
    entities = action["data"]["entities"]
    assert entities["by"]["entity"]["uid"] == "helpdesk"
    assert entities["for"]["entity"]["uid"] == "maria"
    edited = entities["on"]["entity"]
    assert (entities["on"]["entityType"], edited["id"], edited["data"]["text"]) == ("message", sent, "now <@uid:tom>")
    assert (edited["editedBy"], edited["tags"], list(edited["data"]["mentions"])) == ("helpdesk", ["b"], ["tom"])
    assert edited["editedAt"]
    assert simulator.message(sent).text == "now <@uid:tom>"


def test_edit_without_on_behalf_of_is_by_the_system(rest: Any, simulator: Simulator) -> None:
    sent = send(rest).get_json()["data"]["id"]
    assert rest("PUT", f"/messages/{sent}", {"data": {"text": "x"}}).status_code == 200
    assert simulator.message(sent).edited_by == "app_system"


def test_wrong_edits_are_refused(rest: Any) -> None:
    sent = send(rest).get_json()["data"]["id"]
    picture = send(rest, type="image", data={"attachments": [FILE]}).get_json()["data"]["id"]
    change = {"data": {"text": "x"}}
    assert code_of(rest("PUT", f"/messages/{sent}", change, acting="maria")) == (403, "ERR_MESSAGE_NOT_A_SENDER")
    assert code_of(rest("PUT", f"/messages/{sent}", change, acting="tom")) == (403, "ERR_MESSAGE_NO_ACCESS")
    assert code_of(rest("PUT", f"/messages/{picture}", change)) == (400, "ERR_MESSAGE_ACTION_NOT_ALLOWED")
    assert code_of(rest("PUT", f"/messages/{sent}", {"data": {"text": ""}})) == (400, "ERR_EMPTY_MESSAGE_TEXT")
    assert code_of(rest("PUT", f"/messages/{sent}", {})) == (400, "ERR_BAD_REQUEST")
    assert code_of(rest("PUT", "/messages/x1", change)) == (404, "ERR_MESSAGE_ID_NOT_FOUND")


def test_delete_marks_the_message_and_answers_an_action(rest: Any, simulator: Simulator) -> None:
    sent = send(rest).get_json()["data"]["id"]
    action = rest("DELETE", f"/messages/{sent}", acting="helpdesk").get_json()["data"]
    assert action["data"]["action"] == "deleted"
    assert action["data"]["entities"]["on"]["entity"]["deletedBy"] == "helpdesk"
    assert simulator.message(sent).deleted_at
    again = rest("DELETE", f"/messages/{sent}", acting="helpdesk")
    assert code_of(again) == (400, "ERR_MESSAGE_ACTION_NOT_ALLOWED")


def test_delete_for_good_forgets_the_message(rest: Any) -> None:
    sent = send(rest, muid="m1").get_json()["data"]["id"]
    assert rest("DELETE", f"/messages/{sent}", {"permanent": True}).status_code == 200
    assert code_of(rest("GET", f"/messages/{sent}")) == (404, "ERR_MESSAGE_ID_NOT_FOUND")
    assert rest("GET", "/users/maria/messages?category=message", acting="helpdesk").get_json()["data"] == []


def test_only_the_sender_and_moderators_delete(rest: Any, simulator: Simulator) -> None:
    said = simulator.user("helpdesk").say("x", group="ops-room")
    assert code_of(rest("DELETE", f"/messages/{said.id}", acting="tom")) == (403, "ERR_MESSAGE_NOT_A_SENDER")
    assert rest("DELETE", f"/messages/{said.id}", acting="maria").status_code == 200


def test_reactions_are_counted_listed_and_taken_back(rest: Any, simulator: Simulator) -> None:
    sent = send(rest).get_json()["data"]["id"]
    rest("POST", f"/messages/{sent}/reactions/%F0%9F%91%8D", acting="maria")
    shown = rest("POST", f"/messages/{sent}/reactions/👍", acting="helpdesk").get_json()["data"]
    assert shown["data"]["reactions"] == [{"reaction": "👍", "count": 2, "reactedByMe": True}]
    again = rest("POST", f"/messages/{sent}/reactions/👍", acting="helpdesk").get_json()["data"]
    assert again["data"]["reactions"][0]["count"] == 2
    listed = rest("GET", f"/messages/{sent}/reactions").get_json()["data"]
    assert [(item["uid"], item["messageId"], item["reactedBy"]["uid"]) for item in listed] == [
        ("maria", sent, "maria"), ("helpdesk", sent, "helpdesk"),
    ]  # fmt: skip
    assert rest("GET", f"/messages/{sent}/reactions/🎉").get_json()["data"] == []
    after = rest("DELETE", f"/messages/{sent}/reactions/👍", acting="maria").get_json()["data"]
    assert after["data"]["reactions"][0]["count"] == 1
    assert rest("DELETE", f"/messages/{sent}/reactions/👍", acting="maria").status_code == 200
    assert [change.trigger for change in simulator.world.journal.changes].count("message_reaction_removed") == 1


def test_wrong_reactions_are_refused(rest: Any, simulator: Simulator) -> None:
    sent = send(rest).get_json()["data"]["id"]
    assert code_of(rest("POST", f"/messages/{sent}/reactions/{'a' * 46}", acting="maria")) == (400, "ERR_BAD_REQUEST")
    assert code_of(rest("POST", f"/messages/{sent}/reactions/a")) == (400, "ERR_BAD_REQUEST")
    assert code_of(rest("POST", f"/messages/{sent}/reactions/a", acting="tom")) == (403, "ERR_MESSAGE_NO_ACCESS")
    for number in range(25):
        simulator.user("maria").react(sent, f"r{number}")
    assert code_of(rest("POST", f"/messages/{sent}/reactions/one-more", acting="maria")) == (400, "ERR_BAD_REQUEST")
    assert rest("POST", f"/messages/{sent}/reactions/r1", acting="helpdesk").status_code == 200


def test_a_quote_shows_the_quoted_message(rest: Any, simulator: Simulator) -> None:
    first = simulator.user("maria").say("first", to="helpdesk")
    second = simulator.user("maria").say("second", to="helpdesk", quote=first)
    shown = rest("GET", f"/messages/{second.id}").get_json()["data"]
    assert shown["quotedMessageId"] == first.id
    assert shown["quotedMessage"]["data"]["text"] == "first"
