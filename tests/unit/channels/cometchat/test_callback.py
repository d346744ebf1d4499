"""The views, through Flask's test client, before an intake that remembers."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from cometbot import Bot
from cometbot.channels.base import IncomingEvent
from cometbot.channels.cometchat import CallbackSettings, CometChatChannel, CometChatClient
from cometbot.channels.cometchat.callback import make_blueprint
from cometbot.errors import ConfigurationError, StoreBusy
from cometbot.events import CallEvent, EditEvent, MessageEvent, ReactionEvent, UnknownEvent
from cometbot.models import Conversation, ConversationKey
from cometbot.web.application import Application

Make = Callable[..., dict[str, Any]]

APP = "0123456789abcdef"
JSON = "application/json"


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


class InMemoryIntake:
    """An intake in memory."""

    def __init__(self, *bots: Bot) -> None:
        self.bots = {bot.name: bot for bot in bots}
        self.stored: dict[tuple[str, str], IncomingEvent] = {}
        self.known: set[ConversationKey] = set()
        self.said: dict[str, Conversation] = {}
        self.received: dict[str, Conversation] = {}
        self.busy = False

    def enqueue(self, incoming: IncomingEvent) -> bool:
        if self.busy:
            raise StoreBusy
        key = (incoming.conversation.bot, incoming.key)
        is_new = key not in self.stored
        self.stored.setdefault(key, incoming)
        return is_new

    def has_conversation(self, key: ConversationKey) -> bool:
        return key in self.known

    def find_received_conversation(self, channel: str, account: str, bot: str, key: str) -> Conversation | None:
        return self.received.get(key) if (channel, account, bot) == ("cometchat", APP, "helpdesk") else None

    def find_sent_conversation(self, channel: str, account: str, platform_id: str) -> Conversation | None:
        return self.said.get(platform_id) if (channel, account) == ("cometchat", APP) else None


class Site:
    """A served channel: posts as CometChat does and shows what was stored and counted."""

    make_app: Callable[[], Flask]

    def __init__(self, *bots: Bot, **settings: Any) -> None:
        self.delivery = InMemoryIntake(*bots)
        self.counted: list[tuple[str, str]] = []
        self.channel = CometChatChannel(
            APP,
            CometChatClient("http://127.0.0.1:9/v3", "key"),
            bots=self.delivery.bots,
            callback=CallbackSettings(**settings),
            observe=lambda bot, outcome: self.counted.append((bot, outcome)),
        )
        app = Site.make_app()
        app.register_blueprint(make_blueprint(self.channel, self.delivery))
        self.client: FlaskClient = app.test_client()

    @property
    def stored(self) -> list[IncomingEvent]:
        return list(self.delivery.stored.values())

    def post(self, payload: Any, path: str = "/cometchat/helpdesk", **options: Any) -> TestResponse:
        body = payload if isinstance(payload, bytes) else orjson.dumps(payload)
        headers = {"Authorization": basic("cc", "s3cr3t")} | options.pop("headers", {})
        options.setdefault("content_type", JSON)
        return self.client.post(path, data=body, headers=headers, **options)

    def refusal(self, payload: Any, path: str = "/cometchat/helpdesk", **options: Any) -> tuple[int, dict[str, Any]]:
        """Status and error of a call that must be refused, checked for its shape and for leaving the site in order."""
        response = self.post(payload, path, **options)
        assert response.content_type == JSON
        assert set(response.json or {}) == {"error"}
        assert len(response.data) < 4000
        assert b"s3cr3t" not in response.data
        assert self.stored == []
        return response.status_code, (response.json or {})["error"]


@pytest.fixture(autouse=True, params=["in any Flask app", "past Flask"])
def entry_point(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both roads to the views, which must not differ in what they answer."""
    apps = {
        "in any Flask app": partial(Flask, "site"),
        "past Flask": partial(Application, "site", before_each_request=list),
    }
    monkeypatch.setattr(Site, "make_app", staticmethod(apps[request.param]), raising=False)


@pytest.fixture
def site() -> Site:
    bots = Bot("helpdesk", cometchat_uid="helpdesk-bot"), Bot("shop")
    return Site(*bots, credentials={"helpdesk": ("cc", "s3cr3t"), "shop": ("shop", "other")})


