"""The part of the contract about streams: whole, broken off, endless and slow ones, from plain and async sources."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from cometbot.bot import Bot
from cometbot.context import Context
from cometbot.delivery import Delivery
from cometbot.errors import BotError, MessageError
from cometbot.messages import Capabilities
from cometbot.models import User
from cometbot.store.factory import database_from_url
from cometbot.testing.client import BotClient
from cometbot.testing.contract.base import ContractBase, wait_until
from cometbot.testing.fakes.base import Actor

SourceKind = Literal["plain", "async", "plain handler with async source"]

SOURCE_KINDS: tuple[SourceKind, ...] = ("plain", "async", "plain handler with async source")
"""A plain handler with a plain source, an async handler with an async source, and a plain handler with an async one."""

_HALF = ["The answer ", "is a long ", "one, "]
_MARKED = "The answer is a long one, … (broken off)"


class Lost(Exception):
    """What a source raises."""


class Source:
    """A source of pieces with a pause before each but the first. It knows if it was closed before its end."""

    def __init__(self, pieces: Iterable[Any], pause: float = 0.0) -> None:
        self.is_closed = False
        self.given = 0
        self._pieces = pieces
        self._pause = pause

    def __iter__(self) -> Iterator[Any]:
        for piece in self._pieces:
            if self._pause and self.given:
                time.sleep(self._pause)
            self.given += 1
            yield piece

    def close(self) -> None:
        """Remember that the source was closed."""
        self.is_closed = True


class AsyncSource:
    """The same as an async iterable."""

    def __init__(self, pieces: Iterable[Any], pause: float = 0.0) -> None:
        self.is_closed = False
        self.given = 0
        self._pieces = pieces
        self._pause = pause

    async def __aiter__(self) -> AsyncIterator[Any]:
        for piece in self._pieces:
            if self._pause and self.given:
                await asyncio.sleep(self._pause)
            self.given += 1
            yield piece

    async def aclose(self) -> None:
        """Remember that the source was closed."""
        self.is_closed = True


def stream_from(
    bot: Bot, kind: SourceKind, *runs: Iterable[Any], pause: float = 0.0, **options: Any
) -> list[Source | AsyncSource]:
    """Add a fallback handler to ``bot`` whose n-th run streams the n-th of ``runs``.

    Return the list of the sources that it has opened.
    """
    left, opened = iter(runs), list[Source | AsyncSource]()

    def open_source() -> Any:
        opened.append((Source if kind == "plain" else AsyncSource)(next(left), pause))
        return opened[-1]

    async def open_async() -> Any:
        return open_source()

    def answer(ctx: Context) -> None:
        ctx.stream(open_source() if kind == "plain" else open_async)

    async def answer_async(ctx: Context) -> None:
        ctx.stream(open_source())

    bot.fallback(**options)(answer_async if kind == "async" else answer)
    return opened


def raising_after(pieces: Iterable[Any]) -> Iterator[Any]:
    """Yield ``pieces``, then raise."""
    yield from pieces
    raise Lost


class StreamContract(ContractBase):
    """Tests for sources of all shapes. The user sees a stream whole or marked as broken off, and once."""

    @pytest.fixture(params=SOURCE_KINDS)
    def kind(self, request: pytest.FixtureRequest) -> Any:
        """Return each kind of handler and source."""
        return request.param

    @pytest.mark.parametrize("pieces", [[], ["", None, " "]], ids=["no", "blank"])
    def test_stream_of_no_words_says_nothing(
        self, bot: Bot, client: BotClient, kind: SourceKind, pieces: list[Any]
    ) -> None:
        stream_from(bot, kind, pieces)
        assert client.send("hi").texts == []

    @pytest.mark.parametrize("pieces", [["Hello."], [None, "Hel", "", None, "lo", "."]], ids=["one piece", "with none"])
    def test_stream_arrives_once(self, bot: Bot, client: BotClient, kind: SourceKind, pieces: list[Any]) -> None:
        opened = stream_from(bot, kind, pieces)
        assert client.send("hi").texts == ["Hello."]
        assert [source.is_closed for source in opened] == [False]

    def test_stream_of_100000_pieces_arrives_whole(self, bot: Bot, client: BotClient, kind: SourceKind) -> None:
        opened = stream_from(bot, kind, [f"{number % 10} " for number in range(100_000)])
        replies = client.send("hi")
        assert "".join("".join(replies.texts).split()) == "0123456789" * 10_000
        assert [source.given for source in opened] == [100_000]

    @pytest.mark.parametrize("piece", [b"bytes", 7, ["nested"], [["deeper"]], {"text": "a"}], ids=repr)
    def test_stream_of_other_pieces_is_an_error(
        self, bot: Bot, client: BotClient, kind: SourceKind, piece: object
    ) -> None:
        opened = stream_from(bot, kind, itertools.chain([piece], itertools.repeat("more")))
        with pytest.raises(BotError, match=f"expected pieces of str or None, got {type(piece).__name__}; .*text="):
            client.send("hi")
        assert client.said().texts == [bot.error_text]
        assert [source.is_closed for source in opened] == [True]

    def test_stream_that_raises_first_leaves_nothing(self, bot: Bot, client: BotClient, kind: SourceKind) -> None:
        stream_from(bot, kind, raising_after(["", " "]))
        with pytest.raises(Lost):
            client.send("hi")
        assert client.said().texts == [bot.error_text]

    @pytest.mark.parametrize("rest", [[], [None, "more."]], ids=["last", "in the middle"])
    def test_stream_that_raises_is_marked(self, bot: Bot, client: BotClient, kind: SourceKind, rest: list[Any]) -> None:
        stream_from(bot, kind, itertools.chain(raising_after(_HALF), rest), ["Whole."])
        with pytest.raises(Lost):
            client.send("hi")
        assert client.said().texts == [_MARKED, bot.error_text]
        assert client.send("again").texts == ["Whole."]

    def test_endless_stream_is_cut_to_one_message(
        self, bot: Bot, client: BotClient, capabilities: Capabilities, kind: SourceKind
    ) -> None:
        opened = stream_from(bot, kind, itertools.repeat("word " * 100))
        with pytest.raises(MessageError, match="at most 1000000 characters"):
            client.send("hi")
        marked, error_text = client.said().texts
        assert marked.startswith("word word ")
        assert marked.endswith("word … (broken off)")
        assert len(marked.encode()) <= capabilities.text_limit
        assert error_text == bot.error_text
        assert [source.is_closed for source in opened] == [True]
        assert opened[0].given < 10_000

    def test_next_run_replaces_what_came_before(self, bot: Bot, client: BotClient, kind: SourceKind) -> None:
        stream_from(bot, kind, raising_after(["Half "]), raising_after([]), ["The ", "whole."], retries=3)
        client.send("hi")
        client.advance(60)
        assert client.said().texts == ["The whole."]
        assert client.dead_letters == []

    def test_stream_of_a_last_run_is_marked_once(self, bot: Bot, client: BotClient, kind: SourceKind) -> None:
        stream_from(bot, kind, raising_after(_HALF[:1]), raising_after(_HALF), retries=1)
        client.send("hi")
        with pytest.raises(Lost):
            client.advance(60)
        assert client.said().texts == [_MARKED, bot.error_text]

    def test_half_that_no_later_run_completes_is_marked(
        self, bot: Bot, client: BotClient, capabilities: Capabilities
    ) -> None:
        stream_from(bot, "plain", raising_after(["Half "]), raising_after([]), retries=1)
        client.send("hi")
        with pytest.raises(Lost):
            client.advance(60)
        marked = ["Half … (broken off)"] if _is_live(capabilities) else []
        assert client.said().texts == [*marked, bot.error_text]

    def test_caught_error_of_a_stream_marks_it_before_the_reply(self, bot: Bot, client: BotClient) -> None:
        @bot.fallback
        def answer(ctx: Context) -> str:
            with pytest.raises(Lost):
                ctx.stream(raising_after(_HALF))
            ctx.reply("One moment.")
            with pytest.raises(Lost):
                ctx.stream(raising_after(["Second "]))
            return "Sorry."

        assert client.send("hi").texts == [_MARKED, "One moment.", "Second … (broken off)", "Sorry."]

    def test_retry_by_hand_replaces_the_mark(self, bot: Bot, client: BotClient, capabilities: Capabilities) -> None:
        stream_from(bot, "plain", raising_after(_HALF), ["The ", "whole."])
        with pytest.raises(Lost):
            client.send("hi")
        client._harness.delivery.retry(client.dead_letters[0].id)
        edited = capabilities.edit
        expected = ["The whole.", bot.error_text] if edited else [_MARKED, bot.error_text, "The whole."]
        assert client.said().texts == expected

    def test_streamed_message_has_its_text_in_all_runs(self, bot: Bot, client: BotClient) -> None:
        texts: list[str] = []

        @bot.fallback
        def answer(ctx: Context) -> str:
            sent = ctx.stream(["One ", "two ", "three." if not texts else "four."])
            assert sent is not None
            texts.append(sent.text)
            return f"Thank you, {ctx.ask('Your name?')}."

        client.send("hi")
        assert client.send("Maria").texts == ["Thank you, Maria."]
        assert set(texts) == {"One two three."}

    def test_mark_is_that_of_the_bot(self, bot: Bot, client: BotClient) -> None:
        bot.broken_off_text = "[abgebrochen]"
        stream_from(bot, "plain", raising_after(["Halb "]))
        with pytest.raises(Lost):
            client.send("hi")
        assert client.said().texts == ["Halb [abgebrochen]", bot.error_text]

    @pytest.mark.parametrize("kind", SOURCE_KINDS)
    def test_stream_past_its_deadline_is_marked(self, bot: Bot, tmp_path: Path, kind: SourceKind) -> None:
        fake = self.make_fake(bot)
        pause = 0.01 if kind == "plain" else 60.0
        opened = stream_from(bot, kind, ["Half ", *[None] * 10_000], pause=pause, timeout=0.2)
        store = database_from_url(f"sqlite:///{tmp_path}/contract.db")
        fake.use_database(store)
        delivery = Delivery([bot], [fake.channel], store, threads=2)
        marked = ["Half … (broken off)"] if _is_live(fake.channel.capabilities) else []
        try:
            fake.attach(delivery)
            delivery.start()
            fake.say(Actor(User("maria", "Maria")), "hi")
            fake.wait_idle()
            wait_until(lambda: [said.text for said in fake.said()] == [*marked, bot.error_text])
            wait_until(lambda: opened[0].is_closed)
        finally:
            delivery.close()
            fake.close()


def _is_live(capabilities: Capabilities) -> bool:
    """Return True if a stream is shown while it grows."""
    return capabilities.deltas or (capabilities.edit and capabilities.stream_interval is not None)
