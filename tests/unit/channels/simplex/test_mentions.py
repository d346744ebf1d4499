"""Mentions go out as SimpleX spells them."""

from __future__ import annotations

import pytest

from cometbot.channels.simplex.mentions import has_mentions, make_member_finder, resolve_mentions
from cometbot.channels.simplex.models import Member, Profile
from cometbot.channels.simplex.protocol.contents import text_content

MEMBERS = [
    Member(group_member_id=11, member_id="Ym9i", profile=Profile(display_name="bob")),
    Member(group_member_id=12, member_id="Y2Fyb2w=", contact_id=4, profile=Profile(display_name="Carol C")),
    Member(group_member_id=13, member_id="b3RoZXI=", profile=Profile(display_name="bob")),
    Member(group_member_id=14, member_id="b2RkMQ==", name="odd_1", profile=Profile(display_name="o'hara")),
]


@pytest.mark.parametrize(
    ("text", "expected", "mentioned"),
    [
        ("<@uid:member-Ym9i> look", "@bob look", {"bob": 11}),
        ("<@uid:4>!", "@'Carol C'!", {"Carol C": 12}),
        ("<@uid:member-Y2Fyb2w=>", "@'Carol C'", {"Carol C": 12}),
        ("<@uid:member-Ym9i> and <@uid:member-b3RoZXI=>", "@bob and @bob", {"bob": 11}),
        ("<@uid:member-b2RkMQ==>", "@o'hara", {}),
        ("<@uid:99>", "@99", {}),
        ("nobody", "nobody", {}),
    ],
)
def test_uids_become_names_and_the_members_that_they_mean(text: str, expected: str, mentioned: dict[str, int]) -> None:
    content, members = resolve_mentions(text_content(text), make_member_finder(MEMBERS))

    assert (content["text"], members) == (expected, mentioned)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"text": "a <@uid:4> b"}, True),
        ({"text": "<@uid:>"}, False),
        ({"text": "@bob"}, False),
        ({"type": "file"}, False),
    ],
)
def test_a_content_is_only_touched_where_it_names_somebody(content: dict[str, str], expected: bool) -> None:
    assert has_mentions(content) is expected
