"""What the channel does with the platform's answers; the platform is a script."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from cometbot import Bot
from cometbot.channels.base import IncomingEvent, OutgoingRequest
from cometbot.channels.cometchat import CallbackSettings, CometChatChannel, CometChatClient, sent_lookup
from cometbot.channels.cometchat.api_request import ApiRequest
from cometbot.errors import (
    AuthenticationFailed,
    BotError,
    ConfigurationError,
    NotFound,
    OutcomeUnknown,
    Rejected,
    Unreachable,
)
from cometbot.messages import Card, Choices, Custom, Media, Operation, Text
from cometbot.models import Attachment, Conversation, User

Answer = dict[str, Any] | Exception
Script = Callable[[str, str, dict[str, Any]], Answer]

DIRECT = Conversation("cometchat", "app", "helpdesk", "helpdesk-bot_user_maria", "maria")
OPS = Conversation("cometchat", "app", "helpdesk", "group_ops", "ops", is_group=True)
SENT = {"data": {"id": "90431"}}


class ScriptedClient(CometChatClient):
    """Answers each request with what the script says to it."""

    def __init__(self, script: Script) -> None:
        super().__init__("http://127.0.0.1:9/v3", "key")
        self.script = script
        self.asked: list[tuple[str, str, str]] = []
        self.queries: list[dict[str, Any]] = []
        self.timeouts: list[float | None] = []

    def send_request(self, request: ApiRequest) -> dict[str, Any]:
        self.asked.append((request.method, request.path, request.on_behalf_of))
        self.queries.append(dict(request.params))
        self.timeouts.append(request.timeout)
        answer = self.script(request.method, request.path, dict(request.params))
        if isinstance(answer, Exception):
            raise answer
        return answer


def channel_of(script: Script, **options: Any) -> tuple[CometChatChannel, ScriptedClient]:
    client = ScriptedClient(script)
    bots = {"helpdesk": Bot("helpdesk", cometchat_uid="helpdesk-bot"), "shop": Bot("shop")}
    return CometChatChannel("app", client, bots=bots, **options), client


def sending(conversation: Conversation = DIRECT, **operation: Any) -> OutgoingRequest:
    channel, _ = channel_of(lambda *_: SENT)
    options = {"message": Text("hi")} | operation
    payload = channel.render(Operation(conversation=conversation, **options))[0]
    return OutgoingRequest(conversation, "muid-1", payload, "5" if operation.get("target") is not None else None)


def messages(*ids: int, **changes: Any) -> list[dict[str, Any]]:
    return [{"id": str(number), "muid": f"other-{number}"} | changes for number in ids]


@pytest.mark.parametrize(
    ("prepared", "request_made", "result"),
    [
        (sending(), ("POST", "/bots/helpdesk-bot/messages", ""), "90431"),
        (sending(thread_id="7"), ("POST", "/messages/7/thread", "helpdesk-bot"), "90431"),
        (sending(kind="edit", target=0), ("PUT", "/messages/5", "helpdesk-bot"), "5"),
        (sending(kind="edit", message_id="8"), ("PUT", "/messages/8", "helpdesk-bot"), "8"),
        (sending(kind="delete", target=0), ("DELETE", "/messages/5", "helpdesk-bot"), "5"),
        (sending(kind="react", message_id="8", reaction="x"), ("POST", "/messages/8/reactions/x", "helpdesk-bot"), "8"),
    ],
)
def test_each_kind_of_sending_is_one_request_as_the_bot(
    prepared: OutgoingRequest, request_made: tuple[str, str, str], result: str
) -> None:
    channel, client = channel_of(lambda *_: SENT)
    assert channel.send(prepared, timeout=3) == result
    assert client.asked == [request_made]
    assert client.timeouts == [3]


def test_a_sent_message_without_an_id_in_the_answer_is_uncertain() -> None:
    channel, _ = channel_of(lambda *_: {"data": {}})
    with pytest.raises(OutcomeUnknown):
        channel.send(sending(), timeout=3)


def test_deleting_what_is_gone_is_done() -> None:
    channel, _ = channel_of(lambda *_: NotFound("gone", code="ERR_MESSAGE_ID_NOT_FOUND"))
    assert channel.send(sending(kind="delete", target=0), timeout=3) == "5"
    with pytest.raises(NotFound):
        channel.send(sending(kind="edit", target=0), timeout=3)


@pytest.mark.parametrize("is_gone", [True, False])
def test_refused_deletion_succeeds_if_message_is_gone(is_gone: bool) -> None:
    def script(method: str, path: str, params: Any) -> Answer:
        refused = Rejected("no", code="ERR_MESSAGE_ACTION_NOT_ALLOWED")
        return refused if method == "DELETE" else {"data": {"id": "5", **({"deletedAt": 7} if is_gone else {})}}

    channel, _ = channel_of(script)
    if is_gone:
        assert channel.send(sending(kind="delete", target=0), timeout=3) == "5"
    else:
        with pytest.raises(Rejected):
            channel.send(sending(kind="delete", target=0), timeout=3)


@pytest.mark.parametrize("code", ["ERR_GROUP_NOT_JOINED", "ERR_NOT_A_MEMBER"])
def test_a_bot_that_is_no_member_is_added_and_sends_once_more(code: str) -> None:
    answers: list[Answer] = [
        Rejected("no", code=code),
        {"data": {"participants": {"helpdesk-bot": {"success": True}}}},
        SENT,
    ]
    channel, client = channel_of(lambda *_: answers.pop(0))
    assert channel.send(sending(OPS), timeout=3) == "90431"
    assert [path for _, path, _ in client.asked] == [
        "/bots/helpdesk-bot/messages", "/groups/ops/members", "/bots/helpdesk-bot/messages",
    ]  # fmt: skip
    assert all(timeout is not None and timeout <= 3 for timeout in client.timeouts)


def test_a_bot_that_is_still_no_member_afterwards_is_rejected() -> None:
    def script(method: str, path: str, params: Any) -> Answer:
        return {"data": {"participants": {}}} if path.endswith("members") else Rejected("no", code="ERR_NOT_A_MEMBER")

    channel, client = channel_of(script)
    with pytest.raises(Rejected):
        channel.send(sending(OPS), timeout=3)
    assert len(client.asked) == 3


def test_a_bot_that_may_not_join_is_rejected_with_that_reason() -> None:
    def script(method: str, path: str, params: Any) -> Answer:
        entry = {"success": False, "error": {"code": "ERR_BANNED_GROUPMEMBER"}}
        joined = {"data": {"participants": {"helpdesk-bot": entry}}}
        return joined if path.endswith("members") else Rejected("no", code="ERR_NOT_A_MEMBER")

    channel, _ = channel_of(script)
    with pytest.raises(Rejected, match="ops: ERR_BANNED_GROUPMEMBER") as caught:
        channel.send(sending(OPS), timeout=3)
    assert caught.value.code == "ERR_BANNED_GROUPMEMBER"


def test_other_rejections_and_one_to_one_ones_do_not_join() -> None:
    channel, client = channel_of(lambda *_: Rejected("no", code="ERR_NOT_A_MEMBER"))
    with pytest.raises(Rejected):
        channel.send(sending(DIRECT), timeout=3)
    channel, client = channel_of(lambda *_: Rejected("no", code="ERR_BLOCKED_SENDER"))
    with pytest.raises(Rejected):
        channel.send(sending(OPS), timeout=3)
    assert len(client.asked) == 1


class History:
    """A conversation's history, and a thread's replies, by the protocol's cursors and pages."""

    def __init__(self, *ids: int, ours: int = 0, replies: Sequence[int] = ()) -> None:
        self.ids, self.replies, self.ours = ids, replies, ours

    def __call__(self, method: str, path: str, params: dict[str, Any]) -> Answer:
        size = int(params.get("limit") or params["perPage"])
        if path.endswith("/thread"):
            first = (int(params["page"]) - 1) * size
            return self._answer(list(self.replies)[first : first + size])
        edge = int(params.get("id", 0))
        if params["affix"] == "append":
            return self._answer([number for number in self.ids if number > edge][:size])
        older = [number for number in self.ids if not edge or number < edge]
        return self._answer(older[-size:])

    def _answer(self, ids: list[int]) -> Answer:
        return {"data": [record | ({"muid": "muid-1"} if record["id"] == str(self.ours) else {})
                         for record in messages(*ids)]}  # fmt: skip


