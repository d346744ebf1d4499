"""Approvals: what counts as a decision, and who may make it."""

from __future__ import annotations

import pytest

from cometbot.approvals import (
    Approval,
    ApprovalCard,
    ApprovalRequest,
    OpenApproval,
    find_objection,
    find_open,
    read_vote,
)
from cometbot.events import ActionEvent
from cometbot.messages import APPROVAL_ACTION
from cometbot.models import Conversation, User
from cometbot.quick_replies import serialize_quick_replies
from cometbot.steps import DialogId
from tests.unit.conftest import DIRECT, MARIA, message

OPEN = OpenApproval(17, DialogId("m12"), 3, "test/app/helpdesk/r", ["maria"], ["tom"], own=False, after=9, card=[0, 1])


@pytest.mark.parametrize("text", ["approve 17", "Approve 17", " APPROVE #17. ", "approve  17!"])
def test_word_with_number_is_a_decision(text: str) -> None:
    vote = read_vote(message(text), text)
    assert vote is not None
    assert (vote.number, vote.status, vote.is_button) == (17, "approved", False)


@pytest.mark.parametrize(
    "text",
    ["", "yes", "17", "1", "approve", "approve it 17", "approve 17 now", "approve ١٧", "approve -1", "approved 17"],
)
def test_any_other_text_is_no_decision(text: str) -> None:
    assert read_vote(message(text), text) is None


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (f"{APPROVAL_ACTION}17", "decline 17", (17, "declined")),
        (f"{APPROVAL_ACTION}17", "yes", None),
        ("buy", "approve 17", None),
    ],
)
def test_button_is_a_decision_by_its_value(name: str, value: str, expected: tuple[int, str] | None) -> None:
    event = ActionEvent(key="press:1", conversation=DIRECT, sender=MARIA, name=name, value=value)
    vote = read_vote(event, "")
    assert (vote and (vote.number, vote.status)) == expected


@pytest.mark.parametrize(("sequence", "is_found"), [(9, False), (10, True)])
def test_message_before_the_card_is_no_decision(sequence: int, is_found: bool) -> None:
    stored = {"open": {"17": OPEN.to_json()}}
    assert find_open(stored, 17, sequence) == (OPEN if is_found else None)
    assert find_open(stored, 18, sequence) is None
    assert find_open(None, 17, sequence) is None


@pytest.mark.parametrize(
    ("user", "may"),
    [
        (User("TOM"), True),
        (User("other", lasting_id="tom"), True),
        (User("ann"), False),
        (User("Maria"), False),
        (User("new", lasting_id="maria"), False),
    ],
)
def test_only_named_users_but_the_asker_decide(user: User, may: bool) -> None:
    assert (find_objection(OPEN, user) == "") is may


def test_card_is_stored_as_json() -> None:
    conversation = Conversation("fake", "test", "helpdesk", "group_managers", "managers", is_group=True)
    card = ApprovalCard(17, conversation, ["tom"], [{"op": "edit"}], edits=True, thread="t1")
    assert ApprovalCard.from_json(card.to_json()) == card


def test_card_has_no_quick_replies_and_no_bare_numbers_as_text() -> None:
    card = ApprovalRequest("Refund?", {"Order": 4711}).make_card(17, "Asked by Maria.")
    assert card.to_text() == "Refund?\n\nOrder: 4711\n\nAsked by Maria.\n\nWrite “approve 17” or “decline 17”."
    assert serialize_quick_replies([card]) == []


@pytest.mark.parametrize(("status", "is_true"), [("approved", True), ("declined", False), ("expired", False)])
def test_approval_is_true_if_it_is_approved(status: str, is_true: bool) -> None:
    assert bool(Approval(status, None, None)) is is_true  # type: ignore[arg-type]
