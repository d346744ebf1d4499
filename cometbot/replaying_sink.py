"""The sink of a handler that runs again: what an earlier run has said is not said again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cometbot.steps import DialogId, StepRun


class ReplayingSink:
    """The sink of a handler that runs again: what an earlier run said is not said again.

    An ordinal below 0 is a message of an earlier run.
    """

    def __init__(self, sink: Any, run: StepRun) -> None:
        self._sink = sink
        self._run = run
        self._past: list[tuple[str, int]] = []
        self._is_live = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)

    @property
    def is_past(self) -> bool:
        """True while the handler repeats what an earlier run has said."""
        return self._run.is_past

    def go_live(self) -> None:
        """Continue with the ordinals behind those that an earlier run has used for the same message."""
        if not self._is_live and not self._run.is_past:
            self._is_live = True
            if self._run.segment.trigger == self._run.trigger:
                self._sink.skip_ordinals(self._run.said)

    def post(self, operation: Any) -> int:
        """Store an operation, unless it is one of an earlier run."""
        if self._run.is_past:
            return self.skip_past(1)
        self.go_live()
        if operation.target is not None and operation.target < 0:
            event, ordinal = self._past[-operation.target - 1]
            said_for = "" if event == self._run.trigger else str(self._with_generation(event))
            operation = replace(operation, target=ordinal, target_event=said_for)
        return int(self._sink.post(operation))

    def change_job(self, change: Any) -> int:
        """Add a job, unless an earlier run has done so."""
        if self._run.is_past:
            return self.skip_past(1)
        self.go_live()
        return int(self._sink.change_job(change))

    def cancel_job(self, change: Any) -> None:
        """Remove a job, unless an earlier run has done so."""
        if not self._run.is_past:
            self._sink.cancel_job(change)

    def skip_past(self, count: int) -> int:
        """Count messages of an earlier run as said, and return the ordinal of the first one."""
        first = len(self._past)
        for _ in range(count):
            self._past.append((self._run.segment.trigger, self._run.said))
            self._run.said += 1
        return -first - 1

    @property
    def has_said_next(self) -> bool:
        """True if an earlier run of the same message has said what is posted next, without a step that says so."""
        self.go_live()
        return bool(self._sink.has_said_next)

    def platform_id(self, ordinal: int) -> str | None:
        """Return the platform's id of a message, also of one that an earlier run said."""
        if ordinal >= 0:
            found: str | None = self._sink.platform_id(ordinal)
            return found
        event, earlier_ordinal = self._past[-ordinal - 1]
        earlier: str | None = self._sink.platform_id_of(self._with_generation(event), earlier_ordinal)
        return earlier

    def _with_generation(self, event: str) -> DialogId:
        """Return the generation in which a message of this dialog was handled; no answer is handled again."""
        dialog = self._run.dialog
        return dialog if event == dialog.event else DialogId(event)

    def stream_key(self) -> int | None:
        """Return the key of a stream that begins now, or None if an earlier run has sent it."""
        if self._run.is_past:
            return None
        self.go_live()
        key: int | None = self._sink.stream_key()
        return key

    def preview(self, ordinal: int, text: str) -> None:
        """Show an unfinished text, but not in a message of an earlier run."""
        if ordinal >= 0:
            self._sink.preview(ordinal, text)

    def stream_delta(self, stream_id: str, sequence: int, text: str | None) -> None:
        """Show the next piece of a stream, but not of one of an earlier run."""
        if not self._run.is_past:
            self._sink.stream_delta(stream_id, sequence, text)
