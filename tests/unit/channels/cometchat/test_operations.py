"""Which request each operation makes; answers come from a list."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest

from cometbot.channels.cometchat.api_request import ApiRequest
from cometbot.channels.cometchat.conversation_operations import ConversationOperations
from cometbot.channels.cometchat.operations import Operations
from cometbot.channels.cometchat.user_operations import UserOperations
from cometbot.errors import MessageError, OutcomeUnknown
from tests.cometchat_operations import check_request

Call = tuple[str, str, Any, dict[str, Any], str]


class Recorder(Operations):
    """Remembers what was asked; answers with what was put into ``answers``, else with an empty object."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answers: list[dict[str, Any]] = []

    def send_request(self, request: ApiRequest) -> dict[str, Any]:
        body = json.loads(request.body) if isinstance(request.body, bytes) else request.body
        faults = check_request(request.method, request.path, body, request.params, request.on_behalf_of)
        assert faults == []
        self.calls.append((request.method, request.path, request.body, dict(request.params), request.on_behalf_of))
        return self.answers.pop(0) if self.answers else {"data": {}}


@pytest.fixture
def api() -> Recorder:
    return Recorder()


TEXT = {"receiver": "maria", "receiverType": "user", "category": "message", "type": "text", "data": {"text": "hi"}}

LISTS = {
    "bots", "agents", "reactions", "messages", "thread", "conversations", "pinned_conversations", "users", "friends",
    "blocked_users", "auth_tokens", "groups", "members", "banned",
}  # fmt: skip
AGENT = {"name": "A", "icon": "https://x/a.png", "integrateWith": "ag-ui", "integrationType": "agent"}

