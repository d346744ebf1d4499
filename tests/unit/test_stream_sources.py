"""Where the texts of streams come from: plain and async sources, functions of them, and what is refused."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from cometbot.errors import BotError
from cometbot.event_loop import run_coroutine, run_in_thread
from cometbot.stream_sources import iterate_texts

WORDS = ["one ", "two ", "three"]


async def words_later() -> AsyncIterator[str]:
    for word in WORDS:
        await asyncio.sleep(0)
        yield word


async def create() -> AsyncIterator[str]:
    await asyncio.sleep(0)
    return words_later()


async def create_plain() -> list[str]:
    return WORDS


def make_future() -> Awaitable[list[str]]:
    async def make() -> list[str]:
        return WORDS

    return run_coroutine(_make_task(make))


async def _make_task(function: Callable[[], Any]) -> Any:
    return asyncio.ensure_future(function())


class Iterable:
    def __iter__(self) -> Iterator[str]:
        return iter(WORDS)

    def __call__(self) -> None:
        pytest.fail("an iterable is not called")


class Closable:
    """A plain source that may raise, as clients of models are."""

    def __init__(self, pieces: Any, error: Exception | None = None) -> None:
        self.closed = 0
        self._pieces = pieces
        self._error = error

    def __iter__(self) -> Iterator[Any]:
        yield from self._pieces
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self.closed += 1
        raise LookupError("an error of close is logged")


def texts_of(source: Any, text: Any = None) -> str:
    return "".join(iterate_texts(source, text))


@pytest.mark.parametrize(
    "source",
    [
        WORDS,
        lambda: WORDS,
        lambda: iter(WORDS),
        Iterable(),
        Iterable,
        create,
        create_plain,
        lambda: create(),
        partial(create),
        make_future,
        words_later,
        "one two three",
        lambda: "one two three",
        [None, *WORDS, "", None],
    ],
    ids=itertools.count(),
)
def test_source_of_each_kind_gives_its_texts(source: Any) -> None:
    assert texts_of(source) == "one two three"


@pytest.mark.parametrize("source", [WORDS, create, words_later], ids=itertools.count())
def test_source_of_an_async_handler_is_read_beside_the_loop(source: Any) -> None:
    async def handle() -> str:
        return run_in_thread(texts_of, source)

    assert run_coroutine(handle()) == "one two three"


def test_async_source_runs_on_the_lasting_loop() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def words() -> AsyncIterator[str]:
        loops.append(asyncio.get_running_loop())
        yield "one"

    async def find_loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert texts_of(words) == "one"
    assert loops == [run_coroutine(find_loop())]


def test_text_of_a_piece_comes_from_the_function() -> None:
    chunks = [SimpleNamespace(content=text) for text in (*WORDS, None)]
    assert texts_of(chunks, lambda chunk: chunk.content) == "one two three"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "got NoneType"),
        (7, "got int"),
        (b"bytes", "got bytes"),
        (bytearray(b"bytes"), "got bytearray"),
        ({"text": "a"}, "got dict"),
        (lambda: None, "the function returned NoneType"),
        (lambda: lambda: WORDS, "the function returned function"),
    ],
    ids=itertools.count(),
)
def test_source_of_another_type_is_refused(source: Any, message: str) -> None:
    expected = "ctx.stream: expected an iterable or async iterable of str, or a function that returns one; "
    with pytest.raises(BotError) as caught:
        texts_of(source)
    assert str(caught.value) == expected + message


def test_coroutine_that_nobody_awaits_is_refused_and_closed() -> None:
    with pytest.raises(BotError, match=r"got coroutine, which nobody awaits; pass the function itself"):
        texts_of(create())


@pytest.mark.parametrize(
    ("piece", "hint"),
    [
        (b"a", 'decode them, such as ctx.stream(codecs.iterdecode(source, "utf-8")), or pass text='),
        (7, "text=str)"),
        (["a"], 'text="".join)'),
        ({"delta": "a"}, "text=lambda piece: piece['delta'])"),
        (SimpleNamespace(choices=[]), "text=lambda piece: piece.choices[0].delta.content)"),
        (SimpleNamespace(content="a"), "text=lambda piece: piece.content)"),
        (object(), "text=lambda piece: …)"),
    ],
    ids=itertools.count(),
)
def test_piece_of_another_type_is_named_with_what_to_do(piece: object, hint: str) -> None:
    with pytest.raises(BotError) as caught:
        texts_of([piece])
    assert str(caught.value).startswith(f"ctx.stream: expected pieces of str or None, got {type(piece).__name__}; ")
    assert str(caught.value).endswith(hint)


async def read_later(piece: object) -> str:
    return ""


@pytest.mark.parametrize(("text", "name"), [(len, "int"), (lambda piece: [piece], "list"), (read_later, "coroutine")])
def test_function_that_returns_no_text_is_refused(text: Any, name: str) -> None:
    with pytest.raises(BotError, match=f"text=: expected a function that returns str or None, got {name} for a str"):
        texts_of(["a"], text)


def test_text_that_is_no_function_is_refused() -> None:
    with pytest.raises(BotError, match="text=: expected a function that returns the text of a piece, got str"):
        texts_of(["a"], "content")


def test_source_that_ends_is_not_closed() -> None:
    source = Closable(WORDS)
    assert texts_of(source) == "one two three"
    assert source.closed == 0


def test_source_is_closed_if_the_stream_ends_early(caplog: pytest.LogCaptureFixture) -> None:
    source = Closable(itertools.repeat("word "))
    texts = iterate_texts(source, None)
    assert next(texts) == "word "
    texts.close()
    assert source.closed == 1
    assert "cannot close an iterable" in caplog.text


def test_source_that_raises_is_closed() -> None:
    source = Closable(WORDS, ValueError("lost"))
    with pytest.raises(ValueError, match="lost"):
        texts_of(source)
    assert source.closed == 1


def test_generator_is_closed_if_the_stream_ends_early() -> None:
    ended = threading.Event()

    def words() -> Iterator[str]:
        try:
            yield from itertools.repeat("word ")
        finally:
            ended.set()

    texts = iterate_texts(words, None)
    next(texts)
    texts.close()
    assert ended.is_set()


def test_error_of_a_function_is_raised() -> None:
    def fail() -> list[str]:
        raise ValueError("no connection")

    with pytest.raises(ValueError, match="no connection"):
        texts_of(fail)