def queries_of(client: ScriptedClient) -> list[tuple[str, str]]:
    return [(str(query.get("affix", "page")), str(query.get("id", query.get("page", "")))) for query in client.queries]


def test_a_sent_message_is_found_by_its_muid_among_the_newest() -> None:
    channel, client = channel_of(History(*range(700, 2000), ours=1950))
    assert channel.find_sent(sending(reply_to="712"), timeout=3) == "1950"
    assert client.asked == [("GET", "/users/maria/messages", "helpdesk-bot")]
    assert client.queries == [{"affix": "prepend", "limit": 100}]


def test_sent_message_is_found_after_the_answered_one() -> None:
    channel, client = channel_of(History(*range(700, 2000), ours=814))
    assert channel.find_sent(sending(reply_to="712"), timeout=3) == "814"
    assert queries_of(client) == [("prepend", ""), ("append", "712"), ("append", "812")]


def test_sent_message_is_found_backwards_in_long_history() -> None:
    channel, client = channel_of(History(*range(713, 5000), ours=4444))
    assert channel.find_sent(sending(reply_to="712"), timeout=3) == "4444"
    assert queries_of(client)[-5:] == [("prepend", str(edge)) for edge in range(4900, 4400, -100)]


def test_message_without_answers_is_searched_among_newest() -> None:
    channel, client = channel_of(History(5, ours=5))
    assert channel.find_sent(sending(OPS), timeout=3) == "5"
    assert client.asked == [("GET", "/groups/ops/messages", "")]
    channel, client = channel_of(History(*range(1, 2000), ours=1750))
    assert channel.find_sent(sending(OPS), timeout=3) == "1750"
    assert queries_of(client) == [("prepend", ""), ("prepend", "1900"), ("prepend", "1800")]
    channel, client = channel_of(History(*range(1, 2000)))
    assert channel.find_sent(sending(OPS), timeout=3) is None
    assert len(client.asked) == 3


