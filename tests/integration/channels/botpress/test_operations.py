"""The 21 operations: what they answer, whom they refuse, and what the bot makes of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cometbot.channels.base import Sending
from cometbot.channels.botpress.keys import sign
from cometbot.chat import Draft, Scope, removal
from cometbot.errors import Missing, StoreBusy
from cometbot.messages import Operation as MessageOperation
from cometbot.messages import Text
from cometbot.models import Conversation
from cometbot.settings import Settings
from tests.integration.channels.botpress.conftest import ENCRYPTION_KEY, GATE, Person, Site, make_bot, wait_for

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ERROR_ID = re.compile(r"err_\d{14}x[0-9A-F]{8}")


def refused(answer: Any, status: int, kind: str) -> str:
    """The text of a refusal, which has exactly the members that the official client needs."""
    assert answer.status_code == status, answer.text
    assert set(answer.json) == {"id", "code", "type", "message"}
    assert (answer.json["code"], answer.json["type"]) == (status, kind)
    assert ERROR_ID.fullmatch(answer.json["id"])
    return str(answer.json["message"])


def remembered(site: Site) -> list[str]:
    """Whose memory is stored."""
    with site.running.delivery.database.read() as connection:
        return list(connection.execute(sa.text("SELECT owner FROM state")).scalars())


@pytest.fixture
def ann(site: Site) -> Person:
    return site.person(name="Ann")


@pytest.fixture
def bob(site: Site) -> Person:
    return site.person(name="Bob")


@pytest.fixture
def here(ann: Person) -> str:
    return ann.converse()


def test_create_user_makes_a_user_and_its_key(site: Site) -> None:
    profile = '{"plan":"free"}'
    answer = site.ask("POST", "/users", {"name": "Ann", "pictureUrl": "https://e.example/a", "profile": profile})

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
    user = site.ask("POST", "/users", {}).json["user"]
    assert set(user) == {"id", "createdAt", "updatedAt"}


def test_create_user_with_an_own_id_that_is_taken_is_refused(site: Site) -> None:
    site.person("taken-1")
    refused(site.ask("POST", "/users", {"id": "taken-1"}), 409, "AlreadyExists")


@pytest.mark.parametrize("name", ["helper", "HELPER"])
def test_nobody_can_be_called_like_the_bot(site: Site, name: str) -> None:
    refused(site.ask("POST", "/users", {"id": name}), 409, "AlreadyExists")


def test_own_ids_may_hold_slashes_and_backslashes(site: Site) -> None:
    person = site.person("a/b\\c")
    place = person.converse("x/y\\z")

    assert person.get("/users/me").json["user"]["id"] == "a/b\\c"
    assert person.get("/conversations/x%2Fy%5Cz").json["conversation"]["id"] == place == "x/y\\z"
    assert person.get("/conversations/x%2Fy%5Cz/participants/a%2Fb%5Cc").status_code == 200
    assert person.get("/conversations/x%2Fy%5Cz/messages").json["messages"] == []


def test_get_or_create_user_updates_what_is_given_and_keeps_the_rest(ann: Person) -> None:
    answer = ann.post("/users/get-or-create", {"profile": "new"})

    assert answer.status_code == 201
    assert (answer.json["user"]["name"], answer.json["user"]["profile"]) == ("Ann", "new")


def test_update_user_changes_what_is_given(ann: Person) -> None:
    answer = ann.ask("PUT", "/users/me", {"name": "Anna"})

    assert answer.status_code == 200
    assert answer.json["user"]["name"] == ann.get("/users/me").json["user"]["name"] == "Anna"
    assert answer.json["user"]["updatedAt"] >= answer.json["user"]["createdAt"]


def test_a_deleted_user_is_gone_and_its_key_makes_it_anew(site: Site) -> None:
    person = site.person("phoenix", name="Old")
    place = person.converse()

    assert person.delete("/users/me").json == {}
    refused(person.get("/users/me"), 404, "ResourceNotFound")
    refused(person.ask("PUT", "/users/me", {}), 404, "ResourceNotFound")
    refused(person.delete("/users/me"), 404, "ResourceNotFound")
    refused(person.get(f"/conversations/{place}"), 404, "ResourceNotFound")
    refused(person.post("/conversations", {}), 404, "ResourceNotFound")
    again = person.post("/users/get-or-create", {})
    assert again.status_code == 201
    assert again.json["user"]["id"] == "phoenix"
    assert "name" not in again.json["user"]


@pytest.fixture
def crowded(bob: Person) -> str:
    return bob.converse()


@pytest.fixture
def talkative(site: Site, bob: Person, crowded: str, monkeypatch: pytest.MonkeyPatch) -> Person:
    """Somebody who has said seven things in Bob's conversation, which are removed by twos."""
    monkeypatch.setattr(removal, "BATCH", 2)
    person, place = site.person(), crowded
    bob.post(f"/conversations/{place}/participants", {"userId": person.id})
    drafts = [Draft(person.id, {"type": "text", "text": str(nth)}) for nth in range(7)]
    chat = site.channel.chat
    with chat.database.write() as connection:
        for draft in drafts:
            chat.messages.post(connection, Scope("botpress", "helper"), place, draft)
    return person


