"""The calls of a context whose results last: ``ask``, ``approve``, ``once``, ``run_agent``, ``sleep``, ``stream``."""

from __future__ import annotations

import asyncio
import inspect
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from types import CodeType
from typing import Any, NoReturn

from cometbot.approvals import EXPIRED, Approval, ApprovalRequest, name_end, read_user
from cometbot.approving import make_outcome, make_waiting, make_withdrawal
from cometbot.context import Context
from cometbot.context_access import count_posted
from cometbot.durations import Duration, to_seconds
from cometbot.errors import (
    AskCancelled,
    AskEnded,
    AskGivenUp,
    AskReplaced,
    AskTimeout,
    BotError,
    DeliveryError,
    NotDelivered,
    OnceUncertain,
)
from cometbot.event_loop import run_in_thread
from cometbot.events import JobEvent
from cometbot.field_values import InvalidValue
from cometbot.form_questions import FormQuestion
from cometbot.job_calls import refuse_reply
from cometbot.messages import Choices, Form, Message, Operation, Text
from cometbot.outgoing import filter_question
from cometbot.prompts import InvalidAnswer, Prompt, shorten
from cometbot.questions import Question, action_name, add_line, make_question, offers_of, to_json_value, words_of
from cometbot.state import StateChange, checkpoint, take_changes
from cometbot.steps import (
    APPROVE,
    ASK,
    BEGUN,
    CALL,
    CANCELLED,
    ELAPSED,
    GIVEN_UP,
    HAND_OFF,
    NO_DEFAULT,
    ONCE,
    REFUSED,
    REPLACED,
    SLEEP,
    STREAM,
    TIMEOUT,
    TOOL,
    TURN,
    AskOptions,
    Call,
    ChangedCode,
    Step,
    StepRun,
    Suspended,
    Waiting,
    hash_code,
    hash_text,
)
from cometbot.stored_errors import error_from_json, error_to_json

_TURN_INTERVAL = 20.0
"""Seconds after which a question tries again that waits until the user has no other open."""


_ENDS: dict[str, type[AskEnded]] = {
    TIMEOUT: AskTimeout,
    CANCELLED: AskCancelled,
    GIVEN_UP: AskGivenUp,
    REPLACED: AskReplaced,
}


