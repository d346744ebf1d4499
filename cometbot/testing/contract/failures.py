"""The part of the contract about failures: nothing is lost, doubled or reordered."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from cometbot.bot import Bot
from cometbot.channels.base import IncomingEvent
from cometbot.delivery import Delivery
from cometbot.errors import DeliveryError, PayloadError
from cometbot.events import UnknownEvent
from cometbot.messages import Capabilities
from cometbot.models import User
from cometbot.store.factory import database_from_url
from cometbot.testing.client import BotClient
from cometbot.testing.contract.base import ContractBase, add_echo_handler, reply_with, wait_until
from cometbot.testing.fakes.base import Actor, Fake, Unsupported

TRANSIENT_FAULTS: tuple[Literal["rate_limited", "failed", "unreachable"], ...] = (
    "rate_limited",
    "failed",
    "unreachable",
)
INVALID_BODIES = (b"", b"\x00", b"\xff\xfe", b"null", b"[]", b"{}", b'{"data": 1}', b"[" * 5000, b'"text"')


class FailureContract(ContractBase):
    """Tests for bursts of messages, redeliveries and failing requests."""

    def test_many_messages_at_once_are_answered_in_their_order(self, bot: Bot, client: BotClient) -> None:
        add_echo_handler(bot)
        actor = Actor(client.user)
        for number in range(30):
            client.fake.say(actor, f"message {number}")

        assert client.said().texts == [f"echo message {number}" for number in range(30)]

    def test_redelivered_message_is_answered_once(self, bot: Bot, client: BotClient) -> None:
        add_echo_handler(bot)
        client.send("hello")
        try:
            client.fake.repeat()
        except Unsupported:
            pytest.skip("this platform never delivers twice")

        assert client.said().texts == ["echo hello"]
        assert client.send("next").texts == ["echo next"]

    @pytest.mark.parametrize("fault", TRANSIENT_FAULTS)
    def test_a_reply_that_fails_arrives_later_and_once(self, bot: Bot, client: BotClient, fault: Any) -> None:
        add_echo_handler(bot)
        _misbehave(client, fault)
        client.send("hello")
        client.advance(300)

        assert client.said().texts == ["echo hello"]
        assert client.send("next").texts == ["echo next"]

    @pytest.mark.parametrize("fault", TRANSIENT_FAULTS)
    def test_later_replies_wait_for_one_that_fails(self, bot: Bot, client: BotClient, fault: Any) -> None:
        add_echo_handler(bot)
        _misbehave(client, fault, fault)
        for number in range(3):
            client.fake.say(Actor(client.user), f"message {number}")
        client.advance(300)

        assert client.said().texts == [f"echo message {number}" for number in range(3)]

    def test_reply_with_lost_response_is_not_doubled(
        self, bot: Bot, client: BotClient, capabilities: Capabilities
    ) -> None:
        add_echo_handler(bot)
        _misbehave(client, "failed_after_acting")
        client.send("hello")
        client.advance(300)

        times = len(client.said())
        assert set(client.said().texts) == {"echo hello"}
        assert times == 1 if capabilities.look_up else times <= 2

    def test_refused_reply_is_a_dead_letter(self, bot: Bot, client: BotClient) -> None:
        add_echo_handler(bot)
        _misbehave(client, "refused")
        with pytest.raises(DeliveryError):
            client.send("hello")

        assert client.send("next").texts == ["echo next"]
        assert [letter.is_reply for letter in client.dead_letters] == [True]

    def test_a_text_over_the_limit_arrives_in_parts_and_whole(
        self, bot: Bot, client: BotClient, text_limit: int
    ) -> None:
        words = [f"wörd{number}👍" for number in range(text_limit * 5 // 2 // 13)]

        reply_with(bot, " ".join(words))
        replies = client.send("tell me all")

        assert " ".join(replies.texts).split() == words
        assert len(replies) >= 2
        assert max(len(text.encode()) for text in replies.texts) <= text_limit

    def test_a_text_without_spaces_over_the_limit_arrives_whole(
        self, bot: Bot, client: BotClient, text_limit: int
    ) -> None:
        text = "é" * text_limit

        reply_with(bot, text)
        assert "".join(client.send("tell me all").texts) == text

    def test_a_nul_in_a_text_harms_nobody(self, bot: Bot, client: BotClient) -> None:
        reply_with(bot, lambda ctx: f"a\0b {ctx.text}")
        said = client.send("c").text

        assert said.startswith("a")
        assert said.endswith("b c")

    def test_text_with_nul_does_not_block_the_next(self, bot: Bot, client: BotClient) -> None:
        add_echo_handler(bot)
        client.send("a\0b")

        assert client.send("next").texts == ["echo next"]

    @pytest.mark.parametrize("body", INVALID_BODIES, ids=range(len(INVALID_BODIES)))
    def test_a_body_that_is_no_message_is_refused_or_unknown(self, client: BotClient, body: bytes) -> None:
        try:
            event = client.channel.parse(IncomingEvent(client.conversation, "message:odd", body, "maria"))
        except PayloadError:
            return
        assert isinstance(event, UnknownEvent)

    def test_threads_answer_many_conversations_each_in_its_order(self, bot: Bot, tmp_path: Path) -> None:
        add_echo_handler(bot)
        fake = self.make_fake(bot)
        store = database_from_url(f"sqlite:///{tmp_path}/contract.db")
        fake.use_database(store)
        delivery = Delivery([bot], [fake.channel], store, threads=4)
        try:
            fake.attach(delivery)
            delivery.start()
            actors = [Actor(User(f"user{number}", f"User {number}")) for number in range(5)]
            for number in range(4):
                for actor in actors:
                    fake.say(actor, f"message {number}")
            fake.wait_idle()
            wait_until(lambda: len(fake.said()) >= 20)
            assert [_texts(fake, actor) for actor in actors] == [[f"echo message {n}" for n in range(4)]] * 5
        finally:
            delivery.close()
            fake.close()

    def test_a_channel_says_what_it_is(self, client: BotClient, capabilities: Capabilities) -> None:
        channel, uid = client.channel, client.fake.uid
        maria = client.conversation

        assert channel.name
        assert channel.account
        assert maria != client.as_user("tom").conversation
        assert channel.conversation(client.bot, user=uid(client.user)) == maria
        assert capabilities.text_limit >= 100
        assert channel.is_bot(uid(client.user)) is False

    def test_a_group_is_another_conversation_than_a_user_of_its_name(
        self, client: BotClient, group_client: BotClient
    ) -> None:
        group = group_client.in_group("maria").conversation

        assert group != client.conversation
        assert client.channel.conversation(client.bot, group=client.fake.guid("maria")) == group


def _misbehave(client: BotClient, *faults: Any) -> None:
    try:
        client.fake.misbehave(*faults)
    except Unsupported:
        pytest.skip("this fake does not support the fault")


def _texts(fake: Fake, actor: Actor) -> list[str]:
    here = fake.conversation(actor).id
    return [said.text for said in fake.said() if said.conversation.id == here]