CASES: list[tuple[Callable[[Recorder], Any], str, str, Any, str]] = [
    (lambda api: api.get_bot("b"), "GET", "/bots/b", None, ""),
    (lambda api: api.update_bot("b", {"enabled": False}), "PUT", "/bots/b", {"enabled": False}, ""),
    (lambda api: api.delete_bot("b"), "DELETE", "/bots/b", None, ""),
    (lambda api: api.update_agent("a", {"isActive": False}), "PATCH", "/ai-agents/agents/a", {"isActive": False}, ""),
    (lambda api: api.delete_agent("a"), "DELETE", "/ai-agents/agents/a", None, ""),
    (lambda api: api.create_agent(AGENT), "POST", "/ai-agents/agents", AGENT, ""),
    (lambda api: api.get_message("5", on_behalf_of="b"), "GET", "/messages/5", None, "b"),
    (
        lambda api: api.edit_message("5", {"text": "new"}, tags=["a"], on_behalf_of="b"),
        "PUT", "/messages/5", {"data": {"text": "new"}, "tags": ["a"]}, "b",
    ),
    (lambda api: api.edit_message("5", {"text": "new"}), "PUT", "/messages/5", {"data": {"text": "new"}}, ""),
    (lambda api: api.delete_message("5", on_behalf_of="b"), "DELETE", "/messages/5", None, "b"),
    (lambda api: api.delete_message("5", permanent=True), "DELETE", "/messages/5", {"permanent": True}, ""),
    (
        lambda api: api.add_reaction("5", "👍", on_behalf_of="b"),
        "POST", "/messages/5/reactions/%F0%9F%91%8D", None, "b",
    ),
    (lambda api: api.remove_reaction("5", "a/b", on_behalf_of="b"), "DELETE", "/messages/5/reactions/a%2Fb", None, "b"),
    (lambda api: api.mark_read(reader="b", user="m"), "POST", "/users/m/conversation/read", None, "b"),
    (
        lambda api: api.mark_read(reader="b", group="g", message_id="5"),
        "POST", "/groups/g/conversation/read", {"messageId": 5}, "b",
    ),
    (lambda api: api.mark_unread(reader="b", user="m"), "DELETE", "/users/m/conversation/read", None, "b"),
    (lambda api: api.mark_delivered(reader="b", user="m"), "POST", "/users/m/conversation/delivered", None, "b"),
    (lambda api: api.conversation(on_behalf_of="b", group="g"), "GET", "/groups/g/conversation", None, "b"),
    (
        lambda api: api.review("5", approve=True),
        "PATCH", "/moderation/flagged-messages/5", {"status": "approved"}, "",
    ),
    (
        lambda api: api.review("5", approve=False),
        "PATCH", "/moderation/flagged-messages/5", {"status": "disapproved"}, "",
    ),
    (
        lambda api: api.review("5", approve=True, queue="blocked"),
        "PATCH", "/moderation/blocked-messages/5", {"status": "approved", "reviewed": True}, "",
    ),
    (
        lambda api: api.review("5", approve=False, queue="blocked"),
        "PATCH", "/moderation/blocked-messages/5", {"status": "rejected", "reviewed": True}, "",
    ),
    (
        lambda api: api.flag_message("5", "spam", on_behalf_of="m", remark="again"),
        "POST", "/messages/5/flagged", {"reasonId": "spam", "remark": "again"}, "m",
    ),
    (
        lambda api: api.create_user("m", "M", {"tags": ["a"]}),
        "POST", "/users", {"uid": "m", "name": "M", "tags": ["a"]}, "",
    ),
    (lambda api: api.get_user("m"), "GET", "/users/m", None, ""),
    (lambda api: api.update_user("m", {"name": "N"}), "PUT", "/users/m", {"name": "N"}, ""),
    (lambda api: api.delete_user("m"), "DELETE", "/users/m", {"permanent": False}, ""),
    (lambda api: api.create_auth_token("m"), "POST", "/users/m/auth_tokens", {"force": False}, ""),
    (lambda api: api.deactivate_users(["m", "n"]), "DELETE", "/users", {"uidsToDeactivate": ["m", "n"]}, ""),
    (lambda api: api.reactivate_users(("m",)), "PUT", "/users", {"uidsToActivate": ["m"]}, ""),
    (lambda api: api.add_friends("m", ["n"]), "POST", "/users/m/friends", {"accepted": ["n"]}, ""),
    (lambda api: api.remove_friends("m", ["n"]), "DELETE", "/users/m/friends", {"friends": ["n"]}, ""),
    (lambda api: api.block_users("m", ["n"]), "POST", "/users/m/blockedusers", {"blockedUids": ["n"]}, ""),
    (lambda api: api.unblock_users("m", ["n"]), "DELETE", "/users/m/blockedusers", {"blockedUids": ["n"]}, ""),
    (lambda api: api.get_auth_token("m", "m_1/2"), "GET", "/users/m/auth_tokens/m_1%2F2", None, ""),
    (
        lambda api: api.update_auth_token("m", "m_1", {"platform": "web"}),
        "PUT", "/users/m/auth_tokens/m_1", {"platform": "web"}, "",
    ),
    (lambda api: api.delete_auth_token("m", "m_1"), "DELETE", "/users/m/auth_tokens/m_1", None, ""),
    (lambda api: api.delete_auth_tokens("m"), "DELETE", "/users/m/auth_tokens", None, ""),
    (
        lambda api: api.tag_conversation(["a"], on_behalf_of="b", user="m"),
        "PUT", "/users/m/conversation", {"tags": ["a"]}, "b",
    ),
    (
        lambda api: api.delete_conversation(on_behalf_of="b", user="m", permanent=True),
        "DELETE", "/users/m/conversation", {"conversationWith": "m", "deleteMessagesPermanently": True}, "b",
    ),
    (lambda api: api.delete_conversation(on_behalf_of="b", group="g"), "DELETE", "/groups/g/conversation", None, "b"),
    (lambda api: api.pin_conversation(on_behalf_of="b", user="m"), "POST", "/users/m/conversation/pin", None, "b"),
    (
        lambda api: api.unpin_conversation(on_behalf_of="b", group="g"),
        "DELETE", "/groups/g/conversation/pin", None, "b",
    ),
    (
        lambda api: api.pin_conversations_for_all(users=["m"], groups=["g"]),
        "PUT", "/conversations/pinned", {"pinnedConversations": [{"guid": "g"}, {"uid": "m"}]}, "",
    ),
    (
        lambda api: api.create_group("g", "G", "private", on_behalf_of="m"),
        "POST", "/groups", {"guid": "g", "name": "G", "type": "private"}, "m",
    ),
    (lambda api: api.get_group("g"), "GET", "/groups/g", None, ""),
    (lambda api: api.update_group("g", {"name": "H"}), "PUT", "/groups/g", {"name": "H"}, ""),
    (lambda api: api.delete_group("g"), "DELETE", "/groups/g", None, ""),
    (lambda api: api.change_scope("g", "m", "admin"), "PUT", "/groups/g/members/m", {"scope": "admin"}, ""),
    (lambda api: api.kick("g", "m", on_behalf_of="l"), "DELETE", "/groups/g/members/m", None, "l"),
    (lambda api: api.ban("g", "m"), "POST", "/groups/g/bannedusers/m", None, ""),
    (lambda api: api.unban("g", "m"), "DELETE", "/groups/g/bannedusers/m", None, ""),
]  # fmt: skip


