"""The contract notices what it is there to notice: each way to break a channel fails the test that is about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cometbot import Bot, CometbotError, Conversation, Event, MessageEvent, Rejected, Text
from cometbot.channels.base import IncomingEvent, OutgoingRequest
from cometbot.errors import OutcomeUnknown, PayloadError
from cometbot.messages import Media, Operation
from cometbot.testing import (
    EVERYTHING,
    TEXT_ONLY,
    Actor,
    BotClient,
    Fake,
    FakeChannel,
    MemoryFake,
    SentMessage,
    Unsupported,
    UserMessage,
)
from cometbot.testing.contract import ChannelContract
from cometbot.testing.contract.messaging import MESSAGES

CONTRACT = ChannelContract()


class Ascii(FakeChannel):
    def render(self, operation: Operation) -> list[dict[str, Any]]:
        if isinstance(operation.message, Text):
            text = operation.message.text.encode("ascii", "replace").decode()
            operation = replace(operation, message=Text(text))
        return super().render(operation)


class FirstPartOnly(FakeChannel):
    def render(self, operation: Operation) -> list[dict[str, Any]]:
        return super().render(operation)[:1]


class Uncut(FakeChannel):
    def render(self, operation: Operation) -> list[dict[str, Any]]:
        told = self.capabilities
        self.capabilities = replace(told, text_limit=10**6)
        try:
            return super().render(operation)
        finally:
            self.capabilities = told


class ShowsWhatItSaysItCannot(FakeChannel):
    def render(self, operation: Operation) -> list[dict[str, Any]]:
        told, self.capabilities = self.capabilities, EVERYTHING
        try:
            return super().render(operation)
        finally:
            self.capabilities = told


class WithoutThreads(FakeChannel):
    def render(self, operation: Operation) -> list[dict[str, Any]]:
        return [{**part, "thread_id": ""} for part in super().render(operation)]


class DropsAllButSends(FakeChannel):
    def perform(self, sending: OutgoingRequest) -> str:
        return super().perform(sending) if sending.payload["op"] == "send" else ""


class Blind(FakeChannel):
    def find_sent(self, sending: OutgoingRequest, *, timeout: float) -> str | None:
        return None


class Pessimist(FakeChannel):
    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        try:
            return super().send(sending, timeout=timeout)
        except CometbotError as error:
            raise Rejected("failed") from error


class Optimist(FakeChannel):
    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        try:
            return super().send(sending, timeout=timeout)
        except Rejected as error:
            raise OutcomeUnknown("failed") from error


class Forgetful(FakeChannel):
    def incoming(self, bot: Bot, text: str = "", **more: Any) -> IncomingEvent:
        made = super().incoming(bot, text, **more)
        return replace(made, conversation=replace(made.conversation, id=made.conversation.id.upper()))


class ToEverybody(FakeChannel):
    def conversation(self, bot: Bot, *, user: str = "", group: str = "") -> Conversation:
        return replace(super().conversation(bot, user="all"), target=user or group)


class Credulous(FakeChannel):
    def parse(self, incoming: IncomingEvent) -> Event:
        try:
            return super().parse(incoming)
        except PayloadError:
            return super().parse(replace(incoming, body=b'{"id": "1", "user": "maria", "text": ""}'))


class Deaf(FakeChannel):
    def parse(self, incoming: IncomingEvent) -> Event:
        event = super().parse(incoming)
        return replace(event, mentions=(), attachments=(), text="") if isinstance(event, MessageEvent) else event


class WithoutAddresses(FakeChannel):
    def render(self, operation: Operation) -> list[dict[str, Any]]:
        if isinstance(operation.message, Media):
            operation = replace(operation, message=Text(f"[a file] {operation.message.caption}"))
        return super().render(operation)


class Careless(FakeChannel):
    def download(self, url: str) -> bytes:
        return b"another file"


class Backwards(FakeChannel):
    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        return super().history(conversation, limit)[::-1]


class BackwardsFake(MemoryFake):
    def said(self) -> list[SentMessage]:
        return super().said()[::-1]


class StutteringFake(MemoryFake):
    def repeat(self) -> None:
        assert self._last is not None
        self._enqueue(replace(self._last, key=f"{self._last.key}-again"))


class MuddledFake(MemoryFake):
    def edit(self, actor: Actor, message_id: str, text: str) -> None:
        self.delete(actor, message_id)


class WideFake(MemoryFake):
    """Tells that it streams every hour, and then shows each word."""

    def said(self) -> list[SentMessage]:
        return [replace(said, versions=said.versions * 5) for said in super().said()]


def with_channel(kind: type[FakeChannel], **capabilities: Any) -> Callable[[Bot], Fake]:
    def make(bot: Bot) -> Fake:
        fake = MemoryFake(bot)
        fake._channel = kind(replace(EVERYTHING, **capabilities))
        return fake

    return make


def with_text_only(kind: type[FakeChannel]) -> Callable[[Bot], Fake]:
    def make(bot: Bot) -> Fake:
        fake = MemoryFake(bot)
        fake._channel = kind(TEXT_ONLY)
        return fake

    return make


CARD = MESSAGES[5]

BROKEN: list[tuple[Callable[[Bot], Fake], str, tuple[Any, ...]]] = [
    (with_channel(Ascii), "a_text_is_answered_and_both_arrive_as_they_are", ("Grüße",)),
    (with_channel(Deaf), "a_text_is_answered_and_both_arrive_as_they_are", ("hello",)),
    (with_channel(Deaf), "a_mention_of_the_bot_is_recognised", ()),
    (with_text_only(ShowsWhatItSaysItCannot), "every_kind_of_message_is_shown_or_falls_back_to_text", CARD),
    (with_channel(FirstPartOnly), "a_text_over_the_limit_arrives_in_parts_and_whole", ()),
    (with_channel(FirstPartOnly), "a_text_without_spaces_over_the_limit_arrives_whole", ()),
    (with_channel(Uncut), "a_text_over_the_limit_arrives_in_parts_and_whole", ()),
    (with_channel(WithoutThreads), "message_in_a_thread_is_answered_in_it", ()),
    (with_channel(DropsAllButSends), "what_was_said_can_be_changed_or_is_said_anew", ()),
    (with_channel(DropsAllButSends), "reply_can_be_deleted_or_the_bot_gets_an_error", ()),
    (with_channel(DropsAllButSends), "reaction_is_added_or_the_bot_gets_an_error", ()),
    (with_channel(DropsAllButSends), "stream_ends_as_one_message_at_the_allowed_rate", ()),
    (with_channel(Blind), "reply_with_lost_response_is_not_doubled", ()),
    (with_channel(Pessimist), "a_reply_that_fails_arrives_later_and_once", ("failed",)),
    (with_channel(Pessimist), "later_replies_wait_for_one_that_fails", ("rate_limited",)),
    (with_channel(Optimist), "refused_reply_is_a_dead_letter", ()),
    (with_channel(Forgetful), "the_channel_names_a_conversation_as_its_events_do", ()),
    (with_channel(ToEverybody), "in_a_group_the_answer_goes_to_the_group", ()),
    (with_channel(ToEverybody), "one_to_one_nobody_else_reads_the_answer", ()),
    (with_channel(Credulous), "a_body_that_is_no_message_is_refused_or_unknown", (b"null",)),
    (with_channel(Backwards), "history_holds_both_sides_in_order", ()),
    (with_channel(WithoutAddresses), "a_picture_from_bytes_arrives_as_it_is", ()),
    (with_channel(Careless), "a_file_of_a_user_is_read_byte_by_byte", ()),
    (BackwardsFake, "several_replies_arrive_in_their_order", ()),
    (BackwardsFake, "many_messages_at_once_are_answered_in_their_order", ()),
    (StutteringFake, "redelivered_message_is_answered_once", ()),
    (MuddledFake, "what_else_users_do_comes_as_the_right_event_if_they_can", ("edit",)),
]


def run(make_fake: Callable[[Bot], Fake], name: str, arguments: tuple[Any, ...]) -> None:
    """Call one test of the contract as pytest would."""
    bot = Bot("contract")
    test = getattr(CONTRACT, f"test_{name}")
    names = test.__code__.co_varnames[1 : test.__code__.co_argcount]
    with BotClient(bot, channel=make_fake) as client:
        group_client, capabilities = client.in_group("ops-room"), client.channel.capabilities
        given = {
            "bot": bot,
            "client": client,
            "group_client": group_client,
            "capabilities": capabilities,
            "text_limit": capabilities.text_limit,
        }
        extra = iter(arguments)
        test(**{item: given[item] if item in given else next(extra) for item in names})


@pytest.mark.parametrize(
    ("make_fake", "name", "arguments"), BROKEN, ids=[f"{n}-{row[1]}" for n, row in enumerate(BROKEN)]
)
def test_a_broken_channel_fails_the_test_that_is_about_it(
    make_fake: Callable[[Bot], Fake], name: str, arguments: tuple[Any, ...]
) -> None:
    run(MemoryFake, name, arguments)

    with pytest.raises((AssertionError, CometbotError, pytest.fail.Exception)):
        run(make_fake, name, arguments)


def test_a_stream_that_is_faster_than_the_platform_allows_fails() -> None:
    name = "stream_ends_as_one_message_at_the_allowed_rate"

    def hasty(bot: Bot) -> Fake:
        fake = WideFake(bot)
        fake._channel = FakeChannel(replace(EVERYTHING, stream_interval=3600.0))
        return fake

    with pytest.raises(AssertionError, match="one between at most"):
        run(hasty, name, ())


def test_a_contract_without_a_fake_says_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="make_fake"):
        CONTRACT.make_fake(Bot("contract"))


class Bare(Fake):
    """A platform that has only what every platform must have."""

    def __init__(self, bot: Bot) -> None:
        super().__init__(bot)
        self._inner = MemoryFake(bot, TEXT_ONLY)
        self.attach, self.said = self._inner.attach, self._inner.said  # type: ignore[method-assign]

    @property
    def channel(self) -> FakeChannel:
        return self._inner.channel

    def attach(self, delivery: Any) -> None: ...

    def said(self) -> list[SentMessage]:
        return []

    def send(self, actor: Actor, message: UserMessage) -> str:
        return self._inner.send(actor, message)


@pytest.mark.parametrize("act", ["edit", "delete", "react", "join", "leave"])
def test_what_a_platform_has_nothing_for_need_not_be_there(act: str) -> None:
    run(Bare, "what_else_users_do_comes_as_the_right_event_if_they_can", (act,))


@pytest.mark.parametrize("name", ["redelivered_message_is_answered_once", "later_replies_wait_for_one_that_fails"])
def test_what_a_fake_cannot_do_is_skipped_with_its_reason(name: str) -> None:
    with pytest.raises(pytest.skip.Exception):
        run(Bare, name, ("failed",))


def test_a_fake_says_what_its_users_cannot_do() -> None:
    fake = Bare(Bot("contract"))
    with BotClient(fake.bot, channel=lambda bot: fake) as client:
        actor, said = Actor(client.user), SentMessage("1", client.conversation, Text("x"))
        for act in (
            lambda: fake.press(actor, said, None),  # type: ignore[arg-type]
            lambda: fake.submit(actor, said, {}),
            lambda: fake.react(actor, "1", "👍"),
            lambda: fake.reactions("1"),
            lambda: fake.deliver(None),  # type: ignore[arg-type]
            lambda: fake.misbehave("failed"),
        ):
            with pytest.raises(Unsupported):
                act()
        fake.wait_idle()
        fake.close()
        assert fake.upload("a.png", b"", "image/png") == "https://files.example/a.png"
