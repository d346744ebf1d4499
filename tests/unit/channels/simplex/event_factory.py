"""Records as a SimpleX CLI would tell them, made by the stand-in without a socket."""

from __future__ import annotations

from typing import Any

from cometbot.channels.simplex.protocol import Record
from cometbot.testing.simplex.command_handlers import CommandHandlers
from cometbot.testing.simplex.state import FakeState
from cometbot.testing.simplex.user_actions import UserActions


class EventFactory:
    """People who do things, and what the CLI tells of it."""

    def __init__(self, name: str = "Echo bot") -> None:
        self.records: list[Record] = []
        self.state = FakeState(None)
        self.state.add_user({"displayName": name, "fullName": ""})
        self.state.emit = lambda raw: self.records.append(Record(raw["type"], raw))
        self.answers = CommandHandlers(self.state)
        self.stage = UserActions(self.state, self.answers)

    def perform(self, act: str, /, **arguments: Any) -> Any:
        """What the stand-in makes of a doing."""
        return self.stage.do(act, arguments)

    def emit(self, act: str, /, **arguments: Any) -> Record:
        """The last record that a doing causes."""
        self.perform(act, **arguments)
        return self.records[-1]

    def latest(self, tag: str) -> Record:
        """The newest record with this tag."""
        return next(record for record in reversed(self.records) if record.type == tag)
