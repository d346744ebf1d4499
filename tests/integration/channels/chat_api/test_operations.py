"""The 21 operations: what they answer, whom they refuse, and what the bot makes of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cometbot.channels.base import OutgoingRequest
from cometbot.channels.chat_api.keys import sign
from cometbot.chat import Draft, Scope, users
from cometbot.errors import NotFound, StoreBusy
from cometbot.messages import Operation as MessageOperation
from cometbot.messages import Text
from cometbot.models import Conversation
from cometbot.settings import Settings
from tests.integration.channels.chat_api.conftest import (
    ENCRYPTION_KEY,
    HANDLER_GATE,
    Person,
    Site,
    make_bot,
    wait_until,
)

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ERROR_ID = re.compile(r"err_\d{14}x[0-9A-F]{8}")


def check_error(answer: Any, status: int, kind: str) -> str:
    """The text of a refusal, which has exactly the members that the official client needs."""
    assert answer.status_code == status, answer.text
    assert set(answer.json) == {"id", "code", "type", "message"}
    assert (answer.json["code"], answer.json["type"]) == (status, kind)
    assert ERROR_ID.fullmatch(answer.json["id"])
    return str(answer.json["message"])


def state_owners(site: Site) -> list[str]:
    """Whose memory is stored."""
    with site.running.delivery.database.read() as connection:
        return list(connection.execute(sa.text("SELECT owner FROM state")).scalars())


@pytest.fixture
def ann(site: Site) -> Person:
    return site.sign_up(name="Ann")


@pytest.fixture
def bob(site: Site) -> Person:
    return site.sign_up(name="Bob")


@pytest.fixture
def here(ann: Person) -> str:
    return ann.create_conversation()


def test_create_user_makes_a_user_and_its_key(site: Site) -> None:
    profile = '{"plan":"free"}'
    answer = site.call_api("POST", "/users", {"name": "Ann", "pictureUrl": "https://e.example/a", "profile": profile})

    assert answer.status_code == 201
    user = answer.json["user"]
    assert user["id"].startswith("user_")
    assert {name: user[name] for name in ("name", "pictureUrl", "profile")} == {
        "name": "Ann",
        "pictureUrl": "https://e.example/a",
        "profile": profile,
    }
    assert DATE.fullmatch(user["createdAt"])
    assert user["createdAt"] == user["updatedAt"]
    assert Person(site, answer.json["key"], user["id"]).get("/users/me").json == {"user": user}


def test_members_that_were_not_given_are_left_out(site: Site) -> None:
    user = site.call_api("POST", "/users", {}).json["user"]
    assert set(user) == {"id", "createdAt", "updatedAt"}


def test_create_user_with_an_own_id_that_is_taken_is_refused(site: Site) -> None:
    site.sign_up("taken-1")
    check_error(site.call_api("POST", "/users", {"id": "taken-1"}), 409, "AlreadyExists")


@pytest.mark.parametrize("name", ["helper", "HELPER"])
def test_nobody_can_be_called_like_the_bot(site: Site, name: str) -> None:
    check_error(site.call_api("POST", "/users", {"id": name}), 409, "AlreadyExists")


def test_own_ids_may_hold_slashes_and_backslashes(site: Site) -> None:
    person = site.sign_up("a/b\\c")
    place = person.create_conversation("x/y\\z")

    assert person.get("/users/me").json["user"]["id"] == "a/b\\c"
    assert person.get("/conversations/x%2Fy%5Cz").json["conversation"]["id"] == place == "x/y\\z"
    assert person.get("/conversations/x%2Fy%5Cz/participants/a%2Fb%5Cc").status_code == 200
    assert person.get("/conversations/x%2Fy%5Cz/messages").json["messages"] == []


def test_get_or_create_user_updates_only_given_fields(ann: Person) -> None:
    answer = ann.post("/users/get-or-create", {"profile": "new"})

    assert answer.status_code == 201
    assert (answer.json["user"]["name"], answer.json["user"]["profile"]) == ("Ann", "new")


def test_update_user_changes_what_is_given(ann: Person) -> None:
    answer = ann.call_api("PUT", "/users/me", {"name": "Anna"})

    assert answer.status_code == 200
    assert answer.json["user"]["name"] == ann.get("/users/me").json["user"]["name"] == "Anna"
    assert answer.json["user"]["updatedAt"] >= answer.json["user"]["createdAt"]


def test_a_deleted_user_is_gone_and_its_key_makes_it_anew(site: Site) -> None:
    person = site.sign_up("phoenix", name="Old")
    place = person.create_conversation()

    assert person.delete("/users/me").json == {}
    check_error(person.get("/users/me"), 404, "ResourceNotFound")
    check_error(person.call_api("PUT", "/users/me", {}), 404, "ResourceNotFound")
    check_error(person.delete("/users/me"), 404, "ResourceNotFound")
    check_error(person.get(f"/conversations/{place}"), 404, "ResourceNotFound")
    check_error(person.post("/conversations", {}), 404, "ResourceNotFound")
    again = person.post("/users/get-or-create", {})
    assert again.status_code == 201
    assert again.json["user"]["id"] == "phoenix"
    assert "name" not in again.json["user"]


@pytest.fixture
def busy_conversation(bob: Person) -> str:
    return bob.create_conversation()


@pytest.fixture
def busy_user(site: Site, bob: Person, busy_conversation: str, monkeypatch: pytest.MonkeyPatch) -> Person:
    """Somebody who has said seven things in Bob's conversation, which are removed by twos."""
    monkeypatch.setattr(users, "BATCH_LIMIT", 2)
    person, place = site.sign_up(), busy_conversation
    bob.post(f"/conversations/{place}/participants", {"userId": person.id})
    drafts = [Draft(person.id, {"type": "text", "text": str(nth)}) for nth in range(7)]
    chat = site.channel.chat
    with chat.database.write() as connection:
        for draft in drafts:
            chat.messages.post(connection, Scope("chat_api", "helper"), place, draft)
    return person


