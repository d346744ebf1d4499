"""A fake CLI whose answers are taken without a socket."""

from __future__ import annotations

from collections.abc import Callable

from cometbot.channels.simplex.errors import (
    error_from,
)
from cometbot.channels.simplex.protocol import Command, Record
from cometbot.testing import FakeSimplexCLI
from cometbot.testing.simplex.command_grammar import read_command

WRITING = ("/_create", "/_address ", "/_address_settings", "/_profile", "/_user")


class FakeCLI:
    """Passes commands to the fake CLI's handlers; ``asked`` are the commands."""

    def __init__(self, cli: FakeSimplexCLI) -> None:
        self.cli = cli
        self.asked: list[str] = []
        self.change: Callable[[Record], Record] = lambda record: record

    def __call__(self, command: Command | str) -> Record:
        asked = Command.from_value(command)
        self.asked.append(asked.text)
        raw = self.cli.handlers.handle(read_command(asked.text))
        record = self.change(Record(raw["type"], raw))
        if record.is_error:
            raise error_from(record, asked)
        return record

    @property
    def written(self) -> list[str]:
        return [text.split()[0] for text in self.asked if text.startswith(WRITING)]
