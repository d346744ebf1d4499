"""A module of an author's, whose function asks."""

from __future__ import annotations

from typing import Any


def ask_for_size(ctx: Any) -> Any:
    return ctx.ask("Which size?")
