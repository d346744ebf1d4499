"""What must be there, what may be missing, and what is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cometbot.channels.cometchat import schemas
from cometbot.errors import PayloadError

Make = Callable[..., dict[str, Any]]

ENVELOPE = ["trigger", "data", "appId", "bot"]
MESSAGE = [
    "id", "conversationId", "sender", "receiverType", "receiver", "category", "type", "data", "sentAt", "updatedAt",
]  # fmt: skip


def details_of(payload: object) -> dict[str, list[str]]:
    with pytest.raises(PayloadError) as caught:
        schemas.load(schemas.CALLBACK, payload)
    return dict(caught.value.details)


def test_the_sample_payload_loads_with_every_key_kept(sample: dict[str, Any]) -> None:
    loaded = schemas.load(schemas.CALLBACK, sample)
    assert loaded["origin"] == sample["origin"]
    assert loaded["data"]["data"]["resource"] == sample["data"]["data"]["resource"]
    assert loaded["data"]["id"] == "712"


@pytest.mark.parametrize("name", ENVELOPE)
@pytest.mark.parametrize("value", [None, [], "", True])
def test_a_wrong_part_of_the_envelope_is_named(callback_of: Make, name: str, value: Any) -> None:
    assert name in details_of(callback_of() | {name: value})


@pytest.mark.parametrize("name", ENVELOPE)
def test_a_missing_part_of_the_envelope_is_named(callback_of: Make, name: str) -> None:
    payload = callback_of()
    del payload[name]
    assert list(details_of(payload)) == [name]


@pytest.mark.parametrize("name", MESSAGE)
@pytest.mark.parametrize("value", [None, [], True, -1.5])
def test_a_wrong_part_of_the_message_is_named_by_its_path(
    callback_of: Make, message_of: Make, name: str, value: Any
) -> None:
    assert f"data.{name}" in details_of(callback_of(message_of() | {name: value}))


@pytest.mark.parametrize("name", MESSAGE)
def test_a_missing_part_of_the_message_is_named_by_its_path(callback_of: Make, message_of: Make, name: str) -> None:
    message = message_of()
    del message[name]
    assert list(details_of(callback_of(message))) == [f"data.{name}"]


def test_every_wrong_path_is_in_the_details_at_once(callback_of: Make, message_of: Make) -> None:
    details = details_of(callback_of(message_of(id=None, receiverType="room"), appId=5.5))
    assert set(details) == {"appId", "data.id", "data.receiverType"}
    assert details["data.receiverType"] == ["Must be one of: user, group."]


def test_a_text_message_needs_its_text(callback_of: Make, message_of: Make) -> None:
    assert list(details_of(callback_of(message_of(data={"text": 5})))) == ["data.data.text"]
    message = message_of()
    del message["data"]["text"]
    assert list(details_of(callback_of(message))) == ["data.data.text"]


def test_an_empty_text_is_a_text(message_of: Make) -> None:
    assert schemas.load(schemas.MESSAGE, message_of(data={"text": ""}))["data"]["text"] == ""


@pytest.mark.parametrize("message_id", ["\x00", "a\nb", "", "x" * 256])
def test_an_id_that_cannot_stand_in_a_key_is_refused(callback_of: Make, message_of: Make, message_id: str) -> None:
    assert list(details_of(callback_of(message_of(id=message_id)))) == ["data.id"]


def test_ids_and_times_come_in_either_spelling(message_of: Make) -> None:
    loaded = schemas.load(schemas.MESSAGE, message_of(id=90430, sentAt="1767225690", updatedAt=1767225690.0))
    assert (loaded["id"], loaded["sentAt"], loaded["updatedAt"]) == ("90430", 1767225690, 1767225690)


@pytest.mark.parametrize("value", [1e40, -1, float("inf"), "soon", "1" * 30])
def test_a_time_that_cannot_be_is_refused(callback_of: Make, message_of: Make, value: Any) -> None:
    assert list(details_of(callback_of(message_of(sentAt=value)))) == ["data.sentAt"]


def test_the_receiver_type_is_read_in_any_case(message_of: Make) -> None:
    assert schemas.load(schemas.MESSAGE, message_of(receiverType="User"))["receiverType"] == "user"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("muid", 5),
        ("parentId", {}),
        ("tags", "vip"),
        ("quotedMessage", "text"),
        ("editedAt", "never"),
    ],
)
def test_an_optional_part_of_the_wrong_type_is_left_out(message_of: Make, name: str, value: Any) -> None:
    assert name not in schemas.load(schemas.MESSAGE, message_of() | {name: value})


@pytest.mark.parametrize("name", ["attachments", "mentions", "metadata", "moderation", "entities", "url"])
def test_an_optional_part_of_the_inner_data_of_the_wrong_type_is_left_out(message_of: Make, name: str) -> None:
    assert name not in schemas.load(schemas.MESSAGE, message_of(data={name: 7}))["data"]


def test_entries_of_a_list_that_do_not_fit_are_left_out(message_of: Make) -> None:
    loaded = schemas.load(
        schemas.MESSAGE, message_of(tags=["vip", 5, None], data={"attachments": [{"url": "u"}, {}, 3]})
    )
    assert loaded["tags"] == ["vip"]
    assert [attachment.url for attachment in loaded["data"]["attachments"]] == ["u"]


def test_an_unknown_key_cannot_take_the_place_of_a_known_one(message_of: Make) -> None:
    loaded = schemas.load(schemas.MESSAGE, message_of(conversation_id="evil", sent_at="evil"))
    assert (loaded["conversationId"], loaded["sentAt"]) == ("helpdesk-bot_user_maria-k", 1767225690)


def test_a_user_snapshot_may_miss_everything_but_its_uid() -> None:
    user = schemas.find_user({"uid": "maria-k", "name": 5, "tags": ["a", 1], "extra": {"x": 1}})
    assert user is not None
    assert (user.uid, user.name, user.tags, user.raw["extra"]) == ("maria-k", "", ("a",), {"x": 1})
    assert schemas.find_user({"name": "Nobody"}) is None
    assert schemas.find_user("maria-k") is None


def test_a_group_snapshot_keeps_what_fits() -> None:
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


@pytest.mark.parametrize("payload", [[], "text", None, 5])
def test_what_is_no_object_is_refused_without_a_path(payload: Any) -> None:
    assert list(details_of(payload)) == ["body"]