def test_a_callback_is_stored_as_it_came_and_acknowledged(site: Site, callback_of: Make) -> None:
    body = orjson.dumps(callback_of(), option=orjson.OPT_INDENT_2)
    response = site.post(body)
    assert (response.status_code, response.json) == (200, {"data": {"success": True}})
    assert site.stored == [
        IncomingEvent(
            Conversation("cometchat", APP, "helpdesk", "helpdesk-bot_user_maria-k", "maria-k"),
            "message:90430",
            body,
            "maria-k",
        )
    ]
    assert site.counted == [("helpdesk", "received")]
    event = site.channel.parse(site.stored[0])
    assert isinstance(event, MessageEvent)
    assert event.text == "status of ticket 4711?"


def test_sample_payload_is_stored_for_its_bot(sample: dict[str, Any]) -> None:
    site = Site(Bot("demo_bot"), credentials={"demo_bot": ("cc", "s3cr3t")})
    assert site.post(sample | {"appId": APP}, "/cometchat/demo_bot").status_code == 200
    (incoming,) = site.stored
    assert incoming.key == "message:712"
    assert incoming.conversation.target == "cometchat-uid-1"
    assert incoming.conversation.id == "cometchat-uid-1_user_cometchat-uid-2"


def test_a_group_callback_belongs_to_the_group(site: Site, callback_of: Make, group_message_of: Make) -> None:
    site.post(callback_of(group_message_of(conversationId="group_Ops-Room", receiver="Ops-Room")))
    assert site.stored[0].conversation == Conversation(
        "cometchat", APP, "helpdesk", "group_ops-room", "ops-room", is_group=True
    )


def test_a_redelivery_is_acknowledged_and_counted_as_duplicate(site: Site, callback_of: Make) -> None:
    assert [site.post(callback_of()).status_code for _ in range(2)] == [200, 200]
    assert len(site.stored) == 1
    assert site.counted == [("helpdesk", "received"), ("helpdesk", "duplicate")]


def test_the_shared_url_finds_the_bot_in_the_payload(site: Site, callback_of: Make) -> None:
    assert site.post(callback_of(), "/cometchat").status_code == 200
    assert site.stored[0].conversation.bot == "helpdesk"


def test_payload_names_bot_by_uid_or_name(site: Site, callback_of: Make) -> None:
    for name in ("Helpdesk-Bot", "helpdesk"):
        assert site.post(callback_of(bot=name)).status_code == 200


def test_the_shared_url_wants_the_credentials_of_that_very_bot(site: Site, callback_of: Make) -> None:
    headers = {"Authorization": basic("shop", "other")}
    status, error = site.refusal(callback_of(), "/cometchat", headers=headers)
    assert (status, error["code"]) == (403, "AUTH_ERR_NO_ACCESS")
    assert site.refusal(callback_of(bot="ghost"), "/cometchat", headers=headers)[0] == 404


@pytest.mark.parametrize(
    "path", ["/cometchat/helpdesk", "/cometchat", "/cometchat/helpdesk/webhook", "/cometchat/ghost"]
)
@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic ???", "Bearer x", basic("cc", "wrong"), basic("", ""), "Basic \xff"]
)
def test_credentials_are_checked_first(site: Site, callback_of: Make, path: str, header: str) -> None:
    response = site.post(b"not even JSON", path, headers={"Authorization": header})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert response.json is not None
    assert "credentials" not in response.json["error"]


def test_another_bots_credentials_do_not_open_this_one(site: Site, callback_of: Make) -> None:
    assert site.refusal(callback_of(), headers={"Authorization": basic("shop", "other")})[0] == 401


def test_wrong_credentials_name_their_setting(site: Site, callback_of: Make, caplog: pytest.LogCaptureFixture) -> None:
    for password in ("wr0ng", "wr0ng-again"):
        status, error = site.refusal(callback_of(), headers={"Authorization": basic("cc", password)})
        assert (status, error["code"]) == (401, "AUTH_ERR_NO_ACCESS")
        assert "wrong" in error["message"]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1  # once a minute
    assert "of the bot helpdesk" in warnings[0]
    assert "COMETBOT_CALLBACK_PASSWORD" in warnings[0]
    assert "wr0ng" not in caplog.text

    site.refusal(callback_of(), "/cometchat", headers={"Authorization": basic("cc", "wr0ng")})
    site.refusal(callback_of(), "/cometchat/ghost", headers={"Authorization": basic("cc", "wr0ng")})
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert ["of /cometchat" in warnings[1], "of a bot that is not served here" in warnings[2]] == [True, True]
    assert "ghost" not in caplog.text


