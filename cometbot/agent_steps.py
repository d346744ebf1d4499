"""The steps of ``ctx.run_agent``: an answer of the model is one, and each call of a tool."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import CodeType
from typing import Any, TypeVar

from cometbot.client_calls import ClientCallSteps, describe_long_result
from cometbot.context import check_token_budget
from cometbot.context_access import count_posted
from cometbot.errors import DeliveryError
from cometbot.event_loop import run_in_thread
from cometbot.steps import APPROVE, MODEL, TOOL, Suspended, ToolUse, hash_code, hash_text
from cometbot.stored_errors import error_from_json

T = TypeVar("T")


class AgentSteps(ClientCallSteps):
    """The steps of a context, with those of ``ctx.run_agent``."""

    def call(self, name: str, function: Callable[[], T]) -> T:
        """Call a function that makes steps for the handler, in the thread that waits for an async handler."""
        self._check_step(name)
        return run_in_thread(self._call_here, function)

    def _call_here(self, function: Callable[[], T]) -> T:
        outer = self._thread, self._task
        self._thread, self._task = threading.get_ident(), None
        try:
            result = function()
        except BaseException:
            if self.run.is_suspended:  # whatever became of that on its way
                raise Suspended from None
            raise
        finally:
            self._thread, self._task = outer
        if self.run.is_suspended:
            raise Suspended
        return result

    def model(
        self,
        send: Callable[[Callable[[str], None]], Any],
        restore: Callable[[int, str], Any],
        describe: Callable[[], Mapping[str, Any]],
        key: str,
        code: CodeType,
    ) -> tuple[Any, Mapping[str, Any]]:
        """Return the message of a model's answer and what is stored of it; one run asks the model.

        ``describe`` returns what is stored beside the text, ``calls`` among it. An error of the model is a result, too.
        """
        self._check_step("run_agent")
        call = self.run.enter(MODEL, key, hash_code(code), "")
        if call.stored is not None:
            result: Mapping[str, Any] = call.stored.result
            sent = restore(self._sink.skip_past(result["ordinals"]), result["text"])
            if "error" in result:
                raise error_from_json(result["error"])
            return sent, result
        before = count_posted(self._ctx)
        try:
            check_token_budget(self._ctx)
            sent = self._send_stream(call, send, describe)
        except DeliveryError:
            raise
        except Exception as error:
            if self.run.position == call.number:  # else the answer is stored
                self._record_error(call, error, ordinals=count_posted(self._ctx) - before, text="")
            raise
        described = describe()
        if described["calls"] and self.run.new_steps:
            self._save(())
        return sent, described

    @property
    def has_stored_tool(self) -> bool:
        """True if the next step is a call of a tool whose result is stored."""
        run = self.run
        return run.position < len(run.steps) and run.steps[run.position].kind == TOOL

    @property
    def has_asked_approval(self) -> bool:
        """True if an earlier run has asked for an approval where this one is."""
        run, before = self.run, self.run.waiting_for
        if run.position < len(run.steps):
            return run.steps[run.position].kind == APPROVE
        return before is not None and (before.step, before.kind) == (run.position, APPROVE)

    def tool(
        self, function: Callable[[], Mapping[str, Any]], use: ToolUse, key: str, code: CodeType
    ) -> Mapping[str, Any]:
        """Return the result of a call of a tool, which one run makes: a JSON object.

        The text ``error`` in it is for the model. An error that ``function`` raises is a result, too. Where the channel
        can, that run shows the call and its result.
        """
        self._check_step("run_agent")
        call = self.run.enter(TOOL, key, hash_code(code), hash_text(use.identity))
        if call.stored is not None:
            stored: Mapping[str, Any] = call.stored.result
            if isinstance(stored.get("error"), Mapping):
                raise error_from_json(stored["error"])
            return stored
        self._check_once(call, use.name)
        is_shown = self._sink.capabilities.tool_calls
        if is_shown:
            self._sink.show_tool_call(self.call_id(call), use.name, use.arguments)
        try:
            with self._inside_call(TOOL):
                result = run_in_thread(function)
        except Exception as error:
            self._record_error(call, error)
            raise
        size, limit = len(json.dumps(result)), self.max_result_bytes
        if size > limit:
            self._ctx.log.warning("the result of the tool %s has %d bytes; its model gets an error", use.name, size)
            result = {"error": describe_long_result(size, limit)}
        self._record_and_save(call, result)
        if is_shown:
            with suppress(Exception):  # of a redaction, which raises again when the model is to get the text
                self._sink.show_tool_result(self.call_id(call), run_in_thread(use.describe, result))
        return result
