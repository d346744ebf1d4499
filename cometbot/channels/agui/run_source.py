"""The changes in a thread that a request waits for: what is stored already, then what comes."""

from __future__ import annotations

import enum
import time
from collections import deque
from collections.abc import Iterator
from typing import TypeAlias

from cometbot.channels.agui import rows
from cometbot.channels.agui.runs import Run
from cometbot.channels.agui.thread_runs import list_after
from cometbot.chat import Chat, ChatMessage, Signal
from cometbot.store.database import Transaction


class Stopped(enum.Enum):
    """The last item if the answer is not complete: the source was closed, or its time is over."""

    CLOSED = "closed"
    LATE = "late"


RunItem: TypeAlias = ChatMessage | Signal | Stopped


class RunSource:
    """The items of one stream (see :class:`cometbot.http.sse.ItemSource`): rows, then signals.

    If it is closed, or after ``lifetime`` seconds, the last item is :class:`Stopped`.
    """

    def __init__(self, chat: Chat, run: Run, *, lifetime: float) -> None:
        self.is_closed = False
        self._ends_at = time.monotonic() + lifetime
        # From before the rows are read, so that nothing is missed; the writer leaves out what comes twice.
        self._listener = chat.feed.listen(run.conversation.topic)
        try:
            with chat.database.read() as connection:
                self._rows = deque(_list_answer(connection, chat, run))
        except BaseException:
            self._listener.close()
            raise

    def get(self, timeout: float) -> RunItem | None:
        """Return the next item, or None if none arrives within ``timeout`` seconds."""
        if self._rows:
            return self._rows.popleft()
        found = self._listener.get(max(0.0, min(timeout, self._ends_at - time.monotonic())))
        if found is None and (self._listener.is_closed or time.monotonic() >= self._ends_at):
            self.is_closed = True
            return Stopped.CLOSED if self._listener.is_closed else Stopped.LATE
        return found

    def close(self) -> None:
        """End the source; the thread that waits in :meth:`get` gets :class:`Stopped`."""
        self._listener.close()


def _list_answer(connection: Transaction, chat: Chat, run: Run) -> Iterator[ChatMessage]:
    """Yield the rows from the begin of a run to its end, or to the newest row. Later answers are none of its own."""
    for row in list_after(connection, chat, run.conversation, run.after):
        yield row
        if row.payload.get("kind") == rows.END and row.payload["event"] == run.key:
            return