def test_credentials_of_another_bot_are_logged(site: Site, callback_of: Make, caplog: pytest.LogCaptureFixture) -> None:
    header = {"Authorization": basic("shop", "other")}
    assert site.refusal(callback_of(), "/cometchat", headers=header)[0] == 403
    assert "COMETBOT_CALLBACK_PASSWORD" in caplog.text


def test_absent_credentials_are_no_warning(site: Site, callback_of: Make, caplog: pytest.LogCaptureFixture) -> None:
    status, error = site.refusal(callback_of(), headers={"Authorization": ""})
    assert (status, error["code"]) == (401, "AUTH_ERR_EMPTY_AUTH_HEADER")
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_wrong_webhook_credentials_name_their_setting(callback_of: Make, caplog: pytest.LogCaptureFixture) -> None:
    own = {"helpdesk": ("cc", "s3cr3t")}
    site = Site(Bot("helpdesk"), credentials=own, webhook_credentials=("hook", "pr1vate"))
    assert site.refusal(callback_of(), WEBHOOK_URL)[0] == 401
    assert "COMETCHAT_WEBHOOK_PASSWORD" in caplog.text


DISAPPROVED = {"moderation": {"status": "disapproved"}}


def test_a_disapproved_message_is_ignored(site: Site, callback_of: Make) -> None:
    sent = callback_of()
    sent["data"]["data"] |= DISAPPROVED
    wrapped = {"data": {"message": sent["data"]}, "trigger": "message_sent", "webhook": "w"}
    for payload, path in ((sent, "/cometchat/helpdesk"), (sent, "/cometchat"), (sent | wrapped, WEBHOOK_URL)):
        answer = site.post(payload, path)
        assert (answer.status_code, answer.json) == (200, {"data": {"success": True, "ignored": 1}})
    assert site.stored == []
    assert site.counted == [("helpdesk", "ignored")] * 3


@pytest.mark.parametrize("status", ["pending", "approved", "unmoderated", "", None, 7, ["disapproved"]])
def test_a_message_of_another_moderation_status_is_stored(site: Site, callback_of: Make, status: object) -> None:
    sent = callback_of()
    sent["data"]["data"]["moderation"] = {"status": status}
    assert site.post(sent).status_code == 200
    assert len(site.stored) == 1


def test_disapproved_messages_are_stored_where_wanted(callback_of: Make) -> None:
    site = Site(Bot("helpdesk"), credentials={"helpdesk": ("cc", "s3cr3t")}, answer_disapproved=True)
    sent = callback_of(bot="helpdesk")
    sent["data"]["data"] |= DISAPPROVED
    site.post(sent)
    event = site.channel.parse(site.stored[0])
    assert isinstance(event, MessageEvent)
    assert event.moderation == "disapproved"


def test_another_spelling_of_the_right_credentials_opens(site: Site, callback_of: Make) -> None:
    header = basic("cc", "s3cr3t").replace("Basic ", "basic   ")
    assert site.post(callback_of(), headers={"Authorization": header}).status_code == 200


def test_unknown_bot_is_revealed_only_with_credentials(site: Site, callback_of: Make) -> None:
    status, error = site.refusal(callback_of(), "/cometchat/ghost")
    assert (status, error["code"]) == (404, "ERR_BOT_NOT_FOUND")
    assert site.counted == [("", "refused")]


def test_callback_of_other_bot_names_its_url(site: Site, callback_of: Make) -> None:
    status, error = site.refusal(callback_of(bot="shop"))
    assert (status, error["details"]) == (400, {"bot": ["Differs from the bot in the URL."]})
    assert "/cometchat/shop" in error["message"]
    assert site.refusal(callback_of(bot="ghost"))[0] == 400


def test_a_foreign_app_is_refused_and_logged(site: Site, callback_of: Make, caplog: pytest.LogCaptureFixture) -> None:
    status, error = site.refusal(callback_of(appId="f" * 300))
    assert (status, error["code"]) == (403, "AUTH_ERR_INVALID_APPID")
    assert re.search(r"refused a callback of /cometchat: appId: expected \w+, got 'ffff", caplog.text)
    assert len(error["message"]) < 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/cometchat", "/cometchat/helpdesk", "/cometchat/helpdesk/webhook"])
def test_only_post_is_allowed(site: Site, method: str, path: str) -> None:
    response = site.client.open(path, method=method)
    assert (response.status_code, response.headers["Allow"], response.content_type) == (405, "POST", JSON)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "image/json", "json",
        "multipart/form-data; boundary=x",
    ],
)  # fmt: skip
def test_a_content_type_that_is_not_json_is_refused(site: Site, callback_of: Make, content_type: str) -> None:
    assert site.refusal(callback_of(), content_type=content_type)[0] == 415


