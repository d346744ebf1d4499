"""The part of the contract about messages: texts, cards, buttons and threads arrive, or fall back to text."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from cometbot import streaming
from cometbot.bot import Bot
from cometbot.channels.base import Channel
from cometbot.context import Context
from cometbot.errors import BotError, MessageError
from cometbot.events import ActionEvent, DeleteEvent, EditEvent, Event, MembershipEvent, ReactionEvent
from cometbot.messages import (
    Button,
    Capabilities,
    Card,
    Carousel,
    Choice,
    Choices,
    Custom,
    Field,
    Form,
    Location,
    Media,
    Message,
    Text,
)
from cometbot.models import Conversation, User
from cometbot.testing.client import BotClient
from cometbot.testing.contract.base import ContractBase, add_echo_handler, reply_with
from cometbot.testing.fakes.base import Unsupported
from cometbot.testing.replies import Replies, SentMessage

TEXTS = (
    "hello",
    "two\nlines\n\nand a third",
    "Grüße, 你好, שלום, مرحبا",
    "👩🏽‍💻 family: 👨‍👩‍👧‍👦, flag: 🇪🇺, combining: e\u0301",
    "**bold** _it_ `code` <b>&amp;</b> \\ \" ' {}",
)
"""Texts that must arrive unchanged in both directions."""

_TEA = Card("Tea", "Green", "https://example.com/tea.png", [Button("Buy tea", "buy", "tea")])
_CAKE = Card("Cake", buttons=[Button("Buy cake", "buy", "cake"), Button("Recipe", url="https://example.com/cake")])
_COLOURS = Choices("Which colour?", ["Red", "Blue"], "colour")
_FORM = Form(
    "Sign up", [Field("name", "Your name"), Field("size", "Size", "select", [Choice("Small", "S"), "L"])], "signed"
)

MESSAGES: tuple[tuple[Message, tuple[str, ...]], ...] = (
    (Text("plain **bold**"), ("plain **bold**",)),
    (Media("https://example.com/a/photo.jpg", caption="A photo"), ("https://example.com/a/photo.jpg", "A photo")),
    (Media("https://example.com/song.mp3"), ("https://example.com/song.mp3",)),
    (Media("https://example.com/film.mp4"), ("https://example.com/film.mp4",)),
    (Media("https://example.com/paper.pdf", name="Paper.pdf"), ("https://example.com/paper.pdf", "Paper.pdf")),
    (_TEA, ("Tea", "Green", "https://example.com/tea.png", "Buy tea")),
    (Carousel([_TEA, _CAKE]), ("Tea", "Cake", "Buy tea", "Buy cake", "Recipe", "https://example.com/cake")),
    (_COLOURS, ("Which colour?", "Red", "Blue")),
    (Location(52.52, 13.405, "Berlin"), ("52.52", "13.405", "Berlin")),
    (_FORM, ("Sign up", "Your name", "Size", "Small")),
    (Custom("poll", {"question": "Tea?"}, "A poll: Tea?"), ("A poll: Tea?",)),
)
"""Each type of message, with the parts of it that a reader must see, natively or as text."""


class MessagingContract(ContractBase):
    """Tests for messages and events in both directions."""

    @pytest.mark.parametrize("text", TEXTS)
    def test_a_text_is_answered_and_both_arrive_as_they_are(self, bot: Bot, client: BotClient, text: str) -> None:
        received: list[str] = []

        @bot.fallback
        def answer(ctx: Context) -> str:
            received.append(ctx.text)
            return text

        assert client.send(text).texts == [text]
        assert received == [text]

    @pytest.mark.parametrize(
        ("message", "parts"), MESSAGES, ids=[f"{type(message).__name__}-{n}" for n, (message, _) in enumerate(MESSAGES)]
    )
    def test_every_kind_of_message_is_shown_or_falls_back_to_text(
        self, bot: Bot, client: BotClient, capabilities: Capabilities, message: Message, parts: tuple[str, ...]
    ) -> None:
        reply_with(bot, message)
        replies = client.send("show me")

        assert replies, "nothing arrived"
        assert [part for part in parts if part not in _all_text(replies)] == []
        if type(message) not in capabilities.native:
            assert {type(said.message) for said in replies} == {Text}

    @pytest.mark.parametrize("message", [_TEA, Carousel([_TEA, _CAKE]), _COLOURS, _FORM])
    def test_fallback_text_is_readable_without_markdown(self, bot: Bot, client: BotClient, message: Message) -> None:
        reply_with(bot, message)
        text = client.send("show me").text

        assert not re.search(r"[*_]", text)
        assert not re.search(r"[^\n]\n[^\n]", text), "a client may show a single line break as a space"

    def test_several_replies_arrive_in_their_order(self, bot: Bot, client: BotClient) -> None:
        @bot.fallback
        def answer(ctx: Context) -> list[str]:
            ctx.reply("one")
            ctx.reply("two")
            return ["three", "four"]

        assert client.send("count").texts == ["one", "two", "three", "four"]

    @pytest.mark.parametrize("answer", ["Dark blue", 2])
    def test_an_offered_choice_is_taken_by_label_or_number(
        self, bot: Bot, client: BotClient, answer: str | int
    ) -> None:
        _offer(bot)
        client.send("ask")

        assert client.choose(answer).texts == ["colour=navy"]

    @pytest.mark.parametrize("text", ["Dark blue", "dark  BLUE", "navy", "2", "2."])
    def test_an_offered_choice_is_taken_by_writing_it(self, bot: Bot, client: BotClient, text: str) -> None:
        _offer(bot)
        client.send("ask")

        assert client.send(text).texts == ["colour=navy"]

    def test_a_form_is_filled_in(self, bot: Bot, client: BotClient) -> None:
        @bot.message("join")
        def join(ctx: Context) -> Form:
            return _FORM

        @bot.action("signed")
        def signed(ctx: Context) -> str:
            return f"{ctx.values['name']} takes {ctx.values['size']}"

        client.send("join")

        assert client.fill(name="Maria Keller", size="Small").texts == ["Maria Keller takes S"]

    def test_who_writes_is_known(self, bot: Bot, client: BotClient) -> None:
        reply_with(bot, lambda ctx: f"{ctx.sender.uid} {ctx.sender.name} {ctx.conversation.is_direct}")
        tom = User("tom", name="Tom Berger")

        assert client.as_user(tom).send("hi").texts == [f"{client.fake.uid(tom)} {client.fake.known_name(tom)} True"]

    def test_one_to_one_nobody_else_reads_the_answer(self, bot: Bot, client: BotClient) -> None:
        add_echo_handler(bot)
        client.send("secret")

        assert not client.said_elsewhere()
        assert not client.as_user("tom").said()

    def test_in_a_group_the_answer_goes_to_the_group(
        self, bot: Bot, client: BotClient, group_client: BotClient
    ) -> None:
        @bot.fallback
        def answer(ctx: Context) -> str:
            assert ctx.event.group is not None
            return f"{ctx.event.group.guid} {ctx.conversation.is_group}"

        assert group_client.send("hi all").texts == [f"{client.fake.guid('ops-room')} True"]
        assert not client.said()
        assert client.as_user("tom").in_group("ops-room").said().texts == [f"{client.fake.guid('ops-room')} True"]

    def test_a_mention_of_the_bot_is_recognised(self, bot: Bot, group_client: BotClient) -> None:
        reply_with(bot, lambda ctx: f"{ctx.is_mentioned}: {ctx.text}")

        assert group_client.send("what is up?", mention=True).texts == ["True: what is up?"]
        assert group_client.send("what is up?").texts == ["False: what is up?"]

    def test_a_file_comes_with_its_kind_and_where_to_load_it(self, bot: Bot, client: BotClient) -> None:
        @bot.message()
        def answer(ctx: Context) -> str:
            assert ctx.message is not None
            file = ctx.attachments[0]
            return f"{ctx.message.type} {file.name} {bool(urlsplit(file.url).scheme)} {ctx.text}"

        picture = b"\x89PNG\r\n\x1a\n"
        assert client.send_image(picture, name="photo.png", caption="look").texts == ["image photo.png True look"]
        assert client.send_file(b"%PDF", name="paper.pdf").texts == ["file paper.pdf True "]

    def test_message_in_a_thread_is_answered_in_it(
        self, bot: Bot, client: BotClient, capabilities: Capabilities
    ) -> None:
        add_echo_handler(bot)
        client.send("root")
        root = client.message_id
        if not capabilities.threads:
            assert client.send("after it")[0].thread_id == ""
            return

        assert client.send("in it", thread=root)[0].thread_id == root
        assert client.send("outside")[0].thread_id == ""

    def test_a_reply_may_quote_what_it_answers(self, bot: Bot, client: BotClient) -> None:
        @bot.fallback
        def answer(ctx: Context) -> None:
            ctx.reply("that", quote=True)

        assert client.send("this").texts == ["that"]

    def test_what_was_said_can_be_changed_or_is_said_anew(
        self, bot: Bot, client: BotClient, capabilities: Capabilities
    ) -> None:
        @bot.fallback
        def answer(ctx: Context) -> None:
            ctx.reply("working").edit("done")

        assert client.send("go").texts == (["done"] if capabilities.edit else ["working", "done"])

    def test_reply_can_be_deleted_or_the_bot_gets_an_error(
        self, bot: Bot, client: BotClient, capabilities: Capabilities
    ) -> None:
        @bot.fallback
        def answer(ctx: Context) -> None:
            sent = ctx.reply("oops")
            ctx.reply("fine")
            sent.delete()

        if capabilities.delete:
            assert client.send("go").texts == ["fine"]
            return
        with pytest.raises(BotError, match="cannot delete"):
            client.send("go")

    def test_reaction_is_added_or_the_bot_gets_an_error(
        self, bot: Bot, client: BotClient, capabilities: Capabilities
    ) -> None:
        @bot.fallback
        def answer(ctx: Context) -> None:
            ctx.react("👍")

        if capabilities.react:
            assert not client.send("nice")
            assert client.fake.reactions(client.message_id) == ["👍"]
            return
        with pytest.raises(BotError, match="react"):
            client.send("nice")

    def test_stream_ends_as_one_message_at_the_allowed_rate(
        self, bot: Bot, client: BotClient, capabilities: Capabilities
    ) -> None:
        words = [f"word{number} " for number in range(200)]

        @bot.fallback
        def answer(ctx: Context) -> None:
            ctx.stream(words)

        replies = client.send("tell me")

        assert replies.text.strip() == "".join(words).strip()
        assert len(replies) == 1
        if capabilities.stream_interval:
            assert len(replies[0].versions) <= 3, "200 words in no time: the first, the last, and one between at most"

    def test_status_is_shown_for_a_moment_or_not_at_all(
        self, bot: Bot, client: BotClient, capabilities: Capabilities, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shown: list[str] = []
        kind = type(client.channel)
        show = kind.set_status

        def set_status(channel: Channel, conversation: Conversation, text: str) -> None:
            shown.append(text)
            show(channel, conversation, text)

        monkeypatch.setattr(kind, "set_status", set_status)

        @bot.fallback
        def answer(ctx: Context) -> str:
            for text in ("searching…", "half \ud83d", "two\nlines", "", "long " * 1000):
                ctx.status(text)
            return "found"

        replies = client.send("search")

        assert replies.texts == ["found"]
        assert client.said().texts == ["found"]
        expected = ["searching…", "half \ufffd", "two lines", "", ("long " * 1000)[:200]]
        assert shown == (expected if capabilities.status else [])

    def test_stop_keeps_what_a_stream_has_said(self, bot: Bot, client: BotClient, capabilities: Capabilities) -> None:
        said_beside: list[str] = []

        @bot.fallback
        def answer(ctx: Context) -> None:
            def parts() -> Iterator[str]:
                yield "one "
                said_beside.extend(client.send("/stop").texts)
                yield "two"

            ctx.stream(parts())

        client.advance("2h")  # the leases of before have ended
        replies = client.send("tell me")

        assert said_beside == [bot.stop_text]
        assert sorted(text.strip() for text in replies.texts) == sorted(["one", bot.stop_text or ""])
        assert client.send("/stop").texts == [bot.nothing_to_stop_text]

    def test_streamed_text_is_sent_at_most_twice(
        self, bot: Bot, client: BotClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        words = [f"word{number} " for number in range(1500)]
        minutes = itertools.count(0, 60)
        monkeypatch.setattr(streaming, "time", SimpleNamespace(monotonic=lambda: next(minutes)))

        @bot.fallback
        def answer(ctx: Context) -> None:
            ctx.stream(words)

        replies = client.send("tell me")

        text = "".join(words)
        sent = [version for reply in replies for version in (reply.versions or (reply.text,))]
        assert sum(map(len, sent)) <= 2 * len(text)
        assert "".join(replies.text.split()) == "".join(text.split())

    def test_history_holds_both_sides_in_order(self, bot: Bot, client: BotClient, capabilities: Capabilities) -> None:
        seen: list[str] = []

        @bot.message("recall")
        def recall(ctx: Context) -> None:
            seen.extend(event.text for event in ctx.history(3))

        add_echo_handler(bot)
        client.send("hello")
        client.send("recall")

        assert seen == (["hello", "echo hello", "recall"] if capabilities.history else [])

    def test_the_bot_writes_first(self, bot: Bot, client: BotClient) -> None:
        client.send("I am here")
        bot.send(user=client.fake.uid(client.user), text="Your order is out.")

        assert client.said().texts == ["Your order is out."]

    def test_the_bot_writes_to_a_group_first(self, bot: Bot, client: BotClient, group_client: BotClient) -> None:
        group_client.send("We are here")
        bot.send(group=client.fake.guid("ops-room"), text="Stock is low.")

        assert client.said(group="ops-room").texts == ["Stock is low."]

    def test_the_channel_names_a_conversation_as_its_events_do(
        self, bot: Bot, client: BotClient, capabilities: Capabilities
    ) -> None:
        clients = [client, *([client.in_group("ops-room")] if capabilities.groups else [])]
        seen: list[object] = []

        @bot.fallback
        def answer(ctx: Context) -> None:
            seen.append(ctx.conversation)

        for each in clients:
            each.send("hi")

        assert seen == [each.conversation for each in clients]

    @pytest.mark.parametrize("act", ["edit", "delete", "react", "join", "leave"])
    def test_what_else_users_do_comes_as_the_right_event_if_they_can(
        self, bot: Bot, client: BotClient, capabilities: Capabilities, act: str
    ) -> None:
        received: list[Any] = []
        add_echo_handler(bot)

        @bot.event(EditEvent, DeleteEvent, ReactionEvent, MembershipEvent)
        def hear(ctx: Context) -> None:
            received.append(ctx.event)

        client.send("hello")
        if capabilities.groups:
            client.as_user("tom", group="ops-room").send("hello")
        acts: dict[str, tuple[Callable[[], Replies], type[Event]]] = {
            "edit": (lambda: client.edit("goodbye"), EditEvent),
            "delete": (client.delete, DeleteEvent),
            "react": (lambda: client.react("🎉"), ReactionEvent),
            "join": (lambda: client.join("ops-room"), MembershipEvent),
            "leave": (lambda: client.as_user("tom").leave("ops-room"), MembershipEvent),
        }
        do, expected = acts[act]
        received.clear()
        try:
            do()
        except Unsupported:
            assert received == []
            return

        assert [type(event) for event in received] == [expected]
        _check_event(received[0], client)

    def test_long_text_is_cut_between_grapheme_clusters(self, bot: Bot, client: BotClient, text_limit: int) -> None:
        flag = "🇩🇪"

        reply_with(bot, flag * (text_limit // 5))
        texts = client.send("tell me all").texts

        assert len(texts) >= 2
        assert all(text == flag * (len(text) // 2) for text in texts)

    def test_code_block_over_the_limit_is_closed_and_opened_again(
        self, bot: Bot, client: BotClient, text_limit: int
    ) -> None:
        reply_with(bot, "```python\n" + "    return 1\n" * (text_limit // 8) + "```")
        texts = client.send("tell me all").texts

        assert len(texts) >= 2
        assert all(text.startswith("```python\n    return 1\n") and text.endswith("\n```") for text in texts)

    def test_lone_surrogate_in_a_reply_is_replaced(self, bot: Bot, client: BotClient) -> None:
        half, expected = "half \ud83d end", "half \ufffd end"
        button = Button(half, value=half)
        messages = [
            Text(half, metadata={"key": half}),
            Card(half, half, buttons=[button]),
            Carousel([Card(half, half, buttons=[button])]),
            Choices(half, [half, "other"]),
            Location(1, 2, half, half),
            Media("https://example.com/a.bin", "file", name=half, caption=half),
            Form(half, [Field("name", half)], action="send"),
            Custom("note", {"text": half}, text=half),
        ]

        @bot.command("bad")
        def bad(ctx: Context, number: int) -> Message:
            ctx.state["half"] = half
            return messages[number]

        for number in range(len(messages)):
            assert expected in client.send(f"/bad {number}").text
        assert client.dead_letters == []

    def test_character_that_is_cut_within_a_stream_arrives_whole(self, bot: Bot, client: BotClient) -> None:
        @bot.fallback
        def answer(ctx: Context) -> None:
            ctx.stream(["whole \ud83d", "\ude00 half \ud83d", " end"])

        assert client.send("hi").text == "whole 😀 half \ufffd end"

    def test_reply_over_a_million_characters_is_refused_at_once(self, bot: Bot, client: BotClient) -> None:
        @bot.command("reply")
        def reply(ctx: Context) -> str:
            return "word " * 20_000_000

        @bot.command("card")
        def card(ctx: Context) -> Card:
            return Card("title", "word " * 20_000_000)

        @bot.command("stream")
        def stream(ctx: Context) -> None:
            ctx.stream(itertools.repeat("word " * 1000))

        for name in ("reply", "card", "stream"):
            begun = time.process_time()
            with pytest.raises(MessageError, match="at most 1000000 characters"):
                client.send(f"/{name}")
            assert time.process_time() - begun < 10
        assert client.send("/help").text


def _check_event(event: Any, client: BotClient) -> None:
    if isinstance(event, EditEvent):
        assert (event.message.id, event.message.text) == (client.message_id, "goodbye")
    elif isinstance(event, DeleteEvent):
        assert event.message_id == client.message_id
    elif isinstance(event, ReactionEvent):
        assert (event.message_id, event.reaction, event.added) == (client.said()[-1].id, "🎉", True)
    else:
        who = User({"joined": "maria", "added": "maria", "left": "tom"}[event.action])
        assert [member.uid for member in event.members] == [client.fake.uid(who, "ops-room")]
        assert event.conversation == client.in_group("ops-room").conversation


def _offer(bot: Bot) -> None:
    @bot.message("ask")
    def ask(ctx: Context) -> Choices:
        return Choices("Which colour?", ["Red", Choice("Dark blue", "navy")], "colour")

    @bot.action("colour")
    def chosen(ctx: Context) -> str:
        assert isinstance(ctx.event, ActionEvent)
        return f"{ctx.event.name}={ctx.value}"


def _all_text(replies: Replies) -> str:
    return "\n".join(_text(said) for said in replies)


def _text(said: SentMessage) -> str:
    """Return all readable parts of a message, including those that a platform shows in separate fields."""
    data = str(said.message.data) if isinstance(said.message, Custom) else ""
    links = " ".join(said.links.values())
    return f"{said.text} {links} {data}"
