"""A language model for tests, whose answers are written in advance."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cometbot.tools import Tool
from cometbot.turns import ToolCall, Turn

Piece: TypeAlias = str | ToolCall | Exception
"""A part of an answer; an exception is raised when its turn comes."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request that a :class:`FakeModel` got: the turns, and the tools that it might have called."""

    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()

    @property
    def text(self) -> str:
        """The text of the last turn: of a message, or of a tool's result."""
        return self.turns[-1].text if self.turns else ""


class FakeModel:
    """A language model whose answers are written in advance.

    ::

        model = FakeModel(["One moment.", ToolCall("find_order", {"number": 17})], "It is on its way.")
        ctx.run_agent(model, [find_order])
        assert model.requests[1].text == "sent on Monday"

    Each argument is the answer to one request: a text, a :class:`ToolCall`, an exception, or a list of these, which
    come piece by piece. ``requests`` are those that it got. An answer is an iterable and an async iterable. A request
    without an answer raises :class:`AssertionError`.
    """

    def __init__(self, *answers: Piece | Sequence[Piece]) -> None:
        self.requests: list[ModelRequest] = []
        self._answers = [[answer] if isinstance(answer, Piece) else list(answer) for answer in answers]

    def __call__(self, turns: Sequence[Turn], tools: Sequence[Tool] = ()) -> FakeAnswer:
        """Return the next answer."""
        request = ModelRequest(tuple(turns), tuple(tools))
        self.requests.append(request)
        number = len(self.requests)
        if number > len(self._answers):
            raise AssertionError(
                f"FakeModel: expected {len(self._answers)} requests, got another one, whose last turn is "
                f"{request.text[:100]!r}; add its answer"
            )
        return FakeAnswer(self._answers[number - 1])


class FakeAnswer:
    """One answer of a :class:`FakeModel`, to be iterated with ``for`` or ``async for``."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[str | ToolCall]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def __aiter__(self) -> AsyncIterator[str | ToolCall]:
        for piece in self:
            yield piece