@pytest.mark.parametrize(
    "content_type",
    [
        "", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8", 'application/json; charset="utf8"',
        "application/json; charset=latin-1", "text/json", "application/x-json", "application/vnd.api+json;v=1",
        "application/problem+json",
    ],
)  # fmt: skip
def test_any_json_content_type_is_accepted(site: Site, callback_of: Make, content_type: str) -> None:
    assert site.post(callback_of(), content_type=content_type).status_code == 200


def test_a_content_encoding_is_refused_whether_true_or_not(site: Site, callback_of: Make) -> None:
    assert site.refusal(callback_of(), headers={"Content-Encoding": "gzip"})[0] == 415
    assert site.post(callback_of(), headers={"Content-Encoding": "identity"}).status_code == 200


def test_a_body_over_one_mebibyte_is_too_large(site: Site) -> None:
    assert site.refusal(b" " * (1024 * 1024 + 1))[0] == 413


def test_a_body_that_is_missing_is_refused(site: Site) -> None:
    assert site.refusal(b"")[0] in (400, 411)
    headers = {"Authorization": basic("cc", "s3cr3t")}
    assert site.client.post("/cometchat/helpdesk", headers=headers, content_type=JSON).status_code in (400, 411)


def test_a_body_that_breaks_off_is_refused(site: Site, callback_of: Make) -> None:
    status, error = site.refusal(orjson.dumps(callback_of()), environ_overrides={"CONTENT_LENGTH": "5000"})
    assert (status, error["code"]) == (400, "ERR_BROKEN_BODY")


@pytest.mark.parametrize(
    "body",
    [
        b"hello", b"[]", b'"text"', b"null", b"{", b"{}{}", b'{"a":"\x00"}', b'{"a":' * 50_000, b"[" * 100_000,
        b'{"a":nan}',
    ],
)  # fmt: skip
def test_a_body_that_is_no_json_object_is_refused(site: Site, body: bytes) -> None:
    status, error = site.refusal(body)
    assert (status, error["code"]) == (400, "ERR_BAD_REQUEST")
    assert error["details"]


@pytest.mark.parametrize("path", ["/cometchat/helpdesk", "/cometchat", "/cometchat/helpdesk/webhook"])
@pytest.mark.parametrize("app_id", [None, True, 5, "", [], {}, "x"])
def test_an_app_id_that_is_not_ours_is_refused(site: Site, callback_of: Make, path: str, app_id: Any) -> None:
    assert site.refusal(callback_of(appId=app_id), path)[0] == 403
    payload = callback_of()
    del payload["appId"]
    assert site.refusal(payload, path)[0] == 403


@pytest.mark.parametrize("bot", [None, True, 1.5, [], {}, ""])
def test_a_callback_without_bot_is_for_the_bot_in_the_path(site: Site, callback_of: Make, bot: Any) -> None:
    assert site.post(callback_of(bot=bot)).json == {"data": {"success": True}}
    assert site.stored[0].conversation.bot == "helpdesk"


def test_on_the_shared_url_a_callback_without_bot_is_ignored(site: Site, callback_of: Make) -> None:
    assert site.post(callback_of(bot=None), "/cometchat").json == {"data": {"success": True, "ignored": 1}}
    assert site.counted == [("", "ignored")]


