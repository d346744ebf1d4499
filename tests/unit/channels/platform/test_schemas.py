"""The bodies of requests."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot.channels.platform import schemas
from cometbot.channels.platform.errors import ApiError


def test_field_names_match_in_any_case_and_unknown_are_dropped() -> None:
    given = {"CHATID": "c", "Body": None, "attachmentids": ["a", "b", "a"], "stranger": {}}

    assert schemas.load(schemas.MessageBody, given) == {
        "chatId": "c",
        "body": "",
        "attachmentIds": ["a", "b"],
        "clientId": "",
    }


@pytest.mark.parametrize(("given", "ids"), [("a,b", ["a", "b"]), ("", []), ([], []), (["a,b"], ["a,b"])])
def test_ids_are_a_list_or_in_forms_a_text_with_commas(given: Any, ids: list[str]) -> None:
    assert schemas.load(schemas.MessageBody, {"attachmentIds": given})["attachmentIds"] == ids


def test_nothing_at_all_is_a_body_without_fields() -> None:
    assert schemas.load(schemas.TitleBody, None) == {"title": ""}
    assert schemas.load(schemas.CommandBody, None, many=True) == []


@pytest.mark.parametrize(
    ("schema", "given", "says"),
    [
        (schemas.UserBody, [], "the body must be an object"),
        (schemas.UserBody, {"nickname": 5}, "nickname must be a text"),
        (schemas.MessageBody, {"attachmentIds": 5}, "attachmentIds must be a list of texts"),
        (schemas.PageMessageBody, {"action": 5}, "action must be an object"),
        (schemas.PageMessageBody, {"action": {"name": []}}, "action.name must be a text"),
        (schemas.PageMessageBody, {"action": {"values": []}}, "action.values must be an object with at most"),
        (schemas.PageMessageBody, {"action": {"values": {"a": 1}}}, "action.values must be an object with at most"),
        (schemas.PageMessageBody, {"action": {"values": {"a": "x" * 5000}}}, "action.values must not have texts of"),
    ],
)
def test_a_wrong_type_is_refused_by_name(schema: Any, given: Any, says: str) -> None:
    with pytest.raises(ApiError) as caught:
        schemas.load(schema, given)
    assert caught.value.status == 400
    assert caught.value.message.startswith(says)
