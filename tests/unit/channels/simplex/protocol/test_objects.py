"""The reader of the CLI's objects: paths, required fields, and what a wrong type does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest

from cometbot.channels.simplex.protocol.objects import (
    CliObject,
    Id,
    Tag,
    find,
    find_list,
    find_object,
    is_object,
    read_object,
)
from cometbot.errors import PayloadError


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel(CliObject):
    wheel_id: Id
    name: Annotated[str, "label", "meta.label"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cart(CliObject):
    cart_id: Annotated[Id, "meta.cartId"]
    wheel: Annotated[Wheel, "meta.wheel"]
    spare: Wheel | None = None
    state: Annotated[Tag | None, "meta.state"] = None
    is_locked: Annotated[bool, is_object, "lock"] = False
    wheel_count: int = 4


META = {"cartId": 3, "wheel": {"wheelId": 1, "label": "left"}}


def test_fields_are_read_at_their_paths_and_the_object_is_kept() -> None:
    raw = {"meta": {**META, "state": "new"}, "spare": {"wheelId": 2}, "lock": {}, "wheelCount": 2, "more": 1}
    found = read_object(Cart, raw)
    assert found == Cart(
        cart_id=3,
        wheel=Wheel(wheel_id=1, name="left"),
        spare=Wheel(wheel_id=2),
        state="new",
        is_locked=True,
        wheel_count=2,
    )
    assert found.raw is raw


@pytest.mark.parametrize("wrong", [None, "4", True, 4.0, [], {}])
def test_optional_field_of_a_wrong_type_keeps_its_default(wrong: object) -> None:
    assert read_object(Cart, {"meta": META, "wheelCount": wrong}).wheel_count == 4


def test_first_valid_path_counts() -> None:
    assert read_object(Wheel, {"wheelId": 1, "label": 5, "meta": {"label": "right"}}).name == "right"
    assert read_object(Wheel, {"wheelId": 1, "label": "left", "meta": {"label": "right"}}).name == "left"


def test_invalid_optional_object_is_left_out() -> None:
    assert read_object(Cart, {"meta": META, "spare": {"wheelId": 0}}).spare is None


@pytest.mark.parametrize(
    ("raw", "paths"),
    [
        ({"meta": {"wheel": {"wheelId": "1"}}}, ["meta.cartId", "meta.wheel.wheelId"]),
        ({"meta": {"cartId": 1, "wheel": 5}}, ["meta.wheel"]),
        ({"meta": 5}, ["meta"]),
        ({}, ["meta"]),
        ([], ["_schema"]),
    ],
)
def test_faults_of_required_fields_are_named_by_their_paths(raw: object, paths: list[str]) -> None:
    with pytest.raises(PayloadError, match="another shape") as error:
        read_object(Cart, raw)
    assert list(error.value.details) == paths
    assert paths[0] in str(error.value)


def test_finders_return_nothing_where_a_part_is_missing() -> None:
    raw = {"chat": {"items": [1], "info": {"type": "direct"}}}
    assert (find(raw, "chat.info.type"), find(raw, "chat.items.type"), find(5, "chat")) == ("direct", None, None)
    assert (find_object(raw, "chat.info"), find_object(raw, "chat.items")) == ({"type": "direct"}, {})
    assert (find_list(raw, "chat.items"), find_list(raw, "chat.info")) == ([1], [])