def test_deleting_a_user_who_said_much_lets_others_write_in_between(
    site: Site, bob: Person, crowded: str, talkative: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, sizes = site.channel.chat.users, []
    go_on = users.go_on_deleting

    def watched(connection: Any, left: Any) -> Any:
        refused(talkative.get("/users/me"), 404, "ResourceNotFound")
        told, is_over = go_on(connection, left)
        sizes.append(len(told))
        return told, is_over

    monkeypatch.setattr(users, "go_on_deleting", watched)
    assert talkative.delete("/users/me").json == {}
    assert sizes == [2, 2, 2, 1]
    assert bob.messages(crowded) == []


def test_messages_of_a_deleted_user_that_a_busy_database_kept_go_later(
    site: Site, bob: Person, crowded: str, talkative: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, calls = site.channel.chat.users, []
    go_on = users.go_on_deleting

    def busy(connection: Any, left: Any) -> Any:
        calls.append(left)
        if len(calls) == 2:
            raise StoreBusy
        return go_on(connection, left)

    monkeypatch.setattr(users, "go_on_deleting", busy)
    assert talkative.delete("/users/me").json == {}
    again = site.person(talkative.id)
    refused(again.get(f"/conversations/{crowded}"), 403, "Forbidden")
    assert len(bob.messages(crowded)) == 5
    site.channel.refresh()
    assert bob.messages(crowded) == []
    assert again.get("/users/me").status_code == 200


def test_manual_mode_takes_signed_keys_and_creates_no_users(manual_site: Site) -> None:
    person = Person(manual_site, sign("ann-7", ENCRYPTION_KEY), "ann-7")

    refused(person.get("/users/me"), 404, "ResourceNotFound")
    assert person.post("/users/get-or-create", {"name": "Ann"}).json["user"]["id"] == "ann-7"
    assert person.get("/users/me").json["user"]["name"] == "Ann"
    refused(manual_site.ask("POST", "/users", {}), 401, "Unauthorized")
    refused(manual_site.ask("POST", "/users", {"id": "no good!"}), 401, "Unauthorized")


def test_manual_mode_refuses_an_id_of_bad_form_only_for_a_new_user(manual_site: Site) -> None:
    person = Person(manual_site, sign("no good!", ENCRYPTION_KEY), "no good!")

    refused(person.post("/users/get-or-create", {}), 400, "InvalidPayload")
    refused(person.get("/users/me"), 404, "ResourceNotFound")
    refused(person.get("/conversations/x/messages"), 403, "Forbidden")


def test_keys_of_the_other_mode_and_of_another_bot_are_refused(site: Site, manual_site: Site, ann: Person) -> None:
    signed = sign("ann-7", ENCRYPTION_KEY)

    refused(Person(site, signed, "ann-7").get("/users/me"), 401, "Unauthorized")
    refused(Person(manual_site, ann.key, ann.id).get("/users/me"), 401, "Unauthorized")
    refused(Person(site, ann.key, ann.id, "other").get("/users/me"), 401, "Unauthorized")


def test_a_conversation_belongs_to_who_made_it(ann: Person, bob: Person) -> None:
    made = ann.post("/conversations", {})

    assert made.status_code == 201
    place = made.json["conversation"]["id"]
    assert place.startswith("conv_")
    assert set(made.json["conversation"]) == {"id", "createdAt", "updatedAt"}
    assert ann.get(f"/conversations/{place}").json == made.json
    refused(bob.get(f"/conversations/{place}"), 403, "Forbidden")
    refused(bob.delete(f"/conversations/{place}"), 403, "Forbidden")
    refused(bob.get("/conversations/nowhere"), 404, "ResourceNotFound")
    refused(bob.delete("/conversations/nowhere"), 404, "ResourceNotFound")


def test_a_conversation_with_an_own_id_that_is_taken_is_refused(ann: Person, bob: Person) -> None:
    ann.converse("order-1")
    refused(ann.post("/conversations", {"id": "order-1"}), 409, "AlreadyExists")
    refused(bob.post("/conversations", {"id": "order-1"}), 409, "AlreadyExists")


def test_get_or_create_conversation_is_for_its_owner(ann: Person, bob: Person) -> None:
    first = ann.post("/conversations/get-or-create", {"id": "order-2"})

    assert first.status_code == 201
    assert ann.post("/conversations/get-or-create", {"id": "order-2"}).json == first.json
    refused(bob.post("/conversations/get-or-create", {"id": "order-2"}), 403, "Forbidden")
    refused(bob.post("/conversations/get-or-create", {"id": ""}), 400, "InvalidPayload")


def test_get_or_create_conversation_finds_one_that_the_server_named(ann: Person, here: str) -> None:
    found = ann.post("/conversations/get-or-create", {"id": here})
    assert found.json == ann.get(f"/conversations/{here}").json


def test_a_deleted_conversation_takes_its_messages_along_and_frees_its_id(ann: Person) -> None:
    place = ann.converse("brief")
    message = ann.say(place, "hi")

    assert ann.delete("/conversations/brief").json == {}
    refused(ann.get("/conversations/brief"), 404, "ResourceNotFound")
    refused(ann.get("/conversations/brief/messages"), 403, "Forbidden")
    refused(ann.get(f"/messages/{message['id']}"), 404, "ResourceNotFound")
    assert ann.converse("brief") == "brief"


def test_list_conversations_shows_those_one_owns_page_by_page(ann: Person, bob: Person) -> None:
    made = [ann.converse() for _ in range(25)]
    place = bob.converse()
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
            refused(ann.get(path, query_string={"nextToken": token}), 400, "InvalidQuery")


def test_messages_are_listed_newest_first_and_stay_in_place_while_others_arrive(site: Site, ann: Person) -> None:
    place = ann.converse()
    said = []
    for number in range(15):
        said.append(ann.say(place, f"hello {number}")["id"])
    ann.wait_messages(place, 20)
    first = ann.get(f"/conversations/{place}/messages").json
    ann.say(place, "one more")
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
    refused(bob.post(path, {"userId": bob.id}), 403, "Forbidden")
    refused(bob.get(f"{path}/{ann.id}"), 403, "Forbidden")
    refused(bob.delete(f"{path}/{bob.id}"), 403, "Forbidden")
    refused(ann.delete(f"{path}/{ann.id}"), 400, "InvalidPayload")
    refused(ann.post(path, {"userId": "nobody"}), 404, "ResourceNotFound")
    refused(ann.post(path, {"userId": "no good!"}), 404, "ResourceNotFound")
    refused(ann.get(f"{path}/nobody"), 404, "ResourceNotFound")
    refused(ann.delete(f"{path}/nobody"), 404, "ResourceNotFound")
    refused(ann.post("/conversations/nowhere/participants", {"userId": bob.id}), 404, "ResourceNotFound")


def test_who_was_removed_takes_part_no_more(ann: Person, bob: Person, here: str) -> None:
    ann.post(f"/conversations/{here}/participants", {"userId": bob.id})
    message = bob.say(here, "hi")

    assert ann.delete(f"/conversations/{here}/participants/{bob.id}").json == {}
    body = {"conversationId": here, "payload": {"type": "text", "text": "again"}}
    refused(bob.post("/messages", body), 403, "Forbidden")
    refused(bob.post("/events", {"conversationId": here, "payload": {}}), 403, "Forbidden")
    refused(bob.get(f"/messages/{message['id']}"), 403, "Forbidden")
    refused(bob.get(f"/conversations/{here}/messages"), 403, "Forbidden")
    refused(bob.get(f"/conversations/{here}/participants"), 403, "Forbidden")
    refused(bob.get(f"/conversations/{here}/listen"), 403, "Forbidden")
    refused(ann.get(f"/conversations/{here}/participants/{bob.id}"), 404, "ResourceNotFound")


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
    message = ann.say(here, "mine")
    path = f"/messages/{message['id']}"

    refused(bob.get(path), 403, "Forbidden")
    refused(bob.delete(path), 403, "Forbidden")
    ann.post(f"/conversations/{here}/participants", {"userId": bob.id})
    assert bob.get(path).status_code == 200
    refused(bob.delete(path), 403, "Forbidden")
    refused(ann.get("/messages/msg_none"), 404, "ResourceNotFound")
    refused(ann.delete("/messages/msg_none"), 404, "ResourceNotFound")


def test_a_message_that_was_taken_back_is_gone_and_the_bot_hears_of_it(ann: Person, here: str) -> None:
    message = ann.say(here, "never mind")
    ann.wait_messages(here, 2)

    assert ann.delete(f"/messages/{message['id']}").json == {}
    refused(ann.get(f"/messages/{message['id']}"), 404, "ResourceNotFound")
    refused(ann.delete(f"/messages/{message['id']}"), 404, "ResourceNotFound")
    texts = [item["payload"]["text"] for item in ann.wait_messages(here, 2)]
    assert texts == ["Ann: never mind", "gone: never mind"]


def test_a_user_cannot_take_back_what_the_bot_said(ann: Person, here: str) -> None:
    ann.say(here, "hi")
    reply = ann.wait_messages(here, 2)[1]
    refused(ann.delete(f"/messages/{reply['id']}"), 403, "Forbidden")


def test_the_bot_takes_back_what_it_said(ann: Person, here: str) -> None:
    ann.say(here, "oops")
    ann.say(here, "next")

    def texts() -> list[str]:
        return [item["payload"]["text"] for item in ann.messages(here)]

    wait_for(lambda: texts()[-1] == "Ann: next")
    assert texts() == ["oops", "next", "Ann: next"]


def test_an_event_is_stored_and_brought_to_the_bot(ann: Person, bob: Person, here: str) -> None:
    answer = ann.post("/events", {"conversationId": here, "payload": {"clicked": "buy"}})

    assert answer.status_code == 201
    event = answer.json["event"]
    assert event["id"].startswith("evt_")
    assert (event["userId"], event["conversationId"], event["payload"]) == (ann.id, here, {"clicked": "buy"})
    assert ann.get(f"/events/{event['id']}").json == {"event": event}
    refused(bob.get(f"/events/{event['id']}"), 403, "Forbidden")
    refused(ann.get("/events/evt_none"), 404, "ResourceNotFound")
    assert ann.wait_messages(here, 1)[0]["payload"]["text"] == "heard {'clicked': 'buy'}"


def test_who_takes_no_part_can_say_nothing(bob: Person, here: str) -> None:
    payload = {"type": "text", "text": "hi"}
    for place in (here, "nowhere", "no good!", "\0"):
        refused(bob.post("/messages", {"conversationId": place, "payload": payload}), 403, "Forbidden")
        refused(bob.post("/events", {"conversationId": place, "payload": {}}), 403, "Forbidden")


def test_bots_do_not_see_each_others_users_and_conversations(site: Site) -> None:
    here, there = site.person("same-id", "helper", name="Here"), site.person("same-id", "other", name="There")
    here.converse("same-place")
    message = here.say("same-place", "secret")

    refused(there.get("/conversations/same-place"), 404, "ResourceNotFound")
    refused(there.get(f"/messages/{message['id']}"), 404, "ResourceNotFound")
    assert there.get("/conversations").json["conversations"] == []
    assert there.converse("same-place") == "same-place"
    assert there.messages("same-place") == []
    assert there.get("/users/me").json["user"]["name"] == "There"


def test_a_choice_is_offered_and_taken_by_its_value(ann: Person, here: str) -> None:
    ann.say(here, "choose")
    offered = ann.wait_messages(here, 2)[1]["payload"]
    assert offered == {
        "type": "choice",
        "text": "Which?",
        "options": [{"label": "Red", "value": "Red"}, {"label": "Blue", "value": "Blue"}],
    }

    ann.say(here, offered["options"][1]["value"])
    assert ann.wait_messages(here, 4)[3]["payload"]["text"] == "You took Blue."


def test_the_bot_writes_first_into_a_new_conversation_that_the_user_then_finds(site: Site) -> None:
    person = site.person("first", name="First")
    [bot] = [bot for name, bot in site.running.delivery.bots.items() if name == "helper"]

    bot.send(user="first", text="Your order is out.", channel="botpress")
    bot.send(user="first", text="It has arrived.", channel="botpress")

    def said() -> list[str]:
        places = person.get("/conversations").json["conversations"]
        return [item["payload"]["text"] for place in places for item in person.messages(place["id"])]

    wait_for(lambda: len(said()) == 2)
    assert said() == ["Your order is out.", "It has arrived."]
    assert len(person.get("/conversations").json["conversations"]) == 1


def test_who_takes_a_freed_conversation_id_gets_nothing_of_what_was_there(site: Site, ann: Person, bob: Person) -> None:
    place = ann.converse("freed")
    ann.say(place, "/remember ann's secret")
    ann.wait_messages(place, 2)
    ann.delete(f"/conversations/{place}")

    assert bob.converse("freed") == "freed"
    bob.say(place, "/recall")
    assert [item["payload"]["text"] for item in bob.wait_messages(place, 2)] == ["/recall", "None None"]


def test_what_waits_to_be_answered_in_a_deleted_conversation_comes_into_no_later_one(
    site: Site, ann: Person, bob: Person
) -> None:
    GATE.clear()
    place = ann.converse("freed-early")
    ann.say(place, "/wait")
    ann.say(place, "mine alone")
    ann.delete(f"/conversations/{place}")
    bob.converse("freed-early")
    GATE.set()
    bob.say(place, "hello")

    bob.wait_messages(place, 2)
    wait_for(lambda: site.running.delivery.is_idle)
    assert [item["payload"]["text"] for item in bob.messages(place)] == ["hello", "Bob: hello"]
    assert site.running.delivery.dead_letters.list() == []


def test_who_takes_a_freed_user_id_gets_nothing_of_what_was_remembered(site: Site) -> None:
    first = site.person("freed-user")
    place = first.converse()
    first.say(place, "/remember my secret")
    first.wait_messages(place, 2)
    first.delete("/users/me")

    second = site.person("freed-user")
    there = second.converse()
    second.say(there, "/recall")
    assert second.wait_messages(there, 2)[1]["payload"]["text"] == "None None"


def test_what_a_handler_remembers_of_a_user_who_is_deleted_meanwhile_is_dropped(site: Site) -> None:
    GATE.clear()
    first = site.person("freed-late")
    first.say(first.converse(), "/wait")
    first.delete("/users/me")
    second = site.person("freed-late")
    GATE.set()
    wait_for(lambda: site.running.delivery.is_idle)

    there = second.converse()
    second.say(there, "/recall")
    assert second.wait_messages(there, 2)[1]["payload"]["text"] == "None None"
    assert [row for row in remembered(site) if "freed-late" in row] == []


def test_a_message_that_waited_when_its_user_was_deleted_reads_nothing_of_who_has_the_uid_now(
    site: Site, ann: Person
) -> None:
    GATE.clear()
    room = ann.converse("shared-room")
    first = site.person("freed-waiting")
    ann.post(f"/conversations/{room}/participants", {"userId": "freed-waiting"})
    ann.say(room, "/wait")
    first.say(room, "/recall")
    first.delete("/users/me")
    second = site.person("freed-waiting")
    own = second.converse()
    second.say(own, "/remember my secret")
    second.wait_messages(own, 2)
    GATE.set()

    wait_for(lambda: site.running.delivery.is_idle)
    assert "my secret" not in str(ann.messages(room))


@pytest.mark.parametrize("path", ["/messages", "/events"])
def test_a_conversation_that_is_removed_while_one_writes_is_a_refusal(
    site: Site, ann: Person, here: str, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def gone(*arguments: object, **options: object) -> None:
        raise Missing("removed just now")

    chat = site.channel.chat
    monkeypatch.setattr(chat.messages, "post", gone)
    monkeypatch.setattr(chat.events, "create", gone)
    payload = {"type": "text", "text": "hi"}
    refused(ann.post(path, {"conversationId": here, "payload": payload}), 403, "Forbidden")


def test_a_conversation_that_is_removed_while_somebody_is_added_is_a_refusal(
    site: Site, ann: Person, bob: Person, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = site.channel.chat
    add = chat.conversations.add

    def remove_first(connection: Any, scope: Any, conversation: str, user: str) -> Any:
        chat.conversations.delete(connection, scope, conversation)
        return add(connection, scope, conversation, user)

    monkeypatch.setattr(chat.conversations, "add", remove_first)
    refused(ann.post(f"/conversations/{here}/participants", {"userId": bob.id}), 404, "ResourceNotFound")


def test_a_user_who_is_removed_while_added_or_while_making_a_conversation_leaves_nothing(
    site: Site, ann: Person, bob: Person, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = site.channel.chat
    monkeypatch.setattr(chat.users, "hold", lambda *arguments: None)
    refused(ann.post(f"/conversations/{here}/participants", {"userId": bob.id}), 404, "ResourceNotFound")
    refused(ann.post("/conversations", {"id": "nobodys"}), 404, "ResourceNotFound")
    monkeypatch.undo()
    assert [item["id"] for item in ann.get(f"/conversations/{here}/participants").json["participants"]] == [ann.id]
    refused(ann.get("/conversations/nobodys"), 404, "ResourceNotFound")


def test_a_user_who_is_removed_while_made_is_asked_for_again(
    site: Site, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*arguments: object, **options: object) -> None:
        raise Missing("removed just now")

    monkeypatch.setattr(site.channel.chat.users, "create", gone)
    monkeypatch.setattr(site.channel.chat.users, "ensure", gone)
    refused(site.ask("POST", "/users", {}), 503, "Internal")
    refused(ann.post("/users/get-or-create", {}), 503, "Internal")


def test_a_bot_may_have_an_encryption_key_of_its_own(tmp_path: Path) -> None:
    environ = {
        "BOTPRESS_ENCRYPTION_KEY": "the key for all bots",
        "BOTPRESS_ENCRYPTION_KEY__OTHER": "the key for the other",
    }
    given = Settings.from_environment(environ, None)
    site = Site(
        tmp_path,
        [make_bot(), make_bot("other")],
        botpress_encryption_key=given.botpress_encryption_key,
        botpress_encryption_keys=given.botpress_encryption_keys,
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


def test_what_a_bot_says_first_is_looked_up_where_it_was_said_though_a_newer_conversation_is_there(
    site: Site, ann: Person
) -> None:
    where = Conversation("botpress", "local", "helper", f"@{ann.id}", ann.id)
    [payload] = site.channel.render(MessageOperation(conversation=where, message=Text("hi")))
    request = Sending(where, "cb-first", payload)
    assert site.channel.find(request, timeout=1) is None
    said = site.channel.send(request, timeout=1)
    ann.converse()

    assert site.channel.find(request, timeout=1) == said
