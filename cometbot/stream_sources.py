"""The sources of streams: whatever gives a text piece by piece, plain or async."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import closing
from typing import Any, TypeAlias, TypeVar

from cometbot.errors import BotError
from cometbot.event_loop import iterate, run_coroutine

T = TypeVar("T")

Pieces: TypeAlias = Iterable[T] | AsyncIterable[T]
StreamSource: TypeAlias = Pieces[T] | Callable[[], Pieces[T] | Awaitable[Pieces[T]]]
"""The source of ``ctx.stream``: pieces, or a function that returns them, which may be a coroutine function."""

_log = logging.getLogger(__name__)

_TEXT_HINTS = (
    ("choices", "lambda piece: piece.choices[0].delta.content"),
    ("delta", "lambda piece: piece.delta"),
    ("content", "lambda piece: piece.content"),
    ("text", "lambda piece: piece.text"),
)
"""The attributes by which pieces of common libraries are known, and the functions that get their texts."""


def iterate_texts(source: Any, text: Callable[[Any], str | None] | None) -> Generator[str, None, None]:
    """Yield the texts of the pieces of ``source``; an empty one for a piece without text, and while nothing comes.

    A source that is closed or raises before its end is closed (``aclose``, ``close``). Async iterables are consumed on
    the event loop of the process. Raises :class:`BotError` for a source or a piece of the wrong type.
    """
    if text is not None and not callable(text):
        raise BotError(
            f"ctx.stream: text=: expected a function that returns the text of a piece, got {type(text).__name__}"
        )
    opened = _open(source)
    batches = iterate(opened) if isinstance(opened, AsyncIterable) else _iterate_plain(opened)
    with closing(batches):
        for batch in batches:
            if not batch:
                yield ""
            for piece in batch:
                yield _text_of(piece, text)


def _open(source: Any) -> Iterable[Any] | AsyncIterable[Any]:
    opened, subject = source, ""
    if callable(source) and not _is_iterable(source):
        opened, subject = source(), "the function returned "
        if inspect.isawaitable(opened) and not isinstance(opened, AsyncIterable):  # a Future is an Iterable as well
            opened = run_coroutine(_await(opened))
    if isinstance(opened, str):
        return (opened,)
    if _is_iterable(opened) and not isinstance(opened, bytes | bytearray | memoryview | Mapping):
        pieces: Iterable[Any] | AsyncIterable[Any] = opened
        return pieces
    expected = "ctx.stream: expected an iterable or async iterable of str, or a function that returns one"
    advice = ""
    if inspect.isawaitable(opened):
        advice = ", which nobody awaits; pass the function itself, such as lambda: client.create(stream=True)"
    if inspect.iscoroutine(opened):
        opened.close()
    raise BotError(f"{expected}; {subject or 'got '}{type(opened).__name__}{advice}")


def _is_iterable(value: Any) -> bool:
    return isinstance(value, Iterable | AsyncIterable)


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _iterate_plain(source: Iterable[Any]) -> Generator[tuple[Any, ...], None, None]:
    iterator, has_ended = iter(source), False
    try:
        for piece in iterator:
            yield (piece,)
        has_ended = True
    finally:
        if not has_ended:
            _close(iterator)
            if source is not iterator:
                _close(source)


def _close(source: Any) -> None:
    close = getattr(source, "close", None)
    if not callable(close):
        return
    try:
        close()
    except Exception:
        _log.warning("cannot close an iterable that has ended early", exc_info=True)


def _text_of(piece: Any, text: Callable[[Any], str | None] | None) -> str:
    value = piece if text is None else text(piece)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if text is not None:
        if inspect.iscoroutine(value):
            value.close()
        raise BotError(
            f"ctx.stream: text=: expected a function that returns str or None, got {type(value).__name__} for a "
            f"{type(piece).__name__}"
        )
    raise BotError(
        f"ctx.stream: expected pieces of str or None, got {type(piece).__name__}; {_describe_text_option(piece)}"
    )


def _describe_text_option(piece: Any) -> str:
    """Return what to do with pieces of another type."""
    if isinstance(piece, bytes | bytearray):
        return 'decode them, such as ctx.stream(codecs.iterdecode(source, "utf-8")), or pass text='
    hint = "lambda piece: …"
    if isinstance(piece, list | tuple):
        hint = '"".join'
    elif isinstance(piece, Mapping):
        hint = f"lambda piece: piece[{next(iter(piece), 'text')!r}]"
    elif isinstance(piece, int | float):
        hint = "str"
    else:
        hint = next((function for name, function in _TEXT_HINTS if hasattr(piece, name)), hint)
    return f"pass text=, the function that returns the text of a piece: ctx.stream(source, text={hint})"
