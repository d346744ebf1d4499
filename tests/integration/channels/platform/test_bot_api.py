"""The Bot API: what a bot that runs elsewhere may ask, and the words in which it is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cometbot import Bot
from tests.integration.channels.platform.conftest import PNG, ApiClient, Person, Site

WEBHOOK = {"url": "http://127.0.0.1:4101/webhook", "secret": "SOME_SECRET"}


def test_a_bot_sees_and_changes_itself_and_what_is_empty_stays(site: Site) -> None:
    bot_id, bot = site.external_bot("Test bot", description="Just testing bot.")
    before = {"id": bot_id, "name": "Test bot", "description": "Just testing bot."}

    assert bot.get("bot-api/bot").json == before
    changed = bot.put("bot-api/bot", {"name": "", "description": None, "avatar": "https://example.com/a.png"})
    assert (changed.status_code, changed.json) == (200, {**before, "avatar": "https://example.com/a.png"})
    site.external_bot("Taken")
    assert bot.put("bot-api/bot", {"name": "Taken"}).json["name"] == "Taken", "names are unique when made only"
    assert site.anonymous.get(f"client-api/bot/{bot_id}").json["avatar"] == "https://example.com/a.png"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"name": "x" * 33}, "bot name should not be longer than 32 characters"),
        ({"name": "Büro"}, "bot name should contain upper/lower case English letters, spaces, dashes or numbers"),
        ({"name": "<b>"}, "bot name should contain upper/lower case English letters, spaces, dashes or numbers"),
        ({"description": "é" * 257}, "bot description should not be longer than 512 characters"),
        ({"avatar": "javascript:alert(1)"}, "specified url is not valid"),
        ({"avatar": "http://"}, "specified url is not valid"),
        ({"avatar": "https://example.com/a b"}, "specified url is not valid"),
        ({"avatar": "https://example.com/" + "x" * 250}, "bot avatar should not be longer than 256 characters"),
        ({"name": 5}, "name must be a text"),
        ({"name": "helpdesk"}, "Bot with this name already exists."),
        ({"name": "Helpdesk "}, "Bot with this name already exists."),
    ],
)
def test_a_bot_cannot_become_what_it_may_not_be(site: Site, body: dict[str, Any], message: str) -> None:
    bot_id, bot = site.external_bot()
    answer = bot.put("bot-api/bot", body)

    assert (answer.status_code, answer.json) == (400, {"message": message})
    assert bot.get("bot-api/bot").json == {"id": bot_id, "name": "Outside bot 1"}


def test_bot_can_send_its_name_after_a_local_bot_took_it(make_site: Callable[..., Site], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    site = make_site(Bot("another"), database_url=url)
    _, external_bot = site.external_bot("Helpdesk")
    bot = ApiClient(make_site(database_url=url).app.test_client(), external_bot.key)

    same = {"name": "Helpdesk", "description": "Was here first."}
    assert bot.put("bot-api/bot", same).json["description"] == "Was here first."
    assert bot.put("bot-api/bot", {"name": "HELPDESK"}).status_code == 400


def test_commands_are_added_replaced_by_alias_listed_and_removed(site: Site, maria: Person) -> None:
    bot_id, bot = site.external_bot()
    added = bot.post("bot-api/bot/commands", [{"alias": "help"}, {"alias": "start", "description": "Start again"}])
    first = bot.get("bot-api/bot/commands").json
    bot.post("bot-api/bot/commands", [{"alias": "help", "description": "Show usage"}])
    second = bot.get("bot-api/bot/commands").json

    assert (added.status_code, added.json) == (201, {"message": "Commands added."})
    assert [{**item, "id": ""} for item in first] == [
        {"id": "", "alias": "help"},
        {"id": "", "alias": "start", "description": "Start again"},
    ]
    assert second == [{**first[0], "description": "Show usage"}, first[1]]
    assert maria.get(f"client-api/bot/{bot_id}/commands").json == second
    removed = bot.delete(f"bot-api/bot/command/{first[0]['id']}")
    assert (removed.status_code, removed.json) == (200, {"message": "Command removed."})
    assert bot.get("bot-api/bot/commands").json == [first[1]]
    assert bot.post("bot-api/bot/commands", []).status_code == 201


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ({"alias": ""}, "command alias must not be empty"),
        ({"alias": "x" * 33}, "command alias should not be longer than 32 characters"),
        (
            {"alias": "/start"},
            "command alias should contain lower case English letters, underscores, dashes or numbers",
        ),
        ({"alias": "ok", "description": "x" * 129}, "command description should not be longer than 128 characters"),
        ("help", "entry 1 must be an object"),
    ],
)
def test_invalid_command_rejects_the_whole_list(site: Site, command: Any, message: str) -> None:
    _, bot = site.external_bot()
    answer = bot.post("bot-api/bot/commands", [command, {"alias": "fine"}])

    assert answer.status_code == 400
    assert answer.json == {"message": message}
    assert bot.get("bot-api/bot/commands").json == []


def test_commands_are_an_array_and_limited(site: Site) -> None:
    _, bot = site.external_bot()
    many = [{"alias": f"c{number}"} for number in range(101)]

    assert bot.post("bot-api/bot/commands", {"alias": "x"}).json == {"message": "the body must be a JSON array"}
    assert bot.post("bot-api/bot/commands", many).status_code == 400
    assert bot.post("bot-api/bot/commands", many[:100]).status_code == 201
    assert bot.post("bot-api/bot/commands", many[:50]).status_code == 201
    assert bot.post("bot-api/bot/commands", many[100:]).json == {"message": "a bot can have at most 100 commands"}


def test_a_command_of_another_bot_or_none_cannot_be_removed(site: Site) -> None:
    _, first = site.external_bot("First")
    _, second = site.external_bot("Second")
    first.post("bot-api/bot/commands", [{"alias": "help"}])
    [command] = first.get("bot-api/bot/commands").json
    foreign = second.delete(f"bot-api/bot/command/{command['id']}")
    unknown = second.delete("bot-api/bot/command/nothing")

    assert (foreign.status_code, foreign.json["message"]) == (
        403,
        "Can't delete a command that belongs to another bot.",
    )
    assert (unknown.status_code, unknown.json["message"]) == (404, "Command not found.")


def test_a_webhook_is_set_replaced_with_its_secret_and_removed(site: Site) -> None:
    bot_id, bot = site.external_bot()

    assert (bot.get("bot-api/bot/webhook").status_code, bot.delete("bot-api/bot/webhook").status_code) == (404, 404)
    made = bot.post("bot-api/bot/webhook", WEBHOOK)
    assert (made.status_code, made.json) == (200, {"botId": bot_id, **WEBHOOK})
    assert bot.post("bot-api/bot/webhook", {"url": "https://example.com/"}).status_code == 200
    assert bot.get("bot-api/bot/webhook").json == {"botId": bot_id, "url": "https://example.com/"}
    gone = bot.delete("bot-api/bot/webhook")
    assert (gone.status_code, gone.json) == (200, {"message": "Webhook deleted."})
    assert bot.get("bot-api/bot/webhook").json == {"message": "Webhook not found."}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "webhook url must not be empty"),
        ({"url": "https://example.com/" + "x" * 120}, "webhook url should not be longer than 128 characters"),
        ({"url": "http:"}, "specified url is not valid"),
        ({"url": "ftp://example.com"}, "specified url is not valid"),
        ({"url": "https://example.com:99999"}, "specified url is not valid"),
        ({"url": "https://example.com", "secret": "x" * 65}, "webhook secret should not be longer than 64 characters"),
        (
            {"url": "https://example.com", "secret": "a\r\nX-Other: b"},
            "webhook secret should contain only visible ASCII characters, since it is sent as a header",
        ),
    ],
)
def test_a_webhook_that_cannot_be_called_is_refused(site: Site, body: dict[str, Any], message: str) -> None:
    _, bot = site.external_bot()
    answer = bot.post("bot-api/bot/webhook", body)

    assert (answer.status_code, answer.json) == (400, {"message": message})


@pytest.mark.parametrize("url", ["http://127.0.0.1/x", "http://localhost:80", "http://[::1]/", "http://10.0.0.1/"])
def test_private_webhook_is_refused_unless_allowed(make_site: Any, url: str) -> None:
    _, bot = make_site(allow_private_webhooks=False).external_bot()
    answer = bot.post("bot-api/bot/webhook", {"url": url})

    assert answer.status_code == 400
    assert "private network" in answer.json["message"]


def test_a_bot_talks_and_reads_in_its_chats(site: Site, maria: Person) -> None:
    bot_id, bot = site.external_bot()
    chat = maria.create_chat(bot_id)
    maria.send_message(chat, "hi")
    [file] = bot.upload(("p.png", PNG), api="bot-api").json
    said = bot.post("bot-api/chat/message", {"chatId": chat, "body": "reply", "attachmentIds": [file["id"]]})

    assert said.status_code == 201
    assert said.json["senderId"] == bot_id
    assert said.json["attachments"] == [file]
    assert bot.get(f"bot-api/chats?user_id={maria.id}").json == [{"id": chat, "userId": maria.id, "botId": bot_id}]
    assert bot.get("bot-api/chats?user_id=nobody").json == []
    page = bot.get(f"bot-api/chat/{chat}/messages?sender_id={maria.id}").json
    assert (page["total"], page["messages"][0]["body"]) == (1, "hi")
    one = bot.get(f"bot-api/chat/message/{said.json['id']}").json
    assert one == {**said.json, "attachmentIds": [file["id"]]}
    assert maria.bodies(chat) == ["hi", "reply"]


def test_bot_may_send_only_files_of_its_chat(site: Site, maria: Person) -> None:
    bot_id, bot = site.external_bot()
    chat = maria.create_chat(bot_id)
    own = maria.upload(("a.png", PNG)).json[0]["id"]
    foreign = site.sign_up("Tom").upload(("b.png", PNG)).json[0]["id"]
    said = bot.post("bot-api/chat/message", {"chatId": chat, "attachmentIds": [foreign, own]}).json

    assert [file["id"] for file in said["attachments"]] == [own]


def test_a_bot_has_no_part_in_chats_of_others(site: Site, maria: Person) -> None:
    _, bot = site.external_bot()
    chat = maria.create_chat()
    said = maria.send_message(chat, "hi")
    refused = {"message": "Chat is not related to current bot."}

    for answer in (
        bot.post("bot-api/chat/message", {"chatId": chat, "body": "x"}),
        bot.get(f"bot-api/chat/{chat}/messages"),
        bot.get(f"bot-api/chat/message/{said['id']}"),
    ):
        assert (answer.status_code, answer.json) == (403, refused)
    for answer, message in (
        (bot.post("bot-api/chat/message", {"body": "x"}), "Chat not found."),
        (bot.get("bot-api/chat/nothing/messages"), "Chat not found."),
        (bot.get("bot-api/chat/message/nothing"), "Message not found."),
    ):
        assert (answer.status_code, answer.json) == (404, {"message": message})
    assert bot.get("bot-api/chats").json == {"message": "User ID is required."}