def test_on_the_shared_url_of_one_bot_it_need_not_be_named(callback_of: Make) -> None:
    site = Site(Bot("helpdesk"), credentials={"helpdesk": ("cc", "s3cr3t")})
    assert site.post(callback_of(bot=None), "/cometchat").json == {"data": {"success": True}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"bot":"helpdesk-bot"', b'"bot":"shop","bot":"helpdesk-bot"'),
        (b'"bot":"helpdesk-bot"', b'"b\\u006ft":"shop","bot":"helpdesk-bot"'),
        (b'"id":"90430"', b'"id":"1","id":"90430"'),
        (b'"sender":"maria-k"', b'"sender":"tom","sender":"maria-k"'),
        (b'"conversationId":', b'"conversationId":"x","conversationId":'),
        (b'"trigger":', b'"trigger":"x","trigger":'),
        (b'{"trigger"', b'{"data":{},"trigger"'),
        (b'"receiverType":', b'"receiverType":"group","receiverType":'),
    ],
)
def test_of_a_doubled_key_the_last_counts(site: Site, callback_of: Make, before: bytes, after: bytes) -> None:
    body = orjson.dumps(callback_of())
    doubled = body.replace(before, after, 1)
    assert doubled != body
    for sent in (body, doubled):
        assert site.post(sent).status_code == 200
    (incoming,) = site.stored
    assert site.channel.parse(replace(incoming, body=doubled)) == site.channel.parse(incoming)


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (b'"hi"', b'"ok \\ud83d"', "ok \ufffd"),
        (b'"hi"', b'"\\ude00 \\ud83d\\ude00"', "\ufffd \U0001f600"),
        (b'"hi"', b'"ok \xf0\x9f"', "ok \ufffd"),
        (b"{", b"\xef\xbb\xbf{", "hi"),
        (b'"sentAt":', b'"n":NaN,"i":-Infinity,"f":1e999,"d":' + b"9" * 5000 + b',"sentAt":', "hi"),
        (b'"sentAt":', b'"deep":' + b'{"a":[' * 2000 + b'"}"' + b"]}" * 2000 + b',"sentAt":', "hi"),
    ],
)
def test_json_that_a_strict_parser_refuses_is_read(
    site: Site, callback_of: Make, message_of: Make, before: bytes, after: bytes, text: str
) -> None:
    body = orjson.dumps(callback_of(message_of(data={"text": "hi"})))
    assert site.post(body.replace(before, after, 1)).json == {"data": {"success": True}}
    (incoming,) = site.stored
    event = site.channel.parse(incoming)
    assert isinstance(event, MessageEvent)
    assert event.text == text
    assert orjson.loads(incoming.body) == event.raw


def test_keys_that_only_look_doubled_are_accepted(site: Site, callback_of: Make, message_of: Make) -> None:
    metadata = {"bot": "x", "id": 5, "sender": "y", "receiver": "z", "data": {"conversationId": "c"}, "n": "\u0041"}
    body = orjson.dumps(callback_of(message_of(data={"metadata": metadata}))).replace(b'"n":"A"', b'"n":"\\u0041"')
    assert site.post(body).status_code == 200
    assert site.channel.parse(site.stored[0]).metadata["n"] == "A"  # type: ignore[attr-defined]


def test_unusual_spellings_are_accepted(site: Site, callback_of: Make, message_of: Make) -> None:
    message = message_of(id=90430, receiverType="USER", sentAt="1767225690", conversationId="Helpdesk-Bot_user_Maria-K")
    assert site.post(callback_of(message)).status_code == 200
    (incoming,) = site.stored
    assert (incoming.key, incoming.conversation.id) == ("message:90430", "helpdesk-bot_user_maria-k")
    assert site.channel.parse(incoming).key == "message:90430"


def test_a_nul_in_a_text_is_only_text(site: Site, callback_of: Make, message_of: Make) -> None:
    assert site.post(callback_of(message_of(data={"text": "a\x00b"}))).status_code == 200


@pytest.mark.parametrize("changes", [{"category": "wave"}, {"category": "action", "type": "poll"}])
def test_an_unknown_category_is_stored_as_an_unknown_event(
    site: Site, callback_of: Make, message_of: Make, changes: dict[str, str]
) -> None:
    assert site.post(callback_of(message_of(**changes))).status_code == 200
    assert isinstance(site.channel.parse(site.stored[0]), UnknownEvent)


def test_unknown_trigger_is_stored_if_it_has_a_message(site: Site, callback_of: Make) -> None:
    assert site.post(callback_of(trigger="after_wave")).json == {"data": {"success": True}}
    assert site.post(callback_of({"wave": 1}, trigger="after_wave")).json == {"data": {"success": True, "ignored": 1}}
    (incoming,) = site.stored
    assert isinstance(site.channel.parse(incoming), UnknownEvent)


@pytest.mark.parametrize("sender", ["helpdesk-bot", "HELPDESK-BOT", "shop"])
def test_messages_of_the_bots_served_here_are_ignored(
    site: Site, callback_of: Make, message_of: Make, sender: str
) -> None:
    response = site.post(callback_of(message_of(sender=sender)))
    assert (response.status_code, response.json) == (200, {"data": {"success": True, "ignored": 1}})
    assert site.stored == []
    assert site.counted == [("helpdesk", "ignored")]


