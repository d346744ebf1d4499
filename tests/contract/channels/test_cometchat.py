"""The CometChat channel keeps the contract of channels: over HTTP with the simulator, in each way to send cards."""

from __future__ import annotations

import pytest

from cometbot.bot import Bot
from cometbot.context import Context
from cometbot.errors import BotError
from cometbot.models import User
from cometbot.presses import REFUSAL_TEXTS
from cometbot.testing import BotClient, Fake
from cometbot.testing.contract import ChannelContract
from cometbot.testing.contract.actions import ActionContract, add_decision
from cometbot.testing.contract.approvals import ApprovalContract
from cometbot.testing.contract.dialogs import DialogContract
from cometbot.testing.fakes.cometchat import CometChatFake


class TestCometChat(ChannelContract):
    def make_fake(self, bot: Bot) -> Fake:
        return CometChatFake(bot, sockets=True)


class TestCometChatInteractive(ChannelContract):
    def make_fake(self, bot: Bot) -> Fake:
        return CometChatFake(bot, rich="interactive")


class TestCometChatForms(ChannelContract):
    def make_fake(self, bot: Bot) -> Fake:
        return CometChatFake(bot, rich="interactive", card_buttons="url")


class TestCometChatCards(ChannelContract):
    def make_fake(self, bot: Bot) -> Fake:
        return CometChatFake(bot, rich="card")


class TestCometChatCardUrls(ActionContract, DialogContract, ApprovalContract):
    """The parts of the contract in which buttons occur, with buttons that call signed addresses.

    An address works once and ends with its button: the server refuses a call of it, and the bot does not answer.
    """

    def make_fake(self, bot: Bot) -> Fake:
        return CometChatFake(bot, rich="card", card_buttons="url")

    def test_button_that_counts_once_is_used_up(self, bot: Bot, client: BotClient) -> None:
        add_decision(bot, once=True)
        client.send("/refund")

        assert client.press("Approve").texts == ["maria decided 17: True"]
        before = client.said().texts
        with pytest.raises(BotError, match="ERR_BUTTON_USED"):
            client.press("Approve")
        assert client.said().texts == before
        assert client.press("Decline").texts == [REFUSAL_TEXTS["used"]]
        assert client.send("Approve").texts == [REFUSAL_TEXTS["used"]]
        assert client.send("hello").texts == ["echo hello"]

    def test_button_with_an_end_counts_again_until_then(self, bot: Bot, client: BotClient) -> None:
        add_decision(bot, expires="1h")
        client.send("/refund")

        client.advance("30m")
        assert client.press("Approve").texts == ["maria decided 17: True"]
        assert client.send("hello").texts == ["echo hello"]
        assert client.press("Decline").texts == ["maria decided 17: False"]
        client.advance("31m")
        before = client.said().texts
        with pytest.raises(BotError, match="ERR_BUTTON_EXPIRED"):
            client.press("Approve")
        assert client.said().texts == before
        assert client.send("Approve").texts == [REFUSAL_TEXTS["expired"]]

    def test_pressed_twice_at_once_counts_once(self, bot: Bot, client: BotClient) -> None:
        add_decision(bot, once=True)
        [asked] = client.send("/refund")

        def press_twice() -> None:
            client.fake.press(client._actor, asked, asked.offers[0])
            with pytest.raises(BotError, match="ERR_BUTTON_USED"):
                client.fake.press(client._actor, asked, asked.offers[0])

        assert client._act(press_twice).texts == ["maria decided 17: True"]


def test_handlers_get_role_tags_and_metadata_of_a_user() -> None:
    bot, seen = Bot("helpdesk"), list[User]()

    @bot.message("who am I")
    def remember(ctx: Context) -> None:
        seen.append(ctx.sender)

    ann = User("ann", "Ann", role="agent", tags=("vip",), metadata={"floor": 2})
    with BotClient(bot, user=ann, channel="cometchat") as client:
        client.send("who am I")
        client.in_group("team").send("who am I", mention=True)
    assert [(user.role, user.tags, user.metadata) for user in seen] == [("agent", ("vip",), {"floor": 2})] * 2
