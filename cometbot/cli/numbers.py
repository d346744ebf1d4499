"""Whole numbers as options: one that is wrong ends the command with one sentence."""

from __future__ import annotations

import re
from typing import Any

import click

from cometbot.cli import Sentence


class Count(click.IntRange):
    """A whole number from ``least`` to ``most`` (None: any); ``example`` is what a wrong one is answered with."""

    def __init__(self, least: int = 1, most: int | None = None, *, example: int) -> None:
        super().__init__(least, most)
        self._wanted = f"from {least} {'up' if most is None else f'to {most}'}"
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number. Raises :class:`Sentence` for what is none."""
        text = str(value).strip()
        try:
            if not re.fullmatch(r"-?[0-9]{1,9}", text):
                raise click.BadParameter(text)
            return super().convert(int(text), param, ctx)
        except click.BadParameter as error:
            option = param.opts[0] if param else "the number"
            raise Sentence(
                f"{option} is wrong: {text!r} is no whole number {self._wanted}; "
                f"give one, for example {option} {self._example}"
            ) from error