@pytest.mark.parametrize("sender", ["shop", "SHOP"])
def test_handle_bots_receives_messages_of_other_bots(
    callback_of: Make, message_of: Make, group_message_of: Make, webhook_of: Make, action_of: Make, sender: str
) -> None:
    helpdesk, shop = Bot("helpdesk", cometchat_uid="helpdesk-bot", handle_bots=True), Bot("shop")
    site = Site(helpdesk, shop, credentials={"helpdesk": ("cc", "s3cr3t"), "shop": ("shop", "other")})
    edited = action_of("message", "edited", on=message_of(editedAt=5), by={"uid": sender})
    for payload, path in [
        (callback_of(message_of(sender=sender)), "/cometchat/helpdesk"),
        (callback_of(group_message_of(sender=sender)), "/cometchat"),
        (callback_of(edited), "/cometchat/helpdesk"),
        (webhook_of("message_sent", message=message_of(sender=sender, id="7")), "/cometchat/helpdesk/webhook"),
    ]:
        assert site.post(payload, path).json == {"data": {"success": True}}
    assert [incoming.key for incoming in site.stored] == ["message:90430", "message:90502", "edit:90430:5", "message:7"]
    assert [incoming.conversation.target for incoming in site.stored][:2] == ["shop", "ops-room"]


@pytest.mark.parametrize("sender", ["helpdesk-bot", "HELPDESK-BOT"])
def test_handle_bots_never_receives_own_messages(
    callback_of: Make, message_of: Make, group_message_of: Make, webhook_of: Make, action_of: Make, sender: str
) -> None:
    helpdesk = Bot("helpdesk", cometchat_uid="helpdesk-bot", handle_bots=True)
    site = Site(helpdesk, credentials={"helpdesk": ("cc", "s3cr3t")})
    edited = action_of("message", "edited", on=message_of(editedAt=5), by={"uid": sender})
    for payload, path in [
        (callback_of(message_of(sender=sender)), "/cometchat/helpdesk"),
        (callback_of(group_message_of(sender=sender)), "/cometchat"),
        (callback_of(edited), "/cometchat/helpdesk"),
        (webhook_of("message_sent", message=message_of(sender=sender, id="7")), "/cometchat/helpdesk/webhook"),
    ]:
        assert site.post(payload, path).json == {"data": {"success": True, "ignored": 1}}
    assert site.stored == []


def test_an_edit_that_comes_by_callback_is_stored(
    site: Site, callback_of: Make, action_of: Make, message_of: Make
) -> None:
    site.post(callback_of(action_of("message", "edited", on=message_of(editedAt=5))))
    assert site.stored[0].key == "edit:90430:5"


def test_busy_store_returns_retry_after(site: Site, callback_of: Make) -> None:
    site.delivery.busy = True
    response = site.post(callback_of())
    assert (response.status_code, response.headers["Retry-After"], response.content_type) == (503, "1", JSON)
    site.delivery.busy = False
    assert site.post(callback_of()).status_code == 200


def test_a_good_call_works_after_bad_ones(site: Site, callback_of: Make) -> None:
    for body in (b"", b"{", b"[" * 5000, orjson.dumps(callback_of(appId="x"))):
        assert 400 <= site.post(body).status_code < 500
    assert site.post(callback_of()).status_code == 200


def test_a_bot_that_anybody_could_call_is_refused_at_start() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Site(Bot("helpdesk"), Bot("shop"), credentials={"helpdesk": ("cc", "s3cr3t")})
    for name in ("shop", "COMETBOT_CALLBACK_USERNAME", "COMETBOT_CALLBACK_PASSWORD"):
        assert name in str(caught.value)
    assert "COMETBOT_ALLOW_ANONYMOUS_CALLBACKS=1" in str(caught.value)


