"""The part of the contract about approvals: a card is decided by a user of the channel, and shows its outcome."""

from __future__ import annotations

import pytest

from cometbot.approvals import APPROVALS_KEY
from cometbot.bot import Bot
from cometbot.channels.base import Channel
from cometbot.context import Context
from cometbot.messages import Capabilities, Card
from cometbot.models import User
from cometbot.testing.client import BotClient
from cometbot.testing.contract.base import ContractBase

_ASKED = "Pay 30 € to Maria?"


class ApprovalContract(ContractBase):
    """Tests of a bot that asks a user, or the members of a group, to approve something."""

    @pytest.fixture
    def approval_bot(self, bot: Bot, client: BotClient) -> Bot:
        """Return the bot with the command ``refund``, which asks tom, and a fallback."""

        @bot.command
        def refund(ctx: Context) -> str:
            tom = User(client.fake.uid(User("tom")))
            approval = ctx.approve(_ASKED, {"Order": 4711}, to=tom, timeout="2h")
            return f"{approval.status} by {approval.by.uid if approval.by else 'nobody'}"

        @bot.fallback
        def echo(ctx: Context) -> str:
            return f"echo {ctx.text}"

        return bot

    @pytest.fixture
    def tom(self, approval_bot: Bot, client: BotClient) -> BotClient:
        """Return a client for tom, who has written to the bot before."""
        tom = client.as_user("tom")
        tom.send("hello")
        return tom

    @pytest.fixture
    def tom_uid(self, client: BotClient, tom: BotClient) -> str:
        """Return the platform's uid of tom."""
        return client.fake.uid(tom.user)

    @pytest.mark.parametrize(("button", "status"), [("Approve", "approved"), ("Decline", "declined")])
    def test_card_is_decided_and_shows_its_outcome(
        self, client: BotClient, tom: BotClient, tom_uid: str, capabilities: Capabilities, button: str, status: str
    ) -> None:
        client.send("/refund")
        [card] = tom.said()[1:]
        for part in (_ASKED, "Order: 4711", "Asked by"):
            assert part in card.text

        tom.press(button)

        assert client.said()[-1].text == f"{status} by {tom_uid}"
        assert status.capitalize() in tom.said()[-1].text
        assert len(tom.said()[1:]) == (1 if capabilities.can_edit(Card("A card")) else 2)

    def test_text_decides_with_word_and_number_only(self, client: BotClient, tom: BotClient, tom_uid: str) -> None:
        client.send("/refund")
        [number] = tom.state[APPROVALS_KEY]["open"]

        for text in ("yes", "1", number, "approve", f"approve {number} please", f"approve {int(number) + 1}"):
            assert tom.send(text).texts == [f"echo {text}"]
        tom.send(f"Approve {number}.")

        assert client.said()[-1].text == f"approved by {tom_uid}"

    def test_second_decision_is_answered_with_the_first(self, client: BotClient, tom: BotClient) -> None:
        client.send("/refund")
        [number] = tom.state[APPROVALS_KEY]["open"]
        tom.press("Decline")
        before = client.said().texts

        assert tom.send(f"approve {number}").text.startswith(f"{number} is closed. Declined by ")
        assert client.said().texts == before

    def test_the_user_who_asks_cannot_decide(self, client: BotClient, tom: BotClient) -> None:
        client.send("/refund")
        [number] = tom.state[APPROVALS_KEY]["open"]

        assert client.send(f"approve {number}").texts == [f"echo approve {number}"]

    def test_card_expires(self, client: BotClient, tom: BotClient) -> None:
        client.send("/refund")

        assert client.advance(7300).texts == ["expired by nobody"]
        assert "Expired" in tom.said()[-1].text

    def test_cancel_withdraws_the_card(self, client: BotClient, tom: BotClient) -> None:
        client.send("/refund")

        assert client.send("/cancel").texts == ["All right, cancelled."]
        assert "Withdrawn" in tom.said()[-1].text
        assert tom.state[APPROVALS_KEY]["open"] == {}

    def test_the_user_who_asked_goes_on_meanwhile(self, client: BotClient, tom: BotClient) -> None:
        client.send("/refund")

        assert client.send("hello").texts == ["echo hello"]
        tom.press("Approve")
        assert client.said()[-1].text.startswith("approved by ")

    def test_members_of_a_group_decide(self, bot: Bot, client: BotClient, group_client: BotClient) -> None:
        @bot.command
        def pay(ctx: Context) -> str:
            return ctx.approve(_ASKED, to=ctx.conversation_with(group=client.fake.guid("ops-room"))).status

        tom = client.as_user("tom", group="ops-room")
        tom.send("hello")
        client.send("/pay")
        tom.press("Approve")

        assert client.said()[-1].text == "approved"

    def test_a_group_approves_what_a_member_asks_there(self, bot: Bot, group_client: BotClient) -> None:
        @bot.command
        def pay(ctx: Context) -> str:
            return ctx.approve(_ASKED).status

        tom = group_client.as_user("tom", group="ops-room")
        group_client.send("/pay")
        [number] = group_client.state[APPROVALS_KEY]["open"]

        assert "yourself" in group_client.send(f"approve {number}").text
        tom.press("Decline")
        assert tom.said()[-1].text == "declined"

    def test_member_who_left_cannot_decide(self, bot: Bot, client: BotClient, group_client: BotClient) -> None:
        if type(client.channel).has_member is Channel.has_member:
            pytest.skip("this channel cannot tell who has left a group")

        @bot.command
        def pay(ctx: Context) -> str:
            return ctx.approve(_ASKED, to=ctx.conversation_with(group=client.fake.guid("ops-room"))).status

        tom, ann = client.as_user("tom", group="ops-room"), client.as_user("ann", group="ops-room")
        for member in (tom, ann):
            member.send("hello")
        client.send("/pay")
        [number] = ann.state[APPROVALS_KEY]["open"]
        client.fake.say(tom._actor, f"approve {number}")  # stored, not handled yet
        client.fake.remove_member(tom._actor)

        assert ann.said().texts[-1] == f"Only members can decide about {number}."
        assert client.said().texts == []
        ann.press("Approve")
        assert client.said().texts == ["approved"]

    def test_users_of_a_conversation_are_its_members(self, bot: Bot, client: BotClient) -> None:
        for user in ("maria", "tom"):
            client.as_user(user).send("hello")
        maria, tom = (User(client.fake.uid(User(user))) for user in ("maria", "tom"))

        assert client.channel.has_member(client.conversation, maria)
        assert not client.channel.has_member(client.conversation, tom)

    def test_writers_in_a_group_are_its_members(self, bot: Bot, group_client: BotClient) -> None:
        group_client.send("hello")
        maria = User(group_client.fake.uid(group_client.user, "ops-room"))

        assert group_client.channel.has_member(group_client.conversation, maria)
