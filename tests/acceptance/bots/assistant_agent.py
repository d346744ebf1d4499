"""The bot of ``examples/assistant.py`` with a model that looks an order up, refunds it, and says what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cometbot import Tool, ToolCall, Turn, User
from examples.assistant import make_bot


def model(turns: Sequence[Turn], tools: Sequence[Tool]) -> Iterator[str | ToolCall]:
    if turns[-1].role == "user":
        yield "Let me "
        yield "see."
        yield ToolCall("find_order", {"number": 17})
    elif turns[-1].text.startswith("Earl Grey"):
        yield ToolCall("refund", {"number": 17, "euros": 12.5})
    else:
        yield f"Done: {turns[-1].text}"


bot = make_bot(model, User("manager"))
