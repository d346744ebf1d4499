"""Find the messages that stop a running handler, and answer ``/stop`` beside it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby

from cometbot.bot import Bot
from cometbot.channels.base import Channels, IncomingEvent
from cometbot.context import Context
from cometbot.delivery.outbox_sink import Stop
from cometbot.delivery.running_handlers import HandlerRegistry, HandlerRun
from cometbot.errors import LeaseLost, StoreBusy
from cometbot.events import Event
from cometbot.messages import Text
from cometbot.observer import Observer
from cometbot.outgoing import filter_operation
from cometbot.stopping import STOP, is_newer_input, is_stop, make_stop_text, may_end
from cometbot.store.delivery_store import DeliveryStore
from cometbot.store.dialogs import INTERNAL_PREFIX
from cometbot.store.mailbox import MailboxMessage
from cometbot.store.outbox import Draft

log = logging.getLogger(__name__)

LOOK_INTERVAL = 1.0
"""Seconds between two looks for messages that stop a running handler; it must have run for as long."""

LAST_WORDS_TIMEOUT = 1.0
"""Seconds that a stopped handler has to end, before ``/stop`` is answered beside it."""

_MAX_MESSAGES = 500
"""The newest waiting messages that one look reads."""


@dataclass(frozen=True, slots=True)
class _Stopped:
    """A handler that was stopped, by what, and when."""

    run: HandlerRun
    stop: Stop
    at: float


class StopWatcher:
    """Looks for messages that stop a handler which runs in this process.

    A thread looks at all handlers that have run for a second, every second and in one query, and at once at a
    conversation that :meth:`check_soon` names. A ``/stop`` ends with its handler, in one commit, and is answered behind
    the handler's last words; if the handler does not end at once, in a commit of its own under the same lease.
    """

    def __init__(
        self,
        store: DeliveryStore,
        bots: Mapping[str, Bot],
        channels: Channels,
        handlers: HandlerRegistry,
        observer: Observer,
    ) -> None:
        self._store = store
        self._bots = bots
        self._channels = channels
        self._handlers = handlers
        self._observer = observer
        self._cond = threading.Condition()
        self._named: set[str] = set()
        self._has_missed = False
        self._is_over = False
        self._seen: dict[tuple[str, int], set[int]] = {}
        self._thread = threading.Thread(target=self._watch, name="cometbot-stops", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._handlers.on_start = self.check_soon  # a newer message may have arrived before
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        with self._cond:
            self._is_over = True
            self._cond.notify()
        if self._thread.ident is not None:
            self._thread.join(5)

    def check_soon(self, conversation_key: str) -> None:
        """Make the thread check a conversation at once; all of them, if the name is empty."""
        with self._cond:
            if conversation_key:
                self._named.add(conversation_key)
            else:
                self._has_missed = True
            self._cond.notify()

    def check(self, conversation_key: str) -> None:
        """Look at a conversation in the caller's thread, and answer at once."""
        runs = [run for run in self._handlers.list_running() if _key(run) == conversation_key]
        for stopped in self._stop_runs(runs):
            self._answer(stopped)

    def _watch(self) -> None:
        looks_at = time.monotonic() + LOOK_INTERVAL
        while not self._is_over:
            with self._cond:
                if not (self._named or self._has_missed or self._is_over):
                    self._cond.wait(max(0.0, looks_at - time.monotonic()))
                named, self._named = self._named, set()
                is_due = self._has_missed or time.monotonic() >= looks_at
                self._has_missed = False
            if is_due:
                looks_at = time.monotonic() + LOOK_INTERVAL
            running = self._handlers.list_running()
            try:
                self._check_runs([run for run in running if _key(run) in named or (is_due and run.age > LOOK_INTERVAL)])
            except StoreBusy as error:
                log.debug("cannot look for messages that stop a handler: %s", error)
            except BaseException:
                log.exception("cannot look for messages that stop a handler; the next look is in a second")

    def _check_runs(self, runs: Collection[HandlerRun]) -> None:
        stopped = self._stop_runs(runs)
        for _, group in groupby(stopped, lambda each: _id(each.run)):  # a thread for each: it waits for the platform
            args = (list(group),)
            threading.Thread(target=self._answer_all, args=args, name="cometbot-stop", daemon=True).start()

    def _answer_all(self, stopped: Iterable[_Stopped]) -> None:
        for each in stopped:
            each.run.sink.ended.wait(max(0.0, each.at + LAST_WORDS_TIMEOUT - time.monotonic()))
            self._answer(each)

    def _stop_runs(self, runs: Collection[HandlerRun]) -> list[_Stopped]:
        """Stop the handlers that a waiting message stops, and return those that a ``/stop`` has stopped."""
        by_key = {_key(run): run for run in runs if self._can_be_stopped(run)}
        self._seen = {_id(run): self._seen_of(run) for run in self._handlers.list_running()}
        if not by_key:
            return []
        with self._store.database.read() as connection:
            waiting = self._store.mailbox.list_waiting(connection, list(by_key), _MAX_MESSAGES)
            unseen = {key: numbers - self._seen_of(by_key[key]) for key, numbers in waiting.items()}
            numbers = sorted(set().union(*unseen.values()))
            rows = {row.seq: row for row in self._store.mailbox.get_waiting(connection, numbers)} if numbers else {}
        stopped: list[_Stopped] = []
        for key, run in by_key.items():
            for number in sorted(unseen.get(key, ())):
                self._seen_of(run).add(number)
                message = rows.get(number)
                if message is None or number < run.message.seq:
                    continue
                if (stop := self._apply(run, message)) is not None:
                    stopped.append(_Stopped(run, stop, time.monotonic()))
        return stopped

    def _seen_of(self, run: HandlerRun) -> set[int]:
        return self._seen.setdefault(_id(run), set())

    def _can_be_stopped(self, run: HandlerRun) -> bool:
        has_own_command = self._bots[run.lease.conversation.bot].routes.has_command(STOP)
        return run.sink.event is not None and (run.stops_on_new or not has_own_command)

    def _apply(self, run: HandlerRun, message: MailboxMessage) -> Stop | None:
        """Stop the handler if ``message`` does that. Return what is to be answered, None for no ``/stop``."""
        try:
            event = self._read(run, message)
            if event is None:
                return None
            ctx = Context(self._bot(run), event, run.sink)
            if is_stop(ctx):
                if not self._handlers.use_stop(message.seq):
                    return None  # it has stopped the handler before this one
                log.info("stopped the handler %s", run.handler, extra=_extra(run, message))
                return self._stop(run, message, ctx)
            if run.stops_on_new and not run.sink.is_cancelled and is_newer_input(ctx):
                run.sink.cancel()
                log.info("stopped the handler %s for a newer message", run.handler, extra=_extra(run, message))
        except Exception:
            log.warning("cannot read if a message stops a handler", exc_info=True, extra=_extra(run, message))
        return None

    def _stop(self, run: HandlerRun, message: MailboxMessage, ctx: Context) -> Stop | None:
        """Stop the handler. Return what is to be answered, None if the answer cannot be made: then it has its turn."""
        stop = None
        try:
            stop = Stop(message, _render_answer(run, message, ctx))
        except Exception:
            log.warning(
                "cannot render the answer to /stop beside its handler; it is rendered again when /stop has its turn",
                exc_info=True,
                extra=_extra(run, message),
            )
        finally:
            run.sink.cancel(stop)
        return stop

    def _bot(self, run: HandlerRun) -> Bot:
        return self._bots[run.lease.conversation.bot]

    def _read(self, run: HandlerRun, message: MailboxMessage) -> Event | None:
        """Return the event of a waiting message, or None if its sender may not stop the handler."""
        conversation, running = run.lease.conversation, run.sink.event
        if not message.body or message.key.startswith(INTERNAL_PREFIX) or running is None:
            return None
        bot, channel = self._bot(run), self._channels.of(conversation)
        incoming = IncomingEvent(conversation, message.key, message.body, message.sender, message.received_at)
        event = channel.parse(incoming)
        is_own = event.sender.uid.lower() in map(str.lower, bot.ids)
        is_ignored = is_own or (channel.is_bot(event.sender.uid) and not bot.handle_bots)
        return None if is_ignored or not may_end(event.sender, running) else event

    def _answer(self, stopped: _Stopped) -> None:
        """Answer a ``/stop`` if its handler still runs."""
        run, stop = stopped.run, stopped.stop
        try:
            is_answered = run.sink.answer_stop(stop)
        except LeaseLost:
            return
        except StoreBusy as error:
            log.warning("/stop is answered when its handler has ended: %s", error, extra=_extra(run, stop.message))
        except BaseException:
            log.exception("cannot answer /stop beside its handler", extra=_extra(run, stop.message))
        else:
            if is_answered:
                conversation = run.lease.conversation
                seconds, app = time.monotonic() - stopped.at, self._channels.of(conversation).app
                self._observer.handled(conversation.bot, seconds, "stopped", app=app)


def _render_answer(run: HandlerRun, message: MailboxMessage, ctx: Context) -> Draft | None:
    text = make_stop_text(ctx, has_stopped=True)
    if not text or not text.strip():
        return None
    operation = filter_operation(replace(ctx.operation(Text(text)), is_beside=True), ctx.bot, ctx.event)
    if operation.is_dropped:
        return None
    return Draft(message.event_id, message.generation, 0, operation.conversation, run.sink.render(operation))


def _key(run: HandlerRun) -> str:
    return run.lease.conversation_key


def _id(run: HandlerRun) -> tuple[str, int]:
    """Return what differs between two runs under one lease."""
    return run.lease.token, run.message.seq


def _extra(run: HandlerRun, message: MailboxMessage) -> dict[str, str]:
    return {"event": message.key, "conversation": run.lease.conversation_key}
