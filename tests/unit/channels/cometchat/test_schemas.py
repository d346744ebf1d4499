"""What must be there, what may be missing, and what is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cometbot.channels.cometchat import schemas

Make = Callable[..., dict[str, Any]]

IDS = ["id", "conversationId", "sender", "receiver", "category", "type", "parentId", "editedBy", "deletedBy"]
TIMES = ["sentAt", "updatedAt", "editedAt", "deletedAt"]


def test_sample_payload_loads_with_all_keys(sample: dict[str, Any]) -> None:
    loaded = schemas.load(schemas.ENVELOPE, sample)
    assert loaded["origin"] == sample["origin"]
    assert schemas.load(schemas.MESSAGE, loaded["data"])["data"]["resource"] == sample["data"]["data"]["resource"]


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("value", [None, [], {}, True, 1.5, "", "\x00", "a\nb", "x" * 256])
def test_what_is_no_id_counts_as_absent(message_of: Make, name: str, value: Any) -> None:
    assert schemas.load(schemas.MESSAGE, message_of() | {name: value})[name] == ""


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("value", [None, [], True, -1.5, 1e40, float("inf"), float("nan"), "soon", "1" * 30])
def test_what_is_no_time_counts_as_absent(message_of: Make, name: str, value: Any) -> None:
    assert schemas.load(schemas.MESSAGE, message_of() | {name: value})[name] == 0


@pytest.mark.parametrize("name", ["trigger", "appId", "bot"])
@pytest.mark.parametrize("value", [None, [], "", True])
def test_a_wrong_part_of_the_envelope_counts_as_absent(callback_of: Make, name: str, value: Any) -> None:
    assert schemas.load(schemas.ENVELOPE, callback_of() | {name: value})[name] == ""


@pytest.mark.parametrize("payload", [None, [], "text", 5, {"data": None}, {"data": []}])
def test_what_is_no_object_is_read_as_an_empty_one(payload: Any) -> None:
    assert schemas.load(schemas.ENVELOPE, payload)["data"] == {}
    assert schemas.load(schemas.MESSAGE, payload)["data"] == {"entities": {}}


def test_an_empty_text_is_a_text(message_of: Make) -> None:
    assert schemas.load(schemas.MESSAGE, message_of(data={"text": ""}))["data"]["text"] == ""


def test_ids_and_times_come_in_either_spelling(message_of: Make) -> None:
    loaded = schemas.load(schemas.MESSAGE, message_of(id=90430, sentAt="1767225690", updatedAt=1767225690.0))
    assert (loaded["id"], loaded["sentAt"], loaded["updatedAt"]) == ("90430", 1767225690, 1767225690)
    assert schemas.load(schemas.MESSAGE, message_of(sentAt="1767225690.25"))["sentAt"] == 1767225690.25


def test_the_receiver_type_is_read_in_any_case(message_of: Make) -> None:
    assert schemas.load(schemas.MESSAGE, message_of(receiverType="User"))["receiverType"] == "user"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("muid", 5),
        ("tags", "vip"),
        ("quotedMessage", "text"),
    ],
)
def test_an_optional_part_of_the_wrong_type_is_left_out(message_of: Make, name: str, value: Any) -> None:
    assert name not in schemas.load(schemas.MESSAGE, message_of() | {name: value})


@pytest.mark.parametrize("name", ["attachments", "mentions", "metadata", "moderation", "url"])
def test_wrongly_typed_data_field_is_dropped(message_of: Make, name: str) -> None:
    assert name not in schemas.load(schemas.MESSAGE, message_of(data={name: 7}))["data"]


def test_entries_of_a_list_that_do_not_fit_are_left_out(message_of: Make) -> None:
    loaded = schemas.load(
        schemas.MESSAGE, message_of(tags=["vip", 5, None], data={"attachments": [{"url": "u"}, {}, 3]})
    )
    assert loaded["tags"] == ["vip"]
    assert [attachment.url for attachment in loaded["data"]["attachments"]] == ["u"]


def test_unknown_key_cannot_replace_a_known_one(message_of: Make) -> None:
    loaded = schemas.load(schemas.MESSAGE, message_of(conversation_id="evil", sent_at="evil"))
    assert (loaded["conversationId"], loaded["sentAt"]) == ("helpdesk-bot_user_maria-k", 1767225690)


def test_a_user_snapshot_may_miss_everything_but_its_uid() -> None:
    user = schemas.find_user({"uid": "maria-k", "name": 5, "tags": ["a", 1], "extra": {"x": 1}})
    assert user is not None
    assert (user.uid, user.name, user.tags, user.raw["extra"]) == ("maria-k", "", ("a",), {"x": 1})
    assert schemas.find_user({"name": "Nobody"}) is None
    assert schemas.find_user("maria-k") is None


def test_group_snapshot_drops_invalid_fields() -> None:
    group = schemas.find_group({"guid": "ops", "type": "private", "membersCount": "9", "metadata": {"a": 1}, "icon": 5})
    assert group is not None
    assert (group.guid, group.type, group.members_count, group.metadata, group.icon) == (
        "ops",
        "private",
        9,
        {"a": 1},
        "",
    )
    assert schemas.find_group({"name": "Ops"}) is None