@pytest.mark.parametrize(("ask", "method", "path", "body", "on_behalf_of"), CASES)
def test_each_operation_makes_its_request(
    api: Recorder, ask: Callable[[Recorder], Any], method: str, path: str, body: Any, on_behalf_of: str
) -> None:
    ask(api)
    assert api.calls == [(method, path, body, {}, on_behalf_of)]


def test_each_operation_stands_in_the_table_of_documented_ones(api: Recorder) -> None:
    names = {name for name in vars(Operations) | vars(UserOperations) | vars(ConversationOperations) if name[0] != "_"}
    arguments = {"uid": "m", "uids": ["m"], "bot": "b", "guid": "g", "group": "", "user": "m", "on_behalf_of": "b"}
    arguments |= {"body": TEXT, "data": {"text": "x"}, "scope": "admin", "reader": "b", "tags": ["a"], "kind": "public"}
    for name in sorted(names):
        api.answers = [{"data": [] if name in LISTS else {}}]
        parameters = inspect.signature(getattr(api, name)).parameters.values()
        needed = [item for item in parameters if item.default is item.empty or item.name == "user"]
        given = {item.name: AGENT if name == "create_agent" else arguments.get(item.name, "5") for item in needed}
        given |= {name: {} for name in given.keys() & {"changes"}}
        made = getattr(api, name)(**given)
        assert list(made) is not None  # an iterator sends its request when it is read
        assert api.calls, f"{name} has sent no request"
        api.calls.clear()


def test_friends_are_added_in_batches_with_a_result_for_each(api: Recorder) -> None:
    uids = [f"u{number}" for number in range(30)]
    api.answers = [
        {"data": {"accepted": {uid: {"success": True, "message": "…"} for uid in uids[:25]}}},
        {"data": {"accepted": {"u25": {"success": False, "error": {"code": "ERR_UID_NOT_FOUND"}}, "u26": True}}},
    ]
    results = api.add_friends("m", uids)
    assert [len(body["accepted"]) for _, _, body, _, _ in api.calls] == [25, 5]
    assert results["u0"]["success"] is True
    assert results["u25"]["error"] == {"code": "ERR_UID_NOT_FOUND"}
    assert results["u26"] == {"success": True}


def test_bulk_changes_return_the_uids_of_the_answer(api: Recorder) -> None:
    api.answers = [{"data": {"deactivatedUids": ["m"]}}, {"data": {"nonDeactivatedUids": ["m"]}}, {"data": {}}]
    assert api.deactivate_users(["m"]) == ["m"]
    assert api.reactivate_users(["m"]) == ["m"]
    assert api.reactivate_users(["m"]) == []


def test_a_request_with_a_token_does_not_show_it() -> None:
    shown = ApiRequest("GET", "/users/m/auth_tokens/m_%2Fabc", secret="m_/abc")
    assert str(shown) == "GET /users/m/auth_tokens/***"
    assert "abc" not in repr(shown).replace("/users/m/auth_tokens/m_%2Fabc", "")


def test_an_invalid_token_is_refused_without_showing_it(api: Recorder) -> None:
    with pytest.raises(MessageError, match="authToken") as raised:
        api.delete_auth_token("m", "my secret")
    assert "secret" not in str(raised.value)


def test_messages_go_out_as_they_were_checked(api: Recorder) -> None:
    api.send_bot_message("helpdesk", TEXT)
    api.send_message(TEXT, on_behalf_of="maria")
    api.reply_in_thread("90480", TEXT, on_behalf_of="helpdesk")
    assert [(method, path, on_behalf_of) for method, path, _, _, on_behalf_of in api.calls] == [
        ("POST", "/bots/helpdesk/messages", ""),
        ("POST", "/messages", "maria"),
        ("POST", "/messages/90480/thread", "helpdesk"),
    ]
    assert all(b'"text":"hi"' in body for _, _, body, _, _ in api.calls)


