"""Members of CometChat's groups; the platform is a script."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot.channels.base import OutgoingRequest
from cometbot.channels.cometchat import group_members
from cometbot.errors import AuthenticationFailed, NotFound, OutcomeUnknown, Rejected
from cometbot.models import User
from tests.unit.channels.cometchat.test_channel import OPS, Answer, ScriptedClient, channel_of

REFUSED = Rejected("no", code="ERR_GROUP_NO_CLEARANCE", status=403)
GROUP = {"guid": "ops", "hasJoined": True, "owner": "Lead", "scope": "admin"}


def moderate(operation: str, *answers: Answer) -> list[tuple[str, str, str]]:
    """Return the requests of one operation about tom."""
    left = list(answers)
    channel, client = channel_of(lambda *_: left.pop(0))
    channel.send(OutgoingRequest(OPS, "m", {"op": operation, "user": "tom"}), timeout=3)
    return client.asked


@pytest.mark.parametrize(
    ("operation", "method", "path"),
    [
        ("kick", "DELETE", "/groups/ops/members/tom"),
        ("ban", "POST", "/groups/ops/bannedusers/tom"),
        ("unban", "DELETE", "/groups/ops/bannedusers/tom"),
    ],
)
def test_each_operation_is_one_request_as_the_bot(operation: str, method: str, path: str) -> None:
    assert moderate(operation, {"data": {"success": True}}) == [(method, path, "helpdesk-bot")]


@pytest.mark.parametrize(
    ("operation", "answers"),
    [
        ("kick", [NotFound("no", code="ERR_NOT_A_MEMBER", status=404), {"data": {"guid": "ops"}}]),
        ("kick", [NotFound("no", status=404), Rejected("no", code="ERR_GROUP_NOT_JOINED")]),
        ("kick", [NotFound("no", code="ERR_UID_NOT_FOUND", status=404), NotFound("no", code="ERR_UID_NOT_FOUND")]),
        ("ban", [Rejected("no", code="ERR_ALREADY_BANNED", status=400)]),
        ("ban", [NotFound("no", code="ERR_UID_NOT_FOUND", status=404)]),
        ("unban", [Rejected("no", code="ERR_NOT_A_BANNED_USER", status=404)]),
        ("unban", [NotFound("no", code="ERR_UID_NOT_FOUND", status=404)]),
    ],
)
def test_what_is_so_already_is_done(operation: str, answers: list[Answer]) -> None:
    assert len(moderate(operation, *answers)) == len(answers)


@pytest.mark.parametrize("operation", group_members.MODERATIONS)
@pytest.mark.parametrize("error", [REFUSED, NotFound("no", code="ERR_GUID_NOT_FOUND", status=404)])
def test_refusal_raises(operation: str, error: Rejected) -> None:
    with pytest.raises(Rejected) as raised:
        moderate(operation, error)
    assert raised.value is error


def test_bot_that_is_no_member_is_not_added_to_kick() -> None:
    error = Rejected("no", code="ERR_NOT_A_MEMBER", status=404)
    with pytest.raises(Rejected) as raised:
        moderate("kick", error, {"data": GROUP})
    assert raised.value is error


@pytest.mark.parametrize(
    ("answer", "uid", "scope"),
    [
        ({"data": GROUP}, "lead", "owner"),
        ({"data": GROUP}, "tom", "admin"),
        ({"data": {**GROUP, "scope": "moderator"}}, "tom", "moderator"),
        ({"data": {"guid": "ops", "hasJoined": True}}, "tom", "participant"),
        ({"data": {**GROUP, "scope": "reader"}}, "tom", "participant"),
        ({"data": {**GROUP, "hasJoined": False}}, "lead", ""),
        (NotFound("gone", code="ERR_GUID_NOT_FOUND"), "tom", ""),
    ],
)
def test_scope_is_that_of_the_group_as_the_user_sees_it(answer: Answer, uid: str, scope: str) -> None:
    channel, client = channel_of(lambda *_: answer)
    assert channel.get_scope(OPS, User(uid), timeout=3) == scope
    assert client.asked == [("GET", "/groups/ops", uid)]


def test_scope_with_a_wrong_key_raises() -> None:
    channel, _ = channel_of(lambda *_: AuthenticationFailed("key"))
    with pytest.raises(AuthenticationFailed):
        channel.get_scope(OPS, User("tom"))


def list_members(count: int, **options: Any) -> tuple[list[User], ScriptedClient]:
    def script(method: str, path: str, params: dict[str, Any]) -> Answer:
        if path == "/groups/ops":
            return {"data": GROUP}
        start = (params["page"] - 1) * params["perPage"]
        uids = [*(f"u{number}" for number in range(count)), "lead", "helpdesk-bot"][start : start + params["perPage"]]
        return {
            "data": [{"uid": uid, "name": uid, "scope": "admin" if uid == "lead" else "participant"} for uid in uids]
        }

    channel, client = channel_of(script)
    return channel.members(OPS, **options), client


def test_members_of_all_pages_are_listed_without_the_bot() -> None:
    members, client = list_members(2500)

    assert [member.uid for member in members] == [*(f"u{number}" for number in range(2500)), "lead"]
    assert {member.scope for member in members[:-1]} == {"participant"}
    assert members[-1].scope == "owner"
    assert [query.get("page") for query in client.queries] == [None, 1, 2, 3]


def test_members_that_take_too_long_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(0, 1000, 20))
    monkeypatch.setattr("cometbot.channels.cometchat.api_request.monotonic", lambda: float(next(times)))
    with pytest.raises(OutcomeUnknown, match="all pages within"):
        list_members(2500, timeout=30.0)
