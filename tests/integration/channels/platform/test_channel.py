"""The channel itself: what is sent is stored once, joined where that is asked for, and refused where nobody is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from cometbot import Bot
from cometbot.channels.base import OutgoingRequest
from cometbot.channels.platform.ids import conversation_of
from cometbot.chat import ChatMessage, Scope
from cometbot.errors import BotError, MessageError, NotFound, StoreBusy, Unreachable
from cometbot.messages import Card, Media, Message, Operation, Text
from cometbot.models import Conversation
from tests.integration.channels.platform.conftest import PNG, Person, Site


def sending(site: Site, where: Conversation, message: Message, client_id: str = "cb-1", **more: Any) -> OutgoingRequest:
    [payload] = site.channel.render(Operation(conversation=where, message=message, **more))
    return OutgoingRequest(where, client_id, payload)


@pytest.fixture
def where(maria: Person) -> Conversation:
    return conversation_of("helpdesk", maria.create_chat(), maria.id)


def test_what_is_sent_twice_is_stored_once_and_can_be_looked_up(site: Site, maria: Person, where: Conversation) -> None:
    request = sending(site, where, Text("hi"))
    before = site.channel.find_sent(request, timeout=1)
    first, again = (site.channel.send(request, timeout=1) for _ in range(2))

    assert before is None
    assert first == again == site.channel.find_sent(request, timeout=1)
    assert maria.bodies(where.id) == ["hi"]


def test_first_message_is_found_in_its_older_chat(site: Site, maria: Person) -> None:
    request = sending(site, conversation_of("helpdesk", f"with:{maria.id}", maria.id), Text("hi"))
    assert site.channel.find_sent(request, timeout=1) is None
    said = site.channel.send(request, timeout=1)
    maria.create_chat()

    assert site.channel.find_sent(request, timeout=1) == said


def test_client_ids_of_users_and_bots_do_not_collide(site: Site, maria: Person, where: Conversation) -> None:
    maria.send_message(where.id, "mine", clientId="cb-1")
    site.channel.send(sending(site, where, Text("bot's")), timeout=1)

    assert "bot's" in maria.bodies(where.id)


def test_a_user_who_does_not_exist_cannot_be_written_to(site: Site) -> None:
    where = conversation_of("helpdesk", "with:nobody", "nobody")
    with pytest.raises(NotFound, match="no such chat or user"):
        site.channel.send(sending(site, where, Text("hi")), timeout=1)


def test_what_is_said_to_a_chat_that_is_gone_is_done(site: Site, maria: Person) -> None:
    request = sending(site, conversation_of("helpdesk", "gone", maria.id), Text("hi"))

    assert site.channel.find_sent(request, timeout=1) is None
    assert site.channel.send(request, timeout=1) == request.client_id
    assert maria.get("client-api/chats?bot_id=helpdesk").json == []


def test_a_database_that_is_busy_is_an_unreachable_platform(
    site: Site, where: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: Any, **__: Any) -> Any:
        raise StoreBusy("not now")

    request = sending(site, where, Text("hi"))
    monkeypatch.setattr(site.platform.database, "group_commit", busy)
    monkeypatch.setattr(site.platform.database, "read", busy)
    with pytest.raises(Unreachable):
        site.channel.send(request, timeout=1)
    with pytest.raises(Unreachable):
        site.channel.find_sent(request, timeout=1)


def test_merged_replies_are_edited_and_deleted_by_part(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(platform_join_replies=True)
    maria = site.sign_up()
    where = conversation_of("helpdesk", maria.create_chat(), maria.id)
    requests = [
        sending(site, where, Text(text), client_id=f"cb-{text}", reply_to="m1") for text in ("one", "two", "three")
    ]
    names = [site.channel.send(request, timeout=1) for request in requests]
    again = [site.channel.send(request, timeout=1) for request in requests]

    assert again == names == [site.channel.find_sent(request, timeout=1) for request in requests]
    assert maria.bodies(where.id) == ["one\n\ntwo\n\nthree"]
    [edit] = site.channel.render(Operation(conversation=where, kind="edit", message=Text("TWO"), target=0))
    site.channel.send(OutgoingRequest(where, "e", edit, target_id=names[1]), timeout=1)
    assert maria.bodies(where.id) == ["one\n\nTWO\n\nthree"]
    [delete] = site.channel.render(Operation(conversation=where, kind="delete", target=0))
    for name, left in zip(names, (["TWO\n\nthree"], ["three"], []), strict=True):
        site.channel.send(OutgoingRequest(where, "d", delete, target_id=name), timeout=1)
        assert maria.bodies(where.id) == left
    assert site.channel.send(OutgoingRequest(where, "d", delete, target_id=names[0]), timeout=1) == names[0]


def test_replies_to_different_messages_and_cards_are_not_joined(make_site: Callable[..., Site]) -> None:
    site = make_site(platform_join_replies=True)
    maria = site.sign_up()
    where = conversation_of("helpdesk", maria.create_chat(), maria.id)
    for number, (message, reply_to) in enumerate(
        [(Text("a"), "m1"), (Text("b"), "m2"), (Text("c"), ""), (Card("d"), "m2"), (Text("e"), "m2")]
    ):
        site.channel.send(sending(site, where, message, client_id=f"cb-{number}", reply_to=reply_to), timeout=1)

    assert len(maria.bodies(where.id)) == 5


def test_an_edited_message_shows_what_it_says_now(site: Site, maria: Person, where: Conversation) -> None:
    name = site.channel.send(sending(site, where, Card("Tea", "Green")), timeout=1)
    [edit] = site.channel.render(Operation(conversation=where, kind="edit", message=Text("done"), message_id=name))
    site.channel.send(OutgoingRequest(where, "e", edit), timeout=1)
    [message] = maria.get(f"page-api/chat/{where.id}/messages").json["messages"]

    assert (message["id"], message["body"], message["content"]) == (name, "done", None)


def test_a_message_of_another_chat_cannot_be_changed(site: Site, maria: Person, where: Conversation) -> None:
    name = site.channel.send(sending(site, where, Text("hi")), timeout=1)
    other = conversation_of("helpdesk", maria.create_chat(), maria.id)
    [edit] = site.channel.render(Operation(conversation=other, kind="edit", message=Text("x"), message_id=name))

    with pytest.raises(NotFound):
        site.channel.send(OutgoingRequest(other, "e", edit), timeout=1)


@pytest.mark.parametrize("vanishing", ["message", "chat"])
def test_message_deleted_during_an_edit_is_not_found(
    site: Site, where: Conversation, monkeypatch: pytest.MonkeyPatch, vanishing: str
) -> None:
    name = site.channel.send(sending(site, where, Text("hi")), timeout=1)
    chat = site.platform.chat
    get = chat.messages.get
    found: list[ChatMessage] = []

    def delete_once_found(connection: Connection, scope: Scope, id: str) -> ChatMessage | None:
        message = get(connection, scope, id)
        if message is not None and not found:
            found.append(message)
            if vanishing == "message":
                chat.messages.delete(connection, message.scope, message.id)
            else:
                chat.conversations.delete(connection, message.scope, message.conversation)
        return message

    monkeypatch.setattr(chat.messages, "get", delete_once_found)
    [edit] = site.channel.render(Operation(conversation=where, kind="edit", message=Text("x"), message_id=name))
    with pytest.raises(NotFound):
        site.channel.send(OutgoingRequest(where, "e", edit), timeout=1)
    found.clear()
    [delete] = site.channel.render(Operation(conversation=where, kind="delete", message_id=name))

    assert site.channel.send(OutgoingRequest(where, "d", delete), timeout=1) == name


def test_a_file_of_the_platform_is_attached_and_any_other_shown(site: Site, maria: Person, where: Conversation) -> None:
    url = site.channel.client("helpdesk").upload("chart.png", PNG)
    site.channel.send(sending(site, where, Media(url, caption="A chart")), timeout=1)
    site.channel.send(sending(site, where, Media("https://example.com/a.png"), client_id="cb-2"), timeout=1)
    own, other = maria.get(f"page-api/chat/{where.id}/messages").json["messages"]

    assert (own["body"], own["content"]) == ("A chart", None)
    assert own["attachments"][0]["name"] == "chart.png"
    assert (other["attachments"], other["content"]["url"]) == ([], "https://example.com/a.png")
    assert "https://example.com/a.png" in other["body"]


def test_the_platform_has_no_groups_and_no_endless_cards(site: Site, where: Conversation) -> None:
    with pytest.raises(BotError, match="no groups"):
        site.channel.conversation(Bot("helpdesk"), group="ops")
    with pytest.raises(MessageError, match="at most"):
        site.channel.render(Operation(conversation=where, message=Card("x", "y" * 300_000)))
    with pytest.raises(MessageError, match="reactions"):
        site.channel.render(Operation(conversation=where, kind="react", reaction="+"))


def test_foreign_file_cannot_be_downloaded(site: Site) -> None:
    client, base = site.channel.client("helpdesk"), site.platform.settings.base_url

    for url in ("https://evil.example/static/images/x.png", f"{base}/static/images/{'0' * 26}.png", f"{base}/v1/x"):
        with pytest.raises(BotError, match="has no file"):
            client.download(url)
    with pytest.raises(BotError, match="expected at most 2097152 bytes"):
        client.upload("big.png", PNG + b"\0" * 3_000_000)


def test_the_history_holds_both_sides_with_their_names(site: Site, maria: Person, where: Conversation) -> None:
    maria.send_message(where.id, "hi")
    maria.wait_message(where.id, "echo hi")

    assert [(event.sender.uid, event.sender.name, event.text) for event in site.channel.history(where, 5)] == [
        (maria.id, "Maria", "hi"),
        ("helpdesk", "", "echo hi"),
    ]
    assert [event.text for event in site.channel.history(where, 1)] == ["echo hi"]