@pytest.mark.parametrize("pair", [("", "pw"), ("cc", ""), ("c:c", "pw")])
def test_unusable_credentials_are_refused_at_start(pair: tuple[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="helpdesk"):
        Site(Bot("helpdesk"), credentials={"helpdesk": pair})


def test_an_open_bot_is_open_only_itself(callback_of: Make) -> None:
    site = Site(Bot("helpdesk"), Bot("shop"), credentials={"shop": ("shop", "other")}, allow_anonymous=True)
    anonymous = {"Authorization": ""}
    assert site.post(callback_of(bot="helpdesk"), headers=anonymous).status_code == 200
    assert site.post(callback_of(bot="helpdesk"), "/cometchat", headers=anonymous).status_code == 200
    assert site.post(callback_of(bot="shop"), "/cometchat/shop", headers=anonymous).status_code == 401
    assert site.post(callback_of(bot="shop"), "/cometchat", headers=anonymous).status_code == 403


def test_unknown_bot_without_any_credentials_is_404(callback_of: Make) -> None:
    site = Site(Bot("helpdesk"), allow_anonymous=True)
    assert site.post(callback_of(), "/cometchat/ghost").status_code == 404


def test_settings_show_no_credentials() -> None:
    shown = repr(CallbackSettings(credentials={"a": ("cc", "s3cr3t")}, webhook_credentials=("hook", "pr1vate")))
    assert "s3cr3t" not in shown
    assert "pr1vate" not in shown


WEBHOOK_URL = "/cometchat/helpdesk/webhook"
OPS = Conversation("cometchat", APP, "helpdesk", "group_ops-room", "ops-room", is_group=True)


def test_webhooks_use_their_own_credentials(webhook_of: Make, message_of: Make) -> None:
    site = Site(Bot("helpdesk"), credentials={"helpdesk": ("cc", "s3cr3t")}, webhook_credentials=("hook", "pr1vate"))
    payload = webhook_of("message_sent", message=message_of(receiver="helpdesk"))
    assert site.post(payload, WEBHOOK_URL).status_code == 401
    assert site.post(payload, WEBHOOK_URL, headers={"Authorization": basic("hook", "pr1vate")}).status_code == 200
    assert site.post(payload, headers={"Authorization": basic("hook", "pr1vate")}).status_code == 401


@pytest.mark.parametrize("trigger", ["message_sent", "user_mentioned", "after_message"])
def test_webhook_and_callback_share_the_message_key(
    site: Site, webhook_of: Make, callback_of: Make, message_of: Make, trigger: str
) -> None:
    legacy = callback_of() | {"webhook": "old"}
    del legacy["bot"]
    payload = legacy if trigger == "after_message" else webhook_of(trigger, message=message_of())
    site.post(callback_of())
    assert site.post(payload, WEBHOOK_URL).status_code == 200
    assert site.counted == [("helpdesk", "received"), ("helpdesk", "duplicate")]


def test_a_webhooks_message_between_others_is_ignored(
    site: Site, webhook_of: Make, message_of: Make, group_message_of: Make
) -> None:
    for message in (
        message_of(receiver="tom"),
        group_message_of(data={"text": "no mention"}),
        group_message_of(data={"text": "<@uid:tom>"}),
        message_of(sender="shop"),
    ):
        assert site.post(webhook_of("message_sent", message=message), WEBHOOK_URL).json == {
            "data": {"success": True, "ignored": 1}
        }
    assert site.stored == []


def test_a_group_message_that_mentions_the_bot_is_stored(site: Site, webhook_of: Make, group_message_of: Make) -> None:
    site.post(webhook_of("user_mentioned", message=group_message_of()), WEBHOOK_URL)
    assert site.stored[0].conversation == OPS


def test_edits_are_stored_only_for_conversations_of_the_bot(
    site: Site, webhook_of: Make, message_of: Make, group_message_of: Make
) -> None:
    site.post(webhook_of("message_edited", message=message_of(editedAt=5)), WEBHOOK_URL)
    site.post(webhook_of("message_deleted", message=group_message_of(deletedAt=5)), WEBHOOK_URL)
    assert [incoming.key for incoming in site.stored] == ["edit:90430:5"]
    site.delivery.known.add(OPS.key)
    site.post(webhook_of("message_deleted", message=group_message_of(deletedAt=5)), WEBHOOK_URL)
    assert [incoming.key for incoming in site.stored] == ["edit:90430:5", "delete:90502"]


def test_membership_is_stored_where_the_bot_is_known_or_meant(site: Site, webhook_of: Make) -> None:
    group, by = {"guid": "ops-room"}, {"uid": "lead-1"}
    others = webhook_of("group_member_added", group=group, members={"tom": {"uid": "tom"}}, by=by)
    itself = webhook_of("group_member_added", group=group, members={"helpdesk-bot": {"uid": "helpdesk-bot"}}, by=by)
    site.post(others, WEBHOOK_URL)
    assert site.stored == []
    site.post(itself, WEBHOOK_URL)
    assert site.stored[0].conversation == OPS
    site.delivery.known.add(OPS.key)
    site.post(others, WEBHOOK_URL)
    assert len(site.stored) == 2


def test_reactions_are_stored_for_own_messages(site: Site, webhook_of: Make) -> None:
    def react(message_id: str, uid: str = "maria-k") -> None:
        reaction = {"messageId": message_id, "reaction": "👍", "uid": uid}
        assert site.post(webhook_of("message_reaction_added", reaction=reaction), WEBHOOK_URL).status_code == 200

    site.delivery.said = {"5": OPS, "6": Conversation("cometchat", APP, "shop", "x", "y")}
    for message_id in ("5", "6", "7"):
        react(message_id)
    react("5", uid="helpdesk-bot")
    assert [(incoming.key, incoming.conversation) for incoming in site.stored] == [("reaction:5:maria-k:👍:added", OPS)]


@pytest.mark.parametrize(
    "trigger",
    ["message_read_receipt", "user_connection_status_changed", "after_campaign_completed", "call_ended", "new_one"],
)
def test_webhooks_of_no_concern_are_acknowledged_and_ignored(site: Site, webhook_of: Make, trigger: str) -> None:
    response = site.post(webhook_of(trigger, sessionId="s"), WEBHOOK_URL)
    assert (response.status_code, response.json) == (200, {"data": {"success": True, "ignored": 1}})


@pytest.mark.parametrize(
    "payload",
    [
        {"trigger": "message_sent", "data": {"message": {}}},
        {"trigger": "message_reaction_added", "data": {}},
        {"trigger": "group_member_added", "data": {"group": {}}},
        {"trigger": "message_edited", "data": {}},
        {"trigger": "message_sent", "data": []},
        {"trigger": "message_pinned", "data": None},
        {"trigger": "message_pinned"},
        {"data": {}},
        {},
    ],
)
def test_a_webhook_that_cannot_be_routed_is_ignored(
    site: Site, payload: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="cometbot.channels.cometchat.callback")
    response = site.post({**payload, "appId": APP, "webhook": "w1"}, WEBHOOK_URL)
    assert (response.status_code, response.json) == (200, {"data": {"success": True, "ignored": 1}})
    assert site.counted == [("helpdesk", "ignored")]
    assert "ignored a callback for helpdesk: it does not concern the bot" in caplog.text


def test_event_without_handler_is_ignored(callback_of: Make, action_of: Make, message_of: Make) -> None:
    bot = Bot("helpdesk", cometchat_uid="helpdesk-bot")
    bot.event(ReactionEvent)(lambda ctx: None)
    site = Site(bot, credentials={"helpdesk": ("cc", "s3cr3t")})
    edited = action_of("message", "edited", on=message_of(editedAt=5))
    for payload in (callback_of(), callback_of(edited), callback_of(message_of(category="agentic"))):
        assert site.post(payload).json == {"data": {"success": True, "ignored": 1}}
    bot.event(EditEvent)(lambda ctx: None)
    assert site.post(callback_of(edited)).json == {"data": {"success": True}}
    bot.fallback(lambda ctx: None)
    assert site.post(callback_of()).json == {"data": {"success": True}}
    assert site.counted == [("helpdesk", "ignored")] * 3 + [("helpdesk", "received")] * 2


def test_a_deletion_by_ids_is_found_by_what_was_received(site: Site, webhook_of: Make) -> None:
    site.delivery.received["message:44"] = OPS
    for message_id in ("44", "45"):
        message = {"id": message_id, "deletedAt": 3, "deletedBy": "maria-k"}
        assert site.post(webhook_of("message_deleted", message=message), WEBHOOK_URL).status_code == 200
    assert [(incoming.key, incoming.conversation) for incoming in site.stored] == [("delete:44", OPS)]


def test_a_call_goes_on_where_it_was_begun(site: Site, webhook_of: Make) -> None:
    site.delivery.received["call:s-1:initiated"] = OPS
    site.delivery.bots["helpdesk"].event(CallEvent)(lambda ctx: None)
    for trigger, session in (("call_started", "s-1"), ("call_ended", "s-1"), ("call_ended", "s-2")):
        assert site.post(webhook_of(trigger, sessionId=session), WEBHOOK_URL).status_code == 200
    events = [site.channel.parse(incoming) for incoming in site.stored]
    assert [(event.key, event.conversation) for event in events] == [
        ("call:s-1:ongoing", OPS),
        ("call:s-1:ended", OPS),
        ("call:s-2:ended", Conversation.of_app("cometchat", APP, "helpdesk", "calls")),
    ]
    assert all(isinstance(event, CallEvent) for event in events)


def test_a_webhook_of_a_foreign_app_is_refused(site: Site, webhook_of: Make, message_of: Make) -> None:
    assert site.refusal(webhook_of("message_sent", message=message_of()) | {"appId": "other"}, WEBHOOK_URL)[0] == 403