def test_what_is_nowhere_surely_did_not_arrive(caplog: pytest.LogCaptureFixture) -> None:
    channel, client = channel_of(History(713))
    assert channel.find_sent(sending(reply_to="712"), timeout=3) is None
    assert queries_of(client) == [("prepend", ""), ("append", "712")]
    assert caplog.records == []


def test_search_from_both_ends_is_complete(caplog: pytest.LogCaptureFixture) -> None:
    channel, client = channel_of(History(*range(713, 713 + 1450)))
    assert channel.find_sent(sending(reply_to="712"), timeout=3) is None
    assert len(client.asked) == 15
    assert caplog.records == []


def test_thread_reply_is_searched_in_thread() -> None:
    channel, client = channel_of(History(replies=range(1, 400), ours=333))
    assert channel.find_sent(sending(thread_id="7", reply_to="712"), timeout=3) == "333"
    assert client.asked[-1] == ("GET", "/messages/7/thread", "helpdesk-bot")


def test_empty_conversation_finds_none_and_others_raise() -> None:
    channel, _ = channel_of(lambda *_: Rejected("no", code="ERR_CONVERSATION_NOT_ACCESSIBLE"))
    assert channel.find_sent(sending(reply_to="712"), timeout=3) is None
    channel, _ = channel_of(lambda *_: Rejected("no", code="ERR_GUID_NOT_FOUND"))
    with pytest.raises(Rejected):
        channel.find_sent(sending(reply_to="712"), timeout=3)


@pytest.mark.parametrize(
    "history", [History(*range(713, 9000)), History(1, replies=range(1, 9000))], ids=["long", "thread"]
)
def test_incomplete_search_resends_the_reply(caplog: pytest.LogCaptureFixture, history: History) -> None:
    channel, client = channel_of(history)
    assert channel.find_sent(sending(thread_id="7" if history.replies else "", reply_to="712"), timeout=3) is None
    assert len(client.asked) <= 20
    (record,) = caplog.records
    assert "cannot verify whether a reply arrived" in record.message
    assert record.levelno == logging.WARNING


@pytest.mark.parametrize(
    ("seconds", "pages"),
    [(1.5, ["prepend", "append", "append", "append"]), (2.5, ["prepend", "append"]), (5.0, ["prepend"])],
)
@pytest.mark.parametrize("thread_id", ["", "7"])
def test_search_stops_before_its_timeout(
    monkeypatch: pytest.MonkeyPatch, seconds: float, pages: list[str], thread_id: str
) -> None:
    now = [100.0]
    history = History(*range(713, 9000))

    def slow(method: str, path: str, params: dict[str, Any]) -> Answer:
        now[0] += seconds
        return history(method, path, params)

    monkeypatch.setattr(sent_lookup, "time", SimpleNamespace(monotonic=lambda: now[0]))
    channel, client = channel_of(slow)
    assert channel.find_sent(sending(reply_to="712", thread_id=thread_id), timeout=8) is None
    assert [affix for affix, _ in queries_of(client)] == pages
    assert all(timeout is not None and timeout >= 2 * seconds for timeout in client.timeouts[1:])


def test_repeated_pages_end_the_search() -> None:
    channel, client = channel_of(lambda *_: {"data": messages(*range(1, 101))})
    assert channel.find_sent(sending(reply_to="712"), timeout=3) is None
    assert len(client.asked) <= 20


