"""The marks of a message's streams: they say that a stream has been broken off.

While a stream grows, its mark is *prepared*: it is stored with what is shown, and not sent. The commit of the complete
text deletes it. If the stream raises, the mark is sent before the next thing that the bot says, or with the end of the
message. If the message runs again instead, the next run may complete the stream. A mark that is still prepared when the
message ends is sent, whatever has become of the process that prepared it.
"""

from __future__ import annotations

import threading

from cometbot.messages import Operation
from cometbot.store.outbox import FIRST_MARK_ORDINAL, Draft, MarkChanges, OutboxMessage
from cometbot.store.tables import DISCARDED


class StreamMarks:
    """The marks of the streams of one message, by the streams' keys.

    The key of a stream is the ordinal of its first operation, which is the same in all runs of the message.
    """

    def __init__(self, event: str, generation: int) -> None:
        self._event = event
        self._generation = generation
        self._guard = threading.Lock()
        self._prepared: dict[int, Draft] = {}
        self._broken: dict[int, Draft] = {}
        self._keys: dict[str, int] = {}
        self._earlier: set[int] = set()
        self._sent: set[int] = set()
        self._unsaved: set[int] = set()
        self._dropped: set[int] = set()
        self._releases = False

    def load(self, reply: OutboxMessage) -> None:
        """Take over a mark that an earlier run has stored."""
        key = reply.ordinal - FIRST_MARK_ORDINAL
        (self._earlier if reply.state == DISCARDED else self._sent).add(key)

    def get_sent(self, key: int) -> int | None:
        """Return the ordinal of the mark of this stream, or None if none was sent."""
        return FIRST_MARK_ORDINAL + key if key in self._sent else None

    def name(self, key: int, stream_id: str) -> None:
        """Record the id of a stream that is shown by deltas, also of one whose ordinal an earlier run has used."""
        with self._guard:
            self._keys[stream_id] = key

    def prepare(self, key: int, draft: Draft) -> None:
        """Store the mark of a stream with the next commit, instead of the one before it."""
        with self._guard:
            if key not in self._sent:
                self._prepared[key] = draft
                self._unsaved.add(key)

    def break_off(self, key: int, draft: Draft) -> None:
        """Send the mark of a stream before the next thing that the bot says."""
        with self._guard:
            if key not in self._sent:
                self._broken[key] = draft

    def complete(self, operation: Operation, ordinal: int) -> None:
        """Delete the mark of the stream that ``operation`` completes, if it does, in the commit that stores it."""
        key: int | None = None
        if operation.kind == "edit" and not operation.target_event:
            key = operation.target
        elif operation.stream_id:
            key = self._keys.get(operation.stream_id, ordinal)
        with self._guard:
            if key is not None and (key in self._prepared or key in self._earlier):
                self._forget(key)

    def take_broken(self) -> list[Draft]:
        """Return the marks of the streams that have raised, to be sent now."""
        with self._guard:
            drafts = [self._broken[key] for key in sorted(self._broken)]
            for key in list(self._broken):
                self._forget(key)
                self._sent.add(key)
            return drafts

    def finish(self) -> list[Draft]:
        """Return the marks of all streams that are not complete, to be sent with the end of the message.

        That may fail and be tried again, so the marks are not forgotten.
        """
        with self._guard:
            if not (self._prepared or self._broken or self._earlier):
                return []
            marks = {**self._prepared, **self._broken}
            self._unsaved.clear()
            self._dropped.update(FIRST_MARK_ORDINAL + key for key in marks)
            self._releases = bool(self._earlier)
            return [marks[key] for key in sorted(marks)]

    def get_changes(self) -> MarkChanges | None:
        """Return what the next commit must change, or None."""
        with self._guard:
            if not (self._unsaved or self._dropped or self._releases):
                return None
            prepared = [self._prepared[key] for key in sorted(self._unsaved)]
            return MarkChanges(self._event, self._generation, prepared, sorted(self._dropped), self._releases)

    def discard_saved(self, saved: MarkChanges) -> None:
        """Forget what a commit has changed."""
        with self._guard:
            for draft in saved.prepared:
                key = draft.ordinal - FIRST_MARK_ORDINAL
                if self._prepared.get(key) is draft:
                    self._unsaved.discard(key)
            self._dropped -= set(saved.dropped)

    def _forget(self, key: int) -> None:
        self._prepared.pop(key, None)
        self._broken.pop(key, None)
        self._earlier.discard(key)
        self._unsaved.discard(key)
        self._dropped.add(FIRST_MARK_ORDINAL + key)