class Asking:
    """The steps of a context: what ``ctx.ask``, ``ctx.approve``, ``ctx.once`` and ``ctx.sleep`` do.

    ``has_other_questions`` says if a question of this run must wait, because its user has another open. Steps are
    allowed between :meth:`allow` and :meth:`forbid`. ``has_saved`` is true once a step is stored, and
    ``ignores_answer`` if a text that was not meant for the bot does not fit: then nothing changes. ``approval_end`` is
    how an approval has ended in this run, empty if none has.
    """

    def __init__(
        self,
        ctx: Context,
        sink: Any,
        run: StepRun,
        before: Waiting | None = None,
        has_other_questions: Callable[[str], bool] = lambda user: False,
    ) -> None:
        self.run = run
        self._sink = sink
        self.question: Message | None = None
        self.request: Operation | None = None
        self.approval_end = ""
        self.has_saved = False
        self.ignores_answer = False
        self._ctx = ctx
        self._before = before
        self._has_other_questions = has_other_questions
        self._inside = ""
        self._is_checking = False
        self._thread: int | None = None
        self._task: object = None
        self._end: AskEnded | None = None
        self._decided: Sequence[Step] = ()

    def allow(self, thread: int, task: object) -> None:
        """Allow steps in this thread, and in this task of it if the handler is async."""
        self._thread, self._task = thread, task

    def forbid(self) -> None:
        """Allow no more steps: the handler has ended."""
        self._thread = None

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The last operation of a suspended run: its question, the card of its approval, or a call of a client."""
        if self.request is not None:
            return (self.request,)
        return (self._ctx.operation(self.question),) if self.question is not None else ()

    @property
    def last_end(self) -> str:
        """How the last question ended without an answer, or the last sleep before its time; empty if neither did."""
        steps = (*self.run.steps, *self.run.new_steps, *self._decided)
        waits = [step for step in steps if step.kind in (APPROVE, ASK, CALL, HAND_OFF, SLEEP)]
        end = str(waits[-1].result.get("ended", "")) if waits else ""
        return "" if end == ELAPSED else end

    @property
    def is_in_handler(self) -> bool:
        """True while the handler runs, not middleware around it, nor the check of an answer that has just come."""
        return self._thread is not None and not self._is_checking

    @property
    def is_inside_once(self) -> bool:
        """True while ``ctx.once`` or ``ctx.run_agent`` calls the author's function."""
        return self._inside in (ONCE, TOOL)

    @property
    def is_repeating(self) -> bool:
        """True if what is sent now has been sent by an earlier run. Raises :class:`Suspended` after a suspension."""
        self.check_call("send")
        return self.run.is_past

    def check_call(self, name: str) -> None:
        """Raise unless ``ctx`` may do something now: no more after a suspension, and nothing inside ``ctx.once``."""
        if self.run.is_suspended:
            raise Suspended
        if self.is_inside_once:
            where = "ctx.once" if self._inside == ONCE else "a tool"
            raise BotError(f"ctx.{name} cannot be called inside {where}, whose result alone is stored; call it after")

    def ask(self, asked: Any, options: AskOptions, code: CodeType) -> Any:
        """Return the answer to a question, or suspend the run until it has come."""
        self._check_step("ask")
        if self._end is not None:
            raise self._end
        _check_options(options)
        action = action_name(self.run.dialog, self.run.position)
        question = make_question(
            asked,
            action,
            choices=options.choices,
            kind=options.type,
            validate=options.validate,
            invalid_text=options.invalid_text,
        )
        call = self.run.enter(ASK, options.key, hash_code(code), hash_text(question.identity))
        if call.stored is not None:
            return self._finish_ask(question, call.stored.result, options)
        answer = self.run.take_answer(call)
        if answer is None:
            self._suspend(call, question.prompt(self._shows_forms), options)
        elif "ended" in answer.raw:
            self.run.record(call, dict(answer.raw))
            return self._finish_ask(question, answer.raw, options)
        return self._accept(call, question, answer.raw, options)

    def _accept(
        self, call: Call, question: Question | FormQuestion, raw: Mapping[str, Any], options: AskOptions
    ) -> Any:
        before = self._before
        shown = (
            Prompt(Text("…"), "", before.asked_field, before.filled) if before else question.prompt(self._shows_forms)
        )
        self._is_checking = True
        try:
            found = run_in_thread(question.answer, raw, shown, self._shows_forms)
        except InvalidAnswer as error:
            if raw.get("overheard") and before is not None:
                self.ignores_answer = True
                raise self._suspend_run(before) from None
            attempts = (before.attempts if before else 0) + 1
            if attempts < options.attempts and error.prompt is not None:
                self._suspend(call, error.prompt, options, before=before, attempts=attempts)
            end = {"ended": GIVEN_UP}
            self.run.record(call, end)
            return self._finish_ask(question, end, options)
        finally:
            self._is_checking = False
        if isinstance(found, Prompt):
            self._suspend(call, found, options, before=before)
        self.run.record(call, dict(found.raw))
        return found.value

    @property
    def _shows_forms(self) -> bool:
        capabilities = self._sink.capabilities
        return Form in capabilities.native and (capabilities.group_forms or not self._ctx.conversation.is_group)

    def _finish_ask(self, question: Question | FormQuestion, result: Mapping[str, Any], options: AskOptions) -> Any:
        """Return the value of a stored answer, or raise how the question ended."""
        ended = result.get("ended")
        if ended is None:
            try:
                return question.parse(result)
            except InvalidValue as error:
                raise ChangedCode from error
        if ended == REFUSED:
            raise NotDelivered(str(result.get("error", "")))
        if ended == TIMEOUT:
            if options.default is not NO_DEFAULT:
                return options.default
            raise AskTimeout
        self._end = _ENDS.get(str(ended), AskEnded)(options.give_up_text if ended == GIVEN_UP else "")
        raise self._end

    def _suspend(
        self, call: Call, prompt: Prompt, options: AskOptions, *, before: Waiting | None = None, attempts: int = 0
    ) -> NoReturn:
        ctx = self._ctx
        if isinstance(ctx.event, JobEvent):
            raise refuse_reply(ctx.event)
        user = options.of or ctx.sender_id
        if not user:
            raise BotError("ask: nobody caused this event, so say whom to ask: ctx.ask(…, of=user)")
        if self._has_other_questions(user):
            raise self._suspend_run(
                Waiting(
                    call.number,
                    ASK,
                    call.key,
                    call.code,
                    call.text,
                    expires_at=self._sink.trigger.now + _TURN_INTERVAL,
                    wakes_with=TURN,
                )
            )
        message, words = self._prepare(prompt, options)
        timeout = to_seconds(ctx.bot.ask_timeout if options.timeout is None else options.timeout, "ask: timeout")
        waiting = Waiting(
            step=call.number,
            kind=ASK,
            key=call.key,
            code=call.code,
            text=call.text,
            user=user,
            thread=ctx.thread_id,
            expires_at=before.expires_at if before else self._sink.trigger.now + timeout,
            attempts=attempts,
            offers=offers_of(message),
            listen=options.listen,
            question_text=shorten(words),
            fields=prompt.fields,
            asked_field=prompt.asked_field,
            skip=prompt.skip,
            filled=dict(prompt.filled),
        )
        self.question = message
        raise self._suspend_run(waiting)

    def _prepare(self, prompt: Prompt, options: AskOptions) -> tuple[Message, str]:
        """Return what is asked, as outgoing middleware lets it pass, and its words for operators."""
        ctx, message = self._ctx, self._explain_mention(prompt.message, options)
        if not ctx.bot.outgoing_middlewares:
            return message, prompt.text
        message = run_in_thread(filter_question, ctx.operation(message), ctx.bot, ctx.event)
        return message, words_of(message)

    def _explain_mention(self, message: Message, options: AskOptions) -> Message:
        """Return the question for a group, with the hint that only an answer with a mention arrives."""
        ctx = self._ctx
        text = ctx.bot.mention_text
        if not text or options.listen or not ctx.conversation.is_group:
            return message
        has_buttons = isinstance(message, Choices | Form) and type(message) in self._sink.capabilities.native
        if has_buttons or not self._sink.hears_only_mentions(ctx.bot):
            return message
        return add_line(message, text)

    def approve(self, request: ApprovalRequest, code: CodeType) -> Approval:
        """Return the decision about a request, or suspend the run until it has come."""
        self._check_step("approve")
        if self._end is not None:
            raise self._end
        call = self.run.enter(APPROVE, request.key, hash_code(code), hash_text(request.identity))
        step = call.stored
        if step is not None:
            if step.result.get("ended") != REFUSED:
                self._sink.skip_past(1)  # the card's outcome
            return self._finish_approve(step)
        answer = self.run.take_answer(call)
        if answer is None:
            waiting, self.request = run_in_thread(make_waiting, self._ctx, self._sink, request, self.run.dialog, call)
            raise self._suspend_run(waiting)
        assert self._before is not None
        outcome = run_in_thread(make_outcome, self._ctx, self._before, request, answer.raw)
        self.approval_end = name_end(answer.raw)
        return self._finish_approve(self._record_with_outcome(call, answer.raw, outcome))

    def _record_with_outcome(self, call: Call, raw: Mapping[str, Any], outcome: Operation | None) -> Step:
        """Return the new step of what others have decided, and show them its outcome."""
        step = self.run.record(call, dict(raw))
        if outcome is not None:
            # The decision is stored with its outcome: it is made, whatever the handler does next.
            self._sink.attach_steps(self.run.dialog, self.run.new_steps)
            self.run.new_steps, self.has_saved = [], True
            self._decided = (step,)
            self._sink.post(outcome)
        return step

    def _finish_approve(self, step: Step) -> Approval:
        """Return the decision in a stored result, or raise how the approval ended without one."""
        ended, at = step.result.get("ended"), datetime.fromtimestamp(step.at, timezone.utc)
        if ended is None:
            return Approval(step.result["status"], read_user(step.result), at)
        if ended == TIMEOUT:
            return Approval(EXPIRED, None, at)
        raise self._make_end(step.result)

    def _make_end(self, result: Mapping[str, Any]) -> Exception:
        """Return the error for a step that ended without a result; later questions of the run end with it, too."""
        if result["ended"] == REFUSED:
            return NotDelivered(str(result.get("error", "")))
        self._end = _ENDS.get(str(result["ended"]), AskEnded)()
        return self._end

    @property
    def withdrawal(self) -> Operation | None:
        """The operation that withdraws the card that the dialog waited for, if this run has not ended its approval."""
        before, run = self._before, self.run
        if before is None or before.approval is None or any(step.number == before.step for step in run.steps):
            return None
        return None if self.approval_end else make_withdrawal(before)

    def sleep(self, duration: Duration, key: str, code: CodeType) -> None:
        """Suspend the run for a time."""
        self._check_step("sleep")
        seconds = to_seconds(duration, "sleep")
        call = self.run.enter(SLEEP, key, hash_code(code), hash_text(repr(seconds)))
        if call.stored is not None:
            self._finish_sleep(call.stored.result)
            return
        answer = self.run.take_answer(call)
        if answer is None:
            at = self._sink.trigger.now + seconds
            raise self._suspend_run(
                Waiting(call.number, SLEEP, call.key, call.code, call.text, expires_at=at, wakes_with=ELAPSED)
            )
        self.run.record(call, dict(answer.raw))
        self._finish_sleep(answer.raw)

    def _finish_sleep(self, result: Mapping[str, Any]) -> None:
        """Raise if the sleep ended before its time."""
        if result.get("ended") == CANCELLED:
            self._end = AskCancelled()
            raise self._end

    def once(
        self,
        function: Callable[..., Any],
        values: Sequence[Any],
        named: Mapping[str, Any],
        key: str,
        code: CodeType,
        *,
        again: bool,
    ) -> Any:
        """Return the result of a call that is made once, a coroutine of it for a coroutine function."""
        self._check_step("once")
        name = getattr(function, "__qualname__", type(function).__qualname__)
        codes = key, hash_code(code), hash_text(name)
        begun = None if again else self.run.enter(BEGUN, *codes)
        if begun is not None and begun.stored is None:
            self._check_once(begun, name)
            self.run.record(begun, None)
            self._save(())
        call = self.run.enter(ONCE, *codes)
        if call.stored is None:
            self._check_once(call, name)
        if call.stored is None and begun is not None and begun.stored is not None:
            uncertain = OnceUncertain()
            self._record_error(call, uncertain)
            raise uncertain
        if inspect.iscoroutinefunction(function):
            return self._call_async(call, function, values, named)
        if call.stored is not None:
            return _result_of(call.stored)
        with self._inside_once(call):
            value = run_in_thread(function, *values, **named)
        return self._save_result(call, value)

    def _check_once(self, call: Call, name: str) -> None:
        """End the run here if it is a dry run, which calls nothing."""
        if not self._sink.calls_once:
            kind = TOOL if call.kind == TOOL else ONCE
            raise self._suspend_run(Waiting(call.number, kind, call.key, call.code, call.text, question_text=name))

    def _suspend_run(self, waiting: Waiting) -> Suspended:
        """Return what ends the run; from now on nothing can be stored in the state either."""
        for state in self._states():
            state.is_frozen = True
        return self.run.suspend(waiting)

    async def _call_async(
        self, call: Call, function: Callable[..., Any], values: Sequence[Any], named: Mapping[str, Any]
    ) -> Any:
        if call.stored is not None:
            return _result_of(call.stored)
        with self._inside_once(call):
            value = await function(*values, **named)
        return self._save_result(call, value)

    @contextmanager
    def _inside_once(self, call: Call) -> Iterator[None]:
        try:
            with self._inside_call(ONCE):
                yield
        except Exception as error:
            self._record_error(call, error)
            raise

    @contextmanager
    def _inside_call(self, kind: str) -> Iterator[None]:
        """Allow nothing but changes of the state, which are stored with the result of the call."""
        self._sink.store_marks()  # before the call: a crash behind it must not make it again
        self._checkpoints = [checkpoint(state) for state in self._states()]
        self._inside = kind
        try:
            yield
        finally:
            self._inside = ""

    def _save_result(self, call: Call, value: Any) -> Any:
        result = to_json_value(value, "ctx.once")
        self._record_and_save(call, {"value": result})
        return result

    def _record_and_save(self, call: Call, result: Any) -> None:
        self.run.record(call, result)
        changes = [take_changes(state, before) for state, before in zip(self._states(), self._checkpoints, strict=True)]
        self._save(tuple(change for change in changes if change))

    def _save(self, changes: Sequence[StateChange]) -> None:
        """Store the new steps in a durable commit of their own."""
        self.has_saved = True
        self._sink.save_steps(self.run.dialog, self.run.new_steps, changes)
        self.run.new_steps = []

    def stream(
        self, send: Callable[[Callable[[str], None]], Any], restore: Callable[[int, str], Any], key: str, code: CodeType
    ) -> Any:
        """Return the message of a stream, which is sent by one run only."""
        self.check_call("stream")
        if self._thread is None or self._inside:
            return run_in_thread(send, lambda text: None)
        call = self.run.enter(STREAM, key, hash_code(code), "")
        if call.stored is not None:
            result = call.stored.result
            ordinal = self._sink.skip_past(result["ordinals"])
            if "error" in result:
                raise error_from_json(result["error"])
            return restore(ordinal, result["text"])
        before = count_posted(self._ctx)
        try:
            return self._send_stream(call, send, dict)
        except DeliveryError:
            raise
        except Exception as error:  # a result like any other, if the handler goes on
            if self.run.position == call.number:
                self._record_error(call, error, ordinals=count_posted(self._ctx) - before)
            raise

    def _send_stream(
        self,
        call: Call,
        send: Callable[[Callable[[str], None]], Any],
        describe: Callable[[], Mapping[str, Any]],
    ) -> Any:
        before = count_posted(self._ctx)

        def store(text: str) -> None:
            # With the commit of the last operation: a crash before it streams anew, one behind it does not.
            ordinals = count_posted(self._ctx) - before + 1
            self.run.record(call, {"ordinals": ordinals, "text": text, **describe()})
            self._sink.attach_steps(self.run.dialog, self.run.new_steps)
            self.run.new_steps, self.has_saved = [], True

        with self._inside_stream():
            sent = run_in_thread(send, store)
        if sent is None:
            self.run.record(call, {"ordinals": count_posted(self._ctx) - before, "text": "", **describe()})
        return sent

    def cancelled(self) -> bool:
        """Return True if the user has stopped the run; where steps are allowed, each run reads the same."""
        if self.run.is_cancelled or not self._may_step or self.run.is_suspended:
            return self.run.is_cancelled or bool(self._sink.is_cancelled)
        return self.run.read_cancelled(self._sink.is_cancelled)

    def now(self) -> datetime:
        """Return the time when the message arrived that made this part of the run."""
        return datetime.fromtimestamp(self.run.segment.at, timezone.utc)

    def random(self) -> random.Random:
        """Return random numbers that depend on the dialog and the step alone."""
        return self.run.random

    def idempotency_key(self) -> str:
        """Return a key of the call of ``once`` or of a tool that is being made."""
        if not self.is_inside_once:
            raise BotError("ctx.idempotency_key() can be called inside ctx.once or a tool only")
        return f"{self._ctx.bot.name}-{self.run.dialog}-{self.run.position}"

    def _record_error(self, call: Call, error: Exception, **more: Any) -> None:
        self.run.record(call, {**more, "error": error_to_json(error)})

    def _states(self) -> tuple[Any, Any]:
        return self._ctx.state, self._ctx.user_state

    def _check_step(self, name: str) -> None:
        self.check_call(name)
        if self._inside:
            raise BotError(f"ctx.{name} cannot be called inside ctx.{self._inside}")
        if self._thread is None:
            raise BotError(
                f"ctx.{name} can be called in a handler only, not in middleware, a matcher, an error handler, or "
                "after the handler has ended"
            )
        if not self._may_step:
            raise BotError(f"ctx.{name} must be called by the handler itself, not in another thread or task")

    @property
    def _may_step(self) -> bool:
        """True in the handler itself, outside of ``ctx.once`` and streams."""
        is_here = threading.get_ident() == self._thread and not self._inside
        return is_here and (self._task is None or _current_task() is self._task)

    @contextmanager
    def _inside_stream(self) -> Iterator[None]:
        """Allow no steps while the author's iterator runs."""
        self._inside = STREAM
        try:
            yield
        finally:
            self._inside = ""


def _result_of(step: Step) -> Any:
    """Return the stored result of a call, or raise its stored error."""
    if "error" not in step.result:
        return step.result["value"]
    raise error_from_json(step.result["error"])


def _check_options(options: AskOptions) -> None:
    if isinstance(options.attempts, bool) or not isinstance(options.attempts, int) or options.attempts < 1:
        raise BotError(f"ask: attempts: expected 1 or more, got {options.attempts!r}")


def _current_task() -> object:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