def test_deleting_a_user_in_batches_lets_others_write(
    site: Site, bob: Person, busy_conversation: str, busy_user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, sizes = site.channel.chat.users, []
    go_on = users.continue_delete

    def watched(connection: Any, left: Any) -> Any:
        check_error(busy_user.get("/users/me"), 404, "ResourceNotFound")
        told, is_over = go_on(connection, left)
        sizes.append(len(told))
        return told, is_over

    monkeypatch.setattr(users, "continue_delete", watched)
    assert busy_user.delete("/users/me").json == {}
    assert sizes == [2, 2, 2, 1]
    assert bob.messages(busy_conversation) == []


def test_busy_database_defers_removal_of_a_users_messages(
    site: Site, bob: Person, busy_conversation: str, busy_user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, calls = site.channel.chat.users, []
    go_on = users.continue_delete

    def busy(connection: Any, left: Any) -> Any:
        calls.append(left)
        if len(calls) == 2:
            raise StoreBusy
        return go_on(connection, left)

    monkeypatch.setattr(users, "continue_delete", busy)
    assert busy_user.delete("/users/me").json == {}
    again = site.sign_up(busy_user.id)
    check_error(again.get(f"/conversations/{busy_conversation}"), 403, "Forbidden")
    assert len(bob.messages(busy_conversation)) == 5
    site.channel.refresh()
    assert bob.messages(busy_conversation) == []
    assert again.get("/users/me").status_code == 200


def test_manual_mode_takes_signed_keys_and_creates_no_users(manual_site: Site) -> None:
    person = Person(manual_site, sign("ann-7", ENCRYPTION_KEY), "ann-7")

    check_error(person.get("/users/me"), 404, "ResourceNotFound")
    assert person.post("/users/get-or-create", {"name": "Ann"}).json["user"]["id"] == "ann-7"
    assert person.get("/users/me").json["user"]["name"] == "Ann"
    check_error(manual_site.call_api("POST", "/users", {}), 401, "Unauthorized")
    check_error(manual_site.call_api("POST", "/users", {"id": "no good!"}), 401, "Unauthorized")


def test_manual_mode_refuses_an_invalid_id_of_a_new_user(manual_site: Site) -> None:
    person = Person(manual_site, sign("no good!", ENCRYPTION_KEY), "no good!")

    check_error(person.post("/users/get-or-create", {}), 400, "InvalidPayload")
    check_error(person.get("/users/me"), 404, "ResourceNotFound")
    check_error(person.get("/conversations/x/messages"), 403, "Forbidden")


def test_keys_of_the_other_mode_and_of_another_bot_are_refused(site: Site, manual_site: Site, ann: Person) -> None:
    signed = sign("ann-7", ENCRYPTION_KEY)

    check_error(Person(site, signed, "ann-7").get("/users/me"), 401, "Unauthorized")
    check_error(Person(manual_site, ann.key, ann.id).get("/users/me"), 401, "Unauthorized")
    check_error(Person(site, ann.key, ann.id, "other").get("/users/me"), 401, "Unauthorized")


def test_a_conversation_belongs_to_who_made_it(ann: Person, bob: Person) -> None:
    made = ann.post("/conversations", {})

    assert made.status_code == 201
    place = made.json["conversation"]["id"]
    assert place.startswith("conv_")
    assert set(made.json["conversation"]) == {"id", "createdAt", "updatedAt"}
    assert ann.get(f"/conversations/{place}").json == made.json
    check_error(bob.get(f"/conversations/{place}"), 403, "Forbidden")
    check_error(bob.delete(f"/conversations/{place}"), 403, "Forbidden")
    check_error(bob.get("/conversations/nowhere"), 404, "ResourceNotFound")
    check_error(bob.delete("/conversations/nowhere"), 404, "ResourceNotFound")


def test_a_conversation_with_an_own_id_that_is_taken_is_refused(ann: Person, bob: Person) -> None:
    ann.create_conversation("order-1")
    check_error(ann.post("/conversations", {"id": "order-1"}), 409, "AlreadyExists")
    check_error(bob.post("/conversations", {"id": "order-1"}), 409, "AlreadyExists")


def test_get_or_create_conversation_is_for_its_owner(ann: Person, bob: Person) -> None:
    first = ann.post("/conversations/get-or-create", {"id": "order-2"})

    assert first.status_code == 201
    assert ann.post("/conversations/get-or-create", {"id": "order-2"}).json == first.json
    check_error(bob.post("/conversations/get-or-create", {"id": "order-2"}), 403, "Forbidden")
    check_error(bob.post("/conversations/get-or-create", {"id": ""}), 400, "InvalidPayload")


def test_get_or_create_finds_a_conversation_named_by_the_server(ann: Person, here: str) -> None:
    found = ann.post("/conversations/get-or-create", {"id": here})
    assert found.json == ann.get(f"/conversations/{here}").json


def test_deleted_conversation_loses_messages_and_frees_its_id(ann: Person) -> None:
    place = ann.create_conversation("brief")
    message = ann.send_text(place, "hi")

    assert ann.delete("/conversations/brief").json == {}
    check_error(ann.get("/conversations/brief"), 404, "ResourceNotFound")
    check_error(ann.get("/conversations/brief/messages"), 403, "Forbidden")
    check_error(ann.get(f"/messages/{message['id']}"), 404, "ResourceNotFound")
    assert ann.create_conversation("brief") == "brief"


def test_list_conversations_shows_those_one_owns_page_by_page(ann: Person, bob: Person) -> None:
    made = [ann.create_conversation() for _ in range(25)]
    place = bob.create_conversation()
    bob.post(f"/conversations/{place}/participants", {"userId": ann.id})

    first = ann.get("/conversations").json
    second = ann.get("/conversations", query_string={"nextToken": first["meta"]["nextToken"]}).json
    listed = [item["id"] for item in first["conversations"] + second["conversations"]]

    assert len(first["conversations"]) == 20
    assert sorted(listed) == sorted(made)
    assert second["meta"] == {}


def test_a_token_that_no_list_gave_out_is_refused(ann: Person, here: str) -> None:
    for path in ("/conversations", f"/conversations/{here}/messages", f"/conversations/{here}/participants"):
        for token in ("nonsense", "\0", "é", "x" * 3000, "MTIz"):
            check_error(ann.get(path, query_string={"nextToken": token}), 400, "InvalidQuery")


def test_message_pages_are_stable_while_others_arrive(site: Site, ann: Person) -> None:
    place = ann.create_conversation()
    said = []
    for number in range(15):
        said.append(ann.send_text(place, f"hello {number}")["id"])
    ann.wait_messages(place, 20)
    first = ann.get(f"/conversations/{place}/messages").json
    ann.send_text(place, "one more")
    token = first["meta"]["nextToken"]
    second = ann.get(f"/conversations/{place}/messages", query_string={"nextToken": token}).json

    ids = [item["id"] for item in first["messages"] + second["messages"]]
    assert len(set(ids)) == len(ids)
    assert set(said) <= set(ids)
    dates = [item["createdAt"] for item in first["messages"] + second["messages"]]
    assert dates == sorted(dates, reverse=True)
    assert len(set(dates)) == len(dates)


def test_the_owner_lets_others_take_part(ann: Person, bob: Person, here: str) -> None:
    added = ann.post(f"/conversations/{here}/participants", {"userId": bob.id})

    assert added.status_code == 200
    assert added.json["participant"] == bob.get("/users/me").json["user"]
    assert ann.post(f"/conversations/{here}/participants", {"userId": bob.id}).status_code == 200
    assert ann.get(f"/conversations/{here}/participants/{bob.id}").json == added.json
    listed = bob.get(f"/conversations/{here}/participants").json
    assert {item["id"] for item in listed["participants"]} == {ann.id, bob.id}
    assert listed["meta"] == {}
    assert bob.get(f"/conversations/{here}").status_code == 200
    assert bob.get("/conversations").json["conversations"] == []


def test_only_the_owner_decides_who_takes_part(ann: Person, bob: Person, here: str) -> None:
    ann.post(f"/conversations/{here}/participants", {"userId": bob.id})

    path = f"/conversations/{here}/participants"
    check_error(bob.post(path, {"userId": bob.id}), 403, "Forbidden")
    check_error(bob.get(f"{path}/{ann.id}"), 403, "Forbidden")
    check_error(bob.delete(f"{path}/{bob.id}"), 403, "Forbidden")
    check_error(ann.delete(f"{path}/{ann.id}"), 400, "InvalidPayload")
    check_error(ann.post(path, {"userId": "nobody"}), 404, "ResourceNotFound")
    check_error(ann.post(path, {"userId": "no good!"}), 404, "ResourceNotFound")
    check_error(ann.get(f"{path}/nobody"), 404, "ResourceNotFound")
    check_error(ann.delete(f"{path}/nobody"), 404, "ResourceNotFound")
    check_error(ann.post("/conversations/nowhere/participants", {"userId": bob.id}), 404, "ResourceNotFound")


def test_who_was_removed_takes_part_no_more(ann: Person, bob: Person, here: str) -> None:
    ann.post(f"/conversations/{here}/participants", {"userId": bob.id})
    message = bob.send_text(here, "hi")

    assert ann.delete(f"/conversations/{here}/participants/{bob.id}").json == {}
    body = {"conversationId": here, "payload": {"type": "text", "text": "again"}}
    check_error(bob.post("/messages", body), 403, "Forbidden")
    check_error(bob.post("/events", {"conversationId": here, "payload": {}}), 403, "Forbidden")
    check_error(bob.get(f"/messages/{message['id']}"), 403, "Forbidden")
    check_error(bob.get(f"/conversations/{here}/messages"), 403, "Forbidden")
    check_error(bob.get(f"/conversations/{here}/participants"), 403, "Forbidden")
    check_error(bob.get(f"/conversations/{here}/listen"), 403, "Forbidden")
    check_error(ann.get(f"/conversations/{here}/participants/{bob.id}"), 404, "ResourceNotFound")


def test_a_message_is_stored_as_it_is_and_answered(ann: Person, here: str) -> None:
    payload = {"type": "text", "text": "hello bot", "extra": {"kept": [1, None]}}
    metadata = {"page": "/faq"}
    answer = ann.post("/messages", {"conversationId": here, "payload": payload, "metadata": metadata})

    assert answer.status_code == 201
    message = answer.json["message"]
    assert message["id"].startswith("msg_")
    assert DATE.fullmatch(message["createdAt"])
    assert {name: message[name] for name in ("conversationId", "userId", "payload", "metadata")} == {
        "conversationId": here,
        "userId": ann.id,
        "payload": payload,
        "metadata": metadata,
    }
    assert ann.get(f"/messages/{message['id']}").json == {"message": message}
    reply = ann.wait_messages(here, 2)[1]
    assert (reply["userId"], reply["payload"]) == ("helper", {"type": "text", "text": "Ann: hello bot"})
    assert "metadata" not in reply
    assert reply["createdAt"] > message["createdAt"]
    assert ann.get(f"/messages/{reply['id']}").json == {"message": reply}


def test_nobody_else_can_read_or_take_back_a_message(ann: Person, bob: Person, here: str) -> None:
    message = ann.send_text(here, "mine")
    path = f"/messages/{message['id']}"

    check_error(bob.get(path), 403, "Forbidden")
    check_error(bob.delete(path), 403, "Forbidden")
    ann.post(f"/conversations/{here}/participants", {"userId": bob.id})
    assert bob.get(path).status_code == 200
    check_error(bob.delete(path), 403, "Forbidden")
    check_error(ann.get("/messages/msg_none"), 404, "ResourceNotFound")
    check_error(ann.delete("/messages/msg_none"), 404, "ResourceNotFound")


def test_deleted_message_is_gone_and_reaches_the_bot(ann: Person, here: str) -> None:
    message = ann.send_text(here, "never mind")
    ann.wait_messages(here, 2)

    assert ann.delete(f"/messages/{message['id']}").json == {}
    check_error(ann.get(f"/messages/{message['id']}"), 404, "ResourceNotFound")
    check_error(ann.delete(f"/messages/{message['id']}"), 404, "ResourceNotFound")
    texts = [item["payload"]["text"] for item in ann.wait_messages(here, 2)]
    assert texts == ["Ann: never mind", "gone: never mind"]


def test_a_user_cannot_take_back_what_the_bot_said(ann: Person, here: str) -> None:
    ann.send_text(here, "hi")
    reply = ann.wait_messages(here, 2)[1]
    check_error(ann.delete(f"/messages/{reply['id']}"), 403, "Forbidden")


def test_the_bot_takes_back_what_it_said(ann: Person, here: str) -> None:
    ann.send_text(here, "oops")
    ann.send_text(here, "next")

    def texts() -> list[str]:
        return [item["payload"]["text"] for item in ann.messages(here)]

    wait_until(lambda: texts()[-1] == "Ann: next")
    assert texts() == ["oops", "next", "Ann: next"]


def test_an_event_is_stored_and_brought_to_the_bot(ann: Person, bob: Person, here: str) -> None:
    answer = ann.post("/events", {"conversationId": here, "payload": {"clicked": "buy"}})

    assert answer.status_code == 201
    event = answer.json["event"]
    assert event["id"].startswith("evt_")
    assert (event["userId"], event["conversationId"], event["payload"]) == (ann.id, here, {"clicked": "buy"})
    assert ann.get(f"/events/{event['id']}").json == {"event": event}
    check_error(bob.get(f"/events/{event['id']}"), 403, "Forbidden")
    check_error(ann.get("/events/evt_none"), 404, "ResourceNotFound")
    assert ann.wait_messages(here, 1)[0]["payload"]["text"] == "heard {'clicked': 'buy'}"


def test_who_takes_no_part_can_say_nothing(bob: Person, here: str) -> None:
    payload = {"type": "text", "text": "hi"}
    for place in (here, "nowhere", "no good!", "\0"):
        check_error(bob.post("/messages", {"conversationId": place, "payload": payload}), 403, "Forbidden")
        check_error(bob.post("/events", {"conversationId": place, "payload": {}}), 403, "Forbidden")


def test_bots_do_not_see_each_others_users_and_conversations(site: Site) -> None:
    here, there = site.sign_up("same-id", "helper", name="Here"), site.sign_up("same-id", "other", name="There")
    here.create_conversation("same-place")
    message = here.send_text("same-place", "secret")

    check_error(there.get("/conversations/same-place"), 404, "ResourceNotFound")
    check_error(there.get(f"/messages/{message['id']}"), 404, "ResourceNotFound")
    assert there.get("/conversations").json["conversations"] == []
    assert there.create_conversation("same-place") == "same-place"
    assert there.messages("same-place") == []
    assert there.get("/users/me").json["user"]["name"] == "There"


def test_a_choice_is_offered_and_taken_by_its_value(ann: Person, here: str) -> None:
    ann.send_text(here, "choose")
    offered = ann.wait_messages(here, 2)[1]["payload"]
    assert offered == {
        "type": "choice",
        "text": "Which?",
        "options": [{"label": "Red", "value": "Red"}, {"label": "Blue", "value": "Blue"}],
    }

    ann.send_text(here, offered["options"][1]["value"])
    assert ann.wait_messages(here, 4)[3]["payload"]["text"] == "You took Blue."


def test_bot_that_writes_first_creates_a_conversation(site: Site) -> None:
    person = site.sign_up("first", name="First")
    [bot] = [bot for name, bot in site.running.delivery.bots.items() if name == "helper"]

    bot.send(user="first", text="Your order is out.", channel="chat_api")
    bot.send(user="first", text="It has arrived.", channel="chat_api")

    def said() -> list[str]:
        places = person.get("/conversations").json["conversations"]
        return [item["payload"]["text"] for place in places for item in person.messages(place["id"])]

    wait_until(lambda: len(said()) == 2)
    assert said() == ["Your order is out.", "It has arrived."]
    assert len(person.get("/conversations").json["conversations"]) == 1


def test_reused_conversation_id_starts_empty(site: Site, ann: Person, bob: Person) -> None:
    place = ann.create_conversation("freed")
    ann.send_text(place, "/remember ann's secret")
    ann.wait_messages(place, 2)
    ann.delete(f"/conversations/{place}")

    assert bob.create_conversation("freed") == "freed"
    bob.send_text(place, "/recall")
    assert [item["payload"]["text"] for item in bob.wait_messages(place, 2)] == ["/recall", "None None"]


def test_pending_reply_never_reaches_a_reused_conversation_id(site: Site, ann: Person, bob: Person) -> None:
    HANDLER_GATE.clear()
    place = ann.create_conversation("freed-early")
    ann.send_text(place, "/wait")
    ann.send_text(place, "mine alone")
    ann.delete(f"/conversations/{place}")
    bob.create_conversation("freed-early")
    HANDLER_GATE.set()
    bob.send_text(place, "hello")

    bob.wait_messages(place, 2)
    wait_until(lambda: site.running.delivery.is_idle)
    assert [item["payload"]["text"] for item in bob.messages(place)] == ["hello", "Bob: hello"]
    assert site.running.delivery.dead_letters.list() == []


def test_reused_user_id_starts_without_state(site: Site) -> None:
    first = site.sign_up("freed-user")
    place = first.create_conversation()
    first.send_text(place, "/remember my secret")
    first.wait_messages(place, 2)
    first.delete("/users/me")

    second = site.sign_up("freed-user")
    there = second.create_conversation()
    second.send_text(there, "/recall")
    assert second.wait_messages(there, 2)[1]["payload"]["text"] == "None None"


def test_state_of_a_user_deleted_during_a_handler_is_dropped(site: Site) -> None:
    HANDLER_GATE.clear()
    first = site.sign_up("freed-late")
    first.send_text(first.create_conversation(), "/wait")
    first.delete("/users/me")
    second = site.sign_up("freed-late")
    HANDLER_GATE.set()
    wait_until(lambda: site.running.delivery.is_idle)

    there = second.create_conversation()
    second.send_text(there, "/recall")
    assert second.wait_messages(there, 2)[1]["payload"]["text"] == "None None"
    assert [row for row in state_owners(site) if "freed-late" in row] == []


def test_waiting_message_reads_no_state_of_a_reused_uid(site: Site, ann: Person) -> None:
    HANDLER_GATE.clear()
    room = ann.create_conversation("shared-room")
    first = site.sign_up("freed-waiting")
    ann.post(f"/conversations/{room}/participants", {"userId": "freed-waiting"})
    ann.send_text(room, "/wait")
    first.send_text(room, "/recall")
    first.delete("/users/me")
    second = site.sign_up("freed-waiting")
    own = second.create_conversation()
    second.send_text(own, "/remember my secret")
    second.wait_messages(own, 2)
    HANDLER_GATE.set()

    wait_until(lambda: site.running.delivery.is_idle)
    assert "my secret" not in str(ann.messages(room))


@pytest.mark.parametrize("path", ["/messages", "/events"])
def test_conversation_deleted_during_a_write_is_an_error(
    site: Site, ann: Person, here: str, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def gone(*arguments: object, **options: object) -> None:
        raise NotFound("removed just now")

    chat = site.channel.chat
    monkeypatch.setattr(chat.messages, "post", gone)
    monkeypatch.setattr(chat.events, "create", gone)
    payload = {"type": "text", "text": "hi"}
    check_error(ann.post(path, {"conversationId": here, "payload": payload}), 403, "Forbidden")


def test_conversation_deleted_while_adding_is_an_error(
    site: Site, ann: Person, bob: Person, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = site.channel.chat
    add = chat.conversations.add_participant

    def remove_first(connection: Any, scope: Any, conversation: str, user: str) -> Any:
        chat.conversations.delete(connection, scope, conversation)
        return add(connection, scope, conversation, user)

    monkeypatch.setattr(chat.conversations, "add_participant", remove_first)
    check_error(ann.post(f"/conversations/{here}/participants", {"userId": bob.id}), 404, "ResourceNotFound")


def test_user_deleted_during_a_request_leaves_nothing(
    site: Site, ann: Person, bob: Person, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = site.channel.chat
    monkeypatch.setattr(chat.users, "get_for_update", lambda *arguments: None)
    check_error(ann.post(f"/conversations/{here}/participants", {"userId": bob.id}), 404, "ResourceNotFound")
    check_error(ann.post("/conversations", {"id": "nobodys"}), 404, "ResourceNotFound")
    monkeypatch.undo()
    assert [item["id"] for item in ann.get(f"/conversations/{here}/participants").json["participants"]] == [ann.id]
    check_error(ann.get("/conversations/nobodys"), 404, "ResourceNotFound")


def test_a_user_who_is_removed_while_made_is_asked_for_again(
    site: Site, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*arguments: object, **options: object) -> None:
        raise NotFound("removed just now")

    monkeypatch.setattr(site.channel.chat.users, "get_or_create", gone)
    check_error(ann.post("/users/get-or-create", {}), 503, "Internal")


def test_a_bot_may_have_an_encryption_key_of_its_own(tmp_path: Path) -> None:
    environ = {
        "CHAT_API_ENCRYPTION_KEY": "the key for all bots",
        "CHAT_API_ENCRYPTION_KEY__OTHER": "the key for the other",
    }
    given = Settings.from_environment(environ, None)
    site = Site(
        tmp_path,
        [make_bot(), make_bot("other")],
        chat_api_encryption_key=given.chat_api_encryption_key,
        chat_api_encryption_keys=given.chat_api_encryption_keys,
    )
    try:
        status = {
            (secret, bot): Person(site, sign("ann", secret), "ann", bot).post("/users/get-or-create", {}).status_code
            for secret in ("the key for all bots", "the key for the other")
            for bot in ("helper", "other")
        }
    finally:
        site.close()
    assert status == {
        ("the key for all bots", "helper"): 201,
        ("the key for all bots", "other"): 401,
        ("the key for the other", "helper"): 401,
        ("the key for the other", "other"): 201,
    }


def test_first_message_is_found_in_its_older_conversation(site: Site, ann: Person) -> None:
    where = Conversation("chat_api", "local", "helper", f"@{ann.id}", ann.id)
    [payload] = site.channel.render(MessageOperation(conversation=where, message=Text("hi")))
    request = OutgoingRequest(where, "cb-first", payload)
    assert site.channel.find_sent(request, timeout=1) is None
    said = site.channel.send(request, timeout=1)
    ann.create_conversation()

    assert site.channel.find_sent(request, timeout=1) == said
