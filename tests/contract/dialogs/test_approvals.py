"""Approvals: who decides, where, how an approval ends, and what becomes of its card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from cometbot import Approval, AskCancelled, Bot, Card, Context, Group, Message, NotDelivered, Text, User
from cometbot.approvals import APPROVALS_KEY
from cometbot.channels.base import MEMBER_TIMEOUT
from cometbot.errors import BotError, Rejected, Unreachable
from cometbot.models import Conversation
from cometbot.outgoing import Outgoing
from cometbot.store.tables import mailbox
from cometbot.testing import TEXT_ONLY, BotClient
from tests.contract.dialogs.conftest import check_nothing_left, delivery_of

ASKED = "Pay 30 €?"


def add_pay(bot: Bot, **options: object) -> None:
    """Add the command ``pay``, which asks for an approval, by default of the group managers."""
    given = {"to": Group("managers"), "timeout": "24h"} | options

    @bot.command
    def pay(ctx: Context) -> str:
        approval = ctx.approve(ASKED, {"Order": 4711}, **given)  # type: ignore[arg-type]
        return f"{approval.status} by {approval.by}"


@pytest.fixture
def client(bot: Bot) -> BotClient:
    return BotClient(bot)


@pytest.fixture
def tom(client: BotClient) -> BotClient:
    return client.as_user("tom", group="managers")


def test_members_of_a_group_decide(bot: Bot, client: BotClient, tom: BotClient) -> None:
    add_pay(bot)
    assert client.send("/pay").texts == []
    assert client.waiting is not None
    assert (client.waiting.kind, client.waiting.text) == ("approve", ASKED)
    [card] = tom.said()
    assert card.buttons == ["Approve", "Decline"]
    assert card.text.splitlines()[:5:2] == [ASKED, "Order: 4711", "Asked by Maria."]

    tom.press("Approve")

    assert client.said().texts == ["approved by Tom"]
    assert tom.said().texts == [f"{ASKED}\n\nOrder: 4711\n\nApproved by Tom."]
    check_nothing_left(client)


def test_approval_says_who_decided_and_when(bot: Bot, client: BotClient, tom: BotClient) -> None:
    found: list[Approval] = []

    @bot.command
    async def pay(ctx: Context) -> None:
        found.append(ctx.approve(ASKED, to=User("tom")))

    tom = client.as_user("tom")
    client.send("/pay")
    client.advance("1h")
    tom.press("Decline")

    [approval] = found
    assert not approval
    assert (approval.status, approval.by) == ("declined", User("tom", "Tom"))
    assert approval.at.timestamp() == pytest.approx(client._harness.database.now)


@pytest.mark.parametrize(
    ("options", "user", "answer"),
    [
        ({}, "maria", "You have asked for 1 yourself, so somebody else decides."),
        ({"by": ["MARIA", "tom"]}, "maria", "You have asked for 1 yourself, so somebody else decides."),
        ({"by": ["tom"]}, "ann", "You cannot decide about 1."),
        ({"by": [User("tom")]}, "ann", "You cannot decide about 1."),
        ({"by": ["Tom"], "own": True}, "maria", "You cannot decide about 1."),
    ],
)
def test_press_of_others_is_refused(
    bot: Bot, client: BotClient, tom: BotClient, options: dict[str, object], user: str, answer: str
) -> None:
    add_pay(bot, **options)
    client.send("/pay")
    other = client.as_user(user, group="managers")

    assert other.press("Approve").texts == [answer]
    assert client.said().texts == []
    tom.press("Approve")
    assert client.said().texts == ["approved by Tom"]


def test_own_lets_the_user_who_asks_decide(bot: Bot, client: BotClient) -> None:
    add_pay(bot, to=None, own=True)
    client.send("/pay")

    assert client.press("Approve").texts == ["approved by Maria"]


def test_press_waits_while_the_platform_cannot_say_who_is_a_member(
    bot: Bot, client: BotClient, tom: BotClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pay(bot)
    client.send("/pay")
    answers: list[Exception | None] = [Unreachable("gone"), Unreachable("gone")]

    def has_member(conversation: Conversation, user: User, *, timeout: float = MEMBER_TIMEOUT) -> bool:
        if answers and (error := answers.pop(0)) is not None:
            raise error
        return True

    monkeypatch.setattr(client.channel, "has_member", has_member)
    tom.press("Approve")
    assert client.said().texts == []

    client.advance("1m")
    assert client.said().texts == ["approved by Tom"]
    assert client.dead_letters == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"text": " "}, "expected a text that says what is to be approved"),
        ({"to": "managers"}, "to: expected a Group"),
        ({"by": "tom"}, "by: expected uids"),
        ({"by": []}, "by: expected uids"),
        ({"by": [7]}, "by: expected uids"),
        ({"by": (uid for uid in ["tom"])}, "by: expected uids"),
        ({"fields": ["Order"]}, "fields: expected a dict"),
        ({"to": Group("")}, "recipient: expected either a user or a group"),
        ({"timeout": "soon"}, "approve: timeout: expected a duration"),
        ({"timeout": 0}, "approve: timeout: expected a duration"),
        ({"to": None}, "nobody but the user who asks could decide"),
        ({"to": User("Maria")}, "nobody but the user who asks could decide"),
        ({"by": ["maria"]}, "nobody but the user who asks could decide"),
        (
            {"to": Group("managers", channel="cometchat")},
            "the channel 'cometchat' is not configured here; there is: fake",
        ),
    ],
)
def test_arguments_that_cannot_work_are_errors(
    bot: Bot, client: BotClient, arguments: dict[str, object], problem: str
) -> None:
    @bot.command
    def pay(ctx: Context) -> None:
        ctx.approve(**{"text": ASKED, "to": Group("managers")} | arguments)  # type: ignore[arg-type]

    with pytest.raises(BotError, match=problem):
        client.send("/pay")


def test_approval_expires(bot: Bot, client: BotClient, tom: BotClient) -> None:
    add_pay(bot)
    client.send("/pay")

    assert client.advance("23h").texts == []
    assert client.advance("1h").texts == ["expired by None"]
    assert tom.said().text.endswith("Expired: nobody has decided in time.")
    assert tom.send("approve 1").texts == ["1 is closed. Expired: nobody has decided in time."]
    check_nothing_left(client)


def test_press_of_an_old_button_says_what_became_of_it(bot: Bot, client: BotClient, tom: BotClient) -> None:
    add_pay(bot)
    client.send("/pay")
    [card] = tom.said()
    tom.press("Decline")

    client.fake.press(tom._actor, card, card.offers[0])
    assert tom.said().texts[1:] == ["1 is closed. Declined by Tom."]
    assert client.said().texts == ["declined by Tom"]


def test_forged_press_of_another_conversation_decides_nothing(bot: Bot, client: BotClient, tom: BotClient) -> None:
    add_pay(bot)
    client.send("/pay")
    [card] = tom.said()
    ann = client.as_user("ann")
    client.fake.press(ann._actor, card, card.offers[0])

    assert ann.said().texts == ["1 is closed."]
    assert client.said().texts == []


def test_where_buttons_are_text_word_and_number_decide(bot: Bot) -> None:
    client = BotClient(bot, capabilities=TEXT_ONLY)
    add_pay(bot)
    bot.fallback(lambda ctx: "What?")
    tom = client.as_user("tom", group="managers")
    client.send("/pay")
    [card] = tom.said()
    assert card.text.endswith("Write “approve 1” or “decline 1”.")

    for text in ("yes", "1", "2", "approve", "approve 2", "approve 11"):
        assert tom.send(text).texts == ["What?"]
    assert tom.send("APPROVE  #1", mention=True).texts == [f"{ASKED}\n\nOrder: 4711\n\nApproved by Tom."]
    assert client.said().texts == ["approved by Tom"]


def test_text_before_the_card_decides_nothing(bot: Bot, client: BotClient, tom: BotClient) -> None:
    add_pay(bot)
    client.fake.say(client._actor, "/pay")
    client.fake.say(tom._actor, "approve 1")

    assert client.said().texts == []
    assert tom.said()[0].buttons == ["Approve", "Decline"]
    tom.send("approve 1")
    assert client.said().texts == ["approved by Tom"]


def test_cancel_withdraws_the_newest_card(bot: Bot, client: BotClient, tom: BotClient) -> None:
    add_pay(bot)
    client.send("/pay")
    client.send("/pay")
    assert len(tom.state[APPROVALS_KEY]["open"]) == 2

    assert client.send("/cancel").texts == ["All right, cancelled."]
    assert [said.text.endswith("Withdrawn.") for said in tom.said()] == [False, True]
    tom.press("Approve")
    assert client.said().texts[-1] == "approved by Tom"
    check_nothing_left(client)


def test_cancel_ends_a_question_before_an_approval(bot: Bot, client: BotClient, tom: BotClient) -> None:
    add_pay(bot)

    @bot.command
    def name(ctx: Context) -> str:
        return ctx.ask("Your name?")

    client.send("/name")
    client.send("/pay")
    client.send("/cancel")

    assert len(tom.state[APPROVALS_KEY]["open"]) == 1
    client.send("/cancel")
    check_nothing_left(client)


def test_handler_may_answer_a_cancelled_approval(bot: Bot, client: BotClient, tom: BotClient) -> None:
    @bot.command
    def pay(ctx: Context) -> str:
        try:
            ctx.approve(ASKED, to=Group("managers"))
        except AskCancelled:
            return "Then not."
        return "Paid."

    client.send("/pay")
    assert client.send("/cancel").texts == ["Then not."]
    assert tom.said().text.endswith("Withdrawn.")


def test_question_after_an_approval_waits_for_another_dialog(bot: Bot, client: BotClient, tom: BotClient) -> None:
    @bot.command
    def pay(ctx: Context) -> str:
        ctx.approve(ASKED, to=Group("managers"))
        return f"Paid to {ctx.ask('Which account?')}."

    @bot.command
    def name(ctx: Context) -> str:
        return f"Hello {ctx.ask('Your name?')}."

    client.send("/pay")
    client.send("/name")
    tom.press("Approve")
    assert client.said().texts == ["Your name?"]

    assert client.send("Maria").texts == ["Hello Maria."]
    assert client.advance("30s").texts == ["Which account?"]
    assert client.send("17").texts == ["Paid to 17."]
    check_nothing_left(client)


def test_refused_card_raises_in_the_handler(bot: Bot) -> None:
    client = BotClient(bot, raise_errors=False)

    @bot.command
    def pay(ctx: Context) -> str:
        try:
            ctx.approve(ASKED, to=Group("managers"))
        except NotDelivered as error:
            return f"refused: {error}"
        return "Paid."

    client.channel.faults.append(Rejected("no such group", code="ERR_GUID_NOT_FOUND"))  # type: ignore[attr-defined]
    assert client.send("/pay").texts == ["refused: ERR_GUID_NOT_FOUND: no such group"]
    check_nothing_left(client)


def test_refused_card_of_the_own_conversation_raises_too(bot: Bot) -> None:
    client = BotClient(bot, raise_errors=False)

    @bot.command
    def pay(ctx: Context) -> str:
        try:
            return ctx.approve(ASKED, own=True).status
        except NotDelivered:
            return "refused"

    client.channel.faults.append(Rejected("no"))  # type: ignore[attr-defined]
    assert client.send("/pay").texts == ["refused"]
    check_nothing_left(client)


def test_what_is_said_around_an_approval_is_said_once(bot: Bot, client: BotClient, tom: BotClient) -> None:
    paid: list[str] = []

    @bot.command
    def pay(ctx: Context) -> str:
        sent = ctx.reply("One moment.")
        name = ctx.ask("For whom?")
        approval = ctx.approve(f"Pay {name}?", to=Group("managers"))
        ctx.reply(f"{approval.status}.")
        ctx.once(paid.append, name)
        sure = ctx.ask("By card?")
        again = ctx.approve(f"Really, {sure}?", to=Group("managers"))
        sent.edit("Done.")
        return f"{approval.status} and {again.status}"

    assert client.send("/pay").texts == ["One moment.", "For whom?"]
    client.send("Ann")
    tom.press("Approve")
    assert client.said().texts[2:] == ["approved.", "By card?"]
    client.send("yes")
    tom.press("Decline")

    assert client.said().texts == ["Done.", "For whom?", "approved.", "By card?", "approved and declined"]
    assert tom.said().texts == ["Pay Ann?\n\nApproved by Tom.", "Really, yes?\n\nDeclined by Tom."]
    assert paid == ["Ann"]
    check_nothing_left(client)


def test_dialog_goes_on_in_the_next_process(bot: Bot, client: BotClient, tom: BotClient) -> None:
    add_pay(bot)
    client.send("/pay")
    client.restart()
    tom.press("Approve")

    assert client.said().texts == ["approved by Tom"]


def as_pay(function: Callable[[Context], object]) -> Callable[[Context], object]:
    """Give a handler the name that all versions of the command have in the tests about changed code."""
    function.__name__ = function.__qualname__ = "pay"
    return function


def other_code() -> Bot:
    bot = Bot("helpdesk")

    @bot.command
    @as_pay
    def other(ctx: Context) -> str:
        ctx.once(str)
        return ctx.approve("Another text?", to=Group("managers")).status

    return bot


def test_changed_code_withdraws_an_open_card(bot: Bot, client: BotClient, tom: BotClient) -> None:
    @bot.command
    @as_pay
    def pay(ctx: Context) -> str:
        return ctx.approve(ASKED, to=Group("managers"), timeout="1h").status

    client.send("/pay")
    client.restart(other_code())

    assert client.advance("1h").texts == [bot.restart_text]
    assert tom.said().texts == ["This request was withdrawn."]
    assert client.dead_letters == []
    check_nothing_left(client)


@pytest.mark.parametrize("is_stored", [True, False], ids=["stored", "just-decided"])
def test_changed_code_with_a_decision_is_a_dead_letter(bot: Bot, is_stored: bool) -> None:
    client = BotClient(bot, raise_errors=False)
    tom = client.as_user("tom", group="managers")

    @bot.command
    @as_pay
    def pay(ctx: Context) -> str:
        ctx.approve(ASKED, to=Group("managers"))
        return ctx.ask("Which account?")

    client.send("/pay")
    if is_stored:
        tom.press("Approve")
    client.restart(other_code())
    if is_stored:
        client.send("17")
    else:
        tom.press("Approve")

    assert client.said().texts[-1] == bot.restart_text
    [letter] = client.dead_letters
    assert "step 1: {'status': 'approved', 'by': {'uid': 'tom'" in letter.error
    check_nothing_left(client)


@pytest.mark.parametrize("edits", [True, False], ids=["edit", "text"])
def test_replay_of_the_opening_withdraws_the_card(bot: Bot, edits: bool) -> None:
    client = BotClient(bot) if edits else BotClient(bot, capabilities=TEXT_ONLY)
    tom = client.as_user("tom", group="managers")
    add_pay(bot)
    client.send("/pay")
    delivery_of(client).replay("m1")
    client.advance(1)

    assert sorted(text.partition("\n")[0] for text in tom.said().texts) == [
        *([ASKED] if edits else [ASKED, ASKED]),
        "This request was withdrawn.",
    ]
    tom.send("approve 1")
    assert client.said().texts == ["approved by Tom"]


def test_discarded_dead_letter_withdraws_the_card(bot: Bot) -> None:
    client = BotClient(bot, raise_errors=False)
    tom = client.as_user("tom", group="managers")

    @bot.command
    @as_pay
    def pay(ctx: Context) -> str:
        return ctx.approve(ASKED, to=Group("managers"), timeout="1h").status

    client.send("/pay")
    broken = Bot("helpdesk")

    @broken.command
    @as_pay
    def other(ctx: Context) -> None:
        raise ValueError("broken")

    client.restart(broken)
    client.advance("1h")
    [letter] = client.dead_letters
    assert tom.said()[0].buttons == ["Approve", "Decline"]
    delivery_of(client).dead_letters.discard(letter.id)
    client.advance(1)

    assert tom.said().texts == ["This request was withdrawn."]
    check_nothing_left(client)


def test_failed_handler_keeps_the_decision(bot: Bot) -> None:
    client = BotClient(bot, raise_errors=False)
    tom = client.as_user("tom", group="managers")
    errors = [ValueError("broken")]

    @bot.command
    def pay(ctx: Context) -> str:
        approval = ctx.approve(ASKED, to=Group("managers"))
        if errors:
            raise errors.pop()
        return f"{approval.status} by {approval.by}"

    client.send("/pay")
    tom.press("Approve")
    assert client.said().texts == [bot.error_text]
    assert tom.said().text.endswith("Approved by Tom.")

    [letter] = client.dead_letters
    assert delivery_of(client).retry(letter.id)
    assert client.said().texts[1:] == ["approved by Tom"]
    assert len(tom.said()) == 1


def test_pressed_button_in_the_mailbox_is_one_row(bot: Bot, client: BotClient, tom: BotClient) -> None:
    """The press and what it reports to the dialog are one commit; both rows are done afterwards."""
    add_pay(bot)
    client.send("/pay")
    tom.press("Approve")

    with client._harness.database.read() as connection:
        found = connection.execute(sa.select(mailbox.c.event_key, mailbox.c.state).order_by(mailbox.c.seq)).all()
    assert [tuple(row) for row in found][2:] == [("cometbot:event:m1.0.0", "done")]


def test_outgoing_middleware_changes_card_and_outcome(bot: Bot, client: BotClient, tom: BotClient) -> None:
    add_pay(bot)

    @bot.outgoing
    def redact(message: Message, outgoing: Outgoing) -> Message:
        if isinstance(message, Card):
            return replace(message, title="Pay ***?")
        return Text(message.to_text().replace("30", "***"))

    client.send("/pay")
    assert client.waiting is not None
    assert client.waiting.text == "Pay ***?"
    tom.press("Approve")
    assert tom.said().texts == ["Pay *** €?\n\nOrder: 4711\n\nApproved by Tom."]


def test_outcome_that_outgoing_middleware_drops_is_one_line(bot: Bot, client: BotClient, tom: BotClient) -> None:
    add_pay(bot)
    bot.outgoing(lambda message, outgoing: message if isinstance(message, Card) else None)
    client.send("/pay")
    client.advance("24h")

    assert tom.said().texts == ["Expired: nobody has decided in time."]
    check_nothing_left(client)


def test_card_that_outgoing_middleware_drops_is_an_error(bot: Bot, client: BotClient) -> None:
    add_pay(bot)
    bot.outgoing(lambda message, outgoing: None)

    with pytest.raises(BotError, match="outgoing middleware dropped"):
        client.send("/pay")


def test_platform_of_a_test_stands_for_the_channel_of_the_approvers(bot: Bot) -> None:
    client = BotClient(bot, also=["cometchat"])
    add_pay(bot, to=Group("managers", channel="cometchat"))
    client.send("/pay")
    client.restart()
    client.as_user("tom", group="managers").press("Approve")

    assert client.said().texts == ["approved by Tom"]
