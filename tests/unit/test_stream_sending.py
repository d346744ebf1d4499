"""How streams are sent, and what is stored so that each ends complete or marked as broken off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from cometbot import Bot, BotError, Context, Message
from cometbot.errors import LeaseLost, MessageError
from cometbot.messages import MAX_MESSAGE_LENGTH
from cometbot.testing import BotClient
from cometbot.testing.fake_channel import EVERYTHING, FakeChannel

WORDS = ["One ", "two ", "three ", "four "]
EDITS = {"edit": True, "stream_interval": 0.0}
DELTAS = {"edit": False, "deltas": True, "stream_interval": 0.0}
WHOLE = {"edit": False, "stream_interval": None}


@pytest.fixture(params=[EDITS, DELTAS, WHOLE], ids=["edits", "deltas", "whole"])
def any_sink(request: pytest.FixtureRequest, sink: Any) -> Any:
    """A sink that shows streams in each way."""
    return show(sink, request.param)


def show(sink: Any, capabilities: dict[str, Any]) -> Any:
    sink.capabilities = replace(sink.capabilities, **capabilities)
    return sink


def raising(parts: Iterable[str]) -> Iterator[str]:
    yield from parts
    raise ValueError("lost")


def texts_of(marks: list[tuple[int, Any]]) -> list[str]:
    return [mark.message.to_text() for _, mark in marks]


def test_broken_stream_keeps_all_that_has_come(any_sink: Any, context: Any) -> None:
    with pytest.raises(ValueError, match="lost"):
        context("hi").stream(raising(WORDS))
    assert texts_of(any_sink.broken) == ["One two three four … (broken off)"]


def test_whole_stream_breaks_nothing_off(any_sink: Any, context: Any) -> None:
    sent = context("hi").stream(WORDS)
    assert sent.text == "One two three four "
    assert any_sink.broken == []


@pytest.mark.parametrize("parts", [[], ["", " "]], ids=["nothing", "blank"])
def test_stream_that_raises_before_the_first_word_leaves_nothing(any_sink: Any, context: Any, parts: list[str]) -> None:
    with pytest.raises(ValueError, match="lost"):
        context("hi").stream(raising(parts))
    assert (any_sink.posted, any_sink.prepared, any_sink.broken) == ([], [], [])


def test_growing_message_carries_its_mark_and_renews_it(sink: Any, context: Any) -> None:
    show(sink, EDITS)
    context("hi").stream(iter(["One ", "two three ", "four five six ", "seven " * 4]))
    first = sink.posted[0]
    assert first.mark.to_text() == "One … (broken off)"
    assert [text for _, text in sink.previews]
    assert texts_of(sink.prepared) == [f"{text.rstrip()} … (broken off)" for _, text in sink.previews]
    assert {(key, mark.kind, mark.target) for key, mark in sink.prepared} == {(0, "edit", 0)}


def test_shown_deltas_have_a_mark_that_completes_them(sink: Any, context: Any) -> None:
    show(sink, DELTAS)
    context("hi").stream(iter(["One "] * 100))
    assert 2 < len(sink.prepared) < 15
    assert {(key, mark.kind, mark.stream_id) for key, mark in sink.prepared} == {(0, "send", sink.posted[0].stream_id)}
    assert {mark.ending for _, mark in sink.prepared} == {" … (broken off)"}


def test_mark_of_abandoned_deltas_is_a_message_of_its_own(sink: Any, context: Any) -> None:
    show(sink, DELTAS)
    with pytest.raises(ValueError, match="lost"):
        context("hi").stream(raising(WORDS))
    assert sink.deltas[-1][2] is None
    assert [mark.stream_id for _, mark in sink.broken] == [""]


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("```python\nprint(1)\n", "```python\nprint(1)\n```\n\n… (broken off)"),
        ("So:\n\n~~~\n", "So:\n\n~~~\n~~~\n\n… (broken off)"),
        ("```\ndone\n```\n", "```\ndone\n```\n\n… (broken off)"),
        ("```\ndone\n```\nand", "```\ndone\n```\nand … (broken off)"),
    ],
)
def test_mark_stands_outside_of_code(any_sink: Any, context: Any, text: str, marked: str) -> None:
    with pytest.raises(ValueError, match="lost"):
        context("hi").stream(raising([text]))
    assert texts_of(any_sink.broken) == [marked]


def test_half_of_code_is_cut_to_one_message(any_sink: Any, context: Any) -> None:
    fence = "`" * 64
    with pytest.raises(ValueError, match="lost"):
        context("hi").stream(raising([f"{fence}\n", "word " * 1000]))
    [text] = texts_of(any_sink.broken)
    assert text.endswith(f"word \n{fence}\n\n… (broken off)")
    assert len(text.encode()) <= any_sink.capabilities.text_limit


def test_half_is_cut_to_one_message(any_sink: Any, context: Any) -> None:
    with pytest.raises(MessageError):
        context("hi").stream(["word " * 1000] * (MAX_MESSAGE_LENGTH // 5000 + 1))
    [text] = texts_of(any_sink.broken)
    assert text.endswith("word … (broken off)")
    assert 3900 < len(text.encode()) <= any_sink.capabilities.text_limit


@pytest.mark.parametrize("mark", ["", None])
def test_bot_without_a_mark_leaves_the_half(any_sink: Any, context: Any, bot: Any, mark: str | None) -> None:
    bot.broken_off_text = mark
    with pytest.raises(ValueError, match="lost"):
        context("hi").stream(raising(WORDS))
    assert texts_of(any_sink.broken) == ["One two three four"]


def test_whole_text_replaces_the_mark_of_an_earlier_run(sink: Any, context: Any) -> None:
    show(sink, WHOLE | {"edit": True}).sent_marks[0] = 2_000_000
    sent = context("hi").stream(WORDS)
    assert [(item.kind, item.target) for item in sink.posted] == [("edit", 2_000_000)]
    assert sent.id == "id-2000000"


def test_handler_past_its_deadline_ends_its_stream_unmarked(any_sink: Any, context: Any) -> None:
    def words() -> Iterator[str]:
        yield "One "
        any_sink.is_closed = True
        yield "two "
        pytest.fail("the stream goes on")

    with pytest.raises(LeaseLost):
        context("hi").stream(words())
    assert any_sink.broken == []


def test_stop_ends_a_stream_whose_source_hangs(any_sink: Any, context: Any) -> None:
    ended: list[str] = []

    async def words() -> AsyncIterator[str]:
        yield "One "
        any_sink.is_cancelled = True
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("closed")

    sent = context("hi").stream(words)
    assert (sent.text if sent else "").strip() in ("One", "")
    assert ended == ["closed"]
    assert any_sink.broken == []


def test_mark_passes_outgoing_middleware(sink: Any, context: Any, bot: Any) -> None:
    seen: list[str] = []

    @bot.outgoing
    def see(message: Message, outgoing: object) -> None:
        seen.append(message.to_text())

    show(sink, WHOLE)
    with pytest.raises(ValueError, match="lost"):
        context("hi").stream(raising(WORDS))
    assert seen == ["One two three four … (broken off)"]
    assert sink.broken == []


def test_error_of_outgoing_middleware_holds_the_mark_back(sink: Any, context: Any, bot: Any) -> None:
    @bot.outgoing
    def fail(message: Message, outgoing: object) -> Message:
        raise LookupError("no")

    show(sink, WHOLE)
    with pytest.raises(ValueError, match="lost"):
        context("hi").stream(raising(WORDS))
    assert sink.broken == []


def test_piece_of_another_type_breaks_the_stream_off(any_sink: Any, context: Any) -> None:
    with pytest.raises(BotError, match="expected pieces of str or None, got int"):
        context("hi").stream(["One ", 2])
    assert texts_of(any_sink.broken) == ["One … (broken off)"]


def test_streams_of_one_handler_have_different_names(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setattr(FakeChannel, "stream_delta", lambda self, where, name, number, text: names.append(name))
    bot = Bot("writer", description="Writes.")

    @bot.command("write")
    def write(ctx: Context) -> None:
        with suppress(ValueError):
            ctx.stream(raising(["One "]))
        ctx.stream(["two "])
        ctx.ask("More?")
        ctx.stream(["three "])

    client = BotClient(bot, capabilities=replace(EVERYTHING, deltas=True))
    client.send("/write")
    client.send("yes")
    assert len(dict.fromkeys(names)) == 3