def test_new_bot_is_enabled_with_basic_auth(api: Recorder) -> None:
    api.create_bot("helpdesk", "https://x/cometchat/helpdesk", username="cc", password="pw")
    api.create_bot("other", "https://x/cometchat/other", group_setting="allMessages", enabled=False)
    assert api.calls[0][2] == {
        "uid": "helpdesk", "webhookURL": "https://x/cometchat/helpdesk", "groupChatSetting": "mentionedMessages",
        "enabled": True, "username": "cc", "password": "pw", "useBasicAuth": True,
    }  # fmt: skip
    assert "useBasicAuth" not in api.calls[1][2]


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda api: api.send_bot_message("helpdesk", TEXT | {"data": {"text": ""}}), "data.text"),
        (lambda api: api.send_bot_message("x" * 51, TEXT), "bot"),
        (lambda api: api.create_agent({"name": "x" * 101}), "name"),
        (lambda api: api.create_agent({}), "name"),
        (lambda api: api.send_message(TEXT | {"receiver": ""}), "receiver"),
        (lambda api: api.reply_in_thread("", TEXT, on_behalf_of="b"), "parentId"),
        (lambda api: api.reply_in_thread("5", TEXT, on_behalf_of=""), "onBehalfOf"),
        (lambda api: api.add_reaction("5", "👍", on_behalf_of=""), "onBehalfOf"),
        (lambda api: api.add_reaction("5", "x" * 46, on_behalf_of="b"), "reaction"),
        (lambda api: api.edit_message("5", {"text": " "}), "data.text"),
        (lambda api: api.edit_message("5", {"text": "x" * 10_000}), "data has"),
        (lambda api: api.edit_message("5", {"text": "x"}, tags=["x" * 101]), "tags"),
        (lambda api: api.get_user(".."), "uid"),
        (lambda api: api.deactivate_users([]), "uidsToDeactivate"),
        (lambda api: api.block_users("m", "tom"), "blockedUids"),
        (lambda api: api.add_friends("m", ["a b"]), "accepted"),
        (lambda api: api.tag_conversation("a", on_behalf_of="b", user="m"), "tags"),
        (lambda api: api.tag_conversation(["a"] * 26, on_behalf_of="b", user="m"), "tags"),
        (lambda api: api.delete_conversation(on_behalf_of="b", group="g", permanent=True), "permanent"),
        (lambda api: api.delete_conversation(on_behalf_of="", user="m"), "onBehalfOf"),
        (lambda api: api.pin_conversation(on_behalf_of="b"), "user or a group"),
        (lambda api: api.pin_conversations_for_all(users=list("abcdef")), "pinnedConversations"),
        (lambda api: api.get_group("a b"), "guid"),
        (lambda api: api.create_bot("b", "x" * 256), "webhookURL"),
        (lambda api: api.create_bot("b", "https://x", username="cc"), "password"),
        (lambda api: api.create_bot("b", "https://x", group_setting="all"), "groupChatSetting"),
        (lambda api: api.update_bot("b", {"groupChatSetting": "all"}), "groupChatSetting"),
        (lambda api: api.update_bot("b", {"uid": "c"}), "uid"),
        (lambda api: api.create_user("m", ""), "name"),
        (lambda api: api.create_group("g", "G", "secret"), "type"),
        (lambda api: api.change_scope("g", "m", "owner"), "scope"),
        (lambda api: api.add_members("g", ["m"], scope="owners"), "scope"),
        (lambda api: api.mark_read(reader="b"), "user or a group"),
        (lambda api: api.messages(user="m", group="g"), "user or a group"),
    ],
)
def test_a_wrong_request_is_refused_by_its_field_and_not_made(
    api: Recorder, ask: Callable[[Recorder], Any], field: str
) -> None:
    with pytest.raises(MessageError, match=field):
        ask(api)
    assert api.calls == []


def test_a_listing_goes_on_until_a_short_page(api: Recorder) -> None:
    full = [{"uid": str(number)} for number in range(100)]
    api.answers = [{"data": full}, {"data": full}, {"data": [{"uid": "last"}]}]
    assert len(list(api.users({"searchKey": "x"}))) == 201
    assert [params["page"] for _, _, _, params, _ in api.calls] == [1, 2, 3]
    assert api.calls[0][3] == {"perPage": 100, "searchKey": "x", "page": 1}


