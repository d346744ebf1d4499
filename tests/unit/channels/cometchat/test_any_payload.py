"""Any payload is stored or ignored, and what is stored can be parsed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cometbot import Bot
from cometbot.channels.base import IncomingEvent
from cometbot.channels.cometchat import CallbackSettings, CometChatChannel, CometChatClient
from cometbot.channels.cometchat.callback import make_blueprint
from cometbot.models import Conversation, ConversationKey
from tests.webhook_samples import load_samples

Make = Callable[..., dict[str, Any]]

APP = "0123456789abcdef"
HERE = Conversation("cometchat", APP, "helpdesk-bot", "group_ops-room", "ops-room", is_group=True)
TRIGGERS = [
    "after_message", "message_sent", "user_mentioned", "message_edited", "message_deleted", "message_reaction_added",
    "group_member_added", "group_member_joined", "group_owner_transferred", "call_initiated", "call_ended",
    "moderation_engine_approved", "moderation_engine_failed", "message_read_receipt", "user_blocked",
    "user_connection_status_changed", "recording_generated", "meeting_ended", "after_campaign_failed", "x",
]  # fmt: skip

REPORTS = {
    "ReceiptEvent", "PresenceEvent", "BlockEvent", "CallEvent", "RecordingEvent", "TranscriptionEvent",
    "ModerationEvent", "CampaignEvent", "AgentMessageEvent",
}  # fmt: skip

SIMPLE_VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=5)
    | st.sampled_from(["user", "group", "action", "call", "message"])
)
JSON_VALUES = st.recursive(
    SIMPLE_VALUES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["uid", "guid", "entity", "id"]), inner)
    ),
    max_leaves=5,
)


class RecordingIntake:
    """An intake that keeps the last thing and claims to know everything."""

    def __init__(self) -> None:
        bot = Bot("helpdesk-bot")
        bot.event(lambda ctx: None)
        self.bots = {"helpdesk-bot": bot}
        self.last: IncomingEvent | None = None

    def enqueue(self, incoming: IncomingEvent) -> bool:
        self.last = incoming
        return True

    def has_conversation(self, key: ConversationKey) -> bool:
        return True

    def find_received_conversation(self, channel: str, account: str, bot: str, key: str) -> Conversation | None:
        return None

    def find_sent_conversation(self, channel: str, account: str, platform_id: str) -> Conversation | None:
        return HERE


INTAKE = RecordingIntake()
CHANNEL = CometChatChannel(
    APP,
    CometChatClient("http://127.0.0.1:9/v3", "key"),
    bots=INTAKE.bots,
    callback=CallbackSettings(allow_anonymous=True),
)
SITE = Flask("site")
SITE.register_blueprint(make_blueprint(CHANNEL, INTAKE))


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values inside of ``value``."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*path, key)
        yield from paths_of(inner, (*path, key))


def with_value(whole: Any, path: tuple[Any, ...], value: Any, *, removed: bool) -> Any:
    changed = copy.deepcopy(whole)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    if removed:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return changed


def post_and_parse(payload: Any, path: str) -> None:
    INTAKE.last = None
    response = SITE.test_client().post(path, data=orjson.dumps(payload), content_type="application/json")
    is_foreign = "webhook" not in path and payload.get("bot", "helpdesk-bot") != "helpdesk-bot"
    is_wrong = payload.get("appId") != APP or is_foreign
    assert response.status_code == 200 or (is_wrong and response.status_code in (400, 403, 404))
    if INTAKE.last is not None:
        event = CHANNEL.parse(INTAKE.last)
        assert event.key == INTAKE.last.key
        assert event.conversation == INTAKE.last.conversation
    else:
        assert response.status_code != 200 or b"ignored" in response.data


@pytest.fixture
def payloads(
    callback_of: Make, message_of: Make, group_message_of: Make, action_of: Make, webhook_of: Make
) -> list[Any]:
    reaction = {"messageId": "5", "reaction": "👍", "uid": "maria-k", "reactedAt": 5, "reactedBy": {"uid": "maria-k"}}
    members = {"tom": {"uid": "tom", "tags": ["a"]}}
    files = [{"url": "https://x/a.png", "size": 5}]
    rich = {"mentions": {"tom": {"uid": "tom"}}, "metadata": {}, "moderation": {"status": "x"}, "attachments": files}
    quoting = {"quotedMessageId": "1", "quotedMessage": {"id": "1", "data": {"text": "q"}}, "tags": ["a"]}
    return [
        callback_of(group_message_of(data=rich, **quoting)),
        callback_of(message_of(category="custom", type="x", data={"customData": {}})),
        callback_of(action_of("message", "edited", on=message_of(editedAt=5, editedBy="tom"))),
        callback_of(action_of("groupMember", "added", on={"uid": "tom"})),
        callback_of(action_of("call", "initiated", on={"sessionid": "s"}) | {"category": "call", "type": "audio"}),
        webhook_of("message_deleted", message=message_of(deletedBy="tom", deletedAt=5)),
        webhook_of("message_edited", message=action_of("message", "edited", on=message_of())),
        webhook_of("message_reaction_added", reaction=reaction),
        webhook_of("group_member_added", group={"guid": "ops", "oldOwner": "x"}, members=members, by={"uid": "lead"}),
        webhook_of(
            "moderation_engine_approved", message=message_of(), moderation=[{"rule": {"id": "r", "action": []}}]
        ),
        *(dict(sample.payload, appId=APP) for sample in load_samples().values() if sample.event in REPORTS),
    ]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_a_payload_is_refused_or_stored_and_parsed(payloads: list[Any], data: st.DataObject) -> None:
    payload = data.draw(st.sampled_from(payloads))
    for _ in range(data.draw(st.integers(0, 2))):
        path = data.draw(st.sampled_from(list(paths_of(payload))))
        payload = with_value(payload, path, data.draw(JSON_VALUES), removed=data.draw(st.booleans()))
        if "trigger" in payload and data.draw(st.booleans()):
            payload["trigger"] = data.draw(st.sampled_from(TRIGGERS))
    post_and_parse(
        payload,
        data.draw(st.sampled_from(["/cometchat/helpdesk-bot", "/cometchat", "/cometchat/helpdesk-bot/webhook"])),
    )


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=200) | st.text().map(str.encode) | JSON_VALUES.map(orjson.dumps))
def test_any_bytes_are_refused_with_a_4xx(body: bytes) -> None:
    response = SITE.test_client().post("/cometchat/helpdesk-bot", data=body, content_type="application/json")
    assert 400 <= response.status_code < 500
    assert "error" in (response.json or {})
