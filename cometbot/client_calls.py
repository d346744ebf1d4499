"""The step of ``ctx.call``: the call of a tool of the client, which the run waits for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import CodeType
from typing import Any, NoReturn

from cometbot.durations import to_seconds
from cometbot.errors import BotError
from cometbot.event_loop import run_in_thread
from cometbot.hand_off_steps import HandOffSteps
from cometbot.messages import ClientCall
from cometbot.outgoing import filter_client_call
from cometbot.prompts import shorten
from cometbot.steps import CALL, TIMEOUT, Call, CallOptions, Waiting, hash_code, hash_text

MAX_TOOL_RESULT_BYTES = 64 * 1024
"""The bytes of JSON that the result of a tool may have; of a longer one, the model gets an error."""

_RESERVED_BYTES = 4096
"""The bytes that results of tools leave free for later steps of the dialog."""


class ClientCallSteps(HandOffSteps):
    """The steps of a context, with calls of the client's tools."""

    @property
    def has_begun_client_call(self) -> bool:
        """True if an earlier run has called a tool of the client where this one is."""
        run, before = self.run, self.run.waiting_for
        if run.position < len(run.steps):
            return run.steps[run.position].kind == CALL
        return before is not None and (before.step, before.kind) == (run.position, CALL)

    def call_client(
        self, name: str, arguments: Mapping[str, Any], options: CallOptions, code: CodeType
    ) -> Mapping[str, Any]:
        """Return the client's result of a call, or suspend the run until it has come.

        It has ``value`` (a text) or ``values``, or ``ended`` after the timeout, or ``error`` if the result is too long.
        """
        self._check_step("call")
        if self._end is not None:
            raise self._end
        identity = f"{name}\n{json.dumps(arguments, sort_keys=True)}"
        call = self.run.enter(CALL, options.key, hash_code(code), hash_text(identity))
        if call.stored is not None:
            return self._finish_call(call.stored.result)
        answer = self.run.take_answer(call)
        if answer is None:
            self._suspend_for_client(call, name, arguments, options)
        result = self._limit_result(name, answer.raw)
        self.run.record(call, result)
        return self._finish_call(result)

    def _suspend_for_client(
        self, call: Call, name: str, arguments: Mapping[str, Any], options: CallOptions
    ) -> NoReturn:
        """Suspend the run until the client has returned the result of a call, which is sent at the run's end."""
        ctx = self._ctx
        if not ctx.sender_id:
            raise BotError(
                "call: nobody caused this event, so there is no client that could be called. Use ctx.call in handlers "
                "of users' messages and actions"
            )
        timeout = to_seconds(ctx.bot.ask_timeout if options.timeout is None else options.timeout, "call: timeout")
        operation = ctx.operation(ClientCall(name, arguments, self.call_id(call)))
        if ctx.bot.outgoing_middlewares:
            operation = run_in_thread(filter_client_call, operation, ctx.bot, ctx.event)
        waiting = Waiting(
            step=call.number,
            kind=CALL,
            key=call.key,
            code=call.code,
            text=call.text,
            user=ctx.sender_id,
            thread=ctx.thread_id,
            expires_at=self._sink.trigger.now + timeout,
            question_text=shorten(operation.message.to_text() if operation.message else name),
        )
        self.request = operation
        raise self._suspend_run(waiting)

    def call_id(self, call: Call) -> str:
        """Return the id of a call of a tool, the same in all runs."""
        return f"{self.run.dialog}.{call.number}"

    @property
    def max_result_bytes(self) -> int:
        """The bytes that the result of a tool may have now."""
        return max(min(MAX_TOOL_RESULT_BYTES, self.run.free_bytes - _RESERVED_BYTES), 0)

    def _limit_result(self, name: str, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the client's result as it is stored: an error in place of one that is too long."""
        size, limit = len(json.dumps(raw)), self.max_result_bytes
        if size <= limit:
            return dict(raw)
        self._ctx.log.warning("the client's result of its tool %s has %d bytes, which are dropped", name, size)
        return {"error": describe_long_result(size, limit)}

    def _finish_call(self, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a stored result, or raise how the call ended without one."""
        if result.get("ended") in (None, TIMEOUT):
            return result
        raise self._make_end(result)


def describe_long_result(size: int, limit: int) -> str:
    """Return why a result of ``size`` bytes is not passed on."""
    return f"the result has {size} bytes, more than the {limit} allowed; ask for less"