@pytest.mark.parametrize(
    ("ask", "path", "params"),
    [
        (lambda api: api.bots(search="help", ai=True), "/bots", {"searchKey": "help", "isAIBot": True}),
        (lambda api: api.groups({"hasJoined": True}, on_behalf_of="b"), "/groups", {"hasJoined": True}),
        (lambda api: api.members("g", {"scopes": "admin"}), "/groups/g/members", {"scopes": "admin"}),
        (lambda api: api.banned("g"), "/groups/g/bannedusers", {}),
        (lambda api: api.conversations(on_behalf_of="b"), "/conversations", {}),
    ],
)
def test_each_listing_asks_for_its_pages(
    api: Recorder, ask: Callable[[Recorder], Any], path: str, params: dict[str, Any]
) -> None:
    api.answers = [{"data": [{"uid": "a"}]}]
    assert list(ask(api)) == [{"uid": "a"}]
    assert api.calls[0][:4] == ("GET", path, None, {"perPage": 100, "page": 1, **params})


def test_agents_come_in_one_list(api: Recorder) -> None:
    api.answers = [{"data": [{"uid": "a"}, "no object"]}]
    assert api.agents() == [{"uid": "a"}]
    assert api.calls == [("GET", "/ai-agents/agents", None, {}, "")]


@pytest.mark.parametrize("data", [{"agent": {"uid": "a"}}, {"uid": "a"}])
def test_created_agent_is_found_in_the_answer(api: Recorder, data: dict[str, Any]) -> None:
    api.answers = [{"data": data}]
    assert api.create_agent(AGENT) == {"uid": "a"}


def test_history_request_path(api: Recorder) -> None:
    for _ in range(4):
        api.answers.append({"data": [{"id": "1"}, "no object"]})
    assert api.messages(user="m", on_behalf_of="b", query={"limit": 5}) == [{"id": "1"}]
    api.messages(group="g")
    api.messages()
    api.thread("5", on_behalf_of="b", page=2)
    assert [(path, params, on_behalf_of) for _, path, _, params, on_behalf_of in api.calls] == [
        ("/users/m/messages", {"limit": 5}, "b"),
        ("/groups/g/messages", {}, ""),
        ("/messages", {}, ""),
        ("/messages/5/thread", {"perPage": 100, "page": 2}, "b"),
    ]


def test_reactions_are_listed_whole_or_for_one_emoji(api: Recorder) -> None:
    api.answers = [{"data": [{"id": "1"}]}, {"data": []}]
    assert api.reactions("5") == [{"id": "1"}]
    api.reactions("5", "👍", on_behalf_of="b")
    assert [path for _, path, _, _, _ in api.calls] == ["/messages/5/reactions", "/messages/5/reactions/%F0%9F%91%8D"]


def test_a_listing_without_a_list_is_uncertain(api: Recorder) -> None:
    api.answers = [{"data": {"message": "?"}}]
    with pytest.raises(OutcomeUnknown):
        list(api.users())


def test_members_are_added_25_a_call_and_each_has_its_result(api: Recorder) -> None:
    uids = [f"u{number}" for number in range(30)]
    api.answers = [
        {"data": {"participants": {uid: {"success": True} for uid in uids[:25]}}},
        {"data": {"participants": {"u25": {"success": False, "error": {"code": "ERR_UID_NOT_FOUND"}}, "u26": True}}},
    ]
    results = api.add_members("g", uids)
    assert [len(body["participants"]) for _, _, body, _, _ in api.calls] == [25, 5]
    assert results["u0"] == {"success": True}
    assert results["u25"]["error"]["code"] == "ERR_UID_NOT_FOUND"
    assert results["u26"] == {"success": True}


def test_list_of_one_is_unwrapped(api: Recorder) -> None:
    api.answers = [{"data": [{"conversationId": "c"}]}]
    assert api.conversation(on_behalf_of="b", user="m") == {"conversationId": "c"}


def test_a_confirmation_in_an_odd_shape_is_an_empty_record(api: Recorder) -> None:
    api.answers = [{"data": "done"}, {}]
    assert api.delete_bot("b") == {}
    assert api.delete_bot("b") == {}