@pytest.mark.parametrize("named", ["", "a\0b", "x" * 300, None, True, {"id": 1}])
def test_an_id_that_nothing_could_be_found_by_again_is_uncertain(named: Any) -> None:
    channel, _ = channel_of(lambda *_: {"data": {"id": named}})
    with pytest.raises(OutcomeUnknown, match="without a message id"):
        channel.send(sending(), timeout=3)


def test_idempotent_operations_are_not_searched() -> None:
    channel, client = channel_of(lambda *_: SENT)
    assert channel.find_sent(sending(kind="edit", target=0), timeout=3) is None
    assert client.asked == []


def test_conversations_are_named_as_the_platform_names_them() -> None:
    channel, _ = channel_of(lambda *_: SENT)
    bot = Bot("helpdesk", cometchat_uid="helpdesk-bot")
    assert channel.conversation(bot, user="Maria") == DIRECT
    assert channel.conversation(bot, user="Adam").id == "adam_user_helpdesk-bot"
    assert channel.conversation(bot, group="Ops") == OPS
    for wrong in ({}, {"user": "maria", "group": "ops"}):
        with pytest.raises(BotError):
            channel.conversation(bot, **wrong)


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "x" * 256])
def test_what_can_be_nobodys_id_names_no_conversation(name: str) -> None:
    channel, _ = channel_of(lambda *_: SENT)
    for whom in ({"user": name}, {"group": name}):
        with pytest.raises(BotError, match="1 to 255 characters") as caught:
            channel.conversation(Bot("helpdesk"), **whom)
        assert len(str(caught.value)) < 200


def test_preview_edits_and_ignores_errors(caplog: pytest.LogCaptureFixture) -> None:
    channel, client = channel_of(lambda *_: SENT)
    channel.preview(DIRECT, "5", "half a sen")
    channel.preview(DIRECT, "5", "  ")
    assert client.asked == [("PUT", "/messages/5", "helpdesk-bot")]
    channel, _ = channel_of(lambda *_: Unreachable())
    with caplog.at_level(logging.DEBUG):
        channel.preview(DIRECT, "5", "half a sen")
    assert [record.levelname for record in caplog.records] == ["DEBUG"]


def test_preview_of_long_text_shows_its_start() -> None:
    channel, client = channel_of(lambda *_: SENT)
    channel.preview(DIRECT, "5", "word " * 5000)
    assert len(client.asked) == 1


def test_bots_are_listed_every_ten_minutes() -> None:
    now = [0.0]

    def script(method: str, path: str, params: dict[str, Any]) -> Answer:
        return {"data": [{"uid": "Weather"}] if "isAIBot" not in params else [{"uid": "ai-1"}]}

    channel, client = channel_of(script, clock=lambda: now[0])
    assert channel.is_bot("HELPDESK-BOT")
    assert channel.is_bot("shop")
    assert not channel.is_bot("weather")
    channel.refresh()
    channel.refresh()
    assert len(client.asked) == 2
    assert channel.is_bot("weather")
    assert channel.is_bot("AI-1")
    assert not channel.is_bot("maria")
    now[0] = 601
    channel.refresh()
    assert len(client.asked) == 4


