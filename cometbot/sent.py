"""A message that a handler sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cometbot.errors import BotError
from cometbot.messages import Capabilities, Message, Operation, Text
from cometbot.sinks import ReplySink


class Sent:
    """A message that a handler sent. ``id`` is None while it waits in the outbox."""

    def __init__(
        self,
        sink: ReplySink,
        ordinal: int,
        operation: Operation,
        post: Callable[[Operation, ReplySink], int],
        check_call: Callable[[str], None],
        withdraw: Callable[[int], None] = lambda ordinal: None,
    ) -> None:
        self._sink = sink
        self._check_call = check_call
        self._ordinal = ordinal
        self._operation = operation
        self._post = post
        self._withdraw = withdraw
        self._text = operation.message.to_text() if operation.message is not None else ""

    @property
    def text(self) -> str:
        """The text of the message as it was sent or edited last; of a streamed message, its whole text."""
        return self._text

    @property
    def id(self) -> str | None:
        """The platform's id of the message, or None while it waits to be sent."""
        return self._sink.platform_id(self._ordinal)

    def edit(self, message: Message | str) -> None:
        """Replace the content of the message. On a platform that cannot edit it, this sends a new message."""
        self._check_call("edit")
        changed = Text(message) if isinstance(message, str) else message
        self._withdraw(self._ordinal)
        can_edit = self._capabilities.can_edit(self._operation.message)
        self._post(self._follow_up("edit" if can_edit else "send", changed), self._sink)
        self._text = changed.to_text()

    def delete(self) -> None:
        """Delete the message. Raises :class:`BotError` on a platform that cannot."""
        self._check_call("delete")
        if not self._capabilities.delete:
            raise BotError("this platform cannot delete messages; ask ctx.capabilities.delete first")
        self._withdraw(self._ordinal)
        self._post(self._follow_up("delete"), self._sink)

    @property
    def _capabilities(self) -> Capabilities:
        """The capabilities of the channel on which the message is, which may not be that of the event."""
        return self._sink.capabilities_of(self._operation.conversation)

    def preview(self, text: str) -> None:
        """Show an unfinished text in this message now. The text is not stored."""
        self._check_call("preview")
        self._sink.preview(self._ordinal, text)

    def _follow_up(self, kind: Any, message: Message | None = None) -> Operation:
        before = self._operation
        return Operation(
            conversation=before.conversation,
            kind=kind,
            message=message,
            thread_id=before.thread_id,
            reply_to=before.reply_to,
            target=None if kind == "send" else self._ordinal,
        )


def prepare_mark(sent: Sent, mark: str) -> None:
    """Store ``mark``, which replaces a growing message if nothing completes it."""
    sent._sink.prepare_mark(sent._ordinal, sent._follow_up("edit", Text(mark)))


def break_off(sent: Sent, mark: str) -> None:
    """Replace a growing message, whose stream has raised, with ``mark``, unless the handler runs again."""
    sent._sink.break_off(sent._ordinal, sent._follow_up("edit", Text(mark)))
