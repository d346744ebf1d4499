"""The step of ``ctx.hand_off``: the run waits until people hand the user back."""

from __future__ import annotations

from types import CodeType

from cometbot.asking import Asking
from cometbot.event_loop import run_in_thread
from cometbot.hand_offs import HandOff, HandOffRequest, read_result
from cometbot.messages import Operation
from cometbot.models import Conversation
from cometbot.relaying import make_outcome, make_waiting, make_withdrawal, resume
from cometbot.steps import HAND_OFF, REFUSED, Step, hash_code


class HandOffSteps(Asking):
    """The steps of a context, with those of ``ctx.hand_off``."""

    _is_handed_back = False

    def hand_off(self, request: HandOffRequest, code: CodeType) -> HandOff:
        """Return how a hand-off has ended, or suspend the run until then."""
        self._check_step("hand_off")
        if self._end is not None:
            raise self._end
        call = self.run.enter(HAND_OFF, request.key, hash_code(code), "")
        step = call.stored
        if step is not None:
            if step.result.get("ended") != REFUSED:
                self._sink.skip_past(1)  # what people were shown
            return self._finish_hand_off(step)
        answer = self.run.take_answer(call)
        if answer is None:
            waiting, self.request = run_in_thread(make_waiting, self._ctx, self._sink, request, self.run.dialog, call)
            raise self._suspend_run(waiting)
        assert self._before is not None
        outcome = run_in_thread(make_outcome, self._ctx, self._sink, self._before, answer.raw)
        self._is_handed_back = True
        return self._finish_hand_off(self._record_with_outcome(call, answer.raw, outcome))

    def _finish_hand_off(self, step: Step) -> HandOff:
        """Return how a hand-off has ended. Raises :class:`NotDelivered` if the platform refused the group."""
        if step.result.get("ended") == REFUSED:
            raise self._make_end(step.result)
        return read_result(step)

    def resume(self, conversation: Conversation) -> None:
        """End the hand-off of a conversation, if it has one. A run that repeats an earlier one does nothing."""
        self.check_call("resume")
        if not self.run.is_past:
            run_in_thread(resume, self._sink, conversation)

    @property
    def withdrawal(self) -> Operation | None:
        """The operation that ends what the dialog waited for elsewhere, if this run has not."""
        before = self._before
        if before is None or before.kind != HAND_OFF:
            return super().withdrawal
        if self._is_handed_back or any(step.number == before.step for step in self.run.steps):
            return None
        return run_in_thread(make_withdrawal, self._sink, before)