def test_bots_stay_known_when_they_cannot_be_listed(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    answers: list[Answer] = [{"data": [{"uid": "weather"}]}, {"data": []}, Unreachable("no way")]
    channel, _ = channel_of(lambda *_: answers.pop(0), clock=lambda: now[0])
    channel.refresh()
    now[0] = 601
    with caplog.at_level(logging.INFO):
        channel.refresh()
    assert channel.is_bot("weather")
    assert [record.levelname for record in caplog.records] == ["INFO"]


@pytest.mark.parametrize(("answers_disapproved", "texts"), [(False, ["fine"]), (True, ["bad", "fine"])])
def test_history_leaves_out_disapproved_messages(answers_disapproved: bool, texts: list[str]) -> None:
    said = {"sender": "maria", "receiver": "helpdesk-bot", "receiverType": "user", "category": "message"}
    records = [
        {"id": "1", "sentAt": 1, **said, "data": {"text": "bad", "moderation": {"status": "disapproved"}}},
        {"id": "2", "sentAt": 2, **said, "data": {"text": "fine", "moderation": {"status": "approved"}}},
    ]
    settings = CallbackSettings(answer_disapproved=answers_disapproved)
    channel, _ = channel_of(lambda *_: {"data": records}, callback=settings)
    assert [event.text for event in channel.history(DIRECT, 10)] == texts


def test_capabilities_say_what_is_shown_as_such() -> None:
    text = channel_of(lambda *_: SENT)[0].capabilities
    assert text.native == {Text, Media, Custom}
    assert (text.edit, text.delete, text.react, text.threads, text.history, text.look_up) == (True,) * 6
    assert text.stream_interval == 1.0
    assert {Card, Choices} < channel_of(lambda *_: SENT, rich="card")[0].capabilities.native
    assert {Card, Choices} < channel_of(lambda *_: SENT, rich="interactive")[0].capabilities.native


def test_wrong_settings_are_refused_by_their_name() -> None:
    with pytest.raises(ConfigurationError, match="COMETCHAT_RICH"):
        channel_of(lambda *_: SENT, rich="fancy")
    with pytest.raises(ConfigurationError, match="COMETCHAT_APP_ID"):
        CometChatChannel("", CometChatClient("http://127.0.0.1:9/v3", "key"), bots={})


def test_the_client_is_the_platforms_own() -> None:
    channel, client = channel_of(lambda *_: SENT)
    assert channel.client("helpdesk") is client
    channel.close()


def test_a_stored_callback_becomes_its_event(callback_of: Callable[..., dict[str, Any]]) -> None:
    channel, _ = channel_of(lambda *_: SENT)
    event = channel.parse(IncomingEvent(DIRECT, "message:90430", orjson.dumps(callback_of()), "maria-k"))
    assert (event.key, event.conversation) == ("message:90430", DIRECT)


OLD = "https://media-eu.cometchat.io/app/media/a.png?Expires=1&Signature=x"
NEW = "https://media-eu.cometchat.io/app/media/a.png?Expires=9&Signature=y"


class FileClient:
    """The files at some addresses, and one message."""

    def __init__(self, message: dict[str, Any] | Exception, **errors: Exception) -> None:
        self.message, self.errors = message, errors
        self.asked: list[str] = []

    def download(self, url: str, **limits: Any) -> bytes:
        self.asked.append(url)
        if url != NEW:
            raise self.errors.get("old", AuthenticationFailed("403", status=403))
        return b"PNG"

    def get_message(self, message_id: str, *, timeout: float) -> dict[str, Any]:
        self.asked.append(message_id)
        if isinstance(self.message, Exception):
            raise self.message
        return self.message


def message_with(*urls: str) -> dict[str, Any]:
    data = {"attachments": [{"url": url, "name": "a.png"} for url in urls]}
    known = {"id": "7", "sender": "maria", "receiver": "helpdesk-bot", "receiverType": "user", "sentAt": 1}
    return {**known, "category": "message", "type": "image", "data": data}


def test_a_file_whose_address_has_run_out_gets_a_new_one() -> None:
    channel, _ = channel_of(lambda *_: SENT)
    client = FileClient(message_with("https://media-eu.cometchat.io/app/media/b.png?Expires=9", NEW))
    assert channel.read_file(Attachment(OLD, message_id="7"), client, limit=9) == b"PNG"
    assert client.asked == [OLD, "7", NEW]


@pytest.mark.parametrize(
    ("message", "message_id"),
    [
        (message_with(OLD), "7"),
        (message_with("https://media-eu.cometchat.io/app/media/b.png"), "7"),
        (NotFound("404", status=404), "7"),
        ({}, "7"),
        (message_with(NEW), ""),
    ],
)
def test_a_file_without_a_new_address_is_refused(message: Any, message_id: str) -> None:
    channel, _ = channel_of(lambda *_: SENT)
    with pytest.raises(AuthenticationFailed, match="403"):
        channel.read_file(Attachment(OLD, message_id=message_id), FileClient(message), limit=9)


def test_a_file_that_is_too_large_is_asked_for_once() -> None:
    channel, _ = channel_of(lambda *_: SENT)
    client = FileClient(message_with(NEW), old=Rejected("large", code="file_too_large"))
    with pytest.raises(Rejected, match="large"):
        channel.read_file(Attachment(OLD, message_id="7"), client, limit=9)
    assert client.asked == [OLD]


def test_conversation_of_the_app_has_no_messages_and_takes_none() -> None:
    channel, client = channel_of(lambda *_: SENT)
    app = Conversation.of_app("cometchat", "app", "helpdesk", "presence")
    with pytest.raises(BotError, match="got that of the whole app"):
        channel.render(Operation(conversation=app, message=Text("hi")))
    assert channel.history(app, 10) == []
    assert not channel.has_member(app, User("maria"))
    assert client.asked == []
